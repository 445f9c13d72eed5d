"""The files that tell of a session: HTML, SARIF and JUnit's XML, by every door that writes them.

How the page looks in a browser, and that SARIF is of its schema, is for test_rendered.
"""

from __future__ import annotations

import html.parser
import itertools
import json
import os
import textwrap
from xml.etree import ElementTree as ET

import pytest
from running import ROOT, python

from refleak import Report, find_leaks
from refleak._diagnosis import Diagnosis
from refleak._files import FORMATS, check_path, write_files
from refleak._groups import Gained, Survivors
from refleak._holders import Filling, Holder, Unaccounted
from refleak._html import MOST_TYPES, page
from refleak._junit import junit
from refleak._origins import Line, Origin
from refleak._results import (
    ERROR,
    FAILED,
    KNOWN_LEAK,
    LEAKED,
    NOT_JUDGED,
    PASSED,
    SKIPPED,
    Result,
    result_of,
)
from refleak._sarif import sarif
from refleak._verdict import Finding, NotJudged, Resources, TypeChange

REFERENCES = Finding("references", "reference", (4, 4, 4, 4), 4.0, 2000)
HEAP = Finding("native heap", "byte", (0, 32, 0, 64), 24.5, 2000, part_of="references")
ORIGIN = Origin((Line("app/events.py", 12, "on", "kept.append(self)"),), (), 1.0, 64.0)
HOLDER = Holder("module app", 'bus -> _subscribers["tick"]', "list", 9, 13, 4)
GROUP = Survivors((Gained("app.Thing", 1.0),), (Gained("dict", 2.0),), HOLDER, origins=(ORIGIN,))


def leak(subject="test_it", **facts):
    """Return the report of a leak."""
    given = {
        "findings": (REFERENCES, HEAP),
        "types": (TypeChange("app.Thing", 4, 4), TypeChange("type", 0, 16)),
        "diagnosis": Diagnosis(calls=16, traced=4, survivors=(GROUP,)),
        **facts,
    }
    return Report(subject=subject, stab=5, run=4, rounds=2033, **given)


CLEAN = Report(subject="test_clean", stab=5, run=4, rounds=9)

SESSION = [
    Result("pkg.test_app.TestIt.test_it", LEAKED, 1.5, leak(), file="test_app.py"),
    Result("pkg.test_app.TestIt.test_clean", PASSED, 0.25, CLEAN),
    Result("pkg.test_app.TestIt.test_known", KNOWN_LEAK, 0.5, leak(known_leak="issue 7")),
    Result("pkg.test_app.TestIt.test_broken", FAILED, 0.1, None, "Traceback\nKeyError: 'key'"),
    Result("pkg.test_app.TestIt.test_later", SKIPPED, 0.0, None, "needs a database"),
    Result("setUpClass (pkg.test_app.TestOther)", ERROR, 0.0, None, "OSError: no"),
    Result("pkg.test_app.TestIt.test_inner", NOT_JUDGED, 0.0, None, "it checks itself"),
]


