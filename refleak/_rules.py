"""Decide from numbers alone: pure functions over deltas and windows.

CPython's rule ("every delta >= 1", regrtest's ``-R``) calls a filling cache a leak and misses a
leak that skips a round. Here growth over the measured rounds only makes a quantity *suspicious*;
then more rounds are run, in windows that double, and the verdict is about those.

The guarantee: a leak that happens at least once in every ``run`` calls is found, since then every
window, being a multiple of ``run`` rounds long, shows growth.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple


class Verdict(enum.Enum):
    """What the numbers say of one quantity."""

    CLEAN = "clean"
    SUSPICIOUS = "suspicious"
    LEAKING = "leaking"


class Window(NamedTuple):
    """Growth of a quantity over a number of consecutive rounds, read at both ends."""

    rounds: int
    growth: float

    @property
    def rate(self) -> float:
        """Growth per round."""
        return self.growth / self.rounds


class Rule(NamedTuple):
    """How much evidence one kind of quantity needs to be called leaking.

    ``windows``: so many windows in a row must have grown at a steady rate. ``enough``: after so many
    rounds no more are needed (None: use all rounds that the bounds allow, since caches settle
    late). ``steady``: how far the rate of one window may fall below the one before; 0.5 bears
    a leak in every 4th call and still tells a cache that fills ever more slowly.
    ``exact``: the rate may not rise by more than that either.
    """

    windows: int
    enough: int | None
    steady: float
    exact: bool = False


RULES = {
    # Counts are exact; the slowest known caches (re, SQLAlchemy, aiohttp) settle within 600 calls.
    "count": Rule(windows=2, enough=None, steady=0.5),
    # malloc's bytes wander by 20-250 a round for ever; a leak of as little is steady.
    "bytes": Rule(windows=3, enough=None, steady=0.85, exact=True),
    # Hundreds of leaked descriptors or threads would harm the process; pools stop below 50.
    "resource": Rule(windows=3, enough=56, steady=0.7),
}
"""The rules by name, as :class:`refleak.Probe` names them."""

MAX_DROP = 2
"""Noise beyond this is not allowed for when growth is looked for in short windows."""


def rising(deltas: Sequence[float]) -> bool:
    """Tell whether a series of deltas ends above its lowest level.

    Not merely whether its sum is positive: something that is released once, such as a thread of
    the warm-up that ends, would hide a leak (``[-5, 1, 1, 1]``).
    """
    levels = [0, *accumulate(deltas)]
    return levels[-1] > min(levels)


def drop(growths: Sequence[float]) -> float:
    """Return the largest fall in a series of growths: how noisy it is."""
    return max(0, -min(growths, default=0))


def steady(windows: Sequence[Window], rule: Rule) -> bool:
    """Tell whether the last windows grew, each at about the rate of the one before."""
    recent = windows[-rule.windows :]
    if len(recent) < rule.windows or any(window.growth <= 0 for window in recent):
        return False
    return all(
        before.rate * rule.steady <= after.rate
        and (not rule.exact or after.rate * rule.steady <= before.rate)
        for before, after in zip(recent, recent[1:])
    )


def judge(
    windows: Sequence[Window], rule: Rule, *, run: int, noise: float = 0, exhausted: bool = False
) -> Verdict:
    """Judge one quantity by its windows, the first of which is ``run`` rounds long.

    *noise* is how far it was seen to fall within the first. *exhausted* says that no further
    rounds can be had. SUSPICIOUS means "look further" before that, and "it grew, but not as a leak
    does" after.
    """
    if settled_at(windows, run=run, noise=noise) is not None:
        return Verdict.CLEAN
    rounds = sum(window.rounds for window in windows)
    if (exhausted or (rule.enough is not None and rounds >= rule.enough)) and steady(windows, rule):
        return Verdict.LEAKING
    return Verdict.SUSPICIOUS


def settled_at(windows: Sequence[Window], *, run: int, noise: float = 0) -> int | None:
    """Return the number of the first window in which growth had stopped, or None."""
    for number, window in enumerate(windows):
        noise = max(noise, -window.growth)
        # A leak could hide behind as large a fall, so the window must be too long for that.
        if window.growth <= 0 and window.rounds > 2 * min(noise, MAX_DROP) * run:
            return number
    return None
