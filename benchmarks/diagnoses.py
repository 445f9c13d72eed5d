"""What reports name of leaks that are known: type, line and holder, yes or no.

    python benchmarks/diagnoses.py [zoo] [real]

Over tests/zoo.py, and over those published leaks of tests/real_leaks that this Python can show,
each with its leaky version freshly installed into a temporary folder. A dash: there is nothing of
the kind to name. Exit status 1: a leak was not found.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
FACTS = ("type", "line", "holder")

Row = tuple[str, dict[str, bool] | None]
"""A leak, and which facts its report names; None: it was not found."""


def zoo() -> Iterator[Row]:
    """Check each leak of the zoo."""
    from test_golden import named, report_on
    from zoo import LEAKS

    for entry in LEAKS:
        if not entry.cannot_run:
            report = report_on(entry)
            yield entry.name, named(entry, report) if report.leaking else None


def real() -> Iterator[Row]:
    """Check the leaky version of each package."""
    from real_leaks import running

    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for case in running.cases():
        if case.python == here:
            with tempfile.TemporaryDirectory() as folder:
                why = running.install(case.package, case.leaky, Path(folder))
                if why:
                    sys.exit(why)
                verdict = running.verdict(case.subject, Path(folder))
            leak = f"{case.package} {case.leaky}"
            yield leak, case.named(verdict["text"]) if verdict["leaking"] else None


PARTS = {"zoo": zoo, "real": real}


def main() -> int:
    """Print a table for each part; return 1 if a leak was not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="both by default")
    parts = parser.parse_args().parts or PARTS
    sys.path.insert(0, str(TESTS))  # before this folder, which has a zoo.py too
    debug = "debug" if hasattr(sys, "gettotalrefcount") else "release"
    print(f"CPython {platform.python_version()}, {debug} build")
    well = True
    for part in parts:
        print(f"\n## {part}\n\n| leak | {' | '.join(FACTS)} |\n|---|---|---|---|", flush=True)
        counts = dict.fromkeys(FACTS, 0)
        wanted = dict.fromkeys(FACTS, 0)
        for leak, facts in PARTS[part]():
            if facts is None:
                well = False
                print(f"| {leak} | not found | | |", flush=True)
                continue
            for fact, right in facts.items():
                counts[fact] += right
                wanted[fact] += 1
            words = {True: "yes", False: "no", None: "-"}
            cells = [words[facts.get(fact)] for fact in FACTS]
            print(f"| {leak} | {' | '.join(cells)} |", flush=True)
        sums = [f"{counts[fact]} of {wanted[fact]}" for fact in FACTS]
        print(f"| **all** | {' | '.join(sums)} |", flush=True)
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
