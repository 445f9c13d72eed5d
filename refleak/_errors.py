"""The one exception, and the one warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refleak._report import Report


class LeakError(AssertionError):
    """Raised when the code under test leaks; its text is the report.

    ``report`` is the frozen :class:`refleak.Report`: deltas, types, origin, holders and what
    could not be judged. An ``AssertionError``, so that every test framework counts a leak as a
    failed test and not as an error in it.
    """

    __module__ = "refleak"  # what tracebacks call it

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report

    def __reduce__(self) -> tuple[type[LeakError], tuple[Report]]:
        # pytest-xdist and multiprocessing send exceptions between processes.
        return type(self), (self.report,)


class KnownLeakWarning(UserWarning):
    """A leak that was marked with ``known_leak=``: reported, and no failure."""

    __module__ = "refleak"  # what warnings call it
