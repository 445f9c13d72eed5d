"""What rounds left behind: the heap compared with what it was before."""

from __future__ import annotations

import gc
import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, count, repeat
from operator import is_, sub
from sys import getrefcount
from types import GeneratorType, ModuleType
from typing import Any, NamedTuple, TypeVar

from refleak import _census
from refleak._holders import Hidden
from refleak._names import Kinds, is_a, is_own, may_be_own
from refleak._settle import Frozen

Key = TypeVar("Key", int, str)

GROUP = 64
"""Objects whose out-degrees are added up: one list each would cost most of the time."""

MAX_NEWCOMERS = 200_000
"""New objects looked at one by one; what more there is, is left out, and the report says so."""


_PRIVATE = Kinds(list, dict, set, tuple, array, Counter)
"""Types of containers that belong to this library when an object of its own holds them."""


class Level(NamedTuple):
    """Reference count of every object of the baseline, and out-degree of each group of them."""

    references: array[int]
    degrees: array[int]


class Grown(NamedTuple):
    """An old object whose number of references to others grew, and by how many since the start."""

    obj: Any
    before: int
    after: int
    gained: int


def _without_own_generators(objs: list[Any]) -> list[Any]:
    """Leave out the suspended rounds, which hold the list themselves.

    With a reference to them in it, nothing would close them after an exception in a round.
    """
    return [obj for obj in objs if type(obj) is not GeneratorType or not is_own(obj)]


def _taken_out(objs: list[Any], place: int) -> Any:
    """Return the object at that place, where the last one is from then on."""
    objs[place], objs[-1] = objs[-1], objs[place]
    return objs.pop()


class Baseline:
    """Every object alive at the start, held until the diagnosis ends, so that no id is reused.

    Holding them takes nothing from the code under test but the finalizers of what it replaces,
    which run at the end. They are frozen as well, unless the user froze some: then
    ``gc.get_objects()`` gives new objects only.
    """

    __slots__ = ("_containers", "_frozen", "_levels", "hidden", "objs")

    def __init__(self, hidden: Hidden) -> None:
        self.hidden = hidden
        self.objs = _without_own_generators(gc.get_objects())
        are_modules = map(is_, map(type, self.objs), repeat(ModuleType))
        places = list(compress(count(), are_modules))
        modules = [_taken_out(self.objs, place) for place in reversed(places)]
        self.objs = _census.reachable(self.objs)
        self._containers = len(self.objs)
        self.objs.extend(modules)
        self._frozen = Frozen()
        # Made before the first is read: they refer to their type, whose references are read too.
        self._levels = [Level(array("q"), array("q")) for _ in range(2)]
        hidden.add(self.objs, self._frozen, self._levels)

    def freeze(self) -> None:
        """Put the baseline out of the collector's sight, where nobody else did that before."""
        if self._frozen.possible():
            self._frozen.freeze()

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        self._frozen.thaw()

    def level(self) -> Level:
        """Read reference counts and out-degrees, in C, for the first or second time."""
        level, objs, end = self._levels.pop(), self.objs, self._containers
        groups = (objs[start : min(start + GROUP, end)] for start in range(0, end, GROUP))
        level.degrees.extend(len(gc.get_referents(*group)) for group in groups)
        level.references.fromlist(list(map(getrefcount, objs)))
        return level

    def tracked(self) -> list[Any]:
        """Return the tracked objects that are not of the baseline."""
        current = gc.get_objects()
        if self._frozen.active:
            return current
        old = set(map(id, self.objs))
        return [obj for obj in current if id(obj) not in old]

    def newcomers(self, current: list[Any]) -> list[Any]:
        """Leave this library's own objects out of the new ones that :meth:`tracked` returned."""
        kinds = {id(kind): kind for kind in map(type, current)}
        doubtful = {key for key, kind in kinds.items() if may_be_own(kind)}
        own = [obj for obj in current if id(type(obj)) in doubtful and is_own(obj)]
        inner = (obj for obj in gc.get_referents(*own) if type(obj) in _PRIVATE)
        left_out = {id(obj) for obj in itertools.chain(own, inner)}
        left_out.update((id(own), id(doubtful), id(kinds), id(left_out)))
        left_out |= self.hidden.ids
        return [obj for obj in current if id(obj) not in left_out]

    def with_leaves(self, tracked: list[Any], gained: Iterable[Any] = ()) -> list[Any]:
        """Return new objects *tracked* and the untracked new ones that they hold, or *gained*.

        A dict of the baseline that was not tracked is, once it holds a container (up to 3.13): it
        is left out here.
        """
        held = _census.reachable([each for each in tracked if not is_a(each, ModuleType)])
        return list(self.strangers(itertools.chain(tracked, held, gained)).values())

    def strangers(self, objs: Iterable[Any]) -> dict[int, Any]:
        """Return those of *objs*, by id, that are not of the baseline."""
        candidates = {id(obj): obj for obj in objs}
        for old in set(candidates).intersection(map(id, self.objs)):
            del candidates[old]
        return candidates

    def incoming(self, new: list[Any], targets: set[int]) -> Counter[int]:
        """Count the references that old containers and *new* objects hold to *targets*, by id."""
        counts: Counter[int] = Counter()
        wanted: Callable[[int], bool] = targets.__contains__
        new = [obj for obj in new if not is_a(obj, ModuleType)]
        for objs, end in ((self.objs, self._containers), (new, len(new))):
            for start in range(0, end, _census.CHUNK):
                chunk = objs[start : min(start + _census.CHUNK, end)]
                referents = gc.get_referents(*chunk)
                if not targets.isdisjoint(map(id, referents)):  # in half the time
                    tally(filter(wanted, map(id, referents)), counts)
        return counts

    def rising(self, before: Level, after: Level, least: int) -> tuple[list[int], list[int]]:
        """Return the indexes of objects that gained at least *least* references, or referents.

        For referents, of all objects in a group that gained them.

        Only these are read again later: what leaks does so in every batch of rounds.
        """
        references = [
            index
            for index in _indexes(before.references, after.references, least)
            if after.references[index] < _census.IMMORTAL and _countable(self.objs[index])
        ]
        degrees = [
            index
            for group in _indexes(before.degrees, after.degrees, least)
            for index in range(group * GROUP, min(group * GROUP + GROUP, self._containers))
        ]
        return self._shown(references), self._shown(degrees)

    def _shown(self, indexes: list[int]) -> list[int]:
        shown = [index for index in indexes if self.objs[index] not in self.hidden]
        self.hidden.add(shown)
        return shown

    def references(self, indexes: list[int]) -> list[int]:
        """Read the reference counts at *indexes*; only differences mean anything."""
        counts = list(map(getrefcount, map(self.objs.__getitem__, indexes)))
        self.hidden.add(counts)
        return counts

    def degrees(self, indexes: list[int]) -> list[int]:
        """Read the out-degrees at *indexes*."""
        counts = [len(gc.get_referents(self.objs[index])) for index in indexes]
        self.hidden.add(counts)
        return counts


