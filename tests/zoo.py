"""Named leaks and named innocents, for every door of the API.

Each entry has a factory: ``make()`` gives a fresh subject, to be called repeatedly, and a cleanup
that releases what it leaked, so that leaks do not pile up in the process that runs the tests.
The line that allocates what leaks is marked with ``# LEAK: name``.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import copy
import csv
import ctypes
import datetime
import functools
import gc
import inspect
import io
import itertools
import json
import logging
import os
import pickle
import random
import re
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import typing
import warnings
import weakref
import zoneinfo
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from xml.dom import minidom
from xml.etree import ElementTree

Subject = Callable[[], object]
Made = tuple[Subject, Callable[[], object]]

OBJECT = frozenset({"memory blocks"})
TRACKED = frozenset({"memory blocks", "objects", "container references"})


@dataclass(frozen=True)
class Entry:
    """One subject, and what is to be found.

    ``quantities`` must be among the findings, ``type`` (as the type table names it) grows,
    and ``holder`` is a name in the chain that keeps the survivors alive (None: nobody does).
    ``needs_loop``: the subject is an ``async def`` function. ``own_loop``: it runs an event loop of
    its own, so that it cannot be called in one. ``not_once``: None, or why a block that runs once,
    and before which nothing was run, cannot judge it. ``cannot_run``: None or why not here.
    """

    name: str
    factory: Callable[[], Made]
    leaks: bool
    quantities: frozenset[str] = frozenset()
    type: str | None = None
    holder: str | None = None
    period: int = 1
    needs_loop: bool = False
    own_loop: bool = False
    not_once: str | None = None
    cannot_run: str | None = None

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def subject(self) -> Iterator[Subject]:
        """Give a fresh subject, and release afterwards what it leaked."""
        func, cleanup = self.factory()
        try:
            yield func
        finally:
            cleanup()
            del func, cleanup

    @property
    def line(self) -> int | None:
        """Return the number of the line in this file that allocates what leaks."""
        return LINES.get(self.name)


LINES = {
    found[1]: number
    for number, text in enumerate(Path(__file__).read_text(encoding="utf-8").splitlines(), 1)
    if (found := re.search(r"# LEAK: (\w+)$", text))
}

LEAKS: list[Entry] = []
INNOCENTS: list[Entry] = []


def leak(*quantities: str, **facts: typing.Any) -> Callable[[Callable[[], Made]], object]:
    """Add a leak to the zoo, under its factory's name."""
    found = frozenset(quantities) or TRACKED

    def add(factory: Callable[[], Made]) -> Callable[[], Made]:
        LEAKS.append(Entry(factory.__name__, factory, leaks=True, quantities=found, **facts))
        return factory

    return add


def innocent(**facts: typing.Any) -> Callable[[Callable[[], typing.Any]], object]:
    """Add an innocent; its factory may return the subject alone, having nothing to clean up."""

    def add(factory: Callable[[], typing.Any]) -> Callable[[], typing.Any]:
        def make() -> Made:
            made = factory()
            return made if type(made) is tuple else (made, _nothing)

        INNOCENTS.append(Entry(factory.__name__, make, leaks=False, **facts))
        return factory

    return add


def _nothing() -> None:
    """There is nothing to clean up."""


# --- leaks: objects kept alive -------------------------------------------------------------------

kept_dicts: list = []
kept_nones: list = []
kept_instances: list = []
kept_classes: list = []
kept_closures: list = []
kept_generators: list = []
kept_cycles: list = []
kept_strings: list = []
kept_bytes: list = []
kept_tuples: list = []
kept_numbers: list = []
kept_errors: list = []
kept_rarely: list = []
kept_methods: list = []
kept_tasks: set = set()
kept_sockets: list = []
kept_buffers: list = []
results_by_key: dict = {}
seen_numbers: set = set()
recent: collections.deque = collections.deque()
counts_by_name: collections.defaultdict = collections.defaultdict(list)
watchers: list = []
local = threading.local()


