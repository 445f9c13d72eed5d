"""Side by side with psleak on the C extension of the tests: calls needed, seconds, verdicts.

    python benchmarks/versus_psleak.py

installs psleak and this checkout into an environment of its own (a temporary folder), runs each
check in a process of its own - psleak as its README says, with PYTHONMALLOC=malloc and
PYTHONUNBUFFERED=1, refleak at its defaults - and prints a table.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SUBJECTS = (
    "malloc",
    "small_malloc",
    "big_malloc",
    "calloc",
    "realloc",
    "raw_malloc",
    "pymem",
    "pyobject_malloc",
    "object",
    "mmap",
    "descriptor",
    "thread",
    "thread_not_joined",
)

PSLEAK_ENVIRONMENT = {"PYTHONMALLOC": "malloc", "PYTHONUNBUFFERED": "1"}


def main() -> None:
    """Run every subject, leaking and not, under both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fail", action="store_true", help="the error path of every function")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker, fail=arguments.fail)
    with tempfile.TemporaryDirectory() as folder:
        python = make_environment(Path(folder))
        print(header(python))
        for name in SUBJECTS:
            for leak in (True, False):
                results = [
                    run(python, folder, tool, name, leak=leak, fail=arguments.fail)
                    for tool in ("refleak", "psleak")
                ]
                print(row(name, leak=leak, results=results), flush=True)


def make_environment(folder: Path) -> str:
    """Make an environment with both in *folder*; return its Python."""
    venv.create(folder / "environment", with_pip=True)
    scripts = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = str(folder.joinpath("environment", *scripts))
    packages = ["psleak", "pytest", str(ROOT)]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def run(python: str, folder: str, tool: str, name: str, *, leak: bool, fail: bool) -> dict:
    """Run one check in its own process; return its calls, seconds and verdict."""
    environment = dict(os.environ, **(PSLEAK_ENVIRONMENT if tool == "psleak" else {}))
    command = [python, __file__, "--worker", folder, tool, name, "leak" if leak else ""]
    ran = subprocess.run(
        command + ["--fail"] * fail,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=600,
    )
    if ran.returncode:
        last = ran.stderr.strip().rpartition("\n")[2]
        return {"calls": 0, "seconds": 0.0, "verdict": f"crashed: {last}"}
    return json.loads(ran.stdout.splitlines()[-1])


def work(folder: str, tool: str, name: str, leak: str, *, fail: bool) -> None:
    """Make one check, print the result, and leave without waiting for leaked threads."""
    sys.path.insert(0, str(ROOT / "tests"))
    from native import building

    function = getattr(building.build(Path(folder)), name)
    calls = 0

    def subject() -> None:
        nonlocal calls
        calls += 1
        try:
            function(bool(leak), fail)
        except ValueError:
            if not fail:
                raise

    importlib.import_module(tool)  # not timed
    check = {"refleak": check_with_refleak, "psleak": check_with_psleak}[tool]
    began = time.perf_counter()
    verdict = check(subject)
    seconds = time.perf_counter() - began
    print(json.dumps({"calls": calls, "seconds": seconds, "verdict": verdict}), flush=True)
    os._exit(0)


def check_with_refleak(subject: Callable[[], None]) -> str:
    """Judge at the defaults; the verdict is the leaking quantities."""
    from refleak import find_leaks

    report = find_leaks(subject)
    return ", ".join(finding.quantity for finding in report.findings) or "clean"


def check_with_psleak(subject: Callable[[], None]) -> str:
    """Judge at the defaults; the verdict is the class of the error."""
    from psleak import MemoryLeakTestCase

    class Case(MemoryLeakTestCase):
        def runTest(self) -> None:  # noqa: N802  # unittest's name
            self.execute(subject)

    case = Case()
    case.setUp()
    try:
        case.runTest()
    except AssertionError as error:
        return type(error).__name__
    return "clean"


def header(python: str) -> str:
    """Return the versions and the head of the table."""
    program = "import sys, psleak, psutil; print(sys.version.split()[0], psutil.__version__)"
    ran = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    versions = "CPython {}, psutil {}".format(*ran.stdout.split())
    return "\n".join(
        (
            f"{versions}; calls, seconds, verdict",
            "",
            "| function | does | refleak | | | psleak | | |",
            "|---|---|---:|---:|---|---:|---:|---|",
        )
    )


def row(name: str, *, leak: bool, results: list[dict]) -> str:
    """Return one line of the table."""
    cells = [f"{r['calls']:,} | {r['seconds']:.2f} | {r['verdict']}" for r in results]
    return f"| {name} | {'leaks' if leak else 'is clean'} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
