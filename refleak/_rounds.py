"""Yield a round, settle, read: the one generator behind every public form.

It never calls the code under test. Each ``yield`` means "run it once now", so that a sync and an
async driver, a loop and a test framework's adapter share it. Closing it, as an exception in the
code under test does, puts the interpreter's state back.

Between two readings nothing may be allocated that is still there at the second: all numbers go to
preallocated arrays (:mod:`refleak._readings`), and value objects are made after the last round.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from refleak import _census
from refleak._caches import clear_caches, rest
from refleak._census import TypeCount
from refleak._format import plural
from refleak._originals import Clock
from refleak._plan import Plan
from refleak._platform import system
from refleak._readings import Series, Windows, column
from refleak._rules import (
    RULES,
    LowPoints,
    Rule,
    Verdict,
    Window,
    changed,
    judge,
    next_window,
    settled_at,
)
from refleak._settle import GARBAGE, Frozen, settle
from refleak.probes import Probe

Rounds = Generator[None, None, None]

Progress = Callable[[int, str, str, float], None]
"""Called before each round: its number, what it is for, the quantity in doubt ("" for none yet),
and when rounds end at the latest, by ``time.monotonic()`` (0.0 where that is not known)."""

EXTRA_SECONDS = 1.0
EXTRA_FACTOR = 10
"""Default bound in time: the larger of a second and ten times what the first rounds took."""

OVERTIME_SECONDS = 5.0
"""Bound in time where growth ebbs but has not stopped by then: a cache may be full soon."""

EXTRA_MEMORY = 256 * 1024 * 1024
"""Bytes that further rounds may be expected to add to the process."""

MOST_WINDOWS = 60
"""Windows double each time or every second time, so this many are more than bounds in time allow,
but for rounds that become ever faster; these end there."""

LOOKS = 4
"""Times the measured rounds are run as long as costly quantities alone grow: bytes in use by malloc
differ by a few once in a while, with the free chunks that it happens to serve from."""

SECOND_LOOK = 8
"""A second look may take this part of the further rounds, an eighth; the others are to confirm."""

COSTLY_READINGS = 4
"""Readings of costly quantities (half a millisecond each) over the measured rounds."""

WARM_READINGS = 2
"""Readings of them while warming up."""

IDLE_SECONDS = 0.25
"""Longest look at what changes while the code under test is not running."""


@dataclass(frozen=True)
class Evidence:
    """The raw numbers of a check.

    ``measured`` are the deltas of each quantity over the measured rounds, ``windows`` all that
    came after them because something looked suspicious (the first is again ``run`` rounds, with
    every quantity read after each: ``confirmed``). ``idle`` is the change per round's time of
    quantities which change while nothing is called; ``stopped`` the bound that ended it.
    """

    rounds: int
    measured: Mapping[str, tuple[int, ...]]
    confirmed: Mapping[str, tuple[int, ...]] | None = None
    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    types: tuple[Mapping[str, TypeCount], Mapping[str, TypeCount]] | None = None
    idle: Mapping[str, float] = field(default_factory=dict)
    stopped: str | None = None
    frozen_before: bool = False


def rule_of(probe: Probe) -> Rule:
    """Return the rule that a probe names; "count" where it names none."""
    return RULES[getattr(probe, "rule", "count")]


def reads_each_round(probe: Probe) -> bool:
    """Tell whether a probe is cheap enough to be read after every round."""
    return bool(getattr(probe, "each_round", True))


def passes_heap(probe: Probe) -> bool:
    """Tell whether a probe's reading is one of those that share a pass over the heap."""
    return bool(getattr(probe, "passes_heap", False))


