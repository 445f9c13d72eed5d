"""Schemas made at run time."""

import collections
import collections.abc

for name in (
    "Callable",
    "Generator",
    "Iterable",
    "Mapping",
    "MutableMapping",
    "MutableSet",
    "Sequence",
    "Set",
):
    setattr(collections, name, getattr(collections.abc, name))  # this release expects them there

import marshmallow  # noqa: E402  # it looks for those names when it is imported


def work():
    schema = type("DropSchema", (marshmallow.Schema,), {"level": marshmallow.fields.Int()})
    schema().dump({"level": 3})
