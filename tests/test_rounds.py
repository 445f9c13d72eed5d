"""How many rounds are run, for what, and when they end."""

from __future__ import annotations

import ctypes
import gc
import itertools
import threading
import time
from gc import get_freeze_count  # gc's own is answered as if nothing were frozen, for other code

import pytest

import refleak
from refleak import Gauge, _rounds, find_leaks
from refleak._plan import make_plan
from refleak._rounds import run_rounds

STAB, RUN = 3, 2
BEFORE = STAB + RUN

SECOND_LOOK = 1 + RUN
"""Rounds in which what looks suspicious is looked at once more, the first one to begin with."""


class Subject:
    """Stands for code under test: a level that rises as it is told to.

    *rises* says by how much after a call, by its number from 1 on.
    """

    def __init__(self, rises=lambda number: 0, seconds=0.0):
        self.calls = self.level = 0
        self._rises, self._seconds = rises, seconds

    def __call__(self):
        """Be called once."""
        self.calls += 1
        self.level += self._rises(self.calls)
        if self._seconds:
            time.sleep(self._seconds)


def always(number):
    """Rise by one with each call."""
    return 1


def run(subject, *, phases=None, costly=False, **options):
    """Run all rounds of a subject, judged by its level alone; return the evidence.

    *costly*: the level is one that is not read after each round.
    """
    probe = Gauge("level", lambda: subject.level)
    probe.each_round = not costly
    plan = make_plan(**{"stab": STAB, "run": RUN, "probes": ["-all", probe], **options})
    progress = None if phases is None else lambda *told: phases.append(told)
    rounds = run_rounds(plan, plan.probes, progress)
    while True:
        try:
            next(rounds)
        except StopIteration as end:
            return end.value
        subject()


# --- code that leaks nothing ---------------------------------------------------------------------


@pytest.mark.parametrize(("stab", "run_"), [(1, 1), (1, 4), (2, 1), (5, 4), (10, 7)])
def test_clean_code_is_run_exactly_stab_and_run_times(stab, run_):
    """Where nothing grows there are as many rounds as were asked for, and no more."""
    subject, phases = Subject(), []
    evidence = run(subject, phases=phases, stab=stab, run=run_)
    assert stab + run_ == subject.calls == evidence.rounds
    assert ["warm-up"] * stab + ["measured"] * run_ == [phase for _, phase, *_ in phases]
    assert list(range(1, stab + run_ + 1)) == [number for number, *_ in phases]
    assert (0,) * run_ == evidence.measured["level"]
    assert evidence.confirmed is None
    assert evidence.stopped is None


def test_growth_while_warming_up_is_not_looked_at():
    """What the first stab calls set up is no reason for further rounds."""
    subject = Subject(lambda number: number <= STAB)
    assert BEFORE == run(subject).rounds


def test_falling_levels_are_not_looked_at():
    """What is given back is no reason for further rounds."""
    assert BEFORE == run(Subject(lambda number: -3)).rounds


def test_all_quantities_of_clean_code_by_default():
    """At default settings too; the native heap, which may grow by chance, is left out."""
    report = find_leaks(lambda: None, probes="-native heap", stab=7, run=3)
    assert (False, 10) == (report.leaking, report.rounds)


# --- code that looks suspicious ------------------------------------------------------------------


@pytest.mark.parametrize("number", range(STAB + 1, BEFORE + 1))
def test_growth_in_any_measured_round_is_looked_at_again(number):
    """One rise in one measured round has them run again; that it stopped needs no exact reading."""
    subject = Subject(lambda call: call == number)
    evidence = run(subject)
    assert 1 == sum(evidence.measured["level"])
    assert evidence.rounds == subject.calls == BEFORE + SECOND_LOOK
    assert (None, None) == (evidence.confirmed, evidence.stopped)


@pytest.mark.parametrize("number", range(BEFORE + 2, BEFORE + SECOND_LOOK + 1))
def test_growth_that_goes_on_is_confirmed(number):
    """What rises in the second look too is read exactly, whichever of its rounds it was."""
    evidence = run(Subject(lambda call: call in {BEFORE, number}))
    assert (0,) * RUN == evidence.confirmed["level"]
    assert BEFORE + SECOND_LOOK + RUN == evidence.rounds


@pytest.mark.parametrize("bound", [{"max_rounds": 60}, {"max_seconds": 0}])
def test_a_second_look_leaves_room_for_exact_readings(bound):
    """Where there is little room, growth is confirmed at once."""
    assert run(Subject(lambda call: call == BEFORE), **bound).confirmed


