"""The heap census: references, edges and counts by type, on release builds too.

A release build keeps no total of references, but every object's own count can be read. The census
takes all objects that the garbage collector tracks, and the untracked ones reachable from them
(strings, numbers, tuples and dicts of such), and sums their reference counts in C. Differences
between two censuses equal those of ``sys.gettotalrefcount()`` on a debug build for everything that
a container holds; what only C code holds (an untracked object in a static variable) is not seen.

*Edges* are the references that containers hold, as ``gc.get_referents`` lists them. They see what
reference counts cannot (``garbage.append(None)``, since None is immortal from 3.12 on), and a
reference without an edge is one that no container accounts for.
"""

from __future__ import annotations

import gc
import pickle
import sys
import types
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain, compress, filterfalse
from sys import getrefcount
from typing import Any, NamedTuple

from refleak._caches import all_classes
from refleak._format import type_dict, type_mro, type_name
from refleak._settle import GARBAGE, clear_type_cache

IMMORTAL = 1 << 29 if sys.version_info >= (3, 12) else sys.maxsize
"""From this count on an object is immortal: its count does not follow its references.

(3.11's static small numbers begin at a thousand million, and follow.)
"""

CHUNK = 512
"""Objects handed to ``gc.get_referents`` at once: few enough to stay in the processor's cache."""

OWN_REFERENCES = next(map(getrefcount, [object()]))
"""References that ``map(getrefcount, [...])`` itself holds to each object of a list."""

ONCE = OWN_REFERENCES + 1
"""What it tells of an object to which there is one reference more."""

NAMES_TWICE = sys.version_info >= (3, 14)
"""Whether the interpreter's table of interned strings is tracked: it refers to each of them, and
they do not count it, so that a text of one reference may be met twice."""


class Drift(NamedTuple):
    """A fingerprint of the heap: unequal ones mean that something drifted, equal ones that not."""

    references: int
    edges: int
    objects: int


class Census(NamedTuple):
    """Exact totals of the heap: references, edges (held by containers), tracked objects."""

    references: int
    edges: int
    objects: int


class TypeCount(NamedTuple):
    """How many instances of a type there are, and how many references to them."""

    instances: int
    references: int


def tracked() -> list[Any]:
    """Return all tracked objects."""
    return gc.get_objects()


def _containers(objs: list[Any]) -> list[Any]:
    """Return *objs* without modules, the ones to be asked for their referents.

    ``gc.get_referents`` of a module can hang: on 3.12 the traverse of ``_asyncio`` visits a free
    list of dead objects. Their dicts are tracked on their own.
    """
    module = types.ModuleType
    return [obj for obj in objs if type(obj) is not module]


def drift() -> Drift:
    """Take the fingerprint of the heap, the cheapest full pass.

    No untracked object need be told apart for it: each counts once per edge that leads to it. A
    tracked one counts once more, since C code may hold the only references to it.
    """
    objs = gc.get_objects()
    edges = references = 0
    get_referents, module = gc.get_referents, types.ModuleType
    clear_type_cache()  # before 3.12 it holds references to None, fewer with each look-up
    for start in range(0, len(objs), CHUNK):
        chunk = objs[start : start + CHUNK]
        references += sum(map(getrefcount, chunk))
        # As in _containers(), without the call.
        referents = get_referents(*[obj for obj in chunk if type(obj) is not module])
        edges += len(referents)
        references += sum(map(getrefcount, referents))
    GARBAGE.note(len(objs))
    return Drift(references, edges, len(objs))


class Walk:
    """The way through the heap: all objects that can be seen, each once, and the edges between.

    Most untracked objects have a single reference, so the walk meets them only once. Those that
    have several must be remembered to be told apart, which is what costs.

    counting: leave out immortals that are not tracked, which are not followed either, and those
    that have a single reference, which are merely counted: ``once``.
    """

    def __init__(self, *, counting: bool = False) -> None:
        self.edges = 0
        """References met so far that a container holds."""
        self.once = 0
        """Objects left out so far that have a single reference."""
        self._counting = counting
        self._end = IMMORTAL if counting else sys.maxsize

    def parts(self, objs: list[Any]) -> Iterator[Collection[Any]]:
        """Yield *objs* and the untracked objects reachable from them, in parts; empty the list.

        Nothing but its part holds an object then, so that references can be counted.
        """
        shared: dict[int, Any] = {}
        objs.reverse()  # since a list is cheaply emptied at its end only
        while objs:
            chunk = objs[: -CHUNK - 1 : -1]
            del objs[-CHUNK:]
            yield chunk
            yield from self._leaves(_containers(chunk), shared)
        objs = list(shared.values())
        further: dict[int, Any] = {}
        while objs:
            further.clear()
            for start in range(0, len(objs), CHUNK):
                yield from self._leaves(objs[start : start + CHUNK], further)
            for known in further.keys() & shared.keys():
                del further[known]
            shared.update(further)
            objs = list(further.values())
        last = shared.values()
        # Naming a method for the first times puts its name into the cache, later it does not.
        clear_type_cache()
        yield last

    def _leaves(self, objs: list[Any], shared: dict[int, Any]) -> Iterator[list[Any]]:
        """Yield those that one reference leads to, from *objs*; add others to *shared*, by id."""
        is_once = {ONCE: True}.get
        while objs:
            found = gc.get_referents(*objs)
            self.edges += len(found)
            objs = list(filterfalse(gc.is_tracked, found))
            del found
            counts = list(map(getrefcount, objs))
            if NAMES_TWICE:
                counts = [
                    count + (type(obj) is str) for obj, count in zip(objs, counts, strict=True)
                ]
            if counts.count(ONCE) < len(counts):
                end = self._end
                several = [
                    obj for obj, count in zip(objs, counts, strict=True) if ONCE < count < end
                ]
                shared.update(zip(map(id, several), several, strict=True))
                objs = list(compress(objs, map(is_once, counts)))
                del several
            del counts  # before 3.12 it holds references to small numbers, which are counted too
            if self._counting:
                self.once += len(objs)
            else:
                yield objs


