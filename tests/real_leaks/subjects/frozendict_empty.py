"""Empty frozen dicts."""

import frozendict


def work():
    frozendict.frozendict({})
