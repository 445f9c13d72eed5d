"""The pytest plugin: each promise with a leak, and a clean twin beside it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from textwrap import dedent

import pytest

HERE = Path(__file__).parent / "pytest_plugin"

STATUS = re.compile(r"^(?:\S+[/\\])?\w+\.py::(\S+) (?:<- \S+ )?([A-Z]{4,})\b", re.MULTILINE)

QUICK = "3:2"
"""Rounds where their number does not matter."""


class Run:
    """One run of pytest in a process of its own."""

    def __init__(self, folder, *arguments, **files):
        for name, text in files.items():
            suffix = ".ini" if name == "pytest" else ".py"
            (folder / f"{name}{suffix}").write_text(dedent(text), "utf-8")
        (folder / "pytest.ini").touch()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
        )
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr
        self.lines = self.out.splitlines()

    @property
    def statuses(self):
        """Lists of the words behind each test's name, as -v shows them."""
        found = {}
        for name, status in STATUS.findall(self.out):
            found.setdefault(name, []).append(status)
        return found

    @property
    def counts(self):
        """The counts of the last line, such as {"failed": 1, "passed": 2}."""
        words = re.findall(r"(\d+) ([a-z]+)", re.sub(r" in [\d.]+s.*", "", self.lines[-1]))
        return {word: int(number) for number, word in words}

    def summary(self, name):
        """What the leaks summary says of a test."""
        for line in self.lines:
            if f"::{name}: " in line:
                return line.partition(f"::{name}: ")[2]
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Copy the files with tests of every kind."""
    made = tmp_path_factory.mktemp("files")
    for file in HERE.glob("*.py"):
        (made / f"test_{file.name}").write_text(file.read_text("utf-8"), "utf-8")
    return made


INNOCENT = ("-v", "-rA", "--doctest-modules", "test_innocents.py", "-W", "default")


@pytest.fixture(scope="module")
def plain(folder):
    """Run the innocents without -R."""
    return Run(folder, *INNOCENT, f"--junitxml={folder / 'plain.xml'}")


@pytest.fixture(scope="module")
def repeated(folder):
    """Run the innocents with -R."""
    return Run(folder, *INNOCENT, "-R", ":", f"--junitxml={folder / 'repeated.xml'}")


@pytest.fixture(scope="module")
def leaking(folder):
    """Run the leaks."""
    arguments = ["-v", "--doctest-modules", "test_leaks.py", "--leaks", QUICK]
    return Run(folder, *arguments, f"--junitxml={folder / 'leaks.xml'}")


def innocents():
    """Return the names of the innocents."""
    text = (HERE / "innocents.py").read_text("utf-8")
    return re.findall(r"def (test_\w+|function_\w+)", text)


@pytest.mark.parametrize("name", innocents())
def test_innocent_tests_behave_as_without_repetition(plain, repeated, name):
    """Each kind of test has the same outcome with -R, and so have those after it."""

    def outcomes(run):
        return {key: value for key, value in run.statuses.items() if name in key}

    assert outcomes(plain)
    assert outcomes(plain) == outcomes(repeated)


def test_counts_are_the_same(plain, repeated):
    """Neither subtests, reruns, warnings nor errors are counted twice."""
    assert plain.counts == repeated.counts
    assert plain.code == repeated.code == 1


def test_a_log_file_holds_the_records_of_one_run(tmp_path):
    """Neither the file nor the live log hears of the rounds; caplog does."""
    test = """
        import logging

        def test_logs(caplog):
            logging.getLogger("service").error("hello")
            assert 1 == len(caplog.records)
    """
    run = Run(tmp_path, "-R", ":", "--log-file=log.txt", "-o", "log_cli=true", test_logs=test)
    assert {"passed": 1} == run.counts
    assert 1 == (tmp_path / "log.txt").read_text("utf-8").count("hello")
    assert 1 == run.out.count("hello")


def test_captured_output_is_shown_once(plain, repeated):
    """What one run of a test printed and logged is in the report, not that of all runs."""
    printed = [[line for line in run.lines if line == "x" * 1000] for run in (plain, repeated)]
    logged = [
        [line for line in run.lines if "a record of a test" in line] for run in (plain, repeated)
    ]
    assert printed[0] == printed[1]
    assert logged[0] == logged[1]


def test_warnings_are_listed_once(plain, repeated):
    """The warnings of one run are in the summary, not those of all runs."""
    warned = [[line for line in run.lines if "a warning" in line] for run in (plain, repeated)]
    assert warned[0]
    assert warned[0] == warned[1]


def test_junit_files_are_the_same(plain, repeated, folder):
    """Properties, captured output and outcomes in the junit file are those of one run."""

    def content(name):
        root = ET.parse(folder / f"{name}.xml").getroot()
        return [
            (case.get("name"), sorted(child.tag for child in case))
            for case in root.iter("testcase")
        ] + [
            (found.get("name"), found.get("value"))
            for found in root.iter("property")
            if not found.get("name").startswith("hypothesis-statistics")  # they tell times
        ]

    assert content("plain") == content("repeated")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("test_leaks", "LEAKED"),
        ("test_leaks_not", "PASSED"),
        ("test_leaks_in_setup", "LEAKED"),
        ("test_leaks_in_teardown", "LEAKED"),
        ("Case::test_leaks", "LEAKED"),
        ("Case::test_leaks_not", "PASSED"),
        ("Case::test_subtests", "LEAKED"),
        ("Case::test_subtests_clean", "PASSED"),
        ("AsyncCase::test_leaks", "LEAKED"),
        ("AsyncCase::test_leaks_not", "PASSED"),
        ("TestMethods::test_leaks", "LEAKED"),
        ("TestMethods::test_leaks_not", "PASSED"),
        ("test_parametrized[1]", "LEAKED"),
        ("test_parametrized[0]", "PASSED"),
        ("test_given", "LEAKED"),
        ("test_given_clean", "PASSED"),
        ("test_leaks.leaking_doctest", "LEAKED"),
        ("test_leaks.clean_doctest", "PASSED"),
        ("test_unchecked", "PASSED"),
        ("test_unchecked_for_a_reason", "PASSED"),
        ("test_unchecked_but_counted", "LEAKED"),
    ],
)
def test_leaks_are_told_from_clean_twins(leaking, name, status):
    """Whatever phase leaks, in whatever kind of test, is LEAKED; its clean twin is PASSED."""
    assert leaking.statuses[name] == [status]


def test_leaks_summary(leaking):
    """The summary has a line per leak with the deltas, and the whole report with -v."""
    summary = leaking.summary("test_leaks")
    assert summary.startswith("leaked references: [2, 2], memory blocks: [")
    assert "test_leaks.py::test_leaks leaked 2 references" in leaking.out
    assert any(re.match(r" +test_leaks\.Thing +\+2 +\+2$", line) for line in leaking.lines)
    assert leaking.summary("test_leaks_not") is None


def test_summary_of_an_unchecked_test(leaking):
    """no_leak_check(fail=True) is in the summary with its reason."""
    expected = "leaked (not checked): 'for a reason'"
    assert leaking.summary("test_unchecked_but_counted") == expected


def test_an_unchecked_test_without_a_reason(tmp_path):
    """no_leak_check(fail=True) needs none."""
    text = """\
        import pytest
        @pytest.mark.no_leak_check(fail=True)
        def test_unchecked(): pass
        """
    run = Run(tmp_path, f"-R{QUICK}", test_it=text)
    assert run.summary("test_unchecked") == "leaked (not checked)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("fail='x', raeson=3", "takes fail=True or fail=False, and reason='text', not fail='x', r"),
        ("reason=3", "takes fail=True or fail=False, and reason='text', not reason=3"),
        ("'a reason'", "takes keyword arguments only"),
    ],
)
def test_wrong_arguments_of_no_leak_check(tmp_path, given, message):
    """A test with a marker that means nothing is an error, with or without -R."""
    text = f"import pytest\n@pytest.mark.no_leak_check({given})\ndef test_it(): pass\n"
    run = Run(tmp_path, test_it=text)
    assert run.counts == {"error": 1}
    assert f"@pytest.mark.no_leak_check {message}" in run.out


def test_leaks_do_not_fail_the_run(leaking):
    """Without --leaks-fail, leaks leave the exit status alone."""
    assert leaking.code == 0
    assert leaking.counts["leaked"] == 11
    assert leaking.counts.keys() <= {"passed", "leaked", "subtests"}


def test_junit_properties(leaking, folder):
    """The junit file has a property per leaking quantity; a clean test has none."""
    cases = {
        case.get("name"): {found.get("name"): found.get("value") for found in case.iter("property")}
        for case in ET.parse(folder / "leaks.xml").getroot().iter("testcase")
    }
    assert cases["test_leaks"]["leaked references"] == "[2, 2]"
    assert cases["test_leaks_not"] == {}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("argument", "expected"), [("-v", True), ("-q", False)])
def test_progress_sign(tmp_path, argument, expected):
    """On a terminal a long hunt shows its round and takes the sign away; with -q it is silent."""
    import pty

    text = """\
        import time
        def test_it():
            time.sleep(0.3)
    """
    (tmp_path / "test_it.py").write_text(dedent(text), "utf-8")
    command = [sys.executable, "-m", "pytest", argument, f"-R{QUICK}"]
    reader, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    shown = ""
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=terminal) as started:
        os.close(terminal)
        with contextlib.suppress(OSError):  # Linux's way to say that this is all
            while chunk := os.read(reader, 65536):
                shown += chunk.decode()
    os.close(reader)
    assert started.returncode == 0
    signs = re.findall(
        r" leak check: round \d+ \((?:warm-up|measured|further[a-z: ]*)\)(?:, \d+ s left)?", shown
    )
    assert bool(signs) == expected
    for sign in signs:
        assert f"{sign}{BACK * len(sign)}{' ' * len(sign)}{BACK * len(sign)}" in shown


BACK = "\b"

LEAK = """\
    garbage = []
    def test_leak():
        garbage.append([])
    def test_clean():
        pass
