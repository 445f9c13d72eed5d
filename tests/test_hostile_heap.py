"""Objects that raise, lie, block or allocate when touched: none of their code runs."""

from __future__ import annotations

import collections
import gc
import sys
import weakref
from unittest import mock

import pytest
from diagnosing import diagnosis_of

from refleak import LeakError, find_leaks, leak_check

calls: collections.Counter[str] = collections.Counter()
kept: list[object] = []
keyed: dict[object, object] = {}


def _counted(name):
    def method(*args, **options):
        calls[name] += 1
        raise RuntimeError(name)

    return method


TOUCHED = """
__eq__ __ne__ __lt__ __repr__ __str__ __format__ __len__ __bool__ __iter__ __getitem__
__contains__ __getattr__ __sizeof__ __reduce_ex__ __dir__ __call__ __get__ __index__
__instancecheck__ __subclasscheck__ __fspath__ __int__ __float__
"""


def _hostile_class(name, bases=(), **members):
    body = {each: _counted(f"{name}.{each}") for each in TOUCHED.split()}
    body["__getattribute__"] = _counted(f"{name}.__getattribute__")
    body["__hash__"] = _counted(f"{name}.__hash__")
    body["__class__"] = property(_counted(f"{name}.__class__"))
    body["__dict__"] = property(_counted(f"{name}.__dict__"))
    body["plain"] = property(_counted(f"{name}.plain"))
    return type(name, bases, {**body, **members})


Plain = _hostile_class("Plain")
Slots = _hostile_class("Slots", __slots__=("one", "__weakref__"))
Dict = _hostile_class("Dict", (dict,))
List = _hostile_class("List", (list,))
Text = _hostile_class("Text", (str,))
Key = _hostile_class("Key", __hash__=object.__hash__)


class Meta(type):
    """A metaclass whose every method counts."""

    __eq__ = _counted("Meta.__eq__")
    __hash__ = _counted("Meta.__hash__")
    __repr__ = _counted("Meta.__repr__")
    __getattribute__ = _counted("Meta.__getattribute__")
    __module__ = property(_counted("Meta.__module__"))
    __instancecheck__ = _counted("Meta.__instancecheck__")
    __subclasscheck__ = _counted("Meta.__subclasscheck__")


class Impersonator(metaclass=Meta):
    """An instance of a class that lies about itself."""


class Finalized:
    """Counts its end, which is none of the diagnosis's business either."""

    def __del__(self):
        calls["__del__"] += 1


def _set(obj, name, value):
    object.__setattr__(obj, name, value)
    return obj


def _leaks():
    """Return subjects that leak hostile objects, each into a holder of its own kind."""
    old = _set(_set(object.__new__(Plain), "plain_list", []), "next", None)
    plain_list = object.__getattribute__(old, "plain_list")
    kept.append(old)
    slots = object.__new__(Slots)
    Slots.one.__set__(slots, [])
    slot_list = Slots.one.__get__(slots)
    kept.append(slots)
    old_dict, old_list = dict.__new__(Dict), list.__new__(List)
    kept.extend((old_dict, old_list))

    def a_cycle():
        one, other = object.__new__(Plain), object.__new__(Plain)
        _set(one, "other", other)
        _set(other, "one", one)
        kept.append(one)

    def a_dead_proxy():
        target = Finalized()
        kept.append(weakref.proxy(target))

    def a_traceback():
        hostile = object.__new__(Plain)
        try:
            raise ValueError
        except ValueError as error:
            kept.append(error)
        del hostile

    return {
        "an instance": lambda: kept.append(object.__new__(Plain)),
        "in an attribute": lambda: plain_list.append(object.__new__(Plain)),
        "in a slot": lambda: slot_list.append(object.__new__(Slots)),
        "a dict's subclass": lambda: dict.__setitem__(
            old_dict, len(kept) + dict.__len__(old_dict), object.__new__(Plain)
        ),
        "a list's subclass": lambda: list.append(old_list, list.__new__(List)),
        "a text's subclass": lambda: kept.append(str.__new__(Text, "drop")),
        "a key": lambda: keyed.__setitem__(object.__new__(Key), object.__new__(Plain)),
        "a class that lies": lambda: kept.append(type.__call__(Impersonator)),
        "a mock": lambda: kept.append(mock.MagicMock()),
        "a dead proxy": a_dead_proxy,
        "a cycle": a_cycle,
        "a traceback": a_traceback,
    }


