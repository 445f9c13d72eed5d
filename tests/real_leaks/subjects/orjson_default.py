"""A default function that raises."""

import orjson


def refuse(value):
    raise TypeError(type(value).__name__)


def work():
    try:
        orjson.dumps([object()], default=refuse)
    except orjson.JSONEncodeError:
        pass
