"""Results in JUnit's XML, as CI systems read it.

A leak is a failure there, with the report as its text and a property for each quantity, in the
form of those that pytest writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from refleak._results import (
    ERROR,
    EXPECTED_FAILURE,
    FAILED,
    LEAKED,
    SKIPPED,
    UNEXPECTED_SUCCESS,
    Result,
    last_line,
)

OUTCOMES = {
    LEAKED: "failure",
    FAILED: "failure",
    UNEXPECTED_SUCCESS: "failure",
    ERROR: "error",
    SKIPPED: "skipped",
    EXPECTED_FAILURE: "skipped",
}
"""The element that says how a test ended, by its status; a test that passed has none."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def junit(results: Sequence[Result]) -> str:
    """Return the XML: one suite, a case for each test."""
    outcomes = [OUTCOMES.get(result.status) for result in results]
    suites = Element("testsuites")
    suite = SubElement(
        suites,
        "testsuite",
        name="refleak",
        tests=str(len(results)),
        failures=str(outcomes.count("failure")),
        errors=str(outcomes.count("error")),
        skipped=str(outcomes.count("skipped")),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result, outcome in zip(results, outcomes, strict=True):
        suite.append(_case(result, outcome))
    indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(suites, encoding="unicode")}\n'


def _case(result: Result, outcome: str | None) -> Element:
    group, _, name = result.name.rpartition(".")
    case = Element("testcase", _attributes(classname=group, name=name or result.name))
    case.set("time", f"{result.seconds:.3f}")
    report = result.report
    findings = report.findings if report is not None else ()
    main = [each for each in findings if each.part_of is None]
    if main:
        properties = SubElement(case, "properties")
        for each in main:
            growth = {"name": f"leaked {each.quantity}", "value": str(list(each.deltas))}
            SubElement(properties, "property", _attributes(**growth))
    if outcome is not None:
        message = report.headline if report is not None else last_line(result.text)
        told = SubElement(case, outcome, _attributes(message=message))
        told.text = _allowed(str(report) if report is not None else result.text)
    return case


def _attributes(**texts: str) -> dict[str, str]:
    return {name: _allowed(text) for name, text in texts.items()}


def _allowed(text: str) -> str:
    return _FORBIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
