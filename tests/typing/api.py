"""What type checkers must see of the public API; never run, only read by mypy and pyright.

A line with an ignore comment must be an error for that checker: unused ones are errors themselves.
"""

from __future__ import annotations

import unittest
from collections.abc import Coroutine
from typing import Any, Protocol

from typing_extensions import assert_type

from refleak import LeakError, Probe, Report, assert_no_leaks, find_leaks, leak_check

# --- assert_no_leaks keeps the exact type of what it decorates -----------------------------------


def parse(text: str, /, base: int = 10, *, strict: bool = False) -> float:
    """Stand for code under test, with every kind of parameter."""
    return float(int(text, base)) if strict else 0.0


class Parser(Protocol):
    """Is exactly parse's signature."""

    def __call__(self, text: str, /, base: int = 10, *, strict: bool = False) -> float:
        """Call it."""
        ...


async def fetch(url: str) -> bytes:
    """Stand for asynchronous code under test."""
    return url.encode()


@assert_no_leaks
def bare(number: int, *, word: str = "") -> list[str]:
    """Be decorated bare."""
    return [word] * number


@assert_no_leaks()
def called(number: int) -> str:
    """Be decorated with empty brackets."""
    return str(number)


@assert_no_leaks(
    stab=3, run=4, probes=["references"], ignore=[dict, "decimal.Decimal"], freeze=False
)
def with_options(number: int) -> str:
    """Be decorated with arguments."""
    return str(number)


@assert_no_leaks
async def asynchronous(number: int) -> str:
    """Be decorated bare, asynchronously."""
    return str(number)


@assert_no_leaks(run=2)
async def asynchronous_with_options(number: int) -> str:
    """Be decorated with arguments, asynchronously."""
    return str(number)


class Faucet:
    """Has one of each kind of method."""

    @assert_no_leaks
    def method(self, number: int) -> str:
        """Be a method."""
        return str(number)

    @assert_no_leaks(stab=2)
    def method_with_options(self, number: int) -> str:
        """Be a method, decorated with arguments."""
        return str(number)

    @assert_no_leaks
    async def asynchronous_method(self, number: int) -> str:
        """Be an asynchronous method."""
        return str(number)

    @classmethod
    @assert_no_leaks
    def make(cls, number: int) -> Faucet:
        """Be a classmethod."""
        return cls()

    @staticmethod
    @assert_no_leaks(stab=2)
    def drop(number: int) -> str:
        """Be a staticmethod."""
        return str(number)

    @assert_no_leaks
    @classmethod
    def made_inside_out(cls, number: int) -> Faucet:
        """Be a classmethod, decorated from outside."""
        return cls()

    @assert_no_leaks(stab=2)
    @staticmethod
    def dropped_inside_out(number: int) -> str:
        """Be a staticmethod, decorated from outside."""
        return str(number)


@assert_no_leaks
class BareTests(unittest.TestCase):
    """Is decorated bare."""

    def helper(self) -> int:
        """Stay what it is."""
        return 1


@assert_no_leaks(stab=2, diagnose=False)
class TestsWithOptions(unittest.TestCase):
    """Is decorated with arguments."""

    def helper(self) -> int:
        """Stay what it is."""
        return 1


async def decorated_callables_keep_their_types(faucet: Faucet) -> None:
    """Ask for every result and every kind of argument."""
    assert_type(bare(1, word=""), list[str])
    assert_type(called(1), str)
    assert_type(with_options(1), str)
    coroutine: Coroutine[Any, Any, str] = asynchronous(1)
    assert_type(await coroutine, str)
    assert_type(await asynchronous(1), str)
    assert_type(await asynchronous_with_options(1), str)
    assert_type(faucet.method(1), str)
    assert_type(faucet.method_with_options(1), str)
    assert_type(await faucet.asynchronous_method(1), str)
    assert_type(Faucet.make(1), Faucet)
    assert_type(faucet.drop(1), str)
    assert_type(faucet.made_inside_out(1), Faucet)
    assert_type(faucet.dropped_inside_out(1), str)
    assert_type(assert_no_leaks(parse)("1", 2, strict=True), float)
    assert_type(assert_no_leaks(lambda: str(1))(), str)
    signature: Parser = assert_no_leaks(parse)
    again: Parser = assert_no_leaks(stab=2)(signature)
    assert_type(again("1"), float)
    assert_type(assert_no_leaks(BareTests), type[BareTests])
    assert_type(BareTests().helper(), int)
    assert_type(TestsWithOptions("helper").helper(), int)


