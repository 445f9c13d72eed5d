"""What holds for all tests."""

from __future__ import annotations

import pytest

SURROUNDINGS = (
    *("REFLEAK", "CI", "BUILD_NUMBER", "GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS"),
    "PYTHONDONTWRITEBYTECODE",
)
"""Variables that change what refleak does, or what the tools print that the tests start: pytest,
for one, prints whole messages where it believes that nobody can ask again. Without its bytecode,
refleak is compiled anew in each of the hundreds of processes."""


@pytest.fixture(scope="session", autouse=True)
def surroundings():
    """Take away, while the tests run, what is a matter of the machine they run on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SURROUNDINGS:
            patch.delenv(name, raising=False)
        yield
