"""What the system tells of this process."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from running import python

from refleak._platform import _glibc, _macos, _other, _sockets, _windows, system

linux = pytest.mark.skipif(sys.platform != "linux", reason="what Linux's /proc tells")
glibc = pytest.mark.skipif(_glibc.libc_version() is None, reason="needs glibc's malloc")


@pytest.fixture
def fresh():
    """Let functions that remember what this kernel can do find it out anew, before and after."""
    from refleak._platform import _linux

    cached = [
        _linux._size_counts_descriptors,
        _linux._links_count_threads,
        _linux._kernel_lists_children,
    ]
    for function in cached:
        function.cache_clear()
    yield _linux
    for function in cached:
        function.cache_clear()


@pytest.fixture
def child():
    """A child process that waits until it is killed."""
    program = "print(flush=True); import time; time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # now it is no copy of this one any more
        yield process
        process.kill()


@linux
def test_waiting_is_told_from_working():
    """A thread that sleeps gives the processor up by itself; one that computes does not."""

    def waits(work):
        before = system.voluntary_waits()
        work()
        return system.voluntary_waits() - before

    assert 0 < waits(lambda: time.sleep(0.001))
    assert 0 in [waits(lambda: sum(range(100))) for _ in range(50)]


def test_an_opened_descriptor_is_counted_once():
    """The count rises by one for a descriptor that is opened, and falls when it is closed."""
    before = system.count_descriptors()
    fd = os.open(os.devnull, os.O_RDONLY)
    opened = system.count_descriptors()
    os.close(fd)
    assert (before + 1, before) == (opened, system.count_descriptors())


@linux
def test_kernels_whose_directory_size_tells_nothing_are_counted_by_listing(fresh, monkeypatch):
    """Before Linux 6.2 the size of /proc/self/fd is 0; the descriptors are listed then."""
    expected = len(os.listdir("/proc/self/fd")) - 1
    monkeypatch.setattr(fresh, "_size_counts_descriptors", lambda: False)
    assert expected == fresh.count_descriptors()


@linux
def test_systems_whose_link_count_tells_nothing_are_counted_by_listing(fresh, monkeypatch):
    """Where the link count of /proc/self/task is no thread count, the threads are listed."""
    expected = len(os.listdir("/proc/self/task"))
    monkeypatch.setattr(fresh, "_links_count_threads", lambda: False)
    assert expected == fresh.count_threads()


@linux
def test_a_file_is_described_by_its_path(tmp_path):
    """A descriptor of a file is told by the file's path."""
    with (tmp_path / "drops").open("wb") as file:
        assert str(tmp_path / "drops") == system.describe_descriptors()[file.fileno()]


@linux
def test_descriptors_without_a_path_are_described_in_words():
    """Pipes, event and memory descriptors are told by their kind."""
    reading, writing = os.pipe()
    memory = os.memfd_create("drops")
    poll = select.epoll()
    described = system.describe_descriptors()
    poll.close()
    for fd in (reading, writing, memory):
        os.close(fd)
    assert described[reading].startswith("pipe ")
    assert described[reading] == described[writing]
    assert described[memory] == "memfd drops"
    assert "eventpoll" in list(described.values())


@linux
def test_sockets_are_described_with_family_and_peer():
    """A connected socket is told with both ends, a listening one with its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = f"127.0.0.1:{server.getsockname()[1]}"
        with socket.create_connection(server.getsockname()) as client:
            own = f"127.0.0.1:{client.getsockname()[1]}"
            described = system.describe_descriptors()
            assert f"TCP socket listening on {listening}" == described[server.fileno()]
            assert f"TCP socket {own} to {listening}" == described[client.fileno()]


@linux
def test_datagram_and_local_sockets_are_described(tmp_path):
    """A datagram socket without a peer is told by its own address, a local one by its path."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        socket.socket(socket.AF_UNIX) as local,
    ):
        datagram.bind(("127.0.0.1", 0))
        local.bind(str(tmp_path / "tap"))
        described = system.describe_descriptors()
        port = datagram.getsockname()[1]
        assert f"UDP socket 127.0.0.1:{port}" == described[datagram.fileno()]
        assert f"Unix socket {tmp_path / 'tap'}" == described[local.fileno()]


