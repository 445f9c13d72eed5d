"""A block that runs once: what outlives it is found, what has a right to stay is not accused."""

# ruff: noqa: D103  # the subjects' names are their descriptions

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import functools
import json
import logging
import os
import re
import sys
import threading
import types
import warnings

import pytest
from running import python

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


KINDS = {
    "list": lambda: [1],
    "dict": lambda: {"drop": []},
    "set": lambda: {object()},
    "tuple": lambda: ([],),
    "instance": Widget,
    "bound method": lambda: Widget().__init__,
    "method": lambda: Client().fetch,
    "function": lambda: lambda: None,
    "partial": lambda: functools.partial(print, []),
    "iterator": lambda: iter([[]]),
}


class Client:
    def fetch(self):
        pass


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_one_more_of_a_kind_is_found_and_one_replaced_is_not(make):
    """The kinds of objects of which this library makes some itself are counted exactly, too."""
    full = collections.deque([make()], maxlen=1)
    kept = []
    with leak_check(diagnose=False):
        full.append(make())
    with pytest.raises(LeakError), leak_check(diagnose=False):
        kept.append(make())


def test_looking_at_an_instances_dict_is_no_leak():
    """From 3.13 on the dict is made then, and stays; what is put into it is found all the same."""
    looked_at = [Client() for _ in range(2)]
    for each in looked_at:
        each.drops = []
    with leak_check():
        vars(looked_at[0])
    with pytest.raises(LeakError), leak_check():
        vars(looked_at[1])["more"] = [1]


def test_a_block_that_awaits():
    """What the loop holds while it runs the block's task is no leak, and hides none."""

    async def clean():
        with leak_check():
            await asyncio.sleep(0.001)

    async def leaking():
        with leak_check():
            await asyncio.sleep(0)
            garbage.append([1])

    asyncio.run(clean())
    with pytest.raises(LeakError, match="garbage"):
        asyncio.run(leaking())


def test_the_first_warning_of_a_module_is_no_leak():
    """Warnings leave a register in the module that warned, and filters in C code."""

    def warn():
        warnings.warn("drip", stacklevel=1)

    module = sys.modules["warned_once"] = types.ModuleType("warned_once")
    module.warnings = warnings
    warn_here = types.FunctionType(warn.__code__, vars(module))
    try:
        with leak_check(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warn_here()
    finally:
        del sys.modules["warned_once"]


FIXTURES = """
import pytest
from refleak import leak_check

@pytest.fixture
def around():
    with leak_check():
        yield

@pytest.fixture
def before():
    with leak_check():
        made = [1]
    yield made

def test_around(around):
    pass

def test_before(before):
    assert [1] == before
"""


def test_a_fixture_around_a_test_is_refused(tmp_path):
    """It would accuse pytest of what it keeps of the test; the error says what to do instead."""
    (tmp_path / "test_fixtures.py").write_text(FIXTURES)
    ran = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_fixtures.py", folder=tmp_path
    )
    assert "2 passed, 1 error" in ran.stdout
    assert "RuntimeError: the block at test_fixtures.py:7 is around the yield" in ran.stdout


def test_a_context_manager_of_ones_own_may_check():
    """A generator that checks what it surrounds judges the block of its caller."""

    @contextlib.contextmanager
    def checked():
        with leak_check():
            yield

    with checked():
        mine = [Widget()]
    with pytest.raises(LeakError, match="garbage"), checked():
        garbage.append(mine.pop())


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
    import xml.dom.minidom  # noqa: F401  # what an import leaves is the subject


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
