"""A cache that fills grows with each call for a while. That is no leak, and the report says so."""

import itertools
from functools import lru_cache

from refleak import find_leaks

numbers = itertools.count()


@lru_cache(maxsize=10_000)
def parse(text):
    return [text]


def test_parse():
    parse(f"text {next(numbers)}")


report = find_leaks(test_parse)
print(report)
assert not report.leaking
