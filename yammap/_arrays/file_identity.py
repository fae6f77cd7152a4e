"""Which file an array is in: by a path for other processes, and an identity to check."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from .._core import Mapping, Region, birth
from .._file.opening import absolute, reopen
from .._file.opening import open as open_path
from . import descriptors
from .fingerprint import content, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from .._file.mmap_file import Mmap
    from .._file.opening import Path

__all__ = [
    "HandleMode",
    "Identity",
    "Place",
    "Source",
    "file_of",
    "find_source",
    "guard",
    "locate",
    "require_identity",
    "source_at",
]

HandleMode = Literal["r", "r+", "c"]

Identity = Literal["file", "sample", "content", "size"] | None

# What each policy reads to know a file again; the others read none of it.
_FINGERPRINTS = {"sample": sample, "content": content}

_POLICIES = ("file", *_FINGERPRINTS, "size", None)

# The mappings of this process for arrays: thousands of parts of a file share one. Two
# threads that open a file at the same time make two mappings, which are coherent.
_open: WeakValueDictionary[tuple[Any, ...], Mmap] = WeakValueDictionary()

_COPY = "or pass identity='sample' when you make it, if this is a copy of the file"


class Source(NamedTuple):
    """A file, as it was when the array was made.

    A value that the system does not tell is 0. So is what pickles of earlier versions lack.
    """

    path: str | bytes
    inode: int
    size: int  # in bytes
    born: int = 0  # in microseconds
    filesystem: int = 0
    identity: Identity = "file"
    fingerprint: bytes = b""
    changed: int = 0  # in nanoseconds; only where the filesystem makes inodes up

    def open(self, mode: HandleMode) -> Mmap:
        """Return this process's mapping of the file; map the file if there is none.

        Raises
        ------
        OSError
            ``ESTALE`` when another file has the path, or the file is shorter than before.
        """
        if mode == "c":  # whose changes no other array may see
            return descriptors.lend(self._opened(mode))
        key = (*self._replace(size=0), mode)
        m = _open.get(key)
        if m is None or m.closed or not descriptors.has(m):
            _open[key] = m = descriptors.lend(self._opened(mode))
            return m
        if m.size() < self.size:
            m.refresh()
        return self.checked(m)

    def _opened(self, mode: HandleMode) -> Mmap:
        """Map the file, and check all of its identity."""
        try:
            m = self.checked(open_path(self.path, mode))
        except (FileNotFoundError, PermissionError) as error:
            raise _with_rule(error, self.path) from None
        read = _FINGERPRINTS.get(self.identity or "")
        if read and read(m, self.size) != self.fingerprint:
            raise self._stale(f"its {self.identity} is another", "make a new one")
        return m

    def part(self, mode: HandleMode, m: Mmap, part: range) -> Mmap:
        """Return a mapping of a part of the file, by a descriptor if `m` has one."""
        start, count = part.start, len(part)
        if descriptors.has(m):
            return reopen(self.checked(m), mode, offset=start, length=count)
        with open_path(self.path, mode) as whole:
            return reopen(self.checked(whole), mode, offset=start, length=count)

    def checked(self, m: Mmap) -> Mmap:
        """Return the mapping if it is of this file still, else raise as `open` does."""
        if self.identity is None:
            return m
        found = _source_of(m, self.path)
        if self.identity == "file" and (change := self._change(found)):
            raise self._stale(change, f"make a new one, {_COPY}")
        if found.size < self.size:
            change = f"it was cut from {self.size} bytes to {found.size}"
            raise self._stale(change, "make a new one")
        return m

    def _change(self, found: Source) -> str | None:
        """Return by what another file is told from this one, if it is another."""
        if found.inode != self.inode and not self._is_renumbered(found):
            return f"another file has its path, inode {found.inode} and not {self.inode}"
        if _differ(found.filesystem, self.filesystem):
            return f"another file has its path, inode {found.inode} of another filesystem"
        if _differ(found.born, self.born):
            return f"another file has its path, and was given the same inode {found.inode}"
        return None

    def _is_renumbered(self, found: Source) -> bool:
        """Whether the filesystem may have made up another inode for the same file."""
        if not self.changed:
            return False
        if found.born and self.born:
            return found.born == self.born
        return (found.changed, found.size) == (self.changed, self.size)

    def _stale(self, change: str, advice: str) -> OSError:
        return OSError(
            errno.ESTALE,
            f"the file is not as it was when the array was made: {change}; {advice}",
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


def _with_rule(error: OSError, path: str | bytes) -> OSError:
    """Say how long memory without a path can be reached, if that is what a path is of."""
    of_process = _OF_PROCESS.fullmatch(os.fsdecode(path))
    if not of_process:
        return error
    return type(error)(
        error.errno,
        f"this memory has no file and lives in process {of_process[1]}, which is gone, has "
        f"dropped it, or is on another machine: keep the handle alive there, and to return "
        f"an array from a worker, put it in a file, as one in /dev/shm",
        path,
    )


_OF_PROCESS = re.compile(r"/proc/(\d+)/fd/\d+")


def require_identity(identity: Identity, mode: HandleMode | None) -> None:
    """Raise unless a policy is one, and one for arrays of this mode."""
    if identity not in _POLICIES:
        raise ValueError(
            f"identity must be one of {', '.join(map(repr, _POLICIES))}, not {identity!r}"
        )
    if mode == "r+" and identity in _FINGERPRINTS:
        raise ValueError(
            f"identity={identity!r} is of bytes that stay as they are: with mode 'r+', "
            f"pass 'file', 'size' or None"
        )


def source_at(path: Path, identity: Identity) -> Source:
    """Return the identity of the file at a path.

    This maps the file, to find the end of the data in a file that runs ahead of it (`Mmap`,
    `ahead`), and to refuse a file that cannot be mapped now and not later.
    """
    name = absolute(os.fspath(path))
    with open_path(name) as m:
        return _source_of(m, name, identity)


def _source_of(m: Mmap, path: str | bytes, identity: Identity = "file") -> Source:
    fd = Mapping.fileno(m)
    status = os.fstat(fd)
    size = min(status.st_size, m.origin + m.size())
    born, filesystem, inodes_last = birth(fd)
    source = Source(path, status.st_ino, size, born, filesystem, identity)
    if not inodes_last:
        source = source._replace(changed=status.st_mtime_ns)
    if read := _FINGERPRINTS.get(identity or ""):
        source = source._replace(fingerprint=read(m, size))
    return source


def file_of(m: Mmap) -> tuple[int, int]:
    """Return device and inode, which no other file has while this mapping lives."""
    return locate(np.asarray(m.view())).file


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


def find_source(
    place: Place, mode: HandleMode, identity: Identity
) -> tuple[Source, Mmap | None]:
    """Return the file by its path if that still leads there, else by a descriptor.

    The path of a descriptor is in /proc, and leads to the file as long as the mapping that
    this returns is open.

    Raises
    ------
    ValueError
        When neither leads to the file.
    """
    for name in _names(place):
        with contextlib.suppress(OSError), open_path(name) as m:
            if file_of(m) == place.file:
                return _source_of(m, name, identity), None
    if place.fd != -1:
        m = open_path(place.fd, mode)
        if file_of(m) == place.file:  # else another thread has just closed it
            name = f"/proc/{os.getpid()}/fd/{Mapping.fileno(m)}"
            return _source_of(m, name, identity), m
    raise ValueError(
        f"no path leads to {place.name!r} any more, and its mapping is closed: keep it open"
    )


def _names(place: Place) -> Iterator[str | bytes]:
    """Yield paths that may lead to a file: as it was opened, and as the kernel knows it.

    The second is there after a change of the working directory, or a renaming.
    """
    if isinstance(place.name, str | bytes):
        yield absolute(place.name)
    if place.fd != -1:
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{place.fd}")
