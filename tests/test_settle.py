"""Bringing the interpreter to rest, and the frozen baseline."""

from __future__ import annotations

import gc
import types
import weakref

import pytest

from refleak import _settle
from refleak._settle import MAX_COLLECTIONS, Frozen, Garbage, collect, settle


class Node:
    """An object that refers to itself, and may make another when it goes."""

    left = 0

    def __init__(self):
        self.me = self

    def __del__(self):
        if Node.left:
            Node.left -= 1
            Node()


@pytest.fixture
def frozen():
    """Give a baseline that is thawed in the end."""
    baseline = Frozen()
    yield baseline
    baseline.thaw()


def test_garbage_made_by_finalizers_is_collected_too():
    """Settling repeats the collection while it finds anything."""
    Node.left = 2
    node = weakref.ref(Node())
    settle()
    assert None is node()
    assert 0 == Node.left


def test_endless_garbage_does_not_hang():
    """Finalizers that make new garbage for ever end the settling after a few collections."""
    Node.left = 1000
    Node()
    collect()
    made = 1000 - Node.left
    Node.left = 0
    collect()
    assert MAX_COLLECTIONS >= made


def test_a_frozen_heap_is_out_of_sight(frozen):
    """While frozen, only new objects are tracked; thawed, all are again."""
    old = Node()
    frozen.freeze()
    new = Node()
    assert frozen.active
    frozen.thaw()
    assert not frozen.active
    assert 2 == sum(each is old or each is new for each in gc.get_objects())
    assert Frozen.possible()


def test_thawing_twice_is_thawing_once(frozen):
    """What is not frozen is not thawed."""
    frozen.freeze()
    frozen.thaw()
    frozen.thaw()
    assert Frozen.possible()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: gc.collect(),  # noqa: PLW0108  # looked up at the call
        lambda: gc.get_objects(),  # noqa: PLW0108  # looked up at the call
        lambda: gc.get_referrers(3),
        lambda: gc.get_freeze_count(),  # noqa: PLW0108  # looked up at the call
        lambda: gc.unfreeze(),  # noqa: PLW0108  # looked up at the call
    ],
)
def test_who_asks_the_collector_thaws_the_heap(frozen, ask):
    """Looking a function up to which freezing matters gives the heap back, for good."""
    frozen.freeze()
    ask()
    assert not frozen.active
    assert types.ModuleType is type(gc)
    frozen.freeze()
    assert not frozen.active


@pytest.mark.parametrize("ask", [gc.isenabled, gc.get_count, gc.get_threshold, gc.get_debug])
def test_other_functions_of_the_collector_do_not_thaw(frozen, ask):
    """Settings of the collector can be looked at on a frozen heap."""
    frozen.freeze()
    getattr(gc, ask.__name__)()
    assert frozen.active


def test_the_librarys_own_collections_do_not_thaw(frozen):
    """Settling works on the frozen heap."""
    frozen.freeze()
    settle()
    assert frozen.active


def test_a_freeze_of_somebody_else_is_never_undone():
    """Where the user has frozen objects before, a baseline is not possible, nor thawed."""
    gc.freeze()
    try:
        baseline = Frozen()
        assert not Frozen.possible()
        baseline.thaw()
        assert not Frozen.possible()
    finally:
        gc.unfreeze()


def test_a_freeze_within_the_check_is_restored(frozen):
    """What was frozen beside the baseline is thawed for readings and frozen at the end."""
    freeze = gc.freeze
    frozen.freeze()
    freeze()
    frozen.thaw()
    assert Frozen.possible()
    try:
        frozen.restore()
        assert not Frozen.possible()
    finally:
        gc.unfreeze()


def test_nothing_is_frozen_at_the_end_otherwise(frozen):
    """Restoring leaves nothing frozen if nobody else froze."""
    frozen.freeze()
    frozen.restore()
    assert Frozen.possible()


def test_all_garbage_is_collected_only_when_the_heap_has_grown(monkeypatch):
    """A heap that has not grown by a quarter since is collected in its young part only."""
    full = []
    monkeypatch.setattr(_settle, "collect", lambda: full.append(1))
    garbage = Garbage()
    for objects in (1000, 1000, 1200, 1300, 1300):
        garbage.note(objects)
        garbage.collect()
    assert 2 == len(full)
