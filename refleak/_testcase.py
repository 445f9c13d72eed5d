"""Each test of a ``unittest.TestCase``, repeated on fresh instances through the one pipeline.

The class is decorated in place: it stays the same class to type checkers, ``super()``, pickle and
test selection. Only its three entry points, ``__call__``, ``run`` and ``debug``, repeat the test.
"""

from __future__ import annotations

import functools
import inspect
import io
import sys
import unittest
from collections.abc import Callable
from typing import Any, TypeVar

from refleak._check import Check, raise_if_leaking
from refleak._plan import Plan, switched_off

C = TypeVar("C", bound=type)

__unittest = True  # unittest leaves frames of modules with this name out of its tracebacks

ENTRIES = ("__call__", "run", "debug")
"""Where runners enter a test; Django's test cases set up in ``__call__``, Twisted's in ``run``."""

ROUND = "_refleak_round"
"""Attribute of the instances made for one round, on which the entry points do what they did."""

METHOD_NAMES = {"methodName", "methodname", "method_name", "method", "name", "test_name"}
"""What the parameter of a TestCase's constructor is called that takes the method's name."""


def decorate_class(cls: C, plan: Plan) -> C:
    """Have each test of *cls* repeated, with setUp, tearDown and cleanups, and judged.

    Holds for inherited tests and for subclasses too. Class and module fixtures are set up once, by
    the runner. A test that fails, errs or is skipped is reported as ever, without a verdict; of a
    test that passes the first run is reported, and a leak as a failure with LeakError. With
    ``@unittest.expectedFailure`` a leak is the expected failure.
    """
    for name in ENTRIES:
        setattr(cls, name, _entry(cls, name, plan))
    return cls


