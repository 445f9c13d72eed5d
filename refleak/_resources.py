"""What a process runs out of besides objects: descriptors, threads, children, native memory.

| name               | unit            | rule     | on by default | each round | cost of a reading |
|--------------------|-----------------|----------|---------------|------------|-------------------|
| file descriptors   | file descriptor | resource | yes           | yes        | 2 microseconds    |
| threads            | thread          | resource | yes           | yes        | 2 microseconds    |
| child processes    | child process   | resource | yes           | yes        | 1 microsecond     |
| asyncio tasks      | asyncio task    | resource | yes           | yes        | 0.3 microseconds  |
| native heap        | byte            | bytes    | yes           | no         | 500 microseconds  |
| anonymous mappings | byte            | bytes    | yes           | no         | 6 microseconds    |
| temporary files    | temporary file  | resource | no            | yes        | 2 per entry       |

(On Linux 6.18 with CPython 3.13, two cores. The last two of the upper six walk malloc's free
chunks: 0.1-0.2 microseconds more for each, so 10-20 milliseconds where there are 100,000.)

A level is one integer, and reading it keeps no memory. ``describe()`` tells what makes up the
level now, key -> text, so that the difference of two says what leaked; it allocates, and is for
after the measuring.
"""

from __future__ import annotations

import math
import os
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from refleak._format import shorten, type_name
from refleak._originals import Clock
from refleak._platform import system


class FileDescriptors:
    """Open file descriptors; on Windows, handles.

    Unit: a file descriptor. Rule: "resource". Cost: 2 microseconds on Linux, from 6.2 on; before,
    0.3 for each open one.
    """

    name = "file descriptors"
    unit = "file descriptor"
    rule = "resource"
    each_round = True

    def unavailable(self) -> str | None:
        """Say so where descriptors cannot be counted."""
        return system.descriptors_unavailable()

    def read(self) -> int:
        """Return how many are open."""
        return system.count_descriptors()

    def describe(self) -> dict[int, str]:
        """Return what each is: a path, a socket and its peer, pipe, eventfd, memfd."""
        return system.describe_descriptors()


GRACE = 0.05
"""Seconds that a reading waits, at most, for threads that are ending."""

_POLL = 0.0002


class Threads:
    """Threads of this process, those that Python does not know included.

    Unit: a thread. Rule: "resource". Cost: 2 microseconds on Linux. A thread that has been joined
    is still there for a moment, so a reading higher than the last waits up to :data:`GRACE`
    seconds for it to fall; each wait in vain halves the next one, so that all of a check's waits
    together take no more than twice that.
    """

    name = "threads"
    unit = "thread"
    rule = "resource"
    each_round = True

    def __init__(self) -> None:
        # An array: attributes would keep a new number after each reading, which counts as a block.
        self._last_and_patience = array("d", (math.inf, GRACE))

    def unavailable(self) -> str | None:
        """Say so where threads cannot be counted."""
        return system.threads_unavailable()

    def read(self) -> int:
        """Return how many are running, after a short grace for those that are ending."""
        last, patience = self._last_and_patience
        count = system.count_threads()
        if count > last:
            count = _wait_for_end(last, count, patience)
            self._last_and_patience[1] = GRACE if count <= last else patience / 2
        self._last_and_patience[0] = count
        return count

    def describe(self) -> dict[int, str]:
        """Return each thread, by native id: name, target and daemon, or a native thread's name."""
        native = system.describe_native_threads()
        known = dict(_python_threads())
        return {
            ident: known.get(ident) or f"native thread {name}".rstrip()
            for ident, name in native.items()
        }


def _wait_for_end(last: float, count: int, patience: float) -> int:
    """Wait up to *patience* seconds for no more than *last* threads; return how many there are."""
    end = Clock.monotonic() + patience
    while count > last and Clock.monotonic() < end:
        Clock.sleep(_POLL)
        count = system.count_threads()
    return count


def _python_threads() -> Iterable[tuple[int, str]]:
    """Return the threads that Python knows, without running a Thread subclass's code."""
    threading = sys.modules.get("threading")
    if threading is None:
        return
    attributes = vars(threading.Thread)["__dict__"].__get__
    for thread in list(threading._active.values()):
        values = attributes(thread)
        ident = values.get("_native_id")
        if type(ident) is int:
            yield ident, _thread_text(values)