class Drop:
    """A small object to leak."""

    def __init__(self, level=0):
        self.level = level

    def listen(self):
        """Be a callback."""


class Ring:
    """An object that refers to itself."""

    def __init__(self):
        self.me = self


class Orphan:
    """An object that nobody refers to, kept by its reference count alone."""


@leak(type="dict", holder="kept_dicts")
def a_dict():
    def subject():
        kept_dicts.append({"level": 1, "more": []})  # LEAK: a_dict

    return subject, kept_dicts.clear


@leak("container references", holder="kept_nones")
def none_in_a_list():
    def subject():
        kept_nones.append(None)  # LEAK: none_in_a_list

    return subject, kept_nones.clear


@leak(type="zoo.Drop", holder="kept_instances")
def an_instance():
    def subject():
        kept_instances.append(Drop())  # LEAK: an_instance

    return subject, kept_instances.clear


@leak(type="type", holder="kept_classes")
def a_class():
    def subject():
        kept_classes.append(type("Faucet", (), {"open": True}))  # LEAK: a_class

    return subject, kept_classes.clear


@leak(type="function", holder="kept_closures")
def a_closure():
    def subject():
        level = [1, 2]
        kept_closures.append(lambda: level)  # LEAK: a_closure

    return subject, kept_closures.clear


@leak(type="generator", holder="kept_generators")
def a_generator():
    def drops():
        yield "drip"
        yield "drop"

    def subject():
        running = drops()  # LEAK: a_generator
        next(running)
        kept_generators.append(running)

    return subject, kept_generators.clear


@leak(type="zoo.Ring", holder="kept_cycles")
def a_cycle():
    def subject():
        kept_cycles.append(Ring())  # LEAK: a_cycle

    return subject, kept_cycles.clear


@leak("memory blocks", "container references", type="str", holder="kept_strings")
def a_str():
    ticks = itertools.count()

    def subject():
        kept_strings.append("drip %d" % next(ticks))  # LEAK: a_str

    return subject, kept_strings.clear


@leak("memory blocks", "container references", type="bytes", holder="kept_bytes")
def a_bytes():
    def subject():
        kept_bytes.append(bytes(100))  # LEAK: a_bytes

    return subject, kept_bytes.clear


@leak("memory blocks", "container references", type="tuple", holder="kept_tuples")
def a_tuple_of_numbers():
    ticks = itertools.count(10**6)

    def subject():
        kept_tuples.append((next(ticks), 0.5))  # LEAK: a_tuple_of_numbers

    return subject, kept_tuples.clear


@leak("memory blocks", "container references", type="float", holder="kept_numbers")
def a_number():
    def subject():
        kept_numbers.append(random.random())  # LEAK: a_number

    return subject, kept_numbers.clear


@leak(type="list", holder="results_by_key")
def an_entry_by_key():
    ticks = itertools.count(10**6)

    def subject():
        results_by_key[next(ticks)] = ["result"]  # LEAK: an_entry_by_key

    return subject, results_by_key.clear


@leak("memory blocks", "container references", type="int", holder="seen_numbers")
def a_number_in_a_set():
    ticks = itertools.count(10**6)

    def subject():
        seen_numbers.add(next(ticks))  # LEAK: a_number_in_a_set

    return subject, seen_numbers.clear


@leak(type="list", holder="recent")
def an_entry_of_an_endless_deque():
    def subject():
        recent.append([1])  # LEAK: an_entry_of_an_endless_deque

    return subject, recent.clear


@leak(type="list", holder="counts_by_name")
def a_lookup_in_a_defaultdict():
    ticks = itertools.count()

    def subject():
        return counts_by_name["page %d" % next(ticks)]  # LEAK: a_lookup_in_a_defaultdict

    return subject, counts_by_name.clear


