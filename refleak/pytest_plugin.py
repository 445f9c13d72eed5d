"""pytest: ``-R``, two markers and a fixture over the one pipeline."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from types import CodeType, FunctionType
from typing import Any

import pytest

from refleak._api import find_leaks
from refleak._check import Check, raise_if_leaking
from refleak._errors import LeakError
from refleak._files import FORMATS, check_path
from refleak._originals import Clock
from refleak._plan import Plan, check_implementation, make_plan, switched_off
from refleak._pytest_files import WRITTEN, SessionFiles, attach, attach_seconds, found_in
from refleak._pytest_items import Repetition, Stop, Subject, came_through, quiet
from refleak._report import Report
from refleak._terminal import progress_text

STAB, RUN = 5, 4

VALUE = re.compile(r"(\d*):(\d*)")
"""What ``-R`` takes: STAB:RUN, either of which may be left out."""

HELP = f"""\
run each test repeatedly and tell which ones leak: references, memory, file descriptors, threads.
The argument is STAB:RUN: STAB times to warm up (default {STAB}), then RUN times to measure
(default {RUN}); more only if something grew. The shortest form is '-R :'. Both spellings do the
same:
-R LEAKS, --leaks=LEAKS
"""

MARKERS = (
    (
        "no_leak_check(fail=False, reason=''): leave this test out of -R; with fail=True count it "
        "as leaked, without running it repeatedly, for the reason given."
    ),
    (
        "assert_no_leaks(stab=5, run=4, **options): fail this test with LeakError if it leaks, "
        "with or without -R; takes the options of refleak.assert_no_leaks."
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and settings."""
    group = parser.getgroup("leaks")
    names = ["--leaks"] if _claimed(parser) else ["-R", "--leaks"]
    group.addoption(*names, action="store", dest="leaks", help=HELP)
    group.addoption(
        "--leaks-fail", action="store_true", dest="leaks_fail", help="exit with 1 if a test leaks"
    )
    for name in WRITTEN:
        group.addoption(f"--leaks-{name}", metavar="FILE", help=f"write to FILE {FORMATS[name]}")
    group.addoption(
        "--leaks-github",
        action="store_true",
        help="print annotations for GitHub Actions, on the line that allocated each leak",
    )
    parser.addini("leaks_stab", "runs to warm up under -R", default=str(STAB))
    parser.addini("leaks_run", "measured runs under -R", default=str(RUN))
    parser.addini("leaks_fail", "exit with 1 if a test leaks", type="bool", default=False)


def _claimed(parser: Any) -> bool:
    """Tell whether ``-R`` is another plugin's; pytest-remotedata may be loaded later."""
    return _has_short_option(parser) or find_spec("pytest_remotedata") is not None


def _has_short_option(parser: Any) -> bool:
    groups = (*parser._groups, parser._anonymous)  # the last: options of no group
    return any("-R" in option.names() for group in groups for option in group.options)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Where ``-R`` was left to another plugin, take what has a colon, or all if nobody came."""
    if not _claimed(parser):
        return
    args[:] = _renamed(args)
    if not _has_short_option(parser):
        group = parser.getgroup("leaks")
        group.addoption("-R", action="store", dest="leaks", help="the same as --leaks")


def _renamed(args: list[str]) -> Iterator[str]:
    words = iter(args)
    for word in words:
        if word == "--":
            yield word
            yield from words
        elif word == "-R":
            value = next(words, None)
            if value is not None and VALUE.fullmatch(value):
                yield f"--leaks={value}"
            else:
                yield from (word, *([] if value is None else [value]))
        elif word.startswith("-R") and VALUE.fullmatch(word[2:]):
            yield f"--leaks={word[2:]}"
        else:
            yield word


def pytest_configure(config: pytest.Config) -> None:
    """Check the options; prepare the checker that ``-R`` asks for."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    checker = None
    if config.getoption("leaks") is not None:
        checker = LeaksChecker(*_counts(config))
        config.pluginmanager.register(checker, "leaks_checker")
    config.pluginmanager.register(LeaksPlugin(config, checker), "refleak-session")
    paths, github = _paths(config), bool(config.getoption("leaks_github"))
    # pytest-xdist's controller hears of all tests, its workers each of some.
    if (github or any(paths.values())) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SessionFiles(paths, github=github), "refleak-files")


def _switched_off() -> bool:
    try:
        return switched_off()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def _paths(config: pytest.Config) -> dict[str, str | None]:
    """Return the files to write; raise UsageError where one cannot be."""
    paths = {name: config.getoption(f"leaks_{name}") for name in WRITTEN}
    for name, path in paths.items():
        if path is None:
            continue
        try:
            check_path(path)
        except ValueError as error:
            raise pytest.UsageError(f"--leaks-{name}: {error}") from None
    return paths


