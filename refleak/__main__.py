"""The front door: ``python -m refleak run``, ``unittest`` and ``doctor``."""

# ruff: noqa: T201  # a command line prints: it is what it is for

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import os
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from refleak._api import _refuse as refuse
from refleak._api import is_async, name_of
from refleak._check import Check
from refleak._files import add_file_options, tell_others
from refleak._plan import Plan, make_plan
from refleak._report import Report
from refleak._results import result_of
from refleak._terminal import progress_text, shown

CLEAN, LEAK, USAGE = 0, 1, 2
"""Exit statuses of ``run``."""

DESCRIPTION = """\
Find out whether Python code leaks: references, memory, file descriptors, threads.

Code leaks when something is left over from every single call. So refleak calls it a few
times to warm up, a few times to measure, and says what grew, where it was allocated and what
holds it.
"""

EXAMPLES = """\
examples:
  python -m refleak run mypackage.parser:parse_example
  python -m refleak unittest -v tests.test_parser
  python -m refleak doctor

In your own tests, put a line on a test instead: @assert_no_leaks (from refleak).
With pytest, every test can be checked: pytest -R :
"""

RUN_DESCRIPTION = """\
Check one function (or async function) that needs no arguments.

It is called STAB times to warm up and RUN times to measure, and more often only if something
grew. Write a small function that does once what you suspect, and name it: for a function
`example` in mypackage/parser.py, run `python -m refleak run mypackage.parser:example`.
"""

RUN_STATUS = "exit status: 0 no leak; 1 a leak; 2 wrong usage, or the function raised an exception"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["unittest"]:
        from refleak import unittest

        return unittest.main(given[1:])
    parser, commands = make_parser()
    options = parser.parse_args(given)
    if options.command == "run":
        return run(options, commands["run"])
    if options.command == "doctor":
        return doctor()
    parser.print_help()
    return USAGE


def make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser, and those of its commands by name."""
    parser = argparse.ArgumentParser(
        prog="python -m refleak",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    run_parser = commands.add_parser(
        "run",
        help="check one function",
        description=RUN_DESCRIPTION,
        epilog=RUN_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_options(run_parser)
    commands.add_parser("unittest", help="run unittest tests and check each, or the whole suite")
    commands.add_parser(
        "doctor",
        help="say what can be judged on this interpreter, what not, and why",
        description="Say what refleak can judge on this interpreter, what not, and why, and "
        "measure what a check costs. Start it as you start your tests, for example with the same "
        "environment variables, or as `coverage run -m refleak doctor`.",
    )
    return parser, {"run": run_parser}


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="MODULE:FUNCTION", help="what to check: pkg.module:function"
    )
    parser.add_argument(
        "--stab", type=int, default=5, metavar="N", help="calls to warm up (default 5)"
    )
    parser.add_argument(
        "--run", type=int, default=4, metavar="N", help="calls to measure (default 4)"
    )
    parser.add_argument(
        "--probes",
        action="append",
        default=[],
        metavar="NAMES",
        help="quantities to judge beside the default ones, with commas between: a name adds one, "
        "-name leaves it out, -all,references judges that alone (with =, since it begins with -: "
        "--probes=-threads); "
        "`doctor` lists the names",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="TYPE",
        help="a type, such as package.module.Class, whose growth is no leak",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="also write the report to FILE as JSON; - is the output"
    )
    add_file_options(parser)


# --- run ---------------------------------------------------------------------------------------


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Check one callable, print the report and return the exit status."""
    try:
        plan = make_plan(
            stab=options.stab,
            run=options.run,
            probes=[name.strip() for names in options.probes for name in names.split(",")],
            ignore=options.ignore,
        )
        subject = find(options.target)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    began = time.monotonic()
    try:
        report = judge(subject, plan)
    except Exception:  # noqa: BLE001  # the user's function may raise anything; it is shown
        traceback.print_exc()
        print(f"not judged: {options.target} raised an exception", file=sys.stderr)
        return USAGE
    seconds = time.monotonic() - began
    tell(report, options.json)
    module = options.target.partition(":")[0]
    if not tell_others([result_of(report, seconds=seconds, module=module)], options):
        return USAGE
    return LEAK if report.leaking else CLEAN


def find(target: str) -> Callable[[], Any]:
    """Import what ``pkg.module:callable`` names; raise ValueError or TypeError if it cannot be."""
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise ValueError(f"{target!r} names no function; write package.module:function")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        hint = f"; write {module_name[:-3]}:{path}" if module_name.endswith(".py") else ""
        raise ValueError(f"cannot import {module_name!r}: {error}{hint}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ValueError(f"{target!r}: {error}") from error
    refuse("refleak run", found)
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise TypeError(f"{target} is called without arguments, but: {error}") from error
    except ValueError:  # a function in C without a signature
        pass
    return cast("Callable[[], Any]", found)


def judge(subject: Callable[[], Any], plan: Plan) -> Report:
    """Check *subject*; show how far it is on a terminal."""
    progress = ProgressLine() if sys.stderr.isatty() else None
    check = Check(plan, name_of(subject), progress)
    try:
        if is_async(subject):
            asyncio.run(_run_async(subject, check))
        else:
            for _ in check.rounds():
                subject()
    finally:
        if progress is not None:
            progress.clear()
    assert check.report is not None
    return check.report


async def _run_async(subject: Callable[[], Any], check: Check) -> None:
    for _ in check.rounds():
        await subject()
        await asyncio.sleep(0)  # what it left scheduled comes to its end


def tell(report: Report, file: str | None) -> None:
    """Print the report, and write it as JSON if asked to."""
    if file == "-":
        print(report.to_json(indent=2))
        return
    print(shown(report, sys.stdout))
    if file is not None:
        Path(file).write_text(report.to_json(indent=2) + "\n", encoding="utf-8")


class ProgressLine:
    """One line on a terminal that says how far a check is; called before each round."""

    SECONDS = 0.1
    """Time between two changes of the line."""

    COLUMNS = 78
    """Room for it on a terminal."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown = array("d", [0.0])  # a float attribute would be allocated anew in each round

    def __call__(self, number: int, phase: str, quantity: str, until: float) -> None:
        """Show the round that is about to run, if the last change of the line is old enough."""
        now = time.monotonic()
        if now - self._shown[0] < self.SECONDS:
            return
        self._shown[0] = now
        text = progress_text(number, phase, quantity)
        left = f", at most {max(0.0, until - now):.1f} s more" if until else ""
        text = f"{text}, {now - self._began:.1f} s{left}"
        sys.stderr.write(f"\r{text:<{self.COLUMNS}}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown[0]:
            sys.stderr.write(f"\r{'':<{self.COLUMNS}}\r")
            sys.stderr.flush()


# --- doctor ------------------------------------------------------------------------------------


def doctor() -> int:
    """Print what can be judged here."""
    from refleak._doctor import doctor_lines

    for line in doctor_lines():
        print(line)
    return CLEAN


if __name__ == "__main__":
    sys.exit(main())
