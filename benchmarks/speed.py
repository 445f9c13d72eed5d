"""What a check costs, beside full collections and the peers' methods in the same run.

    python benchmarks/speed.py                    everything, some minutes
    python benchmarks/speed.py clean leak         these parts alone

Peers are installed from the package index, with this checkout, into an environment of their own in
a temporary folder. Every figure comes from a process of its own, is processor time unless said
otherwise, and is the median of several.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
import types
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]

MILLION = 1_000_000


def main() -> None:
    """Make the environment, run the parts asked for, print a table for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them by default")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, *numbers = options.worker
        print(json.dumps(WORKERS[name](*map(int, numbers))), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        python = environment(Path(folder))
        version = "import sys; print(sys.version.split()[0], hasattr(sys, 'gettotalrefcount'))"
        number, debug = subprocess.check_output([python, "-c", version], text=True).split()
        print(f"CPython {number}, {'debug' if debug == 'True' else 'release'} build")
        for name in options.parts or PARTS:
            print(f"\n## {name}\n", flush=True)
            for line in PARTS[name](python):
                print(line, flush=True)


def environment(folder: Path) -> str:
    """Make an environment with refleak and the peers; return its Python."""
    venv.create(folder / "environment", with_pip=True)
    scripts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = str(folder.joinpath("environment", *scripts))
    packages = ["psleak", "greenlet", "objgraph", "psutil", "pytest", str(ROOT)]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def ask(python: str, *words: object) -> dict:
    """Let a process of its own measure; return its figures, or why there are none."""
    command = [python, __file__, "--worker", *map(str, words)]
    more = {"PYTHONMALLOC": "malloc", "PYTHONUNBUFFERED": "1"} if "psleak" in words else {}
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env={**os.environ, **more},
    )
    if ran.returncode:
        return {"failed": ran.stderr.strip().rpartition("\n")[2] or f"exit {ran.returncode}"}
    return json.loads(ran.stdout.splitlines()[-1])


# --- the parts: what is asked, and how it is told ------------------------------------------------


def part_clean(python: str) -> Iterator[str]:
    """Compare a check of a clean function in a process of a million objects."""
    yield "A clean, trivial function among a million objects; in full collections of that process:"
    yield ""
    yield "| who | s | full collections |"
    yield "|---|---:|---:|"
    for name in ("refleak", "two bare passes", "greenlet", "regrtest", "psleak"):
        told = ask(python, name, MILLION)
        if "failed" in told:
            yield f"| {name} | could not run: {told['failed']} | |"
        else:
            yield f"| {name} | {told['seconds']:.3f} | {told['seconds'] / told['collection']:.1f} |"


def part_rounds(python: str) -> Iterator[str]:
    """Say what one more round costs, by the size of the heap and the number of rounds."""
    yield "One more round of a clean, trivial function, in microseconds:"
    yield ""
    yield "| objects | a check of 4 | 40 | 400 measured rounds: s | a round, from 40 to 400: us |"
    yield "|---:|---:|---:|---:|---:|"
    for size in (10_000, 50_000, 100_000, MILLION, 3 * MILLION):
        told = {run: ask(python, "rounds", size, run)["seconds"] for run in (4, 40, 400)}
        each = (told[400] - told[40]) / 360 * 1e6
        checks = " | ".join(f"{told[run]:.3f}" for run in (4, 40, 400))
        yield f"| {size:,} | {checks} | {each:.0f} |"


BALLAST = """
import gc, pathlib, sys, time, types

ballast = []

def pytest_collection_finish():
    ballast.extend([] for _ in range(max(0, 60_000 - len(gc.get_objects()))))

def pytest_sessionfinish():
    pathlib.Path("bare_pass").write_text(str(min(bare_pass() for _ in range(9))))

"""
"""Makes a process of 60,000 objects; tells at the end what a bare pass takes."""