def decorated_callables_reject_wrong_arguments(faucet: Faucet) -> None:
    """Call each kind wrongly."""
    bare("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bare(1, "word")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    called()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    faucet.method("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    faucet.drop("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Faucet.make("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_no_leaks(parse)(text="1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def assert_no_leaks_rejects_wrong_arguments() -> None:
    """Give wrong subjects and options."""
    assert_no_leaks(5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert_no_leaks(stab="5")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    assert_no_leaks(warmup=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    assert_no_leaks(called, 5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


# --- leak_check ----------------------------------------------------------------------------------


def a_callable_is_checked_with_its_arguments() -> None:
    """Get the callable's result, and its own demands on arguments."""
    with leak_check(stab=2, run=3) as check:
        assert_type(check(parse, "1", base=2, strict=True), float)
        assert_type(check(called, 1), str)
        assert_type(check(lambda: 1), int)
        check(parse, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        check(parse)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        check(parse, "1", radix=2)  # type: ignore[arg-type, call-arg, unused-coroutine]  # pyright: ignore[reportCallIssue]
        check()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        check(5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert_type(check.report, Report | None)


async def an_async_callable_is_checked_too() -> None:
    """Await the callable's result."""
    with leak_check() as check:
        assert_type(await check(fetch, "url"), bytes)
        assert_type(await check(asynchronous, 1), str)
        await check(fetch, 5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def a_block_is_checked() -> None:
    """Loop, also in async code, or run once."""
    for nothing in leak_check(stab=5, run=4):
        assert_type(nothing, None)
        await fetch("url")
    with leak_check(probes="references", tolerance={"references": 0.5}):
        parse("1")


def a_block_swallows_no_exception() -> int:
    """Be no function that lacks a return: what the block raises goes on."""
    with leak_check():
        return 1


def leak_check_rejects_wrong_arguments() -> None:
    """Give wrong options."""
    leak_check(object())  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    leak_check(run="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    leak_check(warmup=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# --- find_leaks, LeakError, Report, Probe --------------------------------------------------------


class Connections:
    """A quantity of the user's own."""

    name = "connections"
    unit = "connection"

    def unavailable(self) -> str | None:
        """Say that it can always be read."""
        return None

    def read(self) -> int:
        """Give the level."""
        return 0


class Unreadable:
    """No quantity: it lacks ``read``."""

    name = "connections"
    unit = "connection"


def leaks_are_found_and_reported() -> None:
    """Get a report, from the return value and from the error."""
    report = find_leaks(lambda: called(1), stab=2, probes=["references", Connections()])
    assert_type(report, Report)
    assert_type(find_leaks(asynchronous_nothing), Report)
    assert_type(str(report), str)
    assert_type(report.summary(), str)
    assert_type(report.to_json(), str)
    try:
        called(1)
    except LeakError as error:
        assert_type(error.report, Report)
    failure: AssertionError = LeakError(report)
    raise failure


async def asynchronous_nothing() -> None:
    """Take no arguments."""


def find_leaks_rejects_wrong_arguments(report: Report) -> None:
    """Give wrong subjects, options and probes."""
    find_leaks()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    find_leaks(called)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    find_leaks(asynchronous_nothing, object())  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    find_leaks(asynchronous_nothing, run=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    find_leaks(asynchronous_nothing, probes=[Unreadable()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    report.rounds = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


a_probe: Probe = Connections()
no_probe: Probe = Unreadable()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
