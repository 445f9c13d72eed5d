"""Readings and rules make findings, and what was not judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from refleak._census import TypeCount
from refleak._format import at_most, plural, quantity
from refleak._plan import Plan
from refleak._rounds import Evidence, judge_all, rule_of
from refleak._rules import Rule, Verdict, Window, decisive, rising, settled_at
from refleak.probes import Probe

MOST_RESOURCES = 4
"""Descriptors, threads and such named for each quantity."""

SLOWEST_CACHE = 600
"""Calls within which the slowest known caches (re, SQLAlchemy, aiohttp) settle."""

BACKGROUND = 0.25
"""Share of a leak's rate that may be background before it can no longer be judged."""

EXPLAINED = {
    "native heap": (
        "threads",
        "memory blocks",
        "objects",
        "references",
        "container references",
    ),
    "anonymous mappings": ("threads", "native heap", "memory blocks"),
}
"""Quantities whose growth is part of another's: reported as one leak, not two."""


@dataclass(frozen=True)
class Finding:
    """One quantity that leaks.

    ``deltas`` are its changes over the measured rounds, ``per_call`` its growth per call over all
    ``rounds`` that were run to be sure. ``part_of`` names the quantity whose growth this one's is
    part of, such as the native heap's with leaking objects.
    """

    quantity: str
    unit: str
    deltas: tuple[int, ...]
    per_call: float
    rounds: int
    part_of: str | None = None


