"""The interpreter's own tests as subjects, one by one, in worker processes that may hang or die."""

# ruff: noqa: BLE001, PTH123, E501  # tests under test may raise anything

from __future__ import annotations

import argparse
import contextlib
import doctest
import gc
import importlib
import itertools
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

Result = dict[str, object]


def load(name: str) -> Iterator[unittest.TestCase]:
    """Yield the tests of ``test.NAME`` if there is one, else of the module NAME."""
    try:
        module = importlib.import_module(f"test.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"test.{name}":
            raise
        module = importlib.import_module(name)
    yield from _flat(unittest.defaultTestLoader.loadTestsFromModule(module))


def _flat(suite: Iterable[object]) -> Iterator[unittest.TestCase]:
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from _flat(entry)
        else:
            yield entry


def cannot_repeat(test: unittest.TestCase) -> str | None:
    """Return None, or why a test cannot be made anew for each round."""
    if isinstance(test, (doctest.DocTestCase, unittest.FunctionTestCase)):
        return f"a {type(test).__name__} cannot be made anew"
    try:
        type(test)(test._testMethodName)
    except Exception as error:
        return f"{type(test).__name__} cannot be made from the name of its method: {error!r}"
    return None


def subject_of(test: unittest.TestCase) -> Callable[[], None]:
    """Make a function that runs a test, with setUp, tearDown and cleanups, on a fresh instance.

    It raises SkipTest where the test is skipped, AssertionError where it fails by itself.
    """
    cls, method = type(test), test._testMethodName

    def subject() -> None:
        result = unittest.TestResult()
        cls(method).run(result)
        if result.skipped:
            raise unittest.SkipTest(result.skipped[0][1])
        if not result.wasSuccessful() or result.unexpectedSuccesses:
            told = [*result.errors, *result.failures, (None, "unexpected success")]
            raise AssertionError(told[0][1].strip().splitlines()[-1])

    return subject


class Fixtures:
    """The fixtures of the module and class whose test runs, each set up once."""

    def __init__(self) -> None:
        self._module: object = None
        self._cls: type | None = None
        self._broken: str | None = None

    def enter(self, test: unittest.TestCase) -> str | None:
        """Set up what *test* needs; return None, or why that is not possible."""
        cls = type(test)
        if cls is self._cls:
            return self._broken
        self._leave_class()
        module = sys.modules.get(cls.__module__)  # None: test_datetime takes its own away
        if module is not self._module:
            self.leave()
            self._module = module
            self._broken = _call(getattr(module, "setUpModule", None))
            if self._broken:
                return self._broken
        self._cls = cls
        self._broken = _skip_reason(cls) or _call(cls.setUpClass)
        return self._broken

    def leave(self) -> None:
        """Tear down everything."""
        self._leave_class()
        if self._module is not None:
            _call(getattr(self._module, "tearDownModule", None))
            _call(unittest.case.doModuleCleanups)
            self._module = None

    def _leave_class(self) -> None:
        if self._cls is not None:
            _call(self._cls.tearDownClass)
            _call(self._cls.doClassCleanups)
            self._cls = None


def _skip_reason(cls: type) -> str | None:
    if getattr(cls, "__unittest_skip__", False):
        return f"skipped: {getattr(cls, '__unittest_skip_why__', '')}"
    return None


def _call(function: Callable[[], object] | None) -> str | None:
    try:
        if function is not None:
            function()
    except unittest.SkipTest as skip:
        return f"skipped: {skip}"
    except Exception as error:
        return f"fixture failed: {error!r}"
    return None


Examine = Callable[[unittest.TestCase, Callable[[], None]], Result]


def spread(tests: list[unittest.TestCase], count: int | None) -> list[unittest.TestCase]:
    """Return so many of the tests, evenly spread."""
    if count is None or count >= len(tests):
        return tests
    return [tests[number * len(tests) // count] for number in range(count)]


def work(name: str, done: Iterable[str], examine: Examine, count: int | None = None) -> None:
    """In a worker: examine the tests of a module that are not *done*; tell each as a line of JSON.

    *count*: examine only so many of them.
    """
    tell = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w+") as nowhere:
        for number in (0, 1, 2):
            os.dup2(nowhere.fileno(), number)
    with contextlib.suppress(ImportError):
        from test import support

        support.use_resources = {}  # as regrtest does by default: no network, no hours of CPU
        support.verbose = False
    fixtures = Fixtures()
    known = set(done)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for test in spread(list(load(name)), count):
            if test.id() in known:
                continue
            tell.write(json.dumps({"begins": test.id()}) + "\n")
            tell.write(json.dumps(_examined(test, fixtures, examine)) + "\n")
        fixtures.leave()
        os.chdir("/")
    tell.write(json.dumps({"finished": name}) + "\n")
    tell.flush()
    os._exit(0)  # threads that tests left behind must not keep the worker


def _examined(test: unittest.TestCase, fixtures: Fixtures, examine: Examine) -> Result:
    began = time.monotonic()
    why = cannot_repeat(test) or fixtures.enter(test)
    try:
        result = {"skipped": why} if why else examine(test, subject_of(test))
    except unittest.SkipTest as skip:
        result = {"skipped": f"skipped: {skip}"}
    except AssertionError as failure:
        result = {"skipped": f"fails by itself when repeated: {failure}"}
    except BaseException as error:
        result = {"skipped": f"raises when repeated: {error!r}"}
    gc.collect()
    return {"test": test.id(), "seconds": round(time.monotonic() - began, 3), **result}


def run_modules(
    run: Callable[[str, argparse.Namespace], list[Result]], arguments: argparse.Namespace
) -> list[Result]:
    """In the parent: run all modules asked for, as many at once as asked for; join what they tell."""
    arguments.results = arguments.results.resolve()
    arguments.results.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = pool.map(lambda name: run(name, arguments), arguments.modules)
        return list(itertools.chain.from_iterable(found))


def run_module(command: list[str], results: Path, limit: float) -> Iterator[Result]:
    """In the parent: run workers until a module is done; a test that hangs or dies costs one worker.

    ``command`` starts a worker, to which the names of the tests that are done are passed as a
    file. Results are kept in the file *results*, so that a run can be taken up again.
    """
    done = _read(results)
    yield from done.values()
    while True:
        finished = False
        for result in _one_worker([*command, str(results)], limit):
            if "finished" in result:
                finished = True
                continue
            if result["test"] in done:
                continue
            done[str(result["test"])] = result
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            yield result
        if finished:
            return


def _read(results: Path) -> dict[str, Result]:
    if not results.exists():
        return {}
    lines = results.read_text(encoding="utf-8").splitlines()
    return {result["test"]: result for result in map(json.loads, lines)}


def done_tests(results: Path) -> set[str]:
    """Return the names of the tests that have a result."""
    return set(_read(results))


def _one_worker(command: list[str], limit: float) -> Iterator[Result]:
    """Yield what a worker tells; when it hangs or dies, a result for the test it was at."""
    current = None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as worker:
        for line in _lines(worker, limit):
            told = json.loads(line)
            current = told.get("begins", None if "finished" in told else current)
            if "begins" not in told:
                yield told
                current = None
        reason = _end(worker)
    if current is not None:
        yield {"test": current, "skipped": reason}
    elif worker.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {worker.returncode}")


def _lines(worker: subprocess.Popen[str], limit: float) -> Iterator[str]:
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        pending = b""
        while selector.select(limit):
            data = os.read(worker.stdout.fileno(), 1 << 16)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            yield from (line.decode() for line in lines)


def _end(worker: subprocess.Popen[str]) -> str:
    """End a worker and what it started; say how it ended."""
    try:
        status = worker.wait(1)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, 9)
        worker.wait()
        return "over the time limit"
    return f"its process ended with status {status}"
