"""What leaked, where it was allocated, who holds it: order and budget of the search."""

from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from refleak import _origins
from refleak._format import listing
from refleak._groups import MAX_GROUPS, Calls, Groups, Survivors, gained_items
from refleak._holders import Filling, Hidden, Search, Unaccounted
from refleak._native import Suspects
from refleak._originals import Clock
from refleak._origins import Line, Origin
from refleak._platform import system
from refleak._survivors import MAX_NEWCOMERS, Baseline, Grown, Population, population

BATCHES = 2
"""Periods in the first batch of rounds: growth must show in it and again in the second."""

TRACED = 3
"""Periods traced, at least, after the first traced one, which may fill what is replaced later."""

MOST_PERIODS = BATCHES + 1 + TRACED
"""Periods in all, where a period is long enough for the least number of rounds."""

MAX_SECONDS = 10.0
"""Default limit of a diagnosis: of its processor time, and what its calls wait."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a leak is made of: text and numbers, no object of the code under test.

    ``calls`` were made for it, and ``traced`` of them under tracemalloc. ``only_bounded`` and
    ``only_ignored`` say that all growth found is held by containers of bounded size, or is of
    ignored types: both are False when nothing was found or the search stopped early.
    """

    calls: int
    traced: int
    survivors: tuple[Survivors, ...] = ()
    unaccounted: tuple[Unaccounted, ...] = ()
    origins: tuple[Origin, ...] = ()
    filling: tuple[Filling, ...] = ()
    more: int = 0
    only_bounded: bool = False
    only_ignored: bool = False
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return what the report says: labels ("Held by") and texts."""
        rows: list[tuple[str, str]] = []
        for group in self.survivors:
            rows += _group_rows(group)
        for found in self.unaccounted:
            rows.append(("Held by", str(found)))
            rows += _origin_rows(found.origins[:1])
        rows += _origin_rows(self._other_origins())
        if self.more:
            told = self.survivors or self.unaccounted
            left_out = f"... and {self.more:,} more" if told else "not found in the time there was"
            rows.append(("Held by", left_out))
        rows += [("Note", str(filling)) for filling in self.filling]
        rows += [("Note", note) for note in self.notes]
        return rows

    def all_origins(self) -> list[Origin]:
        """Return where survivors were allocated, the largest group's first, and what else stays."""
        return [*self._told_origins(), *self._other_origins()]

    def place(self) -> Line | None:
        """Return the line in a file of the user's that made most of what stays, if one did."""
        lines = [origin.lines[0] for origin in self.all_origins()]
        return next((line for line in lines if _origins.is_users_file(line.path)), None)

    def _told_origins(self) -> list[Origin]:
        groups: list[Survivors | Unaccounted] = [*self.survivors, *self.unaccounted]
        return [origin for group in groups for origin in group.origins]

    def _other_origins(self) -> list[Origin]:
        told = {origin.lines[0] for origin in self._told_origins()}
        return [origin for origin in self.origins if origin.lines[0] not in told]


def _group_rows(group: Survivors) -> list[tuple[str, str]]:
    rows = [("Held by", group.held_by)]
    rows += [("", f"also {holder}") for holder in group.also]
    others = [*group.kinds[1:], *group.inner]
    if others:
        rows.append(("", f"and with it, per call: {listing([str(kind) for kind in others])}"))
    return rows + _origin_rows(group.origins[:1])


