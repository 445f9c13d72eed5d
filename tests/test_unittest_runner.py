"""``python -m refleak unittest`` on unmodified suites, in processes of their own."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap

import pytest
from running import python

from refleak._census import TypeCount
from refleak.unittest import discover_first, iterations, rounds, row, table

LEAK = """
    import time
    import unittest

    class ClassicLeakable:
        def __init__(self):
            self.x = "x"

    class Leakable:
        def __init__(self):
            self.x = "x"

    leaked = []

    class TestSomething(unittest.TestCase):
        def testleak(self):
            leaked.append((ClassicLeakable(), Leakable(), time.time()))
"""
"""The documented example of zope.testrunner."""

SUITE = """
    import unittest

    def setUpModule(): print("setUpModule")
    def tearDownModule(): print("tearDownModule")

    kept = []

    class TestMixed(unittest.TestCase):
        @classmethod
        def setUpClass(cls): print("setUpClass")
        def setUp(self): self.data = []
        def tearDown(self): self.data.append(1)
        def test_clean(self): self.data.append(object())
        def test_leak(self): kept.append(object())

    class TestOther(unittest.TestCase):
        def test_fail(self): self.fail("reason")
        @unittest.skip("reason")
        def test_skip(self): pass

    class TestPassing(unittest.TestCase):
        def test_pass(self): pass
"""


@pytest.fixture
def suites(tmp_path):
    """A folder with the two suites."""
    (tmp_path / "leak.py").write_text(textwrap.dedent(LEAK), encoding="utf-8")
    (tmp_path / "test_suite.py").write_text(textwrap.dedent(SUITE), encoding="utf-8")
    return tmp_path


def run(folder, *arguments, **environment):
    """Run ``python -m refleak unittest`` in a folder."""
    return python("-m", "refleak", "unittest", *arguments, folder=folder, **environment)


def iteration_tables(output):
    """Return the rows of each iteration's table, by number and type, and each one's change."""
    tables, changes = {}, {}
    number = 0
    for line in output.partition("LEAKED")[0].splitlines():
        if found := re.fullmatch(r"Iteration (\d+)", line):
            number = int(found[1])
        elif found := re.search(r"sys refcount=\d+ +change=(-?\d+)$", line):
            changes[number] = int(found[1])
        elif found := re.fullmatch(r" {4}(\S+) +(-?\d+) +(-?\d+)", line):
            tables.setdefault(number, {})[found[1]] = (int(found[2]), int(found[3]))
    return tables, changes


# --- -N: the whole suite -----------------------------------------------------------------------


def test_zopes_example_shows_zopes_table(suites):
    """Each iteration of the documented example has its documented rows, the same from 3 on."""
    done = run(suites, "-N5", "-r", "-v", "leak")
    assert 3 == done.returncode
    tables, changes = iteration_tables(done.stdout)
    assert {2, 3, 4, 5} == set(tables) == set(changes)
    for number in tables:
        for name in ("leak.Leakable", "leak.ClassicLeakable", "float", "tuple"):
            assert (1, 1) == tables[number][name], (number, name)
    if sys.version_info >= (3, 12):  # before, None and True are counted, and who refers to them
        assert tables[3] == tables[4] == tables[5]
        assert changes[3] == changes[4] == changes[5] > 0


def test_the_layout_is_zopes(suites):
    """The lines before and in the table stand where zope.testrunner puts them."""
    done = run(suites, "-N3", "-r", "-v", "leak")
    lines = done.stdout.splitlines()
    start = lines.index("Iteration 3")
    assert re.fullmatch(
        r"  sum detail refcount=\d+ +sys refcount=\d+ +change=-?\d+", lines[start + 1]
    )
    rule = "    " + "-" * 55 + "  -----   ----"
    assert [
        "    Leak details, changes in instances and refcounts by type/class:",
        "    type/class                                               insts   refs",
        rule,
    ] == lines[start + 2 : start + 5]
    assert 2 == lines[start:].count(rule)


def test_a_clean_suite_changes_nothing(suites):
    """Without -v there is one line for each iteration after the first; a clean suite exits 0."""
    done = run(suites, "-N4", "-r", "test_suite.TestPassing")
    assert 0 == done.returncode
    _, changes = iteration_tables(done.stdout)
    assert {2, 3, 4} == set(changes)
    assert 0 == changes[4]
    assert 4 <= done.stdout.count("setUpModule") == done.stdout.count("tearDownModule")
    assert "the suite does not leak" in done.stdout
    debug = hasattr(sys, "gettotalrefcount")
    assert debug == ("this is a debug build" in done.stdout)
    assert debug == ("this is a release build" not in done.stdout)


def test_without_r_only_the_verdict_is_shown(suites):
    """-N alone repeats and judges, and shows no references."""
    done = run(suites, "-N3", "leak")
    assert 3 == done.returncode
    assert "sys refcount" not in done.stdout
    assert "the suite leaked" in done.stdout


def test_a_failing_suite_is_a_failure_and_no_leak(suites):
    """Whatever leaks in a suite that fails, the exit status says that it failed."""
    done = run(suites, "-N3", "-r", "test_suite")
    assert 1 == done.returncode
    assert "Not judged: the suite failed" in done.stdout
    assert 3 == done.stderr.count("FAIL: test_fail")


def test_a_suite_of_no_tests_is_not_repeated(suites):
    """There is nothing to judge, and that is what is said."""
    done = run(suites, "-N3", "-k", "nothing", "test_suite")
    assert "Not judged: no test ran" in done.stdout
    assert "repeated further" not in done.stdout
    assert 0 < done.returncode != 3


def test_an_unexpected_success_that_leaks_is_told_as_both(tmp_path):
    """It fails without the check, so it does with it."""
    source = """
        import unittest
        kept = []
        class TestUnexpected(unittest.TestCase):
            @unittest.expectedFailure
            def test_it(self): kept.append([])
    """
    (tmp_path / "test_unexpected.py").write_text(textwrap.dedent(source), encoding="utf-8")
    done = run(tmp_path, "-R:", "test_unexpected")
    assert 1 == done.returncode
    assert "unexpected successes=1" in done.stderr
    assert "LEAKED: test_it" in done.stderr


# --- -R: test by test --------------------------------------------------------------------------


def test_each_test_is_judged(suites):
    """The leaking test is LEAKED with its report, the others end as ever; fixtures run once."""
    done = run(suites, "-R", "3:2", "-v", "test_suite.TestMixed")
    assert 3 == done.returncode
    assert re.search(r"test_clean \(.*\) \.\.\. ok", done.stderr)
    assert re.search(r"test_leak \(.*\) \.\.\. LEAKED", done.stderr)
    assert "TestMixed.test_leak leaked 1 reference and 1 memory block per call" in done.stderr
    assert "3 warm-up, 2 measured" in done.stderr
    assert done.stderr.endswith("LEAKED (1 of 2 tests)\n")
    assert ["setUpModule", "setUpClass", "tearDownModule"] == done.stdout.split()


def test_without_options_each_test_is_judged(suites):
    """The default is -R 5:4."""
    done = run(suites, "leak")
    assert 3 == done.returncode
    assert "5 warm-up, 4 measured" in done.stderr


def test_a_failure_outweighs_a_leak(suites):
    """Exit status 1 is unittest's, whatever leaked besides; skips stay skips."""
    done = run(suites, "-R", ":2", "test_suite")
    assert 1 == done.returncode
    assert "FAILED (failures=1, skipped=1)\nLEAKED (1 of" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-k", "pass"], 0),
        (["discover", "-k", "pass"], 0),
        (["-R", ":", "discover", "-s", ".", "-p", "test_s*.py", "-k", "clean"], 0),
        (["-k", "no such test"], 5),  # as unittest itself does from 3.12 on
        (["no_such_module"], 1),
    ],
)
def test_what_unittest_takes_is_taken(suites, arguments, expected):
    """Selection and discovery work as for python -m unittest, before and after our options."""
    done = run(suites, *arguments)
    assert done.returncode == expected, done.stderr


