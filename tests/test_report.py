"""A report's data as text, summary, dict and JSON.

The whole text of real leaks is compared in test_readme.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
import sys
from pathlib import Path

import pytest

from refleak import LeakError, Report, find_leaks
from refleak._cycles import Cycle, Cycles
from refleak._diagnosis import Diagnosis
from refleak._groups import Gained, Survivors
from refleak._holders import Holder
from refleak._origins import Line, Origin
from refleak._report import MOST_DELTAS, MOST_TYPES, SCHEMA
from refleak._verdict import MOST_RESOURCES, Finding, NotJudged, Resources, TypeChange


def finding(name="references", per_call=2.0, deltas=(2, 2, 2, 2), unit=None, part_of=None):
    """Make a finding; its unit is the quantity's name without the s."""
    return Finding(name, unit or name.removesuffix("s"), deltas, per_call, 28, part_of)


def report(*findings, **facts):
    """Make the report of a check with the default rounds."""
    given = {"subject": "test_it", "stab": 5, "run": 4, "rounds": 9, **facts}
    return Report(findings=findings, **given)


def labelled(text, label):
    """Return the lines of a report's explanations that begin with a label, without it."""
    return [line[15:] for line in str(text).splitlines() if line.startswith(f"  {label} ")]


# --- the first line ------------------------------------------------------------------------------

HEADLINES = {
    "test_it does not leak": report(),
    "test_it was not judged": report(judged=False),
    "test_it leaked 2 references per call": report(finding()),
    "test_it leaked 1 reference and 1.5 memory blocks per call": report(
        finding(per_call=1.0), finding("memory blocks", 1.5)
    ),
    "test_it leaked 0.25 references, 1 thread and 2 child processes per call": report(
        finding(per_call=0.25),
        finding("threads", 1.0),
        finding("child processes", 2.0, unit="child process"),
    ),
    "test_it leaked 1 reference per call": report(
        finding(per_call=1.0), finding("objects", 1.0), finding("container references", 1.0)
    ),
    "test_it leaked 1 object and 2 container references per call": report(
        finding("objects", 1.0), finding("container references", 2.0)
    ),
    "test_it leaked 1 memory block per call": report(
        finding("memory blocks", 1.0), finding("native heap", 600.0, part_of="memory blocks")
    ),
    "test_it leaked 1 object": report(finding("objects", 1.0), stab=0, run=1, rounds=1),
}


@pytest.mark.parametrize(("expected", "given"), HEADLINES.items(), ids=range(len(HEADLINES)))
def test_the_first_line_is_a_sentence_with_numbers(expected, given):
    """It names what was checked and the main quantities, in the singular where there is one."""
    assert expected == str(given).splitlines()[0]


# --- the rest of the text ------------------------------------------------------------------------


def test_a_clean_report_says_how_often_it_looked():
    """Without a leak there is the sentence, and what stands behind it."""
    expected = [
        "test_it does not leak",
        "",
        "  Rounds       5 warm-up, 4 measured",
        "  Counted by   heap census (release build)",
    ]
    assert expected == str(report(counting="heap census (release build)")).splitlines()


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        ("5 warm-up, 4 measured", {}),
        ("5 warm-up, 4 measured, 2,024 more to be sure", {"rounds": 2033}),
        ("a single pass", {"stab": 0, "run": 1, "rounds": 1}),
    ],
)
def test_the_rounds_are_told(expected, facts):
    """How often the subject was run, in which phases."""
    assert [expected] == labelled(report(**facts), "Rounds")


def test_quantities_stand_in_columns_with_their_signs():
    """Each leaking quantity has its deltas, those that are part of another's are left out."""
    text = str(
        report(
            finding(),
            finding("memory blocks", 0.1, (0, 1, 0, -1)),
            finding("native heap", 600.0, (600,) * 4, part_of="memory blocks"),
        )
    )
    assert ["  references     +2 +2 +2 +2", "  memory blocks  0 +1 0 -1"] == text.splitlines()[2:4]
    assert "native heap" not in text


