"""The heap census: exact changes of references, edges, objects and counts by type."""

from __future__ import annotations

import ctypes
import gc
import sys
from types import ModuleType

import pytest
from running import python

from refleak import _census, find_leaks
from refleak._census import Census, by_type, census, drift, reachable, tracked
from refleak._format import type_name
from refleak._settle import settle

kept: list = []


class Thing:
    """An object with attributes."""


def change(act, count=census):
    """Return how much a count changes by an act, in references, edges and objects."""
    kept.clear()
    kept.extend(range(50))  # so that the list need not grow
    del kept[:]
    for _ in range(3):
        settle()
        before = count()
    act()
    settle()
    after = count()
    del kept[:]
    return Census(*(now - then for now, then in zip(after, before, strict=True)))


def keep(*made):  # noqa: D103  # its name says it
    kept.extend(made)


def forget_to_release(obj):
    """Take a reference as an extension does that forgets it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(obj))


def release(obj):
    """Release what was forgotten."""
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(obj))


forget_to_release(kept)  # the first time makes what later ones reuse
release(kept)


NEW_DICT = 1 if sys.version_info >= (3, 14) else 0
"""Empty dicts are tracked from birth since 3.14."""


def test_nothing_changes_by_nothing():
    """Two censuses with nothing between them are equal."""
    assert Census(0, 0, 0) == change(lambda: None)


IN_A_ROW = """
from array import array
from refleak._caches import rest
from refleak._census import census, packed_by_type, tracked
def main():
    totals = array("q", bytes(8 * 100))
    packed_by_type([])
    rest()
    types = packed_by_type(tracked())
    for number in range(len(totals)):
        rest()
        totals[number] = census().references
    print(sorted({total - totals[0] for total in totals}))
main()
"""


def test_a_hundred_in_a_row_are_equal():
    """Nothing changes either while the interpreter adapts the census's own code (3.11 and on)."""
    assert "[0]\n" == python("-c", IN_A_ROW).stdout


def test_a_fingerprint_does_not_change_by_nothing():
    """Two fingerprints with nothing between them are equal."""
    assert Census(0, 0, 0) == change(lambda: None, drift)


def test_a_list_is_an_object_an_edge_and_a_reference():
    """A new empty list that is kept counts one of each."""
    assert Census(1, 1, 1) == change(lambda: keep([]))


def test_an_empty_dict_is_counted_before_it_is_tracked():
    """A dict that the collector does not track yet is a leaf, with its reference and edge."""
    assert Census(1, 1, NEW_DICT) == change(lambda: keep({}))


def test_untracked_objects_are_counted():
    """Texts and numbers are found as leaves of what holds them."""
    assert Census(2, 2, 0) == change(lambda: keep("".join(["a", str(id(kept))]), float(id(kept))))


def test_a_leaf_held_twice_is_one_object_with_two_references():
    """Each leaf is counted once, however many hold it."""

    def act():
        text = f"{id(kept)} once"
        keep(text, text)

    assert Census(2, 2, 0) == change(act)


def test_immortals_show_as_edges():
    """A None in a list is an edge everywhere, a reference only where None is mortal."""
    immortal = sys.version_info >= (3, 12)
    assert Census(0 if immortal else 1, 1, 0) == change(lambda: keep(None))


def test_a_forgotten_reference_is_one_without_an_edge():
    """A bare incref of an old object is a reference that no container holds."""
    old = Thing()
    keep_alive = [old]
    changed = change(lambda: forget_to_release(old))
    release(old)
    assert Census(1, 0, 0) == changed
    assert keep_alive


def test_a_fingerprint_sees_a_forgotten_reference():
    """The cheap pass notices a bare incref of an object that a container holds."""
    old = Thing()
    holder = [old]
    changed = change(lambda: forget_to_release(old), drift)
    release(old)
    assert 0 < changed.references
    assert 0 == changed.edges
    assert holder


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="needs a debug build")
@pytest.mark.parametrize("made", [list, dict, object, Thing, lambda: (Thing(), [])])
def test_references_are_those_of_the_debug_build(made):
    """The census counts what the interpreter counts."""
    for _ in range(3):
        settle()
        before, total = census(), sys.gettotalrefcount()
    keep(made())
    settle()
    after, total_after = census(), sys.gettotalrefcount()
    del kept[:]
    assert abs((total_after - total) - (after.references - before.references)) <= 2


def test_modules_are_not_looked_into(monkeypatch):
    """That can hang on 3.12; their dicts are tracked."""
    asked = []
    get_referents = gc.get_referents

    def noted(*objs):
        asked.append(any(type(each) is ModuleType for each in objs))
        return get_referents(*objs)

    monkeypatch.setattr(gc, "get_referents", noted)
    census(), drift(), by_type(tracked())
    assert asked
    assert not any(asked)


