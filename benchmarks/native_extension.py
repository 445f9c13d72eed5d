"""Repeat the checks of the C extension in tests/native, and count wrong verdicts.

    python benchmarks/native_extension.py --times 50

Each of its functions loses a resource on request, on success and on the error path, beside a
correct twin. Each is judged by ``find_leaks`` so many times, in an order that is shuffled anew each
time, at default settings but for the diagnosis, which adds nothing to the verdict. A verdict is
wrong if the leak does not show in its quantity, or if the twin is accused. Exit status 1: there was
one.
"""

# ruff: noqa: ANN001

from __future__ import annotations

import argparse
import platform
import random
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from native import building, lost


def wrong(extension, name, leak, fail) -> str | None:
    """Judge a function; return None, or what is wrong with the verdict."""
    from refleak import find_leaks

    report = find_leaks(
        lost.calling(getattr(extension, name), leak=leak, fail=fail), diagnose=False
    )
    found = {finding.quantity for finding in report.findings}
    if leak and lost.QUANTITIES[name] not in found:
        return f"missed: {report.summary()} {report.notes}"
    if not leak and found:
        return f"accused: {report.summary()}"
    return None


def main() -> int:
    """Run; return 1 if a verdict was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="functions; all by default")
    parser.add_argument("--times", type=int, default=50)
    arguments = parser.parse_args()
    reason = building.cannot_build()
    if reason is not None:
        print(f"cannot run: {reason}")
        return 1
    names = arguments.names or list(lost.QUANTITIES)
    cases = list(product(names, (True, False), (True, False)))
    verdicts = mistakes = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        extension = building.build(Path(folder))
        for number in range(1, arguments.times + 1):
            for name, leak, fail in random.sample(cases, len(cases)):
                verdicts += 1
                why = wrong(extension, name, leak, fail)
                if why:
                    mistakes += 1
                    path = "error path" if fail else "success"
                    print(f"  wrong, time {number}: {name}, {path}: {why}", flush=True)
            print(
                f"time {number} of {arguments.times}: {mistakes} wrong of {verdicts}, "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
    print(f"{platform.python_version()}: {mistakes} wrong of {verdicts} verdicts")
    return int(mistakes > 0)


if __name__ == "__main__":
    sys.exit(main())
