"""Classes and generic types made anew for a single-dispatch function."""

import functools
import typing


@functools.singledispatch
def describe(value):
    return "something"


@describe.register
def _(value: list):
    return "a list"


def work():
    class Drops(list):
        pass

    class Holder(typing.Generic[typing.TypeVar("Kind")]):
        pass

    describe(Drops())
    typing.Optional[Drops], Holder[int]  # noqa: UP045  # typing's cache is the subject