"""


@pytest.mark.parametrize(
    ("arguments", "ini", "code", "counts"),
    [
        ([], "", 0, {"leaked": 1, "passed": 1}),
        (["--leaks-fail"], "", 1, {"leaked": 1, "passed": 1}),
        (["--leaks-fail", "-x"], "", 1, {"leaked": 1}),
        ([], "leaks_fail = true", 1, {"leaked": 1, "passed": 1}),
        (["--leaks-fail", "-k", "clean"], "", 0, {"passed": 1, "deselected": 1}),
    ],
)
def test_leaks_fail(tmp_path, arguments, ini, code, counts):
    """With --leaks-fail or the setting a leak makes the run fail, and -x stops there."""
    run = Run(tmp_path, f"-R{QUICK}", *arguments, test_it=LEAK, pytest=f"[pytest]\n{ini}\n")
    assert (run.code, run.counts) == (code, counts)


def test_letter(tmp_path):
    """Without -v, L stands for a leak, and the summary has its line alone."""
    run = Run(tmp_path, "-R", QUICK, test_it=LEAK)
    assert any(line.startswith("test_it.py L.") for line in run.lines)
    assert run.summary("test_leak").startswith("leaked references: [")
    assert "type/class" not in run.out


LEAKING_FIXTURE = """\
    import pytest
    saved = []
    @pytest.fixture
    def cart():
        cart = [1]
        yield cart
        saved.append(cart)
    def test_cart(cart):
        pass
