"""Build the C extension beside this file with the machine's own compiler."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_name("leaks.c")


def cannot_build() -> str | None:
    """Return None, or why the extension cannot be built here."""
    if sys.platform == "win32":
        return "the extension uses POSIX threads and mmap"
    if shutil.which(_compiler()[0]) is None:
        return f"no C compiler here ({_compiler()[0]} not found)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "this Python came without its headers (Python.h not found)"
    return None


def _compiler() -> list[str]:
    """Return the compiler that Python was built with, or cc where that one is not here."""
    built_with = (sysconfig.get_config_var("CC") or "cc").split()
    return built_with if shutil.which(built_with[0]) else ["cc"]


def build(directory: Path):
    """Compile into *directory* and return the imported module."""
    target = directory / f"leaks{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not target.exists():
        compile_extension(target)
    spec = importlib.util.spec_from_file_location("leaks", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_extension(target: Path) -> None:
    """Compile and link; the compiler's own words are in the error if it fails."""
    shared = (
        ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    )
    command = [*_compiler(), *shared, "-fPIC", "-O2", "-pthread", "-Wall"]
    command += [f"-I{sysconfig.get_path('include')}", str(SOURCE), "-o", str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{ran.stderr}")