def _entry(cls: type, name: str, plan: Plan) -> Callable[..., Any]:
    """Return what replaces the entry point *name*."""
    own: Callable[..., Any] | None = vars(cls).get(name)

    @functools.wraps(getattr(cls, name))
    def entry(self: unittest.TestCase, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if is_round(self) or switched_off():
            if own is not None:
                return own(self, *args, **kwargs)
            # Looked up now: a subclass may have mixed in another class between.
            return getattr(super(cls, self), name)(*args, **kwargs)
        check = Check(plan, name_of_test(self))
        if name == "debug":
            return _debug(self, check)
        return run_repeatedly(self, check, _failure, name, *args, **kwargs)

    return entry


def is_round(case: unittest.TestCase) -> bool:
    """Tell whether *case* was made for one round of a check."""
    return ROUND in vars(case)


def name_of_test(case: unittest.TestCase) -> str:
    """Name a test as its method is named: ``TestFaucet.test_drop``."""
    return f"{type(case).__qualname__.rpartition('<locals>.')[2]}.{method_name(case)}"


def method_name(case: unittest.TestCase) -> str:
    """Return the name of the method that *case* runs."""
    name: str = case._testMethodName
    return name


def _debug(case: unittest.TestCase, check: Check) -> None:
    """Do as ``TestCase.debug()`` does, which lets exceptions through, in each round."""
    __tracebackhide__ = True
    fresh = Fresh(case)
    for _ in check.rounds():
        fresh.make().debug()
    if check.report is not None:
        raise_if_leaking(check.report, check.plan)


Leak = Callable[["RoundResult", Check], bool]
"""Tells the result of a leak, if there is one, in place of the success."""


def run_repeatedly(
    case: unittest.TestCase,
    check: Check,
    tell_leak: Leak,
    entry: str = "run",
    result: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Run *case* in the rounds of *check*, on fresh instances; *result* hears of one test."""
    __tracebackhide__ = True
    if result is not None:
        return _run(case, check, tell_leak, result, Fresh(case, entry, *args, **kwargs))
    result = case.defaultTestResult()
    result.startTestRun()
    try:
        return _run(case, check, tell_leak, result, Fresh(case, entry, *args, **kwargs))
    finally:
        result.stopTestRun()


def _run(case: unittest.TestCase, check: Check, tell_leak: Leak, result: Any, fresh: Fresh) -> Any:
    __tracebackhide__ = True
    heard = RoundResult(result, case)
    try:
        for _ in check.rounds():
            fresh.run(heard)
            if heard.end_round():
                break
        if not tell_leak(heard, check):
            heard.tell()
    finally:
        heard.stop()
    return result


def _failure(heard: RoundResult, check: Check) -> bool:
    """Report a leak as a failure of the test."""
    __tracebackhide__ = True
    if heard.over or check.report is None:
        return False
    try:
        raise_if_leaking(check.report, check.plan)
    except AssertionError as error:  # LeakError, or a known leak that is none any more
        here = error.__traceback__
        if here is not None:
            here.tb_next = None  # no line of the user's is in there
        heard.tell_failure((type(error), error, here))
        return True
    return False


class Fresh:
    """Makes instances of a test for one round each, as they were before the test ran.

    The class is called with the method's name, as loaders do. Where its constructor takes anything
    else (``unittest.FunctionTestCase``, doctests, home-made parametrization) it is passed
    over and all attributes are taken from the original, lists, dicts and sets as copies.
    Attributes that something else gave to the original, such as a pytest fixture, are carried over.
    """

    def __init__(
        self, case: unittest.TestCase, entry: str = "run", *args: Any, **kwargs: Any
    ) -> None:
        self._class: Any = type(case)
        self._method = method_name(case)
        self._construct = _takes_method_name(self._class)
        self._entry, self._args, self._kwargs = entry, args, kwargs
        made = vars(self._new())
        # Its own test method on the instance is bound to the original: pytest puts it there.
        leave = {*made, self._method, *ENTRIES}
        self._carried = [(key, value) for key, value in vars(case).items() if key not in leave]

    def make(self) -> Any:
        """Return a new instance."""
        case = self._new()
        for key, value in self._carried:
            # Not by vars(case), which would make a dict that instances have without it.
            object.__setattr__(case, key, value if self._construct else _copy(value))
        object.__setattr__(case, ROUND, True)
        return case

    def run(self, result: RoundResult) -> None:
        """Run the test once, on a new instance."""
        __tracebackhide__ = True
        getattr(self.make(), self._entry)(result, *self._args, **self._kwargs)

    def _new(self) -> Any:
        if self._construct:
            return self._class(self._method)
        case = self._class.__new__(self._class)
        asynchronous = issubclass(self._class, unittest.IsolatedAsyncioTestCase)
        base: Any = unittest.IsolatedAsyncioTestCase if asynchronous else unittest.TestCase
        base.__init__(case, self._method)
        return case


def _takes_method_name(cls: type) -> bool:
    """Tell whether the constructor takes the method's name and nothing else."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(cls).parameters.values()
    fixed = [each.name for each in parameters if each.kind not in variable]
    return all(name in METHOD_NAMES for name in fixed) and len(fixed) < 2


def _copy(value: Any) -> Any:
    if any(type(value) is each for each in (list, dict, set)):
        return value.copy()
    doctest = sys.modules.get("doctest")
    if doctest is not None and type(value) is doctest.DocTest:
        # Its tearDown empties the globals it ran in.
        globs = value.globs.copy()
        return doctest.DocTest(
            value.examples, globs, value.name, value.filename, value.lineno, value.docstring
        )
    return value


HELD = {"addSuccess", "addUnexpectedSuccess", "addDuration", "addSubTest"}
"""What a result may hear of a test that passes; told when all rounds are over."""

ENDING = {"addError", "addFailure", "addSkip", "addExpectedFailure"}
"""What ends the repetition and is told at once."""

REPEATED = "refleak: the test passed at first; this happened when it was repeated to look for leaks"


class RoundResult:
    """A test result that hears of all rounds and tells the real one of a single test.

    What the first round reported is kept until the end, and told if no later round reports
    anything but success; so nothing is kept of the measured rounds. It has every attribute that the
    real result has.
    """

    _OWN = ("_result", "_case", "_first", "_held", "_started", "_stopped", "over")

    def __init__(self, result: Any, case: unittest.TestCase) -> None:
        self._result = result
        self._case = case
        self._first = True
        self._held: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._started = False
        self._stopped = False
        self.over = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._result, name)
        if name in HELD or name in ENDING:
            return functools.partial(self._hear, name)
        return real

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self if name in self._OWN else self._result, name, value)

    def startTest(self, test: object) -> None:  # noqa: N802, ARG002  # unittest's signature
        """Tell of the start once; leave out what an earlier round wrote to a captured stream."""
        if not self._started:
            self._started = True
            self._result.startTest(self._case)
        elif not self._first:
            for stream in (sys.stdout, sys.stderr):
                _forget(stream)

    def stopTest(self, test: object) -> None:  # noqa: N802, ARG002  # unittest's signature
        """Note it for the end: the test goes on in the next round."""
        self._stopped = True

    def _hear(self, name: str, test: object, *args: Any, **kwargs: Any) -> None:
        """Take a report about *test*: an instance of one round, or a subtest of one."""
        about = self._case if ROUND in getattr(test, "__dict__", ()) else test
        if self.over:
            getattr(self._result, name)(about, *args, **kwargs)
        elif name in ENDING or _subtest_failed(name, args):
            self.over = True
            self._explain(args)
            if self._first:
                self.tell()
            self._held.clear()
            getattr(self._result, name)(about, *args, **kwargs)
        elif self._first:
            self._held.append((name, (about, *args), kwargs))

    def _explain(self, args: tuple[Any, ...]) -> None:
        error = args[-1] if args else None
        if not self._first and isinstance(error, tuple) and hasattr(error[1], "add_note"):
            error[1].add_note(REPEATED)

    def end_round(self) -> bool:
        """Note the end of a round; tell whether the test must not be repeated any more."""
        self._first = False
        return self.over or bool(getattr(self._result, "shouldStop", False))

    def tell(self) -> None:
        """Tell the real result what the first round reported."""
        held, self._held = self._held, []
        for name, args, kwargs in held:
            getattr(self._result, name)(*args, **kwargs)

    def tell_failure(self, error: tuple[type[BaseException], BaseException, Any]) -> None:
        """Tell the real result of a failure where the first round reported success."""
        expected = any(name == "addUnexpectedSuccess" for name, _, _ in self._held)
        if expected:
            self.tell_instead("addUnexpectedSuccess", "addExpectedFailure", error)
        else:
            self.tell_instead("addSuccess", "addFailure", error)

    def tell_instead(self, success: str, name: str, *args: Any) -> None:
        """Tell the real result what the first round reported, and *name* instead of *success*."""
        self._held = [entry for entry in self._held if entry[0] != success]
        self.tell()
        getattr(self._result, name)(self._case, *args)

    def stop(self) -> None:
        """Tell the real result that the test has ended."""
        if self._stopped:
            self._result.stopTest(self._case)


def _subtest_failed(name: str, args: tuple[Any, ...]) -> bool:
    return name == "addSubTest" and args[-1] is not None


def _forget(stream: object) -> None:
    """Empty a stream that captures output in memory, as ``unittest --buffer`` does."""
    if type(stream) is io.StringIO:
        stream.seek(0)
        stream.truncate()
