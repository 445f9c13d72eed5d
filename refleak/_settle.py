"""Bring the interpreter to rest: collect garbage, clear known caches."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

MAX_COLLECTIONS = 4
"""Collections in one settling: finalizers can make new garbage, and might do so forever."""


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
        """Tell whether nobody else has frozen objects.

        3.12 itself keeps a few hundred immortal objects frozen after a collection.
        """
        frozen = gc.get_freeze_count()
        if sys.version_info[:2] == (3, 12):
            return frozen * 4 < len(gc.get_objects())
        return frozen == 0

    def freeze(self) -> None:
        """Put all tracked objects out of the collector's sight."""
        gc.freeze()
        self.active = True

    def thaw(self) -> None:
        """Bring them back; does nothing when nothing was frozen by :meth:`freeze`."""
        if self.active:
            self.active = False
            gc.unfreeze()
