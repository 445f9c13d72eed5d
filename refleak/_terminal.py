"""What a terminal shows beside the plain text: bars, colours, and how far a check is."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from refleak._report import LABEL, Report, text_lines

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
"""Bars of eight heights."""

RED, GREEN, BOLD, NORMAL = "\x1b[1;31m", "\x1b[1;32m", "\x1b[1m", "\x1b[0m"

_LABEL = re.compile(rf"^  (?=.{{{LABEL - 1}}} \S)([A-Z][a-z]+(?: [a-z]+)?)(?= )")


def shown(report: Report, stream: Any) -> str:
    """Return a report's text as *stream* can show it: plain where that is no terminal."""
    if not stream.isatty():
        return str(report)
    first, *lines = text_lines(report, sparkline if can_encode(stream, BARS) else None)
    if coloured():
        first = f"{RED if report.leaking else GREEN}{first}{NORMAL}"
        lines = [_LABEL.sub(rf"  {BOLD}\1{NORMAL}", line) for line in lines]
    return "\n".join([first, *lines])


def say(text: str) -> None:
    """Print *text*; once nobody reads the output any more (``| head``), print it nowhere."""
    try:
        print(text, flush=True)  # noqa: T201  # what command lines print
    except BrokenPipeError:
        with open(os.devnull, "wb") as nothing:  # Python writes the rest when it ends
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def sparkline(deltas: Sequence[int]) -> str:
    """Draw a bar for each delta: the largest is full, what does not grow the lowest.

    >>> sparkline([0, 4, 8])
    '\u2581\u2584\u2588'
    """
    most = max([1, *deltas])
    return "".join(BARS[max(0, delta) * (len(BARS) - 1) // most] for delta in deltas)


def can_encode(stream: Any, text: str) -> bool:
    """Tell whether a stream's encoding has all characters of *text*."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def coloured() -> bool:
    """Tell whether a terminal may be written to in colours: see https://no-color.org."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def progress_text(number: int, phase: str, quantity: str) -> str:
    """Say which round is run, and what for."""
    return f"leak check: round {number:,} ({f'{phase}: {quantity}' if quantity else phase})"