@pytest.mark.skipif(sys.byteorder != "little", reason="the example is a little-endian machine's")
def test_kernel_addresses_are_shown_as_usual():
    """The kernel's hexadecimal words become addresses of both families."""
    assert "127.0.0.1:80" == _sockets.address("0100007F:0050")
    assert "[::1]:443" == _sockets.address("00000000000000000000000001000000:01BB")


def test_a_thread_is_counted_and_described():
    """A running thread is one more, and its native id is described."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait)
    before = system.count_threads()
    thread.start()
    count, described = system.count_threads(), system.describe_native_threads()
    event.set()
    thread.join()
    assert before + 1 == count
    assert thread.native_id in described


def test_a_child_is_counted_and_described(child):
    """A running child process is counted, and described by its command."""
    assert system.count_children() == len(system.describe_children()) >= 1
    assert "time.sleep(600)" in system.describe_children()[child.pid]


@linux
def test_counting_children_reaps_none_of_them():
    """A child that has ended is counted as a zombie, and can still be waited for."""
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert system.count_children() >= 1
    assert "(zombie: ended, not waited for)" in system.describe_children()[process.pid]
    assert 7 == process.wait()


@linux
def test_without_children_none_is_counted(tmp_path):
    """A process that never had a child has none."""
    program = "from refleak._platform import system; print(system.count_children())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"0" == ran.stdout.strip()


@linux
def test_kernels_without_lists_of_children_are_scanned(fresh, monkeypatch, child):
    """Without CONFIG_PROC_CHILDREN the parents of all processes are looked at."""
    expected = sorted(fresh._children())
    monkeypatch.setattr(fresh, "_kernel_lists_children", lambda: False)
    assert child.pid in expected
    assert expected == sorted(fresh._children())


@linux
def test_a_file_of_proc_that_is_gone_reads_as_none(fresh):
    """A process or thread that ends while it is looked at is no error."""
    assert fresh._read("/proc/self/task/0/comm") is None
    assert "?" == fresh._command(0)


@linux
def test_without_proc_the_reason_is_said(fresh, monkeypatch, tmp_path):
    """Where /proc is not mounted each quantity read from it says so."""
    for name in ("_FDS", "_TASKS"):
        monkeypatch.setattr(fresh, name, str(tmp_path / "missing"))
    reasons = {
        fresh.descriptors_unavailable(),
        fresh.threads_unavailable(),
        fresh.children_unavailable(),
        fresh.mappings_unavailable(),
    }
    assert {"/proc is not mounted here"} == reasons


def _allocator():
    libc = ctypes.PyDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes, libc.free.restype = [ctypes.c_void_p], None
    return libc


def _deltas(level, call, rounds=6):
    values = [0] * (rounds + 1)
    for _ in range(5):
        call()
        level()
    for number in range(rounds + 1):
        if number:
            call()
        values[number] = level()
    return [after - before for before, after in pairwise(values)]


_LOST_CHUNKS = """
import gc, sys
gc.disable()  # as before a reading: 3.15 takes a chunk itself when it collects in between
from array import array
sys.path.insert(0, sys.argv[1])
from test_platform import _allocator, _deltas, system

libc = _allocator()
scattered, sizes = sys.argv[2] == "True", map(int, sys.argv[3:])
for size in sizes:
    if scattered:  # free chunks of the next larger size, which malloc gives instead
        chunks = [libc.malloc(size + 16) for _ in range(600)]
        for chunk in chunks[::2]:
            libc.free(chunk)
        libc.free(libc.malloc(100_000))  # from now on they are free for all
    lost = array("q", range(100))  # that many fit without growing
    del lost[:]
    print(*_deltas(system.heap_in_use, lambda: lost.append(libc.malloc(size))))
