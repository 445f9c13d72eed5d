"""Descriptors, threads, children, tasks, native memory and temporary files as probes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
from array import array
from itertools import pairwise

import pytest

from refleak import _resources
from refleak._originals import Clock
from refleak._resources import (
    RESOURCE_PROBES,
    AsyncioTasks,
    ChildProcesses,
    FileDescriptors,
    TemporaryFiles,
    Threads,
)
from refleak._rules import RULES
from refleak._settle import settle

NAMES = list(RESOURCE_PROBES)


def _make(name):
    make, _ = RESOURCE_PROBES[name]
    probe = make()
    reason = probe.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return probe


def _gone(before, after):
    """Return what *after* describes and *before* does not."""
    return [after[key] for key in after if key not in before]


@pytest.mark.parametrize("name", NAMES)
def test_each_probe_says_what_it_is(name):
    """A probe carries its name in the table, a unit, a known rule, and documents all three."""
    probe = RESOURCE_PROBES[name][0]()
    documentation = type(probe).__doc__
    assert name == probe.name
    assert probe.rule in RULES
    assert isinstance(probe.each_round, bool)
    assert f'Rule: "{probe.rule}"' in documentation
    assert f"{probe.unit}. Rule" in documentation
    assert "Cost:" in documentation


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_the_documentation_is_the_code(name):
    """Each row of the module's table says unit, rule, default and when it is read."""
    make, default = RESOURCE_PROBES[name]
    probe = make()
    rows = [line.split("|") for line in _resources.__doc__.splitlines() if line.startswith("| ")]
    row = next([cell.strip() for cell in cells] for cells in rows if cells[1].strip() == name)
    words = {True: "yes", False: "no"}
    assert [probe.unit, probe.rule, words[default], words[probe.each_round]] == row[2:6]


@pytest.mark.parametrize("name", NAMES)
def test_reading_keeps_no_memory(name, tmp_path, monkeypatch):
    """Once warm, a reading leaves the number of memory blocks exactly as it was."""
    # Not the machine's folder: 3.10 makes blocks for what is called for the 1,024th time.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    probe = _make(name)
    blocks = array("q", [0] * 9)
    for number in range(-4, len(blocks)):
        probe.read()
        probe.read()
        settle()
        blocks[max(0, number)] = sys.getallocatedblocks()
    assert [0] * 8 == [after - before for before, after in pairwise(blocks)]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "temporary files"])
def test_a_process_at_rest_shows_no_change(name):
    """Readings with nothing in between are equal (other processes write temporary files too)."""
    probe = _make(name)
    probe.read()
    assert probe.read() == probe.read()


def test_a_leaked_descriptor_is_the_difference_of_two_descriptions(tmp_path):
    """What is described after and not before says what was opened."""
    probe = FileDescriptors()
    level, before = probe.read(), probe.describe()
    with (tmp_path / "tap").open("wb"):
        assert level + 1 == probe.read()
        assert [str(tmp_path / "tap")] == _gone(before, probe.describe())


@pytest.fixture
def waiting():
    """Start threads that wait to be told to end; they are ended afterwards."""
    event, threads = threading.Event(), []

    def start(make=threading.Thread, **options):
        threads.append(make(target=event.wait, **options))
        threads[-1].start()
        return threads[-1]

    start.release = event.set
    yield start
    event.set()
    for thread in threads:
        thread.join()


def test_a_thread_is_described_by_name_target_and_kind(waiting):
    """Python's threads are told with what they run, and whether they are daemons."""
    probe = Threads()
    before = probe.describe()
    waiting(name="tap", daemon=True)
    assert ["thread tap, running threading.Event.wait, daemon"] == _gone(before, probe.describe())


