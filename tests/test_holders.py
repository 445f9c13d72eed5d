"""Who keeps an object alive: the shortest chain of references from a root."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import ctypes
import functools
import logging
import string
import sys
import threading
import types
import weakref

import pytest
from diagnosing import diagnosis_of, held

from refleak import LeakError, leak_check
from refleak._holders import Filling, Holder, Unaccounted, bound
from refleak._names import base_name

NAME = __name__
drops: list[object] = []


class Widget:
    """What leaks."""

    def __init__(self):
        self.parts = []

    def on_tick(self):
        """Be called."""


class EventBus:
    """What keeps it."""

    _subscribers: dict[str, list[object]] = {"tick": [], "\n": []}  # noqa: RUF012  # such an attribute is the holder

    def __init__(self):
        self.before = 1
        self.history = []
        self.after = 2


class Slotted:
    """Keeps it in a slot."""

    __slots__ = ("log", "other")

    def __init__(self):
        self.log = []


bus = EventBus()
slotted = Slotted()
local = threading.local()
variable = contextvars.ContextVar("variable")
endless = functools.cache(lambda number: [number])
bounded = functools.lru_cache(500)(lambda number: [number])
last = collections.deque(maxlen=500)
counter = iter(range(1_000_000))


@pytest.fixture(autouse=True)
def _released():
    yield
    for each in (drops, bus.history, slotted.log, *EventBus._subscribers.values(), last):
        each.clear()
    endless.cache_clear()
    bounded.cache_clear()


def _only(chains, root, size, survivor):
    """Check that there is one chain, with sizes that grew by the calls it was watched for."""
    assert 1 == len(chains), chains
    assert chains[0].startswith(f"{root} ({size}, "), chains
    assert chains[0].endswith(f" items) -> {survivor}"), chains


def test_a_module_global():
    """A global is named with its module, the container's type and its growth."""
    diagnosis = diagnosis_of(lambda: drops.append({}))
    (group,) = diagnosis.survivors
    assert f"module {NAME} -> drops (list, 2 -> 7 items) -> dict" == group.held_by
    assert 1 == group.holder.per_call


def test_none_in_a_list():
    """Growth by an object that was there before is seen, and the object named."""
    _only(held(lambda: drops.append(None)), f"module {NAME} -> drops", "list", "None")


def test_a_class_attribute_with_a_key():
    """Attributes and keys are written as in the source, and a bound method names its object."""
    subscribe = EventBus._subscribers["tick"].append
    del subscribe
    chains = held(lambda: EventBus._subscribers["tick"].append(Widget().on_tick))
    root = f'module {NAME} -> EventBus._subscribers["tick"]'
    _only(chains, root, "list", "bound method Widget.on_tick -> Widget")


def test_a_key_with_control_characters():
    """A text key is escaped, so that it cannot break the report's lines."""
    chains = held(lambda: EventBus._subscribers["\n"].append([]))
    _only(chains, f'module {NAME} -> EventBus._subscribers["\\\\n"]', "list", "list")


def test_an_instance_attribute():
    """An attribute is named although instances keep their values without a dict."""
    _only(held(lambda: bus.history.append([])), f"module {NAME} -> bus.history", "list", "list")


def test_an_attribute_set_from_outside():
    """An attribute that no method of the class names is found as well."""
    bus.set_from_outside = []
    chains = held(lambda: bus.set_from_outside.append([]))
    _only(chains, f"module {NAME} -> bus.set_from_outside", "list", "list")


def test_a_slot():
    """A slot is named like any attribute."""
    _only(held(lambda: slotted.log.append([])), f"module {NAME} -> slotted.log", "list", "list")


def test_a_closure():
    """The cell of a closure is named by the function and its variable."""
    kept = []

    def subject():
        kept.append([])

    root = f"closure of {NAME}.test_a_closure.<locals>.subject -> kept"
    _only(held(subject), root, "list", "list")


def test_a_default():
    """A mutable default is named by the function and its parameter."""

    def subject(first=None, acc=[]):  # noqa: B006  # such a default is the holder
        acc.append({})

    root = f"default of {NAME}.test_a_default.<locals>.subject -> acc"
    _only(held(subject), root, "list", "dict")


