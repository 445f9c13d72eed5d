"""A block that runs once: what outlived it?

Nothing can be warmed up and no total be trusted, so other evidence is judged: objects created in
the block that are still alive after it, containers that gained items, references gained
that no container accounts for, and descriptors, threads, children and tasks that stay. What
only the enclosing frame's variables or a cache of the interpreter or the standard library
holds is left out, and what replaced an object of the same type.
"""

from __future__ import annotations

import codecs
import gc
import io
import sys
import types
import weakref
from collections import Counter, deque
from collections.abc import Container, Hashable, Iterable, Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper
from itertools import compress, pairwise, repeat
from operator import is_not
from sys import getrefcount
from types import CodeType, FrameType
from typing import Any, NamedTuple, cast

from refleak import _census
from refleak._caches import rest
from refleak._check import RUNNING, Describing, available, counting, new_resources
from refleak._diagnosis import Diagnosis
from refleak._enclosing import (
    Enclosing,
    dicts_of,
    holds_one,
    is_running,
    outward,
    references_from_variables,
    variables_seen,
)
from refleak._format import module_of, type_dict, type_mro, type_name
from refleak._groups import Gained, Survivors
from refleak._holders import Hidden, Holder, Path, Search, Unaccounted, items
from refleak._names import OWN_FOLDER, Kinds, base_name, describe, is_a, is_namespace, is_own
from refleak._plan import Plan
from refleak._readings import Series
from refleak._report import Report
from refleak._resources import FileDescriptors
from refleak._settle import Frozen
from refleak._survivors import tally
from refleak._verdict import Finding, NotJudged, Resources, TypeChange
from refleak.probes import Probe

_CHUNK = 64
"""Old objects compared at once with what they were; where one changed, each is looked at."""

MAX_GROUPS = 8
"""Holders shown."""

COUNTED = {"references", "container references", "objects", "memory blocks", "cycles"}
"""Quantities for which the survivors themselves stand here."""

UNTRUSTED = (type, types.ModuleType, types.CodeType, types.FrameType, types.CellType)
"""Objects whose bare references are not judged: the interpreter holds such to them by itself."""


CALLING = Kinds(tuple, dict, types.MethodType, types.BuiltinMethodType)
"""What a call needs. After an ``await`` or ``yield`` in the block, a caller of it has begun anew,
and holds such objects where nobody sees them: an event loop ``Context.run`` and its arguments."""


FIRST_USE = {
    "_contextvars.Context": "each thread has one, made when someone asks for it",
    "hamt": "the empty mapping that all contexts share",
    "abc.SignalDict": "the signals of decimal's contexts, up to 3.12",
    "zoneinfo.ZoneInfo": "the last zones asked for, which zoneinfo keeps in C",
}
"""What C code of the interpreter and the standard library makes at its first use and keeps where
nobody sees it: types by name, each with what it is."""

ALL_DICTS_TRACKED = sys.version_info >= (3, 14)
"""Whether the collector tracks each dict, one of texts and numbers too."""

_FIXED = Kinds(tuple, frozenset)
_LISTS = Kinds(list, deque)
_CACHES = Kinds(_lru_cache_wrapper, dict)
_ABSTRACT: Any = type(vars(Hashable)["_abc_impl"])

LOOKS_THE_SAME = (
    "native code: what it sets up in its first call looks the same in a single pass; "
    "`for _ in leak_check():` tells"
)


DESCRIPTORS = FileDescriptors.name, FileDescriptors.unit
"""By what they are found among what probes describe."""

RETURNED = "the value that the block returns, which nothing else refers to yet"


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


def shape(incoming: Counter[int], own: Hidden) -> Shape:
    """Take out-degrees, and references that no container accounts for, of every tracked object.

    incoming: references to count besides, by id, which the collector does not see.
    """
    objs = _tracked()
    degrees = dict(zip(map(id, objs), map(len, map(gc.get_referents, objs)), strict=True))
    plain_dicts = dict(_plain_dicts(objs))
    _count_references(objs, incoming)
    # Not objs[place]: up to 3.11 a cell would hold the list, be in it, and keep it as garbage.
    # Nor a variable set here, the cell of which is empty when the heap is listed.
    unaccounted = {
        key: count - _census.OWN_REFERENCES - incoming.get(key, 0)
        for key, count in zip(map(id, objs), map(getrefcount, objs), strict=True)
    }
    instances = instances_of(objs, own)
    return Shape(degrees, plain_dicts, unaccounted, instances, frozenset(sys.modules))


