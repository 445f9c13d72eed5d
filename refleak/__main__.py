"""The front door: ``python -m refleak run``, ``unittest`` and ``doctor``."""

# ruff: noqa: T201  # a command line prints: it is what it is for

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import os
import sys
import traceback
import warnings
from array import array
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, cast

from refleak import _check
from refleak._api import _drive_async as drive_async
from refleak._api import _drive_sync as drive_sync
from refleak._api import _no_verdict as no_verdict
from refleak._api import _refuse as refuse
from refleak._api import is_async, name_of
from refleak._check import Check
from refleak._errors import KnownLeakWarning, LeakError
from refleak._files import add_file_options, tell_others, write_file, written_path
from refleak._originals import Clock
from refleak._plan import MAX_ROUNDS, Plan, make_plan
from refleak._report import Report
from refleak._results import result_of
from refleak._terminal import progress_text, say, shown

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

RUN_STATUS = """\
exit status: 0 no leak; 1 a leak; 2 wrong usage, or the function raised or exited
Options have the same meaning as those of @assert_no_leaks.
"""

NOT_OF_THE_USER = (
    *(os.path.dirname(inspect.getfile(module)) + os.sep for module in (_check, asyncio, importlib)),
    "<frozen importlib",
)
"""What the names of the files begin with whose code only leads to the user's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["unittest"]:
        from refleak import unittest

        return unittest.main(given[1:])
    parser, commands = make_parser()
    options, unknown = parser.parse_known_args(given)
    if unknown:
        commands.get(options.command, parser).error(f"unknown arguments: {' '.join(unknown)}")
    if options.version:
        import refleak

        say(f"refleak {refleak.__version__}")
        return CLEAN
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
    parser.add_argument("--version", action="store_true", help="print refleak's version")
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
    doctor_parser = commands.add_parser(
        "doctor",
        help="say what can be judged on this interpreter, what not, and why",
        description="Say what refleak can judge on this interpreter, what not, and why, and "
        "measure what a check costs. Start it as you start your tests, for example with the same "
        "environment variables, or as `coverage run -m refleak doctor`.",
    )
    return parser, {"run": run_parser, "doctor": doctor_parser}


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
        help="a type, such as package.module.Class, whose growth is no leak, or a pattern of "
        "names, such as 'package.*'",
    )
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        type=_tolerance,
        metavar="QUANTITY=N",
        help="growth per call that is allowed, such as 'memory blocks=1'",
    )
    parser.add_argument(
        "--max-rounds",
        type=int,
        default=MAX_ROUNDS,
        metavar="N",
        help=f"most further calls once something grew (default {MAX_ROUNDS})",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        metavar="N",
        help="most seconds for these (default: 1, or ten times what the first calls took)",
    )
    parser.add_argument(
        "--known-leak",
        metavar="REASON",
        help="a leak is known, for this reason: it is shown, and the exit status is 0",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="with --known-leak: the exit status is 1 if it leaks no more",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=lambda text: text if text == "-" else written_path(text),
        help="also write the report to FILE as JSON; - is the output",
    )
    add_file_options(parser)


def _tolerance(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name, float(number)
    except ValueError:
        message = f"{text!r} is not QUANTITY=N, such as 'memory blocks=1'"
        raise argparse.ArgumentTypeError(message) from None


# --- run ---------------------------------------------------------------------------------------


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Check one callable, print the report and return the exit status."""
    try:
        plan = make_plan(
            stab=options.stab,
            run=options.run,
            probes=[name.strip() for names in options.probes for name in names.split(",")],
            ignore=options.ignore,
            tolerance=dict(options.tolerance),
            max_rounds=options.max_rounds,
            max_seconds=options.max_seconds,
            known_leak=options.known_leak,
            strict=options.strict,
        )
        subject = find(options.target)
        began = Clock.monotonic()
        with code_of_the_user():
            report = judge(subject, plan)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    except Raised as error:
        show_traceback(error.cause)
        print(f"not judged: {options.target} raised {type(error.cause).__name__}", file=sys.stderr)
        return USAGE
    seconds = Clock.monotonic() - began
    module = options.target.partition(":")[0]
    told = tell(report, options.json)
    if not tell_others([result_of(report, seconds=seconds, module=module)], options) or not told:
        return USAGE
    return exit_status(report, plan)