@pytest.mark.parametrize("make", [lambda: ModuleType("M"), list], ids=["module", "list"])
def test_references_to_what_only_native_code_holds_are_seen(make):
    """A static variable of C code is no container; its object is tracked all the same."""
    held = [make()]
    forget_to_release(held[0])
    static = ctypes.cast(id(held.pop()), ctypes.py_object)
    before = drift()
    assert Census(1, 0, 0) == change(lambda: forget_to_release(static.value))
    assert before != drift()
    release(static.value)
    release(static.value)


@pytest.mark.parametrize("make", [lambda: ModuleType("M"), list], ids=["module", "list"])
def test_what_native_code_does_not_release_is_named(make):
    """A module that an import in C forgets, a static list handed out with a reference too many."""
    held = [make()]
    forget_to_release(held[0])
    static = ctypes.cast(id(held.pop()), ctypes.py_object)
    report = find_leaks(lambda: forget_to_release(static.value))
    assert {"references": 1} == {each.quantity: each.per_call for each in report.findings}
    assert f"native code: {type(static.value).__name__}" in str(report)
    assert "gains 1 reference per call that no container" in " ".join(str(report).split())


def test_the_heap_holds_each_object_once():
    """Tracked objects and leaves together hold no object twice."""
    settle()  # a collection meanwhile may find that a tracked tuple need not be tracked
    objs = reachable(tracked())
    assert len(objs) == len(set(map(id, objs)))
    assert any(each is kept for each in objs)


def untracked(*held):
    """Return a tuple of new texts that the collector does not track, once it was collected."""
    made = (str(kept) * 2, str(kept) * 3, *held)
    gc.collect()
    assert not gc.is_tracked(made)
    return made


def test_what_several_hold_is_counted_once_with_all_references():
    """Two tuples with one tuple between them, and two texts each."""
    inner = untracked()

    # each is referred to once, its texts as well, and the inner one twice more; two edges to
    # the tuples, three from each
    assert Census(8, 8, 0) == change(lambda: keep(untracked(inner), untracked(inner)))
    assert inner


def test_a_name_that_is_interned_is_one_reference():
    """The interpreter's table of interned strings refers to it as well, and is not counted."""
    name = sys.intern(f"an interned name of {__name__}")
    references = 0 if sys.version_info[:2] == (3, 12) else 1  # immortal there
    assert Census(references, 1, 0) == change(lambda: keep(name))


def test_a_name_that_only_one_holds_is_met_once():
    """No name is there twice, though the table may refer to it as often as that."""
    settle()
    keep(sys.intern(f"another interned name of {__name__}"))
    objs = reachable(tracked())
    assert 1 == sum(each is kept[0] for each in objs)
    del kept[:]


def test_counts_by_type_change_by_what_was_made():
    """Three instances more are three in the table, with their references."""
    name = f"{__name__}.Thing"
    by_type(tracked())
    before = by_type(tracked()).get(name, (0, 0))
    things = [Thing(), Thing(), Thing()]
    again = things[:1]
    after = by_type(tracked())[name]
    assert (3, 4) == tuple(now - then for now, then in zip(after, before, strict=True))
    assert again


@pytest.mark.parametrize("own_hash", [False, True])
def test_types_are_counted_as_by_hand(own_hash):
    """Whether types can be keys or not: as many instances of each as one by one."""

    class Meta(type):
        if own_hash:

            def __hash__(cls):
                raise AssertionError

    class Kept(metaclass=Meta):
        pass

    keep(*(Kept() for _ in range(3 * _census.CHUNK)))
    settle()  # else classes of tests before this one may be collected between the counts
    table = {name: count.instances for name, count in by_type(tracked()).items()}
    by_hand = {}
    for obj in reachable(tracked()):
        by_hand[type_name(type(obj))] = by_hand.get(type_name(type(obj)), 0) + 1
    assert table[type_name(Kept)] == len(kept)
    for name in ("function", "tuple", "type", "str", "dict", f"{__name__}.Thing", type_name(Kept)):
        assert abs(table.get(name, 0) - by_hand.get(name, 0)) <= 9, name
    del kept[:]


def test_the_count_holds_no_small_numbers():
    """The references to a number are the same however many objects have as many of them."""
    by_type(tracked())
    before = by_type(tracked())["int"].references
    things = [[Thing()] * times for times in range(2, 60)]
    after = by_type(tracked())["int"].references
    assert abs(after - before) < len(things) / 4


def test_counting_keeps_no_class_alive():
    """The table has names of types, not types."""
    counts = by_type(tracked())
    assert {str} == {type(name) for name in counts}


def test_hostile_objects_are_not_asked():
    """No method of a counted object runs."""

    class Hostile:
        def fail(self, *_):
            raise AssertionError

        __eq__ = __hash__ = __bool__ = __len__ = __getattribute__ = fail

    keep(Hostile(), {"a": Hostile()})
    census(), drift(), by_type(tracked())
    del kept[:]
    gc.collect()


def test_its_own_references_are_left_out():
    """The references held by the count itself were measured, not assumed."""
    assert 1 <= _census.OWN_REFERENCES <= 3
