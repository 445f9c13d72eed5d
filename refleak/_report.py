"""Data to text, dict and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from refleak._data import build, schema_of
from refleak._format import at_most, columns, listing, plural, shorten, signed, wrapped
from refleak._verdict import Finding, NotJudged, Resources, TypeChange

if TYPE_CHECKING:
    from refleak._cycles import Cycles
    from refleak._diagnosis import Diagnosis

MOST_TYPES = 12
"""Rows of the type table shown in the text; the report's data hold all."""

WIDEST_NAME = 56
"""Characters of a type's name shown in the text's table; the report's data hold more."""

COLUMNS = 80
"""Width of the text."""

LABEL = 13
"""Columns for a label (``Held by``) and the space behind it."""

MOST_DELTAS = 12
"""Deltas shown per quantity in the text."""

SCHEMA = 1
"""Version of what :meth:`Report.to_dict` returns."""


@dataclass(frozen=True)
class Report:
    """What a check found: text and numbers only, no object of the code under test.

    ``subject`` is what was checked, ``findings`` the leaking quantities, ``types`` the change
    in instances and references by type over the measured rounds, ``rounds`` how often the subject
    was run in all (``stab`` + ``run`` if nothing looked suspicious). ``counting`` says how
    references were counted, ``not_judged`` what could not be judged and why, ``resources`` which
    descriptors, threads and such stayed, ``diagnosis`` where
    survivors were allocated and who holds them, ``cycles`` the cyclic
    garbage (None without a leak or with diagnose=False).
    """

    subject: str
    stab: int
    run: int
    rounds: int
    findings: tuple[Finding, ...] = ()
    types: tuple[TypeChange, ...] = ()
    notes: tuple[str, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()
    counting: str | None = None
    resources: tuple[Resources, ...] = ()
    diagnosis: Diagnosis | None = None
    cycles: Cycles | None = None
    known_leak: str | None = None
    judged: bool = True

    @property
    def leaking(self) -> bool:
        """Whether anything leaks."""
        return bool(self.findings)

    @property
    def headline(self) -> str:
        """What leaked, in one sentence with numbers."""
        if not self.judged:
            return f"{self.subject} was not judged"
        return f"{self.subject} {f'leaked {self.growth}' if self.findings else 'does not leak'}"

    @property
    def growth(self) -> str:
        """What leaked, with numbers: ``4 references and 2 memory blocks per call``."""
        parts = [plural(finding.per_call, finding.unit) for finding in _main(self.findings)]
        once = self.stab == 0  # a single pass: nothing was repeated
        return f"{listing(parts)}{'' if once else ' per call'}" if parts else ""

    @property
    def brief(self) -> str:
        """The headline, and on a line of its own what holds most of what stays, if it is known."""
        survivors = self.diagnosis.survivors if self.diagnosis is not None else ()
        return "\n".join([self.headline, *(f"held by {each.held_by}" for each in survivors[:1])])

    def __bool__(self) -> NoReturn:
        raise TypeError("a Report is neither true nor false; ask report.leaking")

    def __str__(self) -> str:
        return "\n".join(text_lines(self))

    def summary(self) -> str:
        """Return the deltas in pytest-leaks' form: ``leaked references: [2, 2, 2, 2], ...``."""
        if not self.findings:
            return "leaked nothing"
        return "leaked " + ", ".join(
            f"{finding.quantity}: {list(finding.deltas)}"
            for finding in self.findings
            if finding.part_of is None
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as dicts, lists, texts and numbers, with the schema's version."""
        return {"schema": SCHEMA, "leaking": self.leaking, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Return the report that :meth:`to_dict`, or the JSON text of it, was made from.

        Raises ValueError, which names the field, for anything else, and for another version.
        """
        version = data.get("schema") if isinstance(data, Mapping) else None
        if type(version) is not int or version != SCHEMA:
            raise ValueError(f"schema: {version!r} instead of {SCHEMA}, the version known here")
        fields = {key: value for key, value in data.items() if key not in ("schema", "leaking")}
        return build(cls, fields, _parts())

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema (draft 2020-12) of :meth:`to_json`."""
        added: dict[str, Any] = {"schema": {"const": SCHEMA}, "leaking": {"type": "boolean"}}
        return schema_of(cls, _parts(), added)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def to_html(self) -> str:
        """Return the report as a page of HTML that needs nothing else."""
        from refleak._html import page
        from refleak._results import result_of

        return page([result_of(self)])

    def facts(self) -> list[tuple[str, str]]:
        """Return how sure the verdict is, as labels ("Rounds", "Not judged") and texts."""
        rows = []
        if self.findings and not _memory_grows(self):
            rows.append(("Kind", "no memory grows, only reference counts do"))
        if self.known_leak:
            rows.append(("Known leak", self.known_leak))
        rows.append(("Rounds", _rounds(self)))
        if self.counting:
            rows.append(("Counted by", self.counting))
        rows += [("Note", note) for note in self.notes]
        rows += [("Not judged", f"{entry.quantity}: {entry.reason}") for entry in self.not_judged]
        return rows


def _parts() -> dict[str, Any]:
    """Return the classes of the parts that only a leak needs, by the names of the annotations."""
    from refleak._cycles import Cycles
    from refleak._diagnosis import Diagnosis

    return {"Cycles": Cycles, "Diagnosis": Diagnosis}


def _main(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Leave out what only says the same again: part of another quantity, or other views of it."""
    whole = [finding for finding in findings if finding.part_of is None]
    views = ("objects", "container references")
    return [finding for finding in whole if finding.quantity not in views] or whole


def text_lines(report: Report, draw: Callable[[Sequence[int]], str] | None = None) -> list[str]:
    """Return the report as lines of text; *draw* makes a small picture of a quantity's deltas."""
    lines = [report.headline]
    # What most people need to begin with is in the first lines.
    for section in (
        _delta_lines(report.findings, draw),
        _labelled(_cause_rows(report)),
        _type_lines(report),
        _labelled(report.facts()),
    ):
        if section:
            lines += ["", *(f"  {line}" if line else "" for line in section)]
    return lines


def _delta_lines(
    findings: Sequence[Finding], draw: Callable[[Sequence[int]], str] | None
) -> list[str]:
    main = [each for each in findings if each.part_of is None]
    width = max((len(each.quantity) for each in main), default=0)
    drawn = [f"{draw(each.deltas[:MOST_DELTAS])}  " if draw else "" for each in main]
    return [
        f"{each.quantity:<{width}}  {picture}{' '.join(_deltas(each))}"
        for each, picture in zip(main, drawn, strict=True)
    ]


def _deltas(finding: Finding) -> list[str]:
    shown = [signed(delta) for delta in finding.deltas]
    if len(shown) > MOST_DELTAS:
        shown[MOST_DELTAS:] = ["..."]
    number, expected = len(finding.deltas), finding.per_call * len(finding.deltas)
    told = sum(finding.deltas), number * sorted(finding.deltas)[number // 2]  # one may stray
    if all(abs(each - expected) >= max(1, expected / 10) for each in told):
        shown.append(f" then {signed(finding.per_call)} per call")
    return shown


def _type_lines(report: Report) -> list[str]:
    if not report.findings or not report.types:
        return []
    rows = [
        (shorten(change.name, WIDEST_NAME), signed(change.instances), signed(change.references))
        for change in report.types
    ]
    total = (
        "total",
        signed(sum(change.instances for change in report.types)),
        signed(sum(change.references for change in report.types)),
    )
    table = columns([("type/class", "insts", "refs"), *rows[:MOST_TYPES], total], _align)
    rule = "-" * max(map(len, table))
    more = at_most(0, [row[0] for row in rows[MOST_TYPES:]])
    head = f"Change over {plural(report.run, 'measured round')}:"
    return [head, table[0], rule, *table[1:-1], *more, rule, table[-1], *_difference(report)]


def _align(column: int, text: str, width: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(max(width, 5))


def _difference(report: Report) -> list[str]:
    """Say why the table's total is not the references' growth, where it is not."""
    references = [f for f in report.findings if f.quantity == "references"]
    total = sum(change.references for change in report.types)
    if not references or sum(references[0].deltas) == total:
        return []
    grown = signed(sum(references[0].deltas))
    return [f"(references: {grown}; the table cannot see those that only C code holds)"]


def _cause_rows(report: Report) -> list[tuple[str, str]]:
    """Return what stayed, who holds it and where it was allocated: labels and texts."""
    rows = [("Leaked", line) for entry in report.resources for line in entry.lines()]
    if report.diagnosis is not None and report.findings:
        rows += report.diagnosis.rows()
    if report.cycles is not None:
        rows += report.cycles.rows()
    return rows


def _labelled(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lay out labels and texts; a label is left out where the row above has the same."""
    above = ["", *(label for label, _ in rows)]
    lines = []
    for at, (label, text) in enumerate(rows):
        first, *others = wrapped(text, COLUMNS - LABEL - 2)
        lines.append(f"{'' if label == above[at] else label:<{LABEL}}{first}".rstrip())
        lines += [f"{'':<{LABEL}}  {other}" for other in others]
    return lines


def _memory_grows(report: Report) -> bool:
    return any(finding.quantity != "references" for finding in report.findings)


def _rounds(report: Report) -> str:
    if report.stab == 0:
        return "a single pass"
    further = report.rounds - report.stab - report.run
    text = f"{report.stab} warm-up, {report.run} measured"
    return f"{text}, {further:,} more to be sure" if further > 0 else text
