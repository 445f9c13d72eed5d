"""Preallocated columns: deltas, windows and idle times, and nothing allocated on the way."""

from __future__ import annotations

import sys

import pytest
from running import python

from refleak._readings import Series, Windows, column
from refleak._rules import Window
from refleak.probes import LARGEST, MOST


class Levels:
    """A probe that reads a series of levels, one after the other."""

    name, unit = "levels", "level"

    def __init__(self, *levels):
        self._levels = iter(levels)

    def unavailable(self):
        """Return None: it can be read."""

    def read(self):
        """Return the next level."""
        return next(self._levels)


def series(*levels):
    """Return a series with these readings."""
    made = Series([Levels(*levels)], len(levels))
    for _ in levels:
        made.read()
    return made


def test_a_column_starts_with_zeros():
    """A column has a row of zero for each reading to come."""
    assert [0, 0, 0] == list(column(3))


def test_deltas_are_the_changes_between_readings():
    """There is one delta less than there are readings."""
    assert {"levels": (3, -2, 0)} == series(10, 13, 11, 11).deltas()


def test_the_first_deltas_can_be_asked_for():
    """The measured rounds' deltas can be had without those of later readings."""
    assert {"levels": (3, -2)} == series(10, 13, 11, 99).deltas(2)


def test_changes_between_any_readings():
    """A change is told from one reading to any other."""
    assert {"levels": 89} == series(10, 13, 11, 99).change(0, 3)


def test_the_last_reading_has_a_number():
    """Readings are numbered from 0; before the first there is none."""
    assert [-1, 1] == [Series([], 2).last, series(1, 2).last]


class Sums(Levels):
    """A probe that sums reference counts."""

    sums_references = True


def test_huge_sums_keep_their_differences():
    """Sums over immortal objects' counts may go beyond a column's range."""
    made = Series([Sums(LARGEST * 3 + 7, LARGEST * 3 + 12)], 2)
    made.read()
    made.read()
    assert {"levels": (5,)} == made.deltas()


def test_the_largest_levels_keep_their_differences():
    """Whatever is not refused is told without a wrap."""
    assert {"levels": (2 * MOST, -2 * MOST)} == series(-MOST, MOST, -MOST).deltas()


@pytest.mark.parametrize(
    ("level", "error", "message"),
    [
        (MOST + 1, OverflowError, f"must return {-MOST:,} to {MOST:,}, not {MOST + 1:,}"),
        (-MOST - 1, OverflowError, f"not {-MOST - 1:,}"),
        (1.5, TypeError, "must return an int, not 1.5"),
        (None, TypeError, "must return an int, not None"),
    ],
)
def test_levels_that_cannot_be_kept_are_refused(level, error, message):
    """The probe is named, by its class and its name."""
    with pytest.raises(error) as caught:
        series(level)
    assert str(caught.value).startswith("Levels 'levels': read() must return ")
    assert str(caught.value).endswith(message)


def test_levels_may_be_negative():
    """A user's own quantity may stand below zero."""
    assert {"levels": (-10, 3)} == series(2, -8, -5).deltas()


def test_windows_grow_by_their_ends():
    """A window's growth is the change between the readings at its ends."""
    read = series(0, 4, 12, 13)
    windows = Windows(3)
    for rounds, end in ((4, 1), (8, 2), (16, 3)):
        windows.add(rounds, end)
    assert {"levels": [Window(4, 4), Window(8, 8), Window(16, 1)]} == windows.growth(read)


def test_idle_readings_belong_to_no_window():
    """What changes while nothing is called is left out of the next window."""
    read = series(0, 4, 7, 10)
    windows = Windows(2)
    windows.add(4, 1)
    windows.add_idle(2.0)
    windows.add(8, 3)
    assert {"levels": [Window(4, 4), Window(8, 3)]} == windows.growth(read)
    assert {"levels": 1.5} == windows.idle_rates(read)


def test_idle_rates_are_those_of_all_looks():
    """Idle rates are told without a sign, of all looks together."""
    read = series(0, 0, 2, 2, -8)
    windows = Windows(2)
    windows.add(4, 1)
    windows.add_idle(1.0)
    windows.add(4, 3)
    windows.add_idle(2.0)
    assert {"levels": 4.0} == windows.idle_rates(read)


_THREE_HUNDRED_READINGS = """
import sys
from refleak._readings import Series
from refleak._settle import settle
from refleak.probes import Gauge, select

gauge = Gauge("big numbers", lambda: 10**6)
made = Series([*select(["-all", "memory blocks"]), gauge], 400)
for _ in range(50):
    made.read()
settle()
before = sys.getallocatedblocks()
for _ in range(300):
    made.read()
settle()
print(sys.getallocatedblocks() - before, set(made.deltas()["big numbers"][:300]))
"""


@pytest.mark.skipif(sys.getallocatedblocks() == 0, reason="needs Python's own allocator")
def test_readings_keep_no_memory():
    """Three hundred readings of big numbers leave not one block behind, in a process of their own.

    The two blocks allowed are the level's own two numbers.
    """
    ran = python("-c", _THREE_HUNDRED_READINGS)
    left, deltas = ran.stdout.split(maxsplit=1)
    assert (True, "{0}") == (int(left) <= 2, deltas.strip()), ran.stdout + ran.stderr
