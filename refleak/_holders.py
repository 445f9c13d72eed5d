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
from functools import _lru_cache_wrapper, partial
from typing import Any, NamedTuple

from refleak._format import module_of, plural, quantity, shorten, type_name
from refleak._names import (
    OWN_FOLDER,
    base_name,
    code_of,
    function_name,
    is_a,
    is_namespace,
    is_own,
    local_name,
    local_variable,
    references_from,
    step,
    suspended_kind,
)
from refleak._origins import Origin

MAX_DEPTH = 24
"""Longest chain followed from a container back to a root: one scan of the heap for each step."""

WEAK_PATIENCE = 6
"""Further steps in search of a root that lasts, once one is found that does not."""

MAX_WIDTH = 200
"""Most objects followed at once, apart from modules."""

MAX_ALIKE = 100
"""Most of one type followed at once: what thousands of children refer to has a holder besides."""

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

    @property
    def sizes(self) -> str:
        """Numbers of items before and after: ``9 -> 13 items``."""
        if self.before is None or self.after is None:
            return ""
        limit = "" if self.limit is None else f" of at most {self.limit:,}"
        return f"{self.before:,} -> {self.after:,} items{limit}"

    def __str__(self) -> str:
        words = ", ".join(filter(None, (self.container, self.sizes)))
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
            return f"native code: {what} that nothing refers to, yet that stay alive; {cause}"
        where = f" ({self.where})" if self.where else ""
        what = f"{self.description}{where} gains {plural(self.per_call, 'reference')} per call"
        return f"native code: {what} that no container accounts for; {cause}"


@dataclass(frozen=True, slots=True)
class Path:
    """How an object is reached: the text of the root and of the way from there.

    ``through`` are the types met on the way, for `ignore`; ``limit`` says how many items the
    object's direct holder has and may have, if that is bounded; ``found`` says whether a root was
    reached at all, ``standard`` whether it is the standard library's.
    """

    root: str
    text: str
    through: tuple[type, ...]
    limit: tuple[int, int] | None = None
    found: bool = True
    standard: bool = False


class Root(NamedTuple):
    """Where a chain begins: its text, the name of the first link, and where its path goes on.

    ``weak`` roots go away by themselves sooner or later: a suspended generator, a frame.
    ``standard`` ones are a module, a class or an event loop of the standard library.
    """

    text: str
    name: str = ""
    start: int = 0
    weak: bool = False
    standard: bool = False


class Hidden:
    """The objects that are this library's own: never shown as holders."""

    __slots__ = ("_held", "ids")

    def __init__(self, objs: Iterable[object] = ()) -> None:
        self._held: list[object] = []  # so that their ids are not used for others
        self.ids: set[int] = set()
        self.add(self._held, self.ids, *objs)

    def add(self, *objs: object) -> None:
        """Hide *objs*."""
        self._held.extend(objs)
        self.ids.update(map(id, objs))

    def __contains__(self, obj: object) -> bool:
        return id(obj) in self.ids or is_own(obj)


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
        limit = bound(chain[-2]) if len(chain) > 1 else None
        if root is None:
            kind = type_name(type(chain[0]))
            written = _written(chain, Root(""))
            written = f"{kind}.{written}" if written[:1].isidentifier() else f"{kind}{written}"
            return Path("", written, through, limit, found=False)
        written = _written(chain, root)
        if is_a(chain[0], type):
            module = self._module_with(chain[0])
            if module is not None:
                name = base_name(chain[0])
                written = f"{name}.{written}" if written else name
                return Path(module, written, through, limit, standard=root.standard)
        return Path(root.text, written, through, limit, standard=root.standard)

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

    def _chain(self, obj: object, avoid: Callable[[object], bool]) -> tuple[list[Any], Root | None]:
        """Return the objects from a root to *obj*; breadth first, so that it is the shortest."""
        nodes: list[Any] = [obj]
        towards = [-1]  # index of the node that each node refers to
        self._hidden.add(nodes)
        seen = {id(obj)}
        frontier = [0]
        weak: tuple[list[Any], Root] | None = None
        chain: list[Any] = []
        patience = MAX_DEPTH
        while patience:
            for index in frontier:
                chain = _links(nodes, towards, index)
                root = self._root(nodes[index], chain)
                if root is not None and not root.weak:
                    return chain, root
                if root is not None and weak is None:
                    self._hidden.add(chain)
                    weak = chain, root
                    patience = WEAK_PATIENCE
            chain = []  # it would be found as a holder
            if self._late():
                break
            above = self._above(nodes, towards, frontier, seen, avoid)
            if not above:
                break
            frontier = above
            patience -= 1
        return weak or self._outside(nodes, towards) or (_links(nodes, towards, frontier[0]), None)

    def _above(
        self,
        nodes: list[Any],
        towards: list[int],
        frontier: list[int],
        seen: set[int],
        avoid: Callable[[object], bool],
    ) -> list[int]:
        """Add to *nodes* what refers to those at *frontier*; return their indexes."""
        by_id = {id(nodes[index]): index for index in frontier}
        above: list[int] = []
        alike: dict[int, int] = {}  # by the id of the type
        for each in self.referrers([nodes[index] for index in frontier]):
            if id(each) in seen or avoid(each):
                continue
            if id(each) not in self._modules:
                kind = id(type(each))
                alike[kind] = alike.get(kind, 0) + 1
                if alike[kind] > MAX_ALIKE or len(above) >= MAX_WIDTH:
                    continue
            linked = references_from(each, by_id)
            if linked:
                seen.add(id(each))
                above.append(len(nodes))
                nodes.append(each)
                towards.append(linked[0])
        return above

    def _root(self, obj: Any, chain: list[Any]) -> Root | None:
        """Say which root *obj* is, the first link of *chain*; None if it is none."""
        kind: Any = type(obj)
        if kind is dict:
            name = self._modules.get(id(obj))
            if name is None:
                return None
            return Root(f"module {shorten(name)}", standard=_is_standard(name))
        if len(chain) == 1 and kind is not _lru_cache_wrapper:
            return None
        if kind is types.FunctionType:
            return _function_root(obj, chain)
        if issubclass(kind, type):
            return Root(f"class {type_name(obj)}", standard=_is_standard(module_of(obj)))
        if kind is _lru_cache_wrapper:
            return Root(f"lru_cache of {function_name(obj)}", start=2)
        if _is_event_loop(kind):
            return Root(f"asyncio event loop ({base_name(kind)})", standard=True)
        if kind is Context:
            return _context_root(obj, chain)
        if kind is types.FrameType or code_of(obj) is not None:
            return _suspended_root(obj, chain[1])
        return None

    def _module_with(self, cls: type) -> str | None:
        """Return the module that a class is a global of, under its own name."""
        module, name = module_of(cls), base_name(cls)
        holder = sys.modules.get(module)
        if is_a(holder, types.ModuleType) and _MODULE_DICT.__get__(holder).get(name) is cls:
            return f"module {shorten(module)}"
        return None

    def _outside(self, nodes: list[Any], towards: list[int]) -> tuple[list[Any], Root] | None:
        """Find what holds one of *nodes* where no object of the heap does: a running frame."""
        wanted = {id(node): index for index, node in enumerate(nodes)}
        for variable, value in copy_context().items():
            if id(value) in wanted:
                chain = _links(nodes, towards, wanted[id(value)])
                return chain, Root(f"context variable {shorten(variable.name)}", "", 1)
        calls = {key: index for key, index in wanted.items() if type(nodes[index]) is partial}
        found: list[tuple[int, Root]] = []
        for ident, frame in list(sys._current_frames().items()):
            current: types.FrameType | None = frame
            while current is not None:
                own = current.f_code.co_filename.startswith(OWN_FOLDER)
                held = local_variable(current, calls if own else wanted)
                if held is not None and own:  # what is checked, bound to its arguments
                    name = function_name(nodes[held[1]].func)
                    found.append((held[1], Root(f"an argument of {name}", "", 3)))
                elif held is not None:
                    where = f"local variable of {shorten(current.f_code.co_name)}"
                    found.append((held[1], Root(_thread_name(ident) + where, held[0], 1)))
                current = current.f_back
        if not found:
            return None
        index, root = min(found, key=lambda each: each[0])
        return _links(nodes, towards, index), root