def test_switched_off_it_is_plain_unittest(suites):
    """With REFLEAK=off nothing is repeated or judged."""
    done = run(suites, "-v", "leak", REFLEAK="off")
    assert 0 == done.returncode
    assert "... ok" in done.stderr


def test_a_word_that_switches_nothing(suites):
    """Another word than on and off is wrong usage."""
    done = run(suites, "leak", REFLEAK="bogus")
    assert 2 == done.returncode
    assert "error: REFLEAK in the environment must be on or off, not 'bogus'" in done.stderr


# --- the command line --------------------------------------------------------------------------


def test_help_is_unittests_with_ours(suites):
    """-h lists unittest's options and ours, and the exit statuses."""
    done = run(suites, "-h")
    assert 0 == done.returncode
    for part in ("-R STAB:RUN", "-N COUNT", "--failfast", "exit status: 0 no leak", "test_module"):
        assert part in done.stdout


@pytest.mark.parametrize(
    "arguments", [["-R", "0:2"], ["-R", "5"], ["-N1"], ["-r"], ["-N3", "-R:"], ["--no-such"]]
)
def test_wrong_usage(suites, arguments):
    """What makes no sense exits with 2 and says why, before any test is run."""
    done = run(suites, *arguments, "leak")
    assert 2 == done.returncode
    assert "error: " in done.stderr
    assert "Ran " not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"), [(":", (5, 4)), ("6:", (6, 4)), (":3", (5, 3)), ("2:1", (2, 1))]
)
def test_reading_rounds(text, expected):
    """Either part of STAB:RUN may be left out."""
    assert expected == rounds(text)


@pytest.mark.parametrize("text", ["", "5", "a:b", "0:1", "1:0", "1:1000001", "1:2:3", "-1:2"])
def test_wrong_rounds(text):
    """Anything else is refused."""
    with pytest.raises(argparse.ArgumentTypeError):
        rounds(text)


@pytest.mark.parametrize("text", ["", "1", "0", "x", "-2", "2.5", "1000001"])
def test_wrong_iterations(text):
    """A suite is repeated twice at least, and not without end."""
    with pytest.raises(argparse.ArgumentTypeError):
        iterations(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["discover", "-v"], ["discover", "-v"]),
        (["-R", ":", "discover", "-s", "x"], ["discover", "-R", ":", "-s", "x"]),
        (["-v", "-N3", "discover"], ["discover", "-v", "-N3"]),
        (["-k", "discover", "module"], ["-k", "discover", "module"]),
        (["module", "discover"], ["module", "discover"]),
        ([], []),
    ],
)
def test_discover_is_put_first(given, expected):
    """unittest knows the word as the first argument only; here options may stand before it."""
    assert expected == discover_first(given)


def test_the_table():
    """Types that changed, sorted by name, and the totals; nothing when nothing changed."""
    before = {"a": TypeCount(1, 2), "b": TypeCount(1, 1), "same": TypeCount(3, 3)}
    after = {"a": TypeCount(2, 4), "c": TypeCount(1, 5), "same": TypeCount(3, 3)}
    assert [row("a", 1, 2), row("b", -1, -1), row("c", 1, 5)] == table(before, after)[3:6]
    assert row("total", 1, 6) == table(before, after)[-1]
    assert [] == table(after, after)
