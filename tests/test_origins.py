"""Where survivors were allocated."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import pytest
from diagnosing import diagnosis_of

from refleak import _origins
from refleak._diagnosis import diagnose
from refleak._origins import (
    Line,
    Origin,
    function_at,
    growth,
    shown_path,
    split,
    subject_frames,
)
from refleak._settle import settle

drops: list[object] = []
HERE = __file__
LIBRARY = json.__file__


@pytest.fixture(autouse=True)
def _released():
    yield
    drops.clear()


class Tap:
    """Makes drops."""

    def drip(self):
        """Leak."""
        drops.append({"some": ["thing"]})


def _line_of(text):
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_the_line_and_function_that_allocate():
    """The user's innermost line comes first, with its function, source and amounts per call."""
    (group,) = diagnosis_of(Tap().drip).survivors
    line = group.origins[0].lines[0]
    assert (HERE, _line_of('{"some"'), "Tap.drip") == (line.path, line.number, line.function)
    assert 'drops.append({"some": ["thing"]})' == line.source
    assert group.origins[0].blocks > 1


def test_a_library_called_by_the_user():
    """For what a library allocates, the user's line is first and the library's lines follow."""
    (group,) = diagnosis_of(lambda: drops.append(json.loads('{"a": []}'))).survivors  # HERE
    lines = group.origins[0].lines
    assert (HERE, _line_of("# " + "HERE")) == (lines[0].path, lines[0].number)
    assert all(line.path != HERE for line in lines[1:])
    assert len(lines) <= 4


def test_memory_that_no_object_of_the_heap_leads_to():
    """Leaked blocks that the collector cannot see are found by the traced memory alone."""
    import ctypes

    def subject():
        text = "drop" * 100
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(text + str(len(drops))))

    diagnosis = diagnosis_of(subject)
    assert () == diagnosis.survivors
    assert [_line_of("Py_IncRef(ctypes.py_object(text")] == [
        origin.lines[0].number for origin in diagnosis.origins
    ]
    assert 1 == diagnosis.origins[0].blocks


def test_memory_that_free_lists_serve():
    """Small tuples come from free lists: what lay there before is no reason to find no origin."""
    import ctypes

    def subject():
        pair = (drops, subject)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(pair))

    (origin,) = diagnosis_of(subject).origins
    assert _line_of("pair = (drops, " + "subject)") == origin.lines[0].number
    assert 1 == origin.blocks


def test_one_block_that_grows():
    """A text that is replaced by a longer one each call is told by its bytes."""
    kept = {"text": b""}

    def subject():
        kept["text"] += b"x" * 10_000

    origin = diagnosis_of(subject).origins[0]
    assert _line_of("+= b" + '"x"') == origin.lines[0].number
    assert 0 == origin.blocks
    assert 10_000 == pytest.approx(origin.size, rel=0.1)


def test_what_each_call_replaces_is_left_out():
    """Memory that is allocated anew each call, and does not add up, is no origin."""
    kept = {}

    def subject():
        kept["state"] = [[] for _ in range(100)]
        drops.append(object())

    diagnosis = diagnosis_of(subject)
    assert [_line_of("drops.append(object())")] == [
        origin.lines[0].number for origin in diagnosis.origins
    ]


def test_tracemalloc_is_stopped_again():
    """Tracing that the diagnosis started ends with it."""
    diagnosis_of(lambda: drops.append([]))
    assert not tracemalloc.is_tracing()


def test_tracemalloc_is_stopped_when_the_generator_is_closed():
    """Tracing ends also when the subject raises and the rounds are given up."""
    steps = diagnose(settle=settle)
    traced = []
    for _ in range(4):
        next(steps)
        traced.append(tracemalloc.is_tracing())
    steps.close()
    assert traced[-1]
    assert not tracemalloc.is_tracing()


