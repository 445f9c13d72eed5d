"""Decide from numbers alone: pure functions over deltas and windows.

CPython's rule ("every delta >= 1", regrtest's ``-R``) calls a filling cache a leak and misses a
leak that skips a round. Here growth over the measured rounds only makes a quantity *suspicious*;
then more rounds are run, in windows that double, and the verdict is about those.

The guarantee: a leak that happens at least once in every ``run`` calls is found, since then every
window of that many rounds, or a multiple, shows growth. Turned round, a window in which less grew
than that shows that growth has stopped, if it is long enough for the noise.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import pairwise
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

    ``windows``: so many windows in a row must have grown at a steady rate. ``enough``: after so
    many rounds no more are needed (None: use all rounds that the bounds allow, since caches settle
    late). ``steady``: how far the rate of one window may fall below the one before; 0.5 bears
    a leak in every 4th call and still tells a cache that fills ever more slowly.
    ``exact``: the rate may not rise by more than that either. ``least``: the smallest thing that
    can leak. ``grain``: in steps of how many such things the quantity may move. ``harms``: a leak
    of it ends all rounds, since more of it would harm the process. ``alone``: so many rounds are
    enough when no other quantity is in doubt.
    """

    windows: int
    enough: int | None
    steady: float
    exact: bool = False
    least: float = 1
    grain: int = 1
    harms: bool = False
    alone: int | None = None

    def tolerant(self) -> Rule:
        """Return the rule for growth beyond what is tolerated, which may be a part of one thing."""
        return self._replace(least=self.least / 10)


RULES = {
    # Counts are exact; the slowest known caches (re, SQLAlchemy, aiohttp) settle within 600 calls.
    "count": Rule(windows=2, enough=None, steady=0.5),
    # What grows in malloc alone, with no object that grows along, is no known cache. malloc's
    # smallest chunks come from larger ones at first, so that 32 bytes a call begin as 44.
    "bytes": Rule(windows=3, enough=None, steady=0.6, exact=True, least=16, grain=4, alone=56),
    # Hundreds of leaked descriptors or threads would harm the process; pools stop below 50.
    "resource": Rule(windows=3, enough=56, steady=0.7, harms=True),
}
"""The rules by name, as :class:`refleak.Probe` names them."""

MAX_NOISE = 8
"""Noise beyond so many of a rule's least things is not allowed for."""


def rising(deltas: Sequence[float]) -> bool:
    """Tell whether anything grew in a series of deltas.

    Not whether its sum is positive: what is released once, such as a thread of the warm-up that
    ends, would hide a leak (``[-5, 1, 1, 1]``, ``[0, 1, 0, -5]``).
    """
    return any(delta > 0 for delta in deltas)


def next_window(last: int, left: int) -> int:
    """Return how many rounds follow a window of *last* rounds when *left* more can be had.

    Twice as many; but the last two windows are equally long, since a cache that was still filling
    before them then differs most from a leak. 0 when too few are left to add to the verdict.
    """
    if left >= 3 * last:
        return 2 * last
    if left < last / 2:
        return 0
    return left // 2 if left >= 1.5 * last else left


def drop(growths: Sequence[float]) -> float:
    """Return the largest fall in a series of growths: how noisy it is."""
    return max(0, -min(growths, default=0))


def judge(
    windows: Sequence[Window],
    rule: Rule,
    *,
    run: int,
    deltas: Sequence[float] = (),
    exhausted: bool = False,
) -> Verdict:
    """Judge one quantity by its windows, the first of which is ``run`` rounds long.

    *deltas* are what that first one is made of. *exhausted* says that no further
    rounds can be had. SUSPICIOUS means "look further" before that, and "it grew, but not as a leak
    does" after.
    """
    if settled_at(windows, rule, run=run, deltas=deltas) is not None:
        return Verdict.CLEAN
    rounds = sum(window.rounds for window in windows)
    noise = _noise(windows, rule, deltas)
    if exhausted or (rule.enough is not None and rounds >= rule.enough):
        recent = windows[-rule.windows :]
        if len(recent) < rule.windows and rule.exact:
            recent = [*(Window(1, delta) for delta in deltas), *windows[1:]][-rule.windows :]
        if steady(recent, rule) and all(_grew(window, rule, run, noise) for window in recent):
            return Verdict.LEAKING
    if exhausted and windows[-1].growth <= 0 and noise < MAX_NOISE * rule.least:
        return Verdict.CLEAN
    return Verdict.SUSPICIOUS


def steady(windows: Sequence[Window], rule: Rule) -> bool:
    """Tell whether all windows grew, each at about the rate of the one before."""
    return all(window.growth > 0 for window in windows) and all(
        before.rate * rule.steady <= after.rate
        and (not rule.exact or after.rate * rule.steady <= before.rate)
        for before, after in pairwise(windows)
    )


def _grew(window: Window, rule: Rule, run: int, noise: float) -> bool:
    """Tell whether a window grew by more than noise, and not merely once or twice."""
    return window.growth > noise and (
        2 * window.growth >= min(window.rounds / run, MAX_NOISE) * rule.least
    )


def _noise(windows: Sequence[Window], rule: Rule, deltas: Sequence[float]) -> float:
    """Return by how much a quantity was seen to fall, as far as that is allowed for."""
    return min(drop([*deltas, *(window.growth for window in windows)]), MAX_NOISE * rule.least)


def settled_at(
    windows: Sequence[Window], rule: Rule, *, run: int, deltas: Sequence[float] = ()
) -> int | None:
    """Return the number of the first window in which growth had stopped, or None."""
    calm_before = True
    for number, window in enumerate(windows):
        noise = _noise(windows[:number], rule, deltas)
        leaked = window.rounds // run * rule.least
        slack = max(rule.grain * rule.least, 2 * noise)
        # The level may be higher at the window's start than without noise, and lower at its end.
        # In a short window it may be a release that hides a leak: a fall, or a sudden stop.
        plain = calm_before and window.growth >= -slack
        stopped = window.growth <= noise and window.growth + slack < leaked
        if stopped and (plain or leaked >= 2 * MAX_NOISE * rule.least):
            return number
        calm_before = window.growth < max(leaked, noise)
    return None
