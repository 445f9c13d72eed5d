"""Prove whether code leaks: references, memory, descriptors, threads, on any CPython."""

from refleak._api import assert_no_leaks, find_leaks, leak_check
from refleak._caches import register_cache, unregister_cache
from refleak._check import KnownLeakWarning
from refleak._errors import LeakError
from refleak._report import Report
from refleak.probes import Gauge, Probe

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


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version

        return version("assert-no-leaks")
    raise AttributeError(f"module 'refleak' has no attribute {name!r}")
