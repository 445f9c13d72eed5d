"""Any other system: what psutil tells, where it is installed."""

from __future__ import annotations

from typing import Any

CHILDREN_EACH_ROUND = False
"""psutil looks at every process of the system to find the children: milliseconds."""

_NO_PSUTIL = "psutil is not installed (refleak's extra 'native' brings it)"


def psutil() -> Any:
    """Import psutil, or return None where it is not installed."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def process() -> Any:
    """Return psutil's view of this process; made anew, since a fork changes it."""
    return psutil().Process()


def without(*names: str) -> str | None:
    """Say what is missing where psutil, or any of its functions *names*, is."""
    module = psutil()
    if module is None:
        return _NO_PSUTIL
    for name in names:
        if not hasattr(module, name) and not hasattr(module.Process, name):
            return f"psutil {module.__version__} has no {name}() on this system"
    return None


def descriptors_unavailable() -> str | None:
    """Say so where psutil cannot count descriptors."""
    return without("num_fds")


def count_descriptors() -> int:
    """Return how many file descriptors are open."""
    return int(process().num_fds())


def describe_descriptors() -> dict[int, str]:
    """Return the files and connections that psutil knows, by descriptor."""
    me = process()
    found = {file.fd: str(file.path) for file in me.open_files()}
    for connection in me.net_connections(kind="all"):
        found[connection.fd] = _connection(connection)
    return {fd: text for fd, text in found.items() if fd >= 0}


def _connection(connection: Any) -> str:
    ends = [_end(connection.laddr), _end(connection.raddr)]
    return f"{connection.family.name} socket {' to '.join(filter(None, ends))}".rstrip()


def _end(address: Any) -> str:
    return address if isinstance(address, str) else ":".join(map(str, address))


def threads_unavailable() -> str | None:
    """Say so where psutil is missing."""
    return without("num_threads")


def count_threads() -> int:
    """Return how many threads this process has."""
    return int(process().num_threads())


def describe_native_threads() -> dict[int, str]:
    """Return the native thread ids; psutil knows no names."""
    return {int(thread.id): "" for thread in process().threads()}


def children_unavailable() -> str | None:
    """Say so where psutil is missing."""
    return without("children")


def count_children() -> int:
    """Return how many child processes there are."""
    return len(process().children())


def describe_children() -> dict[int, str]:
    """Return each child's command, by process id."""
    return {child.pid: _command(child) for child in process().children()}


def _command(child: Any) -> str:
    try:
        return " ".join(child.cmdline()) or str(child.name())
    except psutil().Error:  # a zombie, or gone
        return "ended, not waited for"


def heap_unavailable() -> str | None:
    """Say so where psutil is missing or older than 7.2, which brought heap_info()."""
    return without("heap_info")


def heap_in_use() -> int:
    """Return the bytes in use by the C heap."""
    info = psutil().heap_info()
    return int(info.heap_used + info.mmap_used)


def mappings_unavailable() -> str | None:
    """Return the reason: only Linux tells private mappings from malloc's at an acceptable cost."""
    return "mappings can be told from malloc's on Linux with glibc only"


def private_mappings() -> int:
    """Return 0: see :func:`mappings_unavailable`."""
    return 0


def resident_memory() -> int:
    """Return the bytes of memory that this process occupies now; 0 without psutil."""
    return int(process().memory_info().rss) if psutil() else 0


def voluntary_waits() -> int | None:
    """Return None: how many times this thread waited is not known here."""
    return None