def test_a_keyword_default():
    """A keyword-only default likewise."""

    def subject(*, acc=[]):  # noqa: B006  # such a default is the holder
        acc.append({})

    root = f"default of {NAME}.test_a_keyword_default.<locals>.subject -> acc"
    _only(held(subject), root, "list", "dict")


def _remembers():
    _remembers.calls.append(set())


_remembers.calls = []


def test_a_function_attribute():
    """An attribute of a function is named by the function."""
    root = f"function {NAME}._remembers -> calls"
    _only(held(_remembers), root, "list", "set")


def _collect():
    found = []
    while True:
        found.append({})
        yield


def test_a_suspended_generator():
    """A local variable of a suspended generator that nothing lasting refers to is named."""
    kept = _collect()
    next(kept)
    chains = held(kept.__next__)
    assert 1 == len(chains)
    assert "found" in chains[0], chains
    assert chains[0].endswith(" items) -> dict")


def test_a_context_variable():
    """The value of a context variable is named by the variable."""

    def leak():
        variable.get().append({})

    def run():
        variable.set([])
        return held(leak)

    _only(contextvars.copy_context().run(run), "context variable variable", "list", "dict")


def test_a_thread_local():
    """An attribute of a thread-local object is named, without the dicts between."""
    local.items = []
    chains = held(lambda: local.items.append({}))
    _only(chains, f"module {NAME} -> local.items", "list", "dict")


def test_an_endless_cache():
    """An unlimited lru_cache is named by its function, with the entries gained per call."""
    (group,) = diagnosis_of(lambda: endless(next(counter))).survivors
    assert group.holder.root == f"lru_cache of {NAME}.<lambda>"
    assert group.held_by.endswith("(unlimited, 2 -> 7 items) -> list"), group.held_by
    assert 1 == group.holder.per_call
    assert not group.bounded


def test_a_cache_with_a_limit():
    """An lru_cache with a limit is bounded growth, told with its fill level."""
    diagnosis = diagnosis_of(lambda: bounded(next(counter)))
    assert diagnosis.only_bounded
    assert [f"still filling: {NAME}.<lambda>.lru_cache 7/500"] == list(map(str, diagnosis.filling))


def test_a_deque_with_a_limit():
    """A deque with a limit likewise."""
    diagnosis = diagnosis_of(lambda: last.append([]))
    assert diagnosis.only_bounded
    assert [f"still filling: module {NAME} -> last 7/500"] == list(map(str, diagnosis.filling))


def test_a_leak_beside_a_bounded_container():
    """A bounded container excuses nothing that something else holds."""

    def subject():
        last.append([])
        drops.append([])

    assert not diagnosis_of(subject).only_bounded


def test_what_has_no_limit_is_told_first():
    """Bounded containers gain more each call, but are not what leaks."""

    def subject():
        last.extend([[], [], []])
        bounded(next(counter))
        drops.append([])

    first, *others = diagnosis_of(subject).survivors
    assert first.held_by.startswith(f"module {NAME} -> drops")
    assert [True, True] == [group.bounded for group in others]


def test_a_weakref_callback():
    """What a weak reference's callback keeps alive is found behind the weak reference."""
    target = Widget()

    def subject():
        kept = Widget()
        drops.append(weakref.ref(target, lambda _, kept=kept: None))

    (group,) = diagnosis_of(subject).survivors
    assert group.held_by.endswith("-> weakref")
    assert "Widget" in {kind.name for kind in group.inner}


def test_a_finalizer():
    """What waits in the registry of weakref.finalize is found there."""
    target = Widget()
    chains = held(lambda: weakref.finalize(target, print, Widget()))
    assert chains[0].startswith("module weakref -> finalize._registry (dict, "), chains