def part_pytest(python: str) -> Iterator[str]:
    """Compare a suite of trivial tests with -R and the same suite run nine times."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "conftest.py").write_text(BALLAST + inspect.getsource(bare_pass))
        Path(folder, "test_trivial.py").write_text(
            "import pytest\n"
            "@pytest.mark.parametrize('number', range(1_000))\n"
            "def test_trivial(number):\n"
            "    assert number >= 0\n"
        )
        plain = [suite_seconds(python, folder) for _ in range(3)]
        checked = suite_seconds(python, folder, "-R", ":")
        passes = 2e3 * float(Path(folder, "bare_pass").read_text())
    nine = 9 * median(plain)
    beyond = checked - nine
    yield "1,000 trivial tests in a process of 60,000 objects once they are collected, wall time:"
    yield ""
    yield f"- the suite, nine times: {nine:.2f} s"
    yield f"- once, with -R : {checked:.2f} s, which is {checked / nine:.1f} times as long"
    yield f"- a clean test under -R : {beyond:.1f} ms beyond its nine runs, of which"
    yield f"  two bare passes over the heap take {passes:.1f} ms at the end of the suite"


def suite_seconds(python: str, folder: str, *options: str) -> float:
    """Run the tests in *folder*; return how long it took."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def part_import(python: str) -> Iterator[str]:
    """Say what importing refleak adds."""
    told = [ask(python, "import") for _ in range(9)]
    needs, own = (median(each[name] for each in told) for name in ("needs", "own"))
    yield f"importing wrapt and typing_extensions: {1e3 * needs:.1f} ms"
    yield f"importing refleak then: {1e3 * own:.1f} ms more"


def part_memory(python: str) -> Iterator[str]:
    """Say how much memory a check needs at its peak, and keeps."""
    told = ask(python, "memory", MILLION)
    yield "A check of a clean function among a million objects:"
    yield ""
    yield f"- peak beyond what there was: {told['peak'] / 2**20:.0f} MiB"
    yield f"- of which the list of all objects: {told['list'] / 2**20:.0f} MiB"
    yield f"- memory blocks kept after it: {told['kept']:,}"


def part_leak(python: str) -> Iterator[str]:
    """Say what a leak costs to be found and diagnosed, by the size of the heap."""
    yield "A leaking function, found and diagnosed:"
    yield ""
    yield "| objects | verdict and diagnosis: s | verdict alone: s | full collections | held by |"
    yield "|---:|---:|---:|---:|---|"
    for size in (50_000, MILLION):
        whole, verdict = (ask(python, "leak", size, diagnose) for diagnose in (1, 0))
        yield (
            f"| {size:,} | {whole['seconds']:.2f} | {verdict['seconds']:.2f} "
            f"| {whole['seconds'] / whole['collection']:.0f} | {whole['held_by']} |"
        )


def part_single(python: str) -> Iterator[str]:
    """Say what a block that runs once costs when it is clean, by the size of the heap."""
    yield "A clean block that runs once, `with leak_check():`:"
    yield ""
    yield "| objects | s | full collections |"
    yield "|---:|---:|---:|"
    for size in (50_000, MILLION):
        told = ask(python, "single", size)
        yield f"| {size:,} | {told['seconds']:.2f} | {told['seconds'] / told['collection']:.0f} |"


PARTS: dict[str, Callable] = {
    "clean": part_clean,
    "rounds": part_rounds,
    "pytest": part_pytest,
    "import": part_import,
    "memory": part_memory,
    "leak": part_leak,
    "single": part_single,
}


# --- in a process of its own ---------------------------------------------------------------------


def nothing() -> None:
    """Do what a clean, trivial function does."""


def heap_of(size: int) -> list:
    """Return so many objects, less those that there are."""
    return [[number] for number in range(max(0, size - len(gc.get_objects())))]


def seconds(call: Callable[[], object], times: int = 3) -> float:
    """Return the median processor time of several calls, after one that is not counted."""
    call()
    taken = []
    for _ in range(times):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return median(taken)


def beside_collections(size: int, call: Callable[[], object], **more: object) -> dict:
    """Measure *call* and full collections in a process of so many objects."""
    heap = heap_of(size)
    collection = seconds(gc.collect, 5)
    told = {"seconds": seconds(call), "collection": collection, "objects": len(heap), **more}
    heap.clear()
    return told


