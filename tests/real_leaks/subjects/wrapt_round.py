"""A rounded proxy; refleak itself runs on the same wrapt."""

import wrapt


def work():
    round(wrapt.ObjectProxy(2.75))