def _counts(config: pytest.Config) -> tuple[int, int]:
    """Return how often to warm up and to measure; raise UsageError for bad values."""
    match = VALUE.fullmatch(str(config.getoption("leaks")))
    if match is None:
        raise pytest.UsageError(
            f"-R/--leaks takes STAB:RUN, such as 5:4, 6: or :, not {config.getoption('leaks')!r}"
        )
    stab, run = (
        _count(name, given or config.getini(name))
        for name, given in zip(("leaks_stab", "leaks_run"), match.groups(), strict=True)
    )
    try:
        check_implementation()
        make_plan(stab=stab, run=run)
    except (RuntimeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    return stab, run


def _count(name: str, value: str) -> int:
    if not re.fullmatch(r"\s*0*[1-9]\d*\s*", str(value)):
        raise pytest.UsageError(
            f"{name} must be a number from 1 up, not {value!r} "
            "(it is a setting, and a part of -R/--leaks STAB:RUN)"
        )
    return int(value)


class Leaks(dict[str, list[int]]):
    """The leaking quantities and their deltas, empty (so false) if nothing leaks.

    ``str()`` is the line of the leaks summary; ``report`` the whole report.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(_quantities(report))
        self.report = report

    def __str__(self) -> str:
        return "leaked " + (
            ", ".join(f"{name}: {deltas}" for name, deltas in self.items()) or "nothing"
        )


def _quantities(report: Report) -> dict[str, list[int]]:
    """Return the deltas by quantity, each leak once.

    Container references and objects are other views of references. They stand for them where the
    interpreter does not count those: None and its like have no count from Python 3.12 on.
    """
    main = [found for found in report.findings if found.part_of is None]
    deltas = {found.quantity: list(found.deltas) for found in main}
    held = deltas.pop("container references", None)
    if held is not None and "references" not in deltas:
        deltas = {"references": held, **deltas}
    if "references" in deltas:
        deltas.pop("objects", None)
    return deltas


class LeaksChecker:
    """What the fixture ``leaks_checker`` gives under ``-R``."""

    def __init__(self, stab: int, run: int) -> None:
        self.stab = stab
        self.run = run
        self.plan = make_plan(stab=stab, run=run)

    def hunt_leaks(self, func: Callable[[], object]) -> Leaks:
        """Check a function of no arguments with the counts of ``-R``; empty if it does not leak.

        A test that calls this, or checks for leaks in any other way, is not itself repeated.
        """
        return Leaks(find_leaks(func, stab=self.stab, run=self.run))


@pytest.fixture
def leaks_checker(request: pytest.FixtureRequest) -> LeaksChecker | None:
    """Give what ``-R`` asked for, ``stab`` and ``run``, and ``hunt_leaks(func)``.

    None without ``-R``.
    """
    plugin = request.config.pluginmanager.get_plugin("leaks_checker")
    return plugin if isinstance(plugin, LeaksChecker) else None


class LeaksPlugin:
    """The hooks of one session."""

    def __init__(self, config: pytest.Config, checker: LeaksChecker | None) -> None:
        self._checker = checker
        self._off = _switched_off()
        self._fail = config.getoption("leaks_fail") or config.getini("leaks_fail")
        self._sign = ProgressSign(config)
        self._session: pytest.Session | None = None
        self._subject: Subject | None = None
        self._plan: Plan | None = None
        self._repeating = False

    def pytest_report_header(self) -> str | None:
        """Say so if nothing is checked in spite of ``-R``."""
        return "leaks: REFLEAK=off, nothing is checked" if self._off and self._checker else None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session."""
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note how the item is before its first run, if it is to be checked.

        No wrapper: those of pytest's plugins must have begun when this fails, as they will end.
        """
        if not self._repeating:
            self._subject = None
            self._plan = self._plan_of(item)
            if self._plan is not None:
                self._subject = Subject(item)

    def _plan_of(self, item: pytest.Item) -> Plan | None:
        """Return how to check the item, None if not at all."""
        if left_out(item) is not None or self._off:
            return None
        options = asserted(item)
        if options is None:
            return self._checker.plan if self._checker else None
        if self._checker:
            defaults: dict[str, Any] = {"stab": self._checker.stab, "run": self._checker.run}
            options = {**defaults, **options}
        try:
            return make_plan(**options)
        except (TypeError, ValueError) as error:
            message = f"@pytest.mark.assert_no_leaks: {error}"
            raise pytest.fail.Exception(message, pytrace=False) from None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        """Note that the call, and not merely a subtest, is at its end."""
        __tracebackhide__ = True
        result = yield
        if self._subject is not None:
            self._subject.called = True
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Repeat a test that has passed, before its report is shown."""
        report = yield from self._reported(item, call)
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, LeakError):
            attach(report, error.report)
        return report

    def _reported(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        subject = self._subject
        if subject is None or subject.item is not item or self._repeating:
            report = yield
            if self._checker and not self._repeating and call.when == "call":
                _mark_unchecked(item, report)
            return report
        if call.when == "teardown" and subject.first_teardown is not None:
            call.excinfo = subject.first_teardown.excinfo
        report = yield
        if call.when != "call" or not _to_be_judged(subject, call, report):
            return report
        if subject.checked_itself():
            reason = "not judged: it checks for leaks itself"
            _attach(report, reason, leaking=False, verbosity=1)
            return report
        return self._judged(subject, call, report)

    def _judged(
        self, subject: Subject, call: pytest.CallInfo[Any], report: pytest.TestReport
    ) -> pytest.TestReport:
        """Run the rounds; return the report of the call with the verdict."""
        item, plan = subject.item, self._plan
        assert plan is not None
        check = Check(plan, item.nodeid, self._sign)
        began = Clock.monotonic()
        stop = self._repeat(subject, check)
        if stop is not None:
            return self._stopped(item, call, report, stop)
        assert check.report is not None
        seconds = Clock.monotonic() - began
        if asserted(item) is not None:
            report = self._failed(item, call, report, _raised(item, check.report, plan))
            if check.report.leaking:  # a known leak fails nothing
                attach(report, check.report)
        else:
            _add_verdict(item, report, check.report)
        attach_seconds(report, seconds)
        return report

    def _repeat(self, subject: Subject, check: Check) -> Stop | None:
        repetition = Repetition(subject)
        self._sign.begin()
        self._repeating = True
        try:
            with quiet(repetition, subject.item):
                for _ in check.rounds():
                    repetition.once()
                    if repetition.stop is not None:
                        break
        finally:
            self._repeating = False
            self._sign.clear()
        return repetition.stop

    def _stopped(
        self,
        item: pytest.Item,
        call: pytest.CallInfo[Any],
        report: pytest.TestReport,
        stop: Stop,
    ) -> pytest.TestReport:
        """Fail a test that passed at first and failed when repeated; else say: not judged."""
        if stop.number == 0:  # its own teardown failed: an error as without -R, told in due time
            return report
        if stop.outcome != "failed":
            _attach(report, f"not judged: {stop}", leaking=False)
            return report
        report = self._failed(item, call, report, stop.call)
        report.sections.insert(0, ("leak check", f"The test passed at first, but {stop}."))
        return report

    def _failed(
        self,
        item: pytest.Item,
        call: pytest.CallInfo[Any],
        report: pytest.TestReport,
        cause: pytest.CallInfo[Any],
    ) -> pytest.TestReport:
        """Make the report of a call that ended as *cause* did."""
        if cause.excinfo is None:
            return report
        call.excinfo = cause.excinfo
        self._repeating = True
        try:
            failed: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        finally:
            self._repeating = False
        return failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note failures of subtests; with ``--leaks-fail`` count a leak as a failure."""
        if report.failed and self._subject is not None and not self._subject.called:
            self._subject.failed_in_part = True
        if self._fail and self._session is not None and leaked(report):
            self._count_failure(self._session)

    def _count_failure(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):  # pytest-xdist's controller counts
            return
        session.testsfailed += 1
        most = session.config.getoption("maxfail", 0)
        if most and session.testsfailed >= most:
            session.shouldfail = f"stopping after {session.testsfailed} failures"

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show ``L`` and ``LEAKED``."""
        return ("leaked", "L", ("LEAKED", {"yellow": True})) if leaked(report) else None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """List what leaked; with ``-v`` the whole report of each."""
        verbosity = terminalreporter.config.get_verbosity()
        reports = [
            report
            for category in terminalreporter.stats.values()
            for report in category
            if verdict_of(report) and verdict_of(report)["verbosity"] <= max(0, verbosity)
        ]
        if reports:
            terminalreporter.write_sep("=", "leaks summary", yellow=True)
        for report in sorted(reports, key=leaked, reverse=True):
            verdict = verdict_of(report)
            terminalreporter.write_line(f"{report.nodeid}: {verdict['summary']}")
            if verbosity > 0:
                found = found_in(report)
                for line in str(found).splitlines() if found is not None else ():
                    terminalreporter.write_line(f"    {line}".rstrip())


def asserted(item: pytest.Item) -> dict[str, Any] | None:
    """Return the options of the marker ``assert_no_leaks``, None without it."""
    return _options(item, "assert_no_leaks")


def left_out(item: pytest.Item) -> tuple[bool, str] | None:
    """Return fail and reason of the marker ``no_leak_check``, None without it."""
    given = _options(item, "no_leak_check")
    if given is None:
        return None
    fail, reason = given.get("fail", False), given.get("reason", "")
    if given.keys() - {"fail", "reason"} or type(fail) is not bool or type(reason) is not str:
        wrong = ", ".join(f"{name}={value!r:.60}" for name, value in given.items())
        message = f"takes fail=True or fail=False, and reason='text', not {wrong}"
        pytest.fail(f"@pytest.mark.no_leak_check {message}", pytrace=False)
    return fail, reason


def _options(item: pytest.Item, name: str) -> dict[str, Any] | None:
    marker = item.get_closest_marker(name)
    if marker is None:
        return None
    if marker.args:
        pytest.fail(f"@pytest.mark.{name} takes keyword arguments only", pytrace=False)
    return dict(marker.kwargs)


def _to_be_judged(subject: Subject, call: pytest.CallInfo[Any], report: pytest.TestReport) -> bool:
    """Tell whether a test passed; with the marker, also whether it passed in spite of xfail."""
    if not subject.called or subject.failed_in_part:
        return False
    if asserted(subject.item) is not None:
        return came_through(report, call)
    return report.passed and not hasattr(report, "wasxfail")


def _raised(item: pytest.Item, found: Report, plan: Plan) -> pytest.CallInfo[Any]:
    """Raise LeakError if there is a leak: as if from the test's first line, for the traceback."""

    def judge() -> None:
        __tracebackhide__ = True
        raise_if_leaking(found, plan)

    path, line, _ = item.reportinfo()
    whole = compile("lambda: judge()", path, "eval")
    (code,) = (each for each in whole.co_consts if isinstance(each, CodeType))
    placed = code.replace(co_firstlineno=(line or 0) + 1, co_name=item.name)
    return pytest.CallInfo.from_call(FunctionType(placed, {"judge": judge}), "call")


def _mark_unchecked(item: pytest.Item, report: pytest.TestReport) -> None:
    """Count a test with ``no_leak_check(fail=True)`` as leaked."""
    fail, reason = left_out(item) or (False, "")
    if fail and report.passed:
        said = f": {reason!r}" if reason else ""
        _attach(report, f"leaked (not checked){said}", leaking=True)


def _add_verdict(item: pytest.Item, report: pytest.TestReport, found: Report) -> None:
    if found.leaking:
        leaks = Leaks(found)
        _attach(report, str(leaks), leaking=True)
        attach(report, found)
        properties = [(f"leaked {name}", str(deltas)) for name, deltas in leaks.items()]
        item.user_properties.extend(properties)
        report.user_properties.extend(properties)
    elif not found.judged:
        reasons = dict.fromkeys(entry.reason for entry in found.not_judged)
        _attach(report, f"not judged: {', '.join(reasons)}", leaking=False)


def _attach(report: pytest.TestReport, summary: str, *, leaking: bool, verbosity: int = 0) -> None:
    """Add the verdict to the report, in types that pytest-xdist can send.

    It is shown from the given verbosity on.
    """
    vars(report)["refleak"] = {"leaking": leaking, "summary": summary, "verbosity": verbosity}


def verdict_of(report: object) -> dict[str, Any]:
    """Return what a report of pytest's carries, an empty dict if nothing."""
    found: dict[str, Any] = getattr(report, "refleak", {})
    return found


def leaked(report: pytest.TestReport) -> bool:
    """Tell whether a report of pytest's is that of a leak."""
    return report.passed and bool(verdict_of(report).get("leaking"))


class ProgressSign:
    """On a terminal, a few words behind the test's name while it takes long."""

    FIRST, THEN = 1.0, 0.2
    """Seconds until the sign appears, and between changes."""

    ROOM = 64
    """Columns that must be free for it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._terminal: Any = None
        self._shown = 0
        self._next = 0.0

    def begin(self) -> None:
        """Find out where to write: now, since asking fills caches (pytest's character widths)."""
        self._next = Clock.monotonic() + self.FIRST
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        writer = getattr(reporter, "_tw", None)
        self._terminal = None
        if writer is None or not writer._file.isatty() or self._config.get_verbosity() < 0:
            return
        if writer.fullwidth - writer.width_of_current_line > self.ROOM:
            self._terminal = writer._file

    def __call__(self, number: int, phase: str, quantity: str, until: float) -> None:
        """Show the round's number, what it is for and the seconds left; it fits in ROOM."""
        now = Clock.monotonic()
        if self._terminal is None or now < self._next:
            return
        self._next = now + self.THEN
        left = f", {max(0.0, until - now):.0f} s left" if until else ""
        self._write(f" {progress_text(number, phase, quantity)}{left}"[: self.ROOM])

    def clear(self) -> None:
        """Take the sign away."""
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        back = "\b" * self._shown
        self._terminal.write(f"{back}{' ' * self._shown}{back}{text}")
        self._terminal.flush()
        self._shown = len(text)
