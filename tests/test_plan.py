"""Arguments: each wrong type and range, in every public form, is refused at the call."""

from __future__ import annotations

import collections
import dataclasses
import sys

import pytest

import refleak
from refleak import assert_no_leaks, find_leaks, leak_check
from refleak._format import type_name
from refleak._plan import MAX_ROUNDS, Plan, check_implementation, make_plan

FORMS = {
    "assert_no_leaks, bare": lambda **options: assert_no_leaks(int_function, **options),
    "assert_no_leaks, with arguments": lambda **options: assert_no_leaks(**options),  # noqa: PLW0108  # like the others
    "leak_check": lambda **options: leak_check(**options),  # noqa: PLW0108  # like the others
    "find_leaks": lambda **options: find_leaks(int_function, **options),
}


def int_function():
    """Do nothing; no form may call it when an argument is wrong."""
    raise AssertionError


class Unprintable:
    """An object without a usable repr."""

    def __repr__(self):
        raise RuntimeError


# Each: what is wrong, the error, and what its message must name besides the argument.
WRONG = [
    ({"stab": 0}, ValueError, ["stab", "at least 1", "0"]),
    ({"stab": -3}, ValueError, ["stab", "at least 1", "-3"]),
    ({"stab": 2.0}, TypeError, ["stab", "an integer", "2.0", "float"]),
    ({"stab": "5"}, TypeError, ["stab", "an integer", "'5'", "str"]),
    ({"stab": None}, TypeError, ["stab", "an integer", "None"]),
    ({"stab": True}, TypeError, ["stab", "an integer", "True", "bool"]),
    ({"stab": 10**9}, ValueError, ["stab", "at most 1,000,000", "1,000,000,000"]),
    ({"run": 10**9}, ValueError, ["run", "at most 1,000,000", "1,000,000,000"]),
    ({"max_rounds": 10**30}, ValueError, ["max_rounds", "at most"]),
    ({"run": 0}, ValueError, ["run", "at least 1", "0"]),
    ({"run": 1.5}, TypeError, ["run", "an integer", "1.5"]),
    ({"run": True}, TypeError, ["run", "an integer", "True"]),
    ({"run": Unprintable()}, TypeError, ["run", "an integer", "Unprintable"]),
    ({"probes": "refs"}, ValueError, ["probes", "'refs'", "references, memory blocks"]),
    ({"probes": 3}, TypeError, ["probes", "3"]),
    ({"probes": b"threads"}, TypeError, ["probes", "b'threads'"]),
    ({"probes": {"threads": 1}}, TypeError, ["probes", "{'threads': 1}"]),
    ({"probes": [None]}, TypeError, ["probes", "None"]),
    ({"ignore": 3}, TypeError, ["ignore", "types or dotted type names", "3"]),
    ({"ignore": list[int]}, TypeError, ["ignore", "types or dotted type names", "list[int]"]),
    (
        {"ignore": {int: 1}},
        TypeError,
        ["ignore", "types or dotted type names", "{<class 'int'>: 1}"],
    ),
    ({"ignore": [3]}, TypeError, ["ignore", "types or dotted type names", "3"]),
    ({"ignore": "no.such.Type"}, ValueError, ["ignore", "'no.such.Type'"]),
    ({"ignore": "collections.OrderedDic"}, ValueError, ["ignore", "'collections.OrderedDic'"]),
    ({"ignore": "collections.namedtuple"}, ValueError, ["ignore", "'collections.namedtuple'"]),
    ({"ignore": ""}, ValueError, ["ignore", "''"]),
    ({"ignore": "no.such.*"}, ValueError, ["ignore", "'no.such.*'", "pattern"]),
    ({"ignore": ".x"}, ValueError, ["ignore", "'.x'"]),
    ({"ignore": "..x.y"}, ValueError, ["ignore", "'..x.y'"]),
    ({"ignore": "raises_on_import.Type"}, ValueError, ["ignore", "'raises_on_import.Type'"]),
    ({"ignore": ["dict", ""]}, ValueError, ["ignore", "''"]),
    ({"tolerance": 3}, TypeError, ["tolerance", "{'references': 1}", "3"]),
    ({"tolerance": [("references", 1)]}, TypeError, ["tolerance", "{'references': 1}"]),
    ({"tolerance": {"refs": 1}}, ValueError, ["tolerance", "'refs'", "references, memory"]),
    ({"tolerance": {3: 1}}, ValueError, ["tolerance", "3", "references, memory"]),
    ({"tolerance": {"references": "1"}}, TypeError, ["tolerance['references']", "a number", "'1'"]),
    ({"tolerance": {"references": True}}, TypeError, ["tolerance['references']", "True"]),
    ({"tolerance": {"references": -1}}, ValueError, ["tolerance['references']", "from 0 up", "-1"]),
    ({"tolerance": {"references": float("nan")}}, ValueError, ["from 0 up", "nan"]),
    ({"tolerance": {"references": 10**400}}, ValueError, ["tolerance['references']", "finite"]),
    ({"max_seconds": 10**400}, ValueError, ["max_seconds", "finite", "(int)"]),
    ({"tolerance": {"cycles": 1}}, ValueError, ["tolerance", "'cycles' is judged"]),
    ({"diagnose": 1}, TypeError, ["diagnose", "True or False", "1"]),
    ({"diagnose": None}, TypeError, ["diagnose", "True or False", "None"]),
    ({"freeze": "no"}, TypeError, ["freeze", "True or False", "'no'"]),
    ({"max_rounds": -1}, ValueError, ["max_rounds", "at least 0", "-1"]),
    ({"max_rounds": 1e3}, TypeError, ["max_rounds", "an integer", "1000.0"]),
    ({"max_rounds": None}, TypeError, ["max_rounds", "an integer", "None"]),
    ({"max_seconds": -0.5}, ValueError, ["max_seconds", "from 0 up", "-0.5"]),
    ({"max_seconds": float("inf")}, ValueError, ["max_seconds", "from 0 up", "inf"]),
    ({"max_seconds": "1"}, TypeError, ["max_seconds", "a number", "'1'"]),
    ({"max_seconds": True}, TypeError, ["max_seconds", "a number", "True"]),
    ({"known_leak": True}, TypeError, ["known_leak", "a reason", "True"]),
    ({"known_leak": " "}, ValueError, ["known_leak", "a reason", "' '"]),
    ({"strict": 1, "known_leak": "why"}, TypeError, ["strict", "True or False", "1"]),
    ({"strict": True}, ValueError, ["strict", "known_leak"]),
    ({"warmup": 5}, TypeError, ["'warmup'", "stab, run, probes"]),
]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("options", "error", "named"), WRONG)
def test_wrong_arguments_are_refused_at_the_call(
    form, options, error, named, tmp_path, monkeypatch
):
    """A wrong type or range is an error that names the argument, the value and what is allowed."""
    (tmp_path / "raises_on_import.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as caught:
        form(**options)
    assert [] == [text for text in named if text not in str(caught.value)]


def test_the_options_are_those_of_the_plan():
    """The typed options of the public forms are what the plan validates."""
    from refleak._api import Options

    assert sorted(field.name for field in dataclasses.fields(Plan)) == sorted(
        Options.__annotations__
    )


def test_the_defaults_are_documented_ones():
    """Five warm-up rounds, four measured, all bounds as documented."""
    plan = make_plan()
    assert (5, 4, MAX_ROUNDS, None) == (plan.stab, plan.run, plan.max_rounds, plan.max_seconds)
    assert (True, True, None, False) == (plan.diagnose, plan.freeze, plan.known_leak, plan.strict)
    assert ((), {}) == (plan.ignore, plan.tolerance)


def test_a_plan_is_frozen():
    """A validated plan cannot be changed any more."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_plan().stab = 3


@pytest.mark.parametrize(
    ("expected", "ignore"),
    [
        ((dict,), dict),
        ((dict,), "dict"),
        ((dict, list), [dict, "builtins.list"]),
        ((collections.OrderedDict,), "collections.OrderedDict"),
        ((refleak.LeakError,), iter(["refleak.LeakError"])),
        ((make_plan.__globals__["Plan"],), "refleak._plan.Plan"),
        ((), ()),
    ],
)
def test_ignored_types_are_types_or_names(expected, ignore):
    """Types are given as such or by a dotted name, alone or several."""
    assert expected == make_plan(ignore=ignore).ignore


def test_names_of_nested_types_are_found():
    """A class within a class is named as its qualified name says."""
    assert Outer.Inner is make_plan(ignore=f"{__name__}.Outer.Inner").ignore[0]


@pytest.mark.parametrize("pattern", ["test_plan.Out*", "*_plan.*.Inner", "test_plan.Outer.Inn*"])
def test_patterns_find_types_that_are_loaded(pattern):
    """What a pattern fits is what reports call a type."""
    assert Outer.Inner in make_plan(ignore=pattern).ignore


def test_names_as_reports_show_them_are_found():
    """A class made in a function cannot be imported; brackets in a name are no pattern."""

    class Local:
        pass

    made = type("Local[int]", (), {"__module__": "nowhere"})
    hostile = Unhashable("Odd", (), {"__module__": "nowhere"})
    assert (Local,) == make_plan(ignore=type_name(Local)).ignore
    assert (made,) == make_plan(ignore="nowhere.Local[int]").ignore
    assert [True] == [each is hostile for each in make_plan(ignore="nowhere.O*").ignore]


class Unhashable(type):
    """A metaclass whose instances cannot be compared."""

    def __eq__(cls, other):
        raise RuntimeError

    __hash__ = None


class Outer:
    """A class with a class in it."""

    class Inner:
        """The class in it."""


def test_the_least_values_are_allowed():
    """The lowest number of each range is no error."""
    plan = make_plan(stab=1, run=1, max_rounds=0, max_seconds=0, tolerance={"references": 0})
    assert (1, 1, 0, 0) == (plan.stab, plan.run, plan.max_rounds, plan.max_seconds)


def test_tolerance_is_for_what_is_judged(monkeypatch):
    """A quantity that was switched on may be tolerated, one that was left out may not."""
    assert {"cycles": 1} == make_plan(probes="cycles", tolerance={"cycles": 1}).tolerance
    with pytest.raises(ValueError, match="'objects' is judged"):
        make_plan(probes="-objects", tolerance={"objects": 1})


def test_other_implementations_are_refused(monkeypatch):
    """An interpreter that does not count references gets a clear error, at first use."""
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    with pytest.raises(RuntimeError, match="refleak needs CPython: pypy does not count"):
        check_implementation()
    with pytest.raises(RuntimeError, match="pypy"):
        find_leaks(lambda: None)
