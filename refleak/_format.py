"""Numbers, sizes, names and truncation: text that cannot fail."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

MAX_NAME = 80
"""Longest type name, attribute or key shown, in characters."""

_MRO: Any = vars(type)["__mro__"]
_DICT: Any = vars(type)["__dict__"]
_MODULE: Any = vars(type)["__module__"]
_QUALNAME: Any = vars(type)["__qualname__"]


def shorten(text: str, limit: int = MAX_NAME) -> str:
    """Cut *text* to *limit* characters, line breaks and control characters made visible."""
    head = "".join(char if char.isprintable() else _escape(char) for char in text[: limit + 1])
    return head if len(head) <= limit else head[: limit - 3] + "..."


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def type_mro(cls: type) -> tuple[type, ...]:
    """Return the classes *cls* derives from, without running a metaclass's code."""
    mro: tuple[type, ...] = _MRO.__get__(cls)
    return mro


def type_dict(cls: type) -> Mapping[str, Any]:
    """Return the attributes that *cls* itself defines, without running a metaclass's code."""
    attributes: Mapping[str, Any] = _DICT.__get__(cls)
    return attributes


def type_name(cls: type) -> str:
    """Name *cls* as ``module.Qualname`` (bare for builtins), without running a metaclass's code.

    The getters of ``type`` itself are called: ``cls.__module__`` could be a metaclass's property.
    """
    module, name = module_of(cls), _QUALNAME.__get__(cls)
    if type(name) is not str or not name:
        return "<unnamed type>"
    if module in ("", "builtins"):
        return shorten(name)
    return shorten(f"{module}.{name}")


def module_of(cls: type) -> str:
    """Return the name of the module a class says it is from; empty where it says none."""
    try:
        name = _MODULE.__get__(cls)
    except AttributeError:  # it was deleted
        return ""
    if type(name) is str:
        return name
    # A type of C code whose instances have a __module__, such as Cython's metaclass, says it in C.
    return type.__repr__(cls).removeprefix("<class '").rpartition(".")[0]


def plural(number: float, unit: str) -> str:
    """Say *number* with its *unit*: ``1 reference``, ``2.5 memory blocks``, ``4 processes``."""
    if unit == "byte" and abs(number) >= 10_000:
        return size(number)
    text = quantity(number)
    return f"{text} {unit if text == '1' else pluralize(unit)}"


def pluralize(unit: str) -> str:
    """Return the plural of a unit's English name."""
    if " in " in unit:
        noun, rest = unit.split(" in ", 1)
        return f"{pluralize(noun)} in {rest}"
    if unit.endswith(("s", "sh", "ch", "x")):
        return unit + "es"
    if unit.endswith("y") and unit[-2:-1] not in "aeiou":
        return unit[:-1] + "ies"
    return unit + "s"


def quantity(number: float) -> str:
    """Say a number shortly: whole numbers with thousands separators, others with two digits."""
    if number == int(number):
        return f"{int(number):,}"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2g}"


def signed(number: float) -> str:
    """Say a change with its sign; no change is a plain ``0``."""
    return f"+{quantity(number)}" if number > 0 else quantity(number)


def size(number: float) -> str:
    """Say *number* bytes in B, KiB, MiB or GiB."""
    for unit in ("B", "KiB", "MiB"):
        if abs(number) < 1024:
            return f"{quantity(number) if unit == 'B' else format(number, '.1f')} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def listing(parts: Sequence[str]) -> str:
    """Join *parts* as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else "".join(parts)


def at_most(limit: int, lines: Sequence[str], *, more: int = 0) -> list[str]:
    """Return the first *limit* lines, and say how many were left out (*more* of them before)."""
    left_out = more + max(0, len(lines) - limit)
    return [*lines[:limit], *([f"... and {left_out:,} more"] if left_out else [])]


def columns(rows: Iterable[Sequence[str]], align: Callable[[int, str, int], str]) -> list[str]:
    """Lay out *rows* in columns; ``align(column, text, width)`` pads one cell."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(align(i, cell, widths[i]) for i, cell in enumerate(row)).rstrip() for row in table
    ]


def wrapped(text: str, width: int) -> list[str]:
    """Cut *text* into lines, the second and later ones two columns narrower.

    Parts with three spaces between them stay whole where a line has room for one.

    >>> wrapped("a.py:12 in f   kept.append(self)   (64 B per call)", 30)
    ['a.py:12 in f', 'kept.append(self)', '(64 B per call)']
    """
    lines: list[str] = []
    for part in text.split("   "):
        if lines and len(lines[-1]) + 3 + len(part) <= width - 2:
            lines[-1] += f"   {part}"
        else:
            cut = textwrap.TextWrapper(
                width,
                initial_indent="  " if lines else "",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            ).wrap(part)
            lines += [line.removeprefix("  ") for line in cut]
    return lines or [""]
