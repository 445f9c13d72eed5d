"""Results as one page of HTML: no other file, nothing fetched, no text of a report is code.

All texts go through :func:`_text`; the page's policy allows its own script and style only, by their
hashes, so that what came through in spite of that would do nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from refleak._format import plural, quantity, shorten, signed
from refleak._results import Result, last_line, leaking

if TYPE_CHECKING:
    from refleak._groups import Survivors
    from refleak._holders import Holder
    from refleak._origins import Origin
    from refleak._report import Report
    from refleak._verdict import Finding

MOST_CHARACTERS = 300
"""Longest text of one cell or box."""

MOST_TYPES = 200
"""Rows of a type table."""

WIDTH, HEIGHT, MARGIN = 240, 90, 8
"""Size of a plot, and what is left free around its line."""

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1d2430; --faint: #5b6675;
  --line: #d5dae2; --card: #f6f8fa; --bad: #b3261e; --bad-back: #fdecea; --good: #1a7f37;
  --accent: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14181e; --text: #e4e8ee; --faint: #9aa5b4; --line: #333c48;
    --card: #1c222b; --bad: #ff8a80; --bad-back: #3a1d1b; --good: #6fdd8b; --accent: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 2rem auto; padding: 0 1rem; max-width: 72rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 0 0 .8rem; }
h3 { font-size: .95rem; margin: 1.4rem 0 .4rem; color: var(--faint); }
a { color: var(--accent); } .faint { color: var(--faint); }
section { margin-top: 2rem; padding: 1.2rem 1.4rem; border: 1px solid var(--line);
  border-radius: 8px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
code, pre, .box { font-family: ui-monospace, monospace; font-size: .86rem; unicode-bidi: isolate; }
pre { margin: .3rem 0; padding: .6rem .8rem; background: var(--card); border-radius: 6px;
  overflow-x: auto; }
.name { min-width: 14rem; } .status { white-space: nowrap; overflow-wrap: normal; }
.leaked, .failed, .error { color: var(--bad); font-weight: 600; } .passed { color: var(--good); }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { width: 17rem; margin: 0; padding: .6rem .8rem; background: var(--card);
  border-radius: 6px; }
figcaption { font-size: .86rem; } svg { display: block; }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg .growth { stroke: var(--bad); stroke-width: 2; fill: none; }
svg circle { fill: var(--bad); }
.graph { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; margin: .5rem 0; }
.chains, .kinds { display: flex; flex-direction: column; gap: .4rem; }
.chain { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; margin: 0; padding: 0;
  list-style: none; }
.box { padding: .25rem .6rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--card); overflow-wrap: anywhere; }
.chain li + li::before, .graph .arrow::before { content: "\\2192"; color: var(--faint);
  margin-right: .4rem; }
.chain li { display: flex; align-items: center; }
.grew { border-color: var(--bad); background: var(--bad-back); }
.survivor { border-width: 2px; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { section { break-inside: avoid; } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table");
    const column = [...head.parentElement.children].indexOf(head);
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => {
      const cell = row.children[column];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const order = (a, b) => (key(a) > key(b)) - (key(a) < key(b));
    const rows = [...table.tBodies[0].rows].sort((a, b) => down ? order(b, a) : order(a, b));
    table.tBodies[0].append(...rows);
  });
}
"""


def page(results: Sequence[Result]) -> str:
    """Return the page: a table of the tests, if there is more than one, and a part for each leak.

    Where nothing leaks, the part tells of the first result that was judged.
    """
    title = _title(results)
    leaks = leaking(results)
    judged = ((each, each.report) for each in results if each.report is not None)
    told = leaks or list(islice(judged, 1))
    alone = len(results) == 1
    parts = [_section(number, report, alone=alone) for number, (_, report) in enumerate(told)]
    if not alone:
        numbers = {id(result): number for number, (result, _) in enumerate(told)}
        parts.insert(0, _overview(results, numbers))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            f'<p class="faint">refleak on {_text(_interpreter())}</p>',
            *parts,
            f"<script>{SCRIPT}</script></body></html>",
            "",
        ]
    )


