"""Who keeps an object alive: the shortest chain of references from a root."""

from __future__ import annotations

import gc
import sys
import threading
import types
from _thread import _local
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from typing import Any

from refleak._format import quantity, shorten, signed, type_name
from refleak._names import (
    OWN_FOLDER,
    base_name,
    code_of,
    function_name,
    is_a,
    is_namespace,
    is_own,
    local_name,
    module_of,
    references_from,
    step,
    suspended_kind,
)
from refleak._origins import Origin

MAX_DEPTH = 24
"""Longest chain followed from a container back to a root: one scan of the heap for each step."""

MAX_WIDTH = 200
"""Most objects followed at once."""

MAX_PATH = 300
"""Longest chain shown, in characters."""

_MODULE_DICT: Any = vars(types.ModuleType)["__dict__"]


@dataclass(frozen=True, slots=True)
class Holder:
    """The container that grew, and the way to it.

    ``root`` says where the chain begins (``module app.events``), ``path`` how it is reached from
    there (``bus._subscribers["tick"]``); ``before`` and ``after`` are its numbers of items over
    ``calls`` calls, None where the container itself did not grow; ``limit`` is the most it will
    hold, None where it is not bounded.
    """

    root: str
    path: str
    container: str
    before: int | None
    after: int | None
    calls: int
    limit: int | None = None

    @property
    def per_call(self) -> float:
        """Items gained per call."""
        if self.before is None or self.after is None:
            return 0.0
        return (self.after - self.before) / max(self.calls, 1)

    def _size(self) -> str:
        if self.before is None or self.after is None:
            return ""
        limit = "" if self.limit is None else f" of at most {self.limit:,}"
        return f"{self.before:,} -> {self.after:,} items{limit}"

    def __str__(self) -> str:
        words = ", ".join(filter(None, (self.container, self._size())))
        kind = f" ({words})" if words else ""
        return " -> ".join(filter(None, (self.root, self.path))) + kind


@dataclass(frozen=True, slots=True)
class Filling:
    """A container of bounded size that is not full yet."""

    name: str
    items: int
    limit: int

    def __str__(self) -> str:
        return f"still filling: {self.name} {self.items:,}/{self.limit:,}"


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """An object with references that no container, frame or known root accounts for.

    ``per_call`` is the gain in references of one object that was there before, or the number of
    new objects that nothing refers to.
    """

    description: str
    type_name: str
    per_call: float
    new: bool
    where: str = ""
    origins: tuple[Origin, ...] = ()
    ignored: bool = False

    def __str__(self) -> str:
        cause = "usually a C extension took a reference and did not release it (missing Py_DECREF)"
        if self.new:
            what = f"{quantity(self.per_call)} x {self.description} per call"
            return f"native code: {what} stay alive though nothing refers to them; {cause}"
        where = f" ({self.where})" if self.where else ""
        what = f"{self.description}{where} gains {signed(self.per_call)} references per call"
        return f"native code: {what} that no container accounts for; {cause}"


@dataclass(frozen=True, slots=True)
class Path:
    """How an object is reached: the text of the root and of the way from there.

    ``through`` are the types met on the way, for `ignore`; ``found`` says whether a root was
    reached at all.
    """

    root: str
    text: str
    through: tuple[type, ...]
    found: bool = True


class Hidden:
    """The objects that are this library's own: never shown as holders."""

    __slots__ = ("_held", "_ids")

    def __init__(self, objs: Iterable[object] = ()) -> None:
        self._held: list[object] = []  # so that their ids are not used for others
        self._ids: set[int] = set()
        self.add(self._held, self._ids, *objs)

    def add(self, *objs: object) -> None:
        """Hide *objs*."""
        self._held.extend(objs)
        self._ids.update(map(id, objs))

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self._ids or is_own(obj)