def _tracked() -> list[Any]:
    """Return all tracked objects but modules, and nothing made to find them."""
    objs = gc.get_objects()
    return list(compress(objs, map(is_not, map(type, objs), repeat(types.ModuleType))))


def _plain_dicts(objs: list[Any]) -> Iterator[tuple[int, int]]:
    """Yield id and out-degree of the untracked dicts that *objs* hold."""
    if ALL_DICTS_TRACKED:
        return
    for referents in _census.referents_of(objs):
        for each in [each for each in referents if type(each) is dict]:
            if not gc.is_tracked(each):
                yield id(each), len(gc.get_referents(each))


def _count_references(objs: list[Any], incoming: Counter[int]) -> None:
    """Add by id those that *objs* hold to tracked ones; of running variables otherwise.

    *incoming* may be one of *objs*, and holds as many numbers as there are objects: left out.
    """
    for referents in _census.referents_of([obj for obj in objs if obj is not incoming]):
        incoming.update(map(id, filter(gc.is_tracked, referents)))
    for each in filter(is_running, objs):
        incoming.subtract(map(id, variables_seen(each)))


def instances_of(objs: list[Any], own: Hidden) -> Counter[int]:
    """Count objects by their type's id, but for our own and their bound methods.

    ``with`` holds that of ``__enter__`` during the reading before the block, up to 3.13.
    """
    method, hidden = types.MethodType, own.ids
    left_out = [
        obj for obj in objs if id(obj) in hidden or (type(obj) is method and is_own(obj.__self__))
    ]
    instances = tally(map(id, map(type, objs)))
    for kind in map(id, map(type, left_out)):
        instances[kind] -= 1
    return instances


def parted(
    objs: list[Any], candidates: set[int], plain_dicts: Container[int]
) -> tuple[list[Any], list[Any]]:
    """Part objects into old and new ones: *candidates*, but for dicts tracked since the block."""
    new = [
        obj
        for obj in objs
        if id(obj) in candidates and not (type(obj) is dict and id(obj) in plain_dicts)
    ]
    ids = set(map(id, new))
    return [obj for obj in objs if id(obj) not in ids], new


_FIXTURES = "_pytest.fixtures"
_PYTEST = ("_pytest", "pluggy")
_MARK = "`pytestmark = pytest.mark.assert_no_leaks` in the test's module"


