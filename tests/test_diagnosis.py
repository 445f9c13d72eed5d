"""Order and budget of the search for what leaked."""

from __future__ import annotations

import ctypes
import gc
import itertools
import time
import tracemalloc

import pytest
from diagnosing import diagnosis_of, driven, held

from refleak import _diagnosis
from refleak._cycles import diagnose_cycles
from refleak._diagnosis import Diagnosis, _Budget, diagnose
from refleak._platform import system
from refleak._settle import settle

drops: list[object] = []


@pytest.fixture(autouse=True)
def _released():
    yield
    drops.clear()


def test_what_each_call_replaces_is_no_survivor():
    """State that a call replaces is told apart from what adds up, however much it is."""
    kept = {}

    def subject():
        kept["state"] = [{"some": [object()]} for _ in range(100)]

    assert Diagnosis(calls=7, traced=4) == diagnosis_of(subject)


def test_text_keys_from_before_are_not_counted():
    """Keys that are text do not show in a dict; those that were there before are no survivors."""
    pages = {f"page {number}": None for number in range(5_000)}

    def subject():
        pages[f"page {len(pages)}"] = [len(pages)]

    (group,) = diagnosis_of(subject).survivors
    assert "pages (dict" in group.held_by
    assert {"list": 1, "str": 1} == {
        each.name: round(each.per_call, 1)
        for each in (*group.kinds, *group.inner)
        if each.name != "int"
    }


@pytest.mark.parametrize("period", [2, 3, 4])
def test_a_leak_that_skips_calls(period):
    """A leak that happens once in `period` calls is found, with its rate."""
    made = []

    def subject():
        made.append(None)
        if len(made) % period == 0:
            drops.append({})

    diagnosis = diagnosis_of(subject, period=period)
    (group,) = [each for each in diagnosis.survivors if "drops" in each.held_by]
    assert 1 / period == pytest.approx(group.kinds[0].per_call)
    assert 0 == diagnosis.calls % period


def test_calls_are_bounded_and_stated():
    """The number of calls depends on rounds and period only."""
    assert (7, 4) == (diagnosis_of(lambda: None).calls, diagnosis_of(lambda: None).traced)
    assert 2 + 1 + 20 == diagnosis_of(lambda: None, rounds=20).calls


def test_the_time_limit_stops_the_search():
    """A slow subject is called once, and the diagnosis says that it stopped early."""
    diagnosis = diagnosis_of(lambda: time.sleep(0.05), max_seconds=0.01)
    assert diagnosis.calls <= 1
    assert "stopped early" in diagnosis.notes[0]
    assert not diagnosis.only_bounded
    assert not diagnosis.only_ignored


@pytest.mark.parametrize(("waits", "stopped"), [(itertools.repeat(3), False), (iter((3, 4)), True)])
def test_time_in_which_others_had_the_processor_is_not_counted(monkeypatch, waits, stopped):
    """Only a call that gave the processor up by itself has waited."""
    monkeypatch.setattr(system, "voluntary_waits", waits.__next__)
    budget = _Budget(0.04)
    driven(budget.wait(), lambda: time.sleep(0.05))
    assert stopped == budget.late()


class Tolerated:
    """A type whose growth is no leak."""


def _ignored(kind):
    return kind is Tolerated


def test_growth_of_ignored_types_only():
    """When all that grows is of ignored types, or held by it, the diagnosis says so."""

    def subject():
        tolerated = Tolerated()
        tolerated.parts = [[]]
        drops.append(tolerated)

    assert diagnosis_of(subject, ignored=_ignored).only_ignored
    assert not diagnosis_of(subject).only_ignored


def test_growth_beside_ignored_types():
    """An ignored type excuses nothing else."""
    other = []

    def subject():
        drops.append(Tolerated())
        other.append({})

    assert not diagnosis_of(subject, ignored=_ignored).only_ignored


def test_growth_inside_an_object_of_an_ignored_type():
    """What an old object of an ignored type gains is ignored with it."""
    old = Tolerated()
    old.history = []
    drops.append(old)
    assert diagnosis_of(lambda: old.history.append({}), ignored=_ignored).only_ignored


