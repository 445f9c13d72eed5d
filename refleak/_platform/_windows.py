"""Windows: handles in the place of descriptors, all from psutil."""

from __future__ import annotations

from refleak._platform import _other
from refleak._platform._other import (
    CHILDREN_EACH_ROUND,
    children_unavailable,
    count_children,
    count_threads,
    describe_children,
    describe_descriptors,
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


def descriptors_unavailable() -> str | None:
    """Say so where psutil is missing."""
    return _other.without("num_handles")


def count_descriptors() -> int:
    """Return how many handles are open: files, sockets, events, threads and more."""
    return int(_other.process().num_handles())
