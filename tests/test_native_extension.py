"""A C extension that loses each resource on request, beside its correct twins."""

from __future__ import annotations

from pathlib import Path

import pytest
from native import building, lost
from running import python

from refleak import find_leaks
from refleak._platform import system

REASON = building.cannot_build()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

heap = pytest.mark.skipif(system.heap_unavailable() is not None, reason="no native heap here")
mappings = pytest.mark.skipif(system.mappings_unavailable() is not None, reason="no mappings here")

MARKS = {"native heap": heap, "anonymous mappings": mappings}
LOST = [
    pytest.param(name, quantity, marks=MARKS.get(quantity, ()))
    for name, quantity in lost.QUANTITIES.items()
]
TWINS = [*lost.QUANTITIES, "thread"]

ENOUGH = {"native heap": 2000}
"""Further rounds in which a leak must be certain, where :data:`FEW` are too few.

malloc serves lost chunks from free ones of the next size first, so that a leak of 32 bytes a call
can start as one of 48.
"""

FEW = 60


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """The extension, built once."""
    return building.build(tmp_path_factory.mktemp("native"))


def _found(report):
    return {finding.quantity for finding in report.findings}


@pytest.mark.parametrize("fail", [False, True], ids=["success", "error path"])
@pytest.mark.parametrize(("name", "quantity"), LOST)
def test_what_is_lost_is_found(native, name, quantity, fail):
    """A resource lost on the success or the error path is found, in its own quantity."""
    call = lost.calling(getattr(native, name), leak=True, fail=fail)
    only = ["-all", quantity]  # the passes over the heap would take most of the time
    rounds = ENOUGH.get(quantity, FEW)
    report = find_leaks(call, max_rounds=rounds, diagnose=False, probes=only)
    assert quantity in _found(report), str(report)


@pytest.mark.parametrize("fail", [False, True], ids=["success", "error path"])
@pytest.mark.parametrize("name", TWINS)
def test_the_correct_twin_is_clean(native, name, fail):
    """A function that releases what it acquires on the same path is not accused."""
    report = find_leaks(lost.calling(getattr(native, name), leak=False, fail=fail))
    assert set() == _found(report), str(report)


_IN_ITS_OWN_PROCESS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from native import building, lost
from refleak import find_leaks

native = building.build(Path(sys.argv[2]))
report = {}
for found in report.findings:
    print(found.quantity, found.per_call, sep=": ", flush=True)
os._exit(0)
"""


def _found_in_its_own_process(native, check):
    """Return the findings of *check*, an expression, in a process that waits for no thread."""
    folders = [str(Path(__file__).parent), str(Path(native.__file__).parent)]
    ran = python("-c", _IN_ITS_OWN_PROCESS.replace("{}", check), *folders)
    assert not ran.stderr
    return ran.stdout.splitlines()


def test_a_lost_thread_is_found(native):
    """A native thread that Python does not know and nobody ends is found, as a thread."""
    check = "find_leaks(lambda: native.thread(True, False), max_rounds=60, diagnose=False)"
    assert "threads: 1.0" in _found_in_its_own_process(native, check)


@heap
def test_a_lost_chunk_is_told_to_the_byte(native):
    """The report says how many bytes of the native heap are lost per call: malloc's chunk.

    Told in a process of its own, once no free chunk of that size is left that could serve.
    """
    only = "diagnose=False, probes=['-all', 'native heap']"
    used_up = "[native.malloc(True, False) for _ in range(10_000)]"
    check = f"{used_up} and find_leaks(lambda: native.malloc(True, False), {only})"
    assert ["native heap: 80.0"] == _found_in_its_own_process(native, check)
