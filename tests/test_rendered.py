"""Files as others read them: pages in Chromium, SARIF by its schema. Run by ``.ci/run``.

Chromium is Debian's, what drives it (playwright-core) and the schema (in a package of Microsoft's)
are npm's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_files import HOSTILE, SESSION, hostile, leak

from refleak._html import page
from refleak._results import result_of
from refleak._sarif import sarif

pytestmark = pytest.mark.rendered

VISIT = Path(__file__).parent / "rendered" / "visit.mjs"
PLAYWRIGHT = "playwright-core@1"
SCHEMA = "@microsoft/jest-sarif@1.0.0-beta.0"


def npm(folder, package):
    """Install a package of npm's into *folder*; return where its files are."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run([*command, "--prefix", str(folder), package], check=True, capture_output=True)
    return folder / "node_modules" / package.rpartition("@")[0]


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """Return a function that opens a page in Chromium and tells what was seen."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    playwright = npm(tmp_path_factory.mktemp("playwright"), PLAYWRIGHT)

    def visited(text, folder):
        (folder / "page.html").write_text(text, encoding="utf-8", errors="backslashreplace")
        ran = subprocess.run(
            ["node", str(VISIT), str(folder / "page.html"), str(folder)],
            env={**os.environ, "CHROMIUM": chromium, "PLAYWRIGHT": str(playwright.parent)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == ran.returncode, ran.stderr
        return json.loads(ran.stdout)

    return visited


def test_a_session_is_shown(visit, tmp_path):
    """All is there, nothing is fetched, nothing is wrong, it fits; screenshots are taken."""
    seen = visit(page(SESSION), tmp_path)
    assert ["page"] == seen["requests"]
    assert [] == seen["messages"] == seen["dialogs"]
    assert not seen["wide"]
    for text in ("2 of 7 tests leaked", "test_broken", "app.Thing", "9 -> 13 items"):
        assert text in seen["text"]
    assert all((tmp_path / f"{scheme}.png").stat().st_size for scheme in ("light", "dark"))


def test_light_and_dark(visit, tmp_path):
    """Dark text on light ground, and the other way round."""
    shades = visit(page(SESSION), tmp_path)["shades"]
    brightness = {
        scheme: [sum(map(int, shade.strip("rgb()").split(","))) for shade in pair]
        for scheme, pair in shades.items()
    }
    assert brightness["light"][0] > brightness["light"][1]
    assert brightness["dark"][0] < brightness["dark"][1]


def test_a_click_sorts_by_a_column(visit, tmp_path):
    """Numbers as numbers, names as text; largest first, and then the other way round."""
    orders = visit(page(SESSION), tmp_path)["orders"]
    assert {"test", "status", "growth", "seconds"} == set(orders)
    down, up = orders["seconds"]
    assert [1.5, 0.5, 0.25, 0.1, 0, 0, 0] == list(map(float, down))
    assert down == up[::-1]
    down, up = orders["test"]
    assert sorted(up) == up == down[::-1]


def test_one_report_is_shown(visit, tmp_path):
    """Its type table can be sorted too."""
    seen = visit(leak().to_html(), tmp_path)
    assert ["page"] == seen["requests"]
    assert [] == seen["messages"] == seen["dialogs"]
    assert [["+16", "+4"], ["+4", "+16"]] == seen["orders"]["refs"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_text_does_nothing(visit, tmp_path, text):
    """No script of it runs, nothing is fetched, and the page still fits."""
    seen = visit(page(hostile(text)), tmp_path)
    assert ["page"] == seen["requests"]
    assert [] == seen["messages"] == seen["dialogs"]
    assert not seen["wide"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="a part of jsonschema is compiled")
def test_sarif_is_of_its_schema(tmp_path_factory):
    """The log is valid by the schema of SARIF 2.1.0, with leaks, without, and with hostile text."""
    jsonschema = pytest.importorskip("jsonschema")
    (file,) = npm(tmp_path_factory.mktemp("sarif"), SCHEMA).rglob("sarif-2.1.0*.json")
    schema = json.loads(file.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    for results in (SESSION, [], [result_of(leak(diagnosis=None))], *map(hostile, HOSTILE)):
        log = json.loads(sarif(results))
        assert [] == [error.message for error in validator.iter_errors(log)]
    assert [] != list(validator.iter_errors({"version": "2.1.0", "runs": [{"results": []}]}))
