"""A leak's annotation: one line, whatever the names in it hold."""

from __future__ import annotations

from refleak import Report
from refleak._diagnosis import Diagnosis
from refleak._github import annotation
from refleak._groups import Gained, Survivors
from refleak._holders import Holder
from refleak._origins import Line, Origin
from refleak._verdict import Finding

FINDING = Finding("references", "reference", (1, 1, 1, 1), 1.0, 28)


def leak(subject="test_it", diagnosis=None, known_leak=None):
    """Return the report of a leak."""
    facts = {"diagnosis": diagnosis, "known_leak": known_leak}
    return Report(subject=subject, stab=5, run=4, rounds=37, findings=(FINDING,), **facts)


def diagnosed(path="app/events.py", number=12):
    """Return a diagnosis with one group of survivors, allocated at a line."""
    origin = Origin((Line(path, number, "on", "kept.append(self)"),), (), 1.0, 64.0)
    holder = Holder("module app", "kept", "list", 1, 5, 4)
    group = Survivors((Gained("app.Thing", 1.0),), (), holder, origins=(origin,))
    return Diagnosis(calls=16, traced=4, survivors=(group,))


def test_the_line_that_allocated_is_marked():
    """File, line and title are properties; headline and holder are the message."""
    expected = (
        "::error file=app/events.py,line=12,title=leak in test_it"
        "::test_it leaked 1 reference per call%0Aheld by module app -> kept (list, 1 -> 5 items) "
        "-> app.Thing"
    )
    assert expected == annotation(leak(diagnosis=diagnosed()))


def test_without_an_origin_the_whole_run_is_marked():
    """A leak that was not diagnosed, or of which nothing was allocated, has no line."""
    expected = "::error title=leak in test_it::test_it leaked 1 reference per call"
    assert expected == annotation(leak())
    assert expected == annotation(leak(diagnosis=Diagnosis(calls=0, traced=0)))


def test_code_without_a_file_has_no_line():
    """What exec() made is in no file; the file of what was checked is marked, if it is known."""
    made = annotation(leak(diagnosis=diagnosed("<string>")))
    assert made.startswith("::error title=leak in test_it::")
    made = annotation(leak(diagnosis=diagnosed("<string>")), "app/test_it.py")
    assert made.startswith("::error file=app/test_it.py,title=leak in test_it::")


def test_a_known_leak_is_a_warning():
    """It fails nothing, and so is no error."""
    assert annotation(leak(known_leak="issue 7")).startswith("::warning ")


def test_names_cannot_end_the_command():
    """What has a meaning in a workflow command is escaped."""
    made = annotation(leak("a%b::c,d\n::stop", diagnosed("x,y:z.py")))
    assert "file=x%2Cy%3Az.py,line=12,title=leak in a%25b%3A%3Ac%2Cd%0A%3A%3Astop::" in made
    assert "\n" not in made