def test_a_logging_handler():
    """The logger is the holder; logging's own weak list of handlers is only mentioned."""
    logger = logging.getLogger(NAME)
    diagnosis = diagnosis_of(lambda: logger.addHandler(logging.NullHandler()))
    logger.handlers.clear()
    (group,) = diagnosis.survivors
    assert "handlers" in group.held_by
    assert group.held_by.endswith("-> NullHandler")
    assert any("_handlerList" in str(holder) for holder in group.also)


def test_replaced_by_a_larger_one():
    """A container replaced by a larger copy each call is told by what the copies hold."""
    holder = types.SimpleNamespace(state=())

    def subject():
        holder.state += ([],)

    (group,) = diagnosis_of(subject).survivors
    assert "state (tuple, 2 -> 7 items) -> list" in group.held_by


class Node:
    """A link."""

    def __init__(self, following):
        self.following = following


head: Node | None = None


def test_a_linked_list():
    """A chain of new objects hanging from a variable is counted whole, and so is its rate."""

    def subject():
        global head
        head = Node(head)

    (group,) = diagnosis_of(subject).survivors
    assert f"module {NAME} -> head -> Node" == group.held_by
    assert 1 == group.kinds[0].per_call


def test_a_chain_longer_than_any_recursion():
    """A very long chain is followed without recursion, and told shortly."""

    def subject():
        first = None
        for _ in range(2 * sys.getrecursionlimit()):
            first = Node(first)
        drops.append(first)

    (group,) = diagnosis_of(subject).survivors
    assert group.held_by.endswith("-> Node")
    assert len(group.held_by) < 300
    drops.clear()  # the destructor of a long chain takes care of itself


class Tree(dict):
    """Keeps one trunk."""


class Trunk:
    """What all leaves refer to."""

    def __init__(self):
        self.leaves = []

    def on_leaf(self):
        """Be called by a leaf."""


tree = Tree()


@pytest.mark.parametrize("leaf", [lambda trunk: [trunk.on_leaf], lambda trunk: {"trunk": trunk}])
def test_a_holder_besides_thousands_of_children(leaf):
    """Old children that refer to their parent do not hide what else does."""
    trunk = Trunk()
    trunk.leaves[:] = [leaf(trunk) for _ in range(3_000)]
    bark = {"trunk": trunk}  # younger than the leaves, and so told after them
    tree["oak"] = bark
    (holder,) = held(lambda: trunk.leaves.append(leaf(trunk)))
    tree.clear()
    assert holder.startswith(f'module {NAME} -> tree["oak"]["trunk"].leaves (list, ')


def test_two_holders():
    """Objects that two containers gain are one group with two holders."""
    kept = {}

    def subject():
        widget = Widget()
        drops.append(widget)
        kept[id(widget)] = widget

    (group,) = diagnosis_of(subject).survivors
    assert 1 == len(group.also)
    assert {"kept", "drops"} == {
        str(holder).split(" -> ")[1].split(" ")[0] for holder in (group.holder, *group.also)
    }


@pytest.mark.parametrize("users_first", [True, False])
def test_the_users_own_holder_is_told_first(monkeypatch, users_first):
    """Where a container of the standard library gains as much, it is a further holder."""
    older, newer = [], []
    own, standard = (older, newer) if users_first else (newer, older)
    monkeypatch.setattr(f"{NAME}.drops", own)
    monkeypatch.setattr(string, "kept", standard, raising=False)

    def subject():
        widget = Widget()
        own.append(widget)
        standard.append(widget)

    (group,) = diagnosis_of(subject).survivors
    holders = [str(group.holder), *map(str, group.also)]
    assert [f"module {NAME} -> drops", "module string -> kept"] == [
        holder.partition(" (")[0] for holder in holders
    ]


def test_a_local_variable_of_a_running_function():
    """What only a running frame refers to is named by function and variable."""
    kept = []
    steps = kept.append
    (chain,) = held(functools.partial(steps, []))
    assert chain.endswith("items) -> list")
    assert "kept" in chain


def diagnosis_of_lost_references(target):
    """Diagnose a subject that loses a reference to *target* in each call; give them back."""
    reference = ctypes.py_object(target)
    diagnosis = diagnosis_of(lambda: ctypes.pythonapi.Py_IncRef(reference))
    for _ in range(diagnosis.calls):
        ctypes.pythonapi.Py_DecRef(reference)
    return diagnosis


