"""The caches of the standard library: each grows, each is cleared, nothing else is lost."""

# ruff: noqa: B024, D103, ICN001  # fillers of caches, named by the cache

from __future__ import annotations

import abc
import codecs
import contextlib
import copyreg
import ctypes
import encodings
import filecmp
import fnmatch
import functools
import gettext
import importlib
import inspect
import io
import ipaddress
import linecache
import mimetypes
import pickle
import re
import struct
import sys
import time
import types
import typing
import urllib.parse
import warnings
from itertools import count
from xml.etree import ElementTree

import pytest

import refleak
from refleak import _caches
from refleak._caches import CACHES, clear_caches, functools_caches, register_cache, rest
from refleak._settle import Frozen, settle
from refleak.probes import ContainerReferences, MemoryBlocks

CALLS = 12
"""Calls with a new key each; some caches hold no more than 20."""

numbers = count(1)


def new():
    """Return a number that was never used before."""
    return next(numbers)


# --- what fills each cache: a function that is called with a new key each time -----------------


def _files(folder):
    folder.mkdir(exist_ok=True)
    for number in range(99):
        path = folder / f"{number}.py"
        path.write_text("pass\n", encoding="utf-8")
        yield str(path)


def fill_re(_):
    return lambda: re.compile(f"x{new()}")


def fill_linecache(folder):
    files = _files(folder)
    return lambda: linecache.getlines(next(files))


def fill_typing(_):
    return lambda: list[typing.Literal[new()]]


def fill_abc(_):
    class Base(abc.ABC):
        pass

    classes = [type(f"C{number}", (), {}) for number in range(99)]
    left = iter(classes)
    return lambda: issubclass(next(left), Base) or classes


def fill_functools(_):
    return lambda: fnmatch.fnmatch("x", f"{new()}*")


def fill_urllib(_):
    return lambda: urllib.parse.urlsplit(f"http://host{new()}/")


def fill_filecmp(folder):
    files = _files(folder)
    return lambda: filecmp.cmp(next(files), next(files), shallow=False)


def fill_struct(_):
    return lambda: struct.calcsize(f"{new()}s")


def fill_inspect(folder):
    files = _files(folder)
    return lambda: _look_for_module(next(files))


