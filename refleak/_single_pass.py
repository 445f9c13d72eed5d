"""A block that runs once: what outlived it?

Nothing can be warmed up and no total be trusted, so other evidence is judged: objects created in
the block that are still alive after it, containers that gained items, references gained
that no container accounts for, and descriptors, threads, children and tasks that stay. What
only the enclosing frame's variables or a cache of the interpreter or the standard library
holds is left out, and what replaced an object of the same type.
"""

from __future__ import annotations

import gc
import inspect
import sys
import types
import weakref
from collections import Counter
from collections.abc import Iterable
from functools import _lru_cache_wrapper
from sys import getrefcount
from types import CodeType, FrameType
from typing import Any, NamedTuple, cast

from refleak import _census
from refleak._caches import rest
from refleak._check import RUNNING, available, counting
from refleak._diagnosis import Diagnosis
from refleak._format import type_mro, type_name
from refleak._groups import Gained, Survivors
from refleak._holders import Hidden, Holder, Path, Search, Unaccounted, items
from refleak._names import OWN_FOLDER, describe, is_own, module_of
from refleak._plan import Plan
from refleak._readings import Series
from refleak._report import Report
from refleak._settle import Frozen
from refleak._survivors import tally
from refleak._verdict import Finding, NotJudged, TypeChange
from refleak.probes import Probe

MAX_GROUPS = 8
"""Holders shown."""

COUNTED = {"references", "container references", "objects", "memory blocks", "cycles"}
"""Quantities for which the survivors themselves stand here."""

UNTRUSTED = (type, types.ModuleType, types.CodeType, types.FrameType, types.CellType)
"""Objects whose bare references are not judged: the interpreter holds such to them by itself."""


CALLING = (tuple, dict, types.MethodType, types.BuiltinMethodType)
"""What a call needs. After an ``await`` or ``yield`` in the block, a caller of it has begun anew,
and holds such objects where nobody sees them: an event loop ``Context.run`` and its arguments."""


class Shape(NamedTuple):
    """The old heap in numbers by id: no object is held.

    ``plain_dicts`` are the dicts that the collector does not track yet: before 3.14 those that
    hold only texts and numbers, or nothing. They would look new when they get something else.
    """

    degrees: dict[int, int]
    plain_dicts: dict[int, int]
    unaccounted: dict[int, int]
    instances: Counter[int]
    modules: frozenset[str]


def shape(frame: FrameType, own: Hidden) -> Shape:
    """Take out-degrees, and references that no container accounts for, of every tracked object."""
    objs = _tracked(frame)
    # First, since it empties f_locals, and fills the abstract classes' caches as a Counter does.
    incoming = _from_variables(frame)
    degrees = dict(zip(map(id, objs), map(len, map(gc.get_referents, objs)), strict=True))
    plain_dicts: dict[int, int] = {}
    each = referents = cast("Any", None)
    for referents in _census.referents_of(objs):
        incoming.update(map(id, referents))
        for each in referents:
            if type(each) is dict and not gc.is_tracked(each):
                plain_dicts[id(each)] = len(gc.get_referents(each))
    del each, referents
    unaccounted = {
        id(objs[place]): count - _census.OWN_REFERENCES - incoming[id(objs[place])]
        for place, count in enumerate(map(getrefcount, objs))
    }
    instances = instances_of(objs, own)
    return Shape(degrees, plain_dicts, unaccounted, instances, frozenset(sys.modules))


def _tracked(frame: FrameType) -> list[Any]:
    """Return all tracked objects, with the frame's ``f_locals``: up to 3.12 a dict it keeps."""
    frame.f_locals  # noqa: B018  # made, or filled again, by looking at it
    return _census.tracked()


def instances_of(objs: Iterable[Any], own: Hidden) -> Counter[int]:
    """Count objects by their type's id, but for our own and their bound methods.

    ``with`` holds that of ``__enter__`` during the reading before the block, up to 3.13.
    """
    method, hidden = types.MethodType, own.ids
    return tally(
        id(kind)
        for obj in objs
        if ((kind := type(obj)) is not method or not is_own(obj.__self__)) and id(obj) not in hidden
    )


