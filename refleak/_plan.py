"""The validated, frozen parameters of a check."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import GenericAlias
from typing import Any

from refleak import probes as _probes
from refleak._caches import all_classes
from refleak._format import type_name
from refleak.probes import Probe

MAX_ROUNDS = 2000
"""Default bound of the rounds run in addition once something looks suspicious."""


MOST_ROUNDS = 1_000_000
"""Most rounds to warm up or to measure: the place for their readings is made beforehand."""


def switched_off() -> bool:
    """Tell whether ``REFLEAK=off`` in the environment switches judging off.

    Raises ValueError for a word that is neither that nor "on".
    """
    word = os.environ.get("REFLEAK", "")
    if word.lower() not in ("", "on", "off"):
        raise ValueError(f"REFLEAK in the environment must be on or off, not {word!r}")
    return word.lower() == "off"


@dataclass(frozen=True)
class Plan:
    """How to check: made by :func:`make_plan`, which documents and validates every field."""

    stab: int
    run: int
    probes: tuple[Probe, ...]
    ignore: tuple[type, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    diagnose: bool = True
    freeze: bool = True
    max_rounds: int = MAX_ROUNDS
    max_seconds: float | None = None
    known_leak: str | None = None
    strict: bool = False


def make_plan(
    *,
    stab: int = 5,
    run: int = 4,
    probes: str | Probe | Iterable[str | Probe] | None = None,
    ignore: str | type | Iterable[str | type] = (),
    tolerance: Mapping[str, float] | None = None,
    diagnose: bool = True,
    freeze: bool = True,
    max_rounds: int = MAX_ROUNDS,
    max_seconds: float | None = None,
    known_leak: str | None = None,
    strict: bool = False,
    **unknown: object,
) -> Plan:
    """Validate the options of every public form.

    stab: warm-up rounds, which are not judged; at least 1, at most :data:`MOST_ROUNDS`.
    run: measured rounds; as many. A leak that happens once in every ``run`` calls is found.
    probes: quantities to judge beside the default ones: names from :mod:`refleak.probes`
        (``"cycles"``; ``"-file descriptors"`` leaves one out) or :class:`refleak.Probe` objects.
    ignore: types, their dotted names, or patterns of names (``"package.*"``) as reports show them,
        whose growth is no leak.
    tolerance: growth per call that is allowed, by the name of the quantity.
    diagnose: False skips the search for origin and holders, and its rounds.
    freeze: False does without ``gc.freeze()``, for code that works with the collector itself.
    max_rounds: most rounds run in addition once growth looks suspicious.
    max_seconds: most seconds these may take; None is the larger of one second and ten times
        what the first rounds took, and up to five where growth ebbs but has not stopped by then.
    known_leak: a reason, such as an issue's address: a leak is reported as a warning and fails
        nothing.
    strict: with known_leak, fail when nothing leaks any more.

    Raises TypeError or ValueError, naming the argument, its value and what is allowed.
    """
    if unknown:
        allowed = [each.name for each in fields(Plan)]
        raise TypeError(f"unknown option {next(iter(unknown))!r}; allowed are {', '.join(allowed)}")
    chosen = _probes.select(probes)
    return Plan(
        stab=_count("stab", stab, 1, MOST_ROUNDS),
        run=_count("run", run, 1, MOST_ROUNDS),
        probes=chosen,
        ignore=_types(ignore),
        tolerance=_tolerances(tolerance, chosen),
        diagnose=_flag("diagnose", diagnose),
        freeze=_flag("freeze", freeze),
        max_rounds=_count("max_rounds", max_rounds, 0, sys.maxsize),
        max_seconds=None if max_seconds is None else _number("max_seconds", max_seconds),
        known_leak=_reason(known_leak),
        strict=_strict(strict, known_leak),
    )


def _count(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {show(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most:,}, not {value:,}")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {show(value)}")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {show(value)}")
    if not 0 <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be a finite number from 0 up, not {show(value)}")
    return value


def _reason(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"known_leak must be a reason (text), not {show(value)}")
    if not value.strip():
        raise ValueError(f"known_leak must give a reason, not {value!r}")
    return value


def _strict(value: object, known_leak: object) -> bool:
    if _flag("strict", value) and known_leak is None:
        raise ValueError("strict=True goes with known_leak='reason' only; known_leak is None")
    return bool(value)


def _types(value: object) -> tuple[type, ...]:
    single = isinstance(value, (str, bytes, type, GenericAlias, Mapping))
    entries: object = [value] if single else value
    if not isinstance(entries, Iterable):
        raise TypeError(f"ignore must hold types or dotted type names, not {show(value)}")
    return tuple(kind for entry in entries for kind in _types_of(entry))


def _types_of(entry: object) -> Sequence[type]:
    if issubclass(type(entry), type) and isinstance(entry, type):  # 3.10 takes list[int] for one
        return [entry]
    if not isinstance(entry, str):
        raise TypeError(f"ignore must hold types or dotted type names, not {show(entry)}")
    cause = None
    if "*" not in entry:
        try:
            return [_importable(entry)]
        except LookupError as error:
            cause = error.__cause__
    kinds = _loaded(entry)
    if not kinds:  # a typo would be silent
        raise ValueError(
            f"ignore: no type named {entry!r}; give a type, a name such as 'package.module.Class', "
            f"or a pattern such as 'package.*' for types that are loaded"
        ) from cause
    return kinds


def _importable(name: str) -> type:
    """Find the type that a dotted name means, its module imported; raise LookupError for none."""
    import importlib

    module, _, attribute = name.rpartition(".")
    path = [attribute]
    found: Any = None
    while found is None:
        try:
            found = importlib.import_module(module or "builtins")
        except Exception as error:  # a module that is imported may raise anything
            module, _, attribute = module.rpartition(".")
            if not module:
                raise LookupError(name) from error
            path.insert(0, attribute)
    for attribute in path:
        found = vars(found).get(attribute) if hasattr(found, "__dict__") else None
    if isinstance(found, type):
        return found
    raise LookupError(name)


def _loaded(pattern: str) -> list[type]:
    """Find the types there are whose names, as reports show them, are *pattern* or fit it."""
    from fnmatch import fnmatchcase

    plain = pattern.replace("[", "[[]")
    return [kind for kind in all_classes() if fnmatchcase(type_name(kind), plain)]


def _tolerances(value: object, probes: tuple[Probe, ...]) -> Mapping[str, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"tolerance must map quantities to growth per call, such as {{'references': 1}}, "
            f"not {show(value)}"
        )
    names = [probe.name for probe in probes]
    for name in value:
        if name not in names:
            raise ValueError(
                f"tolerance: no quantity named {name!r} is judged; allowed are {', '.join(names)}"
            )
    return {name: _number(f"tolerance[{name!r}]", value[name]) for name in value}


def show(value: object) -> str:
    """Return a value's repr, which may fail or be long, and its type."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # the value's own repr: anything may be raised
        text = "<repr failed>"
    return f"{text[:60]} ({type(value).__name__})"


def check_implementation() -> None:
    """Raise RuntimeError on an interpreter that does not count references."""
    name = sys.implementation.name
    if name != "cpython":
        raise RuntimeError(
            f"refleak needs CPython: {name} does not count references, so leaks cannot be told "
            f"from garbage not collected yet"
        )
