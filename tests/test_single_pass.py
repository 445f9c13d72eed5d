"""A block that runs once: what outlives it is found, what has a right to stay is not accused."""

# ruff: noqa: D103  # the subjects' names are their descriptions

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import functools
import inspect
import json
import logging
import os
import re
import socket
import sys
import threading
import types
import unittest
import warnings
import weakref

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
by_number: dict[int, weakref.ref] = {0: weakref.ref(set)}
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
import contextlib
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

@pytest.fixture
def stacked():
    with contextlib.ExitStack() as stack:
        stack.enter_context(leak_check())
        yield

class TestMethods:
    def setup_method(self):
        self.check = leak_check()
        self.check.__enter__()

    def teardown_method(self):
        self.check.__exit__(None, None, None)

    def test(self):
        pass

def test_around(around):
    pass

def test_stacked(stacked):
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
    assert "4 passed, 3 errors" in ran.stdout
    assert "RuntimeError: the block at test_fixtures.py:8 is around the yield" in ran.stdout
    assert "RuntimeError: the block at test_fixtures.py:20 is around the yield" in ran.stdout
    assert "RuntimeError: the block at test_fixtures.py:25 is around a test" in ran.stdout


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
    with pytest.raises(LeakError, match="leaked 1 file descriptor") as caught, leak_check():
        descriptors.append(os.open(os.devnull, os.O_RDONLY))
    os.close(descriptors.pop())
    assert f"Leaked       file descriptor: {os.devnull}" in str(caught.value)


@pytest.mark.parametrize(
    "opened", [functools.partial(open, os.devnull), socket.socket], ids=["file", "socket"]
)
def test_a_descriptor_goes_with_the_file_that_a_variable_holds(opened):
    """A file or socket in a variable of the function is no leak, and its descriptor is none."""
    with leak_check() as check:
        file = opened()
    assert not check.report.findings
    with pytest.raises(LeakError, match="leaked 1 file descriptor") as caught, leak_check():
        other, number = opened(), os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    file.close()
    other.close()
    assert 1 == str(caught.value).count("Leaked       file descriptor: ")


def returned_list():
    with leak_check() as check:
        return [check]


def returned_from_inner_blocks():
    with contextlib.nullcontext(), leak_check() as check, contextlib.nullcontext():
        return [check]


def returned_from_a_loop():
    for _ in range(2):
        with leak_check() as check:
            return [check]
    return []


def returned_in_try():
    try:
        with leak_check() as check:
            return [check]
    except ValueError:
        return []


@pytest.mark.parametrize(
    "subject", [returned_list, returned_from_inner_blocks, returned_from_a_loop, returned_in_try]
)
def test_what_the_block_returns_is_no_leak(subject):
    """Nothing refers to it yet, and it is nobody's but the caller's."""
    (check,) = subject()
    assert not check.report.findings
    assert "1 list is taken for the value that the block returns" in "".join(check.report.notes)


def test_returning_hides_no_leak():
    """Of what nothing refers to, one object alone may be what is returned."""

    def leaking():
        with leak_check():
            lost = [1]
            increment(lost)
            del lost
            return [2]

    def lost_itself():
        with leak_check():
            return incremented([3])

    def ending():
        with leak_check():
            incremented([4])

    for subject in (leaking, lost_itself, ending):
        with pytest.raises(LeakError, match="leaked 1 object"):
            subject()


def incremented(obj):
    increment(obj)
    return obj


def test_a_thread_left_running_is_found():
    """A thread that the block started and did not join is a leak of one."""
    event = threading.Event()
    with pytest.raises(LeakError, match="1 thread") as caught, leak_check():
        threading.Thread(target=event.wait, daemon=True, name="drip").start()
    event.set()
    assert "drip" in str(caught.value)


def test_a_task_left_running_is_named():
    """A task that the block began and did not await is named."""

    async def forgotten():
        await asyncio.sleep(3600)

    async def main():
        with leak_check():
            task = asyncio.ensure_future(forgotten())
            await asyncio.sleep(0)
        task.cancel()

    with pytest.raises(LeakError, match=r"(?s)1 asyncio task.*Leaked .*forgotten"):
        asyncio.run(main())


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


def test_what_locals_returned_stays_as_it_is():
    """A check takes nothing out of the dict that ``locals()`` gave, nor what ``exec`` put there."""
    widget = Widget()
    exec("by_exec = 1")
    names = locals()
    with leak_check():
        pass
    assert widget is names["widget"]
    if sys.version_info < (3, 13):  # since then each locals() is a dict of its own
        del names
        with leak_check():
            pass
        assert "by_exec" in locals()


def test_a_check_keeps_no_variable_alive():
    """A local variable's object goes away with the variable, as without a check."""
    widget = Widget()
    seen = weakref.ref(widget)
    with leak_check():
        pass
    del widget
    assert seen() is None


# --- what variables hold, and others too ----------------------------------------------------------


