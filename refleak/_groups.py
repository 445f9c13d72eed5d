"""Survivors grouped by what holds them."""

from __future__ import annotations

import gc
import itertools
import types
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from typing import Any

from refleak import _origins
from refleak._format import quantity, type_name
from refleak._holders import Filling, Hidden, Holder, Path, Search, Unaccounted, bound, items
from refleak._names import (
    base_name,
    describe,
    flags_of,
    function_name,
    is_a,
    is_namespace,
    kind_name,
)
from refleak._origins import Origin
from refleak._survivors import Baseline, Graph, Grown, Population, tally

MAX_GROUPS = 8
"""Groups of survivors explained; the report says how many more there are."""

MAX_KINDS = 5
"""Kinds of objects named in one group of survivors."""

MAX_SAMPLES = 4_000
"""Survivors whose traceback is looked up."""

MAX_ITEMS = 100_000
"""Items of a grown container looked at one by one; of larger ones, the last that it gained."""

LRU_REFERENCES = 3
"""References a bounded lru_cache gains with each entry: the key, the result, the link's type."""


_WEAK: Any = weakref.ReferenceType
_INLINE_VALUES = 1 << 2


@dataclass(frozen=True, slots=True)
class Gained:
    """Objects of one kind that stay: the name of the kind, and how many per call."""

    name: str
    per_call: float

    def __str__(self) -> str:
        return self.name if self.per_call == 1 else f"{quantity(self.per_call)} {self.name}"


@dataclass(frozen=True, slots=True)
class Survivors:
    """Objects that one holder keeps alive.

    ``kinds`` are what the holder gains itself, the most telling first, ``inner`` what those hold
    in turn. ``also`` are further holders of the same objects. ``bounded``: the holder has a
    limit; ``ignored``: all of it is of ignored types, or held by an object of one.
    """

    kinds: tuple[Gained, ...]
    inner: tuple[Gained, ...]
    holder: Holder
    also: tuple[Holder, ...] = ()
    origins: tuple[Origin, ...] = ()
    bounded: bool = False
    ignored: bool = False

    @property
    def per_call(self) -> float:
        """Survivors per call, those held by others included."""
        return sum(kind.per_call for kind in (*self.kinds, *self.inner))

    @property
    def held_by(self) -> str:
        """The chain as a line: root, path, container, survivor."""
        return " -> ".join([str(self.holder), *(kind.name for kind in self.kinds[:1])])


@dataclass(frozen=True, slots=True)
class Calls:
    """How many calls were made, and how much growth they must show at least.

    ``total`` since the baseline, ``late`` since the population counted midway; a leak has gained
    at least ``least_early`` before that moment and ``least_late`` after it.
    """

    total: int
    late: int
    least_early: int
    least_late: int


def gained_items(grown: Grown) -> list[Any]:
    """Return the objects a container gained, as far as its order tells, or all that it holds."""
    obj, gain = grown.obj, 2 * (grown.after - grown.before)
    held = [] if is_a(obj, types.ModuleType) else gc.get_referents(obj)
    if is_a(obj, dict):
        # Text keys are not shown to the collector: the baseline knows none of them.
        held += itertools.islice(reversed(dict.keys(obj)), grown.gained)
    if len(held) <= MAX_ITEMS:
        return held
    return held[:gain] + held[-gain:] if is_a(obj, list) else held[-2 * gain :]


