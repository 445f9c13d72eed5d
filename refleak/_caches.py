"""The caches of the standard library that may be cleared: a table of named entries.

They are cleared before a reading once growth looks suspicious, and never before: clearing changes
the speed of the code under test. Entries clear only what caches, nothing a user could notice.
CPython's own ``test.libregrtest`` (``utils.clear_caches()``, ``refleak.dash_R_cleanup()``; compared
on 3.10 to 3.15) clears more, which a user would notice and which is therefore left alone here:

- ``urllib.request.urlcleanup()`` deletes downloaded files and forgets the installed opener;
- ``mimetypes`` forgets types that were added;
- ``ctypes``: new pointer and function types are not the old ones;
- ``doctest.master`` is a summary that was asked for;
- warnings registries: a warning would be shown twice;
- encodings that were found (a codec is identical to itself), only unknown names are forgotten;
- ``linecache``: source lines that were put in by hand or are to come from an import loader;
- ``sys.path_importer_cache``: finders, which an import hook may hold;
- warning filters, ``copyreg.dispatch_table`` and registered subclasses of abstract base classes are
  not caches: regrtest resets what a test changed.

``zoneinfo`` is left alone as well: a zone would no longer be identical to itself.
"""

from __future__ import annotations

import gc
import importlib
import io
import sys
import weakref
from abc import ABCMeta
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from refleak._format import type_dict
from refleak._settle import settle


def _modules(name: str) -> Iterator[Any]:
    """Yield the module if it is loaded already: what is not loaded has no caches."""
    module = sys.modules.get(name)
    if module is not None:
        yield module


def _clear_attribute(module: str, attribute: str) -> Callable[[], None]:
    """Return a function that empties a container in a module's namespace."""

    def clear() -> None:
        for loaded in _modules(module):
            container = vars(loaded).get(attribute)
            if container is not None:
                container.clear()

    return clear


def _call(module: str, function: str) -> Callable[[], None]:
    """Return a function that calls a function in a module's namespace."""

    def clear() -> None:
        for loaded in _modules(module):
            vars(loaded)[function]()

    return clear


def _keep(cache: dict[Any, Any], wanted: Callable[[Any, Any], bool]) -> None:
    """Keep only the wanted entries of a dict, and no larger table than they need.

    Deleting the others would leave a table for as many entries as there were, which looks like a
    leak: the longer a window of rounds, the larger the table at its end.
    """
    kept = {key: value for key, value in list(cache.items()) if wanted(key, value)}
    if len(kept) < len(cache):
        cache.clear()
        cache.update(kept)


def _clear_linecache() -> None:
    for linecache in _modules("linecache"):
        # An entry that has a time was read from a file.
        _keep(linecache.cache, lambda _, entry: len(entry) != 4 or entry[1] is None)


def _clear_typing() -> None:
    for typing in _modules("typing"):
        for clear in typing._cleanups:
            clear()


def _clear_abc() -> None:
    """Clear the caches of isinstance() and issubclass() of every abstract base class."""
    _abc: Any = importlib.import_module("_abc")  # built in; no type stubs describe it
    for cls in all_classes():
        if issubclass(type(cls), ABCMeta) and "_abc_impl" in type_dict(cls):
            _abc._reset_caches(cls)


def all_classes() -> list[type]:
    """Return all classes there are."""
    seen = {id(object)}
    found: list[type] = [object]
    for cls in found:  # it grows meanwhile
        subclasses: list[type] = type.__subclasses__(cls)
        for subclass in subclasses:
            if id(subclass) not in seen:
                seen.add(id(subclass))
                found.append(subclass)
    return found