def _module_of(frame: FrameType | None) -> str:
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


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
        self._described: dict[tuple[str, str], dict[Any, str]] = {}
        self._frame: FrameType | None = None
        self._callers: dict[int, CodeType] = {}

    def begin(self, frame: FrameType) -> None:
        """Take the shape of the heap before the block, which *frame* enters."""
        frames = outward(frame)
        self._callers = {id(each): back.f_code for each, back in pairwise(frames)}
        del frames
        self._other = RUNNING.claim(self._subject, id(frame))
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
        if self._plan.diagnose:
            self._described = _described(self._probes)
        self._frame = frame
        self._series = Series(self._probes, 2)
        repr([self._subject])  # makes the dict of this thread, which the thread's state holds
        hidden = Hidden(self._own())
        hidden.ids |= dicts_of(outward(frame))
        incoming = references_from_variables(outward(frame))
        rest()
        self._before = shape(incoming, hidden)
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

    def end(self, frame: FrameType) -> Report:
        """Return what outlived the block, which *frame* leaves.

        Raises RuntimeError if the test is not in it but around it: what pytest itself keeps of the
        test that ran there looks like leaks.
        """
        if self._other is not None:
            return self._report(judged=False)
        assert self._frame is not None
        try:
            enclosing = Enclosing(self._frame, frame)
            self._refuse(enclosing.frame)
            return self._judged(enclosing)
        finally:
            self.close()

    def _refuse(self, frame: FrameType | None) -> None:
        """Refuse a block of which nothing can be told: *frame* is the one that encloses it."""
        if frame is None:
            raise RuntimeError(
                f"{self._subject} was entered by code that is over, called by none that left it; "
                f"write `with leak_check():` around the code to check"
            )
        caller = frame.f_back
        known = caller is None or caller.f_code is self._callers.get(id(frame))
        if _module_of(frame) == "unittest.suite":
            where, right_form = "tests that unittest runs", "`@assert_no_leaks` above their class"
        elif _module_of(frame).partition(".")[0] in _PYTEST:
            where, right_form = "a test that pytest runs", _MARK
        elif not known and _module_of(caller) == _FIXTURES:
            where, right_form = "the yield of a pytest fixture", _MARK
        else:
            return
        raise RuntimeError(
            f"{self._subject} is around {where}, and cannot judge what is in it; "
            f"write {right_form} instead"
        )

    def _judged(self, enclosing: Enclosing) -> Report:
        assert self._before is not None
        assert self._series is not None
        rest()
        self._series.read()
        candidates = set(map(id, gc.get_objects()))
        if not self._frozen.active:
            candidates.difference_update(self._before.degrees)
        self._frozen.thaw()
        rest()
        hidden = Hidden([*self._own(), self._before, *self._before, *outward(self._frame)])
        hidden.add(candidates, self._plan, self._plan.ignore)
        hidden.add(enclosing, vars(enclosing), *vars(enclosing).values())
        hidden.ids |= enclosing.dicts
        # Counted here, since calling a class may need a tuple of its arguments.
        instances = instances_of(_tracked(), hidden)
        outlived = _Outlived(
            self._before, instances, candidates, hidden, enclosing, self._plan.ignore
        )
        changes = self._series.change(0, 1)
        held = outlived.descriptors - self._described.get(DESCRIPTORS, {}).keys()
        if FileDescriptors.name in changes:
            changes[FileDescriptors.name] -= len(held)
        grown = [
            Finding(probe.name, probe.unit, (delta,), float(delta), 1)
            for probe in self._probes
            if (delta := changes[probe.name]) > 0
        ]
        return self._report(outlived=outlived, grown=grown, resources=self._resources(grown, held))

    def _resources(self, grown: Iterable[Finding], held: set[int]) -> tuple[Resources, ...]:
        """Name the descriptors, threads and such that stayed, but for those *held* by variables."""
        names = {finding.quantity for finding in grown}
        before = {key: texts for key, texts in self._described.items() if key[0] in names}
        probes = [probe for probe in self._probes if (probe.name, probe.unit) in before]
        after = _described(probes)
        for number in held & after.get(DESCRIPTORS, {}).keys():
            del after[DESCRIPTORS][number]
        return new_resources(before, after)

    def _report(
        self,
        *,
        outlived: _Outlived | None = None,
        grown: Iterable[Finding] = (),
        resources: tuple[Resources, ...] = (),
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
            resources=resources,
            diagnosis=outlived.diagnosis() if outlived and self._plan.diagnose else None,
            known_leak=self._plan.known_leak,
            judged=judged,
        )


def _described(probes: Iterable[Probe]) -> dict[tuple[str, str], dict[Any, str]]:
    """Ask the probes that can tell what there is now."""
    return {
        (probe.name, probe.unit): dict(probe.describe())
        for probe in probes
        if isinstance(probe, Describing)
    }