def _title(results: Sequence[Result]) -> str:
    if len(results) == 1 and results[0].report is not None:
        return results[0].report.headline
    leaks = len(leaking(results))
    return f"{quantity(leaks)} of {plural(len(results), 'test')} leaked"


def _interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}"


def _policy() -> str:
    own = f"style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def _hash(code: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}"


def _text(text: object, limit: int = MOST_CHARACTERS) -> str:
    """Return a text as it may stand anywhere in the page: cut, and with all that is code escaped.

    Control characters, those that change the direction of writing among them, are made visible.
    """
    return html.escape(shorten(str(text), limit))


# --- the table of tests ------------------------------------------------------------------------


def _overview(results: Sequence[Result], numbers: dict[int, int]) -> str:
    counted = Counter(result.status for result in results)
    rows = [_overview_row(result, numbers.get(id(result))) for result in results]
    return (
        "<section>"
        f"<p>{_text(', '.join(f'{number:,} {status}' for status, number in counted.items()))}</p>"
        + _table(("test", "status", "growth", "seconds"), rows, numeric=("seconds",))
        + "</section>"
    )


def _overview_row(result: Result, number: int | None) -> list[str]:
    name = _text(result.name)
    if number is not None:
        name = f'<a href="#leak-{number}">{name}</a>'
    growth = result.report.growth if result.report is not None else ""
    kind = result.status.replace(" ", "-")
    return [
        f'<td class="name"><code>{name}</code></td>',
        f'<td class="status {_text(kind)}">{_text(result.status)}</td>',
        f"<td>{_text(growth or last_line(result.text))}</td>",
        _number(result.seconds, f"{result.seconds:.2f}"),
    ]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[str]) -> str:
    """Return a table that a click on a head sorts; *rows* are made of whole cells."""
    cells = "".join(
        f'<th scope="col"{_class(head in numeric)}><button>{head}</button></th>' for head in heads
    )
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _class(number: object) -> str:
    return ' class="number"' if number else ""


def _number(value: float, shown: str) -> str:
    return f'<td class="number" data-value="{value}">{_text(shown)}</td>'


# --- one leak ----------------------------------------------------------------------------------


def _section(number: int, report: Report, *, alone: bool) -> str:
    """Return the part that tells of one check; *alone* its headline is the page's."""
    diagnosis = report.diagnosis
    head = "" if alone else f"<h2>{_text(report.headline)}</h2>"
    parts = [f'<section id="leak-{number}">{head}']
    if report.findings:
        main = [each for each in report.findings if each.part_of is None]
        plots = "".join(map(_plot, main))
        parts.append(f'<h3>Growth</h3><div class="plots">{plots}</div>')
    if diagnosis is not None and report.findings:
        if diagnosis.survivors or diagnosis.unaccounted:
            parts.append("<h3>Held by</h3>")
            parts += map(_graph, diagnosis.survivors)
            parts += [f'<p class="box">{_text(each, 2000)}</p>' for each in diagnosis.unaccounted]
            if diagnosis.more:
                parts.append(f"<p>... and {diagnosis.more:,} more</p>")
        origins = diagnosis.all_origins()
        if origins:
            parts.append("<h3>Allocated at</h3>")
        parts += map(_origin, origins)
    parts += [_losses(report), _types(report), _facts(report)]
    parts.append(
        f"<details><summary>As text</summary><pre>{_whole(report)}</pre></details></section>"
    )
    return "\n".join(filter(None, parts))


def _whole(report: Report) -> str:
    return "\n".join(_text(line, 2000) for line in str(report).splitlines())


