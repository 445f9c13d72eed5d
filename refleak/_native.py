"""References that no container accounts for: what native code took and did not release."""

from __future__ import annotations

import gc
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

from refleak._format import type_name
from refleak._holders import Search, Unaccounted
from refleak._names import Kinds, describe, flags_of, is_own
from refleak._survivors import Baseline, Population, tally

_SCALARS = Kinds(str, bytes, int, float, complex, bool, type(None), tuple, dict)

MAX_SUSPECTS = 20_000
"""Objects whose references are accounted for one by one."""


class Suspects:
    """Old objects whose reference count grew, and how many references containers held to them.

    An object of which the count grows while the number of references that containers hold to it
    does not, has references which no container accounts for.
    """

    __slots__ = ("_after", "_baseline", "_before", "_incoming", "_indexes", "_targets")

    def __init__(self, baseline: Baseline, indexes: list[int], new: list[Any]) -> None:
        """Count the references to the objects at *indexes*; *new* are those that came since."""
        self._baseline = baseline
        self._indexes = indexes[:MAX_SUSPECTS]
        self._targets = {id(baseline.objs[index]) for index in self._indexes}
        self._incoming: Counter[int] = Counter()
        if self._indexes:
            self._incoming = self._baseline.incoming(new, self._targets)
        self._before = baseline.references(self._indexes)
        self._after: list[int] = []

    def read(self) -> None:
        """Read the reference counts again."""
        self._after = self._baseline.references(self._indexes)

    def unaccounted(
        self,
        new: list[Any],
        populations: tuple[Population, Population],
        *,
        search: Search,
        calls: int,
        least: int,
        ignored: Callable[[type], bool],
    ) -> list[Unaccounted]:
        """Return the suspects that gained at least *least* references nothing accounts for."""
        gains = {
            index: after - before
            for index, before, after in zip(self._indexes, self._before, self._after, strict=True)
            if after - before >= least
        }
        if not gains:
            return []
        incoming = self._baseline.incoming(new, self._targets)
        allowance = _Allowance(new, *populations)
        found = []
        for index, gain in gains.items():
            obj = self._baseline.objs[index]
            if is_own(obj):  # a tracer that leaks code which runs does so here too
                continue
            seen = incoming[id(obj)] - self._incoming[id(obj)]
            unseen = gain - seen - allowance.of(obj)
            if unseen >= least:
                found.append(
                    Unaccounted(
                        description=describe(obj),
                        type_name=type_name(type(obj)),
                        per_call=unseen / max(calls, 1),
                        new=False,
                        where="" if _named(obj) else _where(search, obj),
                        ignored=ignored(type(obj)) or (isinstance_of_type(obj) and ignored(obj)),
                    )
                )
        return sorted(found, key=lambda each: -each.per_call)


def _named(obj: object) -> bool:
    """Tell whether the description of *obj* is enough to find it in the source."""
    return isinstance_of_type(obj) or type(obj) in _NAMED


_NAMED = Kinds(types.FunctionType, types.BuiltinFunctionType, types.ModuleType, str, bytes)


def _where(search: Search, obj: object) -> str:
    path = search.path(obj, lambda _: False)
    return " -> ".join(filter(None, (path.root, path.text))) if path.found else ""


class _Allowance:
    """References that new objects hold without showing them to ``gc.get_referents``.

    Names of new classes, functions and generators, and keys of dicts with text keys only, are
    such references to old strings; instances of classes that do not show their type to the
    collector, and objects which it does not know (a range, an aware datetime), hold others.
    """

    __slots__ = ("_any", "_by_type", "_opaque", "_shown")

    def __init__(self, new: list[Any], before: Population, after: Population) -> None:
        gained = after.counts - before.counts
        kinds = {id(type(obj)): type(obj) for obj in new}
        self._any = sum(gained.values())
        self._by_type = gained
        self._opaque = sum(
            count for key, count in gained.items() if key in kinds and _opaque(kinds[key])
        )
        self._shown = tally(
            id(type(obj)) for obj in new if type(obj) is not types.ModuleType and _shows_type(obj)
        )

    def of(self, obj: Any) -> int:
        """Return how many unseen references to *obj* new objects may hold."""
        if type(obj) is str:
            return max(self._any, 0) * 1_000
        allowed = max(self._opaque, 0)
        if isinstance_of_type(obj) and not self._shown[id(obj)]:
            allowed += max(self._by_type[id(obj)], 0)
        return allowed


def isinstance_of_type(obj: object) -> bool:
    """Tell whether *obj* is a class, whatever its ``__class__`` claims."""
    return issubclass(type(obj), type)


def _opaque(kind: Any) -> bool:
    """Tell whether instances of *kind* hold references the collector does not know."""
    return kind not in _SCALARS and not flags_of(kind) & _HAVE_GC


_HAVE_GC = 1 << 14


def _shows_type(obj: object) -> bool:
    kind = type(obj)
    return any(each is kind for each in gc.get_referents(obj))