@leak(
    "memory blocks",
    "container references",
    type="dict",
    holder="remember",
    not_once="the first entry of a cache looks the same with and without a limit",
)
def an_endless_lru_cache():
    @functools.lru_cache(maxsize=None)
    def remember(key):
        return {"key": key}  # LEAK: an_endless_lru_cache

    ticks = itertools.count(10**6)

    def subject():
        remember(next(ticks))

    return subject, remember.cache_clear


SPRING = Drop()


@leak(type="weakref.ReferenceType", holder="watchers")
def a_weakref_with_a_callback():
    def subject():
        watchers.append(weakref.ref(SPRING, lambda _: None))  # LEAK: a_weakref_with_a_callback

    return subject, watchers.clear


@leak(type="list", holder="local")
def something_thread_local():
    def subject():
        if not hasattr(local, "drops"):
            local.drops = []
        local.drops.append([1])  # LEAK: something_thread_local

    return subject, lambda: vars(local).clear()


@leak(type="ValueError", holder="kept_errors")
def an_exception_with_its_traceback():
    def fail():
        puddle = [1, 2, 3]
        raise ValueError(len(puddle))  # LEAK: an_exception_with_its_traceback

    def subject():
        try:
            fail()
        except ValueError as error:
            kept_errors.append(error)

    return subject, kept_errors.clear


@leak(type="method", holder="kept_methods")
def a_forgotten_callback():
    def subject():
        kept_methods.append(Drop().listen)  # LEAK: a_forgotten_callback

    return subject, kept_methods.clear


@leak(type="logging.NullHandler", holder="handlers")
def a_log_handler():
    logger = logging.getLogger("refleak.zoo.leak")

    def subject():
        logger.addHandler(logging.NullHandler())  # LEAK: a_log_handler

    return subject, logger.handlers.clear


def every(period: int) -> Made:
    """Leak on every so-manyth call."""
    ticks = itertools.count(1)

    def subject():
        if next(ticks) % period == 0:
            kept_rarely.append([1])  # LEAK: every

    return subject, kept_rarely.clear


@leak(type="list", holder="kept_rarely", period=2, not_once="it does not leak in every call")
def on_every_2nd_call():
    return every(2)


@leak(type="list", holder="kept_rarely", period=4, not_once="it does not leak in every call")
def on_every_4th_call():
    return every(4)


for _name in ("on_every_2nd_call", "on_every_4th_call"):
    LINES[_name] = LINES["every"]


# --- leaks: references that no container holds ----------------------------------------------------


class _Ledger:
    """Addresses to release later, in memory that was there before."""

    def __init__(self, size: int = 40_000) -> None:
        self.entries = array("Q", bytes(8 * size))
        self.used = array("Q", [0])

    def note(self, value: int) -> None:
        self.entries[self.used[0]] = value
        self.used[0] += 1

    def release(self, how: Callable[[int], object]) -> None:
        for number in range(self.used[0]):
            how(self.entries[number])


def _release(address: int) -> None:
    ctypes.pythonapi.Py_DecRef(ctypes.cast(address, ctypes.py_object))


@leak("references", type="zoo.Drop")
def a_reference_to_an_old_object():
    ledger = _Ledger()

    def subject():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(SPRING))  # LEAK: a_reference_to_an_old_object
        ledger.note(id(SPRING))

    return subject, lambda: ledger.release(_release)


@leak("references", "memory blocks", "objects", type="zoo.Orphan")
def an_unreachable_object():
    def subject():
        orphan = Orphan()  # LEAK: an_unreachable_object
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(orphan))

    def cleanup():
        for orphan in [obj for obj in gc.get_objects() if type(obj) is Orphan]:
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(orphan))

    return subject, cleanup


LIBC = ctypes.CDLL(None) if os.name == "posix" else ctypes.cdll.msvcrt
LIBC.malloc.restype = ctypes.c_void_p
LIBC.malloc.argtypes = [ctypes.c_size_t]
LIBC.free.argtypes = [ctypes.c_void_p]
LIBC.free.restype = None


