"""Bytes in use by glibc's malloc, exact.

``mallinfo2()`` walks every arena and is exact but for one thing: free chunks that wait in a
thread's cache (tcache) count as in use, so a leak that is served from the cache shows nothing for
a while, and an innocent function shows whatever the cache's filling did.

Emptying the cache before a reading does not work: malloc moves further free chunks of the same
size into it as it serves one (measured: an innocent function reads -816 to +352 bytes a round).
Filling it does: hold as many chunks of each cached size class as its bin has places, free them all,
and the cache is full, a constant. malloc may serve a size from the next bigger class, as long as
chunks of that are free, so each chunk held is asked for its size, and more are asked for until
every class has its number. (Without that a lost chunk of 104 bytes in a heap with 300 free ones of
120 read 0 up to 16 times in a row: tests/test_platform.py.) Innocent functions
over 256 rounds (subprocess, thread and process pools, asyncio servers, ssl contexts, sqlite3,
pandas, matplotlib, zoneinfo) then show no growth at all but that of caches really filling.

The reading costs 400-600 microseconds on release builds, twice that on debug ones, and takes
about 500 KB for its time.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, NamedTuple

_SIZES = range(1032, 23, -16)
"""One request for each of the 64 size classes that the cache keeps."""

_MOST = 20_000
"""Chunks of other sizes that are taken out of the way at most, in one reading."""

_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)
"""The members of malloc.h's struct, in order."""

_TRIAL = 100_000
"""Bytes asked for to see whether malloc is the one that mallinfo2() describes."""


class Heap(NamedTuple):
    """What malloc holds, in bytes."""

    arenas: int
    """Taken from the system for arenas, by sbrk and mmap."""
    mapped: int
    """In chunks so large that each is a mapping of its own."""
    used: int
    """In use within the arenas."""


class Malloc:
    """glibc's malloc by ctypes. Raises OSError, saying why, where it cannot be read."""

    def __init__(self) -> None:
        import ctypes

        version = libc_version()
        if version is None:
            raise OSError("this libc is not glibc and has no mallinfo2()")
        # PyDLL keeps the GIL: other threads cannot run between the calls, which are short.
        libc: Any = ctypes.PyDLL(None)
        self._malloc, self._free = libc.malloc, libc.free
        self._malloc.argtypes, self._malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
        self._free.argtypes, self._free.restype = [ctypes.c_void_p], None
        self._size = libc.malloc_usable_size
        self._size.argtypes, self._size.restype = [ctypes.c_void_p], ctypes.c_size_t
        self._mallinfo = _mallinfo(ctypes, libc)
        self._places = cache_places(version)
        self._requests = tuple(_SIZES) * self._places
        if not self._describes_malloc():
            raise OSError("malloc is not glibc's here (another allocator is loaded in its place)")

    def _describes_malloc(self) -> bool:
        before = self.read()
        chunk = self._malloc(_TRIAL)
        after = self.read()
        self._free(chunk)
        return after.used + after.mapped - before.used - before.mapped >= _TRIAL

    def read(self) -> Heap:
        """Return malloc's numbers as they are; free chunks in thread caches count as used."""
        info = self._mallinfo()
        return Heap(info.arena, info.hblkhd, info.uordblks)

    def in_use(self) -> int:
        """Fill this thread's cache, and return the bytes in use; differences are exact."""
        self._fill_cache()
        info = self._mallinfo()
        total: int = info.uordblks + info.hblkhd
        return total

    def _fill_cache(self) -> None:
        held = list(map(self._malloc, self._requests))
        counts = Counter(map(self._size, held))
        for size in _SIZES:
            while counts[size] < self._places and len(held) < _MOST:
                chunk = self._malloc(size)
                held.append(chunk)
                counts[self._size(chunk)] += 1
        any(map(self._free, held))


def _mallinfo(ctypes: Any, libc: Any) -> Any:
    """Return mallinfo2, or before glibc 2.33 mallinfo, whose numbers wrap at 4 GiB."""
    function, number = (
        (libc.mallinfo2, ctypes.c_size_t)
        if hasattr(libc, "mallinfo2")
        else (libc.mallinfo, ctypes.c_uint)
    )
    fields = [(name, number) for name in _FIELDS]
    function.restype = type("mallinfo", (ctypes.Structure,), {"_fields_": fields})
    return function


def libc_version() -> tuple[int, int] | None:
    """Return glibc's version, or None where the libc is another one."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (AttributeError, OSError, ValueError):
        return None


def cache_places(version: tuple[int, int]) -> int:
    """Return how many chunks of a size class glibc's thread cache keeps.

    7 by default, 16 since 2.42; the tunable glibc.malloc.tcache_count sets another number.
    """
    for tunable in os.environ.get("GLIBC_TUNABLES", "").split(":"):
        name, _, value = tunable.partition("=")
        if name == "glibc.malloc.tcache_count" and value.isdecimal():
            return int(value)
    return 16 if version >= (2, 42) else 7