def _plot(finding: Finding) -> str:
    """Draw the growth over the measured rounds, summed up."""
    totals = [0]
    for delta in finding.deltas:
        totals.append(totals[-1] + delta)
    low, high = min(totals), max(totals)
    across = (WIDTH - 2 * MARGIN) / max(len(totals) - 1, 1)
    up = (HEIGHT - 4 * MARGIN) / max(high - low, 1)
    places = [
        (round(MARGIN + at * across, 1), round(HEIGHT - 2 * MARGIN - (total - low) * up, 1))
        for at, total in enumerate(totals)
    ]
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in places)
    line = " ".join(f"{x},{y}" for x, y in places)
    zero = places[0][1]
    said = f"{finding.quantity}: {' '.join(map(signed, finding.deltas))}"
    rate = f"{plural(finding.per_call, finding.unit)} per call"
    return (
        f"<figure><figcaption><b>{_text(finding.quantity)}</b><br>"
        f'<span class="faint">{_text(rate)}</span></figcaption>'
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{_text(said)}">'
        f'<path class="axis" d="M{MARGIN} {zero}H{WIDTH - MARGIN}"/>'
        f'<polyline class="growth" points="{line}"/>{dots}'
        f'<text x="{MARGIN}" y="{HEIGHT - 3}">0</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 3}" text-anchor="end">'
        f"{plural(len(finding.deltas), 'measured round')}</text>"
        f'<text x="{MARGIN}" y="12">{_text(signed(totals[-1]))}</text></svg></figure>'
    )


def _graph(group: Survivors) -> str:
    """Draw the chains that hold a group of survivors, and what those hold in turn."""
    chains = "".join(map(_chain, (group.holder, *group.also)))
    kinds = "".join(f'<div class="box survivor">{_text(kind)}</div>' for kind in group.kinds)
    inner = "".join(f'<div class="box">{_text(kind)}</div>' for kind in group.inner)
    rest = f'<span class="arrow"></span><div class="kinds">{inner}</div>' if inner else ""
    return (
        f'<div class="graph"><div class="chains">{chains}</div><span class="arrow"></span>'
        f'<div class="kinds">{kinds}</div>{rest}</div>'
    )


def _chain(holder: Holder) -> str:
    steps = [f'<li><span class="box">{_text(holder.root)}</span></li>'] if holder.root else []
    *way, last = holder.path.split(" -> ")
    steps += [f'<li><span class="box">{_text(step)}</span></li>' for step in way]
    grew = f"{signed(round(holder.per_call, 2))} per call" if holder.per_call else ""
    words = ", ".join(filter(None, (holder.container, holder.sizes, grew)))
    said = f"<b>{_text(last)}</b>" + (f"<br>{_text(words)}" if words else "")
    steps.append(f'<li><span class="box{" grew" if grew else ""}">{said}</span></li>')
    return f'<ol class="chain">{"".join(steps)}</ol>'


def _origin(origin: Origin) -> str:
    callers = [f"called from {caller}" for caller in origin.callers]
    lines = "\n".join(_text(line, 500) for line in (*origin.lines, *callers))
    return f'<pre>{lines}</pre><p class="faint">{_text(origin.amount)}</p>'


def _losses(report: Report) -> str:
    rows = [("Leaked", line) for entry in report.resources for line in entry.lines()]
    rows += report.cycles.rows() if report.cycles is not None else []
    return f"<h3>What stayed</h3>{_rows(rows)}" if rows else ""


def _types(report: Report) -> str:
    if not (report.findings and report.types):
        return ""
    rows = [
        [
            f"<td><code>{_text(each.name)}</code></td>",
            _number(each.instances, signed(each.instances)),
            _number(each.references, signed(each.references)),
        ]
        for each in report.types[:MOST_TYPES]
    ]
    left_out = len(report.types) - len(rows)
    return (
        f"<h3>Types: change over {plural(report.run, 'measured round')}</h3>"
        + _table(("type/class", "insts", "refs"), rows, numeric=("insts", "refs"))
        + (f"<p>... and {left_out:,} more</p>" if left_out else "")
    )


def _facts(report: Report) -> str:
    return f"<h3>How sure</h3>{_rows(report.facts())}"


def _rows(rows: Sequence[tuple[str, str]]) -> str:
    said = "".join(f"<dt>{_text(label)}</dt><dd>{_text(text, 2000)}</dd>" for label, text in rows)
    return f"<dl>{said}</dl>"
