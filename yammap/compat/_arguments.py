"""What the arguments of `mmap.mmap` mean, and the errors that it raises for bad ones."""

from __future__ import annotations

import errno
import os
import sys
from operator import index
from typing import TYPE_CHECKING

from .._file.opening import memory_fd
from .._linux.calls import Descriptor, ask, open_again
from .._linux.flags import MapFlag, Prot

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = [
    "ACCESS_COPY",
    "ACCESS_DEFAULT",
    "ACCESS_READ",
    "ACCESS_WRITE",
    "ANONYMOUS",
    "PAGESIZE",
    "POPULATE",
    "READ_WRITE",
    "SHARED",
    "access_of",
    "as_int",
    "as_ssize",
    "os_error",
    "to_map",
]

ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, ACCESS_COPY = range(4)
_ACCESSES = ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, ACCESS_COPY
PAGESIZE = os.sysconf("SC_PAGESIZE")
READ_WRITE = Prot.READ | Prot.WRITE

_LEAST_INT, _MOST_INT = -(2**31), 2**31 - 1
_LEAST_SSIZE, _MOST_SSIZE = -sys.maxsize - 1, sys.maxsize

# Flags that yammap may ignore: no program can see that their effect is missing.
_HINTS = MapFlag.DENYWRITE | MapFlag.EXECUTABLE | MapFlag.NORESERVE | MapFlag.STACK

# As plain integers: an operation on members of enums takes as long as a system call.
SHARED, PRIVATE = int(MapFlag.SHARED), int(MapFlag.PRIVATE)
ANONYMOUS, POPULATE = int(MapFlag.ANONYMOUS), int(MapFlag.POPULATE)
_KNOWN = int(ANONYMOUS | POPULATE | _HINTS)
_READ, _WRITE = int(Prot.READ), int(Prot.WRITE)


def as_ssize(value: SupportsIndex) -> int:
    """Return `value` as an integer that fits a C ssize_t."""
    number = index(value)
    if not _LEAST_SSIZE <= number <= _MOST_SSIZE:
        raise OverflowError("Python int too large to convert to C ssize_t")
    return number


def as_int(value: SupportsIndex) -> int:
    """Return `value` as an integer that fits a C int."""
    number = index(value)
    if not _LEAST_INT <= number <= _MOST_INT:
        bound = "greater than maximum" if number > 0 else "less than minimum"
        raise OverflowError(f"signed integer is {bound}")
    return number


def os_error(code: int, name: object = None) -> OSError:
    return OSError(code, os.strerror(code), name)


def access_of(flags: int, prot: int, access: int) -> tuple[int, bool]:
    """Return the kind of access, and whether it is copy on write."""
    if access != ACCESS_DEFAULT and (flags != SHARED or prot != _READ | _WRITE):
        raise ValueError("mmap can't specify both access and flags, prot.")
    if access not in _ACCESSES:
        raise ValueError("mmap invalid access parameter.")
    kind = flags & 0xF
    if kind not in (SHARED, PRIVATE):
        raise os_error(errno.EINVAL)
    if prot & ~(_READ | _WRITE):
        raise PermissionError(
            errno.EACCES, f"prot {prot:#x} asks for more than PROT_READ | PROT_WRITE"
        )
    if unknown := flags & ~(kind | _KNOWN):
        raise OSError(
            errno.EOPNOTSUPP, f"yammap does not support flags {unknown:#x}: leave them out"
        )
    if access == ACCESS_DEFAULT and not prot & _WRITE:
        access = ACCESS_READ
    if access == ACCESS_DEFAULT and not prot & _READ:
        access = ACCESS_WRITE
    return access, access == ACCESS_COPY or (kind == PRIVATE and access != ACCESS_READ)


def checked_length(size: int, offset: int, file_size: int) -> int:
    """Return the length to map: for 0, all to the end of the file."""
    if offset % PAGESIZE:
        raise os_error(errno.EINVAL)
    if size == 0 and file_size == 0:
        raise ValueError("cannot mmap an empty file")
    if size == 0 and offset >= file_size:
        raise ValueError("mmap offset is greater than file size")
    if size > file_size - offset:
        raise ValueError("mmap length is greater than file size")
    return size or file_size - offset


def to_map(
    fileno: int | None, size: int, offset: int
) -> tuple[Descriptor, str | None, int]:
    """Return a descriptor to map, of new memory for None, its name, and the length.

    The file is opened once more. A duplicate would share its owner's write errors, which
    the kernel reports once for each open file description, and its ``O_APPEND``, which
    `mmap` ignores.
    """
    if fileno is None:
        return *_new_memory(size, offset), size
    asked = ask(fileno, os.O_ACCMODE)
    if not asked.is_regular:
        raise OSError(errno.ENODEV, "yammap maps regular files only", fileno)
    length = checked_length(size, offset, asked.size)
    if asked.flags == os.O_WRONLY:
        raise os_error(errno.EACCES, fileno)
    return open_again(fileno, asked), None, length


def _new_memory(size: int, offset: int) -> tuple[Descriptor, str]:
    if offset % PAGESIZE or size == 0:
        raise os_error(errno.EINVAL)
    memory = memory_fd("mmap", os.MFD_CLOEXEC)
    os.truncate(memory.fd, offset + size)
    return memory, "memfd:mmap"
