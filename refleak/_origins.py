"""Where survivors were allocated: tracemalloc, once a leak is certain."""

from __future__ import annotations

import gc
import linecache
import os
import re
import sysconfig
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from refleak._format import listing, plural, shorten, size
from refleak._names import OWN_FOLDER
from refleak._originals import Files

FRAMES = 25
"""Frames kept for each allocation while tracing."""

MAX_LINES = 4
"""Lines shown of the call that allocated, from the user's innermost line on."""

MAX_CALLERS = 3
"""Lines kept of what called the user's innermost line."""

MAX_ORIGINS = 5
"""Places where the blocks of a leak were allocated; more are only counted."""

WORD = 8
"""Bytes that one block must gain, for each time the leak happened, to be called growing."""

_MEASURING = tuple(
    OWN_FOLDER + name
    for name in (
        "_census.py",
        "_diagnosis.py",
        "_groups.py",
        "_holders.py",
        "_names.py",
        "_native.py",
        "_origins.py",
        "_settle.py",
        "_survivors.py",
    )
)
_RUNNERS = tuple(
    f"{os.sep}{name}{os.sep}" for name in ("_pytest", "pluggy", "pytest", "unittest", "wrapt")
)

Blocks = dict["Frames", tuple[int, int]]
"""Number and bytes of traced blocks by traceback."""

Frames = tuple[tuple[str, int], ...]
"""File name and line number of each frame, oldest first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of source code in a function."""

    path: str
    number: int
    function: str
    source: str

    def __str__(self) -> str:
        place = f"{shown_path(self.path)}:{self.number} in {self.function}"
        return f"{place}   {self.source}" if self.source else place


@dataclass(frozen=True, slots=True)
class Origin:
    """Where blocks of memory that stay were allocated, and how many per call.

    ``lines`` starts with the user's innermost line and goes inwards to the allocation;
    ``callers`` goes outwards from it. ``blocks`` and ``size`` (bytes) are per call.
    """

    lines: tuple[Line, ...]
    callers: tuple[Line, ...]
    blocks: float
    size: float

    def __str__(self) -> str:
        return " -> ".join(map(str, self.lines))

    @property
    def amount(self) -> str:
        """How much stays: ``2 memory blocks and 64 B per call``."""
        parts = [plural(round(self.blocks, 2), "memory block")] if self.blocks else []
        parts += [size(self.size)] if self.size else []
        return f"{listing(parts)} per call"


class Tracing:
    """Have tracemalloc on for a while: only started, and then stopped, where it was off."""

    def __init__(self, frames: int = FRAMES) -> None:
        self._frames = frames
        self._started = False

    def start(self) -> None:
        """Start tracing, unless somebody else has.

        A collection before it empties the interpreter's free lists (up to 2,000 tuples of a size in
        3.14): what is taken from them later was not allocated under tracing.
        """
        if not tracemalloc.is_tracing():
            gc.collect()
            tracemalloc.start(self._frames)
            self._started = True

    def stop(self) -> None:
        """Stop tracing where :meth:`start` started it."""
        if self._started:
            self._started = False
            if tracemalloc.is_tracing():
                tracemalloc.stop()


def allocated() -> Blocks:
    """Return number and bytes of the traced blocks that the subject allocated, by traceback."""
    totals: Blocks = {}
    if not tracemalloc.is_tracing():
        return totals
    for statistic in tracemalloc.take_snapshot().statistics("traceback"):
        frames = subject_frames(_frames(statistic.traceback))
        if frames:
            count, size = totals.get(frames, (0, 0))
            totals[frames] = (count + statistic.count, size + statistic.size)
    return totals


def origin_of(obj: object) -> Frames | None:
    """Return where *obj* was allocated; None where that was not traced."""
    traceback = tracemalloc.get_object_traceback(obj)
    return None if traceback is None else subject_frames(_frames(traceback)) or None


def _frames(traceback: tracemalloc.Traceback) -> Frames:
    return tuple((frame.filename, frame.lineno) for frame in traceback)


def subject_frames(frames: Frames) -> Frames:
    """Cut *frames* to those of the code under test; nothing is left of this library's own."""
    first = 0
    for index, (path, _) in enumerate(frames):
        if path.startswith(OWN_FOLDER):
            if path in _MEASURING:
                return ()
            first = index + 1
    return frames[first:]


