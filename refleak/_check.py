"""The pipeline itself: rounds, readings, verdict, diagnosis, report."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from refleak._caches import rest
from refleak._errors import KnownLeakWarning, LeakError
from refleak._format import type_mro
from refleak._originals import Clock
from refleak._plan import Plan, check_implementation, show
from refleak._report import Report
from refleak._rounds import Evidence, Progress, run_rounds
from refleak._verdict import Finding, Findings, NotJudged, Resources, find, type_changes
from refleak.probes import Probe, described

if TYPE_CHECKING:  # what only a leak needs is imported when there is one
    from refleak._cycles import Cycles
    from refleak._diagnosis import Diagnosis


class _Running:
    """Which check is running: quantities belong to the process, so only one can judge them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subject: str | None = None
        self._entered = self._thread = 0
        self.begun = 0
        """How many checks were begun so far, nested ones included."""

    def claim(self, subject: str, entered: int = 0) -> str | None:
        """Become the one that is running; return the name of the other one if there is one.

        entered: the id of the frame that entered a block, which the caller keeps alive.
        """
        with self._lock:
            self.begun += 1
            if self._subject is None:
                self._subject = subject
                self._entered, self._thread = entered, threading.get_ident()
                return None
            other = self._subject
        if self._left_open():
            text = f"{subject} is not judged: {other} was entered, and was not left so far"
            _warn(text, RuntimeWarning)
        return other

    def _left_open(self) -> bool:
        """Tell whether the code that entered the running check's block, in this thread, is over."""
        if not self._entered or self._thread != threading.get_ident():
            return False
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and id(frame) != self._entered:
            frame = frame.f_back
        return frame is None

    def release(self) -> None:
        with self._lock:
            self._subject = None


RUNNING = _Running()


class Check:
    """One check: the rounds to run the subject in, and then the report.

    ``for _ in check.rounds(): subject()``, then ``check.report``. The rounds never call the
    subject themselves, so that sync and async code, loops and test frameworks share them.
    """

    def __init__(self, plan: Plan, subject: str, progress: Progress | None = None) -> None:
        check_implementation()
        self.plan = plan
        self.subject = subject
        self.report: Report | None = None
        self._progress = progress

    def rounds(self) -> Iterator[None]:
        """Yield once for each run of the subject; afterwards ``report`` is there.

        Within another check, in whatever thread, the subject is run once and not judged: the other
        check counts its leaks as its own.
        """
        other = RUNNING.claim(self.subject)
        if other is not None:
            yield
            self.report = self._unjudged(f"the check of {other} was running around it")
            return
        try:
            yield from self._pipeline()
        finally:
            RUNNING.release()

    def _pipeline(self) -> Generator[None, None, None]:
        probes, not_judged = available(self.plan.probes)
        began = Clock.monotonic()
        evidence = yield from run_rounds(self.plan, probes, self._progress)
        seconds = (Clock.monotonic() - began) / evidence.rounds
        findings = find(self.plan, probes, evidence, not_judged)
        before = self._described(probes, findings)
        diagnosis = yield from self._diagnosis(findings, seconds)
        resources = new_resources(before, self._described(probes, findings))
        cycles = yield from self._cycles(findings)
        self.report = self._report(
            probes, evidence, weigh(findings, diagnosis), diagnosis, resources, cycles
        )

    def _cycles(self, findings: Findings) -> Generator[None, None, Cycles | None]:
        """Draw the cyclic garbage, where that is what leaks."""
        names = {each.quantity for each in findings.leaking} if self.plan.diagnose else set()
        if not names & {"cycles", "uncollectable objects"}:
            return None
        from refleak._cycles import diagnose_cycles

        return (yield from diagnose_cycles(settle=rest, rounds=self.plan.run, own=(self,)))

    def _described(
        self, probes: Sequence[Probe], findings: Findings
    ) -> dict[tuple[str, str], dict[Any, str]]:
        """Ask the probes of leaking quantities what there is now: descriptors, threads, tasks."""
        names = {each.quantity for each in findings.leaking} if self.plan.diagnose else set()
        return {
            (probe.name, probe.unit): dict(probe.describe())
            for probe in probes
            if probe.name in names and isinstance(probe, Describing)
        }

    def _diagnosis(
        self, findings: Findings, seconds: float
    ) -> Generator[None, None, Diagnosis | None]:
        """Look for what leaks: only once a leak is certain, in rounds of its own.

        seconds: what one call takes. The limit leaves time for all calls of slow code.
        """
        held = [each for each in findings.leaking if each.quantity != "cycles"]
        if not held or not (self.plan.diagnose or self.plan.ignore):
            return None
        from refleak._diagnosis import MAX_SECONDS, MOST_PERIODS, diagnose

        return (
            yield from diagnose(
                settle=rest,
                period=self.plan.run,
                max_seconds=max(MAX_SECONDS, 2 * MOST_PERIODS * self.plan.run * seconds),
                own=(self, self.plan),
                ignored=self._ignored,
                only_counts={each.quantity for each in held} & HEAP == {"references"},
            )
        )

    def _ignored(self, kind: type) -> bool:
        mro = type_mro(kind)
        return any(base is ignored for ignored in self.plan.ignore for base in mro)

    def _report(
        self,
        probes: Sequence[Probe],
        evidence: Evidence,
        findings: Findings,
        diagnosis: Diagnosis | None,
        resources: tuple[Resources, ...],
        cycles: Cycles | None,
    ) -> Report:
        return Report(
            subject=self.subject,
            stab=self.plan.stab,
            run=self.plan.run,
            rounds=evidence.rounds + sum(each.calls for each in (diagnosis, cycles) if each),
            findings=findings.leaking,
            types=type_changes(evidence),
            notes=findings.notes,
            not_judged=findings.not_judged,
            counting=counting(probes),
            resources=resources,
            cycles=cycles,
            diagnosis=diagnosis,
            known_leak=self.plan.known_leak,
        )

    def _unjudged(self, reason: str) -> Report:
        return Report(
            subject=self.subject,
            stab=self.plan.stab,
            run=self.plan.run,
            rounds=1,
            not_judged=tuple(NotJudged(probe.name, reason) for probe in self.plan.probes),
            judged=False,
        )


