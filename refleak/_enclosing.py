"""The frames around a block that runs once: what only their variables hold outlives it by right."""

from __future__ import annotations

import dis
import gc
import inspect
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile
from types import AsyncGeneratorType, CellType, CoroutineType, FrameType, GeneratorType
from typing import Any

from refleak._names import is_a, variables_of

_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_SUSPENDABLE = _GENERATOR | inspect.CO_COROUTINE

_RUNNING: dict[int, str] = {
    id(GeneratorType): "gi_running",
    id(CoroutineType): "cr_running",
    id(AsyncGeneratorType): "ag_running",
}


def outward(frame: FrameType | None) -> list[FrameType]:
    """Return a frame and all that called it."""
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames


def references_from_variables(frames: Iterable[FrameType]) -> Counter[int]:
    """Count by id the references that the variables of *frames* hold.

    Those of modules and class bodies are in a dict and shared ones in cells, which the collector
    sees.
    """
    return Counter(
        id(value)
        for frame in filter(_has_variables, frames)
        for name, value in variables_of(frame).items()
        if name not in _shared_names(frame)
    )


def _shared_names(frame: FrameType) -> tuple[str, ...]:
    return frame.f_code.co_cellvars + frame.f_code.co_freevars


def values_of_variables(frames: Iterable[FrameType]) -> set[int]:
    """Return by id what the variables of *frames* hold."""
    return {
        id(value)
        for frame in filter(_has_variables, frames)
        for value in variables_of(frame).values()
    }


def _has_variables(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)


class Enclosing:
    """The frames that a block is a part of when it ends, and by id what they hold by right.

    A plain ``with`` is entered and left by the same frame. A method that was called to enter is
    over when another one is called to leave (``contextlib.ExitStack``, a class of the user's); the
    block is then a part of the innermost frame that called both, ``frame``, and the frames within
    that one are the *machinery*; ``frame`` is None where no such frame is left. If a generator or
    coroutine is among them, the frames outside are looked at, too: a context manager's block is
    its caller's, and an event loop has run meanwhile.

    ``references`` counts those of variables; ``values`` are what variables hold, ``shared`` those
    of them that are in cells, ``instruments`` those of the machinery; ``namespaces`` are the dicts
    of a module's or class's variables, ``dicts`` those that frames keep for ``locals()`` up to
    3.12; ``executed`` is what frames hold besides. ``returning`` tells whether a plain block is
    left by ``return``: the value waits where nobody sees it.
    """

    def __init__(self, entered: FrameType, left: FrameType) -> None:
        running = outward(left)
        self.executed = {
            id(part)
            for frame in running
            for part in (frame.f_code, frame.f_globals, frame.f_builtins)
        }
        self.dicts = dicts_of(running)
        self.references = references_from_variables(running)
        place = _place(entered, running)
        self.frame = None if place is None else running[place]
        around = [] if place is None else running[place:]
        over = takewhile(lambda frame: frame is not self.frame, outward(entered))
        machinery = [*running[:place], *over]
        self.resumed = any(map(_may_be_suspended, [*machinery, *around[:1]]))
        if not self.resumed:
            del around[1:]
        self.returning = self.frame is left and _is_returning(left)
        self.instruments = values_of_variables(machinery)
        self.values = self.instruments | values_of_variables(around)
        self.shared = {key for frame in around for key in _in_cells(frame)}
        blocks = filter(_has_dict, _blocks(around))
        self.namespaces = {id(frame.f_locals) for frame in blocks}


def _place(entered: FrameType, running: list[FrameType]) -> int | None:
    places = {id(frame): place for place, frame in enumerate(running)}
    return next((places[key] for key in map(id, outward(entered)) if key in places), None)


def _is_returning(frame: FrameType) -> bool:
    """Tell whether a frame that leaves a ``with`` does so to return a value.

    What comes after the call of ``__exit__`` shows it: a return, or the value is put on top again.
    """
    following = map(dis.opname.__getitem__, frame.f_code.co_code[frame.f_lasti + 2 :: 2])
    return next((name for name in following if name not in _POPS), "") in _RETURNS


_POPS = {"CACHE", "NOP", "POP_BLOCK", "POP_TOP"}
_RETURNS = {"RETURN_VALUE", "SWAP", "ROT_TWO"}


def _may_be_suspended(frame: FrameType) -> bool:
    return bool(frame.f_code.co_flags & _SUSPENDABLE)


def _has_dict(frame: FrameType) -> bool:
    return not _has_variables(frame)


def dicts_of(frames: Iterable[FrameType]) -> set[int]:
    """Return the ids of the dicts that *frames* keep for ``locals()`` up to 3.12."""
    if sys.version_info >= (3, 13):
        return set()
    return {id(frame.f_locals) for frame in frames if _has_variables(frame)}


def _in_cells(frame: FrameType) -> set[int]:
    values = variables_of(frame)
    return {id(values[name]) for name in _shared_names(frame) if name in values}


def _blocks(around: list[FrameType]) -> list[FrameType]:
    """Return the frames whose block it is: a context manager's is its caller's, too."""
    if around and around[0].f_code.co_flags & _GENERATOR:
        callers = (each for each in around[1:] if each.f_globals.get("__name__") != "contextlib")
        return [*around[:1], *callers][:2]
    return around[:1]


def is_running(obj: Any) -> bool:
    """Tell whether *obj* is a generator or coroutine of which the frame is running now."""
    flag = _RUNNING.get(id(type(obj)))
    return flag is not None and bool(getattr(obj, flag))


def variables_seen(obj: Any) -> list[Any]:
    """Return what the collector sees of the variables of a running generator or coroutine.

    That depends on what its frame does. On 3.10 it sees them through the frame.
    """
    found = gc.get_referents(obj)
    return found + gc.get_referents(*(each for each in found if type(each) is FrameType))


def holds_one(obj: Any, values: set[int]) -> bool:
    """Tell whether *obj* is the cell of a variable that holds one of *values*."""
    if not is_a(obj, CellType):
        return False
    try:
        return id(obj.cell_contents) in values
    except ValueError:  # it is empty
        return False