def judge_all(
    probes: Sequence[Probe],
    windows: Mapping[str, Sequence[Window]],
    confirmed: Mapping[str, Sequence[int]],
    plan: Plan,
    *,
    exhausted: bool,
    certain: bool = False,
) -> dict[str, Verdict]:
    """Judge all quantities by their windows, less what the plan tolerates.

    Bytes are judged by the windows that followed when all counts had settled: a cache that fills
    takes bytes, and its table may be made anew soon after.

    certain: call growth leaking only if it was as steady as :data:`refleak._rules.CERTAIN`.
    """
    verdicts: dict[str, Verdict] = {}
    since = 0
    for probe in sorted(probes, key=lambda probe: rule_of(probe).exact):
        allowed = plan.tolerance.get(probe.name, 0)
        rule = rule_of(probe).certain() if certain else rule_of(probe)
        judged = [
            window._replace(growth=window.growth - allowed * window.rounds)
            for window in windows[probe.name]
        ]
        deltas = [delta - allowed for delta in confirmed[probe.name]]
        verdict = judge(
            judged,
            rule.tolerant() if allowed else rule,
            run=plan.run,
            deltas=deltas,
            since=since if rule.exact else 0,
            exhausted=exhausted,
        )
        if verdict is Verdict.CLEAN and not rule.exact:
            settled = settled_at(judged, rule, run=plan.run, deltas=deltas)
            since = max(since, len(judged) - 1 if settled is None else settled)
        verdicts[probe.name] = verdict
    return verdicts


def run_rounds(
    plan: Plan, probes: Sequence[Probe], progress: Progress | None = None
) -> Generator[None, None, Evidence]:
    """Run warm-up and measured rounds, and further ones as long as doubt remains."""
    first = _FirstRounds(plan, probes, progress)
    try:
        yield from first.rounds()
        if not first.suspicious():
            return first.evidence()
        seconds = longest = plan.max_seconds
        if seconds is None or longest is None:
            seconds = max(EXTRA_SECONDS, EXTRA_FACTOR * first.seconds())
            longest = max(OVERTIME_SECONDS, seconds)
        bounds = _Bounds(plan.max_rounds, seconds, longest, *first.spent())
        further = _FurtherRounds(plan, probes, progress, bounds, first.frozen)
        yield from further.rounds()
        return further.evidence(first.evidence())
    finally:
        first.frozen.restore()


class _Rounds:
    """What both kinds of rounds share: counting them."""

    def __init__(self, plan: Plan, probes: Sequence[Probe], progress: Progress | None) -> None:
        self._plan = plan
        self._probes = probes
        self._progress = progress
        self._number = column(1)
        self._in_doubt = array("q", [-1])  # a probe's number: its name would be a reference more
        self._until = array("d", [0.0])

    def _once(self, phase: str) -> Rounds:
        self._number[0] += 1
        if self._progress is not None:
            doubt = self._in_doubt[0]
            quantity = self._probes[doubt].name if doubt >= 0 else ""
            self._progress(self._number[0], phase, quantity, self._until[0])
        yield