class Reader(html.parser.HTMLParser):
    """Reads a page: its tags with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "circle", "path", "polyline"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"script", "style"}:
            self.texts.append(data)

    @property
    def text(self):
        """The text that a reader sees."""
        return "\n".join(self.texts)


# --- HTML --------------------------------------------------------------------------------------


def test_a_page_of_one_report_says_all_of_it():
    """Headline, quantities with their rate, holders, origin, types and rounds."""
    shown = Reader(leak().to_html())
    assert [] == shown.open
    for text in (
        "test_it leaked 4 references per call",
        "4 references per call",
        "module app",
        '_subscribers["tick"]',
        "list, 9 -> 13 items, +1 per call",
        "app.Thing",
        "2 dict",
        "app/events.py:12 in on   kept.append(self)",
        "1 memory block and 64 B per call",
        "5 warm-up, 4 measured, 2,024 more to be sure",
    ):
        assert text in shown.text


def test_the_growth_is_drawn_per_quantity():
    """Each plot has a point for the beginning and each measured round, and says its numbers."""
    threads = Finding("threads", "thread", (0, 1, 0, 2), 0.75, 60)
    shown = Reader(leak(findings=(REFERENCES, HEAP, threads)).to_html())
    labels = [attrs["aria-label"] for tag, attrs in shown.tags if tag == "svg"]
    assert ["references: +4 +4 +4 +4", "threads: 0 +1 0 +2"] == labels
    assert 2 * 5 == sum(tag == "circle" for tag, _ in shown.tags)
    heights = [
        [float(point.split(",")[1]) for point in attrs["points"].split()]
        for tag, attrs in shown.tags
        if tag == "polyline"
    ]
    assert sorted(heights[0], reverse=True) == heights[0]  # growing goes up
    assert heights[1][0] == heights[1][1] > heights[1][2] == heights[1][3] > heights[1][4]


def test_what_is_left_out_is_said():
    """Types beyond the table, groups beyond the search, and what could not be judged."""
    types = tuple(TypeChange(f"app.T{number}", 1, 1) for number in range(MOST_TYPES + 3))
    diagnosis = Diagnosis(calls=8, traced=4, survivors=(GROUP,), more=2)
    unjudged = (NotJudged("threads", "no permission"),)
    text = Reader(leak(types=types, diagnosis=diagnosis, not_judged=unjudged).to_html()).text
    assert "... and 3 more" in text
    assert "... and 2 more" in text
    assert "threads: no permission" in text


def test_native_leaks_and_resources_are_told():
    """What has no holder in Python has a sentence; what stayed has its names."""
    lost = Unaccounted("builtins.round", "builtin_function_or_method", 1.0, new=False)
    facts = {
        "diagnosis": Diagnosis(calls=8, traced=4, unaccounted=(lost,)),
        "resources": (Resources("file descriptors", "file descriptor", ("/tmp/x", "/tmp/x")),),
    }
    text = Reader(leak(**facts).to_html()).text
    assert "builtins.round gains 1 reference per call that no container accounts for" in text
    assert "file descriptor: /tmp/x (2 times)" in text


def test_a_clean_report_has_a_page():
    """It says that nothing leaks and how often it was run."""
    filling = Diagnosis(calls=8, traced=4, filling=(Filling("lru_cache of f", 9, 128),))
    for report in (CLEAN, Report("test_clean", 5, 4, 9, diagnosis=filling)):
        text = Reader(report.to_html()).text
        assert "test_clean does not leak" in text
        assert "5 warm-up, 4 measured" in text


def test_a_session_has_a_table_with_links_to_its_leaks():
    """Each test has a row with status, growth and seconds; each leak a part of its own."""
    shown = Reader(page(SESSION))
    assert "2 of 7 tests leaked" in shown.text
    for result in SESSION:
        assert result.name in shown.text
        assert result.status in shown.text
    assert "needs a database" in shown.text
    links = [attrs["href"] for tag, attrs in shown.tags if tag == "a"]
    parts = [f"#{attrs['id']}" for tag, attrs in shown.tags if tag == "section" and "id" in attrs]
    assert ["#leak-0", "#leak-1"] == links == parts


def test_a_session_without_tests_or_checks_has_a_page():
    """Nothing was checked: the page says so, and nothing else."""
    assert "0 of 0 tests leaked" in Reader(page([])).text
    unchecked = [Result("a", PASSED), Result("b", PASSED)]
    assert "0 of 2 tests leaked" in Reader(page(unchecked)).text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src="https://example.com/x.png" onerror="alert(2)">',
    "'-alert(3)-' &lt;script&gt; ]]>",
    "right-to-left \u202e override \u2066 isolate",
    "null \0 and surrogate \ud800 and \x1b[31m",
    "x" * 1_000_000,
)


def hostile(text):
    """Return the results of a session in which every text is *text*."""
    line = Line(text, 12, text, text)
    origin = Origin((line,), (line,), 1.0, 64.0)
    holder = Holder(text, f"{text} -> {text}", text, 9, 13, 4)
    group = Survivors((Gained(text, 1.0),), (Gained(text, 2.0),), holder, (holder,), (origin,))
    lost = Unaccounted(text, text, 1.0, new=True, where=text)
    report = Report(
        subject=text,
        stab=5,
        run=4,
        rounds=9,
        findings=(Finding(text, text, (1, 1, 1, 1), 1.0, 20), REFERENCES),
        types=(TypeChange(text, 1, 1),),
        notes=(text,),
        not_judged=(NotJudged(text, text),),
        counting=text,
        resources=(Resources(text, text, (text,)),),
        diagnosis=Diagnosis(calls=8, traced=4, survivors=(group,), unaccounted=(lost,)),
        known_leak=text,
    )
    return [
        Result(text, KNOWN_LEAK, 1.0, report, text, text),
        Result(text, FAILED, 1.0, None, text),
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_is_only_text_in_a_page(text, tmp_path):
    """No tag, attribute or address comes out of it; control characters are seen, it is cut."""
    write_files(hostile(text), {"html": str(tmp_path / "page.html")})
    written = (tmp_path / "page.html").read_text(encoding="utf-8")
    harmless, shown = Reader(page(hostile("harmless"))), Reader(written)
    assert [tag for tag, _ in harmless.tags] == [tag for tag, _ in shown.tags]
    assert [set(attrs) for _, attrs in harmless.tags] == [set(attrs) for _, attrs in shown.tags]
    assert not {"\u202e", "\u2066", "\0", "\x1b", "\ud800"} & set(written)
    assert len(written) < 100_000


def test_the_policy_allows_nothing_but_its_own():
    """The page may fetch nothing and run nothing but its own script and style, told by hash."""
    (policy,) = (
        attrs["content"]
        for tag, attrs in Reader(page(SESSION)).tags
        if tag == "meta" and "http-equiv" in attrs
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


# --- SARIF -------------------------------------------------------------------------------------


def test_a_leak_is_a_result_where_it_was_allocated():
    """Rule, level, message, line and fingerprint are those of the leak."""
    (run,) = json.loads(sarif(SESSION))["runs"]
    first, known = run["results"]
    assert ["error", "warning"] == [first["level"], known["level"]]
    assert "leak/references" == first["ruleId"]
    assert first["ruleId"] == run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"]
    assert first["message"]["text"].splitlines() == [
        "test_it leaked 4 references per call",
        'held by module app -> bus -> _subscribers["tick"] (list, 9 -> 13 items) -> app.Thing',
    ]
    place = first["locations"][0]["physicalLocation"]
    assert {"uri": "app/events.py", "uriBaseId": "%SRCROOT%"} == place["artifactLocation"]
    assert {"startLine": 12} == place["region"]
    assert {"references": [4, 4, 4, 4], "native heap": [0, 32, 0, 64]} == first["properties"]


def test_a_fingerprint_outlives_a_moved_line():
    """It is the same when lines move, and another one for another leak."""

    def fingerprint(number, kind="app.Thing"):
        origin = Origin((Line("a.py", number, "f", "x"),), (), 1.0, 64.0)
        group = Survivors((Gained(kind, 1.0),), (), HOLDER, origins=(origin,))
        found = leak(
            types=(TypeChange(kind, 4, 4),),
            diagnosis=Diagnosis(calls=16, traced=4, survivors=(group,)),
        )
        (result,) = json.loads(sarif([result_of(found)]))["runs"][0]["results"]
        return result["partialFingerprints"]["leak/v1"]

    assert fingerprint(12) == fingerprint(13) != fingerprint(12, "app.Other")


def test_without_an_origin_the_tests_file_is_named():
    """Of a leak that nothing was allocated for, the test's own file is the place."""
    result = Result("a b.py::test", LEAKED, 0.0, leak(diagnosis=None), file="a b.py")
    (found,) = json.loads(sarif([result]))["runs"][0]["results"]
    (location,) = found["locations"]
    assert "a%20b.py" == location["physicalLocation"]["artifactLocation"]["uri"]
    (found,) = json.loads(sarif([result_of(leak(diagnosis=None))]))["runs"][0]["results"]
    assert [{"fullyQualifiedName": "test_it", "kind": "function"}] == found["locations"][0][
        "logicalLocations"
    ]