"""


def test_what_pytest_keeps_is_no_survivor(tmp_path):
    """Lists that pytest replaces in each round are not told beside the lists that leak."""
    run = Run(tmp_path, "-v", "-R", ":", test_it=LEAKING_FIXTURE)
    held_by = [line for line in run.lines if "Held by" in line]
    assert ["module test_it -> saved"] == [
        line.split("Held by")[1].partition(" (")[0].strip() for line in held_by
    ]
    assert "_pytest" not in run.out.partition("leaks summary")[2]


def test_the_failure_of_a_decorated_test_is_the_report(tmp_path):
    """No line of the plugin stands above it."""
    text = "from refleak import assert_no_leaks\n" + dedent(LEAK).replace(
        "def test_leak", "@assert_no_leaks\ndef test_leak"
    )
    run = Run(tmp_path, test_it=text)
    assert run.counts == {"failed": 1, "passed": 1}
    assert "LeakError: test_leak leaked" in run.out
    assert "pytest_plugin" not in run.out


README = """\
    drops = []
    def test_leaky_faucet():
        drops.append({})

    def test_broken_faucet():
        assert 0

    def test_mended_faucet():
        assert 1
"""


def test_session_of_pytest_leaks_readme(tmp_path):
    """The session that pytest-leaks' README shows: leaking, failing, mended."""
    run = Run(tmp_path, "-v", "-R", ":", "test_faucet.py", test_faucet=README)
    assert run.statuses == {
        "test_leaky_faucet": ["LEAKED"],
        "test_broken_faucet": ["FAILED"],
        "test_mended_faucet": ["PASSED"],
    }
    assert run.counts == {"failed": 1, "passed": 1, "leaked": 1}
    assert re.match(
        r"leaked references: \[.*\], memory blocks: \[.*\]", run.summary("test_leaky_faucet")
    )


