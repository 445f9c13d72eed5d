"""The code of the README and of docs/ is run and must print what they show.

    python tests/test_readme.py --update [PAGE ...]

writes what the running interpreter prints into these pages (docs/tutorial, README; all of them if
none is named), where it differs in more than what :mod:`normalising` leaves out.

A ```` ```python title=FILE ```` block is a file, which the commands of the ```` ```console ````
blocks run; a block without a title is run by itself and prints nothing. A command finds the files
that the page shows above it, so a page may show a file again, changed. Settings are files
too: ```` ```ini title=pytest.ini ````.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from normalising import DIFFERS, normalised
from running import ROOT, python

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, language, title, text, and the number of its first line."""

    page: Path
    language: str
    title: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"{name_of(self.page)} line {self.line}"

    @property
    def file(self) -> str:
        """The name of the file that the block is put into."""
        return self.title or f"block_{self.line}.py"

    def calls(self) -> list[Call]:
        """Return the commands of a console block and what each prints."""
        parts = re.split(r"(?m)^\$ (.*)\n?", self.text)[1:]
        return [
            Call(self.page, self.line, command, shown)
            for command, shown in zip(parts[::2], parts[1::2], strict=True)
        ]


@dataclass(frozen=True)
class Call:
    """A command: its page, the first line of its block, and what the page says that it prints."""

    page: Path
    line: int
    command: str
    shown: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}: {self.command}"

    def run(self, folder: Path) -> str:
        """Run it where the files are that the page shows above it; return what it prints."""
        write_files(self.page, folder, self.line)
        return run(self.command, folder).stdout


def name_of(page: Path) -> str:
    """Name a page: README, docs/how-to/pytest."""
    return page.relative_to(ROOT).with_suffix("").as_posix()


def blocks(page: Path, language: str) -> list[Block]:
    """Return the fenced blocks of one language."""
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(r"(?ms)^```(\w+)(?: title=(\S+))?\n(.*?)^```$", text)
    return [
        Block(page, found[1], found[2] or "", found[3], text.count("\n", 0, found.start(3)) + 1)
        for found in fences
        if found[1] == language
    ]


def write_files(page: Path, folder: Path, end: int) -> None:
    """Put the files that a page shows above line *end* into *folder*."""
    for block in sorted(files(page), key=lambda block: block.line):
        path = folder / block.file
        if block.line < end:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")


def files(page: Path) -> list[Block]:
    """Return the blocks of a page that are files."""
    return [*blocks(page, "python"), *blocks(page, "ini")]


VARIABLES = {
    "PYTHONPATH": str(ROOT),
    "PYTEST_ADDOPTS": "-p no:cacheprovider",
    "NO_COLOR": "1",
    "COLUMNS": "80",
    "PYTHONDONTWRITEBYTECODE": "1",  # a file shown again may be as old and as long as before
}


def run(command: str, folder: Path) -> CompletedProcess[str]:
    """Run a command, ``python ...``, with this interpreter and this checkout."""
    program, *arguments = shlex.split(command)
    assert "python" == program
    return python(*arguments, folder=folder, merged=True, **VARIABLES)


PYTHON = [block for page in PAGES for block in blocks(page, "python")]
CALLS = [call for page in PAGES for block in blocks(page, "console") for call in block.calls()]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[Path, Path]:
    """A folder for each page."""
    return {page: tmp_path_factory.mktemp(page.stem) for page in PAGES}


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_command(call, folders):
    """A command prints what the page shows."""
    assert normalised(call.shown) == normalised(call.run(folders[call.page]))


@pytest.mark.parametrize("block", [each for each in PYTHON if not each.title], ids=str)
def test_block_by_itself(block, folders):
    """A block without a name runs to its end and prints nothing."""
    write_files(block.page, folders[block.page], block.line + 1)
    ran = run(f"python {block.file}", folders[block.page])
    assert (0, "") == (ran.returncode, ran.stdout)


def test_every_file_is_run():
    """No file is left out: one of its page's commands names it, or another file imports it."""
    named = {(call.page, word) for call in CALLS for word in re.findall(r"[\w./-]+", call.command)}
    named |= {
        (block.page, module)
        for block in PYTHON
        for module in re.findall(r"(?m)^(?:from|import) (\w+)", block.text)
    }
    named |= {(page, f"{word}.py") for page, word in named}
    assert {(block.page, block.title) for block in PYTHON if block.title} <= named


def test_no_other_code_blocks():
    """Each block is a file, a console or a shell command: nothing else is shown untested."""
    known = {"python", "ini", "console", "sh", "yaml"}
    for page in PAGES:
        openings = re.findall(r"(?m)^```(.*)$", page.read_text(encoding="utf-8"))[::2]
        assert known >= {opening.partition(" ")[0] for opening in openings}


def test_settings_of_ci_run_what_the_page_runs():
    """Each command in a YAML block is one that the page runs in a console block too."""
    for page in PAGES:
        runs = {
            command
            for block in blocks(page, "yaml")
            for command in re.findall(
                r"(?m)^\s*(?:- )?run: (python -m (?:pytest|refleak).*)$", block.text
            )
        }
        assert runs <= {call.command for call in CALLS if call.page == page}


def test_first_screen_is_the_example():
    """The first block is the example that the first command runs, word for word."""
    first = PYTHON[0]
    assert first.text == (ROOT / first.title).read_text(encoding="utf-8")
    assert first.title in next(iter(commands()))


def test_two_commands():
    """There is one line that shows a leak and one that passes the tests, as .ci/run finds them."""
    assert ["examples/", "pytest"] == [
        next(word for word in ("examples/", "pytest") if word in command) for command in commands()
    ]


def commands() -> Iterator[str]:
    """Yield the lines of the shell blocks."""
    for block in blocks(README, "sh"):
        yield from block.text.splitlines()


def test_never_another_projects_name():
    """No text tells to install ``refleak``, which is another project's distribution."""
    for path in (*PAGES, *ROOT.glob("examples/*.py"), ROOT / "CHANGELOG.md"):
        assert not re.search(r"pip install (-\S+ )*refleak", path.read_text(encoding="utf-8"))


def test_links_lead_somewhere():
    """Links to files of the repository have a target."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def updated(page: Path, folder: Path) -> str:
    """Return a page's text with what its commands print now, where that differs."""
    consoles = iter([shown_now(block, folder) for block in blocks(page, "console")])
    text = page.read_text(encoding="utf-8")
    return re.sub(r"(?ms)^```console\n.*?^```$", lambda _: f"```console\n{next(consoles)}```", text)


def shown_now(block: Block, folder: Path) -> str:
    """Return the text of a console block with what its commands print now, where that differs."""
    shown = ""
    for call in block.calls():
        printed = tidied(call.run(folder))
        shown += f"$ {call.command}\n"
        shown += call.shown if normalised(call.shown) == normalised(printed) else printed
    return shown


def tidied(printed: str) -> str:
    """Return what a command prints, without frames of tracebacks, the time it took, and chance."""
    for pattern, substitute in DIFFERS:
        if not substitute or "..." in substitute:
            printed = re.sub(pattern, substitute, printed)
    return "".join(f"{line.rstrip()}\n" for line in printed.strip().splitlines())


if __name__ == "__main__":
    if sys.argv[1:2] != ["--update"]:
        sys.exit(__doc__)
    for each in [page for page in PAGES if name_of(page) in (sys.argv[2:] or [name_of(page)])]:
        with tempfile.TemporaryDirectory() as scratch:
            each.write_text(updated(each, Path(scratch)), encoding="utf-8")
