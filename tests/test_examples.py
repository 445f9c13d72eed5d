"""Every example is run as a user runs it, and its report must say the essentials."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from running import ROOT, python

EXAMPLES = ROOT / "examples"
MOST_LINES = 40
LABELS = 15
"""Columns that the labels of a report take, with their indentation."""
OLD_WRAPT = "2.1.2"


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

ELSEWHERE = {"wrapt_round.py"}
"""Tested by a test of its own below."""


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


@pytest.fixture(scope="module")
def old_wrapt(tmp_path_factory) -> Path:
    """A folder with the wrapt that leaks, for this interpreter."""
    folder: Path = tmp_path_factory.mktemp("wrapt")
    # A wheel's inlined reference counting is not what a debug build counts.
    kind = "--no-binary" if hasattr(sys, "gettotalrefcount") else "--only-binary"
    options = ["-q", "--target", str(folder), "--no-deps", kind, "wrapt"]
    made = python("-m", "pip", "install", *options, f"wrapt=={OLD_WRAPT}")
    if made.returncode:
        pytest.skip(f"wrapt {OLD_WRAPT} is not to be had here: {made.stderr.strip()[-200:]}")
    if not [*folder.glob("wrapt/_wrappers.*.so"), *folder.glob("wrapt/_wrappers.*.pyd")]:
        pytest.skip(f"wrapt {OLD_WRAPT} comes without its C extension here")
    return folder


def test_every_example_is_tested():
    """An example that no test runs fails the suite."""
    expected = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert expected == LEAKS.keys() | CLEAN.keys() | ELSEWHERE


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


def test_wrapt_leaks_round(old_wrapt):
    """The report on wrapt 2.1.2 names ``builtins.round``, which no container accounts for."""
    ran = run("wrapt_round.py", path=old_wrapt)
    held_by = " ".join(rows(ran.stdout, "Held by"))
    assert "LeakError: test_round leaked" in ran.stdout
    assert "builtins.round" in held_by
    assert "no container accounts for" in held_by


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
