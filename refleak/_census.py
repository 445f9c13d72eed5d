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
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, filterfalse
from sys import getrefcount
from typing import Any, NamedTuple

from refleak._format import type_name
from refleak._settle import GARBAGE, clear_type_cache

IMMORTAL = 1 << 29
"""From this count on an object is immortal (3.12+), or static (3.11: a thousand million): its count
does not follow its references."""

CHUNK = 512
"""Objects handed to ``gc.get_referents`` at once: few enough to stay in the processor's cache."""

OWN_REFERENCES = next(map(getrefcount, [object()]))
"""References that ``map(getrefcount, [...])`` itself holds to each object of a list."""


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
    """Return all tracked objects but modules.

    Modules are left out since ``gc.get_referents`` of one can hang: on 3.12 the traverse of
    ``_asyncio`` visits a free list of dead objects. Their dicts are tracked on their own.
    """
    module = types.ModuleType
    return [obj for obj in gc.get_objects() if type(obj) is not module]


def drift() -> Drift:
    """Take the fingerprint of the heap, the cheapest full pass.

    No untracked object need be told apart for it: each counts once per edge that leads to it.
    """
    objs = gc.get_objects()
    edges = references = 0
    get_referents, module = gc.get_referents, types.ModuleType
    clear_type_cache()  # before 3.12 it holds references to None, fewer with each look-up
    for start in range(0, len(objs), CHUNK):
        # Modules are left out as in tracked(); here, since the chunk is in the cache afterwards.
        chunk = [obj for obj in objs[start : start + CHUNK] if type(obj) is not module]
        referents = get_referents(*chunk)
        edges += len(referents)
        references += sum(map(getrefcount, referents))
    GARBAGE.note(len(objs))
    return Drift(references, edges, len(objs))


def census() -> Census:
    """Count references, edges and tracked objects exactly."""
    objs = tracked()
    leaves: dict[int, Any] = {}
    edges = _reach(objs, leaves, _mortal)
    clear_type_cache()
    return Census(_references(objs) + _references(leaves.values()), edges, len(objs))


def heap() -> list[Any]:
    """Return every object the census can see, tracked and untracked, each once."""
    objs = tracked()
    leaves: dict[int, Any] = {}
    _reach(objs, leaves)
    objs.extend(leaves.values())
    return objs


def _references(objs: Iterable[Any]) -> int:
    """Sum the references to *objs*, less those held by this very sum; immortals count nothing."""
    # Not a list: before 3.12 it would hold references to small numbers, which are counted as well.
    counts = array("q", filter(IMMORTAL.__gt__, map(getrefcount, objs)))
    return sum(counts) - OWN_REFERENCES * len(counts)


def _mortal(objs: Iterable[Any]) -> list[Any]:
    """Leave out immortals, whose counts say nothing: from 3.12 on there are many."""
    held = list(objs)
    if sys.version_info < (3, 12):
        return held
    return list(compress(held, map(IMMORTAL.__gt__, map(getrefcount, held))))


def _reach(
    objs: list[Any], leaves: dict[int, Any], wanted: Callable[[Iterable[Any]], list[Any]] = list
) -> int:
    """Add the untracked objects reachable from *objs* to *leaves*; return the number of edges.

    *wanted* picks from those found; what is left out is not followed either.
    """
    edges = 0
    while objs:
        found: dict[int, Any] = {}
        for referents in referents_of(objs):
            edges += len(referents)
            untracked = wanted(filterfalse(gc.is_tracked, referents))
            found.update(zip(map(id, untracked), untracked, strict=True))
        for known in found.keys() & leaves.keys():
            del found[known]
        leaves.update(found)
        objs = list(found.values())
    return edges


def referents_of(objs: list[Any]) -> Iterator[list[Any]]:
    """Yield what *objs* refer to, a good many objects' at once."""
    for start in range(0, len(objs), CHUNK):
        yield gc.get_referents(*objs[start : start + CHUNK])


def by_type() -> dict[str, TypeCount]:
    """Count instances and references by type name.

    The names, not the types, are the keys, so that a count keeps no class alive.
    """
    counts: dict[str, list[int]] = {}
    entries: dict[int, list[int]] = {}  # by the type's id: a reference would count itself
    objs = heap()
    clear_type_cache()
    # All at once: naming types looks attributes up, and so puts references into the type cache.
    for index, references in enumerate(array("q", map(getrefcount, objs))):
        cls = type(objs[index])
        entry = entries.get(id(cls))
        if entry is None:
            entry = entries[id(cls)] = counts.setdefault(type_name(cls), [0, 0])
        entry[0] += 1
        if references < IMMORTAL:
            entry[1] += references - OWN_REFERENCES
    return {name: TypeCount(*entry) for name, entry in counts.items()}


def packed_by_type() -> bytes:
    """Return :func:`by_type` as one object that the collector does not track.

    It is of about one size each time: kept between two readings, anything else would show in them.
    """
    return pickle.dumps({name: tuple(count) for name, count in by_type().items()})


def unpacked(counts: bytes) -> dict[str, TypeCount]:
    """Return what :func:`packed_by_type` packed."""
    found = pickle.loads(counts)  # noqa: S301  # made by this process itself
    return {name: TypeCount(*count) for name, count in found.items()}