class _FunctoolsCaches:
    """The ``functools`` caches of functions that the standard library defines.

    Looked for again only when modules were imported since: it takes a pass over the heap, which
    sees nothing of what is frozen, but sees what was imported since the freeze.
    """

    def __init__(self) -> None:
        self._modules = 0
        self._found: list[weakref.ref[Any]] = []

    def clear(self) -> None:
        """Clear them all."""
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            known = [each for found in self._found if (each := found()) is not None]
            new = [each for each in functools_caches() if _of_stdlib(each)]
            self._found = [
                weakref.ref(each) for each in {id(each): each for each in known + new}.values()
            ]
        for found in self._found:
            wrapper = found()
            if wrapper is not None:
                wrapper.cache_clear()


def _of_stdlib(wrapper: Any) -> bool:
    module = vars(wrapper).get("__module__")
    return type(module) is str and module.partition(".")[0] in sys.stdlib_module_names


def functools_caches() -> list[Any]:
    """Return all functions wrapped by ``functools.lru_cache`` or ``functools.cache``."""
    for functools in _modules("functools"):
        wrapper = functools._lru_cache_wrapper
        return [obj for obj in gc.get_objects() if type(obj) is wrapper]
    return []


def _clear_unknown_encodings() -> None:
    for encodings in _modules("encodings"):
        _keep(encodings._cache, lambda _, entry: entry is not None)


def _clear_netmasks() -> None:
    for ipaddress in _modules("ipaddress"):
        ipaddress._BaseV4._netmask_cache.clear()
        ipaddress._BaseV6._netmask_cache.clear()


def _flush_streams() -> None:
    """Hand on what the standard streams hold back: a list that grows with each ``print()``."""
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is io.TextIOWrapper and not stream.closed:
            with suppress(OSError, ValueError):
                stream.flush()


CACHES: dict[str, Callable[[], None]] = {
    "re": _call("re", "purge"),
    "linecache": _clear_linecache,
    "typing": _clear_typing,
    "abc": _clear_abc,
    "functools caches of the standard library": _FunctoolsCaches().clear,
    "_strptime": _clear_attribute("_strptime", "_regex_cache"),
    "urllib.parse": _call("urllib.parse", "clear_cache"),
    "filecmp": _clear_attribute("filecmp", "_cache"),
    "struct": _call("struct", "_clearcache"),
    "inspect": _clear_attribute("inspect", "modulesbyfile"),
    "inspect files": _clear_attribute("inspect", "_filesbymodname"),
    "encodings": _clear_unknown_encodings,
    "gettext": _clear_attribute("gettext", "_translations"),
    "ipaddress": _clear_netmasks,
    "distutils": _clear_attribute("distutils.dir_util", "_path_created"),
    "copyreg": _clear_attribute("copyreg", "_extension_cache"),
    "xml.etree": _clear_attribute("xml.etree.ElementPath", "_cache"),
    "standard streams": _flush_streams,
}
"""What is cleared, by name; see the module's docstring for what is not."""

_registered: list[Callable[[], object]] = []


def register_cache(clear: Callable[[], object]) -> Callable[[], object]:
    """Have *clear* called before each reading once growth looks suspicious.

    For a library's own caches: a zero-argument function that empties what only caches. Returns
    *clear*, so that it can be used as a decorator; raises TypeError when it is not callable.
    """
    if not callable(clear):
        raise TypeError(f"register_cache() takes a function of no arguments, not {clear!r}")
    if clear not in _registered:
        _registered.append(clear)
    return clear


def unregister_cache(clear: Callable[[], object]) -> None:
    """Undo :func:`register_cache`; raises ValueError when *clear* is not registered."""
    if clear not in _registered:
        raise ValueError(f"unregister_cache(): {clear!r} is not registered")
    _registered.remove(clear)


def clear_caches() -> None:
    """Clear those registered with ``refleak.register_cache``, then every cache of the table.

    In this order, since the code of a library may fill the caches of the standard library.
    """
    for clear in (*_registered, *CACHES.values()):
        clear()


def rest() -> None:
    """Do what is done before every reading once growth looks suspicious."""
    clear_caches()
    settle()
