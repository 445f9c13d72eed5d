"""Linux: what /proc tells."""

from __future__ import annotations

import os
import resource
from functools import cache

from refleak._originals import Files
from refleak._platform._glibc import Malloc
from refleak._platform._sockets import describe_sockets

CHILDREN_EACH_ROUND = True
"""Whether counting child processes is cheap enough to do after every round."""

_FDS = "/proc/self/fd"
_TASKS = "/proc/self/task"
_NO_PROC = "/proc is not mounted here"
_PAGE = os.sysconf("SC_PAGE_SIZE")


def descriptors_unavailable() -> str | None:
    """Say so where there is no /proc."""
    return None if _exists(_FDS) else _NO_PROC


def count_descriptors() -> int:
    """Return how many file descriptors are open: 2 microseconds; 0.3 for each before Linux 6.2."""
    if _size_counts_descriptors():
        return Files.stat(_FDS).st_size
    return len(Files.listdir(_FDS)) - 1  # listing opens one itself


@cache
def _size_counts_descriptors() -> bool:
    """Whether the directory's size is the number of descriptors, as it is from Linux 6.2 on."""
    return 0 < Files.stat(_FDS).st_size == len(Files.listdir(_FDS)) - 1


def describe_descriptors() -> dict[int, str]:
    """Return what each open descriptor is: a path, a socket with its peer, a pipe ..."""
    links = dict(_links())
    sockets = describe_sockets() if any(map(_is_socket, links.values())) else {}
    return {fd: sockets.get(link) or _readable(link) for fd, link in links.items()}


def _links() -> list[tuple[int, str]]:
    links = ((int(name), _link(name)) for name in Files.listdir(_FDS))
    return [(fd, link) for fd, link in links if link is not None]


def _link(name: str) -> str | None:
    try:
        return Files.readlink(f"{_FDS}/{name}")
    except OSError:  # closed by now, as the listing's own is
        return None


def _is_socket(link: str) -> bool:
    return link.startswith("socket:")


def _readable(link: str) -> str:
    """Turn the link's notation for what has no path into words.

    >>> _readable("anon_inode:[eventfd]"), _readable("pipe:[17]"), _readable("/memfd:x (deleted)")
    ('eventfd', 'pipe 17', 'memfd x')
    """
    if link.startswith("/memfd:"):
        return f"memfd {link[7:].removesuffix(' (deleted)')}"
    kind, separator, rest = link.partition(":")
    if link.startswith("/") or not separator:
        return link
    inner = rest.strip("[]")
    return inner if kind == "anon_inode" else f"{kind} {inner}"


def threads_unavailable() -> str | None:
    """Say so where there is no /proc."""
    return None if _exists(_TASKS) else _NO_PROC


def count_threads() -> int:
    """Return how many threads the kernel runs for this process; 2 microseconds."""
    if _links_count_threads():
        return Files.stat(_TASKS).st_nlink - 2
    return len(Files.listdir(_TASKS))


@cache
def _links_count_threads() -> bool:
    """Whether the directory's link count is the number of threads, as it is on Linux itself."""
    return Files.stat(_TASKS).st_nlink - 2 == len(Files.listdir(_TASKS))


def describe_native_threads() -> dict[int, str]:
    """Return each thread's name as the kernel knows it, by native thread id."""
    return {
        int(task): (_read(f"{_TASKS}/{task}/comm") or b"?").decode(errors="replace").strip()
        for task in Files.listdir(_TASKS)
    }


def children_unavailable() -> str | None:
    """Say so where there is no /proc."""
    return threads_unavailable()


def count_children() -> int:
    """Return how many child processes there are, zombies included.

    1 microsecond where there is none; else 5 for each thread of this process.
    """
    return len(_children()) if _has_children() else 0


def _has_children() -> bool:
    """Ask without reaping: only a process with no child at all gets an error."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    if not _kernel_lists_children():
        return _children_by_scan()
    lists = (_read(f"{_TASKS}/{task}/children") for task in Files.listdir(_TASKS))
    return [int(pid) for pids in lists if pids for pid in pids.split()]


@cache
def _kernel_lists_children() -> bool:
    """Whether this kernel was built with CONFIG_PROC_CHILDREN."""
    return _exists("/proc/thread-self/children")


def _children_by_scan() -> list[int]:
    """Look at every process of the system: milliseconds, on kernels without the lists."""
    me = str(os.getpid()).encode()
    return [
        int(pid) for pid in Files.listdir("/proc") if pid.isdecimal() and _stat(pid)[1:2] == [me]
    ]


def _stat(pid: int | str) -> list[bytes]:
    """Return the fields of a process's stat behind its name: state, parent, ..."""
    return (_read(f"/proc/{pid}/stat") or b"").rpartition(b")")[2].split()


def describe_children() -> dict[int, str]:
    """Return each child's command, by process id; of a zombie only the name is left."""
    return {pid: _command(pid) for pid in _children()}


def _command(pid: int) -> str:
    command = (_read(f"/proc/{pid}/cmdline") or b"").rstrip(b"\0").replace(b"\0", b" ")
    if not command:
        command = (_read(f"/proc/{pid}/comm") or b"?").strip()
    zombie = _stat(pid)[:1] == [b"Z"]
    return command.decode(errors="replace") + (" (zombie: ended, not waited for)" if zombie else "")


def _exists(path: str) -> bool:
    try:
        Files.stat(path)
    except OSError:
        return False
    return True


def _read(path: str) -> bytes | None:
    """Read a whole file of /proc, or return None where it is gone.

    ``os.read`` and not ``open``: a text file's decoder and buffer cost memory blocks.
    """
    try:
        fd = Files.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        content = part = Files.read(fd, 65536)
        while part:
            part = Files.read(fd, 65536)
            content += part
    except OSError:
        return None
    finally:
        Files.close(fd)
    return content


@cache
def _malloc() -> Malloc | str:
    try:
        return Malloc()
    except (ImportError, OSError, AttributeError) as error:
        return str(error)


def heap_unavailable() -> str | None:
    """Say why malloc cannot be asked, where the libc is not glibc or malloc is replaced."""
    malloc = _malloc()
    return malloc if isinstance(malloc, str) else None


def heap_in_use() -> int:
    """Return the bytes in use by malloc; only differences mean anything."""
    malloc = _malloc()
    return 0 if isinstance(malloc, str) else malloc.in_use()


def mappings_unavailable() -> str | None:
    """Say why private mappings cannot be told from malloc's."""
    return threads_unavailable() or heap_unavailable()


def resident_memory() -> int:
    """Return the bytes of memory that this process occupies now; 0 where /proc does not tell."""
    return _pages(1) * _PAGE


def voluntary_waits() -> int | None:
    """Return how many times this thread gave the processor up by itself, as it does to wait."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def private_mappings() -> int:
    """Return the bytes mapped privately and writably, without those that malloc mapped.

    The kernel's own sum (``data`` in statm) less malloc's; 5 microseconds. Reservations without
    access, such as the unused part of an arena, are in neither.
    """
    malloc = _malloc()
    if isinstance(malloc, str):
        return 0
    heap = malloc.read()
    return _pages(5) * _PAGE - heap.arenas - heap.mapped


def _pages(column: int) -> int:
    """Return one number of statm: size, resident, shared, text, lib, data, in pages."""
    return int(*(_read("/proc/self/statm") or b"").split()[column : column + 1])