class Search:
    """Searches for holders in one state of the heap, until a deadline."""

    __slots__ = ("_hidden", "_late", "_modules")

    def __init__(self, hidden: Hidden, late: Callable[[], bool]) -> None:
        self._hidden = hidden
        self._late = late
        self._modules = {
            id(_MODULE_DICT.__get__(module)): name
            for name, module in list(sys.modules.items())
            if is_a(module, types.ModuleType)
        }
        hidden.add(self._modules)

    def late(self) -> bool:
        """Tell whether the deadline is over."""
        return self._late()

    def path(self, obj: object, avoid: Callable[[object], bool]) -> Path:
        """Find the shortest chain from a root to *obj*.

        avoid: tells objects that the chain should not lead through, such as survivors.
        """
        chain, root = self._chain(obj, avoid)
        through = tuple(type(link) for link in chain)
        if root is None:
            root = self._root_outside(chain[0])
            return Path(root or "", _written(chain, start=0, root=root), through, root is not None)
        text, start = root
        written = _written(chain, start=start, root=text)
        if is_a(chain[0], type):
            module = self._module_with(chain[0])
            if module is not None:
                name = base_name(chain[0])
                return Path(module, f"{name}.{written}" if written else name, through)
        return Path(text, written, through)

    def referrers(self, objs: list[Any]) -> list[Any]:
        """Return the objects that refer to any of *objs*, without this library's own."""
        mark = object()
        found = gc.get_referrers(*objs, mark)
        own = {id(found), id(objs)}
        return [
            each
            for each in found
            if id(each) not in own
            and each not in self._hidden
            and not (type(each) is tuple and each[-1] is mark)  # this very call's arguments
        ]

    def _chain(
        self, obj: object, avoid: Callable[[object], bool]
    ) -> tuple[list[Any], tuple[str, int] | None]:
        nodes: list[Any] = [obj]
        towards = [-1]  # index of the node that each node refers to
        seen = {id(obj)}
        frontier = [0]
        self._hidden.add(nodes)
        best = 0
        for _ in range(MAX_DEPTH):
            for index in frontier:
                root = self._root(nodes[index], nodes, towards, index)
                if root is not None:
                    return _links(nodes, towards, index), root
            if self._late():
                break
            targets = [nodes[index] for index in frontier]
            by_id = {id(nodes[index]): index for index in frontier}
            found = self.referrers(targets)
            next_frontier: list[int] = []
            for each in found[:MAX_WIDTH]:
                if id(each) in seen or avoid(each):
                    continue
                linked = references_from(each, by_id)
                if linked:
                    seen.add(id(each))
                    next_frontier.append(len(nodes))
                    nodes.append(each)
                    towards.append(linked[0])
            del targets, found
            if not next_frontier:
                break
            frontier = next_frontier
            best = frontier[0]
        return _links(nodes, towards, best), None

    def _root(
        self, obj: Any, nodes: list[Any], towards: list[int], index: int
    ) -> tuple[str, int] | None:
        """Say which root *obj* is, and from which link of the chain on the path is written."""
        kind: Any = type(obj)
        if kind is dict:
            name = self._modules.get(id(obj))
            return None if name is None else (f"module {shorten(name)}", 0)
        if index == 0 and kind is not _lru_cache_wrapper:
            return None
        if kind is types.FunctionType:
            return _function_root(obj, nodes, towards, index)
        if issubclass(kind, type):
            return f"class {type_name(obj)}", 0
        if kind is _lru_cache_wrapper:
            return f"lru_cache of {function_name(obj)}", (2 if index else 0)
        if kind is Context:
            return _context_root(obj, nodes, towards, index)
        if kind is types.FrameType or code_of(obj) is not None:
            return _suspended_root(obj, nodes[towards[index]])
        return None

    def _module_with(self, cls: type) -> str | None:
        """Return the module that a class is a global of, under its own name."""
        module, name = module_of(cls), base_name(cls)
        holder = sys.modules.get(module)
        if is_a(holder, types.ModuleType) and _MODULE_DICT.__get__(holder).get(name) is cls:
            return f"module {shorten(module)}"
        return None

    def _root_outside(self, obj: object) -> str | None:
        """Find what holds *obj* where no object of the heap does: a running frame, a context."""
        for variable, value in copy_context().items():
            if value is obj:
                return f"context variable {shorten(variable.name)}"
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in list(sys._current_frames().items()):
            current: types.FrameType | None = frame
            while current is not None:
                if not current.f_code.co_filename.startswith(OWN_FOLDER):
                    name = local_name(current, obj)
                    if name is not None:
                        where = f"local variable {name} of {shorten(current.f_code.co_name)}"
                        if ident == threading.get_ident():
                            return where
                        return f"thread {shorten(str(names.get(ident)))}, {where}"
                current = current.f_back
        return None


