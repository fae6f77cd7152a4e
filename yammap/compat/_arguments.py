"""What the arguments of `mmap.mmap` mean, and the errors that it raises for bad ones."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from operator import index
from typing import TYPE_CHECKING

from .._file.opening import memory_fd
from .._linux.calls import Descriptor
from .._linux.flags import MapFlag, Prot

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = [
    "ACCESS_COPY",
    "ACCESS_DEFAULT",
    "ACCESS_READ",
    "ACCESS_WRITE",
    "PAGESIZE",
    "READ_WRITE",
    "access_of",
    "as_int",
    "as_ssize",
    "checked_size",
    "new_memory",
    "os_error",
    "own_descriptor",
]

ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, ACCESS_COPY = range(4)
PAGESIZE = os.sysconf("SC_PAGESIZE")
READ_WRITE = Prot.READ | Prot.WRITE

_MOST_INT = 2**31 - 1

# Flags that yammap may ignore: no program can see that their effect is missing.
_HINTS = MapFlag.DENYWRITE | MapFlag.EXECUTABLE | MapFlag.NORESERVE | MapFlag.STACK


def as_ssize(value: SupportsIndex) -> int:
    """Return `value` as an integer that fits a C ssize_t."""
    number = index(value)
    if not -sys.maxsize - 1 <= number <= sys.maxsize:
        raise OverflowError("Python int too large to convert to C ssize_t")
    return number


def as_int(value: SupportsIndex) -> int:
    """Return `value` as an integer that fits a C int."""
    number = index(value)
    if not -_MOST_INT - 1 <= number <= _MOST_INT:
        bound = "greater than maximum" if number > 0 else "less than minimum"
        raise OverflowError(f"signed integer is {bound}")
    return number


def os_error(code: int, name: object = None) -> OSError:
    return OSError(code, os.strerror(code), name)


def access_of(flags: int, prot: int, access: int) -> tuple[int, bool]:
    """Return the kind of access, and whether it is copy on write."""
    if access != ACCESS_DEFAULT and (flags != MapFlag.SHARED or prot != READ_WRITE):
        raise ValueError("mmap can't specify both access and flags, prot.")
    if access not in range(4):
        raise ValueError("mmap invalid access parameter.")
    kind = flags & 0xF
    if kind not in (MapFlag.SHARED, MapFlag.PRIVATE):
        raise os_error(errno.EINVAL)
    if prot & ~READ_WRITE:
        raise PermissionError(
            errno.EACCES, f"prot {prot:#x} asks for more than PROT_READ | PROT_WRITE"
        )
    if unknown := flags & ~(kind | MapFlag.ANONYMOUS | MapFlag.POPULATE | _HINTS):
        raise OSError(
            errno.EOPNOTSUPP, f"yammap does not support flags {unknown:#x}: leave them out"
        )
    if access == ACCESS_DEFAULT and not prot & Prot.WRITE:
        access = ACCESS_READ
    if access == ACCESS_DEFAULT and not prot & Prot.READ:
        access = ACCESS_WRITE
    return access, access == ACCESS_COPY or (
        kind == MapFlag.PRIVATE and access != ACCESS_READ
    )


def checked_size(fileno: int | None, size: int, offset: int) -> int:
    """Return the length to map: for 0, all to the end of the file."""
    if offset % PAGESIZE or (fileno is None and size == 0):
        raise os_error(errno.EINVAL)
    if fileno is None:
        return size
    status = os.fstat(fileno)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENODEV, "yammap maps regular files only", fileno)
    if size == 0 and status.st_size == 0:
        raise ValueError("cannot mmap an empty file")
    if size == 0 and offset >= status.st_size:
        raise ValueError("mmap offset is greater than file size")
    if size > status.st_size - offset:
        raise ValueError("mmap length is greater than file size")
    return size or status.st_size - offset


def new_memory(size: int) -> tuple[Descriptor, str]:
    memory = memory_fd("mmap", os.MFD_CLOEXEC)
    os.truncate(memory.fd, size)
    return memory, "memfd:mmap"


def own_descriptor(fileno: int) -> tuple[Descriptor, str | int]:
    """Open the file again, and return its name as well.

    A descriptor of its own does not share its owner's write errors, which the kernel
    reports once for each open file description, nor its ``O_APPEND``, which `mmap` ignores.
    """
    mode = fcntl.fcntl(fileno, fcntl.F_GETFL) & os.O_ACCMODE
    if mode == os.O_WRONLY:
        raise os_error(errno.EACCES, fileno)
    link = f"/proc/self/fd/{fileno}"
    with contextlib.suppress(OSError):
        name = os.readlink(link)
        return Descriptor(os.open, link, mode | os.O_CLOEXEC), name
    return Descriptor(os.dup, fileno), fileno
