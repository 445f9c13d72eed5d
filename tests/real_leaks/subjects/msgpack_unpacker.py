"""A stream of messages, iterated to its end."""

import msgpack

STREAM = msgpack.packb([1, 2]) + msgpack.packb({"a": None})


def work():
    unpacker = msgpack.Unpacker()
    unpacker.feed(STREAM)
    list(unpacker)
