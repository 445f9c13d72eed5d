"""Numbers, sizes, names and truncation."""

from __future__ import annotations

import collections
import ctypes

import pytest

from refleak._format import (
    MAX_NAME,
    at_most,
    columns,
    listing,
    module_of,
    plural,
    pluralize,
    quantity,
    shorten,
    signed,
    size,
    type_mro,
    type_name,
)


@pytest.mark.parametrize(
    ("expected", "number"),
    [
        ("0", 0),
        ("1", 1.0),
        ("1,234,567", 1_234_567),
        ("-5", -5),
        ("0.25", 0.25),
        ("2.5", 2.5),
        ("0.33", 1 / 3),
        ("123", 123.4),
        ("1,235", 1234.6),
    ],
)
def test_quantities_are_short(expected, number):
    """Whole numbers have thousands separators, others two digits that matter."""
    assert expected == quantity(number)


@pytest.mark.parametrize(
    ("expected", "number"), [("+3", 3), ("-3", -3), ("0", 0), ("+0.5", 0.5), ("+1,000", 1000)]
)
def test_changes_have_a_sign(expected, number):
    """A change is told with its sign, no change without."""
    assert expected == signed(number)


@pytest.mark.parametrize(
    ("expected", "number"),
    [
        ("0 B", 0),
        ("1,023 B", 1023),
        ("1.0 KiB", 1024),
        ("-1.5 KiB", -1536),
        ("1.0 MiB", 1024**2),
        ("1.0 GiB", 1024**3),
        ("2,048.0 GiB", 2 * 1024**4),
    ],
)
def test_sizes_have_units(expected, number):
    """Sizes are told in the largest unit of which they hold one, up to GiB."""
    assert expected.replace(",", "") == size(number).replace(",", "")


@pytest.mark.parametrize(
    ("expected", "unit"),
    [
        ("references", "reference"),
        ("child processes", "child process"),
        ("bytes", "byte"),
        ("batches", "batch"),
        ("boxes", "box"),
        ("queries", "query"),
        ("keys", "key"),
    ],
)
def test_units_have_plurals(expected, unit):
    """English plurals of units, the irregular endings included."""
    assert expected == pluralize(unit)


@pytest.mark.parametrize(
    ("expected", "number", "unit"),
    [
        ("1 reference", 1, "reference"),
        ("2 references", 2.0, "reference"),
        ("0 references", 0, "reference"),
        ("0.5 memory blocks", 0.5, "memory block"),
        ("-1 objects", -1, "object"),
        ("9,999 bytes", 9_999, "byte"),
        ("9.8 KiB", 10_000, "byte"),
    ],
)
def test_numbers_go_with_their_unit(expected, number, unit):
    """Exactly one is singular; many bytes are told as a size."""
    assert expected == plural(number, unit)


@pytest.mark.parametrize(
    ("expected", "parts"),
    [("", []), ("a", ["a"]), ("a and b", ["a", "b"]), ("a, b and c", ["a", "b", "c"])],
)
def test_listings_read_as_sentences(expected, parts):
    """Parts are joined by commas, the last by "and"."""
    assert expected == listing(parts)


def test_long_text_is_cut():
    """Text beyond the limit ends in dots and is exactly as long as allowed."""
    assert "x" * MAX_NAME == shorten("x" * MAX_NAME)
    assert "x" * (MAX_NAME - 3) + "..." == shorten("x" * 10_000)
    assert "ab..." == shorten("abcdef", 5)


def test_control_characters_are_made_visible():
    """Line breaks, escapes and lone surrogates cannot spoil the report's lines."""
    assert r"a\nb\x1b\ud800" == shorten("a\nb\x1b\ud800")


def test_truncation_says_how_much_is_missing():
    """What is left out is counted, together with what was left out before."""
    assert ["a", "b"] == at_most(2, ["a", "b"])
    assert ["a", "... and 1 more"] == at_most(1, ["a", "b"])
    assert ["a", "... and 1,000 more"] == at_most(1, ["a"], more=1000)
    assert [] == at_most(3, [])


def test_columns_are_as_wide_as_their_widest_cell():
    """Cells are padded by the given function, ends of lines are not."""
    rows = columns([("a", "10"), ("bbb", "2")], lambda column, text, width: text.ljust(width))
    assert ["a    10", "bbb  2"] == rows
    assert [] == columns([], lambda column, text, width: text)


def test_types_are_named_with_their_module():
    """Builtins are bare, others have their module and qualified name."""
    assert ["dict", "collections.OrderedDict"] == [
        type_name(dict),
        type_name(collections.OrderedDict),
    ]


class Hostile(type):
    """A metaclass whose instances cannot be asked for anything."""

    def __getattribute__(cls, name):
        raise RuntimeError

    def mro(cls):
        return [*type.mro(cls)]

    def __eq__(cls, other):
        raise RuntimeError

    __hash__ = None


def test_a_metaclass_cannot_break_a_name():
    """No code of a metaclass runs for the name or the bases of a type."""
    hostile = Hostile("Victim", (), {"__module__": "there"})
    assert "there.Victim" == type_name(hostile)
    assert type_mro(hostile)[0] is hostile
    assert 2 == len(type_mro(hostile))


def test_a_type_without_a_module_has_a_name():
    """A module that is no text is left out."""
    assert "Odd" == type_name(type("Odd", (), {"__module__": 3}))


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("size", ctypes.c_int),
        ("item_size", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


def test_a_type_of_c_code_has_the_module_that_c_code_says():
    """Cython's metaclass defines __module__ for its instances, and so has none of its own."""
    from_spec = ctypes.pythonapi.PyType_FromSpec
    from_spec.restype, from_spec.argtypes = ctypes.py_object, [ctypes.POINTER(_Spec)]
    spec = _Spec(b"there.Odd", 0, 0, 0, (_Slot * 1)())
    made = from_spec(spec)
    made.__module__ = property(lambda self: "elsewhere")
    assert "there.Odd" == type_name(made)
    assert "there" == module_of(made)
