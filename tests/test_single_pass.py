"""A block that runs once: what outlives it is found, what has a right to stay is not accused."""

# ruff: noqa: D103  # the subjects' names are their descriptions

from __future__ import annotations

import ctypes
import functools
import json
import logging
import os
import re
import threading

import pytest

from refleak import LeakError, leak_check

increment = ctypes.pythonapi.Py_IncRef
increment.argtypes = [ctypes.py_object]
increment.restype = None


class Widget:
    pass


class Registry:
    classes: list[type] = []  # noqa: RUF012  # a class attribute is what leaks


garbage: list[object] = []
by_key: dict[object, object] = {}
old = Widget()
state = {"last": Widget()}


@functools.cache
def cached(key):
    return {"key": [key]}


def leak_instance():
    garbage.append(Widget())


def leak_none():
    garbage.append(None)


def leak_text():
    garbage.append("text" * 50)


def leak_dict_entry():
    by_key[object()] = {}


def leak_class():
    Registry.classes.append(type("Local", (), {}))


def leak_reference():
    increment(old)


def leak_generator():
    def count():
        yield 1

    generator = count()
    next(generator)
    garbage.append(generator)


def leak_exception():
    try:
        1 / 0
    except ZeroDivisionError as error:
        garbage.append(error)


LEAKS = {
    leak_instance: ("objects", "module test_single_pass -> garbage"),
    leak_none: ("container references", "module test_single_pass -> garbage"),
    leak_text: ("container references", "module test_single_pass -> garbage"),
    leak_dict_entry: (None, "module test_single_pass -> by_key"),
    leak_class: ("objects", "Registry"),
    leak_reference: ("references", "test_single_pass.Widget"),
    leak_generator: ("objects", "module test_single_pass -> garbage"),
    leak_exception: ("objects", "module test_single_pass -> garbage"),
}


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_what_outlives_a_block_is_found(leak):
    """A block that leaves something behind raises LeakError that says what and who holds it."""
    quantity, holder = LEAKS[leak]
    with pytest.raises(LeakError) as caught, leak_check():
        leak()
    report = caught.value.report
    assert quantity is None or quantity in [each.quantity for each in report.findings]
    assert holder in str(report)
    assert " per call" not in str(report).splitlines()[0]


def test_a_descriptor_left_open_is_found():
    """A descriptor that the block opened and did not close is a leak of one."""
    descriptors = []
    with pytest.raises(LeakError, match="leaked 1 file descriptor"), leak_check():
        descriptors.append(os.dup(0))
    os.close(descriptors.pop())


def test_a_thread_left_running_is_found():
    """A thread that the block started and did not join is a leak of one."""
    event = threading.Event()
    with pytest.raises(LeakError, match="1 thread"), leak_check():
        threading.Thread(target=event.wait, daemon=True).start()
    event.set()


def innocent_regex():
    re.compile(f"abc{len(garbage)}").match("x")


def innocent_json():
    json.loads(json.dumps([1, {"a": 2}]))


def innocent_replacement():
    state["last"] = Widget()


def innocent_cycle():
    widget = Widget()
    widget.itself = widget


def innocent_class():
    type("Local", (Widget,), {})


def innocent_cache():
    cached(len(garbage))


def innocent_logger():
    logging.getLogger(f"test.{len(garbage)}").debug("nothing")


def innocent_import():
    import xml.dom.minidom  # noqa: F401


def innocent_exception():
    try:
        1 / 0
    except ZeroDivisionError:
        pass


def innocent_loop():
    import asyncio

    async def main():
        await asyncio.sleep(0)

    asyncio.run(main())


INNOCENTS = [each for name, each in sorted(globals().items()) if name.startswith("innocent_")]


@pytest.mark.parametrize("innocent", INNOCENTS, ids=lambda each: each.__name__)
def test_what_has_a_right_to_stay_is_not_accused(innocent):
    """Local variables, caches, imports and replaced state are no leaks."""
    with leak_check() as check:
        local = [Widget(), {}]
        innocent()
    assert () == check.report.findings
    assert local


def test_a_body_that_raises_is_not_judged():
    """The user's own exception comes through, and no verdict is given."""
    check = leak_check()
    with pytest.raises(KeyError), check:  # noqa: PT012  # the block is what is tested
        garbage.append(Widget())
        raise KeyError("user")
    assert check.report is None


def test_a_called_check_leaves_the_block_unjudged():
    """Where the check was called, what the block itself creates is not judged besides."""
    with leak_check() as check:
        garbage.append(Widget())
        assert 3 == check(abs, -3)
    assert "abs" == check.report.subject


def test_an_ignored_type_is_no_leak():
    """Objects of the types in ignore= may outlive the block."""
    with leak_check(ignore=Widget) as check:
        garbage.append(Widget())
    assert not check.report.leaking


def test_what_cannot_be_judged_once_is_said():
    """The report names the quantities that need a warm-up."""
    with leak_check() as check:
        pass
    unjudged = [each.quantity for each in check.report.not_judged]
    assert "native heap" in unjudged
    assert "references" not in unjudged
