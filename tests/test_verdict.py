"""Readings and rules make findings, notes, and what was not judged."""

from __future__ import annotations

import pytest

from refleak._census import TypeCount
from refleak._plan import make_plan
from refleak._rounds import Evidence
from refleak._rules import Window
from refleak._verdict import Finding, NotJudged, TypeChange, find, type_changes


class Quantity:
    """A probe that is not read: its evidence is given."""

    rule = "count"

    def __init__(self, name="things", unit="thing", rule="count"):
        self.name, self.unit, self.rule = name, unit, rule

    def unavailable(self):
        """Return None: it could be read."""

    def read(self):
        """Not be read."""
        raise AssertionError


THINGS = Quantity()
PLAN = make_plan(probes=["-all", THINGS])


def evidence(
    growths, *, deltas=(2, 2, 2, 2), idle=0.0, stopped="2,000 rounds", name="things", longest=2000
):
    """Return evidence of windows that double up to the *longest*, with these growths."""
    windows = [Window(min(4 << number, longest), growth) for number, growth in enumerate(growths)]
    return Evidence(
        rounds=9 + sum(window.rounds for window in windows),
        measured={name: deltas},
        confirmed={name: deltas},
        windows={name: windows},
        idle={name: idle},
        stopped=stopped,
    )


def found(given, plan=PLAN, probes=(THINGS,)):  # noqa: D103  # its name says it
    return find(plan, probes, given, [])


def test_nothing_suspicious_is_nothing_found():
    """Without further rounds there is no finding and no note."""
    result = find(PLAN, [THINGS], Evidence(9, {"things": (0, 0, 0, 0)}), [])
    assert ((), (), ()) == (result.leaking, result.notes, result.not_judged)


def test_what_could_not_be_read_is_handed_on():
    """Quantities that are not available are told, with their reason."""
    reason = NotJudged("native heap", "no mallinfo2() here")
    assert (reason,) == find(PLAN, [THINGS], evidence([8, 16, 32]), [reason]).not_judged


def test_steady_growth_is_a_finding():
    """A leak is told with its deltas, its rate per call and the rounds behind it."""
    expected = Finding("things", "thing", (2, 2, 2, 2), 2.0, 28)
    assert (expected,) == found(evidence([8, 16, 32])).leaking


def test_the_rate_is_that_of_a_late_window_where_deltas_differ():
    """A leak in every fourth call is told per call."""
    given = evidence([1, 2, 4, 8], deltas=(0, 0, 0, 1))
    assert 0.25 == found(given).leaking[0].per_call


def test_what_strays_in_one_window_is_no_part_of_the_rate():
    """Bytes that something else took once do not blur how many a call loses."""
    native = Quantity("native heap", "byte", "bytes")
    growths, deltas = [320, 640, 1280, 1696], (80, 96, 80, 80)
    given = evidence(growths, deltas=deltas, name="native heap", longest=16)
    plan = make_plan(probes=["-all", native])
    assert 80 == found(given, plan, [native]).leaking[0].per_call


def test_growth_that_stopped_is_a_note():
    """A cache that filled is no finding; the note says after how many rounds it settled."""
    result = found(evidence([8, 16, 3, 0, 0], deltas=(2, 2, 2, 2)))
    assert () == result.leaking
    assert "things" in " ".join(result.notes)
    assert "settled within" in " ".join(result.notes)


@pytest.mark.parametrize(("notes", "stopped"), [(1, "1 second"), (0, None)])
def test_few_rounds_are_told(notes, stopped):
    """A leak of slow code is told with what would look the same in so few rounds."""
    result = found(evidence([8, 16, 32], stopped=stopped))
    assert (1, notes) == (len(result.leaking), len(result.notes))
    assert not notes or "room for more than 37 entries" in result.notes[0]