def exit_status(report: Report, plan: Plan) -> int:
    """Return the exit status; say so if a known leak is gone that --strict expects."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", KnownLeakWarning)  # the report was shown
            _check.raise_if_leaking(report, plan)
    except LeakError:
        return LEAK
    except AssertionError as error:
        print(error, file=sys.stderr)
        return LEAK
    return CLEAN


class Raised(Exception):  # noqa: N818  # no error of its own
    """The user's code raised something, be it an exception or SystemExit."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__()
        self.cause = cause


@contextmanager
def code_of_the_user() -> Generator[None, None, None]:
    """Tell what the user's code raises, anything but a KeyboardInterrupt, from wrong usage."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Raised(error) from error


def show_traceback(error: BaseException) -> None:
    """Print the traceback of what the user's code raised, from the user's code on."""
    began: TracebackType | None = error.__traceback__
    while began is not None and began.tb_frame.f_code.co_filename.startswith(NOT_OF_THE_USER):
        began = began.tb_next
    traceback.print_exception(type(error), error, began)


def find(target: str) -> Callable[[], Any]:
    """Import what ``pkg.module:callable`` names; raise ValueError or TypeError if it cannot be.

    Raises Raised for what the module raises when it is imported.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path) or module_name.startswith("."):
        raise ValueError(f"{target!r} names no function; write package.module:function")
    found: Any = load(module_name, path)
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


def load(name: str, path: str) -> Any:
    """Import a module, from the working directory too; raise ValueError if there is none."""
    sys.path.insert(0, os.getcwd())
    try:
        with code_of_the_user():
            return importlib.import_module(name)
    except Raised as error:
        missing = error.cause.name if isinstance(error.cause, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise
        hint = f"; write {name[:-3]}:{path.lstrip(':')}" if name.endswith(".py") else ""
        raise ValueError(f"cannot import {name!r}: {error.cause}{hint}") from error


def judge(subject: Callable[[], Any], plan: Plan) -> Report:
    """Check *subject*; show how far it is on a terminal."""
    progress = ProgressLine() if sys.stderr.isatty() else None
    check = Check(plan, name_of(subject), progress)
    try:
        if is_async(subject):
            asyncio.run(drive_async(subject, check, no_verdict))
        else:
            drive_sync(subject, check, no_verdict)
    finally:
        if progress is not None:
            progress.clear()
    assert check.report is not None
    return check.report


def tell(report: Report, file: str | None) -> bool:
    """Print the report, and write it as JSON if asked to; tell whether it was written."""
    data = report.to_json(indent=2)
    if file == "-":
        say(data)
        return True
    say(shown(report, sys.stdout))
    failed = None if file is None else write_file(file, f"{data}\n")
    if failed:
        print(failed, file=sys.stderr)
    return not failed


class ProgressLine:
    """One line on a terminal that says how far a check is; called before each round."""

    SECONDS = 0.1
    """Time between two changes of the line."""

    COLUMNS = 78
    """Room for it on a terminal."""

    def __init__(self) -> None:
        self._began = Clock.monotonic()
        self._shown = array("d", [0.0])  # a float attribute would be allocated anew in each round

    def __call__(self, number: int, phase: str, quantity: str, until: float) -> None:
        """Show the round that is about to run, if the last change of the line is old enough."""
        now = Clock.monotonic()
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

    say("\n".join(doctor_lines()))
    return CLEAN


if __name__ == "__main__":
    sys.exit(main())
