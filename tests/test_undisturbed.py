"""Nothing is disturbed: exceptions pass, the interpreter is as before, collectors keep working."""

# ruff: noqa: D103  # doors, states and subjects are described by their names

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import tracemalloc
import unittest
import warnings
import weakref
from contextlib import contextmanager
from gc import freeze as early_freeze
from unittest import mock

import pytest

import refleak
from refleak import LeakError, assert_no_leaks, find_leaks, leak_check

STAB, RUN = 3, 2
OPTIONS = {"stab": STAB, "run": RUN}

ROUNDS = {
    "first warm-up": 1,
    "last warm-up": STAB,
    "first measured": STAB + 1,
    "last measured": STAB + RUN,
    "first confirming": STAB + RUN + 1,
    "further": STAB + 3 * RUN + 1,
}

# Diagnosis begins after the rounds that the bounds allow.
FURTHER = 20
DIAGNOSIS = STAB + RUN + FURTHER


class Node:
    """An object that refers to itself."""

    def __init__(self):
        self.me = self


class Subject:
    """Code under test that leaks, so that all rounds are run, and may raise in one of them."""

    def __init__(self, round_number, error, what=None):
        self.calls = 0
        self.kept = []
        self._round, self._error, self._what = round_number, error, what

    def __call__(self):
        """Leak a dict, do what is to be done, and raise in the one round."""
        self.calls += 1
        self.kept.append(Node())
        if self._what is not None:
            self._what()
        if self.calls == self._round:
            raise self._error


# --- every door ----------------------------------------------------------------------------------


def by_decorator(subject, **options):
    assert_no_leaks(**OPTIONS, **options)(lambda: subject())()  # noqa: PLW0108  # a function to decorate


def by_async_decorator(subject, **options):
    @assert_no_leaks(**OPTIONS, **options)
    async def wrapped():
        await asyncio.sleep(0)
        subject()

    asyncio.run(wrapped())


def by_call(subject, **options):
    with leak_check(**OPTIONS, **options) as check:
        check(subject)


def by_loop(subject, **options):
    for _ in leak_check(**OPTIONS, **options):
        subject()


def by_find_leaks(subject, **options):
    find_leaks(subject, **OPTIONS, **options)


DOORS = [by_decorator, by_async_decorator, by_call, by_loop, by_find_leaks]

ERRORS = [
    ValueError("its own"),
    KeyboardInterrupt(),
    SystemExit(3),
    unittest.SkipTest("not here"),
    pytest.skip.Exception("not here"),
    pytest.xfail.Exception("known"),
    AssertionError("its own"),
]


@pytest.mark.parametrize("number", ROUNDS.values(), ids=ROUNDS)
def test_exceptions_pass_in_every_round(number):
    """An exception in whatever round is what the caller gets, and no round follows."""
    check_exception(ValueError("its own"), number)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__qualname__)
def test_exceptions_of_every_kind_pass(error):
    """Skips, expected failures and interruptions are what the caller gets, as they are."""
    check_exception(error, STAB + 1)


def check_exception(error, number):
    """Raise in one round; the caller must get the very exception, and no round may follow."""
    subject = Subject(number, error)
    with pytest.raises(type(error)) as caught:
        by_decorator(subject, diagnose=False)
    assert caught.value is error
    assert number == subject.calls
    assert not isinstance(error, LeakError)


@pytest.mark.parametrize("number", [1, STAB + 1, STAB + RUN + 1])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.filterwarnings("error")
def test_exceptions_pass_through_every_door(door, number):
    """Every door hands the exception on, without a verdict and without a warning."""
    error = ValueError("its own")
    subject = Subject(number, error)
    with pytest.raises(ValueError, match="its own") as caught:
        door(subject, diagnose=False)
    assert caught.value is error
    assert number == subject.calls


@pytest.mark.parametrize(("door", "later"), list(zip(DOORS, [1, 2, 3, 5, 7], strict=True)))
def test_exceptions_pass_during_the_diagnosis(door, later):
    """An exception in a round that looks for origin and holders is the caller's too."""
    error = ValueError("its own")
    subject = Subject(DIAGNOSIS + later, error)
    with state_kept(), pytest.raises(ValueError, match="its own") as caught:
        door(subject, max_rounds=FURTHER)
    assert caught.value is error
    assert find_leaks(lambda: None, **OPTIONS).judged


def test_no_verdict_is_given_after_an_exception():
    """A check whose body raised has no report."""
    with pytest.raises(ValueError, match="its own"), leak_check(**OPTIONS) as check:
        check(Subject(STAB + 1, ValueError("its own")))
    assert None is check.report


# --- state ----------------------------------------------------------------------------------------


