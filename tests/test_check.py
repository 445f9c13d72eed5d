"""The pipeline: one check at a time, known leaks, what is set aside, and what is reported.

Nesting, threads and exceptions through the public forms are tested in test_undisturbed.
"""

from __future__ import annotations

import ctypes
import warnings
from dataclasses import replace

import pytest

from refleak import Gauge, KnownLeakWarning, LeakError, assert_no_leaks, find_leaks, leak_check
from refleak._check import RUNNING, Check, available, new_resources, weigh
from refleak._diagnosis import Diagnosis
from refleak._holders import Filling
from refleak._origins import Line, Origin
from refleak._plan import make_plan
from refleak._verdict import Finding, Findings, Resources

STAB, RUN = 2, 2
level = [0]


def gauge(name="level", function=lambda: level[0]):
    """Make a quantity that the tests set."""
    return Gauge(name, function)


def make_check(**options):
    """Make a check that judges one quantity and diagnoses nothing."""
    given = {"stab": STAB, "run": RUN, "probes": ["-all", gauge()], "diagnose": False, **options}
    return Check(make_plan(**given), "subject")


def raise_level():
    """Leak one of the quantity."""
    level[0] += 1


def run(check, subject=raise_level):
    """Run all rounds; return the report."""
    for _ in check.rounds():
        subject()
    return check.report


# --- rounds and report ---------------------------------------------------------------------------


def test_before_the_rounds_are_over_there_is_no_report():
    """The report is there once the rounds are used up."""
    check = make_check()
    rounds = check.rounds()
    for _ in range(STAB + RUN):
        next(rounds)
        assert check.report is None
    assert next(rounds, "over") == "over"
    assert check.report.judged


def test_the_report_says_what_the_plan_said():
    """Subject, rounds and the mark of a known leak are handed on."""
    report = run(make_check(known_leak="issue 7", max_rounds=14))
    assert ("subject", STAB, RUN) == (report.subject, report.stab, report.run)
    assert "issue 7" == report.known_leak
    assert report.rounds > STAB + RUN


def test_a_quantity_of_ones_own_is_judged_like_any():
    """A Gauge appears in findings, headline and summary under its name."""
    report = run(make_check(max_rounds=14))
    assert ["level"] == [each.quantity for each in report.findings]
    assert (1, 1) == report.findings[0].deltas
    assert "leaked level: [1, 1]" == report.summary()


def test_what_cannot_be_read_here_is_told_with_its_reason():
    """A probe that is not available is not read, and the others are judged."""

    class Absent:
        name, unit = "ghosts", "ghost"

        def unavailable(self):
            return "there are none"

        def read(self):
            raise AssertionError

    report = run(make_check(probes=["-all", gauge(), Absent()]), lambda: None)
    assert [("ghosts", "there are none")] == [
        (each.quantity, each.reason) for each in report.not_judged
    ]
    usable, _ = available([Absent(), gauge()])
    assert ["level"] == [probe.name for probe in usable]


# --- one at a time -------------------------------------------------------------------------------


def test_the_one_that_began_first_judges():
    """A check that begins within another one runs once, and says around what it was."""
    outer, inner = make_check(), make_check()
    for _ in outer.rounds():
        report = run(inner, lambda: None)
        assert (False, 1, ()) == (report.judged, report.rounds, report.findings)
    assert ["the check of subject was running around it"] == [
        each.reason for each in report.not_judged
    ]
    assert outer.report.judged


def test_rounds_that_are_given_up_leave_the_place_to_others():
    """Closed in any round, a check lets the next one judge."""
    for number in range(1, STAB + RUN + 5):
        rounds = make_check(max_rounds=14).rounds()
        for _ in range(number):
            next(rounds)
            raise_level()
        rounds.close()
        assert run(make_check(), lambda: None).judged


def test_a_second_claim_changes_nothing():
    """The name of the one that is running is given to all that come after it."""
    assert RUNNING.claim("first") is None
    try:
        assert ["first", "first"] == [RUNNING.claim("second"), RUNNING.claim("third")]
    finally:
        RUNNING.release()
    assert RUNNING.claim("fourth") is None
    RUNNING.release()


# --- known leaks ---------------------------------------------------------------------------------

OPTIONS = {"stab": STAB, "run": RUN, "probes": ["-all", gauge()], "diagnose": False}


def by_decorator(**options):
    """Check through the decorator."""
    assert_no_leaks(**options)(raise_level)()


def by_call(**options):
    """Check a call."""
    with leak_check(**options) as check:
        check(raise_level)


def by_loop(**options):
    """Check a loop."""
    for _ in leak_check(**options):
        raise_level()


def by_block(**options):
    """Check a block that runs once."""
    with leak_check(**options):
        raise_level()


FORMS = [by_decorator, by_call, by_loop, by_block]


@pytest.mark.parametrize("form", FORMS)
def test_a_known_leak_is_a_warning_with_the_report(form):
    """It fails nothing; the warning has the reason and the report, and points at user code."""
    with pytest.warns(KnownLeakWarning) as caught:
        form(**OPTIONS, max_rounds=14, known_leak="issue 7")
    (warning,) = caught
    first, _, rest = str(warning.message).partition("\n")
    assert first.startswith("known leak (issue 7): ")
    assert "leaked 1 level" in first
    assert "Rounds" in rest
    assert __file__ == warning.filename