@pytest.mark.parametrize(
    ("expected", "deltas", "per_call"),
    [
        ("+1 +1 +1 +1  then +2 per call", (1, 1, 1, 1), 2),
        ("0 0 0 +8", (0, 0, 0, 8), 2),
        ("+2 +2 +2 +3", (2, 2, 2, 3), 2.1),
    ],
)
def test_another_rate_later_is_told(expected, deltas, per_call):
    """Where the rounds after the measured ones say something else, it stands behind these."""
    lines = str(report(finding(deltas=deltas, per_call=per_call))).splitlines()
    assert f"  references  {expected}" in lines


def test_many_deltas_are_cut():
    """With many measured rounds the first dozen stand for all; the data have all."""
    many = report(finding(per_call=1.0, deltas=(1,) * 50), run=50)
    (line,) = [line for line in str(many).splitlines() if line.startswith("  references")]
    assert ["+1"] * MOST_DELTAS + ["..."] == line.split()[1:]
    assert 50 == many.summary().count("1")


TYPES = tuple(TypeChange(f"package.Type{number:02}", 4, 40 - number) for number in range(20))


def test_the_type_table():
    """Types in their order, cut with their number, totals over all at the foot, in columns."""
    head, *rows = str(report(finding(deltas=(1,) * 4), types=TYPES)).splitlines()[4:]
    assert "  Change over 4 measured rounds:" == head
    assert "  type/class      insts   refs" == rows[0]
    assert "  package.Type00     +4    +40" == rows[2]
    assert "  ... and 8 more" == rows[2 + MOST_TYPES]
    assert "  total             +80   +610" == rows[4 + MOST_TYPES]
    assert rows[1] == rows[3 + MOST_TYPES] == f"  {'-' * len(rows[2].strip())}"


def test_it_fits_into_80_columns():
    """The longest names and chains that a report can hold are cut, or wrapped; none is lost."""
    line = Line(
        "package/" * 6 + "module.py", 12345, "Outer.Inner.method", "kept.append(" + "x" * 50
    )
    chain = "bus" + '._subscribers["tick"]' * 8
    holder = Holder(f"module {'package.' * 8}module", chain, "list", 2017, 2033, 4)
    group = Survivors((Gained("n" * 60, 1.0),), (), holder, origins=(Origin((line,), (), 1, 64.0),))
    found = report(
        finding(deltas=(123456789,) * 3),
        types=(TypeChange("m" * 80, 123456, 1234567),),
        notes=("word " * 60,),
        diagnosis=Diagnosis(calls=16, traced=4, survivors=(group,)),
    )
    words = [line for line in str(found).splitlines() if len(line) > 80]
    assert all(len(line.split()) == 1 for line in words), words  # a name is never torn
    assert str(found).split().count("word") == 60


def test_the_first_lines_are_enough():
    """Who holds it, and the line that made it, are among the first 15."""
    kinds = ("references", "memory blocks", "objects", "container references")
    holder = Holder("module app", "bus", "list", 9, 13, 4)
    origin = Origin((Line("app.py", 12, "f", "bus.append(self)"),), (), 1.0, 64.0)
    group = Survivors((Gained("app.Thing", 1.0),), (), holder, origins=(origin,))
    diagnosis = Diagnosis(calls=16, traced=4, survivors=(group,))
    first = str(report(*map(finding, kinds), types=TYPES, diagnosis=diagnosis)).splitlines()[:15]
    assert "  Held by      module app -> bus (list, 9 -> 13 items) -> app.Thing" in first
    assert any(line.startswith("  Allocated at app.py:12 in f") for line in first)


def test_a_table_of_few_types_is_not_cut():
    """Nothing is said of more where there is no more."""
    assert "more" not in str(report(finding(), types=TYPES[:MOST_TYPES])).partition("Rounds")[0]


def test_a_total_that_differs_from_the_references_is_explained():
    """Either the table's total is the references' growth, or a line says why it is not."""
    same = report(finding(deltas=(1, 1, 1, 1)), types=(TypeChange("dict", 4, 4),))
    other = report(finding(deltas=(2, 2, 2, 2)), types=(TypeChange("dict", 4, 4),))
    assert "cannot see" not in str(same)
    assert (
        "  (references: +8; the table cannot see those that only C code holds)"
        in str(other).splitlines()
    )


