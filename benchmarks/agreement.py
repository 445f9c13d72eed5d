"""The heap census beside ``sys.gettotalrefcount()``, for every leak and innocent of the zoo.

    .ci/on 3.14-dbg benchmarks/agreement.py

For a debug build. Prints the reference deltas of both where they differ, with the reason if it is
known. Exit status 1: they differ for a reason that is not known.
"""

# ruff: noqa: ANN001  # the zoo's entries are duck-typed

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import platform
import sys
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import itertools

import zoo

ROUNDS = 4

KEY_TABLE = "a dict's key table counts as a reference of its own in the interpreter's total"

REASONS = {
    "untracked_memory_nobody_holds": "no container holds the bytes, so no census can reach them",
    "a_lookup_in_a_defaultdict": "a dict's traversal does not show keys that are all strings",
    "a_class": KEY_TABLE,
    "a_dict": KEY_TABLE,
    "a_thread": KEY_TABLE,
    "an_endless_lru_cache": KEY_TABLE,
    "an_lru_cache_filling": KEY_TABLE,
}
"""Entries that may differ, and why."""


def compare(subject, rounds: int = ROUNDS) -> tuple[list[int], list[int]]:
    """Return the deltas of the census, and those of the interpreter's own total."""
    from refleak._caches import clear_caches
    from refleak._census import census
    from refleak._settle import settle

    counted, total = array("q", bytes(8 * rounds + 8)), array("q", bytes(8 * rounds + 8))
    for number in range(-3 * rounds, rounds + 1):
        subject()
        if number >= -rounds:  # the first readings make what later ones reuse
            clear_caches()
            settle()
            total[max(number, 0)] = sys.gettotalrefcount()
            counted[max(number, 0)] = census().references
    return _deltas(counted), _deltas(total)


def _deltas(levels: array) -> list[int]:
    return [after - before for before, after in itertools.pairwise(levels)]


def compared(entry: zoo.Entry) -> tuple[list[int], list[int]]:
    """Compare on a fresh subject of *entry*."""
    with entry.subject() as subject:
        if not inspect.iscoroutinefunction(subject):
            return compare(subject)
        loop = asyncio.new_event_loop()
        try:
            return compare(lambda: loop.run_until_complete(subject()))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


def main() -> int:
    """Compare; return 1 for a difference without a reason."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries; all by default")
    arguments = parser.parse_args()
    if not hasattr(sys, "gettotalrefcount"):
        print("needs a debug build, which has sys.gettotalrefcount()")
        return 2
    gc.disable()
    entries = [
        entry
        for entry in zoo.ZOO
        if not entry.cannot_run and (not arguments.names or entry.name in arguments.names)
    ]
    differing = unexplained = 0
    for entry in entries:
        counted, total = compared(entry)
        if counted != total:
            differing += 1
            why = REASONS.get(entry.name)
            unexplained += why is None
            why = why or "no reason is known"
            print(f"  {entry.name}: census {counted}, interpreter {total} ({why})", flush=True)
    print(
        f"{platform.python_version()}: {len(entries) - differing} of {len(entries)} agree exactly, "
        f"{unexplained} differ for no known reason"
    )
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())
