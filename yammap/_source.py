"""Which file an array is in: by a path that other processes can follow, and known again."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from ._core import Mapping, Region
from ._open import absolute
from ._open import open as open_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._file import Mmap
    from ._open import Path

__all__ = ["Place", "Source", "locate", "reach", "source_at"]


# What is mapped here for arrays: thousands of parts of one file need one descriptor. Two
# threads that come first together make two, which are coherent.
_open: WeakValueDictionary[tuple[str | bytes, int, str], Mmap] = WeakValueDictionary()


class Source(NamedTuple):
    """A file, as it was found."""

    path: str | bytes
    inode: int
    size: int  # in bytes

    def open(self, mode: str) -> Mmap:
        """Return the mapping of this process; map the file if it has none.

        Raises
        ------
        OSError
            ``ESTALE`` when another file has its path, or it is shorter than it was.
        """
        if mode == "c":  # whose changes are not to be shared
            return self.checked(open_path(self.path, mode))
        key = self.path, self.inode, mode
        m = _open.get(key)
        if m is None or m.closed:
            m = open_path(self.path, mode)
        elif m.size() < self.size:
            m.refresh()
        _open[key] = self.checked(m)
        return m

    def checked(self, m: Mmap) -> Mmap:
        """Return the mapping if it still is of this file; errors are those of `open`."""
        found = _source_of(m, self.path)
        if found.inode != self.inode:
            change = f"another file has its path, inode {found.inode} and not {self.inode}"
        elif found.size < self.size:
            change = f"it was cut from {self.size} bytes to {found.size}"
        else:
            return m
        raise OSError(errno.ESTALE, f"not as the array was made of it: {change}", self.path)


def source_at(path: Path) -> Source:
    """Look at the file.

    It is mapped for that: one that runs ahead of its data (`Mmap`, `ahead`) ends where its
    data does, and what cannot be mapped is refused now.
    """
    name = absolute(os.fspath(path))
    with open_path(name) as m:
        return _source_of(m, name)


def _source_of(m: Mmap, path: str | bytes) -> Source:
    status = os.fstat(Mapping.fileno(m))
    return Source(path, status.st_ino, min(status.st_size, m.size()))


class Place(NamedTuple):
    """Where the memory of a mapping comes from."""

    name: Any  # what the file was opened by
    inode: int
    offset: int  # in the file, in bytes
    fd: int  # -1 when it is closed
    private: bool


def locate(array: NDArray[Any]) -> Place:
    """Return where the first element of an array over a mapping is.

    Raises
    ------
    ValueError
        When the memory is not that of a mapping.
    """
    owner: Any = array
    while not isinstance(owner, Region | Mapping):
        # Not of arrays only: those of np.lib.stride_tricks have a base of another type.
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
        if owner is None:
            raise ValueError("the array's memory is not that of a file mapped by yammap")
    return Place(*owner._locate(array.__array_interface__["data"][0]))


def reach(place: Place, mode: str) -> tuple[Source, Mmap | None]:
    """Return the file by its path if that still leads there, else by a descriptor.

    Such a path, in /proc, leads there as long as the mapping is open which comes with it.

    Raises
    ------
    ValueError
        When there is neither.
    """
    if isinstance(place.name, str | bytes):
        with contextlib.suppress(OSError):
            source = source_at(place.name)
            if source.inode == place.inode:
                return source, None
    if place.fd != -1:
        m = open_path(place.fd, mode)
        source = _source_of(m, f"/proc/{os.getpid()}/fd/{Mapping.fileno(m)}")
        if source.inode == place.inode:  # else another thread closed it just now
            return source, m
    raise ValueError(f"no path leads to {place.name!r} any more, and it is closed")