COUNTING = """\
    def test_counts(leaks_checker):
        assert (leaks_checker.stab, leaks_checker.run) == {expected}
"""


@pytest.mark.parametrize(
    ("arguments", "ini", "expected"),
    [
        (["-R", ":"], "", (5, 4)),
        (["-R:"], "", (5, 4)),
        (["-R", "6:"], "", (6, 4)),
        (["-R", ":3"], "", (5, 3)),
        (["-R", "2:7"], "", (2, 7)),
        (["--leaks=2:7"], "", (2, 7)),
        (["--leaks", ":"], "", (5, 4)),
        (["-R", ":"], "leaks_stab = 2\nleaks_run = 1", (2, 1)),
        (["-R", "3:"], "leaks_stab = 2\nleaks_run = 1", (3, 1)),
        ([], "addopts = -R 3:2", (3, 2)),
    ],
)
def test_counts_of_rounds(tmp_path, arguments, ini, expected):
    """STAB:RUN, either of which may be left to the settings and they to the defaults."""
    text = COUNTING.format(expected=expected)
    run = Run(tmp_path, *arguments, test_it=text, pytest=f"[pytest]\n{ini}\n")
    assert run.counts == {"passed": 1}, run.out


@pytest.mark.parametrize(
    ("value", "ini", "message"),
    [
        ("5", "", "takes STAB:RUN"),
        ("a:b", "", "takes STAB:RUN"),
        ("5:4:names", "", "takes STAB:RUN"),
        ("", "", "takes STAB:RUN"),
        ("0:4", "", "leaks_stab must be a number from 1 up"),
        ("5:0", "", "leaks_run must be a number from 1 up"),
        (":1000001", "", "run must be at most 1,000,000, not 1,000,001"),
        (":", "leaks_stab = many", "leaks_stab must be a number from 1 up, not 'many'"),
    ],
)
def test_bad_counts(tmp_path, value, ini, message):
    """Bad values are usage errors."""
    run = Run(tmp_path, f"--leaks={value}", test_it=LEAK, pytest=f"[pytest]\n{ini}\n")
    assert run.code == pytest.ExitCode.USAGE_ERROR
    assert message in run.err


def test_without_the_option_nothing_is_repeated(tmp_path):
    """Without -R a test runs once, and the fixture is None."""
    text = """\
        runs = []
        def test_it(leaks_checker):
            runs.append(1)
            assert leaks_checker is None
        def test_runs():
            assert len(runs) == 1
    """
    assert Run(tmp_path, test_it=text).counts == {"passed": 2}


def test_number_of_runs(tmp_path):
    """A clean test runs once for its report, and stab + run times more."""
    text = """\
        import array
        import pytest
        runs = array.array("q", [0])
        # The native heap may move by chance, and further rounds be run for that.
        @pytest.mark.assert_no_leaks(probes="-native heap")
        def test_it():
            runs[0] += 1
        @pytest.mark.no_leak_check
        def test_runs():
            assert runs[0] == 1 + 3 + 2
    """
    assert Run(tmp_path, "-R3:2", test_it=text).counts == {"passed": 2}


