"""``python -m refleak unittest``: unmodified unittest suites, with their own report."""

# ruff: noqa: FBT001, FBT002, N802, N803  # it overrides unittest's methods, named by unittest

from __future__ import annotations

import argparse
import functools
import re
import sys
import unittest
import unittest.loader
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest.main import TestProgram

from refleak._census import TypeCount, census, packed_by_type, tracked, unpacked
from refleak._check import Check
from refleak._errors import LeakError
from refleak._files import FORMATS, add_file_options, tell_others
from refleak._originals import Clock
from refleak._plan import MOST_ROUNDS, make_plan, switched_off
from refleak._readings import column
from refleak._report import Report
from refleak._results import (
    ERROR,
    EXPECTED_FAILURE,
    FAILED,
    LEAKED,
    PASSED,
    SKIPPED,
    UNEXPECTED_SUCCESS,
    Result,
    file_of,
    result_of,
)
from refleak._settle import settle
from refleak._terminal import say, shown
from refleak._testcase import RoundResult, name_of_test, run_repeatedly

EXIT_CLEAN, EXIT_FAILED, EXIT_USAGE, EXIT_LEAKED, EXIT_NO_TESTS = 0, 1, 2, 3, 5
"""Exit statuses: 1 and 5 are unittest's own, so that a failing suite is no leak."""

STATUS = """\
exit status: 0 no leak; 1 a test failed (no matter what leaked); 2 wrong usage;
             3 all tests passed and something leaked; 5 there were no tests
"""

DESCRIPTION = """\
Run unittest tests as `python -m unittest` does, and find out whether they leak.

Each test is run several times, with setUp and tearDown on a fresh instance each time; class and
module fixtures are set up once. With -N the whole suite is repeated, with all its fixtures.
"""

STAB, RUN = 5, 4

PROGRAM = "python -m refleak unittest"

TAKE_A_VALUE = {
    *("-R", "-N", "-k", "--leaks", "--repeat", "--durations"),
    *(f"--{name}" for name in FORMATS),
}


def main(arguments: Sequence[str]) -> int:
    """Run what the command line *arguments* say; return the exit status."""
    try:
        return Program([PROGRAM, *discover_first(arguments)]).status
    except SystemExit as error:  # argparse's, for -h and wrong usage
        return error.code if isinstance(error.code, int) else EXIT_USAGE


def discover_first(arguments: Sequence[str]) -> list[str]:
    """Put ``discover`` before the options: unittest knows it as the first argument only.

    >>> discover_first(["-R", ":", "discover", "-s", "tests"])
    ['discover', '-R', ':', '-s', 'tests']
    """
    given = list(arguments)
    for index, argument in enumerate(given):
        before = given[index - 1] if index else ""
        if before not in TAKE_A_VALUE and not argument.startswith("-"):
            if argument.lower() == "discover":
                given.insert(0, given.pop(index))
            break
    return given


def rounds(text: str) -> tuple[int, int]:
    """Read ``STAB:RUN``; either may be left out (``:``, ``6:``, ``:3``)."""
    found = re.fullmatch(r"(\d*):(\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not STAB:RUN, such as 5:4, 6:, :3 or :")
    stab, run = int(found[1] or STAB), int(found[2] or RUN)
    try:
        make_plan(stab=stab, run=run)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return stab, run


