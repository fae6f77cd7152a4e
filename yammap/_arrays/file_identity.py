"""Which file an array is in: by a path for other processes, and an identity to check."""

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

__all__ = ["Place", "Source", "file_of", "find_source", "guard", "locate", "source_at"]


# The mappings of this process for arrays: thousands of parts of a file share a descriptor.
# Two threads that open a file at the same time make two mappings, which are coherent.
_open: WeakValueDictionary[tuple[Any, ...], Mmap] = WeakValueDictionary()


class Source(NamedTuple):
    """A file, as it was when the array was made.

    A value that the system does not tell is 0. So are the last two in pickles of earlier
    versions.
    """

    path: str | bytes
    inode: int
    size: int  # in bytes
    born: int = 0  # in microseconds
    filesystem: int = 0

    def open(self, mode: str) -> Mmap:
        """Return this process's mapping of the file; map the file if there is none.

        Raises
        ------
        OSError
            ``ESTALE`` when another file has the path, or the file is shorter than before.
        """
        if mode == "c":  # whose changes no other array may see
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
        """Return the mapping if it is of this file still, else raise as `open` does."""
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
        """Return when content and inode changed, in ns, or None if there is no such file.

        The first time alone is not enough: copying a file with its times sets it back.
        """
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ctime_ns


def _differ(one: int, other: int) -> bool:
    return 0 != one != other != 0


def source_at(path: Path) -> Source:
    """Return the identity of the file at a path.

    This maps the file, to find the end of the data in a file that runs ahead of it (`Mmap`,
    `ahead`), and to refuse a file that cannot be mapped now and not later.
    """
    name = absolute(os.fspath(path))
    with open_path(name) as m:
        return _source_of(m, name)


def _source_of(m: Mmap, path: str | bytes) -> Source:
    fd = Mapping.fileno(m)
    status = os.fstat(fd)
    return Source(path, status.st_ino, min(status.st_size, m.size()), *birth(fd))


def file_of(m: Mmap) -> tuple[int, int]:
    """Return device and inode, which no other file has while this mapping lives."""
    status = os.fstat(Mapping.fileno(m))
    return status.st_dev, status.st_ino


class Place(NamedTuple):
    """Where an address in a mapping leads to."""

    name: Any  # the path or descriptor that the file was opened by
    file: tuple[int, int]  # device and inode
    offset: int  # in the file, in bytes
    fd: int  # -1 when it is closed
    private: bool


def locate(array: NDArray[Any]) -> Place:
    """Return where the first element of an array lies in its file.

    Raises
    ------
    ValueError
        When the array is not in a mapping.
    """
    return Place(*_owner(array)._locate(array.__array_interface__["data"][0]))


def guard(array: NDArray[Any]) -> AbstractContextManager[object]:
    """Return a context that raises on leaving if an array's memory had a bus error.

    It does what `Mmap.guard` does, for arrays without a mapping at hand: those of
    `open_array` and `open_npz`, and large pieces of a `MappedArray`.

    Parameters
    ----------
    array : numpy.ndarray
        Any view of the memory of a mapping, which may be closed.

    Returns
    -------
    context manager
        Entering and leaving it raise `BusError` if the kernel could not supply a page of
        the memory that `array` is a part of. An exception of the block passes through.

    Raises
    ------
    TypeError
        When `array` is no ndarray.
    ValueError
        When the array is not in a mapping, or is in a closed one that was itself passed to
        NumPy as a buffer.

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
        # Other types than arrays: np.lib.stride_tricks gives its arrays a base of its own.
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
        if owner is None:
            raise ValueError(
                "the array is not in a mapping of yammap: pass one from open_array(), or a "
                "view of it"
            )
    return owner


def find_source(place: Place, mode: str) -> tuple[Source, Mmap | None]:
    """Return the file by its path if that still leads there, else by a descriptor.

    The path of a descriptor is in /proc, and leads to the file as long as the mapping that
    this returns is open.

    Raises
    ------
    ValueError
        When neither leads to the file.
    """
    if isinstance(place.name, str | bytes):
        name = absolute(place.name)
        with contextlib.suppress(OSError), open_path(name) as m:
            if file_of(m) == place.file:
                return _source_of(m, name), None
    if place.fd != -1:
        m = open_path(place.fd, mode)
        if file_of(m) == place.file:  # else another thread has just closed it
            return _source_of(m, f"/proc/{os.getpid()}/fd/{Mapping.fileno(m)}"), m
    raise ValueError(
        f"no path leads to {place.name!r} any more, and its mapping is closed: keep it open"
    )
