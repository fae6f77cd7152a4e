"""The facts about a file: its size, blocks, holes, arrays, filesystem and residency."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from .._arrays.npy import read_header
from .._file.opening import open as open_path
from .._linux.flags import Whence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from .._file.mmap_file import Mmap

    # How many bytes are in memory, from an offset on for a number of bytes.
    Counter = Callable[[int, int], int]

__all__ = [
    "UNTOLD",
    "Array",
    "Filesystem",
    "Info",
    "Residency",
    "counter",
    "files_below",
    "filesystem",
    "inspect",
    "ranges_in_memory",
    "ranges_of_data",
    "residency",
    "select",
]

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
class Array:
    """An array in NumPy's format, as its header says."""

    name: str | None
    """In an archive; None in a file of its own."""
    dtype: str
    shape: tuple[int, ...]
    order: str
    compressed: bool = False


@dataclass(frozen=True)
class Residency:
    """How much of a range of a file is in memory, for each cell: one of its equal parts."""

    start: int
    """Where the range begins in the file."""
    length: int
    """Bytes in the range."""
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
    arrays: list[Array]
    """Those of a .npy or .npz file."""


def files_below(path: str) -> Iterator[str]:
    """Yield the path of a file; of a directory, those of all regular files below it."""
    if not os.path.isdir(path):
        yield path
        return
    for folder, below, names in os.walk(path, onerror=_raise):
        below.sort()
        found = (os.path.join(folder, name) for name in sorted(names))
        yield from (p for p in found if os.path.isfile(p) and not os.path.islink(p))


def _raise(error: OSError) -> None:
    raise error


def select(size: int, offset: int, length: int | None) -> tuple[int, int]:
    """Return the start of a range of a file and its number of bytes, up to the end.

    Raises
    ------
    OSError
        When it begins behind the end.
    """
    if offset > size:
        raise OSError(errno.EINVAL, f"byte {offset:,} is behind the end, {size:,}")
    rest = size - offset
    return offset, rest if length is None else min(length, rest)


def inspect(path: str, offset: int = 0, length: int | None = None) -> Info:
    """Collect the facts about a file, and what of a range of it is in memory.

    This changes nothing, and reads no more than the headers of .npy and .npz files.

    Raises
    ------
    OSError
        When the file cannot be opened for reading, or is not a regular file.
    """
    with open_path(path, engine="auto") as m:
        holes = list(_holes(m))
        start, count = select(m.size(), offset, length)
        return Info(
            path=path,
            size=m.size(),
            allocated=os.fstat(m.fileno()).st_blocks * 512,
            holes=len(holes),
            bytes_in_holes=sum(holes),
            filesystem=filesystem(m.fileno()),
            engine=m.engine,
            residency=residency(m, start, count),
            arrays=list(_arrays(path)),
        )


# -- Memory


def residency(m: Mmap, start: int, count: int) -> Residency | None:
    """Return what is in memory; None when the kernel does not tell, see `Mmap.resident`."""
    cell = max(mmap.PAGESIZE, 1 << (-(-count // _CELLS) - 1).bit_length())
    end = start + count
    try:
        with counter(m) as bytes_at:
            return Residency(
                start,
                count,
                cell,
                [bytes_at(at, min(cell, end - at)) for at in range(start, end, cell)],
            )
    except OSError as error:
        if error.errno in UNTOLD:
            return None
        raise


@contextlib.contextmanager
def counter(m: Mmap) -> Iterator[Counter]:
    """Give a function that counts the bytes in memory.

    cachestat(2) passes over what is not there, and so takes no time for a sparse file of
    terabytes. mincore(2), which older kernels have, looks at each page.
    """
    with open_path(m.fileno(), engine="pread") as asked:
        try:
            asked._bytes_resident(0, min(1, asked.size()))
        except OSError as error:
            if error.errno not in UNTOLD:
                raise
            asked = m
        yield asked._bytes_resident


def ranges_in_memory(
    bytes_at: Counter, start: int, count: int, piece: int
) -> Iterator[tuple[int, int]]:
    """Yield the pieces of a range of which something is in memory: offset and length."""
    if not count or not bytes_at(start, count):
        return
    if count <= piece:
        yield start, count
        return
    half = max(piece, 1 << (count - 1).bit_length() - 1)
    yield from ranges_in_memory(bytes_at, start, half, piece)
    yield from ranges_in_memory(bytes_at, start + half, count - half, piece)


# -- Arrays


def _arrays(path: str) -> Iterator[Array]:
    """Yield the arrays of a file whose name says that it has some."""
    with contextlib.suppress(ValueError, TypeError, BadZipFile, EOFError):
        if path.endswith(".npy"):
            with open(path, "rb") as file:
                yield _array(file, None)
        if path.endswith(".npz"):
            with ZipFile(path) as archive:
                for member in archive.infolist():
                    with archive.open(member) as file:
                        name = member.filename.removesuffix(".npy")
                        yield _array(file, name, member.compress_type != ZIP_STORED)


def _array(file: IO[bytes], name: str | None, compressed: bool = False) -> Array:
    header = read_header(file)
    layout = header.layout
    return Array(name, str(layout.dtype), layout.shape, header.order, compressed)


# -- The disk


def ranges_of_data(m: Mmap, start: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield what of a range is no hole: offset and length."""
    end = start + count
    at = _next_data(m, start) if count else end
    while at < end:
        hole = min(m.lseek(at, Whence.HOLE), end)
        yield at, hole - at
        at = _next_data(m, hole) if hole < end else end


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


def filesystem(fd: int) -> Filesystem | None:
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
