"""The caches of the standard library that may be cleared: a table of named entries.

They are cleared before a reading once growth looks suspicious, and never before: clearing changes
the speed of the code under test. Entries clear only what caches, nothing a user could notice.
CPython's own ``test.libregrtest.utils.clear_caches()`` clears more, which a user would notice and
which is therefore left alone here: ``urllib.request.urlcleanup()`` (deletes downloaded files, forgets the
installed opener), ``mimetypes`` (forgets added types), ``ctypes`` (new pointer types are not the
old ones), ``doctest.master``, warnings registries (a warning would be shown twice), ``zoneinfo`` (a
zone would no longer be identical to itself), source lines that were put into ``linecache`` by
hand.
"""

from __future__ import annotations

import gc
import os
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterator
from typing import Any

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


def _clear_linecache() -> None:
    for linecache in _modules("linecache"):
        for filename, entry in list(linecache.cache.items()):
            if len(entry) == 4 and entry[1] is not None:  # it has a time: read from a file
                linecache.cache.pop(filename, None)


def _clear_typing() -> None:
    for typing in _modules("typing"):
        for clear in typing._cleanups:
            clear()


def _clear_abc() -> None:
    """Clear the caches of isinstance() and issubclass() of every abstract base class."""
    import _abc  # type: ignore[import-not-found]

    for cls in _classes(object, set()):
        if issubclass(type(cls), ABCMeta) and "_abc_impl" in vars(cls):
            _abc._reset_caches(cls)


def _classes(root: type, seen: set[int]) -> Iterator[type]:
    for cls in type.__subclasses__(root):
        if id(cls) not in seen:
            seen.add(id(cls))
            yield cls
            if not issubclass(cls, type):
                yield from _classes(cls, seen)


def _clear_functools() -> None:
    """Clear the ``functools`` caches of functions that the standard library defines."""
    for wrapper in functools_caches():
        module = vars(wrapper).get("__module__")
        if type(module) is str and module.partition(".")[0] in sys.stdlib_module_names:
            wrapper.cache_clear()


def functools_caches() -> list[Any]:
    """Return all functions wrapped by ``functools.lru_cache`` or ``functools.cache``."""
    for functools in _modules("functools"):
        wrapper = functools._lru_cache_wrapper
        return [obj for obj in gc.get_objects() if type(obj) is wrapper]
    return []


def _clear_vanished_paths() -> None:
    """Forget the import system's finders for folders and archives which are gone."""
    caches = [sys.path_importer_cache]
    caches += [zipimport._zip_directory_cache for zipimport in _modules("zipimport")]
    for cache in caches:
        for path in list(cache):
            if isinstance(path, str) and not os.path.exists(path):
                cache.pop(path, None)


CACHES: dict[str, Callable[[], None]] = {
    "re": _call("re", "purge"),
    "linecache": _clear_linecache,
    "typing": _clear_typing,
    "abc": _clear_abc,
    "functools caches of the standard library": _clear_functools,
    "_strptime": _clear_attribute("_strptime", "_regex_cache"),
    "urllib.parse": _call("urllib.parse", "clear_cache"),
    "filecmp": _clear_attribute("filecmp", "_cache"),
    "struct": _call("struct", "_clearcache"),
    "inspect": _clear_attribute("inspect", "modulesbyfile"),
    "inspect files": _clear_attribute("inspect", "_filesbymodname"),
    "copyreg": _clear_attribute("copyreg", "_extension_cache"),
    "xml.etree": _clear_attribute("xml.etree.ElementPath", "_cache"),
    "import paths": _clear_vanished_paths,
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
    """Clear every cache of the table, and those registered with ``refleak.register_cache``."""
    for clear in (*CACHES.values(), *_registered):
        clear()


def rest() -> None:
    """Do what is done before every reading once growth looks suspicious."""
    clear_caches()
    settle()
