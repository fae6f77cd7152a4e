"""Memory that processes share by name: `shared`, and the mapping of a segment."""

from __future__ import annotations

import errno
import operator
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypedDict, Unpack

from .._core import Mapping
from .._linux.limits import limit_behind
from .._linux.memory_room import shortage
from .mmap_file import Mmap
from .opening import check_options, mapped
from .segments import HeldPath, Place, attach, clean, make, name_of, sweep
from .signatures import shows

if TYPE_CHECKING:
    from .._linux.calls import Descriptor

__all__ = ["SHM", "Segment", "allocate", "shared"]

# Asking how much memory is left takes as long as filling this many bytes.
_LEAST_ASKED = 1 << 20

SHM = "/dev/shm"  # noqa: S108  # files there are checked to be our own

# Bytes of address space for segments of up to a quarter of it. Mapping the usual 1 GiB
# takes 3 us more.
_RESERVE = 64 << 20

_ACCESS = {"r": os.O_RDONLY, "r+": os.O_RDWR, "c": os.O_RDONLY}


class _Options(TypedDict, total=False):
    reserve: int | None
    populate: bool
    advice: int | None
    on_fault: Literal["raise", "poison"]


class Segment(Mmap):
    """Memory that processes share by name: a mapping of a file in ``/dev/shm``.

    `yammap.shared` makes one, or attaches to one. It has all that an `Mmap` has. When it is
    sent to another process, it is attached there.

    See Also
    --------
    yammap.shared : Make a segment, or attach to one.

    Examples
    --------
    >>> import yammap
    >>> with yammap.shared("counters", 64, create=True) as m:
    ...     m.name, m.path, m.size()
    ('counters', '/dev/shm/yammap-counters', 64)
    """

    __slots__ = ()

    @property  # type: ignore[misc]  # others attach by it, so nobody changes it
    def name(self) -> str:
        """str: the name by which other processes attach to the segment."""
        return name_of(self.path)

    @property
    def path(self) -> str:
        """str: the path of the segment's file, for other programs."""
        return str(Mapping.name.__get__(self))

    def resize(self, size: SupportsIndex) -> None:
        """Set the segment's size; other processes see it by `Mmap.refresh`.

        Parameters
        ----------
        size : int
            The new size, in bytes, at least 1. New bytes are zeros, and have memory of
            their own.

        Raises
        ------
        BufferError
            When the segment would become smaller under live views of this process. In
            other processes, views of the bytes that were cut off raise `BusError`.
        OSError
            ``ENOSPC`` when the file system is full, and ``ENOMEM`` when the machine or a
            control group has less memory left. The segment is then as it was.
        io.UnsupportedOperation
            When it is attached read-only.
        ValueError
            When *size* is less than 1, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> writer = yammap.shared("grows", 8, create=True)
        >>> reader = yammap.shared("grows")
        >>> first = reader.array()
        >>> writer.resize(16)
        >>> reader.refresh(), first.size
        (16, 8)
        >>> reader.close(), writer.close()
        (None, None)
        """
        if (length := operator.index(size)) < 1:
            raise ValueError(f"a segment has 1 byte or more, not {length}")
        _require_memory(length - len(self), self.path)
        super().resize(length)

    def unlink(self) -> None:
        """Remove the segment's name now: nobody can attach any more.

        Present users can go on, and the memory is freed with the last of them. A pickle
        that nobody has loaded yet can no longer be loaded. Without this call, the name is
        removed when the last user closes the segment.

        Raises
        ------
        FileNotFoundError
            When the name has been removed already.
        PermissionError
            When the segment belongs to another user.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.shared("gone soon", 8, create=True)
        >>> m.unlink()
        >>> os.path.exists(m.path), m.write(b"still here")
        (False, 10)
        >>> m.close()
        """
        self._held_path().use.unlink()

    def close(self, *, revoke: bool = False) -> None:
        """Stop using the segment; it is removed if nobody else uses it.

        Arrays and views over it stay valid. Like handles, they keep the segment in use
        until they are gone. Closing twice does nothing.

        Parameters
        ----------
        revoke : bool, default False
            Take the memory from arrays and views, too: they read zeros from then on, and
            what is stored into them is lost.

        Raises
        ------
        BusError
            When a view has touched a missing page.
        OSError
            When the kernel reports an error at closing. The mapping is closed in any case.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.shared("short", 8, create=True)
        >>> m.close()
        >>> os.path.exists(m.path)
        False
        """
        path = self.path
        try:
            super().close(revoke=revoke)
        finally:
            self._rename(path)  # which holds nothing

    def __reduce__(self) -> Any:
        """Return how another process attaches; the segment waits for that.

        Raises
        ------
        ValueError
            When the mapping is closed.
        """
        mode = "c" if self.private else "r" if self.readonly else "r+"
        return _attach_again, (self._held_path(), mode)

    def _held_path(self) -> HeldPath:
        len(self)  # raises when closed
        path: HeldPath = Mapping.name.__get__(self)
        return path