"""


@glibc
@pytest.mark.parametrize("scattered", [False, True])
def test_a_lost_chunk_is_seen_at_once_and_exactly(scattered):
    """Each lost chunk raises the level by its size, though the thread's cache served it.

    malloc gives 16 bytes more where the rest of a free chunk would be too small to keep. In a
    process of its own, where nothing that earlier tests left behind comes between.
    """
    chunks = {24: 32, 64: 80, 104: 112, 600: 608, 1032: 1040}
    given = (str(scattered), *map(str, chunks))
    ran = python("-c", _LOST_CHUNKS, str(Path(__file__).parent), *given)
    lines = ran.stdout.splitlines()
    assert len(chunks) == len(lines), ran.stderr
    for line, chunk in zip(lines, chunks.values(), strict=True):
        assert {int(delta) - chunk for delta in line.split()} <= {0, 16}, (chunk, line)


@glibc
def test_chunks_freed_into_the_cache_are_not_in_use():
    """A function that frees all it allocates, in another order, reads as no change."""
    libc = _allocator()
    sizes = [1 + 37 * number % 1500 for number in range(300)]

    def churn():
        pointers = [libc.malloc(size) for size in sizes]
        for pointer in pointers[::2] + pointers[1::2]:
            libc.free(pointer)

    assert [0] * 6 == _deltas(system.heap_in_use, churn)


LARGE = 64 << 20
"""Bytes so many that malloc gives them a mapping of their own."""


def _around_a_large_chunk(read):
    """Read a level before a large chunk is allocated, while it is, and after it was freed."""
    libc = _allocator()
    before = read()
    pointer = libc.malloc(LARGE)
    during = read()
    libc.free(pointer)
    return before, during, read()


@glibc
def test_a_chunk_with_a_mapping_of_its_own_is_in_use():
    """Allocations so large that malloc maps them are counted too."""
    before, during, after = _around_a_large_chunk(system.heap_in_use)
    assert during - before >= LARGE
    assert after - before < 4096  # malloc's own few bytes come and go


@glibc
def test_mappings_of_malloc_are_not_counted_as_mappings():
    """What malloc maps for itself is in the native heap, and in that only."""
    before, during, _ = _around_a_large_chunk(system.private_mappings)
    assert before == during


@glibc
def test_a_private_mapping_is_counted():
    """A private mapping raises the level by its size, until it is unmapped."""
    import mmap

    before = system.private_mappings()
    mapping = mmap.mmap(-1, 16384, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    during = system.private_mappings()
    mapping.close()
    assert (before + 16384, before) == (during, system.private_mappings())


@linux
def test_another_libc_is_said(monkeypatch):
    """Where the libc is not glibc, the native heap says that it cannot be judged."""
    from refleak._platform import _linux

    monkeypatch.setattr(_glibc, "libc_version", lambda: None)
    _linux._malloc.cache_clear()
    reasons = [_linux.heap_unavailable(), _linux.mappings_unavailable()]
    levels = [_linux.heap_in_use(), _linux.private_mappings()]
    _linux._malloc.cache_clear()
    assert ["this libc is not glibc and has no mallinfo2()"] * 2 == reasons
    assert [0, 0] == levels


@glibc
def test_another_allocator_is_noticed(monkeypatch):
    """Where malloc is another library's, glibc's numbers do not move and this is said."""
    monkeypatch.setattr(_glibc.Malloc, "read", lambda self: _glibc.Heap(0, 0, 0))
    with pytest.raises(OSError, match="another allocator"):
        _glibc.Malloc()


@glibc
def test_before_glibc_2_33_the_old_function_is_asked():
    """mallinfo() of older versions tells the same in smaller numbers."""

    class Old:
        mallinfo = ctypes.PyDLL(None).mallinfo

    new, old = _glibc.Malloc(), _glibc.Malloc()
    old._mallinfo = _glibc._mallinfo(ctypes, Old)
    assert new.read().arenas % 2**32 == old.read().arenas


@pytest.mark.parametrize(
    ("told", "version"),
    [("glibc 2.36", (2, 36)), ("glibc 2.42.9000", (2, 42)), ("musl 1.2", None), ("", None)],
)
def test_the_version_of_glibc_is_known(monkeypatch, told, version):
    """glibc tells its version; another libc, or none, is None."""
    monkeypatch.setattr(os, "confstr", lambda name: told, raising=False)
    assert version == _glibc.libc_version()


def test_systems_without_confstr_have_no_glibc(monkeypatch):
    """Where os.confstr is missing there is no glibc."""
    monkeypatch.delattr(os, "confstr", raising=False)
    assert _glibc.libc_version() is None


@pytest.mark.parametrize(
    ("version", "tunables", "places"),
    [
        ((2, 36), "", 7),
        ((2, 41), "glibc.malloc.check=3", 7),
        ((2, 42), "", 16),
        ((2, 36), "glibc.malloc.check=3:glibc.malloc.tcache_count=20", 20),
        ((2, 42), "glibc.malloc.tcache_count=x", 16),
    ],
)
def test_the_places_of_the_thread_cache_are_known(monkeypatch, version, tunables, places):
    """The cache keeps 7 chunks of a size, 16 since 2.42, or what the tunable says."""
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert places == _glibc.cache_places(version)


def test_the_memory_of_the_process_is_told():
    """The resident memory is that of a Python process: megabytes."""
    assert system.resident_memory() > 2**20


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has descriptors")
def test_psutil_counts_as_the_system_does(child):
    """What psutil tells on systems of which we know no better is the same."""
    pytest.importorskip("psutil")
    assert _other.descriptors_unavailable() is None
    assert _other.threads_unavailable() is None
    assert _other.children_unavailable() is None
    before = _other.count_descriptors()  # one more than there are: its own listing's
    fd = os.open(os.devnull, os.O_RDONLY)
    opened = _other.count_descriptors()
    os.close(fd)
    assert before + 1 == opened
    assert system.count_threads() == _other.count_threads()
    assert system.count_children() == _other.count_children()
    assert set(system.describe_native_threads()) == set(_other.describe_native_threads())
    assert system.describe_children()[child.pid] == _other.describe_children()[child.pid]
    assert _other.resident_memory() > 2**20


def test_psutil_describes_files_and_connections(tmp_path):
    """Files are told by path, sockets by family and both ends."""
    pytest.importorskip("psutil")
    with (
        (tmp_path / "drops").open("wb") as file,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        described = _other.describe_descriptors()
        ends = [f"127.0.0.1:{s.getsockname()[1]}" for s in (client, server)]
        assert str(tmp_path / "drops") == described[file.fileno()]
        assert f"AF_INET socket {' to '.join(ends)}" == described[client.fileno()]


@linux
def test_psutil_has_no_command_of_a_zombie():
    """A child that has ended is told as such."""
    pytest.importorskip("psutil")
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    described = _other.describe_children()
    process.wait()
    assert "ended, not waited for" == described[process.pid]


def test_psutil_reads_the_heap_where_it_can():
    """psutil 7.2 tells the bytes in use; an older one is told by its version."""
    psutil = pytest.importorskip("psutil")
    if hasattr(psutil, "heap_info"):
        assert _other.heap_unavailable() is None
        assert _other.heap_in_use() > 0
    else:
        expected = f"psutil {psutil.__version__} has no heap_info() on this system"
        assert expected == _other.heap_unavailable()


def test_without_psutil_the_reason_is_said(monkeypatch):
    """What needs psutil says so where it is not installed."""
    monkeypatch.setitem(sys.modules, "psutil", None)
    reasons = {
        _other.descriptors_unavailable(),
        _other.threads_unavailable(),
        _other.children_unavailable(),
        _other.heap_unavailable(),
        _windows.descriptors_unavailable(),
    }
    assert {"psutil is not installed (refleak's extra 'native' brings it)"} == reasons
    assert 0 == _other.resident_memory()


def test_mappings_are_judged_on_linux_only():
    """Other systems say that mappings cannot be told from malloc's."""
    assert _other.mappings_unavailable() is not None
    assert 0 == _other.private_mappings()


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="no /dev/fd here")
def test_dev_fd_lists_the_descriptors():
    """macOS's way of counting and naming descriptors is right where it can be tried."""
    assert _macos.descriptors_unavailable() is None
    assert system.count_descriptors() == _macos.count_descriptors()
    assert set(system.describe_descriptors()) <= set(_macos.describe_descriptors())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has handles")
def test_systems_without_handles_say_so():
    """Handles are Windows's: elsewhere psutil cannot count them."""
    psutil = pytest.importorskip("psutil")
    expected = f"psutil {psutil.__version__} has no num_handles() on this system"
    assert expected == _windows.descriptors_unavailable()


def test_handles_are_counted_by_psutil(monkeypatch):
    """Where psutil counts handles, their number is the level."""

    class Process:
        def num_handles(self):
            return 42

    monkeypatch.setattr(_other, "process", Process)
    assert 42 == _windows.count_descriptors()


def test_every_system_has_the_same_names():
    """The module of each system offers all that the probes use."""
    from refleak._platform import _linux

    wanted = set(_macos.__all__)
    assert wanted == set(_windows.__all__)
    for module in (_linux, _macos, _windows, _other):
        assert set() == wanted - set(vars(module))