def counting(probes: Sequence[Probe]) -> str | None:
    """Say how references are counted; None where they are not judged."""
    return next(filter(None, (getattr(probe, "counting", None) for probe in probes)), None)


HEAP = {"references", "container references", "objects", "memory blocks", "native heap"}
"""Quantities whose growth the holders of survivors can explain."""


@runtime_checkable
class Describing(Protocol):
    """A probe that can say what makes up its level."""

    def describe(self) -> Mapping[Any, str]:
        """Return the text of each, by what identifies it."""
        ...


def new_resources(
    before: Mapping[tuple[str, str], Mapping[Any, str]],
    after: Mapping[tuple[str, str], Mapping[Any, str]],
) -> tuple[Resources, ...]:
    """Return what is there after the diagnosis's rounds and was not before, and stayed."""
    return tuple(
        Resources(name, unit, tuple(text for key, text in now.items() if key not in earlier))
        for ((name, unit), now), earlier in zip(after.items(), before.values(), strict=True)
    )


def weigh(findings: Findings, diagnosis: Diagnosis | None) -> Findings:
    """Take back what the holders show to be no leak: bounded containers, and ignored types.

    What malloc hands out is part of a leak of objects, unless it is more than they take.
    """
    if diagnosis is None:
        return findings
    if diagnosis.only_ignored:
        reasons = ["all growth is of ignored types, or held by objects of them"]
    elif diagnosis.only_bounded:
        reasons = list(map(str, diagnosis.filling))
    else:
        leaking = findings.leaking
        if _takes_more(leaking, diagnosis):
            leaking = tuple(
                replace(each, part_of=None) if each.quantity == "native heap" else each
                for each in leaking
            )
        return replace(findings, leaking=leaking)
    leaking = tuple(each for each in findings.leaking if each.quantity not in HEAP)
    return replace(findings, leaking=leaking, notes=(*findings.notes, *reasons))


TABLES = 128
"""Bytes by which tables may grow for each reference that containers gain."""

OVERHEAD = 32
"""Bytes that an allocator may add to a block."""


def _takes_more(leaking: Sequence[Finding], diagnosis: Diagnosis) -> bool:
    """Tell whether malloc hands out far more per call than all that Python was seen to allocate."""
    from refleak._origins import MAX_ORIGINS

    found = {each.quantity: each for each in leaking}
    if "native heap" not in found or found["native heap"].part_of == "threads":
        return False
    if not 0 < len(diagnosis.origins) < MAX_ORIGINS:  # else there may be more of them
        return False
    traced = sum(origin.size + OVERHEAD * origin.blocks for origin in diagnosis.origins)
    gained = found["container references"].per_call if "container references" in found else 0
    return found["native heap"].per_call > 2 * traced + TABLES * gained + OVERHEAD


def available(probes: Sequence[Probe]) -> tuple[list[Probe], list[NotJudged]]:
    """Part the probes that can be read here from those that cannot, with the reason."""
    usable: list[Probe] = []
    not_judged: list[NotJudged] = []
    for probe in probes:
        reason = probe.unavailable()
        if reason is None:
            usable.append(probe)
        elif isinstance(reason, str):
            not_judged.append(NotJudged(probe.name, reason))
        else:
            raise TypeError(
                f"{described(probe)}: unavailable() must return None or a reason (text), "
                f"not {show(reason)}"
            )
    return usable, not_judged


def raise_if_leaking(report: Report, plan: Plan) -> None:
    """Raise LeakError for a leak; the only place that does.

    A leak that was marked as known is a warning instead; with strict=True its absence fails.
    """
    __tracebackhide__ = True
    if plan.known_leak is None:
        if report.leaking:
            raise LeakError(report)
    elif report.leaking:
        _warn(f"known leak ({plan.known_leak}): {report}", KnownLeakWarning)
    elif plan.strict and report.judged:
        raise AssertionError(
            f"{report.subject} was marked with known_leak={plan.known_leak!r}, but leaks no more: "
            f"remove the mark"
        )


def _warn(text: str, category: type[Warning]) -> None:
    """Warn at the user's line, but never fail: ``-W error`` makes a known leak no failure."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inner(frame.f_code.co_filename):
        frame = frame.f_back
    place = (frame.f_code.co_filename, frame.f_lineno) if frame is not None else ("refleak", 1)
    try:
        warnings.warn_explicit(text, category, *place)
    except category:
        with warnings.catch_warnings():
            warnings.simplefilter("always", category)
            warnings.warn_explicit(text, category, *place)


def _is_inner(filename: str) -> bool:
    folder = os.path.dirname(filename)
    return folder == os.path.dirname(__file__) or os.path.basename(folder) == "wrapt"
