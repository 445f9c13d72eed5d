"""Decide from numbers alone: pure functions over deltas and windows.

CPython's rule ("every delta >= 1", regrtest's ``-R``) calls a filling cache a leak and misses a
leak that skips a round. Here growth over the measured rounds only makes a quantity *suspicious*;
then more rounds are run, in windows that become longer, and the verdict is about those.

The guarantee: a leak that happens at least once in every ``run`` calls is found, since then every
window of that many rounds, or a multiple, shows growth. Turned round, a window in which less grew
than that shows that growth has stopped, if it is long enough for the noise.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Verdict(enum.Enum):
    """What the numbers say of one quantity."""

    CLEAN = "clean"
    SUSPICIOUS = "suspicious"
    LEAKING = "leaking"


class Window(NamedTuple):
    """Growth of a quantity over a number of consecutive rounds, read at both ends.

    ``even``: both ends can be compared, since nothing fell in between, or just before each.
    ``low``: something fell just before each.
    """

    rounds: int
    growth: float
    even: bool = True
    low: bool = False

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
    ``exact``: the rate may not rise by more than that either, and the last window may not be longer
    than the one before: tables grow with what piles up in a window, such as classes that wait for
    the collector, and keep that size, which looks like a leak as long as windows double.
    ``every``: only what happens at least once in every ``run`` calls is a leak, not what is rarer.
    ``least``: the smallest thing that can leak. ``grain``: in steps of how many such things the
    quantity may move. ``harms``: a leak of it ends all rounds, since more of it would harm the
    process. ``alone``: so many rounds are enough when no other quantity is in doubt (0: all that
    the bounds allow).
    """

    windows: int
    enough: int | None
    steady: float
    exact: bool = False
    every: bool = False
    least: float = 1
    grain: int = 1
    harms: bool = False
    alone: int = 0

    def tolerant(self) -> Rule:
        """Return the rule for growth beyond what is tolerated, which may be a part of one thing."""
        return self._replace(least=self.least / 10)

    def certain(self) -> Rule:
        """Return the rule that calls nothing leaking that a cache filling up might look like."""
        return self._replace(steady=max(self.steady, CERTAIN))


CERTAIN = 0.8
"""How steady growth is that need not be looked at for longer."""


RULES = {
    # Counts are exact; what fills caches does not stop before they are full.
    "count": Rule(windows=2, enough=None, steady=0.5),
    # 3.10 makes one for each function at its 1,024th call, which goes on for hundreds of calls.
    "blocks": Rule(windows=2, enough=None, steady=0.5, every=True),
    # What grows in malloc alone, with no object that grows along, is no known cache. malloc's
    # smallest chunks come from larger ones at first, so that 32 bytes a call begin as 44.
    "bytes": Rule(windows=3, enough=None, steady=0.6, exact=True, least=16, grain=4, alone=60),
    # Hundreds of leaked descriptors or threads would harm the process; pools stop below 50.
    "resource": Rule(windows=3, enough=60, steady=0.7, harms=True, alone=60),
}
"""The rules by name, as :class:`refleak.Probe` names them."""

ALIKE = 1.25
"""Windows are as good as equally long up to this ratio."""

STRAYS = 2
"""Things by which a window's growth may be too small where no fall was seen: one at either end."""

MAX_NOISE = 8
"""Noise beyond so many of a rule's least things is not allowed for."""


def rising(deltas: Sequence[float]) -> bool:
    """Tell whether anything grew in a series of deltas.

    Not whether its sum is positive: what is released once, such as a thread of the warm-up that
    ends, would hide a leak (``[-5, 1, 1, 1]``, ``[0, 1, 0, -5]``).
    """
    return any(delta > 0 for delta in deltas)


MOST_LONGER = 16
"""How many times as long as the one before a window may be, from which its cost is estimated."""


SHORTER = 0.8
"""How long each of the last windows is, as a share of the one before. Were they equally long, a
buffer that is emptied regularly could grow by the same in each."""

MOST_COMPARED = max(rule.windows for rule in RULES.values())
"""Windows between low points that are worth many short ones."""

LAST = 4
"""Windows that share what is left at the end, or after a change; after a further one it is two."""

LONG = 128
"""Windows of so many rounds tell a leak from what swings; shorter, equal ones from steps."""


