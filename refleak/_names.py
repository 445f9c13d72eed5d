"""What objects of the heap are called, said without running a line of their code."""

from __future__ import annotations

import gc
import inspect
import sys
import types
import weakref
from _thread import _local
from collections import deque
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from typing import Any

from refleak._format import module_of, shorten, type_dict, type_mro, type_name

MAX_TEXT = 40
"""Longest string or bytes shown as a dict key or as a leaked value, in characters."""

MAX_KEY_PARTS = 3
"""Elements of a tuple shown where it is a dict key."""

MAX_BITS = 64
"""Bits of the largest integer shown in full; the digits of larger ones could take minutes."""

_QUALNAME: Any = vars(type)["__qualname__"]
_OWN_MODULE = __name__.partition(".")[0]

_FLAGS_OF: Any = vars(type)["__flags__"]


class Kinds:
    """A set of types that finds a type by identity: a metaclass may define ``==`` and hash."""

    def __init__(self, *kinds: type) -> None:
        self._ids = frozenset(map(id, kinds))

    def __contains__(self, kind: type) -> bool:
        return id(kind) in self._ids


_SCALARS = Kinds(str, bytes, int, float, bool, complex, type(None))
_DESCRIPTORS = Kinds(types.MethodDescriptorType, types.WrapperDescriptorType)
_SUSPENDED = {
    id(types.GeneratorType): ("generator", "gi_frame", "gi_code"),
    id(types.CoroutineType): ("coroutine", "cr_frame", "cr_code"),
    id(types.AsyncGeneratorType): ("async generator", "ag_frame", "ag_code"),
}


def flags_of(kind: type) -> int:
    """Return the flags of a type, whatever its metaclass says."""
    return int(_FLAGS_OF.__get__(kind))


def may_be_own(kind: type) -> bool:
    """Tell whether some instances of *kind* are this library's own."""
    return kind is types.FrameType or id(kind) in _SUSPENDED or _is_own_kind(kind)


def _is_own_kind(kind: type) -> bool:
    module = module_of(kind)
    return module == _OWN_MODULE or module.startswith(_OWN_MODULE + ".")


def is_a(obj: object, base: type) -> bool:
    """Tell whether *obj* is an instance of a builtin type, whatever its ``__class__`` claims."""
    return issubclass(type(obj), base)


def base_name(cls: type) -> str:
    """Name *cls* without its module."""
    name = _QUALNAME.__get__(cls)
    return shorten(name) if type(name) is str and name else "<unnamed type>"


def is_own(obj: Any) -> bool:
    """Tell whether *obj* is an instance, a frame, a generator or code of this library itself."""
    code = obj if type(obj) is types.CodeType else code_of(obj)
    return _is_own_kind(type(obj)) if code is None else code.co_filename.startswith(OWN_FOLDER)


OWN_FOLDER = is_own.__code__.co_filename.removesuffix("_names.py")
"""Where this library's code lies; frames of it are not the user's."""


def suspended_kind(obj: Any) -> str | None:
    """Tell whether a generator or the like, or a frame of one: up to 3.10 the frame holds."""
    if id(type(obj)) in _SUSPENDED:
        return _SUSPENDED[id(type(obj))][0]
    flags = obj.f_code.co_flags
    return next((name for flag, name in _FLAGS.items() if flags & flag), None)


_FLAGS = {
    inspect.CO_GENERATOR: "generator",
    inspect.CO_COROUTINE: "coroutine",
    inspect.CO_ASYNC_GENERATOR: "async generator",
}


def code_of(obj: Any) -> types.CodeType | None:
    """Return the code that a frame, generator or coroutine runs."""
    kind: Any = type(obj)
    if kind is types.FrameType:
        code = obj.f_code
    elif id(kind) in _SUSPENDED:
        code = getattr(obj, _SUSPENDED[id(kind)][2])
    else:
        return None
    return code if type(code) is types.CodeType else None


def function_name(obj: Any) -> str:
    """Name what can be called, or was: ``app.events.EventBus.emit``."""
    kind = type(obj)
    if kind is types.FunctionType:
        return _dotted(obj.__module__, obj.__qualname__)
    if kind is types.BuiltinFunctionType:
        return _builtin_name(obj)
    if kind is types.MethodType:
        return function_name(obj.__func__)
    if kind is _lru_cache_wrapper:
        return function_name(_quietly(obj, "__wrapped__"))
    if id(kind) in _SUSPENDED:
        return _dotted(None, obj.__qualname__)
    if kind in _DESCRIPTORS:
        return f"{type_name(obj.__objclass__)}.{obj.__name__}"
    return type_name(kind)


def _builtin_name(obj: Any) -> str:
    owner = obj.__self__
    if type(owner) is types.ModuleType:
        return _dotted(_quietly(owner, "__name__"), obj.__name__)
    return f"{type_name(type(owner))}.{obj.__name__}"


def _dotted(module: object, name: object) -> str:
    text = name if type(name) is str else "<unnamed>"
    return shorten(f"{module}.{text}" if type(module) is str else text)


