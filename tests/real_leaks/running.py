"""Install a version of a package, and judge a subject with it in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
MARK = "verdict: "
LIMIT = 240
"""Seconds for one verdict."""

CANNOT_INSTALL = "cannot install"


@dataclass(frozen=True)
class Case:
    """A published leak: a version that has it, and one that has not.

    ``type``, ``line`` and ``holder`` are what a report should name, in its words; None where there
    is nothing of the kind (malloc's bytes have no type, an old object was not allocated just now).
    ``not_named`` are those of them that refleak's report does not name.
    ``fixed_ignore`` are types to which the fixed version goes on to leak references.
    """

    name: str
    package: str
    leaky: str
    fixed: str
    python: str
    source: str
    type: str | None
    line: str | None
    holder: str | None
    not_named: tuple[str, ...] = ()
    fixed_ignore: tuple[str, ...] = ()

    @property
    def subject(self) -> Path:
        """Return the file that defines ``work()``."""
        return HERE / "subjects" / f"{self.name}.py"

    def named(self, text: str) -> dict[str, bool]:
        """Tell for each of type, line and holder that there is, whether a report names it."""
        text = re.sub(r"\n {14,}", " ", text)
        wanted = {"type": self.type, "line": self.line, "holder": self.holder}
        return {fact: name in text for fact, name in wanted.items() if name is not None}


def cases() -> list[Case]:
    """Return the table beside this file."""
    return [Case(**case) for case in json.loads((HERE / "cases.json").read_text(encoding="utf-8"))]


def innocents() -> list[Path]:
    """Return the files whose ``work()`` leaks nothing."""
    return sorted((HERE / "innocents").glob("*.py"))


def install(package: str, version: str, folder: Path) -> str | None:
    """Install into *folder* and return None, or why that failed."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
            "--target",
            str(folder),
            f"{package}=={version}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if ran.returncode == 0 else f"{CANNOT_INSTALL}: {ran.stderr.strip()[-300:]}"


def verdict(subject: Path, folder: Path | None = None, ignore: tuple[str, ...] = ()) -> dict:
    """Return what ``find_leaks(work)`` says at default settings, packages of *folder* first."""
    path = [str(folder)] if folder else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, str(CHECKOUT)])}
    ran = subprocess.run(
        [sys.executable, str(HERE / "judge.py"), str(subject), *ignore],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment,
        check=False,
    )
    for line in ran.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    raise RuntimeError(f"no verdict (status {ran.returncode}): {ran.stderr[-800:]}")