class _Look:
    """Readings over the measured rounds: of cheap quantities after each, of costly ones less often.

    Costly ones are malloc's: what a round allocates after a pass over the heap or a first reading
    is served from other free chunks than before. Where they alone rose, the rounds are run again.
    """

    def __init__(self, light: Sequence[Probe], costly: Sequence[Probe], plan: Plan) -> None:
        self._run = plan.run
        # As many as leave further rounds to confirm what is seen in them.
        self.most_rounds = plan.run * max(1, min(LOOKS, plan.max_rounds // plan.run))
        self._light = Series(light, 1 + self.most_rounds)
        self._costly = Series(costly, 1 + self.most_rounds)
        self._light_rose, self._costly_rose = array("b", [False]), array("b", [False])

    def read(self) -> None:
        """Take a reading: one to begin with, then one after each round."""
        self._light.read()
        if self._light.last % self._run % max(1, self._run // COSTLY_READINGS) == 0:
            self._costly.read()

    def note(self) -> None:
        """Note what the last reading shows."""
        self._light_rose[0] |= self._light.rose()
        self._costly_rose[0] |= self._costly.rose()

    def at_end(self) -> bool:
        """Tell whether the last reading is that after all rounds."""
        return self._light.last % self._run == 0

    def again(self) -> bool:
        """Tell whether all rounds should be run once more, as costly quantities alone grew."""
        done = self._light.last == self.most_rounds
        if done or self._light_rose[0] or not self._costly_rose[0]:
            return False
        self._costly_rose[0] = False
        return True

    def cheap_rose(self) -> bool:
        """Tell whether a quantity grew that is read after each round."""
        return bool(self._light_rose[0])

    def rose(self) -> bool:
        """Tell whether anything grew."""
        return bool(self._light_rose[0] or self._costly_rose[0])

    def deltas(self) -> dict[str, tuple[int, ...]]:
        """Return the changes from each reading to the next."""
        return {**self._light.deltas(), **self._costly.deltas()}


class _FirstRounds(_Rounds):
    """The first stab + run rounds: on a frozen heap, at full speed.

    After each round the cheap quantities are read; those that need a pass over the heap only
    before and after them all, as a fingerprint.

    What looks suspicious is looked at once more, with known caches cleared and what was frozen
    collected: that costs less than exact readings, and shows whether those are worth it. Costly
    quantities are read while warming up as well, for what a first reading changes.
    """

    def __init__(self, plan: Plan, probes: Sequence[Probe], progress: Progress | None) -> None:
        super().__init__(plan, probes, progress)
        light = [probe for probe in probes if reads_each_round(probe)]
        heap = [probe for probe in probes if passes_heap(probe)]
        costly = [
            probe for probe in probes if not reads_each_round(probe) and not passes_heap(probe)
        ]
        self.frozen = Frozen()
        self._may_freeze = plan.freeze and Frozen.possible()
        self._warm = Series(light, plan.stab)
        self._warm_costly = Series(costly, WARM_READINGS)
        self._first, self._second = (_Look(light, costly, plan) for _ in range(2))
        self._last = self._first
        self._heap = Series(heap, 4, heap=_census.drift)
        self._clock = array("d", [0.0])
        self._took = array("d", [0.0])  # seconds, until the measured rounds ended
        self._looked_for = array("d", [0.0])  # seconds, beyond them

    def rounds(self) -> Rounds:
        self._clock[0] = Clock.monotonic()
        _prime()
        GARBAGE.collect()
        self._freeze()
        # The last warm-up round runs on top of the baseline: what it replaces is the state that
        # earlier ones left behind, which nobody frees while it is frozen.
        yield from self._warm_up(max(1, self._plan.stab - 1))
        self._read_heap()
        yield from self._measure(self._first, "measured", settle)
        self._read_heap()
        if self.suspicious():
            clear_caches()  # for the first time it leaves other things behind than later
            self._clock[0] = Clock.monotonic()
        if self._first.cheap_rose() and self._may_look_twice():
            self._last = self._second
            yield from self._measure(self._second, "further", rest)
            self.frozen.thaw()
        if self._drifted() and not self._rose() and self._rounds_left() > 2 * self._plan.run:
            # A fingerprint depends on the order of objects: that of what a round replaces is the
            # same after a round without freezing.
            yield from self._repeat(1)
            self._read_heap_at_rest()
            yield from self._repeat(self._plan.run)
            self._read_heap_at_rest()

    def _warm_up(self, rounds: int) -> Rounds:
        for left in range(rounds, 0, -1):
            yield from self._once("warm-up")
            settle()
            self._warm.read()  # what the first reading of all allocates, the measured ones reuse
            if left <= WARM_READINGS:
                self._warm_costly.read()

    def _measure(self, look: _Look, phase: str, come_to_rest: Callable[[], None]) -> Rounds:
        _prime()
        self._freeze()
        for each in self._phases(look, phase):
            if each:
                yield from self._once(each)
            come_to_rest()
            look.read()

    def _phases(self, look: _Look, phase: str) -> Iterator[str]:
        """Yield what each round is for; after one to begin with, as many as it takes."""
        # Before the first reading, since the name of a phase is a reference more.
        yield "further" if phase == "further" else "warm-up" if self._plan.stab > 1 else ""
        while phase:  # counted by the readings: an iterator would be one block more in them
            yield phase
            look.note()
            if look.at_end():
                phase = self._after_look(look, phase)

    def _after_look(self, look: _Look, phase: str) -> str:
        """Return what the next rounds are for, "" for no more of them."""
        now = Clock.monotonic()
        (self._took if phase == "measured" else self._looked_for)[0] += now - self._clock[0]
        self._clock[0] = now
        seconds = self._plan.max_seconds
        late = seconds is not None and self._looked_for[0] >= seconds
        return "further" if not late and look.again() else ""

    def _read_heap(self) -> None:
        self.frozen.thaw()
        self._heap.read()

    def _read_heap_at_rest(self) -> None:
        self.frozen.thaw()
        rest()
        self._heap.read()

    def _may_look_twice(self) -> bool:
        """Tell whether a second look leaves most of the further rounds, and of their time."""
        rounds = 1 + self._second.most_rounds + 1 + self._plan.run
        seconds = self._plan.max_seconds
        took = rounds * self._took[0] / (self._plan.stab + self._plan.run)
        in_time = seconds is None or took * SECOND_LOOK <= seconds
        return in_time and rounds * SECOND_LOOK <= self._rounds_left()

    def _rounds_left(self) -> int:
        seconds = self._plan.max_seconds
        rounds, took = self.spent()
        return self._plan.max_rounds - rounds if seconds is None or took < seconds else 0

    def _repeat(self, rounds: int) -> Rounds:
        """Run so many further rounds, without a reading in between."""
        self._clock[0] = Clock.monotonic()
        for _ in range(rounds):
            yield from self._once("further")
        self._looked_for[0] += Clock.monotonic() - self._clock[0]

    def _freeze(self) -> None:
        if self._may_freeze:
            self.frozen.freeze()

    def suspicious(self) -> bool:
        """Tell whether anything grew, or the fingerprint of the heap is another one."""
        return self._rose() or self._drifted()

    def _rose(self) -> bool:
        return self._last.rose()

    def _drifted(self) -> bool:
        """Tell whether the last fingerprint of the heap is another one than that before it."""
        return any(self._heap.change(self._heap.last - 1, self._heap.last).values())

    def seconds(self) -> float:
        """Return what the stab + run rounds took."""
        return self._took[0]

    def spent(self) -> tuple[int, float]:
        """Return how many rounds beyond stab + run there were, and how many seconds they took."""
        return self._number[0] - self._plan.stab - self._plan.run, self._looked_for[0]

    def evidence(self) -> Evidence:
        unread = dict.fromkeys(self._heap.change(0, 0), (0,) * self._plan.run)
        return Evidence(
            rounds=self._number[0],
            measured={**self._first.deltas(), **unread},
            frozen_before=self._plan.freeze and not self._may_freeze,
        )


class _FurtherRounds(_Rounds):
    """Rounds run in doubt: nothing frozen, every quantity exact, known caches cleared."""

    def __init__(
        self,
        plan: Plan,
        probes: Sequence[Probe],
        progress: Progress | None,
        bounds: _Bounds,
        frozen: Frozen,
    ) -> None:
        super().__init__(plan, probes, progress)
        self._frozen = frozen
        self._series = Series(probes, plan.run + 1 + 2 * MOST_WINDOWS)
        self._windows = Windows(MOST_WINDOWS)
        self._bounds = bounds
        self._low_points = LowPoints()
        # Packed, so that neither shows in the readings, nor the first in the second.
        self._types = [bytes(2), bytes(2)]
        self._seconds = array("d", [0.0])
        self._read_at = array("d", [0.0])
        self._window_took = array("d", [0.0])
        self._idle = column(1)
        self._alone = column(1)
        self._stopped: str | None = None

    def rounds(self) -> Rounds:
        """Repeat the measured rounds, then run windows that become longer, until all is decided.

        The only reading is here: at the same depth, with the same locals, every time.
        """
        _prime()
        length = column(1)
        while self._advance(length):
            if self._idle[0]:
                Clock.sleep(min(self._seconds[0], IDLE_SECONDS))
            else:
                yield from self._batch(length)
            self._frozen.thaw()
            rest()
            self._series.read()

    def _advance(self, length: array[int]) -> bool:
        """Note what the last reading ended; set how many rounds to run before the next one."""
        number, run = self._series.last, self._plan.run
        if number > 0 and not self._idle[0]:
            self._bounds.spend(length[0], self._seconds[0])
        if number < run:
            length[0] = int(number >= 0)
            if number < 0:
                rest()  # for the first time it leaves other things behind than later
                self._types[1] = _census.packed_by_type([])  # makes what later ones reuse
                self._count_types(0)
                self._types[1] = bytes(len(self._types[0]))  # keeps the second's place
            return True
        if number == run:
            self._count_types(1)
            length[0] = run
        took = Clock.monotonic() - self._read_at[0]
        self._read_at[0] += took
        if self._idle[0]:
            self._windows.add_idle(took * length[0] / self._window_took[0])
            self._idle[0] = False
        else:
            self._window_took[0] = took
            even, low = self._low_points.even(), self._low_points.both()
            self._windows.add(length[0], number, even=even, low=low)
            self._low_points.begin()
            # Where other threads run, a reading is taken after calling nothing for a while; they
            # run during a window's reading as well, which may take longer than its rounds.
            self._idle[0] = number > run and other_threads()
        if not self._idle[0]:
            length[0] = 0 if self._decided() else self._next_window()
        return length[0] > 0

    def _count_types(self, number: int) -> None:
        clear_caches()  # counting fills those of abstract classes
        self._types[number] = _census.packed_by_type(_census.tracked())

    def _batch(self, length: array[int]) -> Rounds:
        """Run so many rounds, fewer if time is up, more to end where memory blocks are few.

        Leave their number in *length*.
        """
        wanted, most = length[0], self._bounds.rounds_left()
        length[0] = 0
        self._low_points.resume(sys.getallocatedblocks())
        began = Clock.monotonic()
        self._until[0] = began + self._bounds.seconds_left()
        while self._low_points.more(length[0], wanted, most):
            yield from self._once("further")
            length[0] += 1
            self._low_points.note(sys.getallocatedblocks())
            if Clock.monotonic() > self._until[0] and length[0] >= self._plan.run:
                break
        self._seconds[0] = Clock.monotonic() - began

    def _next_window(self) -> int:
        """Return how many rounds follow, 0 when a bound is reached."""
        length = self._within_bounds()
        if not length and self._ebbing() and self._bounds.extend():
            length = self._within_bounds()
        return length

    def _within_bounds(self) -> int:
        lengths, left = self._windows.lengths(), self._bounds.left()
        left[f"{MOST_WINDOWS} windows"] = (MOST_WINDOWS - len(lengths)) * self._bounds.rounds_left()
        reading = self._window_took[0] - self._seconds[0]
        length = next_window(
            lengths,
            max(0, int(min(left.values()))),
            low=self._low_points.found(),
            compared=self._windows.between_low_points(),
            alone=self._alone[0],
            cheap=lengths[-1] * reading / max(self._seconds[0], sys.float_info.epsilon),
            changed=self._changed(),
        )
        length = min(length, self._bounds.rounds_left())
        self._stopped = None if length else min(left, key=left.__getitem__)
        return length

    def _changed(self) -> bool:
        """Tell whether any count changed in the last window by more or less than before."""
        growth = self._windows.growth(self._series)
        counts = [probe for probe in self._probes if not rule_of(probe).alone]
        return any(changed(growth[probe.name], rule_of(probe)) for probe in counts)

    def _ebbing(self) -> bool:
        """Tell whether counts still grow, but not as steadily as they do where something leaks."""
        verdicts = self._verdicts(exhausted=True, certain=True)
        return any(verdict is Verdict.SUSPICIOUS and not rule.alone for rule, verdict in verdicts)

    def _decided(self) -> bool:
        """Tell whether more rounds cannot add to the verdict, or would do harm.

        A leaking resource ends them: hundreds of descriptors or threads would harm the process.
        """
        verdicts = self._verdicts(exhausted=False)
        doubtful = [
            number for number, (_, verdict) in enumerate(verdicts) if verdict is Verdict.SUSPICIOUS
        ]
        if doubtful:
            self._in_doubt[0] = doubtful[0]
        rules = [verdicts[number][0] for number in doubtful]
        # A leak of what harms ends the rounds of all others with its own.
        first = [rule for rule in rules if rule.harms] or rules
        self._alone[0] = min((rule.alone for rule in first), default=0)
        if any(rule.harms and verdict is Verdict.LEAKING for rule, verdict in verdicts):
            return True
        if all(verdict is not Verdict.SUSPICIOUS for _, verdict in verdicts):
            return True
        return all(
            verdict is Verdict.CLEAN
            or (verdict is Verdict.LEAKING and 0 < rule.alone <= self._bounds.rounds())
            for rule, verdict in self._verdicts(exhausted=True)
        )

    def _verdicts(self, *, exhausted: bool, certain: bool = False) -> list[tuple[Rule, Verdict]]:
        verdicts = judge_all(
            self._probes,
            self._windows.growth(self._series),
            self._series.deltas(self._plan.run),
            self._plan,
            exhausted=exhausted,
            certain=certain,
        )
        return [(rule_of(probe), verdicts[probe.name]) for probe in self._probes]

    def evidence(self, first: Evidence) -> Evidence:
        return Evidence(
            rounds=first.rounds + self._number[0],
            measured=first.measured,
            confirmed=self._series.deltas(self._plan.run),
            windows=self._windows.growth(self._series),
            types=(_census.unpacked(self._types[0]), _census.unpacked(self._types[1])),
            idle=self._windows.idle_rates(self._series),
            stopped=self._stopped,
            frozen_before=first.frozen_before,
        )


def _prime() -> None:
    """Handle an exception, so that all readings after it see the same.

    Before 3.12 a generator in which no exception was handled yet holds one reference to None less.
    """
    with suppress(StopIteration):
        next(iter(()))


def other_threads() -> bool:
    """Tell whether Python code of another thread may run beside the code under test."""
    return len(sys._current_frames()) > 1


class _Bounds:
    """How many further rounds may be run, in number, in time and in memory; some are *spent*.

    The time is that of the rounds alone: a reading's is the same however fast the subject is,
    and would make the verdict depend on how busy the machine is.
    """

    def __init__(
        self, rounds: int, seconds: float, longest: float, spent: int, spent_seconds: float
    ) -> None:
        self._most_rounds, self._most_seconds, self._longest = rounds, seconds, longest
        self._spent, self._spent_seconds = spent, spent_seconds
        self._memory = system.resident_memory()
        self._rounds = column(1)
        self._seconds = array("d", [0.0])

    def left(self) -> dict[str, float]:
        """Return how many further rounds each bound allows, by the bound."""
        done, rounds_left = self._rounds[0], self.rounds_left()
        seconds = max(self._seconds[0], sys.float_info.epsilon)
        grown = max(1, system.resident_memory() - self._memory)
        return {
            plural(self._most_rounds, "round"): rounds_left,
            plural(self._most_seconds, "second"): self.seconds_left() * done / seconds,
            f"{EXTRA_MEMORY // 1024**2} MiB of growth": (EXTRA_MEMORY - grown) * done / grown,
        }

    def extend(self) -> bool:
        """Allow more time where that is possible: once at the most."""
        more = self._longest > self._most_seconds
        self._most_seconds = self._longest
        return more

    def rounds_left(self) -> int:
        """Return how many further rounds may be run."""
        return self._most_rounds - self._spent - self._rounds[0]

    def seconds_left(self) -> float:
        """Return how many seconds further rounds may take."""
        return self._most_seconds - self._spent_seconds - self._seconds[0]

    def rounds(self) -> int:
        """Return how many further rounds were run."""
        return self._rounds[0]

    def spend(self, rounds: int, seconds: float) -> None:
        """Count rounds that were run, and the time they took."""
        self._rounds[0] += rounds
        self._seconds[0] += seconds