OWN_CHECKS = """\
    import unittest
    import pytest
    from refleak import assert_no_leaks, find_leaks, leak_check
    garbage = []
    quickly = {"max_rounds": 8}
    runs = []
    def leak():
        garbage.append([])
    def test_finds():
        runs.append(1)
        assert find_leaks(leak, **quickly).leaking
    def test_finds_nothing():
        runs.append(1)
        assert not find_leaks(lambda: None).leaking
    def test_fails():
        runs.append(1)
        with leak_check(**quickly) as check:
            check(leak)
    def test_block():
        runs.append(1)
        with leak_check():
            pass
    @pytest.fixture
    def checked():
        runs.append(1)
        assert not find_leaks(lambda: None).leaking
    def test_fixture(checked):
        pass
    @pytest.mark.assert_no_leaks
    def test_marked():
        runs.append(1)
        assert find_leaks(leak, **quickly).leaking
    @assert_no_leaks(**quickly)
    def test_decorated():
        leak()
    @assert_no_leaks
    def test_decorated_clean():
        pass
    @assert_no_leaks(**quickly)
    class Case(unittest.TestCase):
        def test_in_class(self):
            leak()
        def test_in_class_clean(self):
            pass
    def test_runs():
        assert len(runs) == 6
"""


@pytest.fixture(scope="module")
def own_checks(tmp_path_factory):
    """Run tests that check for leaks themselves: without -R, and with it."""
    folder = tmp_path_factory.mktemp("own")
    return [Run(folder, "-v", *repeat, test_it=OWN_CHECKS) for repeat in ([], ["-R", QUICK])]


def test_own_checks_are_left_alone(own_checks):
    """A test that checks for leaks itself is not repeated, and judged as without -R."""
    plain, repeated = own_checks
    assert plain.statuses == repeated.statuses
    assert plain.counts == repeated.counts == {"failed": 3, "passed": 8}
    assert "LeakError: leak leaked 1 reference" in repeated.out


def test_own_checks_are_told(own_checks, tmp_path):
    """With -v the summary says that a test was left to its own checks; without, nothing."""
    expected = "not judged: it checks for leaks itself"
    names = ["test_finds", "test_finds_nothing", "test_block", "test_fixture", "test_marked"]
    assert [own_checks[1].summary(name) for name in names] == [expected] * len(names)
    assert own_checks[1].summary("test_runs") is None
    silent = Run(tmp_path, "-R", QUICK, "-k", "finds or block", test_it=OWN_CHECKS)
    assert silent.counts == {"passed": 3, "deselected": 8}
    assert "leaks summary" not in silent.out


def test_hunting_in_a_test(tmp_path):
    """hunt_leaks() gives what leaks by quantity, and nothing for a clean function."""
    text = """\
        garbage = []
        runs = []
        def test_it(leaks_checker):
            runs.append(1)
            assert not leaks_checker.hunt_leaks(lambda: None)
            leaks = leaks_checker.hunt_leaks(lambda: garbage.append([]))
            assert leaks
            assert leaks["references"] == [1, 1]
            assert str(leaks).startswith("leaked references: [1, 1]")
            assert leaks.report.leaking
        def test_is_not_repeated():
            assert len(runs) == 1
    """
    assert Run(tmp_path, f"-R{QUICK}", test_it=text).counts == {"passed": 2}


