"""Warnings with texts that come round again."""

import itertools
import warnings

TEXTS = itertools.cycle([f"feature {n} is old" for n in range(25)])


def work():
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        warnings.warn(next(TEXTS), DeprecationWarning)  # noqa: B028  # as it is written in the wild
