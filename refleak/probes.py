"""The quantities that can be judged: one small class for each.

| name                 | unit                | rule   | cost of a reading                         |
|----------------------|---------------------|--------|-------------------------------------------|
| references           | reference           | count  | debug build: microseconds; release build: |
|                      |                     |        | with the next two, one pass over the heap |
| objects              | gc-tracked object   | count  | the same pass                             |
| container references | reference held by a | count  | the same pass                             |
|                      | container           |        |                                           |
| memory blocks        | memory block        | blocks | microseconds                              |

All four are on by default; the pass costs about as much as two full collections. For descriptors,
threads, child processes, tasks, native memory and temporary files see :mod:`refleak._resources`.

``probes=`` of every public form takes names and :class:`Probe` objects: a name adds a quantity to
the default ones, a name behind ``-`` leaves one out, ``all`` and ``-all`` mean every one.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from refleak import _census
from refleak._resources import RESOURCE_PROBES
from refleak._rules import RULES


@runtime_checkable
class Probe(Protocol):
    """A quantity to judge; pass your own in ``probes=``.

    ``name`` is its plural ("pool connections"), ``unit`` its singular ("pool connection").
    ``unavailable()`` says in a sentence why it cannot be judged on this interpreter, or returns
    None. ``read()`` returns the level now as an integer, at most 2**61 from zero, and must keep
    nothing that it allocates.
    An attribute ``rule`` is optional: "count" (the default), "blocks", "bytes" or "resource", see
    :data:`refleak._rules.RULES`.
    """

    name: str
    unit: str

    def unavailable(self) -> str | None:
        """Return why it cannot be judged here, or None."""
        ...

    def read(self) -> int:
        """Return the level now."""
        ...


def _check_name(what: str, value: object) -> None:
    """Refuse what is no name: a text, without the "-" in front that leaves a quantity out."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{what} must be a text that is not empty, not {value!r:.80}")
    if value.startswith("-"):
        raise ValueError(f"{what} must not begin with '-', which leaves a quantity out: {value!r}")


class Gauge:
    """Make a probe of any function that returns a level, such as a connection pool's size.

    >>> Gauge("pool connections", lambda: 3, unit="pool connection").read()
    3
    """

    def __init__(self, name: str, read: Callable[[], int], *, unit: str | None = None) -> None:
        _check_name("Gauge: name", name)
        if not callable(read):
            raise TypeError(f"Gauge: read must be a function of no arguments, not {read!r}")
        if unit is not None:
            _check_name("Gauge: unit", unit)
        self.name = name
        self.unit = unit or name.removesuffix("s")
        self.rule = "count"
        self.each_round = True
        self._read = read

    def unavailable(self) -> None:
        """Return None: a gauge can always be read."""

    def read(self) -> int:
        """Return what the function returns."""
        return self._read()


LARGEST = sys.maxsize
"""Sums of reference counts beyond this are kept modulo it: those of immortal objects are huge."""

MOST = LARGEST // 4
"""Farthest from zero that any other level may be, so that every difference can be kept."""


def level_of(probe: Probe) -> int:
    """Return a probe's level now, as it can be kept; allocates nothing that is there afterwards.

    Raises TypeError for what is no integer, OverflowError for one that is too large.
    """
    level = probe.read()
    if not isinstance(level, int):
        raise TypeError(f"{described(probe)}: read() must return an int, not {level!r:.80}")
    if not -MOST <= level <= MOST and not getattr(probe, "sums_references", False):
        allowed = f"{-MOST:,} to {MOST:,}"
        raise OverflowError(f"{described(probe)}: read() must return {allowed}, not {level:,}")
    return level % LARGEST


def described(probe: Probe) -> str:
    """Name a probe in a message."""
    return f"{type(probe).__name__} {probe.name!r}"


class _HeapPass:
    """One pass over the heap, shared by the quantities that need it."""

    def __init__(self) -> None:
        self._take: Callable[[], _census.Census | _census.Drift] | None = None
        self._taken: _census.Census | _census.Drift | None = None

    @contextmanager
    def shared(
        self, take: Callable[[], _census.Census | _census.Drift]
    ) -> Generator[None, None, None]:
        """Let all readings within the block come from one pass, made by *take*."""
        self._take, self._taken = take, None
        try:
            yield
        finally:
            self._take = self._taken = None

    def numbers(self) -> _census.Census | _census.Drift:
        """Return the shared pass's numbers, or those of a census made now."""
        if self._take is None:
            return _census.census()
        if self._taken is None:
            self._taken = self._take()
        return self._taken


HEAP_PASS = _HeapPass()


class _HeapProbe:
    rule = "count"
    each_round = False
    passes_heap = True

    def unavailable(self) -> str | None:
        """Return None: the heap can always be counted."""
        return None


class References(_HeapProbe):
    """References to all objects, from the heap census (release builds)."""

    name = "references"
    unit = "reference"
    counting = "heap census (release build)"
    sums_references = True

    def read(self) -> int:
        """Return the sum of all objects' reference counts; a pass over the heap."""
        return HEAP_PASS.numbers().references


