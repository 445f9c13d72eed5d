"""Every example is run as a user runs it, and its report must say the essentials."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from normalising import normalised
from running import ROOT, python

EXAMPLES = ROOT / "examples"
MOST_LINES = 40
LABELS = 15
"""Columns that the labels of a report take, with their indentation."""


@dataclass(frozen=True)
class Leak:
    """What a report must say; ``line`` is the source line that allocates, None where unknown.

    ``grows`` are types of the table whose instances or references grow with every round.
    """

    headline: str
    grows: tuple[str, ...]
    held_by: str
    line: str | None = None
    function: str = ""


LEAKS = {
    "forgotten_callback.py": Leak(
        "test_widget leaked 4 references",
        ("__main__.Widget", "method"),
        "module __main__ -> on_click (list, # -> # items) -> bound method Widget.clicked -> Widget",
        "on_click.append(self.clicked)",
        "Widget.__init__",
    ),
    "missing_decref.py": Leak(
        "test_draw leaked 2 references",
        ("__main__.Texture",),
        "native code: # x __main__.Texture per call",
        "texture = Texture()",
        "test_draw",
    ),
    "suspicious_block.py": Leak(
        "the block at suspicious_block.py:17 leaked 1 object",
        ("__main__.Session",),
        "module __main__ -> Session.opened (dict, # -> # items) -> ",
    ),
    "suspicious_call.py": Leak(
        "parse leaked ",  # 4 references before 3.11: each instance had a dict
        ("__main__.Document",),
        "module __main__ -> history (list, # -> # items) -> Document",
        "document = Document(text)",
        "parse",
    ),
    "suspicious_loop.py": Leak(
        "the loop at suspicious_loop.py:12 leaked 3 references",
        ("__main__.Visitor", "int"),
        "module __main__ -> seen (dict, # -> # items) -> Visitor",
        "visitor = Visitor()",
        "<module>",
    ),
    "test_async.py": Leak(
        "test_fetch leaked ",  # 2 references before 3.12: Future was a static type
        ("_asyncio.Future",),
        "module __main__ -> waiting (list, # -> # items) -> Future",
        "answer = asyncio.get_running_loop().create_future()",
        "fetch",
    ),
    "test_faucet.py": Leak(
        "test_faucet leaked ",  # 1 reference; debug builds before 3.12 count a dict's key table too
        ("dict",),
        "module __main__ -> faucet.drops (list, # -> # items) -> dict",
        "self.drops.append({})",
        "Faucet.drip",
    ),
    "test_zope_leak.py": Leak(
        "TestLeak.test_leaky leaked 4 references",
        ("__main__.Leakable", "float", "tuple"),
        "module __main__ -> leaked (list, # -> # items) -> tuple",
        "leaked.append((Leakable(), time.time()))",
        "TestLeak.test_leaky",
    ),
}

CLEAN = {"cache_is_no_leak.py": "still filling: __main__.parse.lru_cache #/10,000"}

PUBLISHED = {
    "wrapt_round.py": "wrapt==2.1.2",
    "structlog_locks.py": "structlog==25.5.0",
    "msgpack_unpacker.py": "msgpack==1.0.7",
}
"""Examples of leaks in published packages: what must be installed. Beside each lies its report."""


def run(name: str, *, path: Path | None = None) -> CompletedProcess[str]:
    """Run an example from the root of the checkout; *path* is searched for packages first."""
    packages = os.pathsep.join(map(str, filter(None, (path, ROOT))))
    return python(f"examples/{name}", folder=ROOT, merged=True, PYTHONPATH=packages)


def rows(report: str, label: str) -> list[str]:
    """Return the texts of a report's explanations under *label*, numbers of items left out."""
    found, current = [], ""
    for line in joined(report).splitlines():
        current = line[2:LABELS].strip() or current
        if current == label:
            found.append(" ".join(without_counts(line[LABELS:]).split()))
    return found


def joined(report: str) -> str:
    """Undo the wrapping of long lines."""
    return re.sub(r"\n {17}(?=\S)", " ", report)


def without_counts(text: str) -> str:
    """Put ``#`` for the numbers that depend on how many rounds there was time for."""
    text = re.sub(r"\((\w+), [\d,]+ -> [\d,]+ items", r"(\1, # -> # items", text)
    text = re.sub(r"[\d.]+ x ", "# x ", text)
    return re.sub(r"[\d,]+/", "#/", text)