def test_what_containers_gain_for_a_while_is_not_told_where_counts_alone_leak():
    """A cache that was full long ago is no holder; without a lost reference all is told."""
    cursors = []

    def subject():
        cursors.append({})
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(Tolerated))

    told = diagnosis_of(subject, only_counts=True)
    assert () == told.survivors == told.origins
    assert ["class test_diagnosis.Tolerated"] == [each.description for each in told.unaccounted]
    assert 0 == told.more
    assert diagnosis_of(
        subject, only_counts=True, ignored=lambda kind: kind is Tolerated
    ).only_ignored
    assert diagnosis_of(subject).survivors
    assert diagnosis_of(lambda: cursors.append({}), only_counts=True).survivors


def test_an_unfrozen_and_a_frozen_heap_give_the_same():
    """A freeze that the user made stays, and the leak is found all the same."""
    expected = held(lambda: drops.append({}))
    drops.clear()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        kept = []
        chains = held(lambda: kept.append({}))
        assert gc.get_freeze_count() >= frozen - 100
    finally:
        gc.unfreeze()
    assert len(expected) == len(chains) == 1
    assert chains[0].endswith("-> dict")


def test_state_is_put_back_when_the_generator_is_closed():
    """Whenever the rounds are given up, nothing stays frozen or traced."""
    frozen = gc.get_freeze_count()
    for calls in range(1, 8):
        steps = diagnose(settle=settle)
        for _ in range(calls):
            next(steps)
        steps.close()
        assert (False, frozen) == (tracemalloc.is_tracing(), gc.get_freeze_count())


def test_rows_for_the_report():
    """The rows tell holder and origin, with labels."""
    diagnosis = diagnosis_of(lambda: drops.append({}))
    rows = dict(diagnosis.rows())
    assert f"module {__name__} -> drops (list, 2 -> 7 items) -> dict" == rows["Held by"]
    assert "drops.append({})" in rows["Allocated at"]
    assert "per call)" in rows["Allocated at"]


def test_own_objects_are_not_shown():
    """Objects that the caller names as its own are no survivors."""
    mine = []
    assert () == diagnosis_of(lambda: mine.append([]), own=[mine]).survivors


class Node:
    """A link."""


def _cycles(subject):
    return driven(diagnose_cycles(settle=settle, rounds=4), subject)


def _ring():
    one, other = Node(), Node()
    one.next, other.prev = other, one


def _own_list():
    items = []
    items.append({"key": items})


def test_own_code_is_not_accused():
    """References that a tracer takes to all code that runs are told of the user's code alone."""

    def subject():
        for code in (subject.__code__, diagnose.__code__):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(code))

    found = [group.description for group in diagnosis_of(subject).unaccounted]
    assert ["code of subject"] == found


def test_cycles_are_drawn():
    """Garbage that only the collector frees is drawn with the names of its references."""
    cycles = _cycles(_ring)
    assert ["1 cycle per call: Node.next -> Node.prev -> Node"] == list(map(str, cycles.cycles))
    assert ['1 cycle per call: list[0] -> dict["key"] -> list'] == list(
        map(str, _cycles(_own_list).cycles)
    )


def test_a_cycle_of_ten_thousand():
    """A long cycle is found without recursion and drawn shortly."""

    def subject():
        first = node = Node()
        for _ in range(10_000):
            node.next = Node()
            node = node.next
        node.next = first

    (cycle,) = _cycles(subject).cycles
    assert "more)" in cycle.path
    assert len(cycle.path) < 300


def test_no_cycles():
    """A function without cyclic garbage has none."""
    cycles = _cycles(lambda: [object()])
    assert (0, (), ()) == (cycles.objects, cycles.cycles, cycles.uncollectable)


def test_the_collector_is_as_it_was():
    """Flags, garbage and automatic collection are put back; what was found is freed."""
    flags, garbage = gc.get_debug(), list(gc.garbage)
    _cycles(_ring)
    steps = diagnose_cycles(settle=settle)
    next(steps)
    steps.close()
    assert (flags, garbage, True) == (gc.get_debug(), gc.garbage, gc.isenabled())
    gc.collect()
    assert not [obj for obj in gc.get_objects() if type(obj) is Node]


def test_limits_are_constants():
    """The bounds of the search are named."""
    assert _diagnosis.MAX_SECONDS > 0