class _Outlived:
    """Compares the heap after a block with its shape before."""

    def __init__(
        self,
        before: Shape,
        instances: Counter[int],
        candidates: set[int],
        hidden: Hidden,
        enclosing: Enclosing,
        ignore: tuple[type | str, ...],
    ) -> None:
        self.notes: list[str] = []
        self._before = before
        self._hidden = hidden
        self._ignore = ignore
        self._enclosing = enclosing
        # What a call needs that has begun since: where something was awaited, or called to leave.
        self._called = enclosing.resumed or bool(enclosing.instruments)
        # Its dict may lie where an empty one lay before, and would be taken for that one.
        hidden.add(self, vars(self), hidden)
        self._instances = instances
        self._old, new = parted(_tracked(), candidates, before.plain_dicts)
        hidden.add(self._old, self._instances)
        self._unblamed = [obj for obj in new if obj in hidden or _is_ours(obj)]
        hidden.add(self._unblamed)
        self._new = {id(obj): obj for obj in new if obj not in hidden and not _is_ours(obj)}
        del new
        hidden.add(self._new)
        # Before anything else is kept: lists of ours would count as references of theirs.
        self._bare = self._unaccounted(enclosing.references)
        self._rightful: list[Any] = []
        self._gained: list[tuple[Any, list[Any]]] = []
        self._excused: dict[int, Any] = {}
        hidden.add(self._bare, self._rightful, self._gained, self._excused)
        self._sort()
        self._survivors = self._reached()
        hidden.add(self._survivors)
        self._groups = self._grouped()
        self._native = self._unreferenced()
        if enclosing.returning:
            self._leave_out_what_is_returned()
        self.descriptors = set(_descriptors(self._excused.values()))
        if self._native or self._bare:
            self.notes.append(LOOKS_THE_SAME)
        self._forget()

    # -- who holds what is new --------------------------------------------------------------

    def _sort(self) -> None:
        """Part the old containers that hold new things: those by right, and the others."""
        self._rightful += [self._new[key] for key in self._enclosing.values if key in self._new]
        registries = filter(None, map(_warning_registry, list(sys.modules.values())))
        self._excused.update((id(registry), registry) for registry in registries)
        rightful = self._rightful_holders()
        self._excuse_imports(rightful)
        degrees = {**self._before.plain_dicts, **self._before.degrees}
        for obj in self._changed(degrees):
            if obj in self._hidden:
                continue
            referents = gc.get_referents(obj)
            before = degrees.get(id(obj))
            held, new = self._gain(obj, referents, before)
            if id(obj) in rightful or self._holds_by_right(obj):
                self._rightful += new
            elif held:
                self._gained.append((obj, held))
        accused = self._below_all(obj for _, held in self._gained for obj in held)
        self._excused.update(self._below_all(self._rightful, but=accused))

    def _changed(self, degrees: dict[int, int]) -> Iterator[Any]:
        """Yield the old containers that hold new objects, or more or fewer than they did."""
        new_ids = frozenset(self._new)
        for start in range(0, len(self._old), _CHUNK):
            chunk = self._old[start : start + _CHUNK]
            now = list(map(len, map(gc.get_referents, chunk)))
            before = list(map(degrees.get, map(id, chunk)))
            if now == before and new_ids.isdisjoint(map(id, gc.get_referents(*chunk))):
                continue
            for obj, degree, earlier in zip(chunk, now, before, strict=True):
                if degree != earlier or not new_ids.isdisjoint(map(id, gc.get_referents(obj))):
                    yield obj

    def _gain(
        self, obj: Any, referents: list[Any], before: int | None
    ) -> tuple[list[Any], list[Any]]:
        """Return what *obj* refers to that it did not, as far as can be told, and what is new.

        before: how many references it held. Dicts that are made when someone looks are excused.
        """
        if type(obj) is types.FunctionType:
            made = [each for each in referents if _is_made_for(obj, each)]
            self._excused.update(self._below_all(made))
            referents = [each for each in referents if not _is_made_for(obj, each)]
        new = [each for each in referents if id(each) in self._new]
        own_dict = next((each for each in new if _is_dict_of(obj, each)), None)
        if own_dict is not None:  # from 3.13 on it is made when someone looks at it
            self._excused[id(own_dict)] = own_dict
            new = [each for each in gc.get_referents(own_dict) if id(each) in self._new]
            before = None
        growth = 0
        if before is not None and type(obj) not in _FIXED:
            growth = len(referents) - before
        return new or (_last(obj, referents, growth) if growth > 0 else []), new

    def _rightful_holders(self) -> set[int]:
        """Return the ids of what holds new objects by right: variables, caches."""
        caches = {
            id(part)
            for obj in self._old
            if type(obj) is _lru_cache_wrapper
            for part in (obj, *gc.get_referents(obj))
            if type(part) in _CACHES
        }
        abstract = {
            id(part)
            for obj in self._old
            if type(obj) is _ABSTRACT
            for part in gc.get_referents(obj)
        }
        instruments = {
            id(part)
            for obj in self._old
            if id(obj) in self._enclosing.instruments
            for part in (obj, *_attributes(obj))
        }
        return {*caches, *abstract, *instruments, *self._enclosing.namespaces}

    def _excuse_imports(self, rightful: set[int]) -> None:
        """Excuse what modules hold that the block imported, and the caches of finders."""
        imported = [name for name in sys.modules if name not in self._before.modules]
        if not imported:
            return
        self.notes.append(
            f"{len(imported)} modules were imported in the block: "
            "they and bare references are not judged"
        )
        loaded = [vars(sys.modules[name]) for name in imported if sys.modules.get(name)]
        self._excused.update(self._below_all(loaded))
        for finder in sys.meta_path:
            if hasattr(finder, "__dict__"):
                # It gains a reference by this very look, which may make its dict.
                rightful.add(id(finder))
                rightful.update(map(id, vars(finder).values()))

    def _holds_by_right(self, obj: Any) -> bool:
        return (
            type(obj) is types.FrameType
            or is_running(obj)
            or holds_one(obj, self._enclosing.shared)
            or holds_one(obj, self._hidden.ids)  # of this method's callers, up to 3.11
            or obj is sys.modules
            or obj is sys.path_importer_cache
            or _is_subclass_list(obj)
        )

    def _below_all(self, objs: Iterable[Any], but: Container[int] = ()) -> dict[int, Any]:
        """Return the new ones of *objs*, and those that they hold, by id, without *but*."""
        found: dict[int, Any] = {}
        stack = [obj for obj in objs if id(obj) in self._new]
        while stack:
            obj = stack.pop()
            if id(obj) not in found and id(obj) not in but:
                found[id(obj)] = obj
                stack.extend(each for each in _below(obj) if id(each) in self._new)
        return found

    def _reached(self) -> dict[int, Any]:
        """Return the new objects that old containers keep alive, those merely replaced left out."""
        counted = [
            (holder, [obj for obj in held if self._counts(obj)]) for holder, held in self._gained
        ]
        self._gained[:] = [each for each in counted if each[1]]
        for each in self._gained:
            self._hidden.add(each, each[1])
        return self._below_all(obj for _, held in self._gained for obj in held)

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
        roots = self._new.keys() - self._excused.keys() - self._survivors.keys()
        for obj in self._new.values():
            roots.difference_update(id(each) for each in _below(obj) if each is not obj)
        for objs in (self._old, self._unblamed):
            for referents in _census.referents_of(objs) if roots else ():
                roots.difference_update(map(id, referents))
        return [
            obj
            for key, obj in self._new.items()
            if key in roots
            and not is_own(obj)
            and not self._ignored(type(obj))
            and type_name(type(obj)) not in FIRST_USE
            and not _runs(obj)
            and not _is_subclass_list(obj)
            and not _is_attributes(obj)
            and not _is_warning_filters(obj)
            and not _is_stream_text(obj)
            and not _is_stream_decoder(obj)
            and not _is_stdlib_callback(obj)
            and not (self._called and (type(obj) in CALLING or _is_context_manager(type(obj))))
        ]

    def _leave_out_what_is_returned(self) -> None:
        """Leave out the last object that nothing but a single reference keeps alive.

        Two are this object's own, in its list and dict of them.
        """
        held = [count - _census.OWN_REFERENCES - 1 for count in map(getrefcount, self._native)]
        single = [place for place, count in enumerate(held) if count == 1]
        if single:
            name = type_name(type(self._native.pop(single[-1])))
            self.notes.append(f"1 {name} is taken for {RETURNED}")

    def _unaccounted(self, incoming: Counter[int]) -> list[tuple[Any, int]]:
        """Return the old objects with references gained that no container accounts for."""
        if len(sys._current_frames()) > 1:
            self.notes.append("bare references: not judged, other threads' frames hold some")
            return []
        if self._before.modules != set(sys.modules):
            return []  # the import system and new classes hold some that nobody shows
        objs = cast("Any", None)
        for objs in (self._old, self._unblamed, list(self._new.values())):
            _count_references(objs, incoming)
        del objs
        found = []
        ours, unaccounted = _census.OWN_REFERENCES, self._before.unaccounted
        counts = zip(map(id, self._old), map(getrefcount, self._old), strict=True)
        for place, (key, count) in enumerate(counts):
            gain = count - ours - incoming.get(key, 0) - unaccounted.get(key, count)
            if gain > 0 and count < _census.IMMORTAL:
                found.append((place, gain))
        gained = [(self._old[place], gain) for place, gain in found]
        return [(obj, gain) for obj, gain in gained if self._trusted(obj)]

    def _trusted(self, obj: Any) -> bool:
        kind = type(obj)
        if any(issubclass(kind, each) for each in UNTRUSTED) or self._ignored(kind):
            return False
        if self._called and kind in CALLING:
            return False
        if kind is types.FunctionType:  # a running frame holds its function
            running = id(obj.__code__) in self._enclosing.executed
            return not running and not obj.__code__.co_filename.startswith(OWN_FOLDER)
        held = self._enclosing.instruments | self._enclosing.executed
        return obj not in self._hidden and id(obj) not in held

    # -- what is said of it -----------------------------------------------------------------

    def _grouped(self) -> tuple[Survivors, ...]:
        """Say who holds what; leave out what interpreter and standard library keep for themselves.

        What no root leads to is the interpreter's: its interned strings, its thread states.
        """
        search = Search(self._hidden, lambda: False)
        groups: list[Survivors] = []
        kept = []
        for each in self._gained:
            holder, held = each
            path = search.path(holder, lambda obj: id(obj) in self._survivors)
            inner = not path.found or _is_stdlib(path.root.removeprefix("module "))
            if inner and all(map(_is_stdlib_type, held)):
                self._excused.update(self._below_all(held))
                continue
            kept.append(each)
            if len(groups) < MAX_GROUPS:
                groups.append(Survivors(_kinds(held), (), self._holder(holder, held, path, search)))
        self._gained[:] = kept
        self._survivors = self._reached()
        return tuple(groups)

    def _holder(self, obj: Any, held: list[Any], path: Path, search: Search) -> Holder:
        before = self._before.degrees.get(id(obj), self._before.plain_dicts.get(id(obj)))
        root = path.root or "native code or a running frame"
        now = items(obj)
        if before is None or now is None or len(gc.get_referents(obj)) <= before:
            way = search.path(held[0], lambda each: id(each) in self._survivors)
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
        self._rightful.clear()
        self._unblamed.clear()

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


