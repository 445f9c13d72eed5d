"""The faucet of pytest-leaks: every run of the test leaves a drop.

`python -m pytest examples/test_faucet.py` shows the same.
"""

from refleak import assert_no_leaks


class Faucet:
    def __init__(self):
        self.drops = []

    def drip(self):
        self.drops.append({})


faucet = Faucet()


@assert_no_leaks(stab=5, run=4)
def test_faucet():
    faucet.drip()


@assert_no_leaks
def test_closed_faucet():
    faucet.drops.clear()


if __name__ == "__main__":
    test_closed_faucet()
    test_faucet()