def test_a_clean_session_has_a_log_without_results():
    """Nothing leaks: code scanning closes what was open."""
    assert [] == json.loads(sarif([result_of(CLEAN)]))["runs"][0]["results"]


# --- JUnit -------------------------------------------------------------------------------------


def test_the_xml_counts_and_names_tests():
    """Failures, errors and skipped tests as they are; a leak is a failure with properties."""
    suite = ET.fromstring(junit(SESSION)).find("testsuite")
    numbers = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert {"tests": "7", "failures": "2", "errors": "1", "skipped": "1"} == numbers
    cases = {case.get("name"): case for case in suite}
    leaked = cases["test_it"]
    assert ("pkg.test_app.TestIt", "1.500") == (leaked.get("classname"), leaked.get("time"))
    properties = {each.get("name"): each.get("value") for each in leaked.iter("property")}
    assert {"leaked references": "[4, 4, 4, 4]"} == properties
    assert "test_it leaked 4 references per call" == leaked.find("failure").get("message")
    assert str(leak()) == leaked.find("failure").text
    assert "KeyError: 'key'" == cases["test_broken"].find("failure").get("message")
    assert "needs a database" == cases["test_later"].find("skipped").get("message")
    assert ["properties"] == [each.tag for each in cases["test_known"]]
    assert [] == [*cases["test_clean"], *cases["test_inner"]]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_is_only_text_in_xml(text, tmp_path):
    """The XML stays well-formed, and has no elements that come out of a text."""
    write_files(hostile(text), {"junit": str(tmp_path / "junit.xml")})
    root = ET.parse(tmp_path / "junit.xml").getroot()
    expected = [each.tag for each in ET.fromstring(junit(hostile("harmless"))).iter()]
    assert expected == [each.tag for each in root.iter()]