def _descriptors(objs: Iterable[Any]) -> Iterator[int]:
    """Yield the descriptors that the open files and sockets among *objs* will close."""
    sockets = getattr(sys.modules.get("_socket"), "socket", io.FileIO)
    for obj in objs:
        kind = next((each for each in (io.FileIO, sockets) if is_a(obj, each)), None)
        with suppress(ValueError):  # it is closed
            if kind is not None and (number := kind.fileno(obj)) >= 0:
                yield number


def _is_ours(obj: Any) -> bool:
    """Tell our own objects, methods and functions: what only they hold is none of the user's."""
    if type(obj) is types.FunctionType:
        return is_own(obj.__code__)
    return is_own(obj.__self__ if type(obj) is types.MethodType else obj)


def _below(obj: Any) -> list[Any]:
    return [] if type(obj) is types.ModuleType else gc.get_referents(obj)


def _attributes(obj: Any) -> list[Any]:
    """Return the dict of an instance, if it has one, and of the standard library's its containers.

    Those are ``contextlib``'s and ``unittest``'s lists of what to do and of what was done.
    """
    found = [each for each in gc.get_referents(obj) if _is_dict_of(obj, each)]
    if _is_stdlib_type(obj):
        found += [each for each in gc.get_referents(obj, *found) if type(each) in _LISTS]
    return found


