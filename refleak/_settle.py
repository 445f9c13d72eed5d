"""Bring the interpreter to rest: collect garbage, clear known caches."""

from __future__ import annotations

import gc
import sys
import types
from array import array
from collections.abc import Callable
from itertools import repeat
from operator import is_
from typing import Any

MAX_COLLECTIONS = 4
"""Collections in one settling: finalizers can make new garbage, and might do so forever."""


OWN_FROZEN = 2_500
"""Objects that 3.12 keeps frozen at most; what a user freezes is all there is, at least 5,000."""


def collect() -> None:
    """Collect until nothing more is found, at most :data:`MAX_COLLECTIONS` times."""
    for _ in range(MAX_COLLECTIONS):
        if not gc.collect():
            break


def _type_cache() -> Callable[[], None]:
    """Return what clears the interpreter's method cache (2.5 microseconds).

    Its 4,096 slots keep attribute names alive in an order that looks random, so that memory
    blocks wander upwards for thousands of calls of an innocent function.
    """
    name = "_clear_internal_caches" if sys.version_info >= (3, 13) else "_clear_type_cache"
    clear: Callable[[], None] = getattr(sys, name)
    return clear


clear_type_cache = _type_cache()


def settle() -> None:
    """Do what is done before every reading."""
    collect()
    clear_type_cache()


class Garbage:
    """When garbage from before a check is worth a full collection.

    A check does not need it gone: frozen, it is the same before and after. So the whole heap
    is collected only when it has grown by a quarter since the last time, as CPython itself does.
    """

    def __init__(self) -> None:
        self._objects = array("q", [0, 0])  # now and at the last time; an int would be counted

    def note(self, objects: int) -> None:
        """Note how many tracked objects there are."""
        self._objects[0] = objects

    def collect(self) -> None:
        """Collect the young garbage, and all of it when the heap has grown much."""
        if self._objects[0] > 1.25 * self._objects[1]:
            collect()
            self._objects[1] = self._objects[0]
        else:
            gc.collect(1)


GARBAGE = Garbage()


ASKED = frozenset(
    {"collect", "freeze", "get_freeze_count", "get_objects", "get_referrers", "unfreeze"}
)
"""Functions of :mod:`gc` to which a frozen heap makes a difference."""


class _Watched(types.ModuleType):
    """What :mod:`gc` is while the heap is frozen: who asks for one of its functions thaws it."""

    frozen: Frozen | None = None

    def __getattribute__(self, name: str) -> Any:
        if name in ASKED and _Watched.frozen is not None:
            asking = sys._getframe(1).f_globals.get("__name__")
            if type(asking) is not str or asking.partition(".")[0] != "refleak":
                _Watched.frozen.give_up()
        return types.ModuleType.__getattribute__(self, name)  # the class may have changed


class Frozen:
    """The baseline out of the collector's sight, so that a round costs what its objects cost.

    ``gc.freeze()`` moves all that exists to a generation that no collection looks at (see
    https://docs.python.org/3/library/gc.html#gc.freeze). A freeze that the user made is never
    undone: :meth:`possible` says no then.

    Code under test that looks a function of :mod:`gc` up to which this makes a difference gets the
    heap back as it was before it can call it, and it is not frozen again in this check. If that
    code freezes the heap itself, it is thawed for readings and frozen at the end. (Functions that
    were imported from ``gc`` before the check started see the frozen heap; ``freeze=False``.)
    """

    def __init__(self) -> None:
        self.active = False
        self._nobodys = Frozen.possible()
        self._given_up = self._users = False
        self._mark: list[None] = []

    @staticmethod
    def possible() -> bool:
        """Tell whether nobody else has frozen objects; 3.12 itself keeps a few hundred so."""
        return gc.get_freeze_count() <= (OWN_FROZEN if sys.version_info[:2] == (3, 12) else 0)

    def freeze(self) -> None:
        """Put all tracked objects out of the collector's sight."""
        if self._given_up:
            return
        gc.freeze()
        self._mark = []  # tracked, and not frozen unless somebody freezes once more
        self.active = True
        _Watched.frozen = self
        # The language lets a module have another class; the type checker does not know.
        gc.__class__ = _Watched  # pyright: ignore[reportAttributeAccessIssue]

    def thaw(self) -> None:
        """Bring them back, and what the code under test froze: whatever is read needs to see it."""
        if self.active:
            self._release()
            mine = any(map(is_, repeat(self._mark), gc.get_objects()))
            self._users = self._users or not mine
            gc.unfreeze()
        elif self._nobodys and not Frozen.possible():
            self._users = True
            gc.unfreeze()

    def give_up(self) -> None:
        """Thaw, and freeze no more: somebody asks for what a frozen heap would falsify."""
        self._given_up = True
        if self.active:
            self.thaw()

    def restore(self) -> None:
        """Leave the heap frozen if the code under test froze it."""
        self.thaw()
        if self._users:
            gc.freeze()

    def _release(self) -> None:
        self.active = False
        _Watched.frozen = None
        # As in freeze().
        gc.__class__ = types.ModuleType  # pyright: ignore[reportAttributeAccessIssue]