def _from_variables(frame: FrameType) -> Counter[int]:
    """Count the references that a function's variables hold; a module's are in its dict."""
    if frame.f_locals is frame.f_globals:
        return Counter()
    return Counter(map(id, variables(frame)))


def variables(frame: FrameType) -> list[Any]:
    """Return the values of a frame's variables, leaving none of them behind in the frame."""
    namespace = frame.f_locals
    values = list(namespace.values())
    if sys.version_info < (3, 13) and frame.f_code.co_flags & _OPTIMIZED and not sys.gettrace():
        namespace.clear()  # a copy, which the frame keeps, and with it the objects
    return values


def _running(frame: FrameType) -> list[Any]:
    """Return what the variables of the block's frame hold, and of those outside if it may await.

    Then the loop outside runs meanwhile: its handle of the task's next step is new.
    """
    values = variables(frame) if frame.f_locals is not frame.f_globals else []
    outer = frame.f_back if frame.f_code.co_flags & _SUSPENDABLE else None
    while outer is not None:
        if outer.f_locals is not outer.f_globals:
            values += variables(outer)
        outer = outer.f_back
    return values


_FIXTURES = "_pytest.fixtures"
_OPTIMIZED = inspect.CO_OPTIMIZED  # local variables are not in a dict
_SUSPENDABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class SinglePass:
    """One block, from its beginning to its end."""

    def __init__(self, plan: Plan, subject: str) -> None:
        self._plan = plan
        self._subject = subject
        self._frozen = Frozen()
        self._before: Shape | None = None
        self._probes: list[Probe] = []
        self._not_judged: list[NotJudged] = []
        self._other: str | None = None
        self._series: Series | None = None
        self._frame: FrameType | None = None
        self._caller: CodeType | None = None

    def begin(self, frame: FrameType) -> None:
        """Take the shape of the heap before the block."""
        self._caller = frame.f_back.f_code if frame.f_back is not None else None
        self._other = RUNNING.claim(self._subject)
        if self._other is not None:
            return
        usable, self._not_judged = available(self._plan.probes)
        for probe in usable:
            if probe.name in COUNTED:
                continue
            if getattr(probe, "rule", "count") == "bytes":
                reason = "a single pass cannot tell growth from what the first call sets up"
                self._not_judged.append(NotJudged(probe.name, reason))
            else:
                self._probes.append(probe)
        del usable  # a list more than after the block
        self._frame = frame
        self._series = Series(self._probes, 2)
        repr([self._subject])  # makes the dict of this thread, which the thread's state holds
        rest()
        self._before = shape(frame, Hidden(self._own()))
        if self._plan.freeze and Frozen.possible():
            self._frozen.freeze()
        self._series.read()

    def _own(self) -> list[Any]:
        own = [self, self._frozen, self._series]
        return [own, *own, *map(vars, own)]

    def close(self) -> None:
        """Give up without a verdict, and put the interpreter's state back."""
        self._frozen.thaw()
        self._frame = self._before = None
        if self._other is None:
            RUNNING.release()

    def end(self) -> Report:
        """Return what outlived the block.

        Raises RuntimeError if it is the ``yield`` of a pytest fixture: what pytest itself keeps of
        the test that ran there looks like leaks.
        """
        if self._other is not None:
            return self._report(judged=False)
        try:
            self._refuse_fixture()
            return self._judged()
        finally:
            self.close()

    def _refuse_fixture(self) -> None:
        assert self._frame is not None
        caller = self._frame.f_back
        if caller is None or caller.f_code is self._caller:
            return
        if caller.f_globals.get("__name__") == _FIXTURES:
            raise RuntimeError(
                f"{self._subject} is around the yield of a pytest fixture, and cannot judge the "
                f"test that uses it; write `pytestmark = pytest.mark.assert_no_leaks` in the "
                f"test's module instead"
            )

    def _judged(self) -> Report:
        assert self._before is not None
        assert self._series is not None
        assert self._frame is not None
        rest()
        self._series.read()
        candidates = set(map(id, gc.get_objects())) if self._frozen.active else None
        self._frozen.thaw()
        rest()
        hidden = Hidden([*self._own(), self._before, *self._before, self._frame])
        hidden.add(candidates, self._plan, self._plan.ignore)
        # Counted here, since calling a class may need a tuple of its arguments.
        instances = instances_of(_tracked(self._frame), hidden)
        outlived = _Outlived(
            self._before, instances, candidates, hidden, self._frame, self._plan.ignore
        )
        grown = [
            Finding(probe.name, probe.unit, (delta,), float(delta), 1)
            for probe in self._probes
            if (delta := self._series.change(0, 1)[probe.name]) > 0
        ]
        return self._report(outlived=outlived, grown=grown)

    def _report(
        self,
        *,
        outlived: _Outlived | None = None,
        grown: Iterable[Finding] = (),
        judged: bool = True,
    ) -> Report:
        not_judged = list(self._not_judged)
        if not judged:
            reason = f"the check of {self._other} was running around it"
            not_judged = [NotJudged(probe.name, reason) for probe in self._plan.probes]
        return Report(
            subject=self._subject,
            stab=0,
            run=1,
            rounds=1,
            findings=(*(outlived.findings() if outlived else ()), *grown),
            types=outlived.types() if outlived else (),
            notes=tuple(outlived.notes) if outlived else (),
            not_judged=tuple(not_judged),
            counting=counting(self._plan.probes),
            diagnosis=outlived.diagnosis() if outlived and self._plan.diagnose else None,
            known_leak=self._plan.known_leak,
            judged=judged,
        )