def test_growth_in_caches_is_seen_to_be_none():
    """What clearing caches undoes needs no exact readings; a leak beside it is found."""
    cache, kept = [], []

    def fill():
        cache.append(object())

    def leak():
        fill()
        kept.append(object())

    options = {"stab": STAB, "run": RUN, "probes": "-native heap", "diagnose": False}
    refleak.register_cache(cache.clear)
    try:
        reports = [find_leaks(fill, **options) for _ in range(4)]
        assert find_leaks(leak, **options).leaking
    finally:
        refleak.unregister_cache(cache.clear)
    assert not any(report.leaking for report in reports)
    assert BEFORE + 2 * SECOND_LOOK >= min(report.rounds for report in reports) > BEFORE


def test_types_are_counted_on_the_whole_heap():
    """Before the rounds that confirm as well as after them: nothing is frozen any more then."""
    before, after = run(Subject(always)).types
    assert before["module"].instances == after["module"].instances > 0
    assert before["function"].instances == after["function"].instances > 0


def test_further_rounds_confirm_first():
    """After the measured rounds as many again are read one by one."""
    phases = []
    evidence = run(Subject(always), phases=phases)
    assert (1, 1) == evidence.confirmed["level"] == evidence.measured["level"]
    assert {"further"} == {phase for _, phase, *_ in phases[BEFORE:]}
    assert ("level", True) == (phases[-1][2], phases[-1][3] > 0)  # what is in doubt, until when
    assert evidence.rounds == len(phases)


# --- what only a pass over the heap shows ---------------------------------------------------------


def run_with_fingerprints(fingerprints, **options):
    """Run a clean subject whose heap has these fingerprints; return how often it was run."""
    following = itertools.chain(fingerprints, itertools.repeat(fingerprints[-1]))
    probe = Gauge("heap", lambda: next(following))
    probe.each_round, probe.passes_heap = False, True
    plan = make_plan(**{"stab": STAB, "run": RUN, "probes": ["-all", probe], **options})
    return sum(1 for _ in run_rounds(plan, plan.probes))


@pytest.mark.parametrize(
    ("rounds", "fingerprints"),
    [
        (BEFORE, [7, 7]),
        (BEFORE + SECOND_LOOK, [7, 9, 8, 8]),
        (BEFORE + SECOND_LOOK + RUN, [7, 9, 8, 9]),
        (BEFORE + SECOND_LOOK + RUN, [7, 9, 7, 6]),
    ],
)
def test_a_fingerprint_alone_is_taken_again(rounds, fingerprints):
    """Once garbage is collected that was frozen, two equal ones tell that nothing leaks."""
    assert rounds == run_with_fingerprints(fingerprints)


@pytest.mark.parametrize("bound", [{"max_rounds": 2 * RUN - 1}, {"max_seconds": 0}])
def test_fingerprints_taken_again_keep_the_bounds(bound):
    """Where there is no room for more, the rounds that confirm are the only ones."""
    assert BEFORE + RUN == run_with_fingerprints([7, 9, 8, 8], **bound)


class Cyclic:
    """State that only a collection frees."""

    def __init__(self):
        self.me = self


def test_cyclic_state_that_each_call_replaces():
    """What the baseline froze of it is garbage, not growth; a lost reference beside it is found."""
    state = {}

    def subject():
        state["cycle"] = Cyclic()

    def lose():
        subject()
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(Cyclic))

    options = {"stab": STAB, "run": RUN, "probes": "-native heap"}
    assert BEFORE + SECOND_LOOK in [find_leaks(subject, **options).rounds for _ in range(4)]
    assert find_leaks(lose, max_rounds=60, **options).leaking


# --- what only a costly quantity shows, as malloc's bytes -----------------------------------------


def test_a_costly_quantity_is_looked_at_again_first():
    """What it rose by once is seen to stop in as many rounds again, without exact readings."""
    subject, phases = Subject(lambda call: call == BEFORE), []
    evidence = run(subject, phases=phases, costly=True)
    assert BEFORE + RUN == subject.calls == evidence.rounds
    assert ["further"] * RUN == [phase for _, phase, *_ in phases[BEFORE:]]
    assert evidence.confirmed is None
    assert (0, 1, 0, 0) == evidence.measured["level"]


def test_that_it_stopped_is_noted():
    """The report says within how many rounds."""
    subject = Subject(lambda call: call == BEFORE)
    level = Gauge("level", lambda: subject.level)
    level.each_round = False
    report = find_leaks(subject, stab=STAB, run=RUN, probes=["-all", level])
    assert not report.leaking
    assert ("level: growth stopped; settled within 7 rounds",) == report.notes


