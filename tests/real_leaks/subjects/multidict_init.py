"""Case-insensitive headers, made and extended."""

from multidict import CIMultiDict


def work():
    headers = CIMultiDict({"Content-Type": "text/plain"})
    headers.update({"X-One": "1"})
    headers.extend([("X-Two", "2")])
