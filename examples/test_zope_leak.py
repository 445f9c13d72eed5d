"""The leak of zope.testrunner's documentation: a TestCase, each test of which is checked."""

import time
import unittest

from refleak import assert_no_leaks

leaked = []


class Leakable:
    pass


@assert_no_leaks
class TestLeak(unittest.TestCase):
    def setUp(self):
        self.started = time.time()

    def test_leaky(self):
        leaked.append((Leakable(), time.time()))

    def test_innocent(self):
        Leakable()


if __name__ == "__main__":
    unittest.main()
