"""What a kernel, a filesystem and a sandbox allow, found by trying it.

Knows system calls and files of the system. It must not know what follows from them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import operator
import os
import platform
import signal
import struct
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from .._linux.memory_room import groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "cachestat",
    "cgroup_memory",
    "direct_alignment",
    "fallocate",
    "io_setup",
    "io_uring",
    "number_in",
    "read_directly",
    "readahead",
    "refusal",
    "scratch_file",
]

# Since 5.1, a call has one number on all machines. That of io_setup(2) is older.
_IO_URING_SETUP = 425
_CACHESTAT = 451
_IO_SETUP = {"x86_64": 206, "aarch64": 0, "riscv64": 0, "ppc64le": 227, "s390x": 243}

_STATX_DIOALIGN = 0x2000
_AT_EMPTY_PATH = 0x1000

# A limit of a cgroup that is none: the kernel rounds the largest number to pages.
_UNLIMITED = 1 << 62


def refusal(attempt: Callable[[], object]) -> str | None:
    """Try something in a process of its own, which may be killed; return why it failed."""
    with warnings.catch_warnings():
        # Python warns of forking with threads. The only ones here are NumPy's, and idle.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 255
        try:
            attempt()
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        return f"the process is killed by {signal.Signals(-code).name}"
    return os.strerror(code) if code else None


def _check(result: int) -> None:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _call(number: int | None, *arguments: object) -> None:
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    _check(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))


# -- System calls


def io_setup() -> None:
    """Make a context for kernel AIO."""
    context = ctypes.c_ulong()
    _call(_IO_SETUP.get(platform.machine()), 1, ctypes.byref(context))


def io_uring() -> None:
    """Make a ring."""
    _call(_IO_URING_SETUP, 1, ctypes.create_string_buffer(256))


def cachestat(fd: int) -> None:
    """Count the pages of a file that are in memory."""
    whole = ctypes.create_string_buffer(16)
    _call(_CACHESTAT, fd, whole, ctypes.create_string_buffer(64), 0)


def fallocate(fd: int, mode: int = 0) -> None:
    """Allocate a page of a file; posix_fallocate(3) would write where it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    length = ctypes.c_int64(mmap.PAGESIZE)
    _check(libc.fallocate64(fd, mode, ctypes.c_int64(0), length))


def direct_alignment(fd: int) -> tuple[int, int] | None:
    """Return how ``O_DIRECT`` needs memory and offsets aligned, as statx(2) tells.

    None: the kernel does not tell. Zeros: the file cannot be read so.
    """
    answer = ctypes.create_string_buffer(256)
    call = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if call is None or call(fd, b"", _AT_EMPTY_PATH, _STATX_DIOALIGN, answer) == -1:
        return None
    (mask,) = struct.unpack_from("=I", answer, 0)
    memory, offset = struct.unpack_from("=II", answer, 152)
    return (memory, offset) if mask & _STATX_DIOALIGN else None


def read_directly(fd: int) -> None:
    """Read a page past the page cache."""
    direct = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        os.readv(direct, [page])
    os.close(direct)


# -- Files


@contextlib.contextmanager
def scratch_file(folder: str) -> Iterator[tuple[int, bool]]:
    """Make a file of a page; give its descriptor, and whether it never had a name."""
    flags = os.O_RDWR | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        try:
            fd, unnamed = os.open(folder, flags | os.O_TMPFILE, 0o600), True
            stack.callback(os.close, fd)
        except OSError:
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
            fd, unnamed = file.fileno(), False
        os.write(fd, bytes(mmap.PAGESIZE))
        yield fd, unnamed


def readahead(fd: int) -> tuple[str, int] | None:
    """Return the setting of the file's device, and how many KiB it reads around a page."""
    device = os.fstat(fd).st_dev
    setting = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
    kib = number_in(setting)
    return None if kib is None else (setting, kib)


def number_in(path: str | Path) -> int | None:
    """Return the number that a file of the system holds; None for other files."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


# -- Memory


def cgroup_memory(proc: str = "/proc") -> tuple[int, int | None] | None:
    """Return the lowest limit of the cgroups this process is in, and what is used of it.

    In bytes. None: there is no limit, or it cannot be seen from here.
    """
    found = [
        (limit, number_in(f"{folder}/{version.usage}"))
        for folder, version in groups(proc)
        if (limit := number_in(f"{folder}/{version.limit}")) is not None
        and limit < _UNLIMITED
    ]
    return min(found, key=operator.itemgetter(0), default=None)