@shows(_Options, Mmap.__init__)
def shared(
    name: str | None = None,
    size: int | None = None,
    create: bool = False,
    *,
    mode: Literal["r", "r+", "c"] = "r+",
    perm: int = 0o600,
    directory: str | os.PathLike[str] = SHM,
    **options: Unpack[_Options],
) -> Segment:
    """Map memory that processes share by name: a segment.

    A segment lives as long as somebody uses it: a mapping, an array over it or a
    `MappedArray` of it, in any process. It is removed with its last user. If that user was
    killed, another call of `shared` in that directory removes it: the first call of each
    process looks for such segments, and later calls spend up to 1 % of the time on it.

    Parameters
    ----------
    name : str, optional
        The name of the segment: no path, and at most 200 bytes long. By default a new
        segment gets a random name.
    size : int, optional
        Size of a new segment, in bytes, at least 1; all zeros.
    create : bool, default False
        Make the segment, which must not exist; by default attach to one that exists.
    mode : {"r", "r+", "c"}, default "r+"
        Read; read and write; or copy on write. A new segment is for ``"r+"``.
    perm : int, default 0o600
        Permission bits of a new segment, less the process's umask. By default other users
        can neither read nor write it.
    directory : path-like, default "/dev/shm"
        Where the segment's file is. A tmpfs keeps it in memory only.
    reserve, populate, advice, on_fault : optional
        As for `Mmap`.

    Returns
    -------
    Segment
        The mapping.

    Raises
    ------
    FileExistsError
        When `create` is true, and the name is in use.
    FileNotFoundError
        When no segment has the name, or there is no such directory.
    OSError
        ``ENOSPC`` when the file system has not enough room for a new segment, and
        ``ENOMEM`` when the machine or a control group (cgroup) has less memory left.
        Nothing is left then.
    PermissionError
        When the segment belongs to another user, who has not allowed `mode`.
    TypeError
        When `name` is no str.
    ValueError
        When `name` cannot be a name, or `size`, `mode` or `perm` do not fit.

    Notes
    -----
    A child that is forked has all segments of its parent, and uses them until it closes
    them, drops them, or ends. A process that is started otherwise attaches by name, or by a
    pickle of the segment or of a `MappedArray`. A pickle that nobody has loaded keeps the
    segment for ten minutes.

    A new segment has all its memory at once, so no later access finds a full file system.
    From 1 MiB on, `shared` first checks how much memory the machine and the control groups
    have left. But others may take that memory meanwhile: then the kernel may still kill a
    process of the group.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> m = yammap.shared("frames", 1 << 20, create=True)
    >>> m.array("f4")[:3] = 1, 2, 3
    >>> same = yammap.shared("frames")      # in any process of the user
    >>> same.array("f4")[:3]
    array([1., 2., 3.], dtype=float32)
    >>> m.close(), same.close()             # the last one removes it
    (None, None)
    """
    check_options(size, options, _Options, new=create)
    _check_arguments(name, size, create, mode, perm)
    place = Place(_absolute(directory), os.urandom(8).hex() if name is None else name)
    place.require_name()
    sweep(place.directory)
    if size is not None:
        fd, path = make(place, perm, partial(allocate, size, place.path))
    else:
        fd, path, size = attach(place, _ACCESS[mode])
    return _map(fd, path, size, mode, options)


def _check_arguments(
    name: str | None, size: int | None, create: bool, mode: str, perm: int
) -> None:
    if mode not in _ACCESS:
        raise ValueError(f"mode must be 'r', 'r+' or 'c', not {mode!r}")
    if create and mode != "r+":
        raise ValueError(f"a new segment is made to be written: leave out mode={mode!r}")
    if create and not size:
        raise ValueError(f"a new segment needs a size of 1 byte or more, not {size}")
    if not create and size is not None:
        raise ValueError(
            "size= is for a new segment: pass create=True as well, or leave it out"
        )
    if not create and name is None:
        raise ValueError("a segment is attached by its name: pass one, or create=True")
    if perm & 0o600 != 0o600:
        raise ValueError(f"perm must let the owner read and write, 0o600, not {perm:#o}")


def _absolute(directory: str | os.PathLike[str]) -> str:
    return SHM if directory == SHM else os.path.abspath(directory)


def allocate(size: int, path: str, fd: int) -> None:
    """Give a new file its size and its memory, also that of what was left behind."""
    _require_memory(size, path)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        directory = os.path.dirname(path)
        if error.errno == errno.ENOSPC and clean(directory):
            return os.posix_fallocate(fd, 0, size)
        error.strerror = f"{error.strerror}{_explained(error.errno, directory)}"
        error.filename = path
        raise


def _explained(code: int | None, directory: str) -> str:
    if code != errno.ENOSPC:
        return limit_behind(code or 0)
    found = os.statvfs(directory)
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    return f"; {directory} has {free} bytes free of {total}: mount it with more"


def _require_memory(size: int, path: str) -> None:
    """Raise if a limit is known to leave less; the kernel would kill a process later."""
    if size >= _LEAST_ASKED and (reason := shortage(size)) is not None:
        raise OSError(errno.ENOMEM, f"no memory for {size} bytes more: {reason}", path)


def _map(
    fd: Descriptor, path: HeldPath, size: int, mode: str, options: _Options
) -> Segment:
    reserve = _RESERVE if size <= _RESERVE // 4 else None
    settings = {"reserve": reserve, **options}
    settings |= {"private": mode == "c", "readonly": mode == "r"}
    return mapped(fd, path, settings, Segment)


def _attach_again(path: HeldPath, mode: str) -> Segment:
    return _map(*attach(path.use.place, _ACCESS[mode]), mode, {})