def test_a_thread_subclass_runs_no_code_of_its_own(waiting):
    """Describing asks nothing of the thread's own class, however hostile."""

    class Hostile(threading.Thread):
        armed = False

        def __getattribute__(self, name):
            if type(self).armed:
                raise RuntimeError(name)
            return super().__getattribute__(name)

    probe = Threads()
    before = probe.describe()
    waiting(Hostile, name="hostile")
    Hostile.armed = True
    try:
        described = _gone(before, probe.describe())
    finally:
        Hostile.armed = False
    assert ["thread hostile, running threading.Event.wait"] == described


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's names of threads")
def test_a_thread_that_python_does_not_know_is_described_as_native(waiting, monkeypatch):
    """A thread missing among Python's own is a native one, told by the kernel's name for it."""
    probe = Threads()
    thread = waiting()
    monkeypatch.delitem(threading._active, thread.ident)
    assert probe.describe()[thread.native_id].startswith("native thread ")


def test_without_the_threading_module_all_threads_are_native(monkeypatch):
    """Where threading was never imported there are no threads of Python's to name."""
    monkeypatch.delitem(sys.modules, "threading")
    assert {True} == {text.startswith("native thread") for text in Threads().describe().values()}


def test_a_thread_about_to_end_is_waited_for(monkeypatch):
    """A reading higher than the last waits until threads that are ending have ended."""
    counts = iter([3, 4, 4, 3])
    monkeypatch.setattr(_resources.system, "count_threads", lambda: next(counts))
    probe = Threads()
    assert [3, 3] == [probe.read(), probe.read()]


def test_waiting_in_vain_takes_less_each_time(monkeypatch):
    """Readings that wait for threads that stay take twice the grace in all; success restores it."""
    now = [0.0]

    def wait(seconds):
        now[0] += seconds

    monkeypatch.setattr(Clock, "monotonic", staticmethod(lambda: now[0]))
    monkeypatch.setattr(Clock, "sleep", staticmethod(wait))
    count = [1]
    monkeypatch.setattr(_resources.system, "count_threads", lambda: count[0])
    probe = Threads()
    waits = array("d")
    for _ in range(30):
        started = now[0]
        count[0] += 1
        probe.read()
        waits.append(now[0] - started)
    assert 0 == waits[0]  # the first reading has nothing to compare with
    assert pytest.approx(_resources.GRACE, abs=2 * _resources._POLL) == waits[1]
    assert sum(waits) < 2 * _resources.GRACE + 30 * _resources._POLL
    assert probe._last_and_patience[1] < _resources.GRACE / 1000


def test_a_pool_that_comes_up_once_is_counted(waiting):
    """Threads that stay are in the reading, whatever the grace."""
    probe = Threads()
    before = probe.read()
    waiting()
    waiting()
    assert before + 2 == probe.read()


class Callable:
    """Something to run that is no function."""

    def __call__(self):
        """Do nothing."""

    def method(self):
        """Do nothing."""


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (_gone, f"{__name__}._gone"),
        (Callable().method, f"{__name__}.Callable.method"),
        (len, "len"),
        (Callable(), f"{__name__}.Callable"),
    ],
)
def test_targets_are_named_without_their_code(target, name):
    """Functions and methods are told by qualified name, other callables by their type."""
    assert name == _resources.callable_name(target)


def test_a_child_is_described_by_its_command():
    """A running child is one more process, told by its command."""
    probe = ChildProcesses()
    if probe.unavailable():
        pytest.skip(probe.unavailable())
    level, before = probe.read(), probe.describe()
    program = "print(flush=True); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # now it is no copy of this one any more
        during, described = probe.read(), _gone(before, probe.describe())
        child.kill()
    assert (level + 1, level) == (during, probe.read())
    assert [f"{sys.executable} -c {program}"] == described


