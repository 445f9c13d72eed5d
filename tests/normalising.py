"""What of a printed report is the same on every build, version and run."""

from __future__ import annotations

import re

DIFFERS = (
    # Where a long line of a report is wrapped depends on the numbers in it.
    (r"\n {17,}(?=\S)", " "),
    (r"(?<=\S)   (?=\S)", " "),
    # A traceback's frames have paths, and markers below them from 3.11 on.
    (r"(?m)^(Traceback \(most recent call last\):\n)(?:  .*\n)+", r"\1  ...\n"),
    # How many blocks an object takes, and their size, is each build's own business, and
    # whether malloc's steps under them show in a few rounds is chance.
    (r"\d+(?:\.\d+)? memory blocks?\b", "# memory blocks"),
    (r"(?m)^( *memory blocks )[-+. \d]+(?:then .*)?$", r"\1 #"),
    (r"memory blocks: \[[-, \d]+\]", "memory blocks: [#]"),
    (r"\d[\d,.]* (?:B|KiB|MiB) per call", "# B per call"),
    (r", native heap: \[[-, \d]+\]", ""),
    # The growth of a container and the rounds depend on how many there was time for.
    (r"\(([\w.]+), [\d,]+ -> [\d,]+ items", r"(\1, # -> # items"),
    (r"[\d,]+ more to be sure", "# more to be sure"),
    (r"sys\.gettotalrefcount\(\) \(debug build\)|heap census \(release build\)", "#"),
    (r"(?m)\bin \d+\.\d+s$", "in ...s"),
    # unittest names the method within the parentheses too, from 3.11 on.
    (r"(?m)^(\w+: )?(test_\w+) \((\S+)\.\2\)", r"\1\2 (\3)"),
    # 3.12.1 does not count the tests that it skips.
    (r"(?m)^(Ran|LEAKED \(\d+ of) \d+ tests?\b", r"\1 # tests"),
)
"""What differs between builds, versions and runs: patterns, and what stands for them."""


def normalised(text: str) -> list[str]:
    """Return the lines of *text* without what differs between builds, versions and runs."""
    for pattern, substitute in DIFFERS:
        text = re.sub(pattern, substitute, text)
    return [line.rstrip() for line in text.strip().splitlines()]
