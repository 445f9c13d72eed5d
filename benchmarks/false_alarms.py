"""Count false alarms over the interpreter's own tests, each under ``find_leaks`` as it comes.

    python benchmarks/false_alarms.py test_re test_json

Each test is run with setUp and tearDown redone every round, on a fresh instance; class and module
fixtures are set up once. An alarm counts as true only if growth goes on at a steady rate over 240
rounds with the type cache and CPython's own caches cleared between. Exit status 1: there are false
alarms.
"""

# ruff: noqa: ARG001  # one signature for all

from __future__ import annotations

import argparse
import contextlib
import itertools
import platform
import sys
import time
import unittest
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cpython_tests
from cpython_tests import Result

WINDOWS = 4
ROUNDS = 60
STEADY = 0.6
"""The least that a window of confirmation may grow, as a share of the one that grew most."""


def examine(test: unittest.TestCase, subject: Callable[[], None]) -> Result:
    """Judge a test; look again, by other means, at what is called leaking."""
    from refleak import find_leaks

    report = find_leaks(subject)
    if not report.leaking:
        return {"rounds": report.rounds}
    names = [finding.quantity for finding in report.findings if finding.part_of is None]
    return {
        "rounds": report.rounds,
        "alarm": report.summary(),
        "report": str(report),
        "evidence": confirm(subject, names),
    }


def confirm(subject: Callable[[], None], names: list[str]) -> dict[str, list[int]]:
    """Return the growth of each quantity over so many windows of so many rounds."""
    from refleak.probes import PROBES

    probes = [PROBES[name][0]() for name in names]
    levels: list[list[int]] = [[0] * (WINDOWS + 1) for _ in probes]
    for _ in range(20):
        subject()
    for window in range(WINDOWS + 1):
        if window:
            for _ in range(ROUNDS):
                subject()
                clear()
        clear()
        for number, probe in enumerate(probes):
            levels[number][window] = probe.read()
    return {
        name: [after - before for before, after in itertools.pairwise(level)]
        for name, level in zip(names, levels, strict=False)
    }


def clear() -> None:
    """Clear what CPython's own search for leaks clears, and the type cache."""
    from refleak._settle import settle

    with contextlib.suppress(ImportError):
        from test.libregrtest.utils import clear_caches

        clear_caches()
    settle()


def confirmed(growth: list[int]) -> bool:
    """Tell whether growth went on at a steady rate."""
    return min(growth) > 0 and min(growth) >= STEADY * max(growth)


def truth(result: Result) -> str:
    """Say "true" if all that was called leaking is confirmed, "false" if nothing, else "partly"."""
    verdicts = {
        confirmed(growth)
        for quantity, growth in result["evidence"].items()
        if quantity != "native heap" or len(result["evidence"]) == 1
    }
    return "partly" if len(verdicts) == 2 else "true" if verdicts == {True} else "false"


def run(name: str, arguments: argparse.Namespace) -> list[Result]:
    """Run one module's tests and tell about it."""
    began = time.monotonic()
    results = arguments.results / f"{platform.python_version()}-{name}.jsonl"
    command = [sys.executable, __file__, "--worker", name]
    found = list(cpython_tests.run_module(command, results, arguments.limit))
    lines = [_line(name, found, time.monotonic() - began)]
    for result in found:
        if "alarm" in result:
            lines += [f"  {truth(result)} alarm: {result['test']}: {result['alarm']}"]
            lines += [
                f"      {quantity}: {growth} over {WINDOWS} times {ROUNDS} rounds"
                for quantity, growth in result["evidence"].items()
            ]
    lines += [f"  skipped {count:>4}: {why}" for why, count in _skips(found).most_common(8)]
    print("\n".join(lines), flush=True)
    return found


def _line(name: str, found: list[Result], seconds: float) -> str:
    alarms = Counter(truth(result) for result in found if "alarm" in result)
    skipped = sum("skipped" in result for result in found)
    further = sum(result.get("rounds", 9) > 9 for result in found)
    return (
        f"{name}: {len(found) - skipped} tests, {skipped} skipped, {further} looked at twice, "
        f"{alarms['false']} false alarms, {alarms['partly']} partly true, {alarms['true']} true, "
        f"{seconds:.0f} s"
    )


def _skips(found: list[Result]) -> Counter[str]:
    return Counter(str(result["skipped"])[:110] for result in found if "skipped" in result)


def main() -> int:
    """Run the modules asked for; return 1 if there were false alarms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    parser.add_argument("--jobs", type=int, default=1, help="modules at once")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one test")
    parser.add_argument("--results", type=Path, default=Path("false-alarms"), help="kept here")
    parser.add_argument("--worker", nargs=2, metavar=("MODULE", "RESULTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, results = arguments.worker
        cpython_tests.work(name, cpython_tests.done_tests(Path(results)), examine)
    found = cpython_tests.run_modules(run, arguments)
    print(_line(f"all, on {platform.python_version()}", found, 0).rpartition(",")[0])
    return int(any("alarm" in result and truth(result) == "false" for result in found))


if __name__ == "__main__":
    sys.exit(main())