def growing(report: str) -> set[str]:
    """Return the types which the table says have grown."""
    return set(re.findall(r"^  (\S+) +(?:\+\d+|0) +\+\d+$", report, re.MULTILINE)) - {"total"}


def number_of(name: str, source: str) -> int:
    """Return the number of the line of an example that holds *source*."""
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.strip() == source)


def installed(requirement: str, folder: Path) -> None:
    """Put a package into *folder*, without what it needs; skip the test where that cannot be."""
    # A wheel's inlined reference counting is not what a debug build counts.
    kind = "--no-binary" if hasattr(sys, "gettotalrefcount") else "--only-binary"
    options = ["-q", "--target", str(folder), "--no-deps", kind, requirement.partition("==")[0]]
    made = python("-m", "pip", "install", *options, requirement)
    if made.returncode:
        pytest.skip(f"{requirement} is not to be had here: {made.stderr.strip()[-200:]}")


def test_every_example_is_tested():
    """An example that no test runs fails the suite."""
    expected = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    reports = {f"{Path(name).stem}.txt" for name in PUBLISHED}
    assert expected == LEAKS.keys() | CLEAN.keys() | PUBLISHED.keys() | reports


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(path):
    """An example shows one idea in less than 40 lines, and says which in its first."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert MOST_LINES > len(lines)
    assert '"""' == lines[0][:3]


@pytest.mark.parametrize("name", LEAKS)
def test_leak(name):
    """A leaking example says what leaks, its types, where it was allocated and who holds it."""
    leak = LEAKS[name]
    ran = run(name)
    report = ran.stdout
    assert 1 == ran.returncode
    assert f"LeakError: {leak.headline}" in report
    assert set(leak.grows) <= growing(report), report
    assert any(row.startswith(leak.held_by) for row in rows(report, "Held by")), report
    if leak.line:
        place = f"examples/{name}:{number_of(name, leak.line)} in {leak.function} {leak.line}"
        assert any(row.startswith(place) for row in rows(report, "Allocated at")), report


@pytest.mark.parametrize("name", CLEAN)
def test_no_leak(name):
    """An example of what is no leak passes, and its report says why that grew."""
    ran = run(name)
    assert 0 == ran.returncode, ran.stdout
    assert CLEAN[name] in rows(ran.stdout, "Note")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_leak(name, tmp_path):
    """The report on a package that leaks is the one that lies beside the example."""
    if name == "msgpack_unpacker.py" and sys.version_info[:2] != (3, 12):
        pytest.skip("msgpack 1.0.7 leaks on Python 3.12 only")
    installed(PUBLISHED[name], tmp_path)
    if name == "wrapt_round.py" and not [*tmp_path.glob("wrapt/_wrappers.*.*")]:
        pytest.skip("this wrapt comes without its C extension here")
    report = run(name, path=tmp_path).stdout.partition("refleak.LeakError: ")[2]
    expected = (EXAMPLES / name).with_suffix(".txt").read_text(encoding="utf-8")
    assert rows(expected, "Held by") == rows(report, "Held by")
    if sys.version_info >= (3, 12):  # before, fewer types of the standard library are on the heap
        assert normalised(expected) == normalised(report.replace(str(tmp_path), "old"))


def test_wrapt_is_mended():
    """Under the wrapt that refleak was installed with, the same example does not leak."""
    import wrapt

    if tuple(map(int, wrapt.__version__.split(".")[:2])) < (2, 2):
        pytest.skip(f"wrapt {wrapt.__version__} still leaks")
    assert (0, "") == ((ran := run("wrapt_round.py")).returncode, ran.stdout)


@pytest.mark.parametrize("name", ["test_faucet.py", "test_zope_leak.py"])
def test_as_pytest_files(name):
    """Examples named test_*.py are ordinary test files, which pytest runs too."""
    ran = python("-m", "pytest", "-q", "-p", "no:cacheprovider", f"examples/{name}", folder=ROOT)
    assert "1 failed, 1 passed" in ran.stdout
    assert LEAKS[name].headline in ran.stdout
