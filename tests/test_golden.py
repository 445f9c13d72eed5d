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


NOT_NAMED = {
    "none_in_a_list": {"line"},
    "a_reference_to_an_old_object": {"line"},
    "native_memory": {"line"},
    "a_file_descriptor": {"line"},
    "a_child_process": {"line"},
}
"""What reports do not name: where no Python object is made, tracemalloc sees nothing."""


def report_on(entry: Entry) -> Report:
    """Check a leak of the zoo."""
    with entry.subject() as subject:
        return find_leaks(subject)


def golden(entry: Entry, report: Report) -> list[str]:
    """Return the lines of a report without what differs, folders and lines' numbers."""
    text = str(report).replace(f"zoo.py:{entry.line} ", "zoo.py:LEAK ")
    text = re.sub(r"(?:\S*/)?(\w+\.py):(?:\d+|(LEAK))", r"\1:\2", text)
    others = r"growth stopped; settled |went up and down |grew by "  # quantities beside the leak's
    text = re.sub(rf"(?m)^  Note .*: (?:{others}).*\n?(?:^ {{15}}.*\n)*", "", text)
    text = re.sub(r" and [\d.]+ (?:B|KiB) per call\)", " per call)", text)
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
    facts = named(entry, report)
    missing = {fact for fact, is_named in facts.items() if not is_named}
    assert NOT_NAMED.get(entry.name, set()) == missing, str(report)
    if HERE in (MAIN, *OTHERS):
        expected = text_of(entry).read_text(encoding="utf-8").splitlines()
        assert expected == golden(entry, report)


def named(entry: Entry, report: Report) -> dict[str, bool]:
    """Tell for each of type, line and holder that the leak has whether the report names it."""
    assert report.diagnosis is not None
    survivors, unaccounted = report.diagnosis.survivors, report.diagnosis.unaccounted
    text = " ".join(f"{group.held_by} {group.inner}" for group in survivors)
    text += " ".join(map(str, unaccounted))
    origins = [origin for group in (*survivors, *unaccounted) for origin in group.origins]
    lines = {
        line.number for origin in (*origins, *report.diagnosis.origins) for line in origin.lines
    }
    facts = {}
    if entry.type is not None:
        name = entry.type.rpartition(".")[2]
        facts["type"] = SHORT.get(name, name) in text
    if entry.line is not None:
        facts["line"] = entry.line in lines
    if entry.holder is not None:
        facts["holder"] = entry.holder in text
    return facts


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
