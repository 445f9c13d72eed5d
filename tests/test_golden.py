"""The report of each leak of the zoo, word for word, and the facts that it must name.

``python tests/test_golden.py --update [NAME ...]`` writes the texts in ``tests/golden`` anew (all
of them if none is named): NAME.txt on 3.13, and on the other interpreters NAME.3.14.txt where it
is another text, as where the standard library keeps other objects.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from normalising import normalised
from zoo import LEAKS, Entry

from refleak import Report, find_leaks

GOLDEN = Path(__file__).parent / "golden"

MAIN, *OTHERS = "3.13", "3.14", "3.11-debug"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}" + (
    "-debug" if hasattr(sys, "gettotalrefcount") else ""
)

SHORT = {"type": "class", "method": "bound method", "ReferenceType": "weakref"}
"""What the report calls some types."""


def report_on(entry: Entry) -> Report:
    """Check a leak of the zoo, in as few rounds as tell a leak in bytes too."""
    with entry.subject() as subject:
        return find_leaks(subject, max_rounds=124)


def golden(entry: Entry, report: Report) -> list[str]:
    """Return the lines of a report without what differs, folders and lines' numbers."""
    text = str(report).replace(f"zoo.py:{entry.line} ", "zoo.py:LEAK ")
    text = re.sub(r"(?:\S*/)?(\w+\.py):(?:\d+|(LEAK))", r"\1:\2", text)
    if "threads" in entry.quantities:  # how far each has come when it is counted is chance
        text = re.sub(r"(?m)(^  type/class.*\n  -+\n)(?:  .*\n)+", r"\1  ...\n", text)
    return normalised(re.sub(r"\b(Task|Thread|pid|inode)([- :])\d+", r"\1\2#", text))


def text_of(entry: Entry) -> Path:
    """Return the file with the text of a leak's report on this interpreter."""
    own = GOLDEN / f"{entry.name}.{HERE}.txt"
    return own if own.exists() else GOLDEN / f"{entry.name}.txt"


@pytest.mark.slow
@pytest.mark.parametrize("entry", LEAKS, ids=str)
def test_report(entry):
    """The report reads as it was read and found good, and names type, line and holder."""
    if entry.cannot_run:
        pytest.skip(entry.cannot_run)
    report = report_on(entry)
    assert {"type", "line", "holder"} == named(entry, report), str(report)
    if HERE in (MAIN, *OTHERS):
        expected = text_of(entry).read_text(encoding="utf-8").splitlines()
        assert expected == golden(entry, report)


def named(entry: Entry, report: Report) -> set[str]:
    """Return what the report names rightly of the type that leaks, its line and its holder.

    What is no object, or was there before, has no type or line that could be named.
    """
    assert report.diagnosis is not None
    survivors, unaccounted = report.diagnosis.survivors, report.diagnosis.unaccounted
    texts = [f"{group.held_by} {group.inner}" for group in survivors]
    texts += [str(group) for group in unaccounted]
    text = " ".join(texts)
    origins = [origin for group in (*survivors, *unaccounted) for origin in group.origins]
    lines = {
        line.number for origin in (*origins, *report.diagnosis.origins) for line in origin.lines
    }
    name = (entry.type or "").rpartition(".")[2]
    right = {
        "type": not texts or SHORT.get(name, name) in text,
        "line": entry.line in lines or not origins,
        "holder": entry.holder is None or entry.holder in text,
    }
    return {fact for fact, is_right in right.items() if is_right}


def test_no_text_is_left_over():
    """Each golden text is that of a leak there is, on an interpreter that is compared."""
    names = {entry.name for entry in LEAKS}
    known = names | {f"{name}.{other}" for name in names for other in OTHERS}
    assert names <= {path.stem for path in GOLDEN.glob("*.txt")} <= known


def update(entry: Entry) -> None:
    """Write the text of a leak's report on this interpreter."""
    text = "".join(f"{line}\n" for line in golden(entry, report_on(entry)))
    main, own = GOLDEN / f"{entry.name}.txt", GOLDEN / f"{entry.name}.{HERE}.txt"
    if MAIN == HERE:
        main.write_text(text, encoding="utf-8")
    elif text == main.read_text(encoding="utf-8"):
        own.unlink(missing_ok=True)
    else:
        own.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] != ["--update"] or HERE not in (MAIN, *OTHERS):
        sys.exit(__doc__)
    GOLDEN.mkdir(exist_ok=True)
    for each in LEAKS:
        if each.name in (sys.argv[2:] or [each.name]) and not each.cannot_run:
            update(each)
