"""pytest: the files that tell of a session, made of the reports of its tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from refleak._files import write_files
from refleak._github import annotation
from refleak._report import Report
from refleak._results import (
    ERROR,
    EXPECTED_FAILURE,
    FAILED,
    LEAKED,
    NOT_JUDGED,
    PASSED,
    SKIPPED,
    Result,
    leaking,
    status_of,
)

WRITTEN = ("html", "sarif")
"""The kinds of files with an option here; JUnit's XML is pytest's own."""

UNCHECKED = "neither -R nor a marker had it checked"
"""Why a test that passed was not judged."""


def attach(report: pytest.TestReport, found: Report) -> None:
    """Keep what a check found in a report of pytest's, as a text that pytest-xdist can send."""
    vars(report)["refleak_found"] = found.to_json()


def attach_seconds(report: pytest.TestReport, seconds: float) -> None:
    """Keep how long a check took; the report's own duration is that of the first run."""
    vars(report)["refleak_seconds"] = seconds


def found_in(report: object) -> Report | None:
    """Return what :func:`attach` kept."""
    text = getattr(report, "refleak_found", None)
    return None if text is None else Report.from_dict(json.loads(text))


class SessionFiles:
    """Collects what the tests came to, and tells of it at the end."""

    def __init__(self, paths: Mapping[str, str | None], *, github: bool) -> None:
        self._paths = paths
        self._github = github
        self._results: dict[str, Result] = {}
        self._failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase of a test; a failure stays whatever comes after it."""
        before = self._results.get(report.nodeid)
        seconds = report.duration + getattr(report, "refleak_seconds", 0.0)
        seconds += before.seconds if before else 0.0
        if report.when == "call" or not report.passed:
            now = _result(report, seconds)
            keep = before is not None and before.status in (FAILED, ERROR)
            self._results[report.nodeid] = before if before is not None and keep else now

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files."""
        self._failed = write_files(list(self._results.values()), self._paths)
        if self._failed:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the annotations, and what could not be written."""
        if self._github:
            for result, found in leaking(list(self._results.values())):
                terminalreporter.write_line(annotation(found, result.file))
        for reason in self._failed:
            terminalreporter.write_line(reason, red=True)


def _result(report: pytest.TestReport, seconds: float) -> Result:
    found = found_in(report)
    verdict: dict[str, Any] = getattr(report, "refleak", {})
    text = verdict.get("summary", "")
    if found is not None:
        status = status_of(found)
    elif hasattr(report, "wasxfail"):
        status, text = (EXPECTED_FAILURE if report.skipped else PASSED), report.wasxfail
    elif report.failed:
        status, text = (FAILED if report.when == "call" else ERROR), _last_line(report)
    elif report.skipped:
        status, text = SKIPPED, _reason(report)
    elif verdict:
        status = LEAKED if verdict["leaking"] else NOT_JUDGED
    elif hasattr(report, "refleak_seconds"):
        status = PASSED
    else:
        status, text = NOT_JUDGED, UNCHECKED
    return Result(report.nodeid, status, seconds, found, text, report.nodeid.partition("::")[0])


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).partition("\n")[0]


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    return str(where[2]).removeprefix("Skipped: ") if isinstance(where, tuple) else ""
