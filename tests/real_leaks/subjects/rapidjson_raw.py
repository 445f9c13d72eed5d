"""RawJSON refusing what is no text."""

import rapidjson


def work():
    try:
        rapidjson.RawJSON(42)
    except TypeError:
        pass
