"""Every leak of the zoo is found and no innocent accused, at the doors of the API by turns."""

# ruff: noqa: N801  # the context manager reads like a function

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
import unittest

import pytest
from zoo import INNOCENTS, LEAKS, ZOO, Entry

from refleak import LeakError, assert_no_leaks, find_leaks, leak_check

QUICK = {"stab": 2, "max_rounds": 28, "diagnose": False}
"""For leaks, of which three windows tell as much as the nine of the default."""

QUICK_IN_BYTES = {**QUICK, "max_rounds": 124}
"""For leaks in bytes, of which the first window may hold what malloc keeps for reuse."""


def through_find_leaks(subject, options):
    """Return the report of find_leaks()."""
    return find_leaks(subject, **options)


def through_the_decorator(subject, options):
    """Return the report of a decorated function's LeakError, or None."""
    with caught() as errors:
        result = assert_no_leaks(**options)(subject)()
        if inspect.iscoroutine(result):
            asyncio.run(result)
    return errors.report


def through_the_decorator_async(subject, options):
    """Return the report of a decorated coroutine function's LeakError, or None."""

    async def test():
        subject()

    return through_the_decorator(test, options)


def through_a_call(subject, options):
    """Return the report of ``with leak_check() as check: check(subject)``."""

    def sync():
        with leak_check(**options) as check:
            check(subject)

    async def awaiting():
        with leak_check(**options) as check:
            await check(subject)

    with caught() as errors:
        asyncio.run(awaiting()) if inspect.iscoroutinefunction(subject) else sync()
    return errors.report


def through_a_loop(subject, options):
    """Return the report of ``for _ in leak_check(): subject()``."""

    async def awaiting():
        for _ in leak_check(**options):
            await subject()

    with caught() as errors:
        if inspect.iscoroutinefunction(subject):
            asyncio.run(awaiting())
        else:
            for _ in leak_check(**options):
                subject()
    return errors.report


def through_a_loop_async(subject, options):
    """Return the report of a loop in a coroutine."""

    async def test():
        for _ in leak_check(**options):
            subject()

    with caught() as errors:
        asyncio.run(test())
    return errors.report


def through_a_single_pass(subject):
    """Return the report of ``with leak_check(): subject()``, or None."""

    def sync():
        with leak_check(diagnose=False):
            subject()

    async def awaiting():
        with leak_check(diagnose=False):
            await subject()
            await asyncio.sleep(0)  # what it left scheduled comes to its end

    with caught() as errors:
        asyncio.run(awaiting()) if inspect.iscoroutinefunction(subject) else sync()
    return errors.report


def through_a_test_case(subject, options):
    """Return the report of a decorated TestCase's LeakError, or None."""

    @assert_no_leaks(**options)
    class Case(unittest.TestCase):
        def test(self):
            subject()

    with caught() as errors:
        case = Case("test")
        case.debug()
    return errors.report


class caught(contextlib.AbstractContextManager):
    """Keep the report of a LeakError that the block raises."""

    report = None

    def __exit__(self, kind, error, traceback):
        if kind is None or not issubclass(kind, LeakError):
            return False
        self.report = error.report
        return True


DOORS = [
    through_find_leaks,
    through_the_decorator,
    through_the_decorator_async,
    through_a_call,
    through_a_loop,
    through_a_loop_async,
    through_a_test_case,
]
IN_A_LOOP = [through_the_decorator_async, through_a_loop_async]


def doors(entry: Entry):
    """Return the doors that an entry can go through."""
    if entry.needs_loop:
        return [through_find_leaks, through_the_decorator, through_a_call, through_a_loop]
    return [door for door in DOORS if not (entry.own_loop and door in IN_A_LOOP)]


FIRST_DOOR = sys.version_info.minor + hasattr(sys, "gettotalrefcount")
"""Each interpreter begins at another door, so that on all that .ci/run uses every entry goes
through every door."""


def by_turns(entries):
    """Pair each entry with one door, each door in its turn."""
    return [
        pytest.param(entry, door, id=f"{entry.name}-{door.__name__}")
        for number, entry in enumerate(entries, FIRST_DOOR)
        for door in [doors(entry)[number % len(doors(entry))]]
    ]


def run(entry: Entry, door, options):
    """Run a fresh subject of *entry* through *door*."""
    if entry.cannot_run:
        pytest.skip(entry.cannot_run)
    with entry.subject() as subject:
        return door(subject, options)


def found(report):
    """Return the names of the quantities that leak."""
    return set() if report is None else {finding.quantity for finding in report.findings}


@pytest.mark.parametrize(("entry", "door"), by_turns(LEAKS))
def test_every_leak_is_found(entry, door):
    """A leak is found, with the quantities it shows in and the type that grows."""
    report = run(entry, door, QUICK_IN_BYTES if "native heap" in entry.quantities else QUICK)
    assert found(report) >= entry.quantities, str(report)
    grown = {change.name: max(change.instances, change.references) for change in report.types}
    assert entry.type is None or grown.get(entry.type, 0) * entry.period >= report.run, str(report)


@pytest.mark.parametrize(("entry", "door"), by_turns(INNOCENTS))
def test_no_innocent_is_accused(entry, door):
    """An innocent passes at default settings."""
    report = run(entry, door, {})
    assert found(report) == set(), str(report)


def a_third(entries):
    """Return all entries, two thirds of them for when there is time."""
    marks = [(), pytest.mark.slow, pytest.mark.slow]
    return [
        pytest.param(entry, id=entry.name, marks=marks[n % 3]) for n, entry in enumerate(entries)
    ]


@pytest.mark.parametrize("entry", a_third(each for each in LEAKS if not each.not_once))
def test_what_every_call_leaks_is_found_in_a_single_pass(entry):
    """A block that runs once finds what it leaks, unless the entry says why that cannot be."""
    if entry.cannot_run:
        pytest.skip(entry.cannot_run)
    with entry.subject() as subject:
        report = through_a_single_pass(subject)
    assert found(report) != set()


WARM_UP = 12
"""Calls after which what only the first ones do is over."""


@pytest.mark.parametrize("entry", a_third(INNOCENTS))
def test_no_innocent_is_accused_in_a_single_pass(entry):
    """A block that runs once accuses no innocent, though some only after they were called."""
    with entry.subject() as subject:
        if entry.not_once:
            for _ in range(WARM_UP):
                subject()
        report = through_a_single_pass(subject)
    assert found(report) == set(), str(report)


def test_the_zoo_is_large_enough():
    """There are at least fifteen leaks and fifteen innocents, each with a name of its own."""
    assert len(LEAKS) >= 15
    assert len(INNOCENTS) >= 15
    assert len({entry.name for entry in ZOO}) == len(ZOO)


@pytest.mark.parametrize("entry", LEAKS, ids=str)
def test_every_leak_says_where_it_is(entry):
    """Each leak's line is marked in the zoo's source."""
    assert isinstance(entry.line, int)