# --- the doors ---------------------------------------------------------------------------------

SUBJECTS = """
    import unittest

    kept = []

    class Widget:
        pass

    def leaking():
        kept.append(Widget())

    def clean():
        Widget()

    class TestKeeper(unittest.TestCase):
        def test_keep(self):
            kept.append(Widget())

        def test_drop(self):
            object()

        def test_fail(self):
            self.fail("on purpose")

        @unittest.skip("not now")
        def test_skip(self):
            pass

        def test_parts(self):
            for number in (1, 2):
                with self.subTest(number=number):
                    self.assertEqual(1, number)

        @unittest.expectedFailure
        def test_expected(self):
            self.fail("as expected")
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a module of subjects."""
    (tmp_path / "test_subjects.py").write_text(textwrap.dedent(SUBJECTS), encoding="utf-8")
    return tmp_path


def started(folder, *arguments):
    """Run this interpreter in *folder*."""
    return python(*arguments, folder=folder, PYTHONPATH=str(ROOT), PYTEST_ADDOPTS="")


def statuses(path, names):
    """Return the status that a page's table gives each test, by the last part of its name."""
    texts = [text.strip() for text in Reader(path.read_text(encoding="utf-8")).texts]
    words = [text for text in texts if text]
    found = {}
    for name, status in itertools.pairwise(words):
        for each in names:
            if name.replace("::", ".").partition(" ")[0].endswith(f".{each}"):
                found.setdefault(each, status)
    return found


EXPECTED = {
    "test_keep": "leaked",
    "test_drop": "passed",
    "test_fail": "failed",
    "test_skip": "skipped",
    "test_parts": "failed",
    "test_expected": "expected failure",
}


def test_run_writes_every_kind(folder):
    """``run`` writes the files that its options name, and the annotation on its output."""
    options = [f"--{name}=out.{name}" for name in FORMATS]
    ran = started(
        folder, "-m", "refleak", "run", "test_subjects:leaking", "--stab=2", "--github", *options
    )
    assert 1 == ran.returncode, ran.stderr
    assert "\n::error file=test_subjects.py,line=10," in ran.stdout
    assert "leaking leaked 2 references" in Reader((folder / "out.html").read_text("utf-8")).text
    assert 1 == len(json.loads((folder / "out.sarif").read_text())["runs"][0]["results"])
    assert "1" == ET.parse(folder / "out.junit").getroot()[0].get("failures")


def test_unittest_writes_every_kind(folder):
    """``unittest -R`` tells of each test in each kind of file."""
    options = [f"--{name}=out.{name}" for name in FORMATS]
    arguments = ["-R", "2:2", "--github", *options, "test_subjects"]
    ran = started(folder, "-m", "refleak", "unittest", *arguments)
    assert 1 == ran.returncode, ran.stderr
    assert "\n::error file=test_subjects.py,line=17," in f"\n{ran.stdout}"
    assert EXPECTED == statuses(folder / "out.html", EXPECTED)
    assert 1 == len(json.loads((folder / "out.sarif").read_text())["runs"][0]["results"])
    suite = ET.parse(folder / "out.junit").getroot()[0]
    assert ("6", "3", "2") == tuple(suite.get(each) for each in ("tests", "failures", "skipped"))


def test_a_repeated_suite_writes_them_too(folder):
    """With ``-N`` the suite is the one subject."""
    arguments = ["-N", "3", "--html=out.html", "test_subjects.TestKeeper.test_keep"]
    ran = started(folder, "-m", "refleak", "unittest", *arguments)
    assert 3 == ran.returncode, ran.stderr
    assert "the suite leaked" in Reader((folder / "out.html").read_text("utf-8")).text