def census() -> Census:
    """Count references, edges and tracked objects exactly."""
    objs = tracked()
    count = len(objs)
    walk = Walk(counting=True)
    references = sum(map(_references, walk.parts(objs)))
    return Census(references + walk.once, walk.edges, count)


def reachable(objs: list[Any]) -> list[Any]:
    """Return *objs* and the untracked objects reachable from them, each once; empty the list."""
    return list(chain.from_iterable(Walk().parts(objs)))


def _references(objs: Collection[Any]) -> int:
    """Sum the references to *objs*, less those held by this very sum; immortals count nothing."""
    references = sum(map(getrefcount, objs))
    if references < IMMORTAL:  # so none of them is immortal
        return references - OWN_REFERENCES * len(objs)
    # Not a list: before 3.12 it would hold references to small numbers, which are counted as well.
    counts = array("q", filter(IMMORTAL.__gt__, map(getrefcount, objs)))
    return sum(counts) - OWN_REFERENCES * len(counts)


def referents_of(objs: list[Any]) -> Iterator[list[Any]]:
    """Yield what *objs* refer to, a good many objects' at once."""
    for start in range(0, len(objs), CHUNK):
        yield gc.get_referents(*objs[start : start + CHUNK])


def by_type(objs: list[Any]) -> dict[str, TypeCount]:
    """Count instances and references by type name, of all that is reachable; empty the list.

    The names, not the types, are the keys, so that a count keeps no class alive.
    """
    table = array("Q")
    may_hash = _types_are_hashed_by_identity()
    for part in Walk().parts(objs):
        _add_types(part, table, may_hash=may_hash)
    kinds, counts, numbers = table[::3], table[1::3], table[2::3]
    found = set(kinds)
    names = {id(kind): type_name(kind) for kind in all_classes() if id(kind) in found}
    totals: dict[str, list[int]] = {}
    for kind, count, instances in zip(kinds, counts, numbers, strict=True):
        entry = totals.setdefault(names.get(kind, "<unknown type>"), [0, 0])
        entry[0] += instances
        if count < IMMORTAL:
            entry[1] += instances * (count - OWN_REFERENCES)
    return {name: TypeCount(*entry) for name, entry in totals.items()}


def _add_types(objs: Collection[Any], table: array[int], *, may_hash: bool) -> None:
    """Add to *table* the ids of the types of *objs*, their counts of references, and how many.

    Types and, before 3.12, small numbers are counted as well, so that nothing may hold one when
    the next objects are: the table is an array. For the same reason *objs* that are no list, which
    alone may be numbers to which there are several references, are not counted into a list.
    """
    references = map(getrefcount, objs)
    counts = list(references) if type(objs) is list else array("q", references)
    if may_hash and counts.count(ONCE) == len(counts):  # most; takes half the time
        found = {(id(kind), ONCE): each for kind, each in Counter(map(type, objs)).items()}
    else:
        found = Counter(zip(map(id, map(type, objs)), counts, strict=True))
    for (kind, count), instances in found.items():
        table.extend((kind, count, instances))


def _types_are_hashed_by_identity() -> bool:
    """Tell whether no metaclass gives its classes a hash of its own, which could do anything."""
    metaclasses = {id(meta): meta for meta in map(type, all_classes())}
    # That of typing_extensions, which this library needs, does nothing but call object's.
    protocol = getattr(sys.modules.get("typing_extensions"), "Protocol", object)
    plain = {id(object.__hash__), id(_hash_of(type(protocol)))}
    return all(id(_hash_of(meta)) in plain for meta in metaclasses.values())


def _hash_of(cls: type) -> object:
    dicts = map(type_dict, type_mro(cls))
    return next(attributes["__hash__"] for attributes in dicts if "__hash__" in attributes)


def packed_by_type(objs: list[Any]) -> bytes:
    """Return :func:`by_type` as one object that the collector does not track.

    It is of about one size each time: kept between two readings, anything else would show in them.
    """
    return pickle.dumps({name: tuple(count) for name, count in by_type(objs).items()})


def unpacked(counts: bytes) -> dict[str, TypeCount]:
    """Return what :func:`packed_by_type` packed."""
    found = pickle.loads(counts)  # noqa: S301  # made by this process itself
    return {name: TypeCount(*count) for name, count in found.items()}
