"""Run a package's own tests with and without ``-R``: same outcomes, what leaks, at what cost."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

Outcomes = dict[str, tuple[str, str]]
"""By test: its outcome without leaks, and what leaked, empty if nothing."""


def main() -> int:
    """Compare; exit with 1 if a test's outcome is another one with -R.

    Further arguments are pytest's.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", help="what pip calls it: name, or name==version")
    parser.add_argument("--tests", nargs="*", default=["tests"], help="in the source distribution")
    parser.add_argument("--needs", nargs="*", default=[], help="what the tests need besides pytest")
    parser.add_argument("-R", dest="rounds", default=":", help="STAB:RUN")
    options, options.more = parser.parse_known_args()
    folder = Path(tempfile.mkdtemp(prefix="suite-cost-"))
    try:
        return compare(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(folder: Path, options: argparse.Namespace) -> int:
    """Prepare an environment, run the tests twice in it, and print what differs."""
    python = environment(folder / "environment")
    sources = unpacked(python, folder, options.package)
    pip(python, "install", str(sources), "-e", f"{CHECKOUT}[test]", *options.needs)
    command = [*options.tests, *options.more]
    plain, plain_seconds = run(python, sources, command)
    repeated, seconds = run(python, sources, [*command, "-R", options.rounds])
    print(f"{sources.name} on Python {sys.version.split()[0]}, -R {options.rounds}")
    for title, found in (("without", plain), ("with -R", repeated)):
        print(f"  {title}: {dict(Counter(outcome for outcome, _ in found.values()))}")
    leaks = {name: leak for name, (_, leak) in repeated.items() if leak}
    print(f"  leaked: {len(leaks)}")
    for name, leak in leaks.items():
        print(f"    {name}: {leak}")
    names = sorted(plain.keys() | repeated.keys())
    absent = ("absent", "")
    differ = [
        (name, before, after)
        for name in names
        if (before := plain.get(name, absent)[0]) != (after := repeated.get(name, absent)[0])
    ]
    print(f"  other outcomes with -R: {len(differ)}")
    for name, before, after in differ:
        print(f"    {name}: {before} -> {after}")
    ratio = seconds / plain_seconds
    print(f"  wall time: {plain_seconds:.1f} s -> {seconds:.1f} s, {ratio:.1f} times")
    return int(bool(differ))


def environment(folder: Path) -> str:
    """Make a virtual environment; return its interpreter."""
    venv.create(folder, with_pip=True)
    return str(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


def pip(python: str, *arguments: str) -> None:
    """Run pip."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    subprocess.run(command, check=True)


def unpacked(python: str, folder: Path, package: str) -> Path:
    """Download and unpack the source distribution."""
    pip(python, "download", "--no-deps", "--no-binary", ":all:", "-d", str(folder), package)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):  # not yet in 3.11.2
            opened.extraction_filter = tarfile.data_filter
        opened.extractall(folder)
    return folder / archive.name.removesuffix(".tar.gz")


def run(python: str, sources: Path, arguments: list[str]) -> tuple[Outcomes, float]:
    """Run the tests; return their outcomes and the seconds it took.

    The package's own options (coverage, other plugins) are left out. Isolated mode keeps the
    sources, which may lack compiled modules, from hiding the installed package.
    """
    file = sources / "junit.xml"
    options = ["-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={file}", "-v"]
    command = [python, "-I", "-m", "pytest", *options, *arguments]
    began = time.monotonic()
    done = subprocess.run(command, cwd=sources, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    _, title, reports = done.stdout.partition(" leaks summary ")
    print(title + reports, end="")
    found: Outcomes = {}
    for case in ET.parse(file).iter("testcase"):
        ended = [each.tag for each in case if each.tag in ("failure", "error", "skipped")]
        leaks = [
            each for each in case.iter("property") if each.get("name", "").startswith("leaked")
        ]
        leak = ", ".join(f"{each.get('name')} {each.get('value')}" for each in leaks)
        found[f"{case.get('classname')}.{case.get('name')}"] = (" ".join(ended) or "passed", leak)
    return found, seconds


if __name__ == "__main__":
    sys.exit(main())
