"""What the tests of a session came to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refleak._report import Report

PASSED = "passed"
LEAKED = "leaked"
KNOWN_LEAK = "known leak"
NOT_JUDGED = "not judged"
SKIPPED = "skipped"
EXPECTED_FAILURE = "expected failure"
UNEXPECTED_SUCCESS = "unexpected success"
FAILED = "failed"
ERROR = "error"


@dataclass(frozen=True)
class Result:
    """One test, or one function that was checked.

    ``status`` is one of the words above, ``seconds`` the time it took; ``text``
    says why it failed, was skipped or was not judged, ``file`` where it stands, if that is known.
    """

    name: str
    status: str
    seconds: float = 0.0
    report: Report | None = None
    text: str = ""
    file: str = ""


def result_of(report: Report, *, seconds: float = 0.0, module: str = "") -> Result:
    """Return the result of a check that stands for itself; *module* is where its subject is."""
    text = "" if report.judged else ", ".join(each.reason for each in report.not_judged)
    name = f"{module}.{report.subject}" if module else report.subject
    return Result(name, status_of(report), seconds, report, text, file_of(module))


def file_of(module: str) -> str:
    """Return the file of a module that is imported; empty where there is none."""
    return getattr(sys.modules.get(module), "__file__", None) or ""


def status_of(report: Report) -> str:
    """Say in a word what a report says."""
    if report.leaking:
        return KNOWN_LEAK if report.known_leak else LEAKED
    return PASSED if report.judged else NOT_JUDGED


def leaking(results: Sequence[Result]) -> list[tuple[Result, Report]]:
    """Return those that leak, known leaks included, with their reports."""
    told = [(each, each.report) for each in results if each.report is not None]
    return [(result, report) for result, report in told if report.leaking]


def last_line(text: str) -> str:
    """Return the last line of a text: of a traceback, the one that says what happened."""
    return text.strip().rpartition("\n")[2]
