"""The facts about a file: its size, blocks, holes, filesystem and residency."""

from __future__ import annotations

import errno
import mmap
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._file.opening import open as open_path
from .._linux.flags import Whence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._file.mmap_file import Mmap

__all__ = ["UNTOLD", "Filesystem", "Info", "Residency", "inspect", "residency"]

# The errors of a kernel that does not tell what is in memory, see `Mmap.resident`.
UNTOLD = frozenset({errno.EPERM, errno.ENOSYS})

# The most cells of a map: four lines on a terminal of 80 columns.
_CELLS = 256


@dataclass(frozen=True)
class Filesystem:
    """A mounted filesystem, as proc_pid_mountinfo(5) describes it."""

    type: str
    source: str
    mount: str


@dataclass(frozen=True)
class Residency:
    """How much of a file is in memory, for each cell: one of its equal parts."""

    cell: int
    """Bytes in a cell, a power of two; the last cell may have fewer."""
    resident: list[int]
    """Bytes in memory, for each cell."""


@dataclass(frozen=True)
class Info:
    """A file. Sizes are in bytes."""

    path: str
    size: int
    allocated: int
    """Bytes that the file takes on the disk."""
    holes: int
    """The number of holes."""
    bytes_in_holes: int
    filesystem: Filesystem | None
    """None when it is not mounted, as for memory without a name, or without /proc."""
    engine: str
    """``"pread"`` when the filesystem cannot be mapped, else ``"mmap"``."""
    residency: Residency | None
    """None when the kernel does not tell."""


def inspect(path: str) -> Info:
    """Collect the facts about a file, without reading or changing a byte of it.

    Raises
    ------
    OSError
        When the file cannot be opened for reading, or is not a regular file.
    """
    with open_path(path, engine="auto") as m:
        holes = list(_holes(m))
        return Info(
            path=path,
            size=m.size(),
            allocated=os.fstat(m.fileno()).st_blocks * 512,
            holes=len(holes),
            bytes_in_holes=sum(holes),
            filesystem=_filesystem(m.fileno()),
            engine=m.engine,
            residency=residency(m),
        )


def residency(m: Mmap) -> Residency | None:
    """Return what is in memory; None when the kernel does not tell, see `Mmap.resident`.

    This counts cell by cell: a byte for each page of a very large file takes much memory.
    """
    size = m.size()
    cell = max(mmap.PAGESIZE, 1 << (-(-size // _CELLS) - 1).bit_length())
    try:
        return Residency(
            cell,
            [m._bytes_resident(at, min(cell, size - at)) for at in range(0, size, cell)],
        )
    except OSError as error:
        if error.errno in UNTOLD:
            return None
        raise


def _holes(m: Mmap) -> Iterator[int]:
    """Yield the length of each hole, without the end, which lseek(2) calls one as well."""
    end = 0
    while (start := m.lseek(end, Whence.HOLE) if end < m.size() else end) < m.size():
        end = _next_data(m, start)
        yield end - start


def _next_data(m: Mmap, position: int) -> int:
    try:
        return m.lseek(position, Whence.DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return m.size()


def _filesystem(fd: int) -> Filesystem | None:
    """Look the mount up by its number: a path does not tell nested mounts apart."""
    if not os.path.exists("/proc/self/mountinfo"):
        return None
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        number = next(line.split()[1] for line in lines if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for fields in map(str.split, mounts):
            if fields[0] == number:
                kind, source = fields[fields.index("-") + 1 :][:2]
                return Filesystem(kind, _unescaped(source), _unescaped(fields[4]))
    return None


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
