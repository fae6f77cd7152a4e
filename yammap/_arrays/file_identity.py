"""Which file an array is in: by a path that other processes can follow, and known again."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from .._core import Mapping, Region, birth
from .._file.opening import absolute
from .._file.opening import open as open_path

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from .._file.mmap_file import Mmap
    from .._file.opening import Path

__all__ = ["Place", "Source", "file_of", "guard", "locate", "reach", "source_at"]


# What is mapped here for arrays: thousands of parts of one file need one descriptor. Two
# threads that come first together make two, which are coherent.
_open: WeakValueDictionary[tuple[Any, ...], Mmap] = WeakValueDictionary()


class Source(NamedTuple):
    """A file, as it was found.

    What could not be learnt is 0, as are the last two in pickles of earlier versions.
    """

    path: str | bytes
    inode: int
    size: int  # in bytes
    born: int = 0  # in microseconds
    filesystem: int = 0

    def open(self, mode: str) -> Mmap:
        """Return the mapping of this process; map the file if it has none.

        Raises
        ------
        OSError
            ``ESTALE`` when another file has its path, or it is shorter than it was.
        """
        if mode == "c":  # whose changes are not to be shared
            return self.checked(open_path(self.path, mode))
        key = (*self._replace(size=0), mode)
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
        elif _differ(found.filesystem, self.filesystem):
            change = f"another file has its path, inode {found.inode} of another filesystem"
        elif _differ(found.born, self.born):
            change = (
                f"another file has its path, and was given the same inode {found.inode}"
            )
        elif found.size < self.size:
            change = f"it was cut from {self.size} bytes to {found.size}"
        else:
            return m
        raise OSError(
            errno.ESTALE,
            f"the file is not as it was when the array was made: {change}; make a new one",
            self.path,
        )

    def times(self) -> tuple[int, int] | None:
        """Return when its content and its inode changed, in ns; None where it is not.

        The first alone could be set back, as those do who copy a file with its times.
        """
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns


def _differ(one: int, other: int) -> bool:
    return 0 != one != other != 0


def source_at(path: Path) -> Source:
    """Look at the file.

    It is mapped for that: one that runs ahead of its data (`Mmap`, `ahead`) ends where its
    data does, and what cannot be mapped is refused now.
    """
    name = absolute(os.fspath(path))
    with open_path(name) as m:
        return _source_of(m, name)


def _source_of(m: Mmap, path: str | bytes) -> Source:
    fd = Mapping.fileno(m)
    status = os.fstat(fd)
    return Source(path, status.st_ino, min(status.st_size, m.size()), *birth(fd))


def file_of(m: Mmap) -> tuple[int, int]:
    """Return device and inode, which no other file has while this one is mapped."""
    status = os.fstat(Mapping.fileno(m))
    return status.st_dev, status.st_ino


class Place(NamedTuple):
    """Where the memory of a mapping comes from."""

    name: Any  # what the file was opened by
    file: tuple[int, int]  # device and inode
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
    return Place(*_owner(array)._locate(array.__array_interface__["data"][0]))


def guard(array: NDArray[Any]) -> AbstractContextManager[object]:
    """Return a context that raises on leaving if an array's memory had a bus error.

    As `Mmap.guard` for arrays of which there is no mapping at hand: those of `open_array`
    and `open_npz`, and large pieces of a `MappedArray`.

    Parameters
    ----------
    array : numpy.ndarray
        Any view of the memory of a mapping, which may be closed.

    Returns
    -------
    context manager
        Entering it and leaving it raise `BusError` if a page of the memory that `array` is
        a part of could not be had. Leaving it by an exception lets that one pass.

    Raises
    ------
    TypeError
        When `array` is no ndarray.
    ValueError
        When its memory is not that of a mapping, or of one that is closed and was lent as
        a buffer by itself.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> np.arange(1000.0).tofile("measured.bin")
    >>> measured = yammap.open_array("measured.bin", "f8")
    >>> with yammap.guard(measured):
    ...     total = measured.sum()
    >>> float(total)
    499500.0
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"guard() takes an ndarray, not a {type(array).__name__!r}")
    return _owner(array).guard()


def _owner(array: NDArray[Any]) -> Region | Mapping:
    owner: Any = array
    while not isinstance(owner, Region | Mapping):
        # Not of arrays only: those of np.lib.stride_tricks have a base of another type.
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
        if owner is None:
            raise ValueError(
                "the array is not in a mapping of yammap: pass one from open_array(), or a "
                "view of it"
            )
    return owner


def reach(place: Place, mode: str) -> tuple[Source, Mmap | None]:
    """Return the file by its path if that still leads there, else by a descriptor.

    Such a path, in /proc, leads there as long as the mapping is open which comes with it.

    Raises
    ------
    ValueError
        When there is neither.
    """
    if isinstance(place.name, str | bytes):
        name = absolute(place.name)
        with contextlib.suppress(OSError), open_path(name) as m:
            if file_of(m) == place.file:
                return _source_of(m, name), None
    if place.fd != -1:
        m = open_path(place.fd, mode)
        if file_of(m) == place.file:  # else another thread closed it just now
            return _source_of(m, f"/proc/{os.getpid()}/fd/{Mapping.fileno(m)}"), m
    raise ValueError(
        f"no path leads to {place.name!r} any more, and its mapping is closed: keep it open"
    )
