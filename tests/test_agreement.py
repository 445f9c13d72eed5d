"""The heap census agrees with ``sys.gettotalrefcount()`` on debug builds.

benchmarks/agreement.py compares the two for the whole zoo.
"""

from __future__ import annotations

import gc
import itertools
import sys
from array import array
from statistics import mode

import pytest
from zoo import ZOO

from refleak import _census
from refleak._settle import settle

pytestmark = pytest.mark.skipif(
    not hasattr(sys, "gettotalrefcount"), reason="needs a debug build: sys.gettotalrefcount"
)

ROUNDS = 5

SAMPLE = {
    "an_instance",
    "a_closure",
    "a_generator",
    "a_tuple_of_numbers",
    "a_reference_to_an_old_object",
    "an_unreachable_object",
    "cycles",
    "class_creation",
    "pickling",
}


def deltas(subject):
    """Return the deltas of the census, and those of the interpreter's own total."""
    counted, total = array("q", bytes(8 * ROUNDS + 8)), array("q", bytes(8 * ROUNDS + 8))
    for number in range(-20, ROUNDS + 1):
        subject()
        if number >= -1:
            settle()
            total[max(number, 0)] = sys.gettotalrefcount()
            counted[max(number, 0)] = _census.census().references
    return differences(counted), differences(total)


def differences(levels):
    """Return the change from each level to the next."""
    return [after - before for before, after in itertools.pairwise(levels)]


@pytest.fixture
def collector_off():
    """Let no collection begin by itself."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("entry", [entry for entry in ZOO if entry.name in SAMPLE], ids=str)
def test_the_census_agrees_with_the_interpreters_total(entry, collector_off):
    """The census's reference deltas are those of gettotalrefcount().

    The most frequent ones: on 3.11, one object comes into the census's sight in a single round.
    """
    with entry.subject() as subject:
        counted, total = deltas(subject)
    assert mode(counted) == mode(total)