@leak("memory blocks", not_once="only memory blocks show it, and the first call sets up some")
def untracked_memory_nobody_holds():
    ledger = _Ledger()

    def subject():
        puddle = bytes(200)  # LEAK: untracked_memory_nobody_holds
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(puddle))
        ledger.note(id(puddle))

    return subject, lambda: ledger.release(_release)


# --- leaks: resources ----------------------------------------------------------------------------


@leak("native heap", not_once="what the first call sets up looks the same")
def native_memory():
    ledger = _Ledger()

    def subject():
        ledger.note(LIBC.malloc(200))  # LEAK: native_memory

    return subject, lambda: ledger.release(LIBC.free)


@leak("file descriptors")
def a_file_descriptor():
    ledger = _Ledger()

    def subject():
        ledger.note(os.open(os.devnull, os.O_RDONLY))  # LEAK: a_file_descriptor

    return subject, lambda: ledger.release(os.close)


@leak("file descriptors", "objects", type="socket.socket", holder="kept_sockets")
def a_socket():
    def subject():
        kept_sockets.extend(socket.socketpair())  # LEAK: a_socket

    def cleanup():
        for end in kept_sockets:
            end.close()
        kept_sockets.clear()

    return subject, cleanup


@leak("threads")
def a_thread():
    over = threading.Event()
    started: list[threading.Thread] = []

    def subject():
        thread = threading.Thread(target=over.wait, daemon=True)  # LEAK: a_thread
        thread.start()
        started.append(thread)

    def cleanup():
        over.set()
        for thread in started:
            thread.join()
        started.clear()

    return subject, cleanup


@leak("child processes", cannot_run=None if hasattr(os, "posix_spawn") else "no os.posix_spawn")
def a_child_process():
    ledger = _Ledger()

    def subject():
        ledger.note(os.posix_spawn("/bin/true", ["true"], {}))  # LEAK: a_child_process

    return subject, lambda: ledger.release(lambda child: os.waitpid(child, 0))


@leak("asyncio tasks", type="_asyncio.Task", holder="kept_tasks", needs_loop=True)
def an_asyncio_task():
    async def subject():
        kept_tasks.add(asyncio.create_task(asyncio.sleep(3600)))  # LEAK: an_asyncio_task

    return subject, kept_tasks.clear


# --- innocents: the language ----------------------------------------------------------------------


@innocent()
def nothing_at_all():
    return lambda: None


@innocent(not_once="the first call fills it")
def a_cache_of_the_first_call():
    cache: dict = {}

    def subject():
        return cache.setdefault("settings", {"answer": 42, "more": [1, 2, 3]})

    return subject


@innocent()
def class_creation():
    def subject():
        class Base:
            level = 1

        class Derived(Base):
            def __init__(self):
                self.drops = [self]

        return Derived().drops[0].level

    return subject


@innocent()
def exceptions():
    def subject():
        try:
            try:
                raise KeyError("drip")
            except KeyError as error:
                raise ValueError("drop") from error
        except ValueError as error:
            return str(error.__cause__)

    return subject


@innocent()
def cycles():
    def subject():
        one, other = Drop(), Drop()
        one.level, other.level = other, one
        Ring()

    return subject


@innocent(not_once="the first call sets it")
def state_replaced_by_each_call():
    state = {"last": None, "before": None}

    def subject():
        state["before"] = state["last"]
        state["last"] = Drop([1, 2, {"three": 3}])

    return subject


@innocent(not_once="it is not full after one call")
def a_deque_with_a_limit():
    last = collections.deque(maxlen=10)

    def subject():
        last.append([1, 2])

    return subject


@innocent()
def an_lru_cache_with_one_key():
    @functools.lru_cache(maxsize=128)
    def lookup(key):
        return {"key": key}

    return lambda: lookup("one")