class Groups:
    """Finds the groups of survivors: first by the containers that grew, then by the rest."""

    __slots__ = (
        "_amounts",
        "_baseline",
        "_calls",
        "_hidden",
        "_ignored",
        "_paths",
        "_search",
        "_traces",
        "filling",
        "found",
        "left_out",
        "natives",
    )

    def __init__(
        self,
        baseline: Baseline,
        search: Search,
        hidden: Hidden,
        calls: Calls,
        ignored: Callable[[type], bool],
    ) -> None:
        self._baseline = baseline
        self._search = search
        self._hidden = hidden
        self._calls = calls
        self._ignored = ignored
        self._paths: dict[int, Path] = {}
        self._traces: dict[int, _origins.Frames] = {}
        self._amounts: dict[tuple[_origins.Line, ...], Origin] = {}
        self.found: list[Survivors] = []
        self.natives: list[Unaccounted] = []
        self.filling: list[Filling] = []
        self.left_out = 0
        hidden.add(self._traces, self._paths)

    def trace(self, tracked: list[Any], grown: list[Grown], earlier: Population) -> None:
        """Look up where a sample of the new objects was allocated, while it is known.

        While memory is traced everything is slow, so nothing else is done with all of them.
        """
        step = len(tracked) // MAX_SAMPLES + 1
        samples = [obj for obj in tracked[::step] if id(obj) not in earlier.ids]
        for each in grown[:MAX_GROUPS]:
            gained = gained_items(each)
            samples += gained[:: len(gained) // MAX_SAMPLES + 1]
        for obj in samples:
            frames = _origins.origin_of(obj)
            if frames:
                self._traces[id(obj)] = frames

    def search(
        self,
        new: list[Any],
        grown: list[Grown],
        populations: tuple[Population, Population],
        origins: tuple[Origin, ...],
    ) -> None:
        """Group *new* objects; *grown* are the old containers that gained items.

        origins: where memory that stays was allocated; its amounts are taken over by the groups.
        """
        self._amounts = {origin.lines: origin for origin in origins}
        graph = Graph(new, self._hidden)
        known = bytearray(len(graph.objs))
        self._by_container(graph, known, self._likeliest_first(graph, self._unfolded(grown)))
        self._by_type(graph, known, *populations)

    def _unfolded(self, grown: list[Grown]) -> list[Grown]:
        """Leave out the dicts of bounded lru_caches: the cache is the container."""
        inner = {
            id(part)
            for each in grown
            if type(each.obj) is _lru_cache_wrapper
            for part in gc.get_referents(each.obj)
            if type(part) is dict
        }
        return [each for each in grown if id(each.obj) not in inner]

    def _likeliest_first(self, graph: Graph, grown: list[Grown]) -> list[Grown]:
        """Put containers of bounded size behind all others; they are not what leaks.

        Of those that gained as many items, the user's come before the standard library's. The
        first is told as the holder of what several gained.
        """
        first, rest = grown[: 2 * MAX_GROUPS], grown[2 * MAX_GROUPS :]
        alike = Counter(each.after - each.before for each in first)

        def rank(each: Grown) -> tuple[bool, int, bool]:
            gain = each.after - each.before
            tied = alike[gain] > 1 and not self._search.late()
            standard = tied and self._path(each.obj, graph).standard
            return bound(each.obj) is not None, -gain, standard

        return sorted(first, key=rank) + rest

    def _by_container(self, graph: Graph, known: bytearray, grown: list[Grown]) -> None:
        owner: dict[int, int] = {}
        weak: list[tuple[Grown, list[int]]] = []
        for number, each in enumerate(grown):
            gained = gained_items(each)
            direct = graph.places(gained)
            if direct and self._all_weak(graph, direct):
                weak.append((each, direct))
                continue
            owners = {owner[place] for place in direct if place in owner}
            if direct and len(owners) == 1 and all(place in owner for place in direct):
                self._add_holder(owners.pop(), each)
                continue
            if number >= 2 * MAX_GROUPS or self._search.late():
                graph.below(direct, known)
                self.left_out += 1
                continue
            inner = set(graph.below(direct, known)).difference(direct)
            kinds, tops = self._kinds(graph, direct, each, gained)
            path = self._path(each.obj, graph)
            if not path.found and all(kind.name in ("weakref", "int") for kind in kinds):
                continue  # a class's subclasses: held weakly, by id
            holder = _holder(each, path, self._calls.late)
            limit = bound(each.obj)
            if limit is not None and limit[0] < limit[1]:
                self.filling.append(Filling(_bounded_name(each.obj, holder), *limit))
            owner.update((place, len(self.found)) for place in (*direct, *inner))
            self.found.append(
                Survivors(
                    kinds=kinds,
                    inner=self._inner(graph, inner),
                    holder=holder,
                    origins=self._origins(graph, direct, inner),
                    bounded=limit is not None,
                    ignored=self._all_ignored(tops, path),
                )
            )

        for each, direct in weak:
            self._hold_weakly(graph, known, each, direct, owner)

    def _all_weak(self, graph: Graph, places: list[int]) -> bool:
        return all(is_a(graph.objs[place], _WEAK) for place in places)

    def _hold_weakly(
        self,
        graph: Graph,
        known: bytearray,
        grown: Grown,
        direct: list[int],
        owner: dict[int, int],
    ) -> None:
        """Tell a container of weak references as a further holder of what they refer to."""
        inner = set(graph.below(direct, known)).difference(direct)
        targets = graph.places(_WEAK.__call__(graph.objs[place]) for place in direct)
        owners = {owner[place] for place in targets if place in owner}
        if owners and not inner:
            self._add_holder(min(owners), grown)
            return
        path = self._path(grown.obj, graph)
        if not path.found and not inner:
            return  # a class's subclasses: held weakly, by id
        objs = [graph.objs[place] for place in direct]
        self.found.append(
            Survivors(
                kinds=self._named(objs),
                inner=self._inner(graph, inner),
                holder=_holder(grown, path, self._calls.late),
                origins=self._origins(graph, direct, inner),
                ignored=self._all_ignored(objs, path),
            )
        )

    def _add_holder(self, number: int, grown: Grown) -> None:
        group = self.found[number]
        if len(group.also) < 2 and not self._search.late():
            path = self._search.path(grown.obj, lambda _: False)
            also = (*group.also, _holder(grown, path, self._calls.late))
            self.found[number] = replace_also(group, also)

    def _path(self, obj: object, graph: Graph) -> Path:
        """Find the way to a container that grew, once."""
        path = self._paths.get(id(obj))
        if path is None:
            path = self._paths[id(obj)] = self._search.path(obj, graph.__contains__)
        return path

    def _kinds(
        self, graph: Graph, direct: list[int], grown: Grown, gained: list[Any]
    ) -> tuple[tuple[Gained, ...], list[Any]]:
        """Name what a container gained: new objects, or old ones that it holds once more."""
        objs = [graph.objs[place] for place in direct]
        kinds = self._named(objs)
        if not kinds:
            gain = grown.after - grown.before
            objs = gained[:gain] if is_a(grown.obj, list) else gained[-gain:]
            kinds = _kinds(objs, self._calls.late, self._calls.least_late)
        return kinds, objs

    def _named(self, objs: list[Any]) -> tuple[Gained, ...]:
        """Name the kinds of new objects; what each call replaces is too few to be named."""
        least = self._calls.least_early + self._calls.least_late
        return _kinds(objs, self._calls.total, least)

    def _inner(self, graph: Graph, places: Iterable[int]) -> tuple[Gained, ...]:
        objs = [graph.objs[place] for place in places]
        return self._named(objs)

    def _origins(
        self, graph: Graph, direct: Iterable[int], inner: Iterable[int]
    ) -> tuple[Origin, ...]:
        for places in (direct, inner):
            ids = [id(graph.objs[place]) for place in places]
            frames = [self._traces[key] for key in ids if key in self._traces]
            if frames:
                rate = len(ids) / max(self._calls.total, 1)
                found = _origins.of_objects(frames, len(frames) / rate)
                return tuple(
                    self._amounts.get(origin.lines, origin)
                    for origin in found[: _origins.MAX_ORIGINS]
                )
        return ()

    def _all_ignored(self, objs: list[Any], path: Path) -> bool:
        kinds = {id(type(obj)): type(obj) for obj in objs}
        if kinds and all(self._ignored(kind) for kind in kinds.values()):
            return True
        return any(self._ignored(kind) for kind in path.through)

    def _by_type(
        self, graph: Graph, known: bytearray, earlier: Population, later: Population
    ) -> None:
        """Group the new objects that no grown container leads to, by the type of the topmost."""
        rising = {
            key
            for key, count in later.counts.items()
            if count - earlier.counts[key] >= self._calls.least_late
        }
        swollen = {
            key
            for key, degree in later.degrees.items()
            if key not in rising and degree - earlier.degrees[key] >= self._calls.least_late
        }
        tops: dict[int, list[int]] = {}
        rest: dict[int, list[int]] = {}
        for place, obj in enumerate(graph.objs):
            if not known[place]:
                chosen = rest if graph.has_parent[place] else tops
                chosen.setdefault(id(type(obj)), []).append(place)
        for places in (*tops.values(), *rest.values()):
            found = graph.below(places, known)
            stayed = [
                place
                for place in found
                if id(graph.objs[place]) in earlier.ids and id(type(graph.objs[place])) in rising
            ]
            own = id(type(graph.objs[places[0]])) in swollen
            if len(stayed) >= self._calls.least_early or (own and found):
                if len(self.found) + len(self.natives) >= MAX_GROUPS or self._search.late():
                    self.left_out += 1
                else:
                    self._explain(graph, places, found, rising, earlier)

    def _explain(
        self,
        graph: Graph,
        places: list[int],
        found: list[int],
        rising: set[int],
        earlier: Population,
    ) -> None:
        """Find what holds the objects at *places*, from which all of *found* are reached."""
        top = graph.objs[places[len(places) // 2]]
        if type(top) is weakref.ReferenceType:  # a class's list of its subclasses, for one
            return
        before_and_after: tuple[int | None, int | None] = (None, None)
        path = self._search.path(top, lambda _: False)
        container = ""
        if id(type(top)) in rising:
            kind = type(top)  # a closure over the object itself would be found as its holder
            direct = [place for place in found if type(graph.objs[place]) is kind]
            if not self._named([graph.objs[place] for place in direct]):
                return  # replaced by each call; others of its type rise
        else:  # replaced by a larger one each call
            top = max((graph.objs[place] for place in places), key=lambda obj: items(obj) or 0)
            direct = [child for place in places for child in graph.children[place]]
            size = items(top)
            container = type_name(type(top))
            if size is not None:
                rate = len(direct) / max(self._calls.total, 1)
                before_and_after = (max(0, size - round(rate * self._calls.late)), size)
        if not path.found and len(path.through) == 1 and not container:
            if not _is_made_dict(graph, top):
                self._native(graph, places, earlier)
            return
        inner = set(found).difference(direct, places)
        objs = [graph.objs[place] for place in direct]
        holder = Holder(
            path.root or "native code or a running frame",
            path.text,
            container,
            *before_and_after,
            self._calls.late,
        )
        self.found.append(
            Survivors(
                kinds=self._named(objs) or _kinds(objs, self._calls.total, 1),
                inner=self._inner(graph, inner),
                holder=holder,
                origins=self._origins(graph, direct, inner),
                bounded=path.limit is not None,
                ignored=self._all_ignored(objs, path),
            )
        )

    def _native(self, graph: Graph, places: list[int], earlier: Population) -> None:
        """Name new objects that nothing refers to and that stay alive.

        Counted are those that came last: a running frame may hold a single older one.
        """
        late = [place for place in places if id(graph.objs[place]) not in earlier.ids]
        if len(late) < self._calls.least_late:
            return
        top = graph.objs[late[len(late) // 2]]
        self.natives.append(
            Unaccounted(
                description=describe(top),
                type_name=type_name(type(top)),
                per_call=len(late) / max(self._calls.late, 1),
                new=True,
                origins=self._origins(graph, late, ()),
                ignored=self._ignored(type(top)),
            )
        )


_PLAIN = ("str", "bytes", "int", "float", "bool", "None", "tuple")


def _kinds(objs: list[Any], calls: int, least: int) -> tuple[Gained, ...]:
    counts = tally(kind_name(obj) for obj in objs)
    common = [(name, count) for name, count in counts.items() if count >= least]
    if not common:
        by_type = tally(base_name(type(obj)) for obj in objs)
        common = [(name, count) for name, count in by_type.items() if count >= least]
    common.sort(key=lambda item: (item[0] in _PLAIN, -item[1]))
    return tuple(Gained(name, count / max(calls, 1)) for name, count in common[:MAX_KINDS])


def _is_made_dict(graph: Graph, obj: Any) -> bool:
    """Tell whether *obj* is the ``__dict__`` of a new instance that keeps its values inline.

    From 3.13 on such an instance shows the collector its values, but not its dict.
    """
    if type(obj) is not dict:
        return False
    owners = (each for each in graph.objs if flags_of(type(each)) & _INLINE_VALUES)
    return any(not obj or is_namespace(each, obj) for each in owners)


def replace_also(group: Survivors, also: tuple[Holder, ...]) -> Survivors:
    """Return *group* with other further holders."""
    return Survivors(
        group.kinds,
        group.inner,
        group.holder,
        also,
        group.origins,
        group.bounded,
        group.ignored,
    )


def _holder(grown: Grown, path: Path, calls: int) -> Holder:
    """Describe a container that grew, its size counted in items."""
    obj = grown.obj
    limit = bound(obj)
    if type(obj) is _lru_cache_wrapper and limit is not None:
        size = limit[0]
        before = size - (grown.after - grown.before) // LRU_REFERENCES
        root = f"lru_cache of {function_name(obj)}"
        return Holder(root, "", "", before, size, calls, limit[1])
    count = items(obj)
    size = grown.after if count is None else count
    # a dict shows its keys to the collector unless all of them are text
    each = max(1, round(grown.after / size)) if size and is_a(obj, dict) else 1
    before = max(0, size - round((grown.after - grown.before) / each))
    root = path.root or "native code or a running frame"
    kind = type_name(type(obj))
    if any(each is _lru_cache_wrapper for each in path.through) and not path.text:
        kind = "unlimited"
    return Holder(root, path.text, kind, before, size, calls, limit and limit[1])


def _bounded_name(obj: Any, holder: Holder) -> str:
    if type(obj) is _lru_cache_wrapper:
        return f"{function_name(obj)}.lru_cache"
    return " -> ".join(filter(None, (holder.root, holder.path)))