def test_marker(tmp_path):
    """The marker makes a leaking test fail with LeakError in its call phase, without -R."""
    text = """\
        import pytest
        garbage = []
        @pytest.mark.assert_no_leaks(stab=2, run=3)
        def test_leak():
            garbage.append([])
        @pytest.mark.assert_no_leaks(stab=2, run=3)
        def test_clean():
            garbage.append([])
            garbage.clear()
        @pytest.mark.assert_no_leaks(stab=2, run=3, ignore="list")
        def test_ignored():
            garbage.append([])
        @pytest.mark.xfail(strict=True)
        @pytest.mark.assert_no_leaks(stab=2, run=3)
        def test_expected():
            garbage.append([])
        @pytest.mark.xfail
        @pytest.mark.assert_no_leaks(stab=2, run=3)
        def test_expected_clean():
            pass
        @pytest.mark.xfail(strict=True)
        @pytest.mark.assert_no_leaks(stab=2, run=3)
        def test_expected_strictly_clean():
            pass
        @pytest.mark.assert_no_leaks(stab=2, run=3)
        def test_fails():
            garbage.append([])
            assert 0
    """
    run = Run(tmp_path, "-v", test_it=text)
    assert run.statuses == {
        "test_leak": ["FAILED"],
        "test_clean": ["PASSED"],
        "test_ignored": ["PASSED"],
        "test_expected": ["XFAIL"],
        "test_expected_clean": ["XPASS"],
        "test_expected_strictly_clean": ["FAILED"],
        "test_fails": ["FAILED"],
    }
    assert "LeakError: test_it.py::test_leak leaked 1 reference" in run.out
    assert "test_it.py:3: LeakError" in run.out
    assert "[XPASS(strict)]" in run.out
    assert "_pytest_items.py" not in run.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("stab=0", "stab must be at least 1, not 0"),
        ("colour=1", "colour"),
        ("5", "keyword arguments only"),
    ],
)
def test_bad_marker(tmp_path, arguments, message):
    """Wrong options of the marker are an error of the test, before it runs."""
    text = f"""\
        import pytest
        @pytest.mark.assert_no_leaks({arguments})
        def test_it():
            raise SystemError
    """
    run = Run(tmp_path, test_it=text)
    assert run.counts == {"error": 1}
    assert message in run.out
    assert "During handling" not in run.out


def test_fails_when_repeated(tmp_path):
    """A test that passes at first and then fails is a failure which says so."""
    text = """\
        runs = []
        def test_only_twice():
            runs.append(1)
            assert len(runs) < 3
        def test_after_it():
            pass
    """
    run = Run(tmp_path, "-v", f"-R{QUICK}", test_it=text)
    assert run.statuses == {"test_only_twice": ["FAILED"], "test_after_it": ["PASSED"]}
    assert "The test passed at first, but failed in repetition 2, in its call phase." in run.out


def test_setup_fails_when_repeated(tmp_path):
    """A fixture that can be set up only once makes the test fail, which says so."""
    text = """\
        import pytest
        runs = []
        @pytest.fixture
        def once():
            runs.append(1)
            assert len(runs) < 2
        def test_it(once):
            pass
        def test_after_it():
            pass
    """
    run = Run(tmp_path, "-v", f"-R{QUICK}", test_it=text)
    assert run.statuses == {"test_it": ["FAILED"], "test_after_it": ["PASSED"]}
    assert "failed in repetition 1, in its setup phase" in run.out


def test_skips_when_repeated(tmp_path):
    """A test that skips when repeated keeps its outcome, and is said to be not judged."""
    text = """\
        import pytest
        runs = []
        def test_it():
            runs.append(1)
            if len(runs) > 1:
                pytest.skip()
    """
    run = Run(tmp_path, "-v", f"-R{QUICK}", test_it=text)
    assert run.statuses == {"test_it": ["PASSED"]}
    assert run.summary("test_it") == "not judged: skipped in repetition 1, in its call phase"


def test_folders_of_repetitions_are_removed(tmp_path):
    """A test's tmp_path of all repetitions but first and last is gone again."""
    text = """\
        def test_it(tmp_path):
            (tmp_path / "file").touch()
        def test_folders(tmp_path):
            assert len(list(tmp_path.parent.glob("test_it[0-9]*"))) <= 2
    """
    assert Run(tmp_path, f"-R{QUICK}", test_it=text).counts == {"passed": 2}


def test_wider_fixture_made_in_a_repetition(tmp_path):
    """A module fixture first used in a repetition is torn down at the end of the module."""
    text = """\
        import pytest
        runs = []
        @pytest.fixture(scope="module")
        def late():
            yield
            print("LATE TEARDOWN")
        def test_it(request):
            runs.append(1)
            if len(runs) == 2:
                request.getfixturevalue("late")
    """
    run = Run(tmp_path, "-s", f"-R{QUICK}", test_it=text)
    assert run.out.count("LATE TEARDOWN") == 1