@innocent()
def an_lru_cache_filling():
    ticks = itertools.count()

    @functools.lru_cache(maxsize=128)
    def lookup(key):
        return {"key": key, "value": [key]}

    return lambda: lookup(next(ticks))


@innocent()
def generators_and_comprehensions():
    def drops(n):
        yield from (i * i for i in range(n))

    def subject():
        unfinished = drops(10)
        next(unfinished)
        return sum(drops(100)), {i: [i] for i in range(50)}

    return subject


@innocent()
def attributes_by_name():
    ticks = itertools.count()

    def subject():
        drop = Drop()
        for _ in range(5):
            setattr(drop, "attribute_%d" % next(ticks), 1)

    return subject


@innocent(not_once="weakref registers with atexit at its first use")
def a_weak_cache():
    cache = weakref.WeakValueDictionary()
    ticks = itertools.count()

    def subject():
        drop = Drop()
        cache[next(ticks) % 10] = drop
        weakref.finalize(drop, _nothing)

    return subject


@innocent()
def context_variables():
    level = contextvars.ContextVar("level", default=0)

    def subject():
        context = contextvars.copy_context()
        context.run(level.set, 5)
        token = level.set(3)
        level.reset(token)

    return subject


@innocent()
def numbers_growing():
    ticks = {"calls": 10**9}

    def subject():
        ticks["calls"] += 10**6

    return subject


# --- innocents: the standard library --------------------------------------------------------------


@innocent(not_once="C code looks up a helper of re at its first use, and keeps it")
def regular_expressions():
    return lambda: re.sub(r"(\w+) (\d+)", r"\2 \1", "drip 42 drop 17")


@innocent()
def many_patterns():
    ticks = itertools.count()
    return lambda: re.compile("drop%d_[0-9]+" % next(ticks)).match("drop1_2")


@innocent(not_once="itertools.cycle keeps what it hands out in its first turn")
def strptime():
    formats = itertools.cycle(["%Y-%m-%d", "%d.%m.%Y", "%H:%M:%S %Y", "%j %Y"])

    def subject():
        form = next(formats)
        text = time.strftime(form, (2024, 5, 4, 3, 2, 1, 5, 125, 0))
        return datetime.datetime.strptime(text, form)

    return subject


@innocent()
def json_both_ways():
    data = {"drops": [{"level": i, "size": i / 3, "name": "drop %d" % i} for i in range(20)]}
    return lambda: json.loads(json.dumps(data, indent=1))


@innocent()
def log_records():
    def subject():
        logger = logging.getLogger("refleak.zoo.innocent")
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
        try:
            logger.warning("drip %s", "drop")
            try:
                raise ValueError("drop")
            except ValueError:
                logger.exception("failed")
        finally:
            logger.removeHandler(handler)
            handler.close()

    return subject


@innocent(own_loop=True)
def asyncio_run():
    async def child(n):
        await asyncio.sleep(0)
        return n

    async def main():
        await asyncio.gather(*(child(n) for n in range(5)))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)

    return lambda: asyncio.run(main())


@innocent(needs_loop=True)
def asyncio_tasks():
    async def child(queue):
        await queue.put(await queue.get() + 1)

    async def subject():
        queue = asyncio.Queue()
        tasks = [asyncio.create_task(child(queue)) for _ in range(3)]
        await queue.put(1)
        await asyncio.gather(*tasks)
        lost = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)
        lost.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lost

    return subject


@innocent()
def joined_threads():
    def subject():
        threads = [threading.Thread(target=sum, args=([1, 2, 3],)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return subject


@innocent()
def a_thread_pool():
    def subject():
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(str, range(10)))

    return subject


@innocent()
def temporary_files():
    def subject():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "drop")
            with open(path, "w", encoding="utf-8") as file:
                file.write("drip")
            with tempfile.NamedTemporaryFile(dir=folder) as file:
                file.write(b"drop")
            return os.listdir(folder)

    return subject


