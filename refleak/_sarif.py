"""Leaks in SARIF 2.1.0, the form of code scanning.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from refleak._origins import shown_path
from refleak._results import Result, leaking

if TYPE_CHECKING:
    from refleak._report import Report

Json = dict[str, Any]

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(results: Sequence[Result]) -> str:
    """Return a log with a result for each leak, and a rule for each quantity that leads one."""
    leaks = leaking(results)
    quantities = sorted({_quantity(report) for _, report in leaks})
    driver = {
        "name": "refleak",
        "version": version("assert-no-leaks"),
        "rules": [_rule(name) for name in quantities],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(result, report, quantities.index(_quantity(report))) for result, report in leaks
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _quantity(report: Report) -> str:
    return report.findings[0].quantity


def _rule(name: str) -> Json:
    return {
        "id": _rule_id(name),
        "shortDescription": {"text": f"{name} grow with each call".capitalize()},
    }


def _rule_id(name: str) -> str:
    return f"leak/{name.replace(' ', '-')}"


def _result(result: Result, report: Report, rule: int) -> Json:
    line = report.diagnosis.place() if report.diagnosis is not None else None
    place: Json = {}
    if line is not None:
        region = {"startLine": line.number}
        place = {"physicalLocation": {"artifactLocation": _file(line.path), "region": region}}
    elif result.file:
        place = {"physicalLocation": {"artifactLocation": _file(result.file)}}
    name = [{"fullyQualifiedName": result.name, "kind": "function"}]
    return {
        "ruleId": _rule_id(_quantity(report)),
        "ruleIndex": rule,
        "level": "warning" if report.known_leak else "error",
        "message": {"text": report.brief},
        "locations": [{**place, "logicalLocations": name}],
        "partialFingerprints": {"leak/v1": _fingerprint(result, report)},
        "properties": {each.quantity: list(each.deltas) for each in report.findings},
    }


def _file(path: str) -> Json:
    shown = shown_path(path).replace(os.sep, "/")
    address = quote(shown, errors="backslashreplace")
    if os.path.isabs(shown):
        return {"uri": f"file://{address}"}
    return {"uri": address, "uriBaseId": "%SRCROOT%"}


def _fingerprint(result: Result, report: Report) -> str:
    """Return what stays the same when lines move: test, quantities and types."""
    facts = [result.name, *(each.quantity for each in report.findings)]
    facts += [change.name for change in report.types]
    return hashlib.sha256("\n".join(facts).encode("utf-8", "backslashreplace")).hexdigest()