class _Outlived:
    """Compares the heap after a block with its shape before."""

    def __init__(
        self,
        before: Shape,
        instances: Counter[int],
        candidates: set[int] | None,
        hidden: Hidden,
        frame: FrameType,
        ignore: tuple[type | str, ...],
    ) -> None:
        self.notes: list[str] = []
        self._before = before
        self._hidden = hidden
        self._ignore = ignore
        self._namespace = frame.f_locals if frame.f_locals is frame.f_globals else None
        self._resumed = bool(frame.f_code.co_flags & _SUSPENDABLE)
        # Its dict may lie where an empty one lay before, and would be taken for that one.
        hidden.add(self, vars(self))
        objs = _census.tracked()
        self._instances = instances
        self._old: list[Any] = []
        new: list[Any] = []
        obj: Any = None
        for obj in objs:
            (self._old if self._is_old(obj, candidates) else new).append(obj)
        hidden.add(self._old, self._instances)
        del obj, objs
        self._new = {id(obj): obj for obj in new if obj not in hidden}
        del new
        hidden.add(self._new)
        # Before anything else is kept: lists of ours would count as references of theirs.
        self._bare = self._unaccounted(_from_variables(frame))
        self._variables = _running(frame)
        hidden.add(self._bare, self._variables)
        self._gained: list[tuple[Any, list[Any]]] = []
        self._excused: dict[int, Any] = {}
        self._importing: set[int] = set()
        hidden.add(self._gained, self._excused)
        self._sort()
        self._survivors = self._reached()
        self._groups = self._grouped()
        self._native = self._unreferenced()
        self._forget()

    def _is_old(self, obj: Any, candidates: set[int] | None) -> bool:
        if type(obj) is dict and id(obj) in self._before.plain_dicts:
            return True
        if candidates is not None:
            return id(obj) not in candidates
        return id(obj) in self._before.degrees

    # -- who holds what is new --------------------------------------------------------------

    def _sort(self) -> None:
        """Part the old containers that hold new things: excused ones, and the others."""
        self._excuse(self._variables)
        registries = filter(None, map(_warning_registry, list(sys.modules.values())))
        self._excused.update((id(registry), registry) for registry in registries)
        imported = [name for name in sys.modules if name not in self._before.modules]
        if imported:
            self.notes.append(
                f"{len(imported)} modules were imported in the block: "
                "they and bare references are not judged"
            )
            self._excuse(vars(sys.modules[name]) for name in imported if sys.modules.get(name))
            self._importing = {
                id(cache)
                for finder in sys.meta_path
                if hasattr(finder, "__dict__")
                for cache in vars(finder).values()
            }
        caches = {
            id(part)
            for obj in self._old
            if type(obj) is _lru_cache_wrapper
            for part in (obj, *gc.get_referents(obj))
            if type(part) in (_lru_cache_wrapper, dict)
        }
        degrees = {**self._before.plain_dicts, **self._before.degrees}
        new_ids = frozenset(self._new)
        for obj in self._old:
            referents = gc.get_referents(obj)
            before = degrees.get(id(obj))
            if len(referents) == before and new_ids.isdisjoint(map(id, referents)):
                continue
            if obj in self._hidden:
                continue
            new = [each for each in referents if id(each) in self._new]
            own_dict = next((each for each in new if _is_namespace(obj, each)), None)
            if own_dict is not None:  # from 3.13 on it is made when someone looks at it
                self._excused[id(own_dict)] = own_dict
                referents = gc.get_referents(own_dict)
                new = [each for each in referents if id(each) in self._new]
                before = None
            growth = 0
            if before is not None and type(obj) not in (tuple, frozenset):
                growth = len(referents) - before
            if not new and growth <= 0:
                continue
            if id(obj) in caches or self._excuses(obj, referents):
                self._excuse(new)
            else:
                held = new or _last(obj, referents, growth)
                self._gained.append((obj, held))

    def _excuses(self, obj: Any, referents: list[Any]) -> bool:
        """Tell whether what *obj* holds outlives the block by right: variables, caches."""
        return (
            obj is self._namespace
            or type(obj) is types.FrameType
            or obj is sys.modules
            or obj is sys.path_importer_cache
            or id(obj) in self._importing
            or _is_subclass_list(obj, referents)
        )

    def _excuse(self, objs: Iterable[Any]) -> None:
        stack = [obj for obj in objs if id(obj) in self._new]
        while stack:
            obj = stack.pop()
            if id(obj) not in self._excused:
                self._excused[id(obj)] = obj
                stack.extend(each for each in _below(obj) if id(each) in self._new)

    def _reached(self) -> dict[int, Any]:
        """Return the new objects that old containers keep alive, those merely replaced left out."""
        found: dict[int, Any] = {}
        self._gained = [
            (holder, [obj for obj in held if self._counts(obj)]) for holder, held in self._gained
        ]
        self._gained = [(holder, held) for holder, held in self._gained if held]
        stack = [obj for _, held in self._gained for obj in held if id(obj) in self._new]
        while stack:
            obj = stack.pop()
            if id(obj) not in found:
                found[id(obj)] = obj
                stack.extend(each for each in _below(obj) if id(each) in self._new)
        return found

    def _counts(self, obj: Any) -> bool:
        """Tell whether an object is a survivor: not excused, ignored, or one for one replaced."""
        if id(obj) in self._excused or self._ignored(type(obj)):
            return False
        return id(obj) not in self._new or self._more_of(type(obj)) > 0

    def _ignored(self, kind: type) -> bool:
        return any(base is each for each in self._ignore for base in type_mro(kind))

    def _more_of(self, kind: type) -> int:
        excused = sum(type(obj) is kind for key, obj in self._excused.items() if key in self._new)
        return self._instances[id(kind)] - self._before.instances[id(kind)] - excused

    def _unreferenced(self) -> list[Any]:
        """Return new objects that are alive though nothing refers to them."""
        if len(sys._current_frames()) > 1 or self._before.modules != set(sys.modules):
            return []  # a running frame of another thread, or the import system, may hold them
        known = {**self._excused, **self._survivors}
        held = {id(each) for obj in self._new.values() for each in _below(obj) if each is not obj}
        for referents in _census.referents_of(self._old):
            held.update(map(id, referents))
        roots = [
            obj
            for key, obj in self._new.items()
            if key not in known and key not in held and not is_own(obj)
        ]
        return [
            obj
            for obj in roots
            if not self._ignored(type(obj))
            and not _runs(obj)
            and not _is_subclass_list(obj, gc.get_referents(obj))
            and not _is_warning_filters(obj)
            and not _is_stream_text(obj)
            and not _is_stdlib_callback(obj)
            and not (self._resumed and type(obj) in CALLING)
        ]

    def _unaccounted(self, incoming: Counter[int]) -> list[tuple[Any, int]]:
        """Return the old objects with references gained that no container accounts for."""
        if len(sys._current_frames()) > 1:
            self.notes.append("bare references: not judged, other threads' frames hold some")
            return []
        if self._before.modules != set(sys.modules):
            return []  # the import system and new classes hold some that nobody shows
        objs = referents = cast("Any", None)
        for objs in (self._old, list(self._new.values())):
            for referents in _census.referents_of(objs):
                incoming.update(map(id, referents))
        del objs, referents
        found = []
        for place, count in enumerate(map(getrefcount, self._old)):
            key = id(self._old[place])
            before = self._before.unaccounted.get(key, count)
            if count - _census.OWN_REFERENCES - incoming[key] > before and count < _census.IMMORTAL:
                found.append((place, count - _census.OWN_REFERENCES - incoming[key] - before))
        gained = [(self._old[place], gain) for place, gain in found]
        return [(obj, gain) for obj, gain in gained if self._trusted(obj)]

    def _trusted(self, obj: Any) -> bool:
        kind = type(obj)
        if any(issubclass(kind, each) for each in UNTRUSTED) or self._ignored(kind):
            return False
        if kind is types.FunctionType:  # a running frame holds its function
            return not self._resumed and not obj.__code__.co_filename.startswith(OWN_FOLDER)
        return obj not in self._hidden

    # -- what is said of it -----------------------------------------------------------------

    def _grouped(self) -> tuple[Survivors, ...]:
        """Say who holds what; leave out what interpreter and standard library keep for themselves.

        What no root leads to is the interpreter's: its interned strings, its thread states.
        """
        search = Search(self._hidden, lambda: False)
        groups: list[Survivors] = []
        kept = []
        for holder, held in self._gained:
            path = search.path(holder, lambda obj: id(obj) in self._new)
            inner = not path.found or _is_stdlib(path.root.removeprefix("module "))
            if inner and all(map(_is_stdlib_type, held)):
                self._excuse(held)
                continue
            kept.append((holder, held))
            if len(groups) < MAX_GROUPS:
                groups.append(Survivors(_kinds(held), (), self._holder(holder, held, path, search)))
        self._gained = kept
        self._survivors = self._reached()
        return tuple(groups)

    def _holder(self, obj: Any, held: list[Any], path: Path, search: Search) -> Holder:
        before = self._before.degrees.get(id(obj), self._before.plain_dicts.get(id(obj)))
        root = path.root or "native code or a running frame"
        now = items(obj)
        if before is None or now is None or len(gc.get_referents(obj)) <= before:
            way = search.path(held[0], lambda each: id(each) in self._new and each is not held[0])
            return Holder(way.root or root, way.text, "", None, None, 1)
        earlier = round(now * before / len(gc.get_referents(obj)))
        return Holder(root, path.text, type_name(type(obj)), earlier, now, 1)

    def _forget(self) -> None:
        """Keep numbers and text only."""
        objs = [*self._survivors.values(), *self._native]
        leaves = [obj for _, held in self._gained for obj in held if id(obj) not in self._new]
        self._names = Counter(map(type_name, map(type, [*objs, *leaves])))
        self._objects = len(objs)
        self._items = len(leaves)
        self._references = sum(gain for _, gain in self._bare)
        self._left_out = len(self._gained) - MAX_GROUPS
        self._told = (
            *(
                Unaccounted(describe(obj), type_name(type(obj)), 1.0, new=True)
                for obj in self._native[:MAX_GROUPS]
            ),
            *(
                Unaccounted(describe(obj), type_name(type(obj)), float(gain), new=False)
                for obj, gain in self._bare[:MAX_GROUPS]
            ),
        )
        self._old.clear()
        self._new.clear()
        self._excused.clear()
        self._survivors.clear()
        self._gained.clear()
        self._native.clear()
        self._bare.clear()
        self._variables.clear()
        self._namespace = None

    def findings(self) -> list[Finding]:
        numbers = {
            ("objects", "object"): self._objects,
            ("container references", "container reference"): self._items,
            ("references", "reference"): self._references,
        }
        return [
            Finding(name, unit, (number,), float(number), 1)
            for (name, unit), number in numbers.items()
            if number
        ]

    def types(self) -> tuple[TypeChange, ...]:
        return tuple(TypeChange(name, number, number) for name, number in self._names.most_common())

    def diagnosis(self) -> Diagnosis:
        return Diagnosis(
            calls=0,
            traced=0,
            survivors=self._groups,
            unaccounted=self._told,
            more=max(0, self._left_out),
        )


