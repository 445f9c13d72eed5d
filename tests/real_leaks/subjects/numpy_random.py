"""A shuffle of a list that fails to tell its length."""

import numpy

GENERATOR = numpy.random.default_rng(17)


class Endless(list):
    def __len__(self):
        raise OverflowError("endless")


def work():
    try:
        GENERATOR.shuffle(Endless([1, 2]))
    except OverflowError:
        pass
