"""Count missed leaks: tests of the interpreter's own, each with a leak of the zoo put in.

    python benchmarks/missed_leaks.py --tests 200

Each test is run three times under ``find_leaks`` as it comes, leaking on every call, on every 2nd
and on every 4th. A leak is found if all the quantities that the zoo names for it are. Exit status
1: leaks were missed.
"""

# ruff: noqa: ARG002  # unittest's signature

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
import unittest
from collections.abc import Callable
from pathlib import Path

import cpython_tests
from cpython_tests import Result

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from zoo import LEAKS, Entry

PERIODS = (1, 2, 4)

MODULES = [
    "test_bisect",
    "test_textwrap",
    "test_enum",
    "test_dataclasses",
    "test_re",
    "test_collections",
    "test_functools",
    "test_json",
    "test_typing",
    "test_weakref",
    "test_contextlib",
    "test_datetime",
    "test_csv",
    "test_string",
    "test_set",
    "test_dict",
    "test_list",
    "test_generators",
    "test_copy",
    "test_pickle",
    "test_heapq",
    "test_itertools",
    "test_inspect",
    "test_logging",
    "test_decimal",
    "test_configparser",
]

USABLE = [entry for entry in LEAKS if not entry.needs_loop and entry.period == 1]


class Injector:
    """Puts another leak of the zoo into each test."""

    def __init__(self, first: int) -> None:
        self._number = first

    def __call__(self, test: unittest.TestCase, subject: Callable[[], None]) -> Result:
        """Judge a test once for each period; say what was missed."""
        entry = self._next()
        missed = {}
        for period in PERIODS:
            found = judged(entry, subject, period)
            if not entry.quantities <= found:
                missed[str(period)] = sorted(found)
        return {"leak": entry.name, "wanted": sorted(entry.quantities), "missed": missed}

    def _next(self) -> Entry:
        self._number += 1
        return USABLE[self._number % len(USABLE)]


def judged(entry: Entry, subject: Callable[[], None], period: int) -> set[str]:
    """Return the quantities that leak when *subject* leaks on every so-manyth call."""
    from refleak import find_leaks

    turns = itertools.cycle([*[False] * (period - 1), True])
    with entry.subject() as leak:

        def leaking() -> None:
            subject()
            if next(turns):
                leak()

        return {finding.quantity for finding in find_leaks(leaking).findings}


def run(name: str, arguments: argparse.Namespace) -> list[Result]:
    """Run one module's share of the tests and tell about it."""
    began = time.monotonic()
    results = arguments.results / f"{platform.python_version()}-{name}.jsonl"
    command = [sys.executable, __file__, "--worker", name, str(arguments.share)]
    found = list(cpython_tests.run_module(command, results, arguments.limit))
    skipped = sum("skipped" in result for result in found)
    missed = [result for result in found if result.get("missed")]
    lines = [
        (
            f"{name}: {len(found) - skipped} tests, {skipped} skipped, "
            f"{sum(len(result['missed']) for result in missed)} leaks missed, "
            f"{time.monotonic() - began:.0f} s"
        )
    ]
    for result in missed:
        for period, quantities in result["missed"].items():
            lines.append(
                f"  missed: {result['leak']} on every {period} in {result['test']}: "
                f"wanted {', '.join(result['wanted'])}, found {', '.join(quantities) or 'nothing'}"
            )
    lines += [f"  skipped: {r['test']}: {r['skipped']}" for r in found if "skipped" in r]
    print("\n".join(lines), flush=True)
    return found


def work(name: str, share: str, results: str) -> None:
    """Examine a module's share; each module begins with another leak."""
    done = cpython_tests.done_tests(Path(results))
    first = MODULES.index(name) * int(share) if name in MODULES else 0
    cpython_tests.work(name, done, Injector(first + len(done)), int(share))


def main() -> int:
    """Run; return 1 if leaks were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=MODULES)
    parser.add_argument("--tests", type=int, default=200, help="in all, evenly spread")
    parser.add_argument("--jobs", type=int, default=1, help="modules at once")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one test")
    parser.add_argument("--results", type=Path, default=Path("missed-leaks"), help="kept here")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker)
    arguments.share = -(-arguments.tests // len(arguments.modules)) + 2  # some cannot be run
    found = cpython_tests.run_modules(run, arguments)
    judged_tests = [result for result in found if "skipped" not in result]
    missed = sum(len(result["missed"]) for result in judged_tests)
    print(
        f"all, on {platform.python_version()}: {len(judged_tests)} tests, "
        f"{len(judged_tests) * len(PERIODS)} leaks put in, {missed} missed"
    )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
