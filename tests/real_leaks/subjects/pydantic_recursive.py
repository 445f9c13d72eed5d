"""A schema that refers to itself, made anew by each call."""

from __future__ import annotations

import pydantic


class Leaf(pydantic.BaseModel):
    pass


class Tree(pydantic.BaseModel):
    children: list[Tree]
    leaf: Leaf


def work():
    pydantic.TypeAdapter(list[Tree]).validate_python([{"children": [], "leaf": Leaf()}])