def test_without_a_leak_there_is_no_table():
    """What changed under a clean test is nobody's concern."""
    assert "package.Type" not in str(report(types=TYPES))


def test_only_reference_counts_growing_is_said():
    """A leak that takes no memory is told apart from one that does."""
    expected = ["no memory grows, only reference counts do"]
    assert expected == labelled(report(finding()), "Kind")
    assert [] == labelled(report(finding(), finding("memory blocks")), "Kind")
    assert [] == labelled(report(), "Kind")


def test_resources_are_named():
    """What stayed is named with its unit, the same names once, and cut with their number."""
    names = ("log.txt", "log.txt", *(f"file {number}" for number in range(9)))
    text = report(
        finding("file descriptors"),
        resources=(Resources("file descriptors", "file descriptor", names),),
    )
    lines = str(text).splitlines()
    first = lines.index("  Leaked       file descriptor: log.txt (2 times)")
    assert "               file descriptor: file 0" == lines[first + 1]
    assert f"               ... and {10 - MOST_RESOURCES} more" == lines[first + MOST_RESOURCES]


def test_notes_and_what_was_not_judged_are_told():
    """Each stands in a line, the label once."""
    text = report(
        notes=("one thing", "another"),
        not_judged=(NotJudged("native heap", "no mallinfo2() here"),),
        known_leak="issue 7",
    )
    assert ["one thing"] == labelled(text, "Note")
    assert "               another" in str(text).splitlines()
    assert ["native heap: no mallinfo2() here"] == labelled(text, "Not judged")
    assert ["issue 7"] == labelled(text, "Known leak")


# --- the data ------------------------------------------------------------------------------------


def test_the_summary_has_the_form_of_pytest_leaks():
    """Quantity and deltas, in the order of the findings."""
    expected = "leaked references: [2, 2, 2, 2], memory blocks: [1, 1, 1, 1]"
    given = report(finding(), finding("memory blocks", 1.0, (1, 1, 1, 1)))
    assert expected == given.summary()
    assert "leaked nothing" == report().summary()


def test_the_dict_is_of_plain_data_with_a_schema():
    """All fields are there, values are texts, numbers, lists and dicts; JSON says the same."""
    given = report(finding(), types=TYPES, resources=(Resources("threads", "thread", ("a",)),))
    data = given.to_dict()
    names = {field.name for field in dataclasses.fields(Report)}
    assert names | {"schema", "leaking"} == data.keys()
    assert (SCHEMA, True, "test_it") == (data["schema"], data["leaking"], data["subject"])
    assert data == tuples(json.loads(given.to_json()))
    assert "\n  " in given.to_json(indent=2)


def tuples(data):
    """Return JSON's data with tuples for its lists."""
    if isinstance(data, list):
        return tuple(map(tuples, data))
    return {key: tuples(value) for key, value in data.items()} if isinstance(data, dict) else data


kept: list[object] = []


