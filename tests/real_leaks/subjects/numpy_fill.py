"""An array of objects filled with a number."""

import itertools

import numpy

ARRAY = numpy.zeros(3, dtype=object)
NUMBERS = itertools.count(0.5)


def work():
    ARRAY.fill(next(NUMBERS))
