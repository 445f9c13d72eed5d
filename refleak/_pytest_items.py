"""Run a pytest item again and again, quietly, as if it were its first time.

One repetition tears down what the run before it set up, sets up anew and calls: between two
readings lies the whole protocol, with the item's own fixtures alive at both. Wider fixtures stay.
All that pytest keeps per run (reports, captured output, log records, warnings, properties,
finalizers, folders) is taken away again after each, so that it does not count as the test's leak.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import sys
import warnings
from array import array
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from refleak._check import RUNNING

RERAISED = (pytest.exit.Exception, KeyboardInterrupt)
"""What ends the session, in a repetition as anywhere else."""


class Subject:
    """An item about to be set up, and what must be known of it from before its first run."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.called = False
        self.failed_in_part = False
        self.first_teardown: pytest.CallInfo[Any] | None = None
        self._begun = RUNNING.begun
        self._markers = len(item.own_markers)
        doctest = getattr(item, "dtest", None)
        self._globs = dict(doctest.globs) if doctest is not None else None

    def checked_itself(self) -> bool:
        """Tell whether the item's own code began a check."""
        return RUNNING.begun > self._begun

    def renew(self) -> None:
        """Make the item, torn down, like one that was never run."""
        item: Any = self.item
        del item.own_markers[self._markers :]
        if self._globs is not None:
            item.dtest.globs.update(self._globs)  # doctest empties them
        if isinstance(item, pytest.Function) and isinstance(item.parent, pytest.Class):
            _forget_instance(item)
        if hasattr(item, "_request"):
            # pytest does so too, after each run, but declares a dict.
            item.funcargs = None  # pyright: ignore[reportAttributeAccessIssue]
            item._initrequest()


def _forget_instance(item: Any) -> None:
    """Have the item make a fresh instance of its class, as each test gets one.

    TestCase tests do so themselves. https://github.com/pytest-dev/pytest/blob/8.2.0/src/_pytest/python.py
    """
    if type(item)._getobj is pytest.Function._getobj:
        item._obj = None
        vars(item).pop("_instance", None)


def came_through(report: pytest.TestReport, call: pytest.CallInfo[Any]) -> bool:
    """Tell whether a phase raised nothing, be it marked as expected to fail or not.

    That strictly expected failure did not come makes the report, and nothing else, a failed one.
    """
    unexpected = str(report.longrepr).startswith("[XPASS(strict)]")
    return call.excinfo is None and (report.passed or unexpected)


class Stop:
    """Why the repetitions ended: what happened, in which phase of which repetition."""

    def __init__(self, number: int, when: str, outcome: str, call: pytest.CallInfo[Any]) -> None:
        self.number, self.when, self.outcome, self.call = number, when, outcome, call

    def __str__(self) -> str:
        return f"{self.outcome} in repetition {self.number}, in its {self.when} phase"


class Repetition:
    """The repetitions of one item that has been set up and called."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._item: Any = subject.item
        # What is torn down is decided by the next item: a twin, so nothing but the item itself.
        self._twin = copy.copy(subject.item)
        self._number = array("q", [0])
        self._kept = _Kept(subject.item)
        self._first_folder = self._folder()
        self.timeout = Timeout(subject.item)
        self.stop: Stop | None = None

    def once(self) -> None:
        """Tear down, set up and call; leaves in ``stop`` what did not pass."""
        self._number[0] += 1
        self.timeout.start()
        with _unrecorded(self._item.config):
            folder = self._folder()
            self._phase("teardown", nextitem=self._twin)
            if folder is not None and folder != self._first_folder:
                shutil.rmtree(folder, ignore_errors=True)
            self._subject.renew()
            if self._phase("setup"):
                self._phase("call")
        self.timeout.stop()
        self._kept.restore()

    def _phase(self, when: Any, **arguments: Any) -> bool:
        hook = getattr(self._item.ihook, f"pytest_runtest_{when}")
        call = pytest.CallInfo.from_call(
            lambda: hook(item=self._item, **arguments), when, reraise=RERAISED
        )
        report = self._item.ihook.pytest_runtest_makereport(item=self._item, call=call)
        passed = came_through(report, call)
        if not passed and self.stop is None:
            self._note(when, report, call)
        return passed

    def _note(self, when: str, report: pytest.TestReport, call: pytest.CallInfo[Any]) -> None:
        number = int(self._number[0])
        if when == "teardown":
            if number == 1:  # the teardown of the run that is reported: an error of its own
                self._subject.first_teardown = call
            number -= 1
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        self.stop = Stop(number, when, outcome, call)

    def note_part(self, report: pytest.TestReport) -> None:
        """Note a report that the test gave for a part of itself, a subtest."""
        if report.failed and self.stop is None:
            call = pytest.CallInfo.from_call(lambda: pytest.fail(str(report.longrepr)), "call")
            self.stop = Stop(int(self._number[0]), "call", "failed", call)

    def _folder(self) -> Path | None:
        """Return the folder of the run's ``tmp_path``, if pytest made it."""
        path = (getattr(self._item, "funcargs", None) or {}).get("tmp_path")
        factory = getattr(self._item.config, "_tmp_path_factory", None)
        if not isinstance(path, Path) or factory is None or path.parent != factory.getbasetemp():
            return None
        return path