def _thread_text(values: Mapping[str, Any]) -> str:
    name = values.get("_name")
    parts = [f"thread {shorten(name)}" if type(name) is str else "thread"]
    if values.get("_target") is not None:
        parts.append(f"running {callable_name(values['_target'])}")
    if values.get("_daemonic") is True:
        parts.append("daemon")
    return ", ".join(parts)


def callable_name(target: object) -> str:
    """Name a function or method, or the type of anything else, without running its code."""
    from types import BuiltinFunctionType, FunctionType, MethodType

    if type(target) is MethodType:
        target = target.__func__
    if type(target) is FunctionType:
        module = target.__module__
        prefix = f"{module}." if type(module) is str else ""
        return shorten(prefix + target.__qualname__)
    if type(target) is BuiltinFunctionType:
        return shorten(target.__qualname__)
    return type_name(type(target))


class ChildProcesses:
    """Child processes, with those that have ended and were not waited for (zombies).

    Unit: a child process. Rule: "resource". Cost: 1 microsecond on Linux while there is none, else
    5 for each thread of this process; elsewhere milliseconds, and then not read after each round.
    """

    name = "child processes"
    unit = "child process"
    rule = "resource"
    each_round = system.CHILDREN_EACH_ROUND

    def unavailable(self) -> str | None:
        """Say so where children cannot be counted."""
        return system.children_unavailable()

    def read(self) -> int:
        """Return how many there are; none is waited for."""
        return system.count_children()

    def describe(self) -> dict[int, str]:
        """Return each child's command, by process id."""
        return system.describe_children()


class AsyncioTasks:
    """Tasks not done in this thread's event loop: the running one, or the one that was set.

    Unit: an asyncio task. Rule: "resource". Cost: 0.3 microseconds while asyncio is not imported
    or has no loop, else about 1 for each task. The task that drives the check is among them.

    Tasks of loops that are neither are not counted: since 3.14 only a loop's own can be asked for.
    Nor are async generators: one that is alive is an object, and named as such; one that was
    dropped unfinished has been handed to the loop, whose closing of it is a task.
    """

    name = "asyncio tasks"
    unit = "asyncio task"
    rule = "resource"
    each_round = True

    def unavailable(self) -> None:
        """Return None: without asyncio there are no tasks."""

    def read(self) -> int:
        """Return how many are not done."""
        return len(_pending_tasks())

    def describe(self) -> dict[int, str]:
        """Return each task, by id: name, coroutine, and the line where it waits."""
        return {id(task): _task_text(task) for task in _pending_tasks()}


def _pending_tasks() -> Collection[Any]:
    tasks: Any = sys.modules.get("asyncio.tasks")
    loop = _event_loop()
    if tasks is None or loop is None:
        return ()
    pending: set[Any] = tasks.all_tasks(loop)
    return pending


def _event_loop() -> Any:
    """Return the loop running in this thread, or the one set for it; never make one."""
    events = sys.modules.get("asyncio.events")
    if events is None:
        return None
    running = events._get_running_loop()
    if running is not None:
        return running
    policy = getattr(events, "_event_loop_policy", None)
    return getattr(getattr(policy, "_local", None), "_loop", None)


def _task_text(task: Any) -> str:
    """Say a task's name, coroutine and place; methods of the C type only, not a subclass's."""
    from _asyncio import Task

    try:
        name, coroutine = Task.get_name(task), Task.get_coro(task)
    except TypeError:  # a Task of another make, such as asyncio's own in Python
        return f"task of type {type_name(type(task))}"
    parts = [f"task {shorten(name)}" if type(name) is str else "task"]
    frames = list(_frames(coroutine))
    if frames:
        parts.append(frames[0].f_code.co_qualname if _QUALIFIED else frames[0].f_code.co_name)
        parts.append(f"at {_place(frames)}")
    return ", ".join(parts)


_QUALIFIED = sys.version_info >= (3, 11)


def _frames(coroutine: object) -> Iterable[Any]:
    """Return the frames of *coroutine* and of what it awaits, outermost first."""
    from types import AsyncGeneratorType, CoroutineType, GeneratorType

    while coroutine is not None:
        if type(coroutine) is CoroutineType:
            frame, coroutine = coroutine.cr_frame, coroutine.cr_await
        elif type(coroutine) is GeneratorType:
            frame, coroutine = coroutine.gi_frame, coroutine.gi_yieldfrom
        elif type(coroutine) is AsyncGeneratorType:
            frame, coroutine = coroutine.ag_frame, coroutine.ag_await
        else:
            return
        if frame is not None:
            yield frame