@innocent()
def subprocesses():
    return lambda: subprocess.run(["/bin/echo", "drip"], capture_output=True, text=True, check=True)


@innocent()
def sqlite_in_memory():
    def subject():
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            db.execute("create table drops(level integer, name text)")
            rows = [(n, "drop %d" % n) for n in range(20)]
            db.executemany("insert into drops values(?, ?)", rows)
            return db.execute("select sum(level), group_concat(name) from drops").fetchall()

    return subject


@innocent(not_once="copyreg keeps the names of its slots in a class at its first use")
def pickling():
    def subject():
        drops = [Drop(n) for n in range(10)]
        return pickle.loads(pickle.dumps((drops, datetime.date(2024, 5, 4), {"a": drops[0]})))

    return subject


@innocent()
def caught_warnings():
    ticks = itertools.count()

    def subject():
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("default")
            warnings.warn("old %d" % (next(ticks) % 20), DeprecationWarning, stacklevel=2)

    return subject


@innocent(not_once="C code keeps what it makes at its first use")
def xml_both_ways():
    text = "<tap>" + "".join('<drop id="%d">d%d</drop>' % (n, n) for n in range(20)) + "</tap>"

    def subject():
        tree = ElementTree.fromstring(text)
        tree.findall(".//drop[@id='3']")
        ElementTree.tostring(tree)
        with contextlib.suppress(ElementTree.ParseError):
            ElementTree.fromstring("<broken>")
        minidom.parseString(text).unlink()

    return subject


@innocent()
def mocks():
    def subject():
        with mock.patch("os.path.exists", return_value=True) as exists:
            os.path.exists("drop")
            exists.assert_called_once_with("drop")
        fake = mock.MagicMock(spec=dict)
        fake.__getitem__.return_value = 3
        return fake["drop"]

    return subject


@innocent(not_once="itertools.cycle keeps what it hands out in its first turn")
def time_zones():
    names = itertools.cycle(["Europe/Paris", "America/New_York", "Asia/Tokyo", "Africa/Cairo"])

    def subject():
        zone = zoneinfo.ZoneInfo(next(names))
        return datetime.datetime(2024, 5, 4, tzinfo=zone).astimezone(datetime.timezone.utc)

    return subject


@innocent(not_once="functools keeps a dispatch in a cache of the function")
def single_dispatch_and_typing():
    @functools.singledispatch
    def show(drop):
        return repr(drop)

    @show.register
    def _(drop: int):
        return "int"

    def subject():
        class Local(int):
            pass

        show(Local(3))
        show("drop")
        kind = typing.TypeVar("kind")

        class Box(typing.Generic[kind]):
            pass

        return Box[int], typing.Dict[str, Local]

    return subject


@innocent(not_once="the first calls fill a cache")
def classes_while_a_cache_fills():
    cache = []

    def subject():
        if len(cache) < 12:
            cache.append(bytes(2000))
        # Tables of subclasses and the like grow with the classes that wait for the collector.
        return [type("Local", (int,), {"drip": drip}) for drip in range(3)]

    return subject


@innocent()
def csv_and_copies():
    def subject():
        text = io.StringIO()
        csv.writer(text).writerows([[1, "drip"], [2, "drop"]])
        return copy.deepcopy(list(csv.reader(text.getvalue().splitlines())))

    return subject


@innocent(not_once="the first call makes names and lines that functions and caches keep")
def looking_at_source():
    return lambda: (inspect.getsource(Drop), inspect.signature(Drop))


@innocent()
def callbacks_into_python():
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)

    def subject():
        return kind(lambda n: n + 1)(3), ctypes.create_string_buffer(50)

    return subject


@innocent()
def sockets_closed():
    def subject():
        one, other = socket.socketpair()
        with one, other:
            one.sendall(b"drip")
            return other.recv(10)

    return subject


@innocent()
def memory_given_back():
    return lambda: LIBC.free(LIBC.malloc(500))


ZOO = [*LEAKS, *INNOCENTS]