def _is_made_for(function: Any, referent: Any) -> bool:
    """Tell the attributes or annotations of a function that are made when someone looks at them."""
    code = function.__code__
    names = {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + 2], "return"}
    return (
        type(referent) is dict
        and referent is not function.__globals__
        and referent is not function.__kwdefaults__
        and names.issuperset(referent)
    )


def _is_dict_of(obj: Any, referent: Any) -> bool:
    """Tell whether one of an instance's referents is its ``__dict__``, without making one."""
    kind = type(obj)
    if type(referent) is not dict or issubclass(kind, type):
        return False
    if is_namespace(obj, referent):
        return True
    alone = len(gc.get_referents(obj)) <= _CLASS_AND_DICT and _DICT_OFFSET.__get__(kind) != 0
    names = {name for base in type_mro(kind) for name in type_dict(base)}
    return alone and names.issuperset(referent)  # nothing, or what a cached_property keeps


_CLASS_AND_DICT = 2
_DICT_OFFSET: Any = vars(type)["__dictoffset__"]


def _is_attributes(obj: Any) -> bool:
    """Tell an instance's ``__dict__`` to which it does not show that it refers, from 3.13 on.

    Its values are the instance's, and it does not show those; it has room for them all the same.
    """
    if sys.version_info < (3, 13) or type(obj) is not dict or gc.get_referents(obj):
        return False
    return bool(obj) or sys.getsizeof(obj) > sys.getsizeof({})