@dataclass(frozen=True)
class Resources:
    """What stayed of one quantity, in words: paths, threads' names, commands."""

    quantity: str
    unit: str
    names: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the names as the report shows them, each once, with how often there is one."""
        lines = [
            f"{self.unit}: {name}" + (f" ({count:,} times)" if count > 1 else "")
            for name, count in Counter(self.names).items()
        ]
        return at_most(MOST_RESOURCES, lines)


@dataclass(frozen=True)
class NotJudged:
    """A quantity that could not be judged here, and the reason in a sentence."""

    quantity: str
    reason: str


@dataclass(frozen=True)
class TypeChange:
    """Change in instances of a type and in references to them over the measured rounds."""

    name: str
    instances: int
    references: int


@dataclass(frozen=True)
class Findings:
    """All that the numbers say."""

    leaking: tuple[Finding, ...]
    notes: tuple[str, ...]
    not_judged: tuple[NotJudged, ...]


def find(
    plan: Plan, probes: Sequence[Probe], evidence: Evidence, not_judged: Sequence[NotJudged]
) -> Findings:
    """Judge every quantity by the evidence; *not_judged* are those that were not even read."""
    confirmed = evidence.confirmed
    if confirmed is None:
        grown = [name for name, deltas in evidence.measured.items() if rising(deltas)]
        notes = [_settled_within(name, evidence.rounds) for name in grown]
        return Findings((), tuple(notes), tuple(not_judged))
    verdicts = judge_all(probes, evidence.windows, confirmed, plan, exhausted=True)
    said = [_tell(probe, verdicts[probe.name], plan, evidence) for probe in probes]
    leaking = [each for each in said if isinstance(each, Finding)]
    leaks = {finding.quantity for finding in leaking}
    notes = [
        each.text
        for each in said
        if isinstance(each, _Doubt) and not leaks.intersection(EXPLAINED.get(each.quantity, ()))
    ]
    if evidence.stopped and evidence.rounds < SLOWEST_CACHE and _counted(probes, leaks):
        notes.append(
            f"a cache with room for more than {evidence.rounds:,} entries that fills would look "
            f"the same: further rounds ended at the bound of {evidence.stopped}"
        )
    unjudged = [each for each in said if isinstance(each, NotJudged)]
    return Findings(tuple(_merged(leaking)), tuple(notes), (*not_judged, *unjudged))


def _counted(probes: Sequence[Probe], names: Collection[str]) -> bool:
    """Tell whether one of these quantities leaks only if it grows for as long as is looked."""
    return any(probe.name in names and not rule_of(probe).alone for probe in probes)


@dataclass(frozen=True)
class _Doubt:
    """Growth that was no leak, and why."""

    quantity: str
    text: str


def _tell(
    probe: Probe, verdict: Verdict, plan: Plan, evidence: Evidence
) -> Finding | NotJudged | _Doubt | None:
    name = probe.name
    windows, deltas = evidence.windows[name], (evidence.confirmed or {})[name]
    background = evidence.idle.get(name, 0.0)
    per_call = _per_call(decisive(windows, rule_of(probe).windows), deltas, rule_of(probe))
    clean = verdict is Verdict.CLEAN
    # What changes by itself as a leak would, or more, could hide one as well as look like one.
    if background > (rule_of(probe).least if clean else max(0, BACKGROUND * per_call)):
        return NotJudged(
            name,
            f"other threads change it by {plural(background, probe.unit)} in the time of a "
            f"call, while nothing is called",
        )
    if clean:
        return _settled(probe, plan, evidence, deltas)
    if verdict is Verdict.SUSPICIOUS:
        return _Doubt(name, _doubt(probe, windows, evidence.stopped))
    return Finding(name, probe.unit, deltas, per_call, sum(window.rounds for window in windows))


def _per_call(windows: Sequence[Window], deltas: Sequence[int], rule: Rule) -> float:
    """Return what one call adds: of three windows the middle one's, since malloc may stray.

    Deltas that are all the same tell it better, unless the windows tell another story.
    """
    rates = [window.rate for window in windows]
    rate = sorted(rates)[len(rates) // 2] if len(rates) > 2 else rates[-1]
    if len(set(deltas)) == 1 and abs(deltas[0] - rate) < abs(rate) / (2 if rule.exact else 10):
        return float(deltas[0])
    return round(rate, 4)


def _settled(probe: Probe, plan: Plan, evidence: Evidence, deltas: Sequence[int]) -> _Doubt | None:
    name, windows = probe.name, evidence.windows[probe.name]
    grew = rising(evidence.measured[name]) or rising(deltas)
    last = settled_at(windows, rule_of(probe), run=plan.run, deltas=deltas)
    if not grew or last is None:
        return None
    rounds = plan.stab + plan.run + sum(window.rounds for window in windows[: last + 1])
    return _Doubt(name, _settled_within(name, rounds))


def _settled_within(name: str, rounds: int) -> str:
    return f"{name}: growth stopped; settled within {rounds:,} rounds"


def _doubt(probe: Probe, windows: Sequence[Window], stopped: str | None) -> str:
    last = windows[-1]
    if last.growth <= 0:
        return f"{probe.name}: went up and down by too much to tell a leak"
    grew = f"{probe.name}: grew by {plural(last.growth, probe.unit)} in the last "
    if stopped is None:  # another quantity had leaked enough
        return f"{grew}{quantity(last.rounds)} rounds, which are too few to tell a leak"
    return (
        f"{grew}{quantity(last.rounds)} rounds, but not at a steady rate as a leak does "
        f"(the bound of {stopped} was reached)"
    )


def _merged(leaking: Sequence[Finding]) -> list[Finding]:
    names = {finding.quantity for finding in leaking}
    return [
        Finding(
            finding.quantity,
            finding.unit,
            finding.deltas,
            finding.per_call,
            finding.rounds,
            next((whole for whole in EXPLAINED.get(finding.quantity, ()) if whole in names), None),
        )
        for finding in leaking
    ]


def type_changes(evidence: Evidence) -> tuple[TypeChange, ...]:
    """Return the types whose instances or references changed, largest change first."""
    if evidence.types is None:
        return ()
    before, after = evidence.types
    nothing = TypeCount(0, 0)
    changes = [
        TypeChange(
            name,
            after.get(name, nothing).instances - before.get(name, nothing).instances,
            after.get(name, nothing).references - before.get(name, nothing).references,
        )
        for name in {**before, **after}
    ]
    return tuple(
        sorted(
            (change for change in changes if change.instances or change.references),
            key=lambda change: (-abs(change.references), -abs(change.instances), change.name),
        )
    )
