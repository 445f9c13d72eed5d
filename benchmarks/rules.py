"""Count what the rules miss and whom they accuse, over levels that are made of numbers.

    python benchmarks/rules.py

Levels that swing (buffers emptied every so many calls, backlogs that fill and drain) and caches
that fill are judged alone and with a leak: of one thing in every call, of one in every fourth, of
six in every second. No code is run and nothing is read: it shows what the rules and the windows can
tell, in a minute. *unseen*: the swing shows in no memory blocks, so that windows do not end at
low points. *cheap*: how many rounds take as long as a reading, which decides how fast windows grow.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import test_rules

from refleak._rules import RULES, LowPoints, Verdict

LENGTH = 9_000
LEAKS = ((1, 1), (1, 4), (6, 2))
"""Things that leak, and in every how many calls."""


class Unseen(LowPoints):
    """Low points of a level that does not show the swing."""

    def note(self, level: int) -> None:
        """Note nothing."""


def buffers(least: int, most: int) -> Iterator[list[int]]:
    """Yield the deltas of buffers that are emptied every so many calls."""
    for period in range(least, most, 7):
        for size in (1, 3, 10):
            first = random.randrange(period)
            yield [
                size - size * period if (number + first) % period == period - 1 else size
                for number in range(LENGTH)
            ]


def backlogs() -> Iterator[list[int]]:
    """Yield the deltas of backlogs that fill, drain, and rest."""
    for length in range(5, 100, 9):
        for pause in (0, 7, 30, 61):
            for size in (1, 3):
                one = [size] * length + [-size] * length + [0] * pause
                first = random.randrange(len(one))
                yield (one * (LENGTH // len(one) + 2))[first : first + LENGTH]


def caches(least: int, most: int) -> Iterator[list[int]]:
    """Yield the deltas of caches that fill."""
    for room in range(least, most, 23):
        for size in (1, 3, 10):
            yield [size] * room + [0] * (LENGTH - room)


def random_keys(least: int, most: int) -> Iterator[list[int]]:
    """Yield the deltas of caches whose keys are asked for at random, so that they fill ever slower.

    The last ones asked for are still missing after some thousand calls.
    """
    for keys in range(least, most, 50):
        for size in (1, 3, 60):
            known: set[int] = set()
            deltas = []
            for _ in range(LENGTH):
                before = len(known)
                known.add(random.randrange(keys))
                deltas.append(size * (len(known) - before))
            yield deltas


def several_caches() -> Iterator[list[int]]:
    """Yield the deltas of four caches of several sizes that fill at once."""
    for _ in range(60):
        rooms = [random.randrange(5, 900) for _ in range(4)]
        yield [
            sum(size * (number < room) for size, room in zip((1, 2, 1, 5), rooms, strict=True))
            for number in range(LENGTH)
        ]


SERIES = {
    "buffers emptied every 5 to 300 calls": (lambda: buffers(5, 300), LowPoints),
    "the same, unseen": (lambda: buffers(5, 300), Unseen),
    "buffers emptied every 300 to 1,000 calls": (lambda: buffers(300, 1000), LowPoints),
    "the same, unseen ": (lambda: buffers(300, 1000), Unseen),
    "backlogs of 5 to 100 calls": (backlogs, LowPoints),
    "caches of 10 to 1,000 entries": (lambda: caches(10, 1000), LowPoints),
    "caches of 1,000 to 1,500 entries": (lambda: caches(1000, 1500), LowPoints),
    "caches of 50 to 400 keys at random": (lambda: random_keys(50, 400), LowPoints),
    "caches of 400 to 1,000 keys at random": (lambda: random_keys(400, 1000), LowPoints),
    "four caches of up to 900 entries": (several_caches, LowPoints),
}


def leaking(deltas: list[int], cheap: int) -> bool:
    """Judge a series as a count, in 2,000 further rounds."""
    return test_rules.verdict_of(deltas, RULES["count"], cheap=cheap) is Verdict.LEAKING


def main() -> None:
    """Print the table."""
    random.seed(1)
    print("| level | cheap | accused | missed beside it |")
    print("|---|---:|---:|---:|")
    for name, (make, low_points) in SERIES.items():
        test_rules.LowPoints = low_points
        for cheap in (0, 25, 2000):
            alone = list(make())
            leaks = [
                [delta + size * (number % every == 0) for number, delta in enumerate(deltas)]
                for deltas in alone
                for size, every in LEAKS
            ]
            accused = sum(leaking(deltas, cheap) for deltas in alone)
            missed = sum(not leaking(deltas, cheap) for deltas in leaks)
            row = f"{accused} of {len(alone)} | {missed} of {len(leaks)}"
            print(f"| {name.strip()} | {cheap:,} | {row} |", flush=True)


if __name__ == "__main__":
    main()