def _look_for_module(path):
    module = types.ModuleType(f"refleak_module_{new()}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    inspect.getmodule(module, path)
    inspect.getmodule(compile("0", path, "eval"))
    del sys.modules[module.__name__]


def fill_encodings(_):
    # As looking up an unknown name does, without the import hook of pytest, which keeps the name.
    return lambda: encodings._cache.setdefault(f"refleak_{new()}")


def fill_gettext(folder):
    folder.mkdir()

    def translate():
        path = folder / f"{new()}.mo"
        path.write_bytes(struct.pack("<7I", 0x950412DE, 0, 0, 28, 28, 0, 28))
        with path.open("rb") as file:
            gettext._translations[str(path)] = gettext.GNUTranslations(file)

    return translate


def fill_ipaddress(_):
    lengths = iter(range(129))
    return lambda: ipaddress.ip_network(f"::/{next(lengths)}")


def fill_distutils(folder):
    dir_util = pytest.importorskip("distutils.dir_util")
    if not hasattr(dir_util, "_path_created"):
        pytest.skip("distutils of this version has no such cache")
    if not isinstance(dir_util._path_created, dict):
        pytest.skip("setuptools' distutils keeps a set of its own")
    folder.mkdir()
    return lambda: dir_util.mkpath(str(folder / f"{new()}"))


def fill_copyreg(_):
    module = types.ModuleType("refleak_extensions")
    sys.modules["refleak_extensions"] = module
    pickles = []
    for number in range(99):
        name = f"C{number}"
        cls = type(name, (), {"__module__": module.__name__})
        setattr(module, name, cls)
        copyreg.add_extension(module.__name__, name, 0x7000 + number)
        pickles.append(pickle.dumps(cls, protocol=2))
    left = iter(pickles)
    return lambda: pickle.loads(next(left))


def fill_elementpath(_):
    root = ElementTree.fromstring("<a/>")
    return lambda: root.findall(f"./b{new()}")


FILL = {
    "re": fill_re,
    "linecache": fill_linecache,
    "typing": fill_typing,
    "abc": fill_abc,
    "functools caches of the standard library": fill_functools,
    "urllib.parse": fill_urllib,
    "filecmp": fill_filecmp,
    "struct": fill_struct,
    "inspect": fill_inspect,
    "encodings": fill_encodings,
    "gettext": fill_gettext,
    "ipaddress": fill_ipaddress,
    "distutils": fill_distutils,
    "copyreg": fill_copyreg,
    "xml.etree": fill_elementpath,
}

OTHERS = {
    "standard streams": "replaced by pytest",
    "_strptime": "at most five entries",
    "inspect files": "filled and cleared with inspect",
}
"""Entries of the table with a test of their own, or with another's."""


def growth(fill, reading):
    """Return what calls with a new key each leave behind: blocks, or references if these are more.

    Of some caches only the table that they are in takes memory.
    """
    for _ in range(CALLS):
        fill()
    clear_caches()
    blocks, references = MemoryBlocks(), ContainerReferences()
    ends = []
    for calls in (0, 0, CALLS):
        for _ in range(calls):
            fill()
        reading()
        ends.append((blocks.read(), references.read()))
    return max(after - before for before, after in zip(*ends[1:], strict=False))


@pytest.fixture
def fill(request, tmp_path):
    """Give the function that fills the cache named by the test's parameter."""
    if MemoryBlocks().unavailable():
        pytest.skip("needs Python's own allocator")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield FILL[request.param](tmp_path / "folder")
    clear_caches()


def test_each_entry_has_a_test():
    """No cache is cleared that is not proven to grow."""
    assert sorted(CACHES) == sorted({**FILL, **OTHERS})


@pytest.mark.parametrize("fill", FILL, indirect=True)
def test_uncleared_caches_grow(fill):
    """Each cache of the table keeps what is put into it with a new key each time."""
    clear_caches()
    assert growth(fill, settle) >= CALLS // 2


@pytest.mark.parametrize("fill", FILL, indirect=True)
def test_cleared_caches_do_not_grow(fill):
    """What is done before a suspicious reading leaves nothing of them."""
    assert growth(fill, rest) < CALLS // 2


def test_strptime_forgets_its_formats():
    """The formats that strptime compiled are forgotten."""
    import _strptime

    for number in range(3):
        time.strptime(f"{number} 2020", f"{number} %Y")
    assert len(_strptime._regex_cache) >= 3
    rest()
    assert 0 == len(_strptime._regex_cache)


@pytest.mark.parametrize(("reading", "grows"), [(settle, True), (rest, False)])
def test_standard_streams_hand_on_what_they_hold_back(reading, grows, tmp_path):
    """A stream keeps a list of what was printed until its buffer is full; it is flushed."""
    with (tmp_path / "out").open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        grown = growth(lambda: sys.stdout.write(f"{new()} {'.' * 9}"), reading)
    assert grows is (grown >= CALLS // 2)


def test_inspect_forgets_both_its_tables(tmp_path):
    """The two tables of inspect.getmodule() are cleared together."""
    _look_for_module(next(_files(tmp_path / "folder")))
    rest()
    assert [0, 0] == [len(inspect.modulesbyfile), len(inspect._filesbymodname)]


# --- what a user could notice stays ---------------------------------------------------------------


def test_lines_put_into_linecache_by_hand_stay(tmp_path):
    """Lines without a file, as doctest and notebooks put in, and lazy ones are kept."""
    lines = ["x = 1\n"]
    linecache.cache["<refleak>"] = (6, None, lines, "<refleak>")
    linecache.lazycache("<refleak lazy>", {"__name__": "json", "__spec__": json_spec()})
    rest()
    assert lines == linecache.getlines("<refleak>")
    del linecache.cache["<refleak>"]
    linecache.cache.pop("<refleak lazy>", None)


def json_spec():
    """Return the spec of some module with a loader."""
    return importlib.import_module("json").__spec__


def test_lines_of_files_can_still_be_read(tmp_path):
    """Lines that came from a file are read anew."""
    path = next(_files(tmp_path / "folder"))
    before = linecache.getlines(path)
    rest()
    assert before == linecache.getlines(path)


def test_caches_of_users_stay():
    """A cache of code that is not the standard library's is none of our business."""

    @functools.lru_cache
    def square(number):
        return number * number

    square(3)
    rest()
    assert 1 == square.cache_info().currsize
    assert any(square is each for each in functools_caches())


def test_registered_classes_stay():
    """Subclasses registered with an abstract base class are no cache."""

    class Base(abc.ABC):
        pass

    Base.register(int)
    rest()
    assert isinstance(3, Base)


def test_identities_stay():
    """Codecs and pointer types are the same objects as before."""
    codec, pointer = codecs.lookup("latin-1"), ctypes.POINTER(ctypes.c_int)
    rest()
    assert codec is codecs.lookup("latin-1")
    assert pointer is ctypes.POINTER(ctypes.c_int)


def test_settings_stay():
    """Added MIME types, pickling functions and warnings that were shown are remembered."""
    mimetypes.add_type("text/refleak", ".refleak")
    copyreg.pickle(Unpicklable, Unpicklable.reduce)
    registry = {}
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(2):
            warnings.warn_explicit("once", UserWarning, "file.py", 1, registry=registry)
            rest()
    assert 1 == len(shown)
    assert "text/refleak" == mimetypes.types_map[".refleak"]
    assert Unpicklable.reduce is copyreg.dispatch_table.pop(Unpicklable)
    del mimetypes.types_map[".refleak"]


class Unpicklable:
    """A class with a pickling function of its own."""

    @staticmethod
    def reduce(_):
        """Pickle nothing."""
        return Unpicklable, ()


def test_streams_of_users_are_left_alone(monkeypatch):
    """Only the interpreter's own kind of stream is flushed, for others may do anything then."""

    class Stream(io.StringIO):
        def flush(self):
            raise AssertionError

    monkeypatch.setattr(sys, "stdout", Stream())
    assert None is rest()


def test_closed_streams_do_no_harm(monkeypatch, tmp_path):
    """A closed or absent standard stream is passed over."""
    closed = (tmp_path / "out").open("w")
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", None)
    assert None is rest()


# --- registered caches ----------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch):
    """Start without registered caches, and forget those of the test."""
    functions: list = []
    monkeypatch.setattr(_caches, "_registered", functions)
    return functions


def test_registered_caches_are_cleared(registered):
    """A function that was registered is called once before each suspicious reading."""
    calls = []
    clear = register_cache(lambda: calls.append(1))
    register_cache(clear)
    rest()
    assert [1] == calls
    refleak.unregister_cache(clear)
    rest()
    assert [1] == calls


def test_registered_caches_come_first(registered):
    """What a registered function puts into the standard library's caches is cleared after it."""
    register_cache(lambda: re.compile("refleak first"))
    rest()
    assert not [key for key in re._cache if "refleak first" in key]


def test_a_registered_cache_makes_a_filling_cache_innocent(registered):
    """A library's own cache that grows with each call is no leak once it was registered."""
    cache: list = []
    register_cache(cache.clear)
    assert not refleak.find_leaks(lambda: cache.append({}), diagnose=False).leaking


@pytest.mark.parametrize("wrong", [None, "re.purge", 3])
def test_only_functions_can_be_registered(wrong):
    """What cannot be called is refused, with its value."""
    with pytest.raises(TypeError, match=re.escape(repr(wrong))):
        register_cache(wrong)


def test_what_is_not_registered_cannot_be_unregistered(registered):
    """Undoing what was not done is an error that names the function."""
    with pytest.raises(ValueError, match="is not registered"):
        refleak.unregister_cache(len)


def test_functools_caches_are_found_again_after_an_import(monkeypatch):
    """The standard library's caches are looked for once, and again when a module was imported."""
    looked = []
    monkeypatch.setattr(_caches, "functools_caches", lambda: looked.append(1) or [])
    caches = _caches._FunctoolsCaches()
    caches.clear()
    caches.clear()
    assert 1 == len(looked)
    monkeypatch.setitem(sys.modules, "refleak_imported", types.ModuleType("refleak_imported"))
    caches.clear()
    assert 2 == len(looked)


def test_functools_caches_that_are_frozen_are_cleared_still(monkeypatch):
    """An import while the heap is frozen makes none unknown that is frozen."""
    clear_caches()
    fnmatch.fnmatch("a", "b*")
    frozen = Frozen()
    frozen.freeze()
    try:
        monkeypatch.setitem(sys.modules, "made_up", types.ModuleType("made_up"))
        clear_caches()
        assert 0 == fnmatch._compile_pattern.cache_info().currsize
        fnmatch.fnmatch("a", "b*")
        clear_caches()
    finally:
        frozen.thaw()
    assert 0 == fnmatch._compile_pattern.cache_info().currsize