def test_a_survivor_that_has_a_local_name_as_well_is_found():
    """Only what nothing but variables holds is excused."""
    with leak_check():
        mine = [Widget()]
    del mine
    with pytest.raises(LeakError, match="garbage"), leak_check():
        garbage.append(mine := [Widget()])
    assert mine


def test_a_survivor_that_a_cache_holds_as_well_is_found():
    """Only what nothing but a cache holds is excused."""
    with leak_check():
        mine = cached(object())
    del mine
    with pytest.raises(LeakError, match="garbage"), leak_check():
        garbage.append(mine := cached(object()))
    assert mine


def test_a_variable_that_inner_functions_share_holds_by_right():
    """The cell of a variable of the block is no leak, that of another function's is one."""
    mine = None

    def keeper():
        kept = None

        def keep(obj):
            nonlocal kept
            kept = obj

        return keep, lambda: kept

    keep, _ = keeper()
    with leak_check():
        mine = [Widget()]
    with pytest.raises(LeakError, match="closure of"), leak_check():
        keep([Widget()])
    assert (lambda: mine) is not None


@pytest.mark.parametrize("make", [lambda loop: loop.create_future(), asyncio.ensure_future])
def test_futures_and_tasks_that_variables_hold_and_others_too(make):
    """In a coroutine, too, only what nothing but variables holds is excused."""

    def made():
        loop = asyncio.get_running_loop()
        return loop.create_future() if make is not asyncio.ensure_future else make(waiting())

    async def waiting():
        await asyncio.sleep(0)

    async def clean():
        with leak_check():
            mine = made()
            await asyncio.sleep(0.001)
        del mine

    async def leaking():
        with leak_check():
            mine = made()
            garbage.append(mine)
            await asyncio.sleep(0.001)

    asyncio.run(clean())
    with pytest.raises(LeakError, match="garbage"):
        asyncio.run(leaking())


MODULE = """
from refleak import leak_check
kept = []
mine = None
with leak_check():
    mine = [kept]
    if False:
        kept.append(mine)
"""


def test_a_block_of_a_module():
    """A module's names are its variables; what a list of it holds besides is found."""
    module = types.ModuleType("module_with_block")
    sys.modules[module.__name__] = module
    try:
        exec(MODULE, vars(module))
        with pytest.raises(LeakError, match="module_with_block -> kept"):
            exec(MODULE.replace("False", "True"), vars(module))
    finally:
        del sys.modules[module.__name__]


# --- entered and left by others than a with statement ---------------------------------------------


class Guard:
    """A class of the user's that checks what it is around."""

    def __enter__(self):
        self.check = leak_check()
        self.check.__enter__()
        self.entered = [True]
        return self

    def __exit__(self, *details):
        return self.check.__exit__(*details)


def by_exit_stack(subject):
    with contextlib.ExitStack() as stack:
        stack.enter_context(leak_check())
        mine = subject()
    del mine


def by_moved_stack(subject):
    def opened():
        with contextlib.ExitStack() as stack:
            stack.enter_context(leak_check())
            return stack.pop_all()

    stack = opened()
    mine = subject()
    stack.close()
    del mine


def by_class(subject):
    with Guard():
        mine = subject()
    del mine


def by_async_stack(subject):
    async def main():
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(leak_check())
            mine = subject()
            await asyncio.sleep(0.001)
        del mine

    asyncio.run(main())


def by_async_context_manager(subject):
    @contextlib.asynccontextmanager
    async def checked():
        with leak_check():
            yield

    async def main():
        async with checked():
            mine = subject()
            await asyncio.sleep(0.001)
        del mine

    asyncio.run(main())


def by_test_case(subject):
    class Case(unittest.TestCase):
        def setUp(self):
            check = leak_check()
            check.__enter__()
            self.addCleanup(check.__exit__, None, None, None)

        def test(self):
            self.mine = subject()
            with self.subTest("one"):
                mine = subject()
            del mine

    Case("test").debug()


def by_test_result(subject):
    class Case(unittest.TestCase):
        def test(self):
            check = leak_check()
            check.__enter__()
            self.addCleanup(check.__exit__, None, None, None)
            self.mine = subject()

    result = unittest.TestResult()
    Case("test").run(result)
    for _, text in result.failures:
        pytest.fail(text)


WAYS = [
    each for name, each in sorted(globals().items()) if name.startswith("by_") and callable(each)
]


@pytest.mark.parametrize("way", WAYS, ids=lambda each: each.__name__)
def test_other_ways_to_enter_and_leave(way):
    """Whatever enters and leaves the block for its frame is no leak, and hides none."""
    way(lambda: [Widget()])
    with pytest.raises((LeakError, pytest.fail.Exception), match="garbage"):
        way(lambda: garbage.append([Widget()]))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="new in 3.11")