def _below(obj: Any) -> list[Any]:
    return [] if type(obj) is types.ModuleType else gc.get_referents(obj)


def _is_namespace(obj: Any, referent: Any) -> bool:
    """Tell whether one of an instance's referents is its ``__dict__``."""
    kind = type(obj)
    if type(referent) is not dict or issubclass(kind, type) or not kind.__dictoffset__:
        return False
    return object.__getattribute__(obj, "__dict__") is referent


def _last(obj: Any, referents: list[Any], growth: int) -> list[Any]:
    """Return what a container gained last, as far as its order tells."""
    if type(obj) is list:
        return referents[:growth]  # listed from the end
    return referents[-growth:]


def _is_subclass_list(obj: Any, referents: list[Any]) -> bool:
    """Tell a class's register of its subclasses: weak references by number."""
    kinds = {id(type(each)) for each in referents}
    return type(obj) is dict and kinds <= {id(weakref.ReferenceType), id(int)}


def _is_stdlib_callback(obj: Any) -> bool:
    """Tell a method that atexit may hold: the standard library registers some at first use."""
    function = obj.__func__ if type(obj) is types.MethodType else None
    return type(function) is types.FunctionType and _is_stdlib(function.__module__ or "")


def _is_stream_text(obj: Any) -> bool:
    """Tell the pieces of text in which 3.10 and 3.11 keep what was written to an io.StringIO."""
    return sys.version_info < (3, 12) and type(obj) is list and set(map(type, obj)) == {str}


