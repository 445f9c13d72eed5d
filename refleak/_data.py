"""Dataclasses from plain data, and the JSON schema of it, both from the annotations alone."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

Json = dict[str, Any]

_SCALARS: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("boolean", (bool,)),
    int: ("integer", (int,)),
    float: ("number", (float, int)),
    str: ("string", (str,)),
    types.NoneType: ("null", (types.NoneType,)),
}
"""Name in a schema, and the types that JSON's values of it have, by the annotation."""


def build(cls: type[T], data: object, names: Mapping[str, Any]) -> T:
    """Make an instance of the dataclass *cls*; *names* are those its annotations need besides.

    Raises ValueError that names the place, the value and what is allowed.
    """
    made: T = _build(cls, data, cls.__name__, names)
    return made


def _build(hint: Any, data: Any, place: str, names: Mapping[str, Any]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _instance(hint, data, place, names)
    choices = _choices(hint)
    if choices:
        wanted = next((each for each in choices if each is not types.NoneType), None)
        return None if data is None else _build(wanted, data, place, names)
    if typing.get_origin(hint) is tuple:
        _expect(isinstance(data, (list, tuple)), place, data, "a list")
        kinds = _kinds(typing.get_args(hint), len(data))
        _expect(len(kinds) == len(data), place, data, f"{len(kinds)} values")
        pairs = enumerate(zip(kinds, data, strict=True))
        return tuple(_build(kind, each, f"{place}[{at}]", names) for at, (kind, each) in pairs)
    name, allowed = _SCALARS[hint]
    # True is an int for Python alone.
    _expect(
        isinstance(data, allowed) and (hint is bool or not isinstance(data, bool)),
        place,
        data,
        f"a value of the type {name}",
    )
    return hint(data)


def _instance(cls: Any, data: Any, place: str, names: Mapping[str, Any]) -> Any:
    _expect(isinstance(data, Mapping), place, data, "an object")
    hints = typing.get_type_hints(cls, None, dict(names))
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(map(str, set(data) - set(fields)))
    _expect(not unknown, place, unknown, f"no fields but {', '.join(fields)}")
    missing = [name for name, field in fields.items() if _required(field) and name not in data]
    _expect(not missing, place, missing, "these fields too")
    return cls(
        **{
            name: _build(hints[name], value, f"{place}.{name}", names)
            for name, value in data.items()
        }
    )


def _expect(holds: object, place: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{place}: {value!r:.80} instead of {allowed}")


def _choices(hint: Any) -> Sequence[Any]:
    return (
        typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else ()
    )


def _kinds(arguments: Sequence[Any], number: int) -> Sequence[Any]:
    return [arguments[0]] * number if arguments[-1] is Ellipsis else arguments


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def schema_of(cls: type, names: Mapping[str, Any], extra: Mapping[str, Json]) -> Json:
    """Return the JSON schema (draft 2020-12) of what ``dataclasses.asdict`` makes of *cls*.

    *extra*: the schemas of what is added to its own fields.
    """
    definitions: dict[str, Json] = {}

    def described(hint: Any) -> Json:
        if dataclasses.is_dataclass(hint):
            name = typing.cast("type", hint).__name__
            if name not in definitions:
                definitions[name] = {}  # a class may refer to itself
                definitions[name] = _object(hint, names, described)
            return {"$ref": f"#/$defs/{name}"}
        choices = _choices(hint)
        if choices:
            return {"anyOf": [described(each) for each in choices]}
        if typing.get_origin(hint) is tuple:
            arguments = typing.get_args(hint)
            if arguments[-1] is Ellipsis:
                return {"type": "array", "items": described(arguments[0])}
            return {
                "type": "array",
                "prefixItems": [described(each) for each in arguments],
                "minItems": len(arguments),
                "maxItems": len(arguments),
            }
        return {"type": _SCALARS[hint][0]}

    whole = _object(cls, names, described)
    whole["properties"] = {**extra, **whole["properties"]}
    whole["required"] = [*extra, *whole["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(cls: Any, names: Mapping[str, Any], described: Callable[[Any], Json]) -> Json:
    hints = typing.get_type_hints(cls, None, dict(names))
    fields = [field.name for field in dataclasses.fields(cls)]
    return {
        "type": "object",
        "description": " ".join((cls.__doc__ or "").split()),
        "properties": {name: described(hints[name]) for name in fields},
        "required": fields,
        "additionalProperties": False,
    }
