"""Prove whether code leaks: references, memory, descriptors, threads, on any CPython."""

from typing import TYPE_CHECKING

from refleak._api import assert_no_leaks, find_leaks, leak_check
from refleak._caches import register_cache, unregister_cache
from refleak._errors import KnownLeakWarning, LeakError
from refleak.probes import Gauge, Probe

if TYPE_CHECKING:
    from refleak._report import Report

__all__ = [
    "Gauge",
    "KnownLeakWarning",
    "LeakError",
    "Probe",
    "Report",
    "assert_no_leaks",
    "find_leaks",
    "leak_check",
    "register_cache",
    "unregister_cache",
]


def __getattr__(name: str) -> object:
    if name == "Report":
        from refleak._report import Report

        return Report
    if name == "__version__":
        from importlib.metadata import version

        return version("assert-no-leaks")
    raise AttributeError(f"module 'refleak' has no attribute {name!r}")