def _last(obj: Any, referents: list[Any], growth: int) -> list[Any]:
    """Return what a container gained last, as far as its order tells."""
    if type(obj) is list:
        return referents[:growth]  # listed from the end
    if type(obj) is types.FunctionType:
        return [each for each in referents if is_namespace(obj, each)][:growth]
    return referents[-growth:]


def _is_subclass_list(obj: Any) -> bool:
    """Tell a class's register of its subclasses: weak references to them by their ids."""
    return type(obj) is dict and bool(obj) and all(map(_is_by_id, obj.items()))


def _is_by_id(entry: tuple[Any, Any]) -> bool:
    key, reference = entry
    if type(key) is not int or type(reference) is not weakref.ReferenceType:
        return False
    target = reference()
    return target is None or (is_a(target, type) and id(target) == key)


def _is_stdlib_callback(obj: Any) -> bool:
    """Tell a method that atexit may hold: the standard library registers some at first use."""
    function = obj.__func__ if type(obj) is types.MethodType else None
    return type(function) is types.FunctionType and _is_stdlib(function.__module__ or "")


def _is_context_manager(kind: type) -> bool:
    """Tell what a frame holds while it is in a ``with``."""
    methods = ("__exit__", "__aexit__")
    return any(name in type_dict(base) for base in type_mro(kind) for name in methods)


def _is_stream_text(obj: Any) -> bool:
    """Tell the pieces of text in which 3.10 and 3.11 keep what was written to an io.StringIO."""
    if sys.version_info >= (3, 12) or type(obj) is not list:
        return False
    return bool(obj) and all(type(each) is str for each in obj)


def _is_stream_decoder(obj: Any) -> bool:
    """Tell what decodes a text file: up to 3.11 the file does not show that it refers to it."""
    return sys.version_info < (3, 12) and is_a(obj, codecs.IncrementalDecoder)


def _is_warning_filters(obj: Any) -> bool:
    """Tell the list that the last warning was compared with: C code keeps it until the next one."""
    return type(obj) is list and bool(obj) and all(map(_is_warning_filter, obj))


def _is_warning_filter(obj: Any) -> bool:
    return type(obj) is tuple and len(obj) == 5 and obj[0] in _WARNING_ACTIONS


_WARNING_ACTIONS = {"default", "error", "ignore", "always", "all", "module", "once"}


def _warning_registry(module: Any) -> Any:
    """Return the dict in which the first warning of a module notes that it was shown."""
    return vars(module).get("__warningregistry__") if type(module) is types.ModuleType else None


def _runs(obj: Any) -> bool:
    """Tell what a running frame holds by right: frames, tracebacks, generators, coroutines."""
    kind = type(obj)
    return kind in _RUNNING or (module_of(kind) == "builtins" and base_name(kind) in _AWAITING)


_RUNNING = Kinds(
    types.FrameType,
    types.TracebackType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.CellType,
)
_AWAITING = {
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
    "coroutine_wrapper",
}
"""What is awaited besides; the types have no names in any module."""


def _is_stdlib(name: str) -> bool:
    return name.partition(" ")[0].partition(".")[0] in sys.stdlib_module_names


def _is_stdlib_type(obj: Any) -> bool:
    module = module_of(type(obj))
    return _is_stdlib(module) and module != "__main__"


def _kinds(objs: list[Any]) -> tuple[Gained, ...]:
    return tuple(
        Gained(name, float(number)) for name, number in Counter(map(describe, objs)).most_common(5)
    )