def next_window(
    lengths: Sequence[int],
    left: int,
    *,
    low: bool = False,
    compared: int = 0,
    alone: int = 0,
    cheap: float = 0,
    changed: bool = False,
) -> int:
    """Return how many rounds follow windows of these *lengths* when *left* more can be had.

    Twice as many as before, or as many as are *cheap*: as take no longer than one reading. But the
    last windows are about as long as the one before, since a cache that was still filling before
    them then differs most from a leak. After one that ended at a *low* point rounds are left for
    others, since each may be twice as long, until enough were *compared*: those that began low as
    well. 0 when too few are left to add to the verdict.

    If too few are left for that, since rounds took longer than expected, a short window more is
    worth it.

    alone: all that is in doubt may end after so many rounds, or after a later window that was no
    longer than the one before.
    changed: growth changed in the last window, as when a cache is full: what is left must show by
    itself whether anything leaks.
    """
    last, done = lengths[-1], sum(lengths)
    ratio = 1.0 if alone and last < LONG else SHORTER
    if low and not alone and left < 6 * last:
        if compared >= MOST_COMPARED:
            return last if left >= 2 * last else 0
        return min(last, left // (2 if compared else 3)) if left >= last / 2 else 0
    after_change = share(left, LAST if last == max(lengths) else 2, SHORTER)
    if changed and LONG <= after_change < last:
        return after_change
    if alone and (done < alone or lengthened(lengths)):
        left = min(left, max(int(ratio * last), alone - done))
    if left >= 3 * last:
        longer = 2 * last if alone else max(2 * last, min(MOST_LONGER * last, int(cheap)))
        return min(longer, share(left, LAST if ratio < 1 else 3, ratio))
    if left < last / 2:
        return max(lengths[0], last // 4) if lengthened(lengths) else 0
    return share(left, 2, ratio) if left >= ALIKE * last else left


def share(left: int, windows: int, ratio: float) -> int:
    """Return how long the first window is, if so many, each shorter by a ratio, fill the *left*."""
    return int(left / sum(ratio**number for number in range(windows)))


def changed(windows: Sequence[Window], rule: Rule) -> bool:
    """Tell whether a quantity grew at another rate in the last window than in the one before."""
    before, after = windows[-2:] if len(windows) > 1 else (windows[-1], windows[-1])
    expected = before.rate * after.rounds
    slack = MAX_NOISE * rule.least
    return not CERTAIN * expected - slack <= after.growth <= expected / CERTAIN + slack


def lengthened(lengths: Sequence[int]) -> bool:
    """Tell whether the last window is longer than the one before."""
    return len(lengths) > 1 and lengths[-1] > ALIKE * lengths[-2]


def drop(growths: Sequence[float]) -> float:
    """Return the largest fall in a series of growths: how noisy it is."""
    return max(0, -min(growths, default=0))


def judge(
    windows: Sequence[Window],
    rule: Rule,
    *,
    run: int,
    deltas: Sequence[float] = (),
    since: int = 0,
    exhausted: bool = False,
) -> Verdict:
    """Judge one quantity by its windows, the first of which is ``run`` rounds long.

    *deltas* are what that first one is made of. Windows before number *since* are no evidence.
    *exhausted* says that no further rounds can be had. SUSPICIOUS means "look further" before that,
    and "it grew, but not as a leak does" after.
    """
    if since:
        windows, deltas = windows[since:], ()
    if settled_at(windows, rule, run=run, deltas=deltas) is not None:
        return Verdict.CLEAN
    rounds = sum(window.rounds for window in windows)
    noise = _noise(windows, rule, deltas)
    if exhausted or (rule.enough is not None and rounds >= rule.enough):
        recent = decisive(windows, rule.windows)
        comparable = not rule.exact or not lengthened([window.rounds for window in recent])
        if len(recent) < rule.windows and since:
            return Verdict.SUSPICIOUS
        if len(recent) < rule.windows and rule.exact:
            recent = [*(Window(1, delta) for delta in deltas), *windows[1:]][-rule.windows :]
        level = rule.exact
        if not rule.exact and _slowed(windows, recent[-1].rate / rule.steady):
            rule, level = rule._replace(every=True), True
        if (
            comparable
            and steady(recent, rule, level=level)
            and not _less_at_the_end(windows, recent, rule)
            and not (level and not rule.exact and _fills_at_random(windows, recent))
            and all(_grew(window, rule, run, noise) for window in recent)
            and _lasted(windows, deltas, recent, rule)
        ):
            return Verdict.LEAKING
        if rule.exact and _has_floor(windows, deltas, rule, run=run, noise=noise):
            return Verdict.LEAKING
    if (
        exhausted
        and windows[-1].even
        and windows[-1].growth <= 0
        and noise < MAX_NOISE * rule.least
    ):
        return Verdict.CLEAN
    return Verdict.SUSPICIOUS


def steady(windows: Sequence[Window], rule: Rule, *, level: bool) -> bool:
    """Tell whether all windows grew, each at about the rate of the one before.

    level: it may not have risen either.
    """
    return all(window.growth > 0 for window in windows) and all(
        before.rate * rule.steady <= after.rate
        and (not level or after.rate * rule.steady <= before.rate)
        for before, after in pairwise(windows)
    )


def _slowed(windows: Sequence[Window], rate: float) -> bool:
    """Tell whether a window, but for the first, grew faster than that.

    What grows more slowly later may be a buffer that is filled and emptied: only what happens at
    least once in every ``run`` calls can be told from it.
    """
    return any(window.rate > rate for window in windows[1:])


def _grew(window: Window, rule: Rule, run: int, noise: float) -> bool:
    """Tell whether a window grew by more than noise, and not merely once or twice."""
    strays = max(noise, STRAYS * rule.least)
    if rule.every and window.growth + strays < window.rounds // run * rule.least:
        return False
    return window.growth > noise and (
        2 * window.growth >= min(window.rounds / run, MAX_NOISE) * rule.least
    )


def decisive(windows: Sequence[Window], count: int) -> Sequence[Window]:
    """Return the last windows; without those at the end that were cut off between low points."""
    end = _comparable(windows)
    before = windows[max(0, end - count) : end]
    if len(before) == count and all(window.even for window in before):
        return before
    return windows[-count:]


def _comparable(windows: Sequence[Window]) -> int:
    """Return how many windows there are up to the last one between low points, or else even."""
    numbered = list(enumerate(windows, 1))
    low = max((number for number, window in numbered if window.low), default=0)
    return low or max((number for number, window in numbered if window.even), default=0)


def _less_at_the_end(windows: Sequence[Window], recent: Sequence[Window], rule: Rule) -> bool:
    """Tell whether last windows that are no decisive ones show less growth than a leak would.

    They began where an even one ended, low, so that in the end there is at least what leaked.
    """
    if recent[-1] is windows[-1]:
        return False
    after = windows[_comparable(windows) :]
    expected = recent[-1].rate * sum(window.rounds for window in after) * rule.steady
    return sum(window.growth for window in after) + MAX_NOISE * rule.least < expected


def _fills_at_random(windows: Sequence[Window], recent: Sequence[Window]) -> bool:
    """Tell whether growth becomes slower by and by, as where keys are asked for at random.

    A cache that is full slows it down once, and in the window after the one in which that was;
    what leaks beside several caches is left at one rate in the last windows.
    """
    end = list(windows).index(recent[-1]) + 1
    long = [window for window in windows[:end] if window.rounds >= LONG]
    falls = [after.rate < CERTAIN * before.rate for before, after in pairwise(long)]
    return sum(falls) > 2 and any(falls[-2:])


def _lasted(
    windows: Sequence[Window], deltas: Sequence[float], recent: Sequence[Window], rule: Rule
) -> bool:
    """Tell whether the last growth went on since it began, and is more than was ever released.

    What leaks does so in every window; a single release may hide it in one. A buffer emptied
    every some hundred calls grows as fast now and then, and not at all in between. Where the last
    windows lie between low points, only others that do are compared with them.
    """
    if all(window.low for window in recent):
        windows, deltas = [window for window in windows if window.low], ()
    rate, noise = recent[-1].rate * rule.steady, MAX_NOISE * rule.least
    gaps, begun = 0, False
    for window in windows:
        gaps += begun and window.growth + noise < rate * window.rounds
        begun = begun or window.rate >= rate
    fall = drop([*deltas, *(window.growth for window in windows)])
    return gaps <= 1 and sum(window.growth for window in recent) > fall


def _has_floor(
    windows: Sequence[Window], deltas: Sequence[float], rule: Rule, *, run: int, noise: float
) -> bool:
    """Tell whether growth never fell below one rate, to which enough windows came down.

    Tables that grow with what piles up in a window come on top of what leaks, now and then: most
    in windows longer than the one before, which are no evidence. What leaks is in all of them. It
    must be more than was released before, else it may be a buffer that fills again.
    """
    since = max((number for number, window in enumerate(windows) if window.growth <= 0), default=0)
    after = windows[since + 1 :]
    floor = min((window.rate for window in after), default=0)
    down = [
        window
        for before, window in pairwise(windows[since:])
        if window.rounds <= ALIKE * before.rounds and window.rate * CERTAIN <= floor
    ]
    fall = drop([*deltas, *(window.growth for window in windows)])
    return (
        len(down) >= rule.windows
        and sum(window.rounds for window in down) >= 2 * LONG
        and all(_grew(window, rule, run, noise) for window in after)
        and floor * sum(window.rounds for window in after) > 2 * fall
    )


def _noise(windows: Sequence[Window], rule: Rule, deltas: Sequence[float]) -> float:
    """Return by how much a quantity was seen to fall, as far as that is allowed for."""
    return min(drop([*deltas, *(window.growth for window in windows)]), MAX_NOISE * rule.least)


def settled_at(
    windows: Sequence[Window], rule: Rule, *, run: int, deltas: Sequence[float] = ()
) -> int | None:
    """Return the number of the first window in which growth had stopped, or None."""
    calm_before, stopped = True, False
    for number, window in enumerate(windows):
        noise = _noise(windows[:number], rule, deltas)
        leaked = window.rounds // run * rule.least
        slack = max(rule.grain * rule.least, 2 * noise)
        # The level may be higher at the window's start than without noise, and lower at its end.
        # A fall may be a release that hides a leak, and so may a sudden stop in a short window.
        # Tables are made smaller in steps, so that bytes may fall in two short windows in a row.
        falls = window.growth < -slack
        lasting = stopped and (not rule.exact or window.rounds >= LONG)
        plain = calm_before or leaked >= 2 * MAX_NOISE * rule.least
        stopped = window.even and window.growth <= noise and window.growth + slack < leaked
        if stopped and plain and (not falls or lasting):
            return number
        calm_before = window.growth < max(leaked, noise)
    return None


class LowPoints:
    """Where windows should end, by a level read after every round: each time where it is low.

    A buffer that is emptied every 50 calls makes a sawtooth. Between two of its low points, the
    levels of all quantities can be compared; between other points they say more about the buffer
    than about a leak. (Numbers are kept in an array, for the reason given in _readings.)
    """

    def __init__(self) -> None:
        self._level = array("q", [0])
        self._largest = array("q", [0])  # the largest fall of this window
        self._low = array("b", [0, 0])  # whether the window began, and the last round ended, low

    def begin(self) -> None:
        """Begin a window where the last one ended."""
        self._largest[0] = 0
        self._low[0] = self._low[1]

    def resume(self, level: int) -> None:
        """Note the level before a round that follows a reading."""
        self._level[0] = level

    def note(self, level: int) -> None:
        """Note the level after a round."""
        fall = self._level[0] - level
        self._level[0] = level
        self._largest[0] = max(self._largest[0], fall)
        self._low[1] = fall > MAX_NOISE and 2 * fall >= self._largest[0]

    def more(self, done: int, wanted: int, most: int) -> bool:
        """Tell whether a window in which *done* rounds were run shall have one more.

        Beyond the rounds *wanted* it waits for a low point, but for as many more at the most: what
        falls less often than that is waited for by the next window, which is longer.
        """
        if done < wanted:
            return True
        falls = self._largest[0] > MAX_NOISE
        return falls and not self._low[1] and done < min(2 * wanted, most)

    def found(self) -> bool:
        """Tell whether the last round ended at a low point."""
        return bool(self._low[1])

    def both(self) -> bool:
        """Tell whether the window began and ended low."""
        return bool(self._low[0] and self._low[1])

    def even(self) -> bool:
        """Tell whether the window's ends can be compared."""
        return self._largest[0] <= MAX_NOISE or self.both()