def test_without_asyncio_its_probe_costs_no_import():
    """Where the program does not use asyncio, the probe reads 0 and imports nothing."""
    program = """
import sys
from refleak._resources import AsyncioTasks
for name in list(sys.modules):  # wrapt imports it
    if name.partition(".")[0] in ("asyncio", "_asyncio"):
        del sys.modules[name]
assert AsyncioTasks().read() == 0
assert AsyncioTasks().describe() == {}
assert "asyncio" not in sys.modules, "imported by reading"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


async def drip():
    """Wait for good."""
    await asyncio.sleep(600)  # the line that a description must name


async def _drips(probe, count):
    before, level = probe.describe(), probe.read()
    tasks = [asyncio.ensure_future(drip()) for _ in range(count)]
    await asyncio.sleep(0)
    grown, described = probe.read() - level, _gone(before, probe.describe())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return grown, described, probe.read() - level


def test_pending_tasks_of_the_running_loop_are_counted():
    """Tasks that wait are counted, and no more once they have been cancelled."""
    grown, _, left = asyncio.run(_drips(AsyncioTasks(), 3))
    assert (3, 0) == (grown, left)


def test_a_task_is_described_by_name_coroutine_and_place():
    """A task is told with the line of the user's code where it waits."""
    _, described, _ = asyncio.run(_drips(AsyncioTasks(), 1))
    line = drip.__code__.co_firstlineno + 2
    assert described[0].startswith("task Task-")
    assert described[0].endswith(f", drip, at {__file__}:{line}")


def test_tasks_of_the_loop_that_is_set_are_counted_between_its_runs():
    """Between two run_until_complete of the thread's own loop, its tasks are counted."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        probe = AsyncioTasks()
        before = probe.read()
        task = loop.create_task(drip())
        loop.run_until_complete(asyncio.sleep(0))
        during = probe.read()
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        assert (0, 1, 0) == (before, during, probe.read())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_reading_tasks_keeps_no_memory():
    """Reading within a running loop leaves the number of memory blocks as it was."""

    async def blocks():
        probe = AsyncioTasks()
        counted = array("q", [0] * 9)
        for number in range(-4, len(counted)):
            probe.read()
            settle()
            counted[max(0, number)] = sys.getallocatedblocks()
        return [after - before for before, after in pairwise(counted)]

    assert [0] * 8 == asyncio.run(blocks())


def test_tasks_of_another_make_are_described_by_type():
    """A task that is not of the C type, whose methods are safe, is told by its type alone."""
    assert "task of type int" == _resources._task_text(1)


def test_what_a_task_awaits_is_followed():
    """The place is that of the innermost frame which is not asyncio's own."""

    async def generator():
        await asyncio.sleep(600)
        yield 1

    async def outer():
        async for _ in generator():
            pass

    async def place():
        task = asyncio.ensure_future(outer())
        await asyncio.sleep(0)
        text = _resources._task_text(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return text

    line = outer.__code__.co_firstlineno + 1
    assert asyncio.run(place()).endswith(f"at {__file__}:{line}")


def test_a_temporary_file_is_counted_and_described(tmp_path, monkeypatch):
    """Files and directories left in tempfile's directory are told by path and kind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    probe = TemporaryFiles()
    assert probe.unavailable() is None
    assert 0 == probe.read()
    (tmp_path / "bucket").mkdir()
    (tmp_path / "drop").touch()
    assert 2 == probe.read()
    expected = {str(tmp_path / "bucket"): "directory", str(tmp_path / "drop"): "file"}
    assert expected == probe.describe()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no user ids")
def test_temporary_files_of_others_are_not_counted(tmp_path, monkeypatch):
    """Entries of other users are not this process's leak."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "drop").touch()
    monkeypatch.setattr(os, "getuid", lambda: -1)
    assert 0 == TemporaryFiles().read()


def test_a_temporary_file_removed_while_listing_is_not_counted(tmp_path):
    """An entry that is gone when it is looked at belongs to nobody."""
    (tmp_path / "drop").touch()
    with os.scandir(tmp_path) as entries:
        entry = next(entries)
    (tmp_path / "drop").unlink()
    assert _resources._is_ours(entry) is (sys.platform == "win32")


def test_without_a_temporary_directory_the_reason_is_said(monkeypatch):
    """Where tempfile finds no directory, its own sentence says so."""

    def nowhere():
        raise FileNotFoundError("No usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert "No usable temporary directory" == TemporaryFiles().unavailable()