def _quietly(obj: object, name: str) -> Any:
    """Read an attribute as ``object`` does: never through a class's own ``__getattr__``."""
    try:
        return object.__getattribute__(obj, name)
    except AttributeError:
        return None


def kind_name(obj: Any) -> str:
    """Name the kind of a survivor shortly, so that equal ones add up: no values, no modules."""
    kind: Any = type(obj)
    if obj is None:
        return "None"
    if issubclass(kind, type):
        return f"class {base_name(obj)}"
    if kind is types.MethodType:
        return f"bound method {_short(obj)} -> {base_name(type(obj.__self__))}"
    if kind is types.FunctionType:
        return f"function {_short(obj)}"
    if id(kind) in _SUSPENDED:
        return f"{_SUSPENDED[id(kind)][0]} {_short(obj)}"
    if kind is weakref.ReferenceType:
        return "weakref"
    return base_name(kind)


def _short(obj: Any) -> str:
    if type(obj) is types.MethodType:
        return _short(obj.__func__)
    if type(obj) is types.FunctionType or id(type(obj)) in _SUSPENDED:
        return _dotted(None, obj.__qualname__)
    return function_name(obj)


def describe(obj: Any) -> str:
    """Say what *obj* is: its kind and name where it has one, its value where it is a plain one."""
    kind: Any = type(obj)
    if obj is None:
        return "None"
    if kind in _SCALARS:
        return f"{base_name(kind)} {scalar(obj)}"
    if issubclass(kind, type):
        return f"class {type_name(obj)}"
    return _describe_by_name(obj, kind) or type_name(kind)


def _describe_by_name(obj: Any, kind: Any) -> str | None:
    """Say the kind and name of what is named in the source; None for other objects."""
    if kind is types.ModuleType:
        return f"module {_dotted(None, _quietly(obj, '__name__'))}"
    if kind is types.MethodType:
        return f"bound method {function_name(obj)}"
    if kind is _lru_cache_wrapper:
        return f"lru_cache of {function_name(obj)}"
    if id(kind) in _SUSPENDED:
        return f"{_SUSPENDED[id(kind)][0]} {function_name(obj)}"
    if kind is types.CodeType:
        return f"code of {shorten(obj.co_name)}"
    if kind is types.FunctionType:
        return f"function {function_name(obj)}"
    if kind is types.BuiltinFunctionType:
        return f"builtin function {function_name(obj)}"
    return f"method {function_name(obj)}" if kind in _DESCRIPTORS else None


def scalar(obj: Any) -> str:
    """Show a plain value of an exact builtin type shortly; anything else by its type."""
    kind: Any = type(obj)
    if kind is str:
        text = shorten(obj[: MAX_TEXT + 1], MAX_TEXT).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    if kind is bytes:
        return repr(obj) if len(obj) <= MAX_TEXT else f"{obj[: MAX_TEXT - 3]!r}..."
    if kind is int:
        bits = obj.bit_length()
        return repr(obj) if bits <= MAX_BITS else f"<int of {bits:,} bits>"
    if kind in _SCALARS:
        return repr(obj)
    if kind is tuple:
        parts = [scalar(part) for part in obj[:MAX_KEY_PARTS] if type(part) is not tuple]
        more = ["..."] if len(obj) > len(parts) else []
        return f"({', '.join([*parts, *more])})"
    if issubclass(kind, type):
        return type_name(obj)
    return f"<{type_name(kind)}>"


def step(parent: Any, child: Any, *, namespace: bool) -> str | None:
    """Say how *parent* refers to *child*, as it would be written: ``.name``, ``["key"]``, ``[3]``.

    namespace: *parent* is the dict of a module, class or instance, whose keys are names.
    Empty text means that nothing is written for this step, None that the name is not known.
    """
    if is_a(parent, dict):
        return _key_of(parent, child, namespace=namespace)
    for sequence in (list, tuple, deque):
        if is_a(parent, sequence):
            return _index_of(sequence.__iter__(parent), child)
    kind = type(parent)
    if kind is types.CellType:
        return ""
    if kind is types.FunctionType:
        return _function_part(parent, child)
    if id(kind) in _SUSPENDED or kind is types.FrameType:
        name = local_name(parent, child)
        return None if name is None else f"'s local {name}"
    if is_a(parent, set) or is_a(parent, frozenset):
        return "{...}"
    return _step_by_name(parent, child)


def _step_by_name(parent: Any, child: Any) -> str | None:
    if type(parent) is types.BuiltinFunctionType and parent.__self__ is child:
        return ".__self__"
    if is_a(parent, _local):  # its __dict__ would be this thread's, made by the user's __init__
        return ""
    if is_namespace(parent, child):
        return ""
    name = attribute_name(parent, child)
    return None if name is None else f".{name}"


def _key_of(parent: dict[Any, Any], child: object, *, namespace: bool) -> str | None:
    try:
        for key, value in dict.items(parent):
            if value is child:
                if namespace:
                    return f".{shorten(key)}" if type(key) is str else f".{scalar(key)}"
                return f"[{scalar(key)}]"
            if key is child:
                return ".keys()"
    except RuntimeError:  # another thread changed it meanwhile
        return None
    return None


