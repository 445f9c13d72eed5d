"""Runs this interpreter in a process of its own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def python(
    *arguments: str, folder: Path | None = None, merged: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` in *folder* and return what it printed, as text.

    *merged*: what goes to stderr is part of ``stdout``, in its place. *variables* are added to the
    environment.
    """
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