def test_switched_off(tmp_path, monkeypatch):
    """With REFLEAK=off in the environment nothing is repeated, and the header says so."""
    monkeypatch.setenv("REFLEAK", "off")
    run = Run(tmp_path, f"-R{QUICK}", test_it=LEAK)
    assert run.counts == {"passed": 2}
    assert "leaks: REFLEAK=off, nothing is checked" in run.lines


def test_a_word_that_switches_nothing(tmp_path, monkeypatch):
    """Another word than on and off is wrong usage."""
    monkeypatch.setenv("REFLEAK", "bogus")
    run = Run(tmp_path, test_it=LEAK)
    assert run.code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: REFLEAK in the environment must be on or off, not 'bogus'" in run.err


def test_without_the_warnings_plugin(tmp_path):
    """-p no:warnings: a test that warns is clean, a leaking one leaks."""
    text = """\
        import warnings
        garbage = []
        def test_warns():
            warnings.warn("a warning")
        def test_leaks():
            warnings.warn("a warning")
            garbage.append([])
    """
    run = Run(tmp_path, "-v", f"-R{QUICK}", "-p", "no:warnings", test_it=text)
    assert run.statuses == {"test_warns": ["PASSED"], "test_leaks": ["LEAKED"]}


def test_last_failed(tmp_path):
    """--lf runs again what failed, with -R as without; a leak is no failure."""
    text = """\
        garbage = []
        def test_fails():
            assert 0
        def test_leaks():
            garbage.append([])
        def test_passes():
            pass
    """
    first = Run(tmp_path, f"-R{QUICK}", test_it=text)
    assert first.counts == {"failed": 1, "leaked": 1, "passed": 1}
    for arguments in ([f"-R{QUICK}"], []):
        assert Run(tmp_path, *arguments, "--lf").counts == {"failed": 1}


STOPPING = """\
    def test_passes():
        pass
    def test_fails():
        assert 0
    def test_fails_too():
        assert 0
    def test_fails_as_well():
        assert 0
"""


@pytest.mark.parametrize(
    ("argument", "counts"),
    [("-x", {"failed": 1, "passed": 1}), ("--maxfail=2", {"failed": 2, "passed": 1})],
)
def test_stops_at_failures(tmp_path, argument, counts):
    """-x and --maxfail stop where they stop without -R."""
    for repeat in ([], [f"-R{QUICK}"]):
        assert Run(tmp_path, argument, *repeat, test_it=STOPPING).counts == counts


def test_short_option_of_another_plugin(tmp_path):
    """Where another plugin has -R, values with a colon are ours, the others its; --leaks works."""
    plugin = """\
        def pytest_addoption(parser):
            parser.addoption("--remote", "-R", nargs="?", const="any", default="none")
    """
    text = """\
        def test_it(pytestconfig, leaks_checker):
            assert leaks_checker.stab == 3
            assert pytestconfig.getoption("remote") == "all"
    """
    for arguments in (["-R", "3:2", "-R", "all"], ["--leaks=3:2", "-Rall"]):
        run = Run(tmp_path, "-p", "other", *arguments, "test_it.py", other=plugin, test_it=text)
        assert run.counts == {"passed": 1}, run.out + run.err


# --- annotations ---------------------------------------------------------------------------------


def test_annotations_for_github(tmp_path):
    """Leaks under -R, of the marker and of the decorator are marked where they were allocated."""
    text = """
        import pytest
        from refleak import assert_no_leaks

        kept = []

        def test_hunted():
            kept.append([])

        @pytest.mark.assert_no_leaks(stab=2, max_rounds=28)
        def test_marked():
            kept.append([])

        @assert_no_leaks(stab=2, max_rounds=28)
        def test_decorated():
            kept.append([])

        def test_clean():
            pass
    """
    run = Run(tmp_path, "-R", QUICK, "--leaks-github", test_it=text)
    found = [line for line in run.lines if line.startswith("::")]
    assert 3 == len(found)
    for line, name in ((8, "test_hunted"), (12, "test_marked"), (16, "test_decorated")):
        assert any(
            f"::error file=test_it.py,line={line},title=leak in " in each and name in each
            for each in found
        ), found
    assert not any(line.startswith("::") for line in Run(tmp_path, "-R", QUICK).lines)
