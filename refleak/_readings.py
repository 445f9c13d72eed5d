"""Preallocated columns of raw numbers.

A reading must not allocate what outlives a round: an int kept in a list per reading makes an
innocent function leak one or two memory blocks a round. A preallocated array keeps exactly none,
so deltas and value objects are built only after the last round.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from refleak import _census
from refleak._rules import Window
from refleak.probes import HEAP_PASS, LARGEST, Probe, level_of


def column(rows: int) -> array[int]:
    """Return a column of *rows* zeros."""
    return array("q", bytes(8 * rows))


def _difference(after: int, before: int) -> int:
    """Return a change of a level that is kept modulo :data:`LARGEST`, which may be negative."""
    return (after - before + LARGEST // 2) % LARGEST - LARGEST // 2


class Series:
    """Readings of some probes at the ends of consecutive rounds."""

    def __init__(
        self,
        probes: Sequence[Probe],
        rows: int,
        *,
        heap: Callable[[], _census.Census | _census.Drift] = _census.census,
    ) -> None:
        self._columns = [(column(rows), probe) for probe in probes]
        self._heap = heap
        self._rows = column(1)  # an int attribute would allocate once it passes 256

    def read(self) -> None:
        """Read every probe once."""
        with HEAP_PASS.shared(self._heap):
            for values, probe in self._columns:
                values[self._rows[0]] = level_of(probe)
        self._rows[0] += 1

    @property
    def last(self) -> int:
        """The number of the last reading, from 0."""
        return self._rows[0] - 1

    def rose(self) -> bool:
        """Tell whether anything was higher at the last reading than at the one before."""
        last = self.last
        return last > 0 and any(
            _difference(values[last], values[last - 1]) > 0 for values, _ in self._columns
        )

    def change(self, since: int, until: int) -> dict[str, int]:
        """Return each quantity's change from one reading to another, by its name."""
        return {
            probe.name: _difference(values[until], values[since]) for values, probe in self._columns
        }

    def deltas(self, count: int | None = None) -> dict[str, tuple[int, ...]]:
        """Return the first *count* (or all) changes from each reading to the next."""
        stop = self.last if count is None else count
        return {
            probe.name: tuple(_difference(values[row + 1], values[row]) for row in range(stop))
            for values, probe in self._columns
        }


class Windows:
    """Which readings of a series are the ends of which windows, and what happened between."""

    def __init__(self, most: int) -> None:
        self._rounds, self._end = column(most), column(most)
        self._even, self._low = column(most), column(most)
        self._idle = array("d", bytes(8 * most))
        self._count = column(1)

    def add(self, rounds: int, end: int, *, even: bool = True, low: bool = False) -> None:
        """Note a window of *rounds* rounds that ended with reading number *end*."""
        number = self._count[0]
        self._rounds[number], self._end[number] = rounds, end
        self._even[number], self._low[number] = even, low
        self._count[0] += 1

    def add_idle(self, rounds: float) -> None:
        """Note that one reading more was taken behind the last window.

        Nothing had been called in between, for the time that so many rounds take.
        """
        self._idle[self._count[0] - 1] = rounds

    def lengths(self) -> Sequence[int]:
        """Return how many rounds each window has."""
        return self._rounds[: self._count[0]]

    def between_low_points(self) -> int:
        """Return how many windows began and ended low."""
        return sum(self._low)

    def growth(self, series: Series) -> dict[str, list[Window]]:
        """Return the windows of each quantity."""
        found: dict[str, list[Window]] = {}
        start = 0
        for number in range(self._count[0]):
            for name, grown in series.change(start, self._end[number]).items():
                ends = bool(self._even[number]), bool(self._low[number])
                window = Window(self._rounds[number], grown, *ends)
                found.setdefault(name, []).append(window)
            start = self._end[number] + bool(self._idle[number])
        return found

    def idle_rates(self, series: Series) -> dict[str, float]:
        """Return how much quantities changed per round's time while nothing was called.

        On the whole: what the first look at an idle process changes is no background.
        """
        ends = [self._end[number] for number in range(self._count[0]) if self._idle[number]]
        changes = [series.change(end, end + 1) for end in ends]
        names = changes[0] if changes else {}
        rounds = sum(self._idle)
        return {name: sum(abs(change[name]) for change in changes) / rounds for name in names}