@pytest.mark.parametrize("period", [1, 2])
def test_a_costly_quantity_that_goes_on_rising_is_confirmed(period):
    """What rises once in every run rounds is never taken for what stopped."""
    for phase in range(period):
        subject = Subject(lambda call, phase=phase: call % period == phase)
        evidence = run(subject, costly=True, max_rounds=60)
        assert sum(evidence.confirmed["level"]) == RUN / period
        assert evidence.stopped


def test_no_more_looks_where_another_quantity_rose():
    """Slow code that leaks is not run for nothing."""
    subject, phases = Subject(always), []
    level = Gauge("level", lambda: subject.level)
    other = Gauge("other", lambda: subject.level)
    level.each_round = False
    plan = make_plan(stab=STAB, run=RUN, probes=["-all", level, other], max_rounds=0)
    for _ in run_rounds(plan, plan.probes, lambda *told: phases.append(told)):
        subject()
    assert BEFORE + RUN == len(phases)


@pytest.mark.parametrize("bound", [{"max_rounds": RUN}, {"max_seconds": 0}])
def test_looks_keep_the_bounds(bound):
    """Where there is no room for more, the rounds that confirm are the only ones."""
    assert BEFORE + RUN == run(Subject(always), costly=True, **bound).rounds


@pytest.mark.parametrize(("run_", "readings"), [(1, 1), (4, 4), (7, 7), (9, 5), (40, 4)])
def test_a_costly_quantity_is_read_a_few_times(run_, readings):
    """Of many rounds only a few end with its reading, the last one among them."""
    evidence = run(Subject(lambda call: call == STAB + run_), costly=True, run=run_, max_rounds=0)
    assert readings == len(evidence.measured["level"])
    assert 1 == evidence.measured["level"][-1]


def test_a_bound_is_named_with_its_unit():
    """One second is a second."""
    assert "1 second" == run(Subject(always), max_seconds=1, max_rounds=10**9).stopped


def test_windows_double():
    """Further rounds come in windows, of run rounds at first, and each is read at its end."""
    windows = run(Subject(always)).windows["level"]
    lengths = [window.rounds for window in windows]
    assert RUN == lengths[0]
    assert all(2 * before <= after for before, after in itertools.pairwise(lengths[:-2]))
    assert lengths == [window.growth for window in windows]


def test_what_stops_growing_ends_the_rounds():
    """A cache that fills has rounds run until growth has stopped, not until the bound."""
    subject = Subject(lambda number: number <= 60)
    evidence = run(subject)
    assert 60 < subject.calls < 2000
    assert 0 == evidence.windows["level"][-1].growth
    assert evidence.stopped is None