@pytest.mark.parametrize("form", FORMS)
def test_a_known_leak_fails_nothing_where_warnings_are_errors(form):
    """``-W error`` is for the user's own warnings: the mark keeps its meaning, and is shown."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        form(**OPTIONS, max_rounds=14, known_leak="issue 7")
    assert [KnownLeakWarning] == [each.category for each in caught]


@pytest.mark.parametrize("strict", [False, True])
def test_a_known_leak_that_is_gone(strict):
    """Only with strict=True does a test fail that leaks no more, and it says what to do."""

    def called():
        with leak_check(**OPTIONS, known_leak="issue 7", strict=strict) as check:
            return check(abs, -3)

    if not strict:
        assert 3 == called()
        return
    with pytest.raises(AssertionError) as caught:
        called()
    assert ("abs was marked with known_leak='issue 7', but leaks no more: remove the mark") == str(
        caught.value
    )
    assert not isinstance(caught.value, LeakError)


def test_what_is_not_judged_is_not_gone():
    """Within another check strict=True fails nothing."""
    for _ in make_check().rounds():
        with leak_check(**OPTIONS, known_leak="issue 7", strict=True) as check:
            assert 3 == check(abs, -3)


# --- what is set aside ---------------------------------------------------------------------------


def leaking(*names):
    """Make findings for quantities."""
    return Findings(tuple(Finding(name, name, (1,), 1.0, 28) for name in names), (), ())


def test_ignored_types_take_back_what_the_heap_gained():
    """Findings of the heap are taken back, others are not, and a note says why."""
    found = weigh(leaking("references", "objects", "threads"), Diagnosis(8, 4, only_ignored=True))
    assert ["threads"] == [each.quantity for each in found.leaking]
    assert ("all growth is of ignored types, or held by objects of them",) == found.notes


def test_bounded_containers_take_back_what_the_heap_gained():
    """A container of bounded size that is filling is a note."""
    filling = Filling("parse.lru_cache", 9, 128)
    found = weigh(leaking("memory blocks"), Diagnosis(8, 4, filling=(filling,), only_bounded=True))
    assert () == found.leaking
    assert ("still filling: parse.lru_cache 9/128",) == found.notes


def test_other_diagnoses_take_nothing_back():
    """Without a diagnosis, or with one of other growth too, the findings stay."""
    findings = leaking("references")
    assert findings == weigh(findings, None) == weigh(findings, Diagnosis(8, 4))


@pytest.mark.parametrize(
    ("size", "gained", "part_of"),
    [(5_000, 0, None), (5_000, 40, "memory blocks"), (160, 0, "memory blocks")],
)
def test_what_malloc_hands_out_besides(size, gained, part_of):
    """It is no part of a leak of objects where it is far more than they, or tables, take."""
    findings = leaking("memory blocks", "native heap", "container references")
    blocks, native, references = findings.leaking
    native = replace(native, per_call=size, part_of="memory blocks")
    findings = replace(findings, leaking=(blocks, native, replace(references, per_call=gained)))
    origin = Origin((Line("tap.py", 4, "drip", ""),), (), 1, 48)
    found = weigh(findings, Diagnosis(8, 4, origins=(origin,)))
    assert [None, part_of, None] == [each.part_of for each in found.leaking]
    threads = replace(native, part_of="threads")
    found = weigh(replace(findings, leaking=(threads,)), Diagnosis(8, 4, origins=(origin,)))
    assert (threads,) == found.leaking


class Entry:
    """A type whose growth may be meant."""


class SubEntry(Entry):
    """Inherits from it."""


history: list[object] = []


@pytest.mark.parametrize("kind", [Entry, SubEntry])
def test_an_ignored_type_is_no_leak(kind):
    """Growth of a type, or of one that inherits from it, is set aside, without diagnose= too."""
    facts = {"stab": STAB, "run": RUN, "max_rounds": 28, "diagnose": False}
    assert not find_leaks(lambda: history.append(kind()), ignore=Entry, **facts).leaking
    history.clear()


def test_an_ignored_type_excuses_nothing_else():
    """What leaks beside it is a leak."""
    facts = {"stab": STAB, "run": RUN, "max_rounds": 28, "ignore": SubEntry}
    assert find_leaks(lambda: history.append(Entry()), **facts).leaking
    history.clear()


def test_an_ignored_type_to_which_references_leak_beside_a_buffer():
    """A list that is emptied every 200 calls grows during the diagnosis, and is no leak."""
    buffer: list[object] = []

    def subject():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(Entry))
        buffer.append({})
        if len(buffer) > 200:
            buffer.clear()

    report = find_leaks(subject)
    assert ["references"] == [each.quantity for each in report.findings]
    assert [False] == [each.new for each in report.diagnosis.unaccounted]
    assert () == report.diagnosis.survivors
    assert not find_leaks(subject, ignore=Entry).leaking


def test_resources_that_are_new_are_told():
    """What was there before is left out; quantities and units are handed on."""
    before = {("threads", "thread"): {1: "main"}, ("tasks", "task"): {}}
    after = {("threads", "thread"): {1: "main", 2: "worker"}, ("tasks", "task"): {}}
    assert (
        Resources("threads", "thread", ("worker",)),
        Resources("tasks", "task", ()),
    ) == new_resources(before, after)
