"""The front door: ``python -m refleak run``, ``doctor``, and its help."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import textwrap
import tracemalloc

import pytest
from running import python

import refleak
from refleak import __main__ as front
from refleak import _doctor

SUBJECTS = """
    import asyncio
    import unittest

    kept = []

    def clean():
        return [object()]

    def leaking():
        kept.append(object())

    async def leaking_async():
        await asyncio.sleep(0)
        kept.append(object())

    def raising():
        raise KeyError("key")

    async def raising_async():
        raise KeyError("key")

    def leaving():
        raise SystemExit(0)

    def returning_a_coroutine():
        return leaking_async()

    def generator():
        yield 1

    def with_argument(number):
        pass

    class Tests(unittest.TestCase):
        pass

    class Parser:
        @staticmethod
        def parse():
            kept.append([])
"""


@pytest.fixture
def subjects(tmp_path, monkeypatch):
    """A folder with a module of subjects, which is the working directory."""
    (tmp_path / "subjects.py").write_text(textwrap.dedent(SUBJECTS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield tmp_path
    sys.modules.pop("subjects", None)


def run(*arguments):
    """Run the front door in this process; return the exit status."""
    try:
        return front.main(["run", "--stab=2", "--run=2", *arguments])
    except SystemExit as error:
        return error.code


@pytest.mark.parametrize(
    ("name", "expected"),
    [("clean", 0), ("leaking", 1), ("leaking_async", 1), ("raising", 2), ("Parser.parse", 1)],
)
def test_exit_statuses(subjects, name, expected):
    """0 is clean, 1 a leak, 2 that nothing was judged; a dotted path names a method."""
    assert expected == run(f"subjects:{name}")


@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("x = = 1", "SyntaxError: invalid syntax"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise ValueError('own')", "ValueError: own"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_module_that_raises_on_import(subjects, capsys, source, last):
    """It gives no verdict either; the traceback begins at the module."""
    (subjects / "raises_on_import.py").write_text(source, encoding="utf-8")
    assert 2 == run("raises_on_import:function")
    err = capsys.readouterr().err
    assert 1 == err.count('File "') == err.count('raises_on_import.py", line 1')
    assert err.endswith(
        f"{last}\nnot judged: raises_on_import:function raised {last.partition(':')[0]}\n"
    )


def test_an_interrupt_ends_the_program(subjects, monkeypatch):
    """Ctrl-C is nobody's exception."""
    (subjects / "interrupted.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        run("interrupted:function")


@pytest.mark.parametrize("name", ["clean", "leaking"])
def test_output_that_nobody_reads(subjects, name):
    """A pipe that is closed changes neither the exit status nor the files that are written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "refleak", "run", f"subjects:{name}", "--json=report.json"]
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [*command, "--github"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ("", name == "leaking") == (done.stderr, bool(done.returncode))
    assert (subjects / "report.json").exists()


def test_a_file_that_cannot_be_written(subjects, capsys):
    """A folder that is missing is wrong usage; what fails later is told, and no leak either."""
    assert 2 == run("subjects:clean", "--json=missing/report.json")
    assert "--json: 'missing/report.json': there is no folder" in capsys.readouterr().err
    assert 2 == run("subjects:clean", "--json=/dev/full")
    assert "cannot write '/dev/full': No space left" in capsys.readouterr().err


def test_the_report_is_printed(subjects, capsys):
    """The report goes to the output; without a terminal there is no progress line."""
    run("subjects:leaking")
    out, err = capsys.readouterr()
    assert "leaking leaked 1 reference and 1 memory block per call" in out
    assert "2 warm-up, 2 measured" in out
    assert "" == err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["subjects"], "write package.module:function"),
        ([":clean"], "write package.module:function"),
        ([".subjects:clean"], "write package.module:function"),
        (["subjects.py:clean"], "write subjects:clean"),
        (["subjects.py::clean"], "write subjects:clean"),
        (["no_such_module:clean"], "cannot import 'no_such_module'"),
        (["subjects:missing"], "has no attribute 'missing'"),
        (["subjects:kept"], "takes a function, not [] (list); write package.module:function"),
        (["subjects:generator"], "cannot check the generator function generator"),
        (["subjects:Tests"], "the class Tests, whose tests are run one by one; decorate it with"),
        (["subjects:with_argument"], "is called without arguments, but: missing a required"),
        (["subjects:clean", "--stab=0"], "stab must be at least 1, not 0"),
        (["subjects:clean", "--probes=nonsense"], "unknown quantity 'nonsense'"),
        (["subjects:clean", "--ignore=no.such.Type"], "no type named 'no.such.Type'"),
        (["subjects:clean", "--stab=many"], "invalid int value"),
        (["subjects:clean", "--tolerance=1"], "no quantity named '' is judged"),
        (["subjects:clean", "--tolerance=objects"], "'objects' is not QUANTITY=N, such as"),
        (["subjects:clean", "--tolerance=objets=1"], "no quantity named 'objets' is judged"),
        (["subjects:clean", "--strict"], "strict=True goes with known_leak='reason' only"),
        ([], "required: MODULE:FUNCTION"),
    ],
)
def test_wrong_usage(subjects, capsys, arguments, message):
    """Wrong usage exits with 2 and says in one sentence what is wrong."""
    assert 2 == run(*arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("raising", "KeyError: 'key'"),
        ("raising_async", "KeyError: 'key'"),
        ("leaving", "SystemExit: 0"),
    ],
)
def test_an_exception_is_shown(subjects, capsys, name, last):
    """What the function raises is shown with its traceback, from the function on."""
    assert 2 == run(f"subjects:{name}")
    out, err = capsys.readouterr()
    assert "" == out
    assert 1 == err.count('File "') == err.count("subjects.py")
    assert f"{last}\nnot judged: subjects:{name} raised {last.partition(':')[0]}\n" in err


def test_a_function_that_returns_a_coroutine(subjects, capsys):
    """It is refused as everywhere, since nothing was run."""
    assert 2 == run("subjects:returning_a_coroutine")
    assert "returned a coroutine that nobody awaits" in capsys.readouterr().err


def test_probes_select_what_is_judged(subjects, capsys):
    """Names stand in one option with commas between, or in several."""
    assert 0 == run("subjects:leaking", "--probes=-all,threads", "--probes=file descriptors")
    assert "references" not in capsys.readouterr().out


def test_json(subjects, capsys):
    """--json writes the report to a file, or to the output in place of the text."""
    assert 1 == run("subjects:leaking", "--json", "report.json")
    written = json.loads((subjects / "report.json").read_text(encoding="utf-8"))
    assert written["leaking"] is True
    capsys.readouterr()
    assert 0 == run("subjects:clean", "--json", "-")
    assert json.loads(capsys.readouterr().out)["subject"] == "clean"


@pytest.mark.parametrize(
    ("expected", "name", "arguments"),
    [
        (0, "leaking", ["--tolerance=references=1", "--tolerance", "memory blocks=1.5"]),
        (1, "leaking", ["--tolerance=references=1", "--tolerance=memory blocks=0.5"]),
        (0, "leaking", ["--known-leak=issue 7"]),
        (0, "leaking", ["--known-leak=issue 7", "--strict"]),
        (0, "clean", ["--known-leak=issue 7"]),
        (1, "clean", ["--known-leak=issue 7", "--strict"]),
    ],
)
def test_what_is_allowed(subjects, expected, name, arguments):
    """Tolerated growth and known leaks are as with the options of the same names."""
    only = "--probes=-all,references,memory blocks"
    assert expected == run(f"subjects:{name}", only, *arguments)


def test_a_known_leak_is_shown(subjects, capsys):
    """So is that it is gone."""
    run("subjects:leaking", "--known-leak=issue 7")
    out, err = capsys.readouterr()
    assert "leaking leaked 1 reference" in out
    assert "Known leak   issue 7" in out
    assert "" == err
    run("subjects:clean", "--known-leak=issue 7", "--strict")
    gone = "clean was marked with known_leak='issue 7', but leaks no more: remove the mark\n"
    assert gone == capsys.readouterr().err


def test_bounds(subjects, capsys):
    """Further rounds can be bounded in number and in time."""
    run("subjects:leaking", "--max-rounds=14")
    assert "ended at the bound of 14 rounds" in " ".join(capsys.readouterr().out.split())
    assert 2 == run("subjects:leaking", "--max-seconds=-1")
    assert "max_seconds must be a finite number from 0 up, not -1.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["run", "subjects:clean", "--no-such"], "usage: python -m refleak run "),
        (["doctor", "--no-such"], "usage: python -m refleak doctor "),
        (["--no-such"], "usage: python -m refleak [-h]"),
    ],
)
def test_an_unknown_option_shows_the_usage_of_its_command(subjects, capsys, arguments, usage):
    """It is the command's options that the reader must know."""
    with pytest.raises(SystemExit, match="2"):
        front.main(arguments)
    err = capsys.readouterr().err
    assert err.startswith(usage)
    assert "error: unknown arguments: --no-such" in err


def test_the_version(capsys):
    """--version is that of the package."""
    assert 0 == front.main(["--version"])
    assert f"refleak {refleak.__version__}\n" == capsys.readouterr().out


def test_an_annotation_for_github(subjects, capsys):
    """With --github the line that allocated the leak is marked; nothing is where nothing leaks."""
    assert 1 == run("subjects:leaking", "--github")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("::error file=subjects.py,line=")
    assert ",title=leak in leaking::leaking leaked " in last
    assert 0 == run("subjects:clean", "--github")
    assert "::" not in capsys.readouterr().out


def test_a_progress_line_on_a_terminal(subjects, capsys, monkeypatch):
    """On a terminal a line shows the round; it is taken away in the end, and is no leak."""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    monkeypatch.setattr(front.ProgressLine, "SECONDS", 0.0)
    assert 0 == run("subjects:clean")
    err = capsys.readouterr().err
    assert "\rleak check: round 1 (warm-up), 0." in err
    assert err.endswith(" \r")


def test_the_progress_of_a_long_hunt(subjects, capsys, monkeypatch):
    """In doubt the line names the quantity and the time that is left; it fits on a terminal."""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    monkeypatch.setattr(front.ProgressLine, "SECONDS", 0.0)
    assert 1 == run("subjects:leaking")
    lines = capsys.readouterr().err.split("\r")
    doubt = [line for line in lines if "(further: references)" in line]
    assert re.search(
        r"round [\d,]+ \(further: references\), \d+\.\d s, at most \d+\.\d s more", doubt[-1]
    )
    assert {front.ProgressLine.COLUMNS} >= {len(line) for line in doubt}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["-h"], ["commands:", "run", "unittest", "doctor", "examples:"]),
        (["run", "-h"], ["MODULE:FUNCTION", "exit status: 0 no leak; 1 a leak; 2 wrong usage"]),
        (["doctor", "-h"], ["what a check costs"]),
        (["unittest", "-h"], ["-R STAB:RUN", "-N COUNT"]),
    ],
)
def test_help(arguments, parts, capsys):
    """Each command has a help text."""
    try:
        status = front.main(arguments)
    except SystemExit as error:
        status = error.code
    assert 0 == status
    out = capsys.readouterr().out
    assert [] == [part for part in parts if part not in out]