class Shelf:
    """Keeps what it is given."""

    def __init__(self):
        self.books = []

    def add(self, *_):
        """Keep something."""
        self.books.append([])


def adding(books):
    """Keep something."""
    books.append([])


async def adding_later(*, books):
    """Keep something."""
    books.append([])


@pytest.mark.parametrize(
    ("expected", "call"),
    [
        (f"{__name__}.adding", lambda check: check(adding, [])),
        (f"{__name__}.adding_later", lambda check: asyncio.run(check(adding_later, books=[]))),
        (f"{__name__}.Shelf.add -> books", lambda check: check(Shelf().add, 3)),
        (f"{__name__}.adding", lambda check: check(functools.partial(adding, []))),
    ],
)
def test_an_argument_of_what_is_checked(expected, call):
    """What the check itself holds is told by whose argument it is, not by how it is held."""
    with pytest.raises(LeakError) as caught, leak_check(max_rounds=20) as check:
        call(check)
    held_by = caught.value.report.diagnosis.survivors[0].held_by
    assert held_by.startswith(f"an argument of {expected} (list, ")


def test_an_old_object_that_native_code_holds():
    """References which no container accounts for are told with the object and the gain."""
    diagnosis = diagnosis_of_lost_references(Widget.on_tick)
    (found,) = diagnosis.unaccounted
    assert f"function {NAME}.Widget.on_tick" == found.description
    assert 1 == found.per_call
    assert "no container accounts for" in str(found)
    assert "Py_DECREF" in str(found)
    assert () == diagnosis.survivors


def test_an_old_object_without_a_name():
    """An object without a name of its own is told with where it is found."""
    (found,) = diagnosis_of_lost_references(bus).unaccounted
    assert f"{NAME}.EventBus" == found.description
    assert f"module {NAME} -> bus" == found.where


def test_a_new_object_that_native_code_holds():
    """New objects that nothing refers to are told, with where they were allocated."""

    def subject():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object([1, []]))

    diagnosis = diagnosis_of(subject)
    (found,) = diagnosis.unaccounted
    assert (True, "list", 1) == (found.new, found.description, found.per_call)
    assert "Py_IncRef" in found.origins[0].lines[0].source


def test_new_objects_account_for_their_references():
    """Classes, functions, dicts and generators refer to old objects; nobody else is blamed."""

    def subject():
        class Local:
            """Has names, a type and a dict."""

        def generate():
            yield Local

        steps = generate()
        next(steps)
        drops.append((Local, Local(), generate, steps, {"some text as key": range(10**6)}))

    assert () == diagnosis_of(subject).unaccounted


def test_bound_says_what_a_container_may_hold():
    """Only lru_caches with a limit and deques with one are bounded."""
    deque = collections.deque
    assert (0, 500) == bound(bounded)
    assert (1, 3) == bound(deque([1], maxlen=3))
    assert [None] * 3 == [bound(each) for each in (endless, deque(), [])]


def test_values_tell_themselves_in_a_line():
    """The texts of the value types are single complete lines."""
    holder = Holder("module m", "x.y", "list", 9, 13, 4)
    assert "module m -> x.y (list, 9 -> 13 items)" == str(holder)
    assert 1 == holder.per_call
    assert "lru_cache of f (9 -> 13 items of at most 128)" == str(
        Holder("lru_cache of f", "", "", 9, 13, 4, 128)
    )
    assert "still filling: f.lru_cache 9/128" == str(Filling("f.lru_cache", 9, 128))
    found = Unaccounted("builtin function builtins.round", "x", 1, new=False)
    assert "builtins.round gains 1 reference per call" in str(found)


def test_a_type_without_a_text_for_a_name():
    """A class whose names are no text is named all the same."""

    class Text(str):
        __slots__ = ()

    odd = type(Text("Odd"), (), {})
    odd.__qualname__ = Text("Odd")
    assert "<unnamed type>" == base_name(odd)
