"""Repeat the zoo, and count wrong verdicts.

    python benchmarks/zoo.py --times 50

Every leak and innocent of tests/zoo.py is judged by ``find_leaks`` at default settings, so many
times, in an order that is shuffled anew each time. A verdict is wrong if a leak is missed, or shows
in other quantities than it should, or if an innocent is accused. Exit status 1: there was one.
"""

# ruff: noqa: ANN001, ANN201, E501  # the zoo's entries are duck-typed

from __future__ import annotations

import argparse
import importlib.util
import platform
import random
import sys
import time
from pathlib import Path


def load_zoo():
    """Import tests/zoo.py, whose name is also this file's."""
    folder = Path(__file__).parent.parent / "tests"
    spec = importlib.util.spec_from_file_location("refleak_zoo", folder / "zoo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["refleak_zoo"] = module
    spec.loader.exec_module(module)
    return module


def wrong(entry) -> str | None:
    """Judge an entry; return None, or what is wrong with the verdict."""
    from refleak import find_leaks

    with entry.subject() as subject:
        report = find_leaks(subject)
    found = {finding.quantity for finding in report.findings}
    if entry.leaks and not entry.quantities <= found:
        return f"missed {', '.join(sorted(entry.quantities - found))}: {report.summary()} {report.notes}"
    if not entry.leaks and found:
        return f"accused: {report.summary()}"
    return None


def main() -> int:
    """Run; return 1 if a verdict was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries; all by default")
    parser.add_argument("--times", type=int, default=50)
    arguments = parser.parse_args()
    entries = [
        entry
        for entry in load_zoo().ZOO
        if not entry.cannot_run and (not arguments.names or entry.name in arguments.names)
    ]
    verdicts = mistakes = 0
    began = time.monotonic()
    for number in range(1, arguments.times + 1):
        for entry in random.sample(entries, len(entries)):
            verdicts += 1
            why = wrong(entry)
            if why:
                mistakes += 1
                print(f"  wrong, time {number}: {entry.name}: {why}", flush=True)
        print(
            f"time {number} of {arguments.times}: {mistakes} wrong of {verdicts}, "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
    print(f"{platform.python_version()}: {mistakes} wrong of {verdicts} verdicts")
    return int(mistakes > 0)


if __name__ == "__main__":
    sys.exit(main())