def growth(moments: Sequence[Blocks], calls: Sequence[int], period: int) -> tuple[Origin, ...]:
    """Return where memory that stays was allocated between several moments, most blocks first.

    calls: the calls between one moment and the next.
    period: a leak happens at least once in that many calls.

    A place counts when it has more blocks at each moment than at the one before, by one for each
    period: what each call replaces does not add up, and blocks that the interpreter's free lists
    had kept since before the tracing are used up soon. Where no place does, those count that keep
    the number of their blocks but have more bytes each time: one block that grows.
    """
    first, last = moments[0], moments[-1]
    more: list[tuple[Frames, int, int]] = []
    larger: list[tuple[Frames, int, int]] = []
    for frames in last:
        levels = [moment.get(frames, (0, 0)) for moment in moments]
        steps = [
            (after[0] - before[0], after[1] - before[1], max(1, number // period))
            for before, after, number in zip(levels[:-1], levels[1:], calls, strict=True)
        ]
        count_before, size_before = first.get(frames, (0, 0))
        entry = (frames, last[frames][0] - count_before, last[frames][1] - size_before)
        if all(count >= least for count, _, least in steps):
            more.append(entry)
        elif all(count == 0 and size >= WORD * least for count, size, least in steps):
            larger.append(entry)
    return collect(more or larger, sum(calls))


def of_objects(places: Iterable[Frames], calls: float) -> tuple[Origin, ...]:
    """Return the origins of single objects, the commonest first."""
    return collect([(frames, count, 0) for frames, count in Counter(places).items()], calls)


def collect(entries: Iterable[tuple[Frames, int, int]], calls: float) -> tuple[Origin, ...]:
    """Add up *entries* (frames, blocks, bytes) that are told by the same lines."""
    totals: dict[tuple[Frames, Frames], tuple[int, int]] = {}
    for frames, count, length in entries:
        told = split(frames)
        count_so_far, size_so_far = totals.get(told, (0, 0))
        totals[told] = (count_so_far + count, size_so_far + length)
    ranked = sorted(totals.items(), key=lambda item: (-item[1][0], -item[1][1]))
    return tuple(
        Origin(_lines(shown), _lines(callers), count / (calls or 1), size / (calls or 1))
        for (shown, callers), (count, size) in ranked
    )


def split(frames: Frames) -> tuple[Frames, Frames]:
    """Return the frames to show, from the user's innermost inwards, and its callers outwards."""
    mine = [index for index, (path, _) in enumerate(frames) if is_users(path)]
    start = mine[-1] if mine else len(frames) - 1
    shown = frames[start:]
    if len(shown) > MAX_LINES:
        shown = (*shown[: MAX_LINES - 1], shown[-1])
    callers = tuple(frames[index] for index in mine[-2::-1][:MAX_CALLERS])
    return shown, callers


@cache
def is_users(path: str) -> bool:
    """Tell whether a file is the user's: not the standard library's nor an installed package's."""
    if path.startswith("<frozen") or any(runner in path for runner in _RUNNERS):
        return False
    return not path.startswith(_installed()) and not path.startswith(OWN_FOLDER)


def is_users_file(path: str) -> bool:
    """Tell whether it is one that can be looked into: no ``<string>``, which exec() made."""
    return is_users(path) and not path.startswith("<")


@cache
def _installed() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in names} | {os.path.dirname(os.__file__)}
    folders |= {os.path.realpath(folder) for folder in folders}
    return tuple(folder + os.sep for folder in folders)


def _lines(frames: Frames) -> tuple[Line, ...]:
    return tuple(
        Line(path, number, function_at(path, number), _source(path, number))
        for path, number in frames
    )


def _source(path: str, number: int) -> str:
    return shorten(linecache.getline(path, number).strip())


def shown_path(path: str) -> str:
    """Return *path* as seen from the working directory where it lies below that."""
    try:
        folder = Files.getcwd() + os.sep
    except OSError:  # it was removed
        return path
    return path.removeprefix(folder)


def function_at(path: str, number: int) -> str:
    """Name the function that a line is in, as tracemalloc keeps lines only.

    Told by the indentation of the source, with the names of enclosing classes and functions;
    ``<module>`` outside functions.
    """
    lines = _without_texts(linecache.getlines(path))
    if not 0 < number <= len(lines):
        return "<module>" if lines else "<unknown>"
    names: list[str] = []
    own = _DEFINITION.match(lines[number - 1])
    if own and own["body"]:
        names.append(own["name"])
    indent, inside = _indent(lines[number - 1]), bool(names)
    for line in reversed(lines[: number - 1]):
        if indent == 0:
            break
        code = line.lstrip()
        if code and not code.startswith(("#", ")", "]", "}")) and _indent(line) < indent:
            indent = _indent(line)
            found = _DEFINITION.match(line)
            if found:
                names.append(found["name"])
                inside = inside or found["kind"] == "def"
    return ".".join(reversed(names)) if inside else "<module>"


def _without_texts(lines: list[str]) -> list[str]:
    """Return the lines of a source without its texts over several lines, which may begin anywhere.

    What follows such a text in its last line is indented far, as part of the line it began in.
    """
    return _TEXTS.sub(_blank, "".join(lines)).split("\n")[: len(lines)]


def _blank(text: re.Match[str]) -> str:
    return '""' + text[0].count("\n") * ("\n" + 999 * " ") if text["quotes"] else text[0]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


_DEFINITION = re.compile(
    r"\s*(?:async\s+)?(?P<kind>def|class)\s+(?P<name>\w+)(?:.*:\s*(?P<body>[^\s#].*))?"
)

_TEXTS = re.compile(
    r"""#[^\n]*|"(?!"")(?:\\.|[^"\\\n])*"|'(?!'')(?:\\.|[^'\\\n])*'"""
    r"""|(?P<quotes>\"{3}|'{3})(?:\\.|[^\\])*?(?P=quotes)""",
    re.DOTALL,
)
"""Comments and texts of one line, in which quotes mean nothing, and texts over several lines."""
