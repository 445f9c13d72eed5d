"""The files that tell of a session: pages for people, XML and JSON for other programs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from refleak._github import annotation
from refleak._results import Result, leaking
from refleak._terminal import say

FORMATS = {
    "html": "a page with growth, types, holders and origin of each leak",
    "sarif": "SARIF 2.1.0, for code scanning: a result for each leak",
    "junit": "JUnit's XML, for the test tables of CI systems",
}
"""What each kind of file is, by the name of the option that asks for one."""


def check_path(path: str) -> str:
    """Return *path*; raise ValueError if no file can be written there."""
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        raise ValueError(f"{path!r}: there is no folder {folder!r}")
    if os.path.isdir(path):
        raise ValueError(f"{path!r} is a folder, not a file")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ValueError(f"{path!r} cannot be written: no permission")
    return path


def add_file_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add an option for each kind of file, and one for GitHub's annotations."""
    for name, content in FORMATS.items():
        parser.add_argument(
            f"--{name}", metavar="FILE", type=written_path, help=f"also write to FILE {content}"
        )
    parser.add_argument(
        "--github",
        action="store_true",
        help="also print annotations for GitHub Actions, on the line that allocated each leak",
    )


def written_path(text: str) -> str:
    """Return the path that an option of a command line gives for a file to be written."""
    try:
        return check_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def tell_others(results: Sequence[Result], options: argparse.Namespace) -> bool:
    """Write what the options of :func:`add_file_options` ask for; tell whether all was written."""
    if options.github:
        for result, report in leaking(results):
            say(annotation(report, result.file))
    failed = write_files(results, {name: getattr(options, name) for name in FORMATS})
    for reason in failed:
        sys.stderr.write(f"{reason}\n")
    return not failed


def write_files(results: Sequence[Result], paths: Mapping[str, str | None]) -> list[str]:
    """Write the files asked for: *paths* by the names of :data:`FORMATS`, None where not wanted.

    Return what could not be written, and why.
    """
    wanted = [(name, path) for name, path in paths.items() if path is not None]
    failed = [write_file(path, _text(name, results)) for name, path in wanted]
    return [reason for reason in failed if reason]


def write_file(path: str, text: str) -> str | None:
    """Write a file; return why it could not be written, None if it was."""
    try:
        # A lone surrogate in a name must not cost the file.
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        return f"cannot write {path!r}: {error.strerror}"
    return None


def _text(name: str, results: Sequence[Result]) -> str:
    if name == "html":
        from refleak._html import page

        return page(results)
    if name == "sarif":
        from refleak._sarif import sarif

        return sarif(results)
    from refleak._junit import junit

    return junit(results)
