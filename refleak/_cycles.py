"""Garbage that only the collector could free, drawn as the cycles that hold it."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any

from refleak._format import at_most, module_of, plural, quantity
from refleak._names import is_a, is_namespace, is_own, kind_name, step

MAX_CYCLES = 5
"""Different cycles drawn; more are only counted."""

MAX_LINKS = 8
"""Objects of one cycle drawn; of a longer one the number left out is said."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Objects that refer to each other in a circle, and how many such circles per call."""

    path: str
    per_call: float

    def __str__(self) -> str:
        return f"{plural(self.per_call, 'cycle')} per call: {self.path}"


@dataclass(frozen=True, slots=True)
class Cycles:
    """What the collector found after some calls.

    ``objects`` per call were garbage in cycles or held by such; ``uncollectable`` are the names of
    the types of objects, and how many per call, that it could not free and put in ``gc.garbage``.
    """

    calls: int
    objects: float
    cycles: tuple[Cycle, ...]
    uncollectable: tuple[tuple[str, float], ...]
    more: int = 0

    def rows(self) -> list[tuple[str, str]]:
        """Return what the report says: labels ("Cycle") and texts."""
        lines = at_most(len(self.cycles), [str(cycle) for cycle in self.cycles], more=self.more)
        rows = [("Cycle", line) for line in lines]
        rows += [
            ("Uncollectable", f"{quantity(per_call)} x {name} per call")
            for name, per_call in self.uncollectable
        ]
        return rows


def diagnose_cycles(
    *,
    settle: Callable[[], None],
    rounds: int = 4,
    own: Iterable[object] = (),
) -> Generator[None, None, Cycles]:
    """Find the cyclic garbage of *rounds* calls; each ``yield`` asks for one of them.

    settle: brings the interpreter to rest before the first call.
    own: objects that are not to be counted: the caller's.

    Automatic collection is off during the calls. The collector keeps what it finds in
    ``gc.garbage`` (``gc.DEBUG_SAVEALL``) until it is drawn; then it is freed, and the list, the
    debug flags and automatic collection are as they were, also when the generator is closed.
    """
    enabled, flags = gc.isenabled(), gc.get_debug()
    settle()
    gc.disable()
    hidden = {id(obj) for obj in own}
    known = len(gc.garbage)
    try:
        for _ in range(rounds):
            yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(flags)
        garbage = [obj for obj in gc.garbage[known:] if id(obj) not in hidden and not is_own(obj)]
        del gc.garbage[known:]
        count = len(garbage)
        drawn = _drawn(garbage, max(rounds, 1))
        garbage.clear()
        gc.collect()  # frees them: their finalizers have run before, and run once only
        uncollectable = _uncollectable(gc.garbage[known:], max(rounds, 1))
    finally:
        gc.set_debug(flags)
        if enabled:
            gc.enable()
    return Cycles(
        calls=rounds,
        objects=count / max(rounds, 1),
        cycles=drawn[:MAX_CYCLES],
        uncollectable=uncollectable,
        more=max(0, len(drawn) - MAX_CYCLES),
    )


def _uncollectable(objs: list[Any], calls: int) -> tuple[tuple[str, float], ...]:
    counts: dict[str, int] = {}
    for obj in objs:
        counts[kind_name(obj)] = counts.get(kind_name(obj), 0) + 1
    return tuple((name, count / calls) for name, count in counts.items())


def _drawn(objs: list[Any], calls: int) -> tuple[Cycle, ...]:
    """Draw one cycle of each strongly connected component; equal drawings are counted."""
    index = {id(obj): place for place, obj in enumerate(objs)}
    children = [
        []
        if is_a(obj, ModuleType)
        else [index[key] for key in map(id, gc.get_referents(obj)) if key in index]
        for obj in objs
    ]
    counts: dict[str, int] = {}
    for component in components(children):
        path = shortest_cycle(children, component, _start(objs, component))
        if path:
            text = draw([objs[place] for place in path])
            counts[text] = counts.get(text, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return tuple(Cycle(text, count / calls) for text, count in ranked)


def _start(objs: list[Any], component: list[int]) -> int:
    """Begin with an instance of a class in Python, else a class or function, else the oldest."""

    def rank(place: int) -> tuple[int, int]:
        kind = type(objs[place])
        if module_of(kind) != "builtins":
            return 0, place
        return (1 if issubclass(kind, type) or kind is FunctionType else 2), place

    return min(component, key=rank)


def components(children: list[list[int]]) -> list[list[int]]:
    """Part a graph into strongly connected components, without recursion.

    Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972).
    """
    order = [-1] * len(children)
    low = [0] * len(children)
    on_stack = bytearray(len(children))
    stack: list[int] = []
    found: list[list[int]] = []
    counter = 0
    for root in range(len(children)):
        if order[root] >= 0:
            continue
        work = [(root, 0)]
        while work:
            node, place = work.pop()
            if place == 0:
                order[node] = low[node] = counter
                counter += 1
                stack.append(node)
                on_stack[node] = 1
            for position in range(place, len(children[node])):
                child = children[node][position]
                if order[child] < 0:
                    work += [(node, position + 1), (child, 0)]
                    break
                if on_stack[child]:
                    low[node] = min(low[node], order[child])
            else:
                if low[node] == order[node]:
                    found.append(_popped(stack, on_stack, node))
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
    return found


def _popped(stack: list[int], on_stack: bytearray, node: int) -> list[int]:
    component = []
    while True:
        member = stack.pop()
        on_stack[member] = 0
        component.append(member)
        if member == node:
            return component


def shortest_cycle(children: list[list[int]], component: list[int], start: int) -> list[int]:
    """Return the shortest way from *start* back to it within *component*, or nothing."""
    members = set(component)
    came_from = {start: start}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for child in children[node]:
            if child == start:
                path = [node]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if child in members and child not in came_from:
                came_from[child] = node
                queue.append(child)
    return []


def draw(cycle: list[Any]) -> str:
    """Write a cycle as ``Node.next -> Node.prev -> Node``."""
    parts: list[str] = []
    for place, obj in enumerate(cycle):
        above, child = cycle[place - 1], cycle[(place + 1) % len(cycle)]
        names = place > 0 and is_namespace(above, obj)
        written = step(obj, child, namespace=names) or ""
        inside = names or type(obj) is CellType or (place > 0 and type(above) is FunctionType)
        if inside and parts:
            parts[-1] += written
        else:
            parts.append(kind_name(obj) + written)
    if len(parts) > MAX_LINKS:
        left_out = len(parts) - MAX_LINKS + 1
        parts[MAX_LINKS - 1 :] = [f"... ({left_out:,} more)"]
    return " -> ".join([*parts, kind_name(cycle[0])])