def state():
    """Return what a check must leave as it was."""
    return {
        "enabled": gc.isenabled(),
        "debug": gc.get_debug(),
        "thresholds": gc.get_threshold(),
        "frozen": gc.get_freeze_count() > 2500,
        "callbacks": list(gc.callbacks),
        "module": type(gc),
        "functions": [gc.collect, gc.get_objects, gc.freeze],
        "tracemalloc": tracemalloc.is_tracing() and tracemalloc.get_traceback_limit(),
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "trace": (sys.gettrace(), sys.getprofile(), threading.active_count()),
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
    }


@contextmanager
def state_kept():
    """Fail when the block changes the interpreter's state."""
    before = state()
    try:
        yield
    finally:
        after = state()
    assert before == after


@contextmanager
def collector_off():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def collector_debugged():
    gc.set_debug(gc.DEBUG_UNCOLLECTABLE)
    try:
        yield
    finally:
        gc.set_debug(0)


@contextmanager
def collector_tuned():
    before = gc.get_threshold()
    gc.set_threshold(900, 11, 12)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def collector_frozen():
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def memory_traced():
    tracemalloc.start(2)
    try:
        yield
    finally:
        tracemalloc.stop()


@contextmanager
def warnings_filtered():
    with warnings.catch_warnings():
        warnings.simplefilter("error", BytesWarning)
        yield


@contextmanager
def as_usual():
    yield


@contextmanager
def all_but_frozen():
    with collector_off(), collector_debugged(), collector_tuned(), warnings_filtered():
        yield


STATES = [as_usual, all_but_frozen, collector_frozen]


@pytest.mark.parametrize("made", STATES)
def test_state_is_as_before_a_clean_check(made):
    """A clean check leaves the interpreter's state as it was, whatever it was."""
    with made(), state_kept():
        assert not find_leaks(lambda: None, **OPTIONS).leaking


@pytest.mark.parametrize("made", [*STATES, memory_traced])
def test_state_is_as_before_a_leak_with_its_diagnosis(made):
    """A leak, found and diagnosed, leaves the interpreter's state as it was."""
    subject = Subject(None, None)
    with made(), state_kept():
        assert find_leaks(subject, **OPTIONS, max_rounds=FURTHER).leaking


@pytest.mark.parametrize("made", STATES)
@pytest.mark.parametrize("number", [*ROUNDS.values(), DIAGNOSIS + 1], ids=[*ROUNDS, "diagnosis"])
def test_state_is_as_before_an_exception(made, number):
    """An exception in any round leaves the interpreter's state as it was."""
    subject = Subject(number, ValueError("its own"))
    with made(), state_kept(), pytest.raises(ValueError, match="its own"):
        find_leaks(subject, **OPTIONS, max_rounds=FURTHER)


@pytest.mark.parametrize("number", [1, STAB + 1, STAB + RUN + 1])
def test_state_is_as_before_a_loop_that_is_left(number):
    """A loop that is left by break leaves the interpreter's state as it was."""
    kept = []
    with state_kept(), pytest.warns(RuntimeWarning, match="left early"):  # noqa: PT031  # a loop is one statement
        for _ in leak_check(**OPTIONS):
            kept.append({})
            if len(kept) == number:
                break


# --- code that works with the collector -----------------------------------------------------------


def ask_for_old_objects(old):
    assert any(each is old for each in gc.get_objects())
    assert [] != gc.get_referrers(old)


def expect_nothing_frozen(_):
    assert gc.get_freeze_count() <= 2500


def freeze_and_unfreeze(_):
    gc.freeze()
    assert gc.get_freeze_count() > 2500
    gc.unfreeze()


def collect_twice(_):
    node = weakref.ref(Node())
    gc.collect()
    assert node() is None


def switch_off_and_on(_):
    gc.disable()
    gc.enable()


def set_thresholds(_):
    before = gc.get_threshold()
    gc.set_threshold(5, 5, 5)
    gc.set_threshold(*before)


COLLECTOR_USERS = [
    ask_for_old_objects,
    expect_nothing_frozen,
    freeze_and_unfreeze,
    collect_twice,
    switch_off_and_on,
    set_thresholds,
]


@pytest.mark.parametrize("work", COLLECTOR_USERS)
def test_code_that_works_with_the_collector_is_clean(work):
    """Code under test that uses the collector sees it as it is, and is judged clean."""
    old = Node()
    with state_kept():
        assert not find_leaks(lambda: work(old), **OPTIONS).leaking


@pytest.mark.parametrize("work", COLLECTOR_USERS)
def test_leaks_of_code_that_works_with_the_collector_are_found(work):
    """Code under test that uses the collector and leaks is found out."""
    old = Node()
    subject = Subject(None, None, lambda: work(old))
    with state_kept():
        report = find_leaks(subject, **OPTIONS, max_rounds=FURTHER, diagnose=False)
    assert {"memory blocks", "objects"} <= {each.quantity for each in report.findings}