def test_pytest_writes_pages_and_sarif(folder):
    """``--leaks-html`` and ``--leaks-sarif`` tell of each test of the session."""
    options = ["--leaks-html=out.html", "--leaks-sarif=out.sarif", "-p", "no:cacheprovider"]
    ran = started(folder, "-m", "pytest", "-p", "leaks", "-R", "2:2", *options, "test_subjects.py")
    assert 1 == ran.returncode, ran.stdout
    assert EXPECTED == statuses(folder / "out.html", EXPECTED)
    (result,) = json.loads((folder / "out.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert ("test_subjects.py", 17) == (
        place["artifactLocation"]["uri"],
        place["region"]["startLine"],
    )


def test_what_pytest_did_not_check_is_not_called_passed(folder):
    """Without ``-R``, and with ``no_leak_check``, the page says that nothing was judged."""
    (folder / "test_unchecked.py").write_text(
        "import pytest\ndef test_plain(): pass\n@pytest.mark.no_leak_check\ndef test_left(): pass\n"
    )
    options = ["--leaks-html=out.html", "-p", "no:cacheprovider", "test_unchecked.py"]
    for checking, plain in (([], "not judged"), (["-R", "2:2"], "passed")):
        ran = started(folder, "-m", "pytest", "-p", "leaks", *checking, *options)
        assert 0 == ran.returncode, ran.stdout
        assert {"test_plain": plain, "test_left": "not judged"} == statuses(
            folder / "out.html", ("test_plain", "test_left")
        )


@pytest.mark.parametrize("path", ["missing/out.html", "."])
def test_a_path_that_cannot_be_written_is_refused_at_once(folder, path):
    """Each door says so before it runs anything, with the option and the path."""
    with pytest.raises(ValueError, match=r"there is no folder|is a folder"):
        check_path(str(folder / path))
    front = started(folder, "-m", "refleak", "run", "test_subjects:leaking", f"--html={path}")
    assert (2, True) == (front.returncode, "--html" in front.stderr and repr(path) in front.stderr)
    ran = started(folder, "-m", "pytest", "-p", "leaks", f"--leaks-html={path}")
    assert (4, True) == (ran.returncode, f"--leaks-html: {path!r}" in ran.stderr)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_file_that_cannot_be_written_is_no_leak(folder):
    """What fails in the end is said, with a status of its own; nothing else is lost."""
    front = started(folder, "-m", "refleak", "run", "test_subjects:clean", "--html=/dev/full")
    message = "cannot write '/dev/full': No space left on device"
    assert (2, f"{message}\n") == (front.returncode, front.stderr)
    assert "clean does not leak" in front.stdout
    arguments = ["-R", "2:2", "--junit=/dev/full", "test_subjects.TestKeeper.test_drop"]
    ran = started(folder, "-m", "refleak", "unittest", *arguments)
    assert (2, True) == (ran.returncode, message in ran.stderr)
    options = ["--leaks-sarif=/dev/full", "-k", "keep", "-p", "no:cacheprovider"]
    ran = started(folder, "-m", "pytest", "-p", "leaks", "-R", "2:2", *options, "test_subjects.py")
    assert (4, True) == (ran.returncode, message in ran.stdout)
    assert "leaks summary" in ran.stdout


def test_the_place_is_the_users(folder):
    """Of what the runner made, the test's file is the place, and no file of Python's."""
    text = """
        import unittest
        kept = []
        class TestKept(unittest.TestCase):
            def setUp(self):
                kept.append(self)
            def test_it(self):
                pass
    """
    (folder / "test_kept.py").write_text(textwrap.dedent(text), encoding="utf-8")
    ran = started(folder, "-m", "refleak", "unittest", "-R", "2:2", "--github", "test_kept")
    assert 3 == ran.returncode, ran.stderr
    assert ran.stdout.startswith("::error file=test_kept.py,title=leak in TestKept.test_it::")


def test_the_time_of_a_check_is_the_tests(folder):
    """The seconds that the page of a pytest session shows are those of all rounds."""
    (folder / "test_slow.py").write_text(
        "import time, pytest\ndef test_slow(): time.sleep(0.05)\ndef test_skip(): pytest.skip()\n"
    )
    options = ["--leaks-html=out.html", "-p", "no:cacheprovider"]
    started(folder, "-m", "pytest", "-p", "leaks", "-R", "3:2", *options, "test_slow.py")
    page_ = Reader((folder / "out.html").read_text("utf-8"))
    (seconds, _) = [
        float(a["data-value"]) for tag, a in page_.tags if tag == "td" and "data-value" in a
    ]
    assert seconds > 6 * 0.05


def test_a_real_leak_makes_every_kind(tmp_path):
    """The files are made of a real report as well."""
    kept = []
    report = find_leaks(lambda: kept.append([]), stab=2, run=2)
    paths = {name: str(tmp_path / name) for name in FORMATS}
    write_files([result_of(report)], paths)
    assert report.headline in Reader((tmp_path / "html").read_text("utf-8")).text
    assert report.headline in (tmp_path / "sarif").read_text("utf-8")
    assert "leaked container references" in (tmp_path / "junit").read_text("utf-8")