NAMES = list(_leaks())
kept.clear()


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()
    yield
    kept.clear()
    keyed.clear()
    gc.collect()


def _whole_check(subject):
    return find_leaks(subject, max_rounds=60).diagnosis


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("diagnosed", [diagnosis_of, _whole_check])
def test_no_method_of_the_user_is_called(name, diagnosed):
    """Check and diagnosis find the leak and run nothing of the objects they meet."""
    subject = _leaks()[name]
    subject()
    before = sum(calls.values())
    made = []

    def counted():
        at = sum(calls.values())
        subject()
        made.append(sum(calls.values()) - at)

    diagnosis = diagnosed(counted)
    found = collections.Counter(calls)
    assert diagnosis.survivors
    assert before + sum(made) == sum(found.values()), found


@pytest.mark.parametrize("name", NAMES)
def test_no_method_of_the_user_is_called_by_a_single_pass(name):
    """Neither by what looks once at the objects that a block leaves behind."""
    subject = _leaks()[name]
    subject()
    levels = []

    def once():
        with leak_check():
            levels.append(sum(calls.values()))
            subject()
            levels.append(sum(calls.values()))

    first = sum(calls.values())
    with pytest.raises(LeakError):
        once()
    assert [first, sum(calls.values())] == levels, calls


def test_a_key_of_a_hundred_megabytes():
    """A huge text is shown by its beginning; the report stays small."""
    huge = {"x" * 100_000_000: []}
    kept.append(huge)
    diagnosis = diagnosis_of(lambda: next(iter(huge.values())).append([]))
    text = "\n".join(text for _, text in diagnosis.rows())
    assert "xxx..." in text
    assert len(text) < 2_000


def test_a_hundred_holders():
    """Of many groups the largest are told, and how many more there are."""
    lists = [[] for _ in range(100)]
    kept.append(lists)

    def subject():
        for each in lists:
            each.append([])

    diagnosis = diagnosis_of(subject)
    assert 8 == len(diagnosis.survivors)
    assert 92 == diagnosis.more
    assert len(diagnosis.rows()) < 60


def test_a_huge_number_as_a_key():
    """A number with more digits than the interpreter is willing to print is told by its bits."""
    huge = {1 << 100_000: []}
    kept.append(huge)
    (group,) = diagnosis_of(lambda: next(iter(huge.values())).append([])).survivors
    assert "[<int of 100,001 bits>]" in group.held_by


def test_a_thread_local_with_init_is_not_made():
    """A thread-local's __init__, which reading its attributes could call, is not run."""
    import threading

    class Local(threading.local):
        def __init__(self):
            calls["Local.__init__"] += 1

    made = Local()
    made.items = []
    kept.append(made)
    before = calls["Local.__init__"]
    (group,) = diagnosis_of(lambda: made.items.append([])).survivors
    assert ".items (list" in group.held_by
    assert before == calls["Local.__init__"]


def test_nothing_of_the_user_is_kept():
    """Once the diagnosis is done, what leaked dies with its last reference."""
    dead = []

    class Watched:
        """Tells its end."""

    def subject():
        watched = Watched()
        weakref.finalize(watched, dead.append, 1).atexit = False
        kept.append(watched)

    diagnosis = diagnosis_of(subject)
    assert any("Watched" in group.held_by for group in diagnosis.survivors)
    made = len(kept)
    kept.clear()
    gc.collect()
    assert made == len(dead)
    assert sys.getrefcount(diagnosis) > 0