def _origin_rows(origins: Sequence[Origin]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for origin in origins:
        lines = [str(line) for line in origin.lines]
        rows.append(("Allocated at", f"{lines[0]}   ({origin.amount})"))
        rows += [("", line) for line in lines[1:]]
    return rows


def _nothing_ignored(_: type) -> bool:
    return False


def diagnose(
    *,
    settle: Callable[[], None],
    rounds: int = 4,
    period: int = 1,
    max_seconds: float = MAX_SECONDS,
    own: Iterable[object] = (),
    ignored: Callable[[type], bool] = _nothing_ignored,
    only_counts: bool = False,
) -> Generator[None, None, Diagnosis]:
    """Find out what leaks; each ``yield`` asks for one more call of the code under test.

    settle: brings the interpreter to rest before the heap is looked at.
    rounds: calls traced, at least.
    period: the leak happens at least once in that many calls; rounds are multiples of it.
    max_seconds: time limit, for the calls and the search together.
    own: objects that are not to be shown as holders or survivors: the caller's.
    ignored: tells the types whose growth is no leak.
    only_counts: reference counts alone leak. Then what containers gain is known to stop, and is not
        told beside objects with references that no container accounts for.

    Survivors are objects that the baseline does not have, told by numbers from state that each
    call replaces: what leaks gets more from batch to batch. The state of the collector and of
    tracemalloc is as before when the generator ends or is closed.
    """
    search = _Diagnosis(settle, max_seconds, own, ignored, only_counts=only_counts)
    try:
        return (yield from search.run(rounds, max(period, 1)))
    finally:
        search.close()


class _Budget:
    """Seconds of processor time, so that a busy machine finds as much as an idle one.

    What the calls spend waiting counts as well.
    """

    __slots__ = ("_start", "_waited", "seconds", "stopped")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = Clock.thread_time()
        self._waited = 0.0
        self.stopped = False

    def wait(self) -> Generator[None, None, None]:
        """Ask for one call."""
        began, worked, waits = Clock.monotonic(), Clock.thread_time(), system.voluntary_waits()
        yield
        if waits is None or waits != system.voluntary_waits():  # else others had the processor
            self._waited += max(0.0, Clock.monotonic() - began - (Clock.thread_time() - worked))

    def late(self, share: float = 1.0) -> bool:
        """Tell whether a share of the time is over, and remember when all of it is."""
        late = Clock.thread_time() - self._start + self._waited > self.seconds * share
        self.stopped = self.stopped or (late and share == 1.0)
        return late


class _Early(NamedTuple):
    """What the first batch showed: what rises may leak, and is read again after the second."""

    least: int
    population: Population
    suspects: Suspects
    indexes: list[int]
    degrees: list[int]


class _Traced(NamedTuple):
    """What the second batch left behind, and where it was allocated."""

    number: int
    calls: Calls
    grown: list[Grown]
    current: list[Any]
    search: Search
    groups: Groups
    origins: tuple[Origin, ...]


class _Diagnosis:
    """The state of one diagnosis: what must be put back, and what must be let go."""

    __slots__ = (
        "_baseline",
        "_budget",
        "_calls",
        "_hidden",
        "_ignored",
        "_only_counts",
        "_settle",
        "_tracing",
    )

    def __init__(
        self,
        settle: Callable[[], None],
        seconds: float,
        own: Iterable[object],
        ignored: Callable[[type], bool],
        *,
        only_counts: bool,
    ) -> None:
        self._settle = settle
        self._ignored = ignored
        self._only_counts = only_counts
        self._hidden = Hidden(own)
        self._budget = _Budget(seconds)
        self._baseline: Baseline | None = None
        self._tracing = _origins.Tracing()
        self._calls = 0

    def close(self) -> None:
        """Put the interpreter's state back and let go of every object."""
        self._tracing.stop()
        if self._baseline is not None:
            self._baseline.thaw()
            self._baseline = None

    def run(self, rounds: int, period: int) -> Generator[None, None, Diagnosis]:
        """Run the batches, look at the heap between them, and search at the end."""
        self._settle()
        self._baseline = Baseline(self._hidden)
        early = yield from self._watch(self._baseline, period)
        threads = len(sys._current_frames())
        traced = yield from self._trace(self._baseline, early, rounds, period)
        return self._explain(
            self._baseline, early, traced, new_threads=len(sys._current_frames()) - threads
        )

    def _watch(self, baseline: Baseline, period: int) -> Generator[None, None, _Early]:
        """Run the first batch: what it leaves alone is not looked at again."""
        first = baseline.level()
        baseline.freeze()
        done = yield from self._call(BATCHES * period, period, 0.4)
        self._settle()
        least = max(1, done // period)
        references, degrees = baseline.rising(first, baseline.level(), least)
        new = baseline.with_leaves(baseline.newcomers(baseline.tracked())[:MAX_NEWCOMERS])
        return _Early(
            least=least,
            population=population(new),
            suspects=Suspects(baseline, references, new),
            indexes=degrees,
            degrees=baseline.degrees(degrees),
        )

    def _trace(
        self, baseline: Baseline, early: _Early, rounds: int, period: int
    ) -> Generator[None, None, _Traced]:
        """Run the second batch while memory is traced, and stop tracing."""
        self._tracing.start()
        warm = yield from self._call(period, period, 0.5)
        self._settle()
        blocks = [self._allocated()]
        number = _multiple(max(rounds, TRACED * period), period)
        half = _multiple(number // 2, period)
        halves = [(yield from self._call(half, period, 0.6))]
        self._settle()
        blocks.append(self._allocated())
        halves.append((yield from self._call(number - half, period, 0.7)))
        self._settle()
        early.suspects.read()
        late = warm + sum(halves)
        calls = Calls(self._calls, late, early.least, max(1, late // period))
        grown = _grown(baseline, early, calls)
        current = baseline.tracked()
        self._hidden.add(current, blocks, halves, grown)
        search = Search(self._hidden, self._budget.late)
        groups = Groups(baseline, search, self._hidden, calls, self._ignored)
        groups.trace(current, grown, early.population)
        origins = _origins.growth([*blocks, _origins.allocated()], halves, period)
        self._tracing.stop()
        return _Traced(sum(halves), calls, grown, current, search, groups, origins)

    def _explain(
        self, baseline: Baseline, early: _Early, traced: _Traced, *, new_threads: int
    ) -> Diagnosis:
        """Search the heap for what holds the new objects, thawed and no more traced."""
        baseline.thaw()
        tracked = baseline.newcomers(traced.current)
        self._hidden.add(tracked)
        left_out = max(0, len(tracked) - MAX_NEWCOMERS)
        del tracked[MAX_NEWCOMERS:]
        new = baseline.with_leaves(tracked, _gained(traced.grown))
        populations = (early.population, population(new))
        self._hidden.add(new)
        unaccounted = early.suspects.unaccounted(
            new,
            populations,
            search=traced.search,
            calls=traced.calls.late,
            least=traced.calls.least_late,
            ignored=self._ignored,
        )
        threads_stay = new_threads >= traced.calls.least_late
        if threads_stay:
            unaccounted = []  # the frames of the threads that stay hold these
        if self._only_counts and unaccounted:
            return self._told(traced.groups, unaccounted, (), traced.number, left_out)
        traced.groups.search(new, traced.grown, populations, traced.origins)
        if threads_stay:
            traced.groups.natives.clear()
        return self._told(traced.groups, unaccounted, traced.origins, traced.number, left_out)

    def _allocated(self) -> _origins.Blocks:
        blocks = _origins.allocated()
        self._hidden.add(blocks, *blocks, *blocks.values(), *itertools.chain(*blocks))
        gc.collect()  # tuples of the snapshot lie in free lists, where allocations are not traced
        return blocks

    def _call(self, number: int, period: int, share: float) -> Generator[None, None, int]:
        """Ask for *number* calls, or for fewer, at least one period, when time gets short."""
        for done in range(number):
            short = done >= period and done % period == 0 and self._budget.late(share)
            if short or self._budget.late():
                return done
            yield from self._budget.wait()
            self._calls += 1
        return number

    def _told(
        self,
        groups: Groups,
        unaccounted: list[Unaccounted],
        origins: tuple[Origin, ...],
        traced: int,
        left_out: int,
    ) -> Diagnosis:
        survivors = sorted(groups.found, key=lambda group: (group.bounded, -group.per_call))
        natives = [*groups.natives, *unaccounted]
        every: list[Survivors | Unaccounted] = [*survivors, *natives]
        complete = bool(every) and not (self._budget.stopped or groups.left_out or left_out)
        more = [len(survivors) - MAX_GROUPS, len(natives) - MAX_GROUPS, groups.left_out]
        notes = []
        if self._budget.stopped:
            notes.append(
                f"the search for origin and holders stopped early, at its limit of "
                f"{self._budget.seconds:g} seconds after {self._calls} calls"
            )
        if left_out:
            notes.append(f"{left_out:,} of the new objects were not looked at")
        return Diagnosis(
            calls=self._calls,
            traced=traced,
            survivors=tuple(survivors[:MAX_GROUPS]),
            unaccounted=tuple(natives[:MAX_GROUPS]),
            origins=origins[: _origins.MAX_ORIGINS],
            filling=tuple(groups.filling),
            more=sum(max(0, number) for number in more),
            only_bounded=complete and not natives and all(each.bounded for each in survivors),
            only_ignored=complete and all(each.ignored for each in every),
            notes=tuple(notes),
        )


def _multiple(number: int, period: int) -> int:
    return -(-number // period) * period


def _grown(baseline: Baseline, early: _Early, calls: Calls) -> list[Grown]:
    """Return the containers that grew in the second batch too, most first."""
    late = baseline.degrees(early.indexes)
    grown = [
        Grown(baseline.objs[index], before, after, (after - before) * calls.total // calls.late)
        for index, before, after in zip(early.indexes, early.degrees, late, strict=True)
        if after - before >= calls.least_late
    ]
    return sorted(grown, key=lambda each: each.before - each.after)


def _gained(grown: list[Grown]) -> list[Any]:
    return [obj for each in grown[: 2 * MAX_GROUPS] for obj in gained_items(each)]
