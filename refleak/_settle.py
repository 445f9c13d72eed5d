"""Bring the interpreter to rest: collect garbage, clear known caches."""

from __future__ import annotations

import gc
import sys
from array import array
from collections.abc import Callable

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


class Frozen:
    """The baseline out of the collector's sight, so that a round costs what its objects cost.

    ``gc.freeze()`` moves all that exists to a generation that no collection looks at (see
    https://docs.python.org/3/library/gc.html#gc.freeze). A freeze that the user made is never
    undone: :meth:`possible` says no then.
    """

    def __init__(self) -> None:
        self.active = False

    @staticmethod
    def possible() -> bool:
        """Tell whether nobody else has frozen objects; 3.12 itself keeps a few hundred so."""
        return gc.get_freeze_count() <= (OWN_FROZEN if sys.version_info[:2] == (3, 12) else 0)

    def freeze(self) -> None:
        """Put all tracked objects out of the collector's sight."""
        gc.freeze()
        self.active = True

    def thaw(self) -> None:
        """Bring them back; does nothing when nothing was frozen by :meth:`freeze`."""
        if self.active:
            self.active = False
            gc.unfreeze()
