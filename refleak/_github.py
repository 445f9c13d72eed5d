"""A leak as an annotation under GitHub Actions, on the line that allocated it.

Such a line on the output of a step is a workflow command; see
https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refleak._origins import shown_path

if TYPE_CHECKING:
    from refleak._report import Report


def annotation(report: Report, file: str = "") -> str:
    """Return the line to print for a leak, an error; for one that is known, a warning.

    file: where the code that was checked stands, for a leak that no line of the user's made.
    """
    level = "error" if report.known_leak is None else "warning"
    place = {"file": shown_path(file)} if file else {}
    line = report.diagnosis.place() if report.diagnosis is not None else None
    if line is not None:
        place = {"file": shown_path(line.path), "line": str(line.number)}
    properties = {**place, "title": f"leak in {report.subject}"}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {given}::{_data(report.brief)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