def _index_of(items: Iterator[Any], child: object) -> str | None:
    try:
        for index, item in enumerate(items):
            if item is child:
                return f"[{index}]"
    except RuntimeError:
        return None
    return None


def _function_part(function: Any, child: object) -> str | None:
    parts = {
        "__closure__": function.__closure__,
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__code__": function.__code__,
    }
    for name, part in parts.items():
        if part is child:
            return f".{name}"
    return "" if is_a(child, dict) else None


def is_namespace(parent: Any, child: Any) -> bool:
    """Tell whether *child* is the ``__dict__`` of *parent*, without making one.

    Asking an object for its ``__dict__`` would allocate it on 3.11 and later. A class has one, a
    function too; of other objects one of its names is looked up instead.
    """
    if type(child) is not dict:
        return False
    if is_a(parent, type):
        return any(entry in child for entry in ("__module__", "__doc__"))
    if type(parent) is types.FunctionType:
        return child is not parent.__kwdefaults__ and child is not parent.__globals__
    if is_a(parent, types.ModuleType):
        return "__name__" in child
    for name, value in dict.items(child):
        if type(name) is not str:
            return False
        if not _is_defined(parent, name):
            return _quietly(parent, name) is value
    return False


def attribute_name(parent: Any, child: object) -> str | None:
    """Find the name under which *parent* refers to *child*: a slot, a C member, an attribute."""
    classes = type_mro(type(parent))
    for cls in classes:
        for name, entry in type_dict(cls).items():
            if type(entry) is types.MemberDescriptorType and type(name) is str:
                try:
                    if entry.__get__(parent, cls) is child:
                        return shorten(name)
                except AttributeError:  # an empty slot
                    continue
    for name in _likely_names(classes):
        if not _is_defined(parent, name) and _quietly(parent, name) is child:
            return shorten(name)
    return _name_in_dict(parent, child)


def _likely_names(classes: tuple[type, ...]) -> Iterator[str]:
    """Yield the names that the methods of *classes* use: their attributes are among them."""
    for cls in classes:
        for entry in list(type_dict(cls).values()):
            if type(entry) is types.FunctionType:
                yield from entry.__code__.co_names


def _is_defined(obj: object, name: str) -> bool:
    """Tell whether a class of *obj* defines *name*: reading it could run a descriptor's code."""
    return any(name in type_dict(cls) for cls in type_mro(type(obj)))


def _name_in_dict(parent: Any, child: object) -> str | None:
    """Look *child* up in the attributes, which may make the dict that holds them.

    Only for the few objects that the report shows, once a leak is certain: the dict costs some
    100 bytes and takes nothing from the object.
    """
    for cls in type_mro(type(parent)):
        entry = type_dict(cls).get("__dict__")
        if entry is not None:
            if type(entry) is not types.GetSetDescriptorType:
                return None
            attributes = entry.__get__(parent, cls)
            if type(attributes) is dict:
                for name, value in dict.items(attributes):
                    if value is child and type(name) is str:
                        return shorten(name)
            return None
    return None


def local_name(obj: Any, child: object) -> str | None:
    """Find the local variable of a frame, generator or coroutine that refers to *child*."""
    found = local_variable(obj, {id(child): 0})
    return None if found is None else found[0]


def local_variable(obj: Any, wanted: dict[int, int]) -> tuple[str, int] | None:
    """Find the local variable whose value has the least rank in *wanted*, a mapping by id."""
    suspended = _SUSPENDED.get(id(type(obj)))
    frame = obj if suspended is None else getattr(obj, suspended[1])
    if type(frame) is not types.FrameType:
        return None
    variables = variables_of(frame)
    found = [(wanted[id(value)], name) for name, value in variables.items() if id(value) in wanted]
    if not found:
        return None
    rank, name = min(found)
    return shorten(name), rank


def variables_of(frame: types.FrameType) -> dict[str, Any]:
    """Return a frame's variables by name, and leave none of their values behind in the frame.

    Up to 3.12 it keeps a dict for ``locals()``, filled again by looking at it. Emptied it is only
    where nobody else has it, and of nothing but the variables: ``exec`` may have added others.
    """
    namespace: Any = frame.f_locals
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED:  # a class body, or what exec() was given
        return dict(dict.items(namespace)) if is_a(namespace, dict) else {}
    found = dict(namespace)
    if (
        sys.version_info < (3, 13)
        and sys.gettrace() is None
        and sys.getrefcount(namespace) == _HELD_BY_FRAME
    ):
        for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            namespace.pop(name, None)
    return found


_HELD_BY_FRAME = 3
"""What ``sys.getrefcount`` tells of a frame's dict: the frame's own reference and the caller's."""


def references_from(parent: object, children: dict[int, int]) -> list[int]:
    """Return which of *children*, by id, *parent* refers to."""
    if type(parent) is types.ModuleType:
        return []
    return list({children[key] for key in map(id, gc.get_referents(parent)) if key in children})