@pytest.mark.parametrize("room", [64, 128, 300, 700, 1000])
def test_leaks_beside_a_cache_are_found(room):
    """A cache that fills hides neither bytes that leak nor a count that does in every 4th call."""
    subject = Subject(always)
    entries = Gauge("entries", lambda: min(subject.calls, room))
    both = Gauge("both", lambda: 3 * min(subject.calls, room) + subject.calls // 4)
    lost = Gauge("lost", lambda: 64 * subject.calls)
    lost.rule = "bytes"
    report = find_leaks(subject, probes=["-all", entries, both, lost], diagnose=False)
    assert {"both", "lost"} == {finding.quantity for finding in report.findings}, report.notes


@pytest.mark.parametrize("size", [1, 10])
@pytest.mark.parametrize("period", [60, 96, 100, 150, 240, 245, 300, 450, 480, 600])
def test_a_buffer_emptied_after_hundreds_of_calls_is_no_leak(period, size):
    """What fills and is emptied is not accused, although no memory block shows when."""
    subject = Subject(always)
    level = Gauge("level", lambda: size * (subject.calls % period))
    assert not find_leaks(subject, probes=["-all", level]).leaking


@pytest.mark.parametrize(
    ("most", "looked"), [(0, 0), (1, 0), (RUN, 0), (5, 0), (20, 0), (300, SECOND_LOOK)]
)
def test_the_bound_in_rounds(most, looked):
    """No more than max_rounds further rounds are run, but for those that confirm."""
    evidence = run(Subject(always), max_rounds=most, max_seconds=60)
    further = evidence.rounds - BEFORE
    assert further <= max(most, 2 * RUN)
    windows = evidence.windows["level"][1:]
    assert further == looked + RUN + sum(window.rounds for window in windows)


def test_the_bound_in_rounds_is_told():
    """What ended the rounds while doubt remained is part of the evidence."""
    assert "1,000 rounds" == run(Subject(always), max_rounds=1000, max_seconds=60).stopped


def test_the_bound_in_seconds():
    """Slow code is run further for as long as is allowed, and the evidence says so."""
    subject = Subject(always, seconds=0.02)
    evidence = run(subject, max_seconds=0.2)
    assert RUN < evidence.rounds - BEFORE < 40
    assert "0.2 seconds" == evidence.stopped


def test_no_time_leaves_the_rounds_that_confirm():
    """With max_seconds=0 only as many rounds as are measured are run again."""
    assert RUN <= run(Subject(always), max_seconds=0).rounds - BEFORE <= 2 * RUN


def test_the_default_bound_in_seconds(monkeypatch):
    """It is the larger of a second and ten times what the first rounds took."""
    monkeypatch.setattr(_rounds, "EXTRA_SECONDS", 0.01)
    monkeypatch.setattr(_rounds, "EXTRA_FACTOR", 2)
    subject = Subject(always, seconds=0.02)
    evidence = run(subject, max_seconds=None)
    assert 2 * BEFORE / 3 < evidence.rounds - BEFORE < 4 * BEFORE
    assert evidence.stopped.endswith(" seconds")


@pytest.mark.parametrize(("stopped", "bounds"), [(None, {}), ("0.1 seconds", {"max_seconds": 0.1})])
def test_ebbing_growth_is_looked_at_for_longer(monkeypatch, stopped, bounds):
    """A cache of slow code that is nearly full when time is up is not called a leak for that.

    Not beyond max_seconds, where that was set.
    """
    monkeypatch.setattr(_rounds, "EXTRA_SECONDS", 0.1)
    monkeypatch.setattr(_rounds, "EXTRA_FACTOR", 1)
    evidence = run(Subject(lambda number: int(1e6 * 0.85**number), seconds=0.002), **bounds)
    assert stopped == evidence.stopped
    assert stopped or evidence.windows["level"][-1].growth == 0


def test_steady_growth_is_looked_at_for_no_longer(monkeypatch):
    """A leak of slow code ends its rounds when time is up."""
    monkeypatch.setattr(_rounds, "EXTRA_SECONDS", 0.1)
    monkeypatch.setattr(_rounds, "EXTRA_FACTOR", 1)
    assert "0.1 seconds" == run(Subject(always, seconds=0.002)).stopped


def test_the_bound_in_memory(monkeypatch):
    """Code that leaks much is not run until the machine is full."""
    monkeypatch.setattr(_rounds, "EXTRA_MEMORY", 20 * 1024**2)
    kept = []
    subject = Subject(lambda number: kept.append(b"x" * 4 * 1024**2) or 1)
    evidence = run(subject)
    assert subject.calls < 60
    assert evidence.stopped == "20 MiB of growth"


kept = []


@pytest.mark.parametrize(
    "leaked", [dict, list, lambda: f"a text {len(kept)}"], ids=["dict", "list", "text"]
)
def test_a_thread_that_waits_hides_no_leak(leaked):
    """A reading after calling nothing is as exact as the others: a blocked thread changes none."""
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    try:
        report = find_leaks(lambda: kept.append(leaked()), max_rounds=60, diagnose=False)
    finally:
        waiting.set()
        thread.join()
        kept.clear()
    assert () == report.not_judged
    assert "references" in [finding.quantity for finding in report.findings]


# --- state ---------------------------------------------------------------------------------------


def frozen():
    """Tell whether the heap is frozen; 3.12 shows some hundred frozen objects of its own."""
    return get_freeze_count() > 2500


@pytest.mark.parametrize(("expected", "freeze"), [(True, True), (False, False)])
def test_the_heap_is_frozen_while_measuring(expected, freeze):
    """In measured rounds the old heap is out of the collector's sight, unless freeze=False."""
    seen = []
    run(Subject(lambda number: seen.append(frozen()) or 0), freeze=freeze)
    assert [expected] * RUN == seen[STAB:]
    assert not frozen()


def test_further_rounds_run_on_the_heap_as_it_is():
    """What was found frozen is confirmed thawed."""
    seen = []
    run(Subject(lambda number: seen.append(frozen()) or 1), max_rounds=8)
    assert not any(seen[BEFORE:])


def test_a_freeze_of_the_users_own_is_told():
    """A heap that the user froze is left so, and the evidence says that it was."""
    gc.freeze()
    try:
        evidence = run(Subject())
        assert frozen()
    finally:
        gc.unfreeze()
    assert evidence.frozen_before
    assert not run(Subject()).frozen_before


@pytest.mark.parametrize("number", range(1, BEFORE + 8))
def test_rounds_that_are_given_up_leave_nothing_frozen(number):
    """Closed in any round, the generator puts the collector back."""
    plan = make_plan(stab=STAB, run=RUN, probes=["-all", Gauge("level", lambda: next(levels))])
    levels = iter(range(10**6))
    rounds = run_rounds(plan, plan.probes)
    for _ in range(number):
        next(rounds)
    rounds.close()
    assert not frozen()
    assert gc.isenabled()
