"""macOS: descriptors from /dev/fd, the rest from psutil."""

from __future__ import annotations

from refleak._originals import Files
from refleak._platform import _other
from refleak._platform._other import (
    CHILDREN_EACH_ROUND,
    children_unavailable,
    count_children,
    count_threads,
    describe_children,
    describe_native_threads,
    heap_in_use,
    heap_unavailable,
    mappings_unavailable,
    private_mappings,
    resident_memory,
    threads_unavailable,
    voluntary_waits,
)

__all__ = [
    "CHILDREN_EACH_ROUND",
    "children_unavailable",
    "count_children",
    "count_descriptors",
    "count_threads",
    "describe_children",
    "describe_descriptors",
    "describe_native_threads",
    "descriptors_unavailable",
    "heap_in_use",
    "heap_unavailable",
    "mappings_unavailable",
    "private_mappings",
    "resident_memory",
    "threads_unavailable",
    "voluntary_waits",
]

_FDS = "/dev/fd"


def descriptors_unavailable() -> str | None:
    """Return None: /dev/fd is always there."""
    return None


def count_descriptors() -> int:
    """Return how many file descriptors are open."""
    return len(Files.listdir(_FDS)) - 1  # listing opens one itself


def describe_descriptors() -> dict[int, str]:
    """Return the open descriptors, with what psutil knows of them where it is installed."""
    known = _other.describe_descriptors() if _other.psutil() else {}
    return {fd: known.get(fd, "descriptor of no file") for fd in map(int, Files.listdir(_FDS))}