def test_enter_context_of_a_test_case():
    """``TestCase.enterContext`` checks the test and its setUp after it."""

    class Case(unittest.TestCase):
        def test_clean(self):
            self.enterContext(leak_check())
            self.mine = [Widget()]

        def test_leaking(self):
            self.enterContext(leak_check())
            garbage.append([Widget()])

    Case("test_clean").debug()
    with pytest.raises(LeakError, match="garbage"):
        Case("test_leaking").debug()


def test_a_check_around_the_tests_of_a_class_is_refused():
    """It would accuse unittest of what it keeps between them; the error says what to do instead."""

    class Case(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            check = leak_check()
            check.__enter__()
            cls.addClassCleanup(check.__exit__, None, None, None)

        def test(self):
            pass

    result = unittest.TestSuite([Case("test")]).run(unittest.TestResult())
    assert "write `@assert_no_leaks` above their class" in result.errors[0][1]


def test_a_check_that_nobody_is_around_is_refused():
    """Code that enters in one thread and leaves in another has no block."""
    check = leak_check()
    thread = threading.Thread(target=check.__enter__)
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="write `with leak_check"):
        check.__exit__(None, None, None)


def test_a_check_within_a_check_is_no_leak():
    """What an inner check holds is this library's own; what its function leaks is the outer's."""
    with leak_check():
        with leak_check() as check:
            check(len, [])
        with leak_check() as other:
            pass
    del other
    with pytest.raises(LeakError, match="garbage"), leak_check(), leak_check() as check:
        check(garbage.append, [1])


# --- references that native code keeps -----------------------------------------------------------


NATIVE = {
    "list": list,
    "dict of lists": lambda: {"a": []},
    **({"dict": dict} if sys.version_info >= (3, 14) else {}),  # tracked from birth
    "registry": lambda: {1: weakref.ref(old)},
}


@pytest.mark.parametrize("make", NATIVE.values(), ids=NATIVE)
def test_empty_containers_and_registries_that_native_code_keeps_are_found(make):
    """They may look like what the interpreter keeps, and are none."""
    with leak_check():
        make()
    with pytest.raises(LeakError, match="that nothing refers to"), leak_check():
        increment(make())


def test_a_registry_of_weak_references_by_number_is_found():
    """It looks like the table of a class's subclasses, and is none."""
    with leak_check():
        by_number.pop(1, None)
    with pytest.raises(LeakError, match="by_number"), leak_check():
        by_number[1] = weakref.ref(old, print)


# --- what is made when someone looks, and who is named ------------------------------------------


class Lazy:
    @functools.cached_property
    def value(self):
        return [Widget()]


def test_a_cached_property_is_found_with_its_holder():
    """What a cached_property keeps is held by its instance, and by nothing of this library."""
    lazy = Lazy()
    Holder.kept = lazy
    with pytest.raises(LeakError) as caught, leak_check():
        assert lazy.value
    held_by = str(caught.value.report.diagnosis.survivors[0].held_by)
    assert held_by.startswith("module test_single_pass -> Holder.kept")
    assert "value" in held_by
    Holder.kept = None
    with leak_check():
        assert lazy.value


class Holder:
    kept = None


def test_looking_at_a_function_is_no_leak():
    """Its attributes and annotations are made then; what is put there is found all the same."""

    def run(one, *args: int, more: list[int] = (), **kwargs: dict) -> int:
        return one

    def bare(one):
        return one

    with leak_check():
        inspect.signature(run)
        inspect.signature(bare)
        inspect.get_annotations(run)
        vars(bare)
    with pytest.raises(LeakError, match="bare"), leak_check():
        bare.calls = [1]


# --- first use -----------------------------------------------------------------------------------

FIRST_USES = {
    "an event loop": """
import asyncio
async def main(): await asyncio.sleep(0)
def subject(): asyncio.run(main())
""",
    "a context": """
import contextvars
def subject(): contextvars.copy_context()
""",
    "decimal": """
import decimal
def subject(): decimal.Decimal(1) / 3
""",
    "a time zone": """
import zoneinfo
def subject(): zoneinfo.ZoneInfo("UTC")
""",
}

CHECKED = """
import ctypes, sys
import refleak
with refleak.leak_check():
    subject()
if "leaking" in sys.argv:
    with refleak.leak_check():
        subject()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object([subject]))
"""


@pytest.mark.parametrize("subject", FIRST_USES.values(), ids=FIRST_USES)
def test_what_the_standard_library_makes_at_its_first_use_is_no_leak(subject, tmp_path):
    """C code keeps it where nobody sees it; what else it keeps is told with what looks the same."""
    (tmp_path / "first.py").write_text(subject + CHECKED)
    clean = python("first.py", folder=tmp_path)
    assert (0, "") == (clean.returncode, clean.stderr)
    leaking = python("first.py", "leaking", folder=tmp_path)
    assert "1 x list" in leaking.stderr
    assert "looks the same in a single pass" in " ".join(leaking.stderr.split())
