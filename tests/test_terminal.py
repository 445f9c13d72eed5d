"""What is shown on a terminal, and that nothing of it is anywhere else."""

from __future__ import annotations

import io
import re

import pytest

from refleak import Report
from refleak._terminal import BARS, BOLD, GREEN, NORMAL, RED, progress_text, shown, sparkline
from refleak._verdict import Finding

LEAK = Report(
    subject="test_it",
    stab=5,
    run=4,
    rounds=37,
    findings=(
        Finding("references", "reference", (2, 0, 1, 2), 1.25, 28),
        Finding("memory blocks", "memory block", (-1, 1, 1, 1), 1.0, 28),
    ),
)
CLEAN = Report(subject="test_it", stab=5, run=4, rounds=9)


class Stream(io.TextIOWrapper):
    """A stream with an encoding, which may be a terminal."""

    def __init__(self, encoding, *, terminal):
        super().__init__(io.BytesIO(), encoding=encoding)
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A terminal with colours, whatever the tests run in."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def on(encoding="utf-8", report=LEAK, *, terminal=True):
    """Return what is shown of a report."""
    return shown(report, Stream(encoding, terminal=terminal))


def test_elsewhere_it_is_the_plain_text():
    """In a file, a pipe or an exception there are neither colours nor bars."""
    assert str(LEAK) == on(terminal=False)
    assert not set(BARS + NORMAL[0]) & set(str(LEAK))


def test_bars_stand_beside_the_digits():
    """One for each delta, those of a column below each other."""
    lines = on().splitlines()
    assert "  references     \u2588\u2581\u2584\u2588  +2 0 +1 +2" == lines[2]
    assert "  memory blocks  \u2581\u2588\u2588\u2588  -1 +1 +1 +1" == lines[3]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_bars_shows_digits(encoding):
    """What is shown can be encoded."""
    text = on(encoding)
    assert text.encode(encoding)
    assert "  references     +2 0 +1 +2" in text


@pytest.mark.parametrize(("report", "colour"), [(LEAK, RED), (CLEAN, GREEN)])
def test_the_verdict_has_a_colour(report, colour):
    """The headline is red or green, the labels are bold; without them it is the plain text."""
    text = on("ascii", report)
    assert text.startswith(f"{colour}{report.headline}{NORMAL}\n")
    assert f"\n  {BOLD}Rounds{NORMAL}   " in text
    assert str(report) == re.sub(r"\x1b\[[\d;]+m", "", text)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_switched_off(name, value, monkeypatch):
    """As everywhere: by NO_COLOR, or by a terminal that has none."""
    monkeypatch.setenv(name, value)
    assert "\x1b" not in on()


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([], ""),
        ([0, 0], "\u2581\u2581"),
        ([1, 1], "\u2588\u2588"),
        ([-5, 7, 14], "\u2581\u2584\u2588"),
        ([10**30, 1], "\u2588\u2581"),
    ],
)
def test_sparkline(deltas, expected):
    """The largest is full; what does not grow is the lowest bar."""
    assert expected == sparkline(deltas)


def test_progress_names_the_quantity_in_doubt():
    """Where there is one."""
    assert "leak check: round 3 (warm-up)" == progress_text(3, "warm-up", "")
    assert "leak check: round 1,003 (further: objects)" == progress_text(1003, "further", "objects")