def iterations(text: str) -> int:
    """Read how often to repeat the suite."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number from 2 up: what the first run leaves behind is no leak"
        )
    if int(text) > MOST_ROUNDS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_ROUNDS:,}")
    return int(text)


class Program(TestProgram):
    """unittest's own program, with three options more."""

    status = EXIT_CLEAN
    rounds: tuple[int, int] | None = None
    count: int | None = None
    report = False
    html = sarif = junit = None
    github = False
    _from_discovery = False
    # unittest's attributes, of which the stubs know but some.
    verbosity: int
    test: Any
    catchbreak: bool | None
    _main_parser: argparse.ArgumentParser

    def __init__(self, argv: list[str]) -> None:
        super().__init__(module=None, argv=argv)

    def _getParentArgParser(self) -> argparse.ArgumentParser:
        inherited: Any = super()
        parser: argparse.ArgumentParser = inherited._getParentArgParser()
        leaks = parser.add_argument_group("leaks")
        leaks.add_argument(
            "-R",
            "--leaks",
            dest="rounds",
            type=rounds,
            metavar="STAB:RUN",
            help=f"run each test STAB times to warm up and RUN times to measure "
            f"(default {STAB}:{RUN}; leave out either: 6: or :3)",
        )
        leaks.add_argument(
            "-N",
            "--repeat",
            dest="count",
            type=iterations,
            metavar="COUNT",
            help="repeat the whole suite COUNT times instead, class and module fixtures included",
        )
        leaks.add_argument(
            "-r",
            "--report-refcounts",
            dest="report",
            action="store_true",
            help="with -N: show the number of references after each repetition; "
            "with -v also the changes by type",
        )
        add_file_options(leaks)
        return parser

    def _getMainArgParser(self, parent: argparse.ArgumentParser) -> argparse.ArgumentParser:
        inherited: Any = super()
        parser: argparse.ArgumentParser = inherited._getMainArgParser(parent)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.description, parser.epilog = DESCRIPTION, STATUS
        return parser

    def parseArgs(self, argv: list[str]) -> None:
        """Read the command line and load the tests."""
        super().parseArgs(argv)
        if self.count is not None and self.rounds is not None:
            self._main_parser.error("-R checks test by test, -N the whole suite; give one of them")
        try:
            switched_off()
        except ValueError as error:
            self._main_parser.error(str(error))
        if self.report and self.count is None:
            self._main_parser.error("-r shows what each repetition of -N COUNT left; give both")

    def createTests(self, from_discovery: bool = False, Loader: Any = None) -> None:
        """Load the tests; done again for each repetition, since a suite lets go of its tests."""
        self._from_discovery = from_discovery
        inherited: Any = super()
        inherited.createTests(from_discovery, Loader)

    def runTests(self) -> None:
        """Run the tests and set the exit status."""
        if self.catchbreak:
            unittest.installHandler()
        if self.count is None or switched_off():
            self.status = check_each_test(self)
        else:
            self.status = check_suite(self, self.count)

    def options(self) -> argparse.Namespace:
        """Return what the command line said of files."""
        return argparse.Namespace(**{name: getattr(self, name) for name in (*FORMATS, "github")})

    def reload(self) -> None:
        """Load the tests anew."""
        self.createTests(self._from_discovery)

    def runner(self, result: Any) -> unittest.TextTestRunner:
        """Return a runner with the options that were given."""
        names = ["verbosity", "failfast", "buffer", "warnings", "tb_locals"]
        if sys.version_info >= (3, 12):
            names.append("durations")
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return unittest.TextTestRunner(**options, resultclass=result)


def exit_status(*, failed: bool, ran: bool, leaked: bool) -> int:
    """Return the exit status."""
    if failed:
        return EXIT_FAILED
    if not ran:
        return EXIT_NO_TESTS
    return EXIT_LEAKED if leaked else EXIT_CLEAN


def ran_any(result: unittest.TestResult) -> bool:
    """Tell whether there were tests; on some versions a skipped one is not counted as run."""
    return result.testsRun > 0 or bool(result.skipped)


# --- -R: each test -----------------------------------------------------------------------------


