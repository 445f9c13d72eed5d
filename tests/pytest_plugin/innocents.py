"""Innocent tests of every kind: run by test_pytest_plugin.py with -R and without."""

import asyncio
import logging
import os
import sys
import unittest
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

COUNTS = {"module": 0, "session": 0, "function": 0, "own": 0}


@pytest.fixture(scope="session")
def session_thing():
    COUNTS["session"] += 1
    yield "session"
    COUNTS["session"] -= 100


@pytest.fixture(scope="module")
def module_thing(session_thing):
    COUNTS["module"] += 1
    yield "module"
    COUNTS["module"] -= 100


@pytest.fixture
def small_thing(module_thing, tmp_path):
    COUNTS["function"] += 1
    yield "function"
    COUNTS["function"] -= 1


@pytest.fixture(autouse=True)
def automatic(request):
    request.addfinalizer(lambda: None)  # noqa: PT021  # the older form of a yield fixture, which users have


@pytest.fixture
def failing_setup():
    raise RuntimeError("in setup")


@pytest.fixture
def failing_teardown():
    yield
    raise RuntimeError("in teardown")


def test_trivial():
    pass


def test_warns():
    warnings.warn("a warning", UserWarning, stacklevel=1)
    warnings.warn(UserWarning("another"), stacklevel=1)


def test_logs():
    logging.getLogger("some.name").warning("a record of %s", "a test")
    logging.warning("another")  # noqa: LOG015  # the root logger, as scripts use it


def test_prints():
    print("x" * 1000)
    print("y", file=sys.stderr)
    os.write(1, b"z")


def test_wider_fixtures_are_set_up_once(small_thing):
    assert COUNTS["session"] == 1
    assert COUNTS["module"] == 1
    assert COUNTS["function"] == 1


def test_after_that_they_are_alive_still(module_thing):
    assert COUNTS["module"] == 1
    assert COUNTS["function"] == 0


def test_tmp_path(tmp_path):
    (tmp_path / "file").write_text("text")
    assert os.listdir(tmp_path) == ["file"]


def test_monkeypatch(monkeypatch):
    assert "REFLEAK_TEST" not in os.environ
    monkeypatch.setenv("REFLEAK_TEST", "1")


def test_capsys(capsys):
    print("hello")
    assert capsys.readouterr().out == "hello\n"
    print("left over")


def test_capfd(capfd):
    os.write(1, b"hello")
    assert capfd.readouterr().out == "hello"


def test_caplog(caplog):
    logging.warning("hello")  # noqa: LOG015  # the root logger, as scripts use it
    assert [record.message for record in caplog.records] == ["hello"]


def test_recwarn(recwarn):
    warnings.warn("hello", stacklevel=1)
    assert len(recwarn) == 1


def test_finalizers(request):
    COUNTS["own"] += 1
    assert COUNTS["own"] == 1
    request.addfinalizer(lambda: COUNTS.update(own=0))


def test_properties(record_property, record_testsuite_property):
    record_property("colour", "red")
    record_testsuite_property("shape", "round")


def test_adds_a_marker(request):
    assert len(request.node.own_markers) == 0
    request.node.add_marker("added")


def test_fixture_by_name(request):
    assert request.getfixturevalue("module_thing") == "module"


@pytest.mark.parametrize("number", [1, 2])
def test_parametrized(number):
    assert number


class TestInstances:
    def test_own(self):
        assert not hasattr(self, "own")
        self.own = 1


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.set_up = getattr(cls, "set_up", 0) + 1

    def setUp(self):
        self.assertFalse(hasattr(self, "own"))
        self.own = []
        self.addCleanup(self.own.clear)

    def test_passes(self):
        self.assertEqual(1, self.set_up)

    def test_subtests(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertGreaterEqual(number, 0)

    def test_failing_subtest(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(1, number)

    def test_fails(self):
        self.fail()

    def test_skips(self):
        self.skipTest("a TestCase that skips itself keeps its outcome under -R")

    @unittest.expectedFailure
    def test_expected_failure(self):
        self.fail()

    @unittest.expectedFailure
    def test_unexpected_success(self):
        pass

    @given(st.integers())
    def test_given(self, number):
        self.assertIsInstance(number, int)


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    async def test_sleeps(self):
        await asyncio.sleep(0)


@given(st.lists(st.integers()))
def test_given(numbers):
    assert sorted(numbers) == sorted(numbers, key=int)


def test_fails():
    raise AssertionError


def test_after_a_failure():
    pass


def test_skips():
    pytest.skip("a test that skips itself keeps its outcome under -R")


@pytest.mark.skip(reason="a test of the plugin: this outcome must be the same under -R")
def test_is_skipped():
    pass


def test_after_a_skip():
    pass


@pytest.mark.xfail(reason="a test of the plugin: this outcome must be the same under -R")
def test_xfails():
    raise AssertionError


def test_xfails_by_a_call():
    pytest.xfail("a test that expects its failure keeps its outcome under -R")


@pytest.mark.xfail(reason="a test of the plugin: this outcome must be the same under -R")
def test_xpasses():
    pass


@pytest.mark.xfail(
    strict=True, reason="a test of the plugin: this outcome must be the same under -R"
)
def test_xpasses_strictly():
    pass


def test_errs(failing_setup):
    pass


def test_errs_at_teardown(failing_teardown):
    pass


def test_after_errors():
    pass


def function_with_doctest():
    """Double.

    >>> number = 2
    >>> number * 2
    4
    """


def function_with_failing_doctest():
    """Fail.

    >>> 1
    2
    """