def test_a_working_directory_that_was_removed(tmp_path, monkeypatch):
    """Without a place to see them from, paths are told as they are."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert __file__ == shown_path(__file__)


def test_tracing_of_the_users_is_left_alone():
    """Tracing that was on is used, with its own number of frames, and stays on."""
    tracemalloc.start(3)
    try:
        (group,) = diagnosis_of(Tap().drip).survivors
        assert 3 == tracemalloc.get_traceback_limit()
        assert _line_of('{"some"') == group.origins[0].lines[0].number
    finally:
        tracemalloc.stop()


def test_frames_of_this_library_are_cut():
    """Frames up to this library's last are left out, and so is all that measuring allocates."""
    own = _origins.OWN_FOLDER + "_api.py"
    measuring = _origins.OWN_FOLDER + "_settle.py"
    assert (("user.py", 2),) == subject_frames((("runner.py", 1), (own, 9), ("user.py", 2)))
    assert () == subject_frames((("runner.py", 1), (measuring, 9), ("gc.py", 2)))


def test_split_begins_with_the_users_innermost_line():
    """Callers go outwards from it, library frames inwards; the runner's are not the user's."""
    runner = "/somewhere/_pytest/runner.py"
    frames = ((runner, 1), (HERE, 2), (HERE, 3), (LIBRARY, 4), (LIBRARY, 5))
    shown, callers = split(frames)
    assert ((HERE, 3), (LIBRARY, 4), (LIBRARY, 5)) == shown
    assert ((HERE, 2),) == callers


def test_split_of_a_deep_library():
    """Of many frames in a library the first ones and the last are shown."""
    shown, _ = split(((HERE, 1), *((LIBRARY, number) for number in range(9))))
    assert ((HERE, 1), (LIBRARY, 0), (LIBRARY, 1), (LIBRARY, 8)) == shown


def test_growth_must_go_on():
    """A place that gains blocks at first only is none, nor is one where their size wanders."""
    one, two = ((HERE, 1),), ((HERE, 2),)
    moments = [
        {one: (0, 0), two: (1, 90)},
        {one: (9, 9), two: (1, 300)},
        {one: (9, 9), two: (1, 90)},
    ]
    assert () == growth(moments, [2, 2], 1)


def test_growth_counts_per_call_and_sorts():
    """Places are added up by the lines shown, and the most blocks come first."""
    one, two = ((HERE, 1),), ((HERE, 2),)
    moments = [{one: (5, 50)}, {one: (7, 70), two: (6, 12)}, {one: (9, 90), two: (12, 24)}]
    found = growth(moments, [2, 2], 1)
    assert [(2, 3.0, 6.0), (1, 1.0, 10.0)] == [
        (origin.lines[0].number, origin.blocks, origin.size) for origin in found
    ]


def test_the_function_of_a_line(tmp_path):
    """A line's function is told by indentation, with the classes and functions around it."""
    source = tmp_path / "tap.py"
    source.write_text(
        "class Tap:\n"
        "    size = [1]\n"
        "    def drip(self,\n"
        "             times):\n"
        "        if times:\n"
        "            return [\n"
        "                times\n"
        "            ]\n"
        "    def one(self): return []\n"
        "async def run():\n"
        "    def inner():\n"
        "        return []\n"
        "    return inner\n"
        "done = []\n"
    )
    functions = [function_at(str(source), number) for number in (2, 6, 7, 9, 12, 13, 11, 14)]
    assert [
        "<module>",
        "Tap.drip",
        "Tap.drip",
        "Tap.one",
        "run.inner",
        "run",
        "run",
        "<module>",
    ] == functions
    assert "<unknown>" == function_at(str(tmp_path / "missing.py"), 3)


def test_functions_around_texts(tmp_path):
    """A text over several lines may begin in any column; quotes in comments mean nothing."""
    source = tmp_path / "letters.py"
    lines = [
        "def write(to):  # it's theirs",
        "    '''A letter.",
        "",
        "class Text: written here",
        "    '''",
        "\x0c",
        '    text = f"""\\"',
        "Dear {to.title(",
        "            )}, it is 5'",
        '""".format(to)',
        "    return [text]",
    ]
    source.write_text("\n".join(lines))
    functions = [function_at(str(source), number) for number in (1, 7, 8, 9, 10, 11)]
    assert ["<module>", "write", "write", "write", "write", "write"] == functions


def test_texts():
    """A line tells place, function and source; an origin its lines in the order of the calls."""
    line = Line("tap.py", 4, "drip", "drops.append({})")
    assert "tap.py:4 in drip   drops.append({})" == str(line)
    assert "tap.py:4 in drip" == str(Line("tap.py", 4, "drip", ""))
    assert f"{line} -> {line}" == str(Origin((line, line), (), 1, 2))
    assert sys.getrefcount(line) > 0