def test_bytes_are_judged_once_counts_have_settled():
    """What malloc gave until a cache was full, and for its table once more, is no leak."""
    blocks = Quantity("memory blocks", "memory block")
    native = Quantity("native heap", "byte", "bytes")
    plan = make_plan(probes=["-all", blocks, native])
    lengths = (4, 8, 16, 16, 16)
    windows = {
        "memory blocks": list(map(Window, lengths, (4, 8, 16, 0, 0))),
        "native heap": [Window(length, 50 * length) for length in lengths],
    }
    deltas = {"memory blocks": (1, 1, 1, 1), "native heap": (50, 50, 50, 50)}
    given = Evidence(69, deltas, confirmed=deltas, windows=windows, stopped="1 second")
    result = found(given, plan, (blocks, native))
    assert () == result.leaking
    assert "native heap: grew by 800 bytes" in result.notes[1]


def test_unsteady_growth_is_a_doubt():
    """Growth that slows down is no finding; the note says so, with its numbers and the bound."""
    result = found(evidence([80, 100, 30]))
    assert () == result.leaking
    assert "grew by 30 things in the last 16 rounds, but not at a steady rate" in result.notes[0]
    assert "2,000 rounds" in result.notes[0]


def test_what_other_threads_change_is_not_judged():
    """Growth that goes on while nothing is called is no leak of the code under test."""
    result = found(evidence([8, 16, 32], idle=1.9))
    assert () == result.leaking
    assert "things" == result.not_judged[0].quantity
    assert "other threads change it by 1.9 things" in result.not_judged[0].reason


def test_little_background_does_not_hide_a_leak():
    """A leak far above what other threads change is found."""
    assert 1 == len(found(evidence([8, 16, 32], idle=0.1)).leaking)


def test_a_background_that_could_hide_a_leak_is_told():
    """No growth is no proof where other threads change more than a leak would."""
    result = found(evidence([0, 0, 0], deltas=(0, 0, 0, 0), idle=5.0))
    assert "other threads" in result.not_judged[0].reason


@pytest.mark.parametrize(("expected", "tolerance"), [(1, 1.9), (0, 2), (0, 3)])
def test_tolerated_growth_is_no_finding(expected, tolerance):
    """Growth of as much per call as is tolerated is set aside, more is not."""
    plan = make_plan(probes=["-all", THINGS], tolerance={"things": tolerance})
    windows = [8, 16, 32, 64, 128, 256]
    assert expected == len(found(evidence(windows), plan).leaking)


def test_growth_that_another_explains_is_part_of_it():
    """The native heap's growth with leaking memory blocks is one leak, not two."""
    blocks = Quantity("memory blocks", "memory block")
    native = Quantity("native heap", "byte", "bytes")
    plan = make_plan(probes=["-all", blocks, native])
    windows = [8, 16, 32, 32]
    each = [evidence(windows, name=probe.name, longest=16) for probe in (blocks, native)]
    heavy = [Window(w.rounds, 100 * w.growth) for w in each[1].windows["native heap"]]
    both = Evidence(
        rounds=37,
        measured={**each[0].measured, **each[1].measured},
        confirmed={"memory blocks": (2, 2, 2, 2), "native heap": (200, 200, 200, 200)},
        windows={**each[0].windows, "native heap": heavy},
        stopped="1 second",
    )
    parts = {
        finding.quantity: finding.part_of for finding in found(both, plan, (blocks, native)).leaking
    }
    assert {"memory blocks": None, "native heap": "memory blocks"} == parts


# --- the type table -------------------------------------------------------------------------------


def test_without_further_rounds_there_is_no_table():
    """Types are counted only once growth looks suspicious."""
    assert () == type_changes(Evidence(9, {}))


def test_types_are_sorted_by_their_change():
    """The largest change in references comes first; what did not change is left out."""
    before = {
        "a": TypeCount(1, 1),
        "b": TypeCount(5, 5),
        "c": TypeCount(1, 9),
        "gone": TypeCount(2, 3),
    }
    after = {
        "a": TypeCount(1, 1),
        "b": TypeCount(9, 25),
        "c": TypeCount(1, 8),
        "new": TypeCount(4, 4),
    }
    assert (
        TypeChange("b", 4, 20),
        TypeChange("new", 4, 4),
        TypeChange("gone", -2, -3),
        TypeChange("c", 0, -1),
    ) == type_changes(Evidence(9, {}, types=(before, after)))
