"""A real leak: wrapt 2.1.2 forgets to release `builtins.round` when a proxy is rounded.

No memory grows, only one reference count, so nothing else notices. To see it, put that wrapt first:

    python -m pip install --target old wrapt==2.1.2
    PYTHONPATH=old python examples/wrapt_round.py
"""

import wrapt

from refleak import assert_no_leaks

number = wrapt.ObjectProxy(1.5)


@assert_no_leaks
def test_round():
    round(number)


test_round()