def _links(nodes: list[Any], towards: list[int], index: int) -> list[Any]:
    chain = []
    while index >= 0:
        chain.append(nodes[index])
        index = towards[index]
    return chain


def _function_root(
    function: Any, nodes: list[Any], towards: list[int], index: int
) -> tuple[str, int] | None:
    name = function_name(function)
    chain = _links(nodes, towards, index)
    part = chain[1]
    if part is function.__globals__:
        return None
    if part is function.__closure__:
        cell = chain[2] if len(chain) > 2 else None
        for variable, each in zip(function.__code__.co_freevars, function.__closure__ or ()):
            if each is cell:
                return f"closure of {name} -> {shorten(variable)}", 3
        return f"closure of {name}", 2
    if part is function.__defaults__ and len(chain) > 2:
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        for variable, value in zip(reversed(arguments), reversed(function.__defaults__)):
            if value is chain[2]:
                return f"default of {name} -> {shorten(variable)}", 3
    if part is function.__kwdefaults__ and len(chain) > 2:
        for variable, value in function.__kwdefaults__.items():
            if value is chain[2]:
                return f"default of {name} -> {shorten(variable)}", 3
    return f"function {name}", 0


def _context_root(
    context: Context, nodes: list[Any], towards: list[int], index: int
) -> tuple[str, int] | None:
    chain = _links(nodes, towards, index)
    ids = {id(link): place for place, link in enumerate(chain)}
    for variable, value in context.items():
        if id(value) in ids:
            return f"context variable {shorten(variable.name)}", ids[id(value)] + 1
    return None


def _suspended_root(obj: Any, child: object) -> tuple[str, int] | None:
    code = code_of(obj)
    if code is None or code.co_filename.startswith(OWN_FOLDER):
        return None
    name = local_name(obj, child)
    kind = suspended_kind(obj)
    what = "frame" if kind is None else f"suspended {kind}"
    where = shorten(code.co_name)
    return f"{what} {where} -> {name or 'its stack'}", 2


def _written(chain: list[Any], *, start: int, root: str | None) -> str:
    """Write the way along *chain*, as an expression where every step has a name.

    start: the link of the chain that the path is written from; the root has said the ones before.
    """
    text = ""
    for place in range(max(start, 1), len(chain)):
        parent, child = chain[place - 1], chain[place]
        if place >= 2 and is_a(chain[place - 2], _local):
            continue  # from the dict of threads to this thread's own
        written = step(parent, child, namespace=_holds_names(chain, place - 1, root))
        text += f" -> {type_name(type(child))}" if written is None else written
    if not root and chain:
        text = f"{type_name(type(chain[0]))}{text}"
    text = text.removeprefix(".").removeprefix(" -> ")
    return text if len(text) <= MAX_PATH else f"{text[: MAX_PATH // 2]}...{text[-MAX_PATH // 2 :]}"


def _holds_names(chain: list[Any], place: int, root: str | None) -> bool:
    """Tell whether the link at *place* is the dict of a module, class, instance or thread-local."""
    parent = chain[place]
    if type(parent) is not dict:
        return False
    if place == 0:
        return root is not None and root.startswith("module ")
    if place >= 2 and is_a(chain[place - 2], _local):
        return True
    return not is_a(chain[place - 1], _local) and is_namespace(chain[place - 1], parent)


def bound(obj: Any) -> tuple[int, int] | None:
    """Return how many items a bounded container has and may have; None for any other object."""
    if type(obj) is _lru_cache_wrapper:
        info = _lru_cache_wrapper.cache_info(obj)
        return None if info.maxsize is None else (info.currsize, info.maxsize)
    if is_a(obj, deque):
        limit = vars(deque)["maxlen"].__get__(obj)
        return None if limit is None else (deque.__len__(obj), limit)
    return None


def items(obj: Any) -> int | None:
    """Count the items of a builtin container, without a subclass's ``__len__``."""
    for kind in (dict, list, set, frozenset, tuple, deque):
        if is_a(obj, kind):
            return int(kind.__len__(obj))
    return None