def test_an_old_cycle_is_collected_when_the_code_collects():
    """What was there before the check is collected by the code's own collection, not kept."""
    kept, gone = [Node()], []

    def drop():
        if kept:
            watched = weakref.ref(kept.pop())
            gc.collect()
            gone.append(watched() is None)

    find_leaks(drop, **OPTIONS, diagnose=False)
    assert [True] == gone


def late_freeze():
    gc.freeze()


@pytest.mark.parametrize("freeze", [late_freeze, early_freeze])
def test_a_freeze_of_the_code_under_test_is_kept(freeze):
    """What the code under test froze is frozen after the check, and its leaks are found."""
    subject = Subject(None, None, freeze)
    try:
        report = find_leaks(subject, **OPTIONS, max_rounds=FURTHER, diagnose=False)
        assert gc.get_freeze_count() > 2500
    finally:
        gc.unfreeze()
    assert {"memory blocks", "objects"} <= {each.quantity for each in report.findings}


def test_an_innocent_that_freezes_is_clean():
    """Freezing in each call is no leak."""
    try:
        assert not find_leaks(gc.freeze, **OPTIONS, diagnose=False).leaking
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("number", [1, STAB + 1, STAB + RUN + 1])
def test_a_freeze_before_an_exception_is_kept(number):
    """A freeze of the code under test outlives an exception that ends the check."""
    subject = Subject(number, ValueError("its own"), gc.freeze)
    try:
        with pytest.raises(ValueError, match="its own"):
            find_leaks(subject, **OPTIONS)
        assert gc.get_freeze_count() > 2500
    finally:
        gc.unfreeze()


# --- functions that tests replace -----------------------------------------------------------------


REPLACED = [
    *("time.monotonic", "time.thread_time", "time.sleep"),
    *("os.close", "os.getcwd", "os.listdir", "os.open", "os.read", "os.readlink", "os.stat"),
    "builtins.open",
]


@pytest.mark.parametrize("name", REPLACED)
def test_functions_that_a_test_replaces_are_not_called(name):
    """Readings and rounds call what was there before: a mock's list of calls would be a leak."""
    kept = []
    with mock.patch(name) as replaced:
        clean = find_leaks(lambda: None, **OPTIONS)
        leaking = find_leaks(lambda: kept.append({}), **OPTIONS, max_rounds=60, diagnose=False)
        assert [] == replaced.mock_calls
    assert not clean.leaking
    assert STAB + RUN == clean.rounds
    assert {"references", "memory blocks"} <= {each.quantity for each in leaking.findings}


def test_time_that_stands_still_ends_no_bound():
    """Rounds are bounded by real time, whatever the time module says."""
    kept = []

    def subject():
        kept.append({})
        waiting.wait(0.02)

    waiting = threading.Event()
    with mock.patch("time.monotonic", return_value=1.0):
        report = find_leaks(subject, **OPTIONS, diagnose=False, max_seconds=0.2)
    assert report.rounds < 100
    assert report.leaking


# --- checks within and beside checks -------------------------------------------------------------


def test_a_check_within_a_check_runs_once_unjudged():
    """The inner function is run once per round of the outer; its leak is the outer's."""
    kept = []
    inner = assert_no_leaks(**OPTIONS)(lambda: kept.append({}))

    @assert_no_leaks(**OPTIONS, max_rounds=FURTHER, diagnose=False)
    def outer():
        inner()

    with pytest.raises(LeakError) as caught:
        outer()
    assert caught.value.report.rounds == len(kept)
    assert "outer" in str(caught.value)


def test_an_inner_report_says_that_it_was_not_judged():
    """Within another check a report is not judged and says why."""
    reports = []

    def outer():
        reports[:] = [find_leaks(lambda: None)]

    find_leaks(outer, **OPTIONS)
    assert not reports[0].judged
    assert 1 == reports[0].rounds
    assert "outer" in reports[0].not_judged[0].reason


def test_checks_in_several_threads_leave_one_to_judge():
    """Of checks that overlap in several threads one is judged, the others run once and say so."""
    inside, done = threading.Event(), threading.Event()
    reports = []

    def slow():
        inside.set()
        done.wait(20)

    thread = threading.Thread(target=lambda: reports.append(find_leaks(slow, **OPTIONS)))
    thread.start()
    assert inside.wait(20)
    other = find_leaks(lambda: None, **OPTIONS)
    done.set()
    thread.join(20)
    assert not other.judged
    assert reports[0].judged


def test_a_check_after_one_that_raised_is_judged():
    """An exception in a check does not make later ones unjudged."""
    with pytest.raises(ValueError, match="its own"):
        find_leaks(Subject(2, ValueError("its own")))
    assert refleak.find_leaks(lambda: None).judged
