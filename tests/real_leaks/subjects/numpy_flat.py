"""Roots of a polynomial, which numpy finds by writing through .flat."""

import numpy


def work():
    numpy.roots([1, -3, 2])
