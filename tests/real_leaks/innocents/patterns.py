"""A new regular expression each time."""

import itertools
import re

NUMBERS = itertools.count()


def work():
    re.search(f"drip{next(NUMBERS)}|drop", "a drop")
