"""What can be judged on this interpreter, what not, and why; measured and asked, not guessed."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import sys
import sysconfig
import textwrap
import time
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

from refleak._check import Check
from refleak._format import plural, type_name
from refleak._plan import check_implementation, make_plan, switched_off
from refleak._settle import Frozen
from refleak.probes import PROBES, Probe

WIDTH = 80
"""Columns of a terminal that is not told otherwise."""

MONITORING_TOOLS = 6
"""Tools that ``sys.monitoring`` has room for."""

MORE_ROUNDS = 50
"""Rounds by which the cost of one more is measured."""


def doctor_lines() -> list[str]:
    """Return what there is to say, as lines of at most 80 columns."""
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("Interpreter", interpreter_rows()),
        ("Judged by default", probe_rows(default=True)),
        ('Judged on request (probes="name")', probe_rows(default=False)),
        ("Not judged here", unavailable_rows()),
        ("In the way", [(name, text) for name, text in disturbances()]),
        ("Cost of one check here", cost_rows()),
    ]
    lines = [headline()]
    for title, rows in sections:
        lines += [title, *layout(rows)] if rows else [f"{title}: nothing"]
    return lines


def headline() -> str:
    """Name the versions of everything."""
    libc = " ".join(filter(None, platform.libc_ver()))
    system = ", ".join(filter(None, (platform.system(), platform.machine(), libc)))
    return f"refleak {version('assert-no-leaks')} on Python {platform.python_version()} ({system})"


def version(distribution: str) -> str:
    """Return the version of an installed distribution, or "not installed"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def layout(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lay out labels and texts in two columns, the texts wrapped."""
    lines = []
    for label, text in rows:
        wrapped = textwrap.wrap(text, WIDTH - 24) or [""]
        lines += [
            f"  {name:<21} {part}".rstrip()
            for name, part in zip((label, *[""] * (len(wrapped) - 1)), wrapped, strict=True)
        ]
    return lines


# --- the interpreter ---------------------------------------------------------------------------


def interpreter_rows() -> list[tuple[str, str]]:
    """Say how this interpreter was built and is set up."""
    collector = "on" if gc.isenabled() else "off"
    return [
        ("build", build()),
        ("GIL", gil()),
        ("JIT", jit()),
        ("garbage collector", f"{collector}; {plural(len(gc.get_objects()), 'object')} tracked"),
        ("PYTHONMALLOC", os.environ.get("PYTHONMALLOC") or "not set"),
        ("psutil", version("psutil")),
        ("tracemalloc", "tracing" if tracemalloc.is_tracing() else "off; used once a leak is sure"),
    ]


def build() -> str:
    """Say which kind of build this is, and how references are counted on it."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name}: refleak needs CPython's reference counts"
    if hasattr(sys, "gettotalrefcount"):
        return "debug; sys.gettotalrefcount() counts references"
    return "release; a census of all objects counts references"


def gil() -> str:
    """Say whether this is a free-threaded build."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "on"
    enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: False)
    state = "on" if enabled() else "off"
    return f"{state} (free-threaded build: judging it is experimental)"


def jit() -> str:
    """Say whether there is a just-in-time compiler, and whether it is on."""
    module: Any = getattr(sys, "_jit", None)
    if module is None or not module.is_available():
        return "not in this build"
    return "on" if module.is_enabled() else "off"


# --- quantities --------------------------------------------------------------------------------


def probe_rows(*, default: bool) -> list[tuple[str, str]]:
    """Say how each quantity that can be judged is read."""
    return [
        (probe.name, source(probe))
        for make, is_default in PROBES.values()
        if is_default is default and (probe := make()).unavailable() is None
    ]


def unavailable_rows() -> list[tuple[str, str]]:
    """Say which quantities cannot be judged, and why."""
    reasons = [
        (probe.name, probe.unavailable()) for probe in (make() for make, _ in PROBES.values())
    ]
    return [(name, reason) for name, reason in reasons if reason is not None]


SOURCES = {
    "memory blocks": "sys.getallocatedblocks()",
    "objects": "gc.get_objects()",
    "container references": "gc.get_referents() of all objects",
    "file descriptors": "the process's open files and sockets",
    "threads": "the process's threads, native ones included",
    "child processes": "the process's children, zombies included",
    "asyncio tasks": "tasks of this thread's event loop that are not done",
    "native heap": "glibc's mallinfo2()" if sys.platform == "linux" else "psutil's heap_info()",
    "anonymous mappings": "memory mapped by mmap directly",
    "uncollectable objects": "what the collector cannot free: gc.get_stats()",
    "cycles": "garbage that only the collector frees: gc.get_stats()",
    "temporary files": "this user's files in the temporary directory",
}
"""Where the numbers come from, by quantity."""


def source(probe: Probe) -> str:
    """Say where a quantity's numbers come from."""
    text: str | None = getattr(probe, "counting", None) or SOURCES.get(probe.name)
    return text or (type(probe).__doc__ or "").partition("\n")[0]


# --- what is in the way ------------------------------------------------------------------------


def disturbances() -> list[tuple[str, str]]:
    """Return what makes checks in this process slower or less certain."""
    return [(name, text) for name, find in DISTURBANCES for text in find()]


def _tracers() -> Iterable[str]:
    if (tracer := sys.gettrace()) is not None:
        yield f"sys.settrace() is in use ({type_name(type(tracer))}): a debugger or coverage"
    if (profiler := sys.getprofile()) is not None:
        yield f"sys.setprofile() is in use ({type_name(type(profiler))})"
    if sys.version_info >= (3, 12):
        for number in range(MONITORING_TOOLS):
            if (tool := sys.monitoring.get_tool(number)) is not None:
                yield f"sys.monitoring is in use by {tool!r}"


def _tracemalloc() -> Iterable[str]:
    if tracemalloc.is_tracing():
        yield "it is tracing already: checks take longer, and its records are memory blocks"


def _collector() -> Iterable[str]:
    if gc.get_debug() & gc.DEBUG_SAVEALL:
        yield "gc.DEBUG_SAVEALL is set: all garbage is kept in gc.garbage, so cycles leak"
    if not Frozen.possible():
        yield "gc.freeze() was called by somebody: checks cannot use it, and take longer"


def _malloc() -> Iterable[str]:
    if sys.flags.dev_mode:
        yield "Python's development mode (-X dev) fills memory with guards: sizes are larger"


def _threads() -> Iterable[str]:
    others = len(sys._current_frames()) - 1
    if others:
        yield f"{plural(others, 'thread')} running beside this one: what they do counts as well"


def _switch() -> Iterable[str]:
    try:
        if switched_off():
            yield "REFLEAK=off in the environment: decorated tests run once and are not judged"
    except ValueError as error:
        yield str(error)


DISTURBANCES: tuple[tuple[str, Callable[[], Iterable[str]]], ...] = (
    ("tracing", _tracers),
    ("tracemalloc", _tracemalloc),
    ("garbage collector", _collector),
    ("memory", _malloc),
    ("threads", _threads),
    ("switched off", _switch),
)
"""What to look for, by name."""


# --- the cost ----------------------------------------------------------------------------------


def cost_rows() -> list[tuple[str, str]]:
    """Measure a check of a function that does nothing."""
    try:
        check_implementation()
    except RuntimeError as error:
        return [("none", str(error))]
    seconds_of_check(4)  # the first time imports and makes what later ones reuse
    once = min(seconds_of_check(4) for _ in range(2))
    more = (seconds_of_check(4 + MORE_ROUNDS) - once) / MORE_ROUNDS
    return [
        ("clean test", f"{once * 1e3:.1f} ms beside its own time, run 5 + 4 times"),
        ("one more round", f"{max(more, 0) * 1e6:.0f} microseconds"),
    ]


def seconds_of_check(run: int) -> float:
    """Return how long a check of nothing takes, in seconds."""
    check = Check(make_plan(run=run, max_rounds=0, diagnose=False), "nothing")
    began = time.perf_counter()
    for _ in check.rounds():
        pass
    return time.perf_counter() - began
