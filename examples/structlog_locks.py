"""A real leak: structlog 25.5.0 keeps a lock, and the file, for each file it ever wrote to.

python -m pip install --target old structlog==25.5.0
PYTHONPATH=old python examples/structlog_locks.py
"""

import io

import structlog

from refleak import assert_no_leaks


@assert_no_leaks
def test_write():
    with io.StringIO() as file:
        structlog.WriteLogger(file).info("drip")


test_write()