def _countable(obj: Any) -> bool:
    """Tell whether references to *obj* mean anything: everybody uses the smallest values."""
    kind = type(obj)
    if kind in _SIZED:
        return len(obj) > 1
    return kind not in _COMMON


_SIZED = Kinds(str, bytes, tuple)
_COMMON = Kinds(int, bool, float, type(None), type(Ellipsis))


def _indexes(before: array[int], after: array[int], least: int) -> Iterator[int]:
    """Yield where *after* is larger by *least*; parts that are equal are passed over at once."""
    for start in range(0, len(before), _census.CHUNK):
        old, new = before[start : start + _census.CHUNK], after[start : start + _census.CHUNK]
        if old != new:
            yield from compress(count(start), map(least.__le__, map(sub, new, old)))


class Population(NamedTuple):
    """The new objects of one moment, in numbers: no object is held.

    ``ids`` of the tracked ones; ``counts`` and out-``degrees`` by the id of their type.
    """

    ids: set[int]
    counts: Counter[int]
    degrees: Counter[int]


def population(objs: list[Any]) -> Population:
    """Count *objs*."""
    degrees: Counter[int] = Counter()
    for obj in objs:
        degrees[id(type(obj))] += out_degree(obj)
    return Population(set(map(id, objs)), tally(map(id, map(type, objs))), degrees)


def out_degree(obj: Any) -> int:
    """Count the references that *obj* holds."""
    return 0 if type(obj) is ModuleType else len(gc.get_referents(obj))


def tally(keys: Iterable[Key], counts: Counter[Key] | None = None) -> Counter[Key]:
    """Count *keys*; ``Counter(keys)`` would leave entries in the caches of abstract classes."""
    counts = Counter() if counts is None else counts
    for key in keys:
        counts[key] += 1
    return counts


class Graph:
    """The new objects, the untracked ones they hold included, and how they refer to each other."""

    __slots__ = ("children", "has_parent", "index", "objs")

    def __init__(self, objs: list[Any], hidden: Hidden) -> None:
        self.objs = objs
        self.index = {id(obj): place for place, obj in enumerate(self.objs)}
        self.children: list[list[int]] = []
        self.has_parent = bytearray(len(self.objs))
        for place, obj in enumerate(self.objs):
            below = self._children(obj)
            self.children.append(below)
            for child in below:
                if child != place:
                    self.has_parent[child] = 1
        hidden.add(self.objs, self.index, self.children)

    def _children(self, obj: Any) -> list[int]:
        if type(obj) is ModuleType:
            return []
        index = self.index
        return [index[key] for key in map(id, gc.get_referents(obj)) if key in index]

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self.index

    def places(self, objs: Iterable[Any]) -> list[int]:
        """Return the places of those of *objs* that are new, each once."""
        index = self.index
        return list(dict.fromkeys(index[id(obj)] for obj in objs if id(obj) in index))

    def below(self, places: Iterable[int], known: bytearray) -> list[int]:
        """Return what can be reached from *places*, marking it in *known* and leaving that out."""
        found = []
        stack = [place for place in places if not known[place]]
        for place in stack:
            known[place] = 1
        while stack:
            place = stack.pop()
            found.append(place)
            for child in self.children[place]:
                if not known[child]:
                    known[child] = 1
                    stack.append(child)
        return found