def test_without_a_command_the_help_is_shown(capsys):
    """It is wrong usage, and says what can be done."""
    assert 2 == front.main([])
    assert "commands:" in capsys.readouterr().out


def test_it_is_started_as_a_module(subjects):
    """``python -m refleak`` finds modules in the working directory."""
    done = python("-m", "refleak", "run", "subjects:leaking", PYTHONPATH="")
    assert 1 == done.returncode
    assert "leaking leaked 1 reference" in done.stdout


# --- doctor ------------------------------------------------------------------------------------


def test_doctor_fits_a_screen(capsys, monkeypatch):
    """Everything is said in a screenful of 80 columns, with measured costs."""
    monkeypatch.setattr(_doctor, "MORE_ROUNDS", 1)
    assert 0 == front.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert 40 >= len(lines)
    assert 80 >= max(map(len, lines))
    text = "\n".join(lines)
    for part in ("GIL", "JIT", "PYTHONMALLOC", "psutil", "tracemalloc", "native heap", " ms "):
        assert part in text, part
    assert re.search(r"one more round +\d+ microseconds", text)
    assert hasattr(sys, "gettotalrefcount") == ("sys.gettotalrefcount()" in text)


def test_every_quantity_is_judged_or_not():
    """Each quantity stands in exactly one section."""
    rows = [
        *_doctor.probe_rows(default=True),
        *_doctor.probe_rows(default=False),
        *_doctor.unavailable_rows(),
    ]
    assert sorted(_doctor.PROBES) == sorted(name for name, _ in rows)
    assert all(text for _, text in rows)