class _Kept:
    """What pytest keeps per run, as it was after the first."""

    def __init__(self, item: Any) -> None:
        self._item = item
        self._own = [(kept, len(kept)) for kept in _own_lists(item)]
        self._alive: set[int] = set()
        self._finalizers: list[tuple[list[Any], int]] = []
        self._note_finalizers()

    def restore(self) -> None:
        """Take away what one more run has added."""
        for kept, length in self._own:
            del kept[length:]
        if self._alive == {id(fixture) for fixture in _wider_fixtures(self._item)}:
            for kept, length in self._finalizers:
                del kept[length:]
        else:  # a wider fixture was made first in this repetition: its finalizers are needed
            self._note_finalizers()

    def _note_finalizers(self) -> None:
        """Note the finalizers of wider fixtures and nodes.

        pytest adds one each time a fixture of the test asks for a wider one: needed once.
        """
        fixtures = list(_wider_fixtures(self._item))
        self._alive = {id(fixture) for fixture in fixtures}
        nodes = self._item.session._setupstate.stack.items()
        lists = [fixture._finalizers for fixture in fixtures]
        lists += [finalizers for node, (finalizers, *_) in nodes if node is not self._item]
        self._finalizers = [(kept, len(kept)) for kept in lists]


def _own_lists(item: Any) -> Iterator[list[Any]]:
    yield item.user_properties
    yield item._report_sections
    for plugin in item.config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "LogXML":
            yield plugin.global_properties


def _wider_fixtures(item: Any) -> Iterator[Any]:
    """Yield the fixtures in use that outlive the item."""
    request = getattr(item, "_request", None)
    for fixture in getattr(request, "_fixture_defs", {}).values():
        if getattr(fixture, "scope", "function") != "function" and fixture.cached_result:
            yield fixture


@contextlib.contextmanager
def _unrecorded(config: pytest.Config) -> Generator[None, None, None]:
    """Drop warnings that pytest would keep until the end of the item."""
    if not config.pluginmanager.has_plugin("warnings"):
        yield
        return
    with warnings.catch_warnings(record=True):
        yield


class _QuietHooks:
    """An item's hooks, but for those that tell the world about a run."""

    def __init__(self, hooks: Any, note: Callable[[pytest.TestReport], None]) -> None:
        self._hooks, self._note = hooks, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hooks, name)

    def pytest_runtest_logstart(self, **_: Any) -> None:
        """Tell nobody."""

    def pytest_runtest_logfinish(self, **_: Any) -> None:
        """Tell nobody."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell nobody but the repetition."""
        self._note(report)


@contextlib.contextmanager
def quiet(repetition: Repetition, item: Any) -> Generator[None, None, None]:
    """Let nothing of the repetitions be reported, shown or left behind."""
    with contextlib.ExitStack() as stack:
        for enter in (
            _quiet_hooks,
            _no_setup_show,
            _no_log_shown,
            _steady_hypothesis,
            _own_timeouts,
        ):
            stack.enter_context(enter(repetition, item))
        yield


@contextlib.contextmanager
def _quiet_hooks(repetition: Repetition, item: Any) -> Generator[None, None, None]:
    hooks = _QuietHooks(item.ihook, repetition.note_part)
    item.session.gethookproxy = lambda _: hooks
    try:
        yield
    finally:
        del item.session.gethookproxy


@contextlib.contextmanager
def _no_setup_show(_: Repetition, item: Any) -> Generator[None, None, None]:
    before = getattr(item.config.option, "setupshow", False)
    item.config.option.setupshow = False
    try:
        yield
    finally:
        item.config.option.setupshow = before


@contextlib.contextmanager
def _no_log_shown(_: Repetition, item: Any) -> Generator[None, None, None]:
    """Keep log records out of ``--log-file`` and the live log; ``caplog`` gets them."""
    plugin = item.config.pluginmanager.get_plugin("logging-plugin")
    names = ("log_file_handler", "log_cli_handler")
    handlers = [getattr(plugin, name) for name in names if hasattr(plugin, name)]
    for handler in handlers:
        handler.addFilter(_drop)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_drop)


def _drop(_: object) -> bool:
    return False


@contextlib.contextmanager
def _steady_hypothesis(_: Repetition, item: Any) -> Generator[None, None, None]:
    """Have a ``@given`` test try the same examples each time, without health checks and deadline.

    Each repetition is a whole run of up to ``max_examples``. Other examples would allocate other
    amounts; being slower under repetition, or on a fresh instance, is no fault of the test.
    """
    function: Any = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
    hypothesis = sys.modules.get("hypothesis")
    name = "_hypothesis_internal_use_settings"
    if hypothesis is None or not getattr(function, "is_hypothesis_test", False):
        yield
        return
    before = getattr(function, name, None)
    steady = hypothesis.settings(
        before,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    setattr(function, name, steady)
    try:
        yield
    finally:
        setattr(function, name, before)


class Timeout:
    """pytest-timeout's timer: for each repetition anew, and not while the heap is read."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._settings: Any = None
        plugin: Any = sys.modules.get("pytest_timeout")
        if plugin is None or not item.config.pluginmanager.is_registered(plugin):
            return
        settings = plugin._get_item_settings(item)
        if settings.timeout and settings.timeout > 0 and not settings.func_only:
            self._settings = settings

    def start(self) -> None:
        """Give the item its time, from now on."""
        if self._settings is not None:
            hook = self._item.config.pluginmanager.hook
            hook.pytest_timeout_set_timer(item=self._item, settings=self._settings)

    def stop(self) -> None:
        """Stop the timer."""
        if self._settings is not None:
            hook = self._item.config.pluginmanager.hook
            hook.pytest_timeout_cancel_timer(item=self._item)


@contextlib.contextmanager
def _own_timeouts(repetition: Repetition, _: Any) -> Generator[None, None, None]:
    repetition.timeout.stop()
    try:
        yield
    finally:
        repetition.timeout.start()