def bare_pass() -> float:
    """Read the count of each reference once; return the seconds that took.

    Any count of references on a release build does that before the rounds and after them.
    """
    began = time.perf_counter()
    objs = [obj for obj in gc.get_objects() if type(obj) is not types.ModuleType]
    for start in range(0, len(objs), 512):
        sum(map(sys.getrefcount, gc.get_referents(*objs[start : start + 512])))
    return time.perf_counter() - began


def two_bare_passes(size: int) -> dict:
    """Read the count of each reference twice, and nothing else."""
    return beside_collections(size, lambda: (bare_pass(), bare_pass()))


def with_refleak(size: int) -> dict:
    """Check with find_leaks at its defaults."""
    from refleak import find_leaks

    return beside_collections(size, lambda: find_leaks(nothing))


def with_greenlet(size: int) -> dict:
    """Check with the method that greenlet's own tests are checked with."""
    import unittest

    from greenlet.tests.leakcheck import wrap_refcount

    class Case(unittest.TestCase):
        def runTest(self) -> None:  # noqa: N802  # unittest's name
            nothing()

    return beside_collections(size, lambda: wrap_refcount(Case.runTest)(Case()))


def with_regrtest(size: int) -> dict:
    """Check as CPython's regrtest -R 5:4 does: nine rounds, each with three collections."""

    def check() -> None:
        for _ in range(9):
            nothing()
            for _ in range(3):
                gc.collect()

    return beside_collections(size, check)


def with_psleak(size: int) -> dict:
    """Check with psleak at its defaults."""
    from psleak import MemoryLeakTestCase

    class Case(MemoryLeakTestCase):
        def runTest(self) -> None:  # noqa: N802  # unittest's name
            self.execute(nothing)

    def check() -> None:
        case = Case()
        case.setUp()
        case.runTest()

    return beside_collections(size, check)


def more_rounds(size: int, run: int) -> dict:
    """Check a clean function with so many measured rounds."""
    from refleak import find_leaks

    return beside_collections(size, lambda: find_leaks(nothing, run=run))


def importing() -> dict:
    """Import what refleak needs, then refleak."""
    began = time.process_time()
    import typing_extensions  # noqa: F401  # the import is timed
    import wrapt  # noqa: F401  # the same

    between = time.process_time()
    import refleak  # noqa: F401  # the same

    return {"needs": between - began, "own": time.process_time() - between}


def memory(size: int) -> dict:
    """Check once, and compare the process's peak with what it was (Linux)."""
    from refleak import find_leaks

    find_leaks(nothing)
    heap = heap_of(size)
    gc.collect()
    listed = sys.getsizeof(gc.get_objects())
    Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
    before, blocks = peak(), sys.getallocatedblocks()
    find_leaks(nothing)
    most = peak()
    gc.collect()
    told = {"peak": most - before, "kept": sys.getallocatedblocks() - blocks, "list": listed}
    heap.clear()
    return told


def peak() -> int:
    """Return the most bytes that this process had resident."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def leaking(size: int, diagnose: int) -> dict:
    """Find a leak, with or without its diagnosis."""
    from refleak import find_leaks

    kept: list = []
    found = []

    def leak() -> None:
        kept.append({})

    def check() -> None:
        kept.clear()
        found[:] = [find_leaks(leak, diagnose=bool(diagnose))]

    told = beside_collections(size, check)
    diagnosis = found[0].diagnosis
    held_by = diagnosis.survivors[0].held_by if diagnosis and diagnosis.survivors else ""
    return {**told, "held_by": held_by}


def single_pass(size: int) -> dict:
    """Check a clean block that runs once."""
    from refleak import leak_check

    def check() -> None:
        with leak_check():
            nothing()

    return beside_collections(size, check)


WORKERS: dict[str, Callable[..., dict]] = {
    "refleak": with_refleak,
    "two bare passes": two_bare_passes,
    "greenlet": with_greenlet,
    "regrtest": with_regrtest,
    "psleak": with_psleak,
    "rounds": more_rounds,
    "import": importing,
    "memory": memory,
    "leak": leaking,
    "single": single_pass,
}

if __name__ == "__main__":
    main()