class LeakResult(unittest.TextTestResult):
    """unittest's own result, with one outcome more, leaked, and what each test came to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.leaked: list[tuple[unittest.TestCase, Report]] = []
        self.results: list[Result] = []
        self._began = Clock.monotonic()

    def startTest(self, test: unittest.TestCase) -> None:
        """Note when *test* began."""
        self._began = Clock.monotonic()
        super().startTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:
        """Note that *test* passed."""
        super().addSuccess(test)
        self._note(test, PASSED)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        """Note that *test* failed; with LeakError, that it leaked."""
        super().addFailure(test, err)
        report = err[1].report if isinstance(err[1], LeakError) else None
        self._note(test, FAILED if report is None else LEAKED, self.failures[-1][1], report)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        """Note that *test*, or a fixture of many, raised an exception."""
        super().addError(test, err)
        self._note(test, ERROR, self.errors[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        """Note a part of *test* that failed; of one that passed nothing is shown either."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(subtest, FAILED, [*self.failures, *self.errors][-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """Note that *test* was skipped."""
        super().addSkip(test, reason)
        self._note(test, SKIPPED, reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        """Note that *test* failed as it should."""
        super().addExpectedFailure(test, err)
        self._note(test, EXPECTED_FAILURE, "failed as expected")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """Note that *test* should have failed."""
        super().addUnexpectedSuccess(test)
        self._note(test, UNEXPECTED_SUCCESS, "should have failed")

    def _note(
        self, test: unittest.TestCase, status: str, text: str = "", report: Report | None = None
    ) -> None:
        seconds = Clock.monotonic() - self._began
        file = file_of(type(test).__module__)
        self.results.append(Result(test.id(), status, seconds, report, text, file))

    def addLeak(self, test: unittest.TestCase, report: Report) -> None:
        """Note that *test* passed, and leaked."""
        self.leaked.append((test, report))
        self._note(test, LEAKED, report=report)
        if self.showAll:
            self.stream.writeln("LEAKED")
        elif self.dots:
            self.stream.write("L")
        self.stream.flush()

    def printErrors(self) -> None:
        """Print what failed, and then what leaked."""
        super().printErrors()
        for test, report in self.leaked:
            self.stream.writeln(self.separator1)
            self.stream.writeln(f"LEAKED: {self.getDescription(test)}")
            self.stream.writeln(self.separator2)
            self.stream.writeln(f"{shown(report, self.stream)}\n")
        self.stream.flush()


def check_each_test(program: Program) -> int:
    """Run the suite once, each of its tests in the rounds of a check; return the exit status."""
    if not switched_off():
        stab, run = program.rounds or (STAB, RUN)
        for test in tests_of(program.test):
            repeat_test(test, functools.partial(make_plan, stab=stab, run=run))
    result = program.runner(LeakResult).run(program.test)
    assert isinstance(result, LeakResult)
    if result.leaked:
        result.stream.writeln(f"LEAKED ({len(result.leaked)} of {result.testsRun} tests)")
        result.stream.flush()
    if not tell_others(result.results, program.options()):
        return EXIT_USAGE
    return exit_status(
        failed=not result.wasSuccessful(), ran=ran_any(result), leaked=bool(result.leaked)
    )


def tests_of(suite: Any) -> Iterator[unittest.TestCase]:
    """Yield the test cases of a suite, those that stand for a failed import left out."""
    for test in suite:
        if isinstance(test, unittest.BaseTestSuite):
            yield from tests_of(test)
        elif isinstance(test, unittest.TestCase) and type(test) is not FAILED_IMPORT:
            yield test


FAILED_IMPORT: Any = vars(unittest.loader)["_FailedTest"]


def repeat_test(test: Any, plan: Callable[[], Any]) -> None:
    """Have *test* repeated when it is run.

    The instance gets a ``run`` of its own: suites look at the class of a test to know when to set
    up class and module fixtures, so it must stay what it is.
    """

    def run(result: Any = None) -> Any:
        check = Check(plan(), name_of_test(test))
        return run_repeatedly(test, check, tell_leak, "run", result)

    test.run = run


def tell_leak(heard: RoundResult, check: Check) -> bool:
    """Report a leak as an outcome of its own."""
    if heard.over or check.report is None or not check.report.leaking:
        return False
    heard.tell_instead("addSuccess", "addLeak", check.report)
    return True


# --- -N: the suite -----------------------------------------------------------------------------


def check_suite(program: Program, count: int) -> int:
    """Repeat the suite *count* times, and more often in doubt; return the exit status.

    The first repetition is timed, the second is the last of the warm-up, the others are measured.
    """
    suite = RepeatedSuite(program, count)
    began = Clock.monotonic()
    suite.repeat()
    seconds = Clock.monotonic() - began
    plan = make_plan(
        stab=1,
        run=max(1, count - 2),
        freeze=False,  # the tables count all objects
        max_seconds=max(1.0, 2 * count * seconds),
    )
    check = Check(plan, "the suite")
    for _ in check.rounds():
        suite.repeat()
        if suite.over:
            break
    suite.tell(check.report)
    if check.report is not None and not tell_others([result_of(check.report)], program.options()):
        return EXIT_USAGE
    leaked = check.report is not None and check.report.leaking
    return exit_status(failed=suite.failed, ran=suite.ran, leaked=leaked)


class RepeatedSuite:
    """A suite to be repeated, and what is shown after each repetition."""

    def __init__(self, program: Program, count: int) -> None:
        # What all repetitions came to: a repetition's own result must not outlive it.
        self.failed = False
        self.ran = False
        self._stopped = False
        self._program = program
        self._count = count
        self._number = column(1)  # an int would allocate once it passes 256
        self._readings: Readings | None = None
        if program.report:
            show([f"References are counted by {Readings.counting()}."])
            self._readings = Readings(detailed=program.verbosity > 1)

    @property
    def over(self) -> bool:
        """Whether there is no point in another repetition."""
        failed = self.failed and self._number[0] >= self._count
        return self._stopped or failed or not self.ran

    def repeat(self) -> None:
        """Run the suite once; show its report unless it is repeated in doubt only."""
        self._number[0] += 1
        number = self._number[0]
        if number == self._count + 1 and not self.failed:
            show(["The suite is repeated further, to be sure."])
        if number > self._count:
            self._run_silently()
            return
        show([f"Iteration {number}"])
        if self._readings is None or number == 1:
            self._run()
            return
        self._readings.read(0)
        self._run()
        self._readings.read(1)
        show(self._readings.lines())

    def _run(self) -> None:
        if self._number[0] > 1:
            self._program.reload()
        result = self._program.runner(unittest.TextTestResult).run(self._program.test)
        self._program.test = None
        self._note(result)

    def _note(self, result: unittest.TestResult) -> None:
        self.ran = self.ran or ran_any(result)
        self.failed = self.failed or not result.wasSuccessful()
        self._stopped = self._stopped or result.shouldStop

    def _run_silently(self) -> None:
        self._program.reload()
        result = unittest.TestResult()
        result.buffer = True
        self._program.test.run(result)
        self._program.test = None
        self._note(result)
        for test, text in result.errors + result.failures:
            show([f"This failed in iteration {self._number[0]}: {test}", text])

    def tell(self, report: Report | None) -> None:
        """Show the verdict."""
        if report is not None and report.leaking:
            show(["LEAKED", shown(report, sys.stdout)])
        elif report is not None:
            show([shown(report, sys.stdout)])
        else:
            show(["Not judged: the suite failed" if self.ran else "Not judged: no test ran"])


def show(lines: Sequence[str]) -> None:
    """Print *lines* in order with what unittest prints to another stream."""
    sys.stderr.flush()
    for line in lines:
        say(line)


class Readings:
    """The number of references before and after one repetition, and the counts by type.

    Both are read at the same depth, right before and right after: what the check itself keeps from
    round to round changes in between repetitions only.
    """

    def __init__(self, *, detailed: bool) -> None:
        self._totals = column(2)
        self._detailed = detailed
        # Pickled, a count by type is one untracked object, and the second count sees as many of
        # them as the first.
        self._types = [bytes(1000), bytes(1001)]
        for which in (0, 1):  # the first times make what later ones reuse
            self.read(which)

    @staticmethod
    def counting() -> str:
        """Say how references are counted here."""
        if hasattr(sys, "gettotalrefcount"):
            return "sys.gettotalrefcount(), since this is a debug build"
        return "a census of all objects, since this is a release build"

    def read(self, which: int) -> None:
        """Read before (0) or after (1) a repetition; keep nothing but the numbers."""
        settle()
        if self._detailed:
            self._types[which] = packed_by_type(tracked())
            settle()
        self._totals[which] = total_references()

    def lines(self) -> list[str]:
        """Return what zope.testrunner prints after an iteration, in its layout."""
        before, after = self._totals
        text = f"sys refcount={after:<8} change={after - before:<6}".rstrip()
        if not self._detailed:
            return [f"  {text}"]
        old, new = map(unpacked, self._types)
        detail = sum(count.references for count in new.values())
        return [f"  sum detail refcount={detail:<8} {text}", *table(old, new)]


def total_references() -> int:
    """Return the number of all references, from the interpreter or by a census."""
    total: Callable[[], int] | None = getattr(sys, "gettotalrefcount", None)
    return census().references if total is None else total()


def table(before: Mapping[str, TypeCount], after: Mapping[str, TypeCount]) -> list[str]:
    """Return the changes from one count to another, by type, in zope.testrunner's layout."""
    changes = []
    for name in sorted({*before, *after}):
        old, new = before.get(name, NONE), after.get(name, NONE)
        change = new.instances - old.instances, new.references - old.references
        if any(change):
            changes.append((name, *change))
    if not changes:
        return []
    rule = row("-" * 55, "-----", "----")
    return [
        "    Leak details, changes in instances and refcounts by type/class:",
        row("type/class", "insts", "refs"),
        rule,
        *(row(*change) for change in changes),
        rule,
        row("total", sum(change[1] for change in changes), sum(change[2] for change in changes)),
    ]


NONE = TypeCount(0, 0)


def row(name: str, instances: object, references: object) -> str:
    """Lay out a row of the table."""
    return f"    {name:<55} {instances:>6} {references:>6}"