def test_what_cannot_be_judged_has_its_reason():
    """Without Python's own allocator there are no memory blocks, and doctor says why."""
    done = python("-m", "refleak", "doctor", PYTHONMALLOC="malloc")
    assert "PYTHONMALLOC          malloc" in done.stdout
    section = done.stdout.partition("Not judged here")[2]
    assert "memory blocks         Python's own allocator is off" in section


def test_a_tracer_is_in_the_way():
    """A debugger or coverage is named."""
    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: None)
    try:
        found = _doctor.disturbances()
    finally:
        sys.settrace(before)
    assert ("tracing", "sys.settrace() is in use (function): a debugger or coverage") in found


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")
def test_a_monitoring_tool_is_in_the_way():
    """What coverage and debuggers use from 3.12 on is named."""
    number = next(each for each in range(6) if sys.monitoring.get_tool(each) is None)
    sys.monitoring.use_tool_id(number, "a tool")
    try:
        found = _doctor.disturbances()
    finally:
        sys.monitoring.free_tool_id(number)
    assert ("tracing", "sys.monitoring is in use by 'a tool'") in found


def test_other_disturbances(monkeypatch):
    """tracemalloc, the collector's debug flags and REFLEAK=off are named."""
    monkeypatch.setenv("REFLEAK", "off")
    flags = gc.get_debug()
    tracemalloc.start()
    gc.set_debug(flags | gc.DEBUG_SAVEALL)
    try:
        found = {name for name, _ in _doctor.disturbances()}
    finally:
        gc.set_debug(flags)
        tracemalloc.stop()
    assert {"tracemalloc", "garbage collector", "switched off"} <= found


def test_a_word_that_switches_nothing_is_in_the_way(monkeypatch):
    """doctor works all the same."""
    monkeypatch.setenv("REFLEAK", "bogus")
    said = "REFLEAK in the environment must be on or off, not 'bogus'"
    assert ("switched off", said) in _doctor.disturbances()


def test_rows_are_wrapped():
    """Long texts go on below themselves."""
    assert [f"  {'name':<22}" + "a" * 50, " " * 24 + "b" * 50] == _doctor.layout(
        [("name", "a" * 50 + " " + "b" * 50)]
    )