class TotalReferences:
    """References to all objects, from ``sys.gettotalrefcount()`` (debug builds)."""

    name = "references"
    unit = "reference"
    rule = "count"
    each_round = True
    counting = "sys.gettotalrefcount() (debug build)"
    sums_references = True

    def unavailable(self) -> str | None:
        """Return None: made on debug builds only."""
        return None

    def read(self) -> int:
        """Return the interpreter's own total, which costs microseconds."""
        total: int = sys.gettotalrefcount()
        return total


class ContainerReferences(_HeapProbe):
    """References that containers hold, which see ``garbage.append(None)`` where counts do not."""

    name = "container references"
    unit = "container reference"

    def read(self) -> int:
        """Return the number of references from container to object; a pass over the heap."""
        return HEAP_PASS.numbers().edges


class Objects(_HeapProbe):
    """Objects tracked by the garbage collector."""

    name = "objects"
    unit = "object"

    def read(self) -> int:
        """Return the number of tracked objects; a pass over the heap, shared with the others."""
        return HEAP_PASS.numbers().objects


class MemoryBlocks:
    """Blocks in use by Python's allocator, ``sys.getallocatedblocks()``."""

    name = "memory blocks"
    unit = "memory block"
    rule = "blocks"
    each_round = True

    def unavailable(self) -> str | None:
        """Say so where Python's allocator is bypassed and counts nothing."""
        if sys.getallocatedblocks() == 0:
            return "Python's own allocator is off (PYTHONMALLOC=malloc or a build without it)"
        return None

    if sys.version_info[:2] == (3, 12):

        def read(self) -> int:
            """Return the blocks in use but for interned strings, which are immortal on 3.12."""
            # The type checker is told 3.10, which has no such function.
            interned: int = sys.getunicodeinternedsize()  # pyright: ignore[reportAttributeAccessIssue]
            return sys.getallocatedblocks() - interned

    else:

        def read(self) -> int:
            """Return the blocks in use, which costs microseconds."""
            return sys.getallocatedblocks()


class Cycles:
    """Objects in cyclic garbage: what only the collector could free, ever found in this process.

    A level that only rises, by the garbage that each call leaves: growth is what numpy's
    ``assert_no_gc_cycles`` and zope.testrunner's ``--gc-after-test`` look for.
    """

    name = "cycles"
    unit = "object in cyclic garbage"
    rule = "count"
    each_round = True
    _counted = "collected"

    def unavailable(self) -> str | None:
        """Return None: the collector always counts."""
        return None

    def read(self) -> int:
        """Return the collector's count, from ``gc.get_stats()``; microseconds."""
        return sum(generation[self._counted] for generation in gc.get_stats())


class Uncollectable(Cycles):
    """Objects that the collector could not free and put in ``gc.garbage``."""

    name = "uncollectable objects"
    unit = "uncollectable object"
    _counted = "uncollectable"


def _references() -> Probe:
    return TotalReferences() if hasattr(sys, "gettotalrefcount") else References()


PROBES: dict[str, tuple[Callable[[], Probe], bool]] = {
    "references": (_references, True),
    "memory blocks": (MemoryBlocks, True),
    "objects": (Objects, True),
    "container references": (ContainerReferences, True),
    "uncollectable objects": (Uncollectable, True),
    "cycles": (Cycles, False),
    **RESOURCE_PROBES,
}
"""How to make each built-in probe, and whether it is on by default; in the report's order."""


def select(wanted: str | Probe | Iterable[str | Probe] | None = None) -> tuple[Probe, ...]:
    """Return the probes that *wanted* asks for (see the module's docstring), in report order.

    Raises TypeError for what is neither a name nor a probe, ValueError for an unknown name.
    """
    chosen = {name for name, (_, default) in PROBES.items() if default}
    own: list[Probe] = []
    for entry in _entries(wanted):
        if not isinstance(entry, str):
            own.append(_own(entry))
        elif entry == "all":
            chosen = set(PROBES)
        elif entry == "-all":
            chosen = set()
        elif entry.removeprefix("-") not in PROBES:
            raise ValueError(_unknown(entry))
        elif entry.startswith("-"):
            chosen.discard(entry[1:])
        else:
            chosen.add(entry)
    selected = [make() for name, (make, _) in PROBES.items() if name in chosen] + own
    return _distinct(selected)


def _entries(wanted: object) -> Iterable[Any]:
    if wanted is None:
        return ()
    if isinstance(wanted, (str, bytes, Mapping)) or not isinstance(wanted, Iterable):
        return (wanted,)
    return wanted


def _own(entry: Any) -> Probe:
    if isinstance(entry, type) or not isinstance(entry, Probe):
        raise TypeError(
            f"probes must hold names or objects with name, unit, unavailable() and read(), "
            f"not {entry!r}"
        )
    _check_name(f"probes: name of {type(entry).__name__}", entry.name)
    _check_name(f"probes: unit of {entry.name!r}", entry.unit)
    rule = getattr(entry, "rule", "count")
    if rule not in RULES:
        raise ValueError(
            f"probes: {entry.name!r} has rule {rule!r}; allowed are {', '.join(RULES)}"
        )
    return entry


def _distinct(selected: list[Probe]) -> tuple[Probe, ...]:
    names = [probe.name for probe in selected]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"probes: {name!r} is given twice")
    if not selected:
        raise ValueError("probes leaves nothing to judge; name at least one quantity")
    return tuple(selected)


def _unknown(entry: str) -> str:
    return f"probes: unknown quantity {entry!r}; allowed are {', '.join(PROBES)}"