def _thread_name(ident: int) -> str:
    """Name a thread for the beginning of a text; the current one needs no name."""
    if ident == threading.get_ident():
        return ""
    thread = next((each for each in threading.enumerate() if each.ident == ident), None)
    return f"thread {shorten(thread.name) if thread is not None else ident}, "


def _links(nodes: list[Any], towards: list[int], index: int) -> list[Any]:
    chain = []
    while index >= 0:
        chain.append(nodes[index])
        index = towards[index]
    return chain


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _is_event_loop(kind: type) -> bool:
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and issubclass(kind, asyncio.AbstractEventLoop)


def _function_root(function: Any, chain: list[Any]) -> Root | None:
    name = function_name(function)
    part, value = chain[1], chain[2] if len(chain) > 2 else None
    if part is function.__globals__:
        return None
    if part is function.__closure__:
        variables = dict(zip(function.__code__.co_freevars, part, strict=True))
        return Root(f"closure of {name}", _key_with(variables, value), 3)
    if part is function.__defaults__:
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        values = dict(zip(reversed(arguments), reversed(part), strict=False))
        return Root(f"default of {name}", _key_with(values, value), 3)
    if part is function.__kwdefaults__:
        return Root(f"default of {name}", _key_with(part, value), 3)
    return Root(f"function {name}")


def _key_with(values: dict[str, Any], value: object) -> str:
    return next((shorten(name) for name, each in values.items() if each is value), "")


def _context_root(context: Context, chain: list[Any]) -> Root | None:
    places = {id(link): place for place, link in enumerate(chain)}
    for variable, value in context.items():
        if id(value) in places:
            return Root(f"context variable {shorten(variable.name)}", "", places[id(value)] + 1)
    return None


def _suspended_root(obj: Any, child: object) -> Root | None:
    code = code_of(obj)
    if code is None or code.co_filename.startswith(OWN_FOLDER):
        return None
    kind = suspended_kind(obj)
    what = "frame of" if kind is None else f"suspended {kind}"
    name = local_name(obj, child) or "<its stack>"
    return Root(f"{what} {shorten(code.co_name)}", name, 2, weak=True)


def _written(chain: list[Any], root: Root) -> str:
    """Write the way along *chain*, as an expression where every step has a name."""
    text = root.name
    for place in range(max(root.start, 1), len(chain)):
        parent, child = chain[place - 1], chain[place]
        if place >= 2 and is_a(chain[place - 2], _local):
            continue  # from the dict of threads to this thread's own
        written = step(parent, child, namespace=_holds_names(chain, place - 1, root.text))
        text += f" -> {type_name(type(child))}" if written is None else written
    text = text.removeprefix(".").removeprefix(" -> ")
    return text if len(text) <= MAX_PATH else f"{text[: MAX_PATH // 2]}...{text[-MAX_PATH // 2 :]}"


def _holds_names(chain: list[Any], place: int, root: str) -> bool:
    """Tell whether the link at *place* is the dict of a module, class, instance or thread-local."""
    parent = chain[place]
    if type(parent) is not dict:
        return False
    if place == 0:
        return root.startswith("module ")
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