def _place(frames: list[Any]) -> str:
    """Return file and line of the innermost frame that is not asyncio's own."""
    own = os.path.dirname(sys.modules["asyncio"].__file__ or "") + os.sep
    others = [frame for frame in frames if not frame.f_code.co_filename.startswith(own)]
    frame = (others or frames)[-1]
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class TemporaryFiles:
    """Files and directories of this user in the directory that tempfile uses; opt-in.

    Unit: a temporary file. Rule: "resource". Cost: about 2 microseconds for each entry. Other
    processes of the same user write there too, which is why it is not on by default.
    """

    name = "temporary files"
    unit = "temporary file"
    rule = "resource"
    each_round = True

    def unavailable(self) -> str | None:
        """Say so where tempfile finds no directory to use."""
        import tempfile

        try:
            tempfile.gettempdir()
        except FileNotFoundError as error:
            return str(error)
        return None

    def read(self) -> int:
        """Return how many there are."""
        return sum(1 for _ in _temporary_entries())

    def describe(self) -> dict[str, str]:
        """Return each entry's kind, by path."""
        return {
            entry.path: "directory" if entry.is_dir(follow_symlinks=False) else "file"
            for entry in _temporary_entries()
        }


def _temporary_entries() -> Iterable[os.DirEntry[str]]:
    import tempfile

    with os.scandir(tempfile.gettempdir()) as entries:
        yield from filter(_is_ours, entries)


if sys.platform == "win32":  # the directory is the user's own there

    def _is_ours(entry: os.DirEntry[str]) -> bool:
        return bool(entry)

else:

    def _is_ours(entry: os.DirEntry[str]) -> bool:
        try:
            return entry.stat(follow_symlinks=False).st_uid == os.getuid()
        except OSError:  # removed since it was listed
            return False


class NativeHeap:
    """Bytes in use by malloc, in its arenas and in mappings of its own.

    Unit: a byte. Rule: "bytes". Cost: about 500 microseconds on glibc, so it is read at the ends
    only, and per round when something is suspicious. On Linux by glibc's mallinfo2() with this
    thread's cache filled first, which makes differences exact (how: refleak._platform._glibc);
    elsewhere by psutil 7.2's heap_info(). What other threads keep in their caches counts as used.
    """

    name = "native heap"
    unit = "byte"
    rule = "bytes"
    each_round = False

    def unavailable(self) -> str | None:
        """Say why malloc cannot be asked: another libc, another allocator, or no psutil."""
        return system.heap_unavailable()

    def read(self) -> int:
        """Return the bytes in use; only differences mean anything."""
        return system.heap_in_use()


class AnonymousMappings:
    """Bytes mapped privately and writably by mmap directly, malloc's own left out.

    Unit: a byte. Rule: "bytes". Cost: 6 microseconds; Linux with glibc only. Python's own arenas
    (1 MiB each) and the stacks of threads (8 MiB each, of which glibc keeps some for reuse) are
    such mappings as well. Over 256 rounds each of 36 functions that use files, sockets, threads,
    processes, numpy, pandas and 100,000 objects at once, the level did not rise but for the one
    whose cache was really filling, by 1 MiB. Shared mappings are not counted: Python's mmap
    objects are objects.
    """

    name = "anonymous mappings"
    unit = "byte"
    rule = "bytes"
    each_round = False

    def unavailable(self) -> str | None:
        """Say why mappings cannot be told from malloc's."""
        return system.mappings_unavailable()

    def read(self) -> int:
        """Return the bytes mapped; only differences mean anything."""
        return system.private_mappings()


class ResourceProbe(Protocol):
    """What all of these have, and what :class:`refleak.probes.Probe` asks for."""

    name: str
    unit: str
    rule: str
    each_round: bool

    def unavailable(self) -> str | None: ...

    def read(self) -> int: ...


RESOURCE_PROBES: dict[str, tuple[Callable[[], ResourceProbe], bool]] = {
    "file descriptors": (FileDescriptors, True),
    "threads": (Threads, True),
    "child processes": (ChildProcesses, True),
    "asyncio tasks": (AsyncioTasks, True),
    "native heap": (NativeHeap, True),
    "anonymous mappings": (AnonymousMappings, True),
    "temporary files": (TemporaryFiles, False),
}
"""How to make each probe, and whether it is on by default; in the report's order."""
