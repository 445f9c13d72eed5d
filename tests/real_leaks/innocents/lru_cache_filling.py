"""A cache of 128 entries that fills, then turns over."""

import functools
import itertools

KEYS = itertools.count()


@functools.lru_cache(maxsize=128)
def squares(key):
    return [key * n for n in range(3)]


def work():
    squares(next(KEYS))