class Unspeakable:
    """An object that fails whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError

    __eq__ = __hash__ = __bool__ = __len__ = __repr__


@pytest.fixture(scope="module")
def real():
    """The report of a real leak, with all that a diagnosis finds."""
    made = find_leaks(lambda: kept.append(Unspeakable()), stab=2, max_rounds=28)
    kept.clear()
    return made


def test_a_real_report_holds_texts_and_numbers_only(real):
    """No object of the code under test is kept: it can be copied, pickled and written as JSON."""
    assert real.leaking
    assert tuples(json.loads(real.to_json())) == real.to_dict()
    assert real == pickle.loads(pickle.dumps(real)) == copy.deepcopy(real)
    assert "Unspeakable" in real.to_json()


def test_a_report_comes_back_from_its_data(real):
    """From the dict and from JSON the same report is made again, whatever it holds."""
    cycles = Cycles(4, 2.0, (Cycle("list -> list", 1.0),), (("dict", 0.5),), more=1)
    for given in (real, report(), report(finding(), cycles=cycles, counting="census")):
        assert given == Report.from_dict(given.to_dict())
        assert given == Report.from_dict(json.loads(given.to_json()))


WRONG = {
    "schema: None": lambda data: data.pop("schema"),
    "schema: True": lambda data: data.update(schema=True),
    "schema: 99": lambda data: data.update(schema=99),
    "Report: ['stab']": lambda data: data.pop("stab"),
    "Report: ['colour']": lambda data: data.update(colour="red"),
    "Report.rounds: 'nine'": lambda data: data.update(rounds="nine"),
    "Report.rounds: True": lambda data: data.update(rounds=True),
    "Report.findings: 7": lambda data: data.update(findings=7),
    "Report.findings[0].per_call: None": lambda data: data["findings"][0].update(per_call=None),
    "Report.diagnosis.survivors[0].holder.root: 5": lambda data: data["diagnosis"]["survivors"][0][
        "holder"
    ].update(root=5),
    "Report.notes[0]: []": lambda data: data.update(notes=[[]]),
}


@pytest.mark.parametrize(("place", "spoil"), WRONG.items(), ids=WRONG)
def test_data_of_no_report_are_refused(real, place, spoil):
    """The error names the field and its value."""
    data = json.loads(real.to_json())
    spoil(data)
    with pytest.raises(ValueError, match=re.escape(place)):
        Report.from_dict(data)


def test_what_is_no_dict_is_refused():
    """The error says so, for JSON text that was not parsed yet, say."""
    with pytest.raises(ValueError, match="schema: None instead of 1"):
        Report.from_dict(report().to_json())


def test_the_schema_describes_every_report(real):
    """JSON schema's own validator takes reports, and refuses what from_dict refuses."""
    jsonschema = pytest.importorskip(
        "jsonschema", reason="jsonschema is not installed; the test extra does so before 3.14"
    )
    validator = jsonschema.Draft202012Validator(Report.json_schema())
    validator.check_schema(Report.json_schema())
    for given in (real, report(), report(finding(), known_leak="x", cycles=Cycles(1, 0.0, (), ()))):
        validator.validate(json.loads(given.to_json()))
    for spoil in WRONG.values():
        data = json.loads(real.to_json())
        spoil(data)
        assert not validator.is_valid(data)


def test_the_schemas_file_is_that_of_this_version():
    """The file in docs/ was written by: python tests/test_report.py --update."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()


SCHEMA_FILE = Path(__file__).parents[1] / "docs" / "report.schema.json"


def schema_text():
    """Return the schema as its file holds it."""
    return json.dumps(Report.json_schema(), indent=2) + "\n"


def test_a_real_report_tells_what_its_data_say(real):
    """Text and dict come from the same data."""
    data = real.to_dict()
    assert real.diagnosis.survivors[0].held_by in str(real)
    assert [each["quantity"] for each in data["findings"]] == [
        each.quantity for each in real.findings
    ]
    assert real.rounds == data["rounds"] > 9


def test_a_report_is_frozen():
    """What was found cannot be changed any more."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        report().rounds = 3


# --- LeakError -----------------------------------------------------------------------------------


def test_leak_error_is_an_assertion_with_the_report(real):
    """Its text is the report's, and frameworks count it as a failure."""
    error = LeakError(real)
    assert isinstance(error, AssertionError)
    assert str(real) == str(error)
    assert real is error.report
    assert "refleak.LeakError" == f"{LeakError.__module__}.{LeakError.__qualname__}"


def test_leak_error_passes_between_processes(real):
    """Pickled, as pytest-xdist and multiprocessing do, it is the same with its report."""
    error = pickle.loads(pickle.dumps(LeakError(real)))
    assert (LeakError, real, str(real)) == (type(error), error.report, str(error))


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")


def test_a_report_is_neither_true_nor_false():
    """``if find_leaks(f):`` would be true always."""
    with pytest.raises(TypeError, match=r"ask report\.leaking"):
        bool(find_leaks(lambda: None, stab=1, run=1))
