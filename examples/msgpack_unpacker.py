"""A real leak: msgpack 1.0.7, built by Cython, forgets a traceback when a stream ends (3.12).

python3.12 -m pip install --target old msgpack==1.0.7
PYTHONPATH=old python3.12 examples/msgpack_unpacker.py
"""

import msgpack

from refleak import assert_no_leaks

STREAM = msgpack.packb([1, 2]) + msgpack.packb({"a": None})


@assert_no_leaks
def test_unpack():
    unpacker = msgpack.Unpacker()
    unpacker.feed(STREAM)
    list(unpacker)


test_unpack()
