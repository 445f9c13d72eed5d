"""Leaking tests of every kind, each beside a clean twin: run by test_pytest_plugin.py."""

import unittest

import pytest
from hypothesis import given
from hypothesis import strategies as st

garbage = []


class Thing:
    pass


@pytest.fixture
def leaking_setup():
    garbage.append(Thing())


@pytest.fixture
def leaking_teardown():
    yield
    garbage.append(Thing())


@pytest.fixture
def clean():
    yield
    garbage.clear()


def test_leaks():
    garbage.append(Thing())


def test_leaks_not(clean):
    garbage.append(Thing())


def test_leaks_in_setup(leaking_setup):
    pass


def test_leaks_in_teardown(leaking_teardown):
    pass


@pytest.mark.parametrize("number", [0, 1])
def test_parametrized(number):
    if number:
        garbage.append(Thing())


class TestMethods:
    def test_leaks(self):
        garbage.append(Thing())

    def test_leaks_not(self, clean):
        garbage.append(Thing())


@given(st.booleans())
def test_given(boolean):
    garbage.append(Thing())


@given(st.booleans())
def test_given_clean(boolean):
    garbage.append(Thing())
    garbage.clear()


class Case(unittest.TestCase):
    def test_leaks(self):
        garbage.append(Thing())

    def test_leaks_not(self):
        garbage.append(Thing())
        self.addCleanup(garbage.clear)

    def test_subtests(self):
        for number in range(2):
            with self.subTest(number=number):
                garbage.append(Thing())

    def test_subtests_clean(self):
        for number in range(2):
            with self.subTest(number=number):
                garbage.append(Thing())
        garbage.clear()


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    async def test_leaks(self):
        garbage.append(Thing())

    async def test_leaks_not(self):
        garbage.append(Thing())
        self.addCleanup(garbage.clear)


def leaking_doctest():
    """Leak.

    >>> garbage.append(Thing())
    """


def clean_doctest():
    """Clean.

    >>> garbage.append(Thing())
    >>> garbage.clear()
    """


@pytest.mark.no_leak_check
def test_unchecked():
    garbage.append(Thing())


@pytest.mark.no_leak_check(fail=False, reason="for a reason")
def test_unchecked_for_a_reason():
    garbage.append(Thing())


@pytest.mark.no_leak_check(fail=True, reason="for a reason")
def test_unchecked_but_counted():
    pass