def _is_warning_filters(obj: Any) -> bool:
    """Tell the list that the last warning was compared with: C code keeps it until the next one."""
    return type(obj) is list and all(
        type(each) is tuple and len(each) == 5 and each[0] in _WARNING_ACTIONS for each in obj
    )


_WARNING_ACTIONS = {"default", "error", "ignore", "always", "all", "module", "once"}


def _warning_registry(module: Any) -> Any:
    """Return the dict in which the first warning of a module notes that it was shown."""
    return vars(module).get("__warningregistry__") if type(module) is types.ModuleType else None


def _runs(obj: Any) -> bool:
    """Tell what a running frame holds by right: frames, tracebacks, generators, coroutines."""
    return type(obj) in (
        types.FrameType,
        types.TracebackType,
        types.GeneratorType,
        types.CoroutineType,
        types.AsyncGeneratorType,
        types.CellType,
        *([dict] if sys.version_info < (3, 13) else []),  # a frame keeps its f_locals
    )


def _is_stdlib(name: str) -> bool:
    return name.partition(" ")[0].partition(".")[0] in sys.stdlib_module_names


def _is_stdlib_type(obj: Any) -> bool:
    module = module_of(type(obj))
    return _is_stdlib(module) and module != "__main__"


def _kinds(objs: list[Any]) -> tuple[Gained, ...]:
    return tuple(
        Gained(name, float(number)) for name, number in Counter(map(describe, objs)).most_common(5)
    )
