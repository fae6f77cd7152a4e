"""The class `mmap`: a mapping that behaves as the standard library's `mmap.mmap`."""

from __future__ import annotations

import errno
import io
import sys
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex

from .._core import LENGTH, FixedLength, map_descriptor
from .._errors import BusError
from .._file.mmap_file import Mmap
from .._linux.flags import MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MS_SYNC, MapFlag
from ._arguments import (
    ACCESS_COPY,
    ACCESS_DEFAULT,
    ACCESS_READ,
    ANONYMOUS,
    PAGESIZE,
    POPULATE,
    READ_WRITE,
    access_of,
    as_int,
    as_ssize,
    os_error,
    to_map,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn, Self

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    _Buffer = Buffer | NDArray[Any]

__all__ = ["mmap"]

_ACCESS = "ACCESS_DEFAULT", "ACCESS_READ", "ACCESS_WRITE", "ACCESS_COPY"


class mmap(FixedLength, Mmap):  # noqa: N801
    """A file or memory, mapped as the standard library's `mmap.mmap` does.

    Parameters
    ----------
    fileno : int
        Descriptor of a regular file or memfd; -1 for memory without a file.
    length : int
        Bytes to map; 0 for all to the end of the file.
    flags : int, default MAP_SHARED
        ``MAP_PRIVATE`` for copy on write, ``MAP_POPULATE``, ``MAP_ANONYMOUS``. Flags that
        place the mapping or need huge pages are refused.
    prot : int, default PROT_WRITE | PROT_READ
        ``PROT_READ``, ``PROT_WRITE`` or both. ``PROT_EXEC`` is refused.
    access : int, default ACCESS_DEFAULT
        ``ACCESS_READ``, ``ACCESS_WRITE`` or ``ACCESS_COPY``, instead of flags and prot.
    offset : int, default 0
        Position in the file, in bytes; a multiple of ``ALLOCATIONGRANULARITY``.
    trackfd : bool, default True
        Keep a descriptor. Without it the mapping cannot be resized.

    Raises
    ------
    OSError
        When a system call fails, the file is not a regular one (``ENODEV``), its
        descriptor does not allow the access or `prot` asks for more (``EACCES``), or
        `flags` are not supported (``EOPNOTSUPP``).
    OverflowError
        When `length` or `offset` is negative.
    ValueError
        When the range is not in the file, the file is empty, or `access` is combined with
        `flags` or `prot`.

    Examples
    --------
    >>> from yammap import compat as mmap
    >>> with mmap.mmap(-1, 13) as m:
    ...     m.write(b"Hello world!")
    ...     m[6:9], m.find(b"o", 0), m.rfind(b"o", 0), len(m)
    12
    (b'wor', 4, 7, 13)
    """

    __slots__ = ("_access", "_is_file", "_tracked")

    _access: int
    _is_file: bool
    _tracked: bool
    _closed_text = "mmap closed or invalid"

    def __new__(
        cls,
        fileno: SupportsIndex,
        length: SupportsIndex,
        flags: int = MapFlag.SHARED,
        prot: int = READ_WRITE,
        access: int = ACCESS_DEFAULT,
        offset: SupportsIndex = 0,
        *,
        trackfd: bool = True,
    ) -> Self:
        """Map it. Not in ``__init__``, which subclasses override without calling it."""
        fileno, size, start = as_int(fileno), as_ssize(length), as_ssize(offset)
        if size < 0:
            raise OverflowError("memory mapped length must be positive")
        if start < 0:
            raise OverflowError("memory mapped offset must be positive")
        flags, prot = index(flags), index(prot)
        access, private = access_of(flags, prot, access)
        sys.audit("mmap.__new__", fileno, size, access, start)
        anonymous = fileno == -1 or bool(flags & ANONYMOUS)
        fd, name, size = to_map(None if anonymous else fileno, size, start)
        writable = access != ACCESS_READ
        self = Mmap.__new__(cls)
        self._access, self._is_file, self._tracked = access, not anonymous, trackfd
        map_descriptor(
            self,
            fd,
            name,
            private=private,
            readonly=not writable,
            offset=start,
            length=size,
            preallocate=False,  # as ftruncate(2), it leaves blocks to later stores
            keep_fd=trackfd,
        )
        if flags & POPULATE:
            self.populate()
        if writable and self.readonly:
            refusal = os_error(errno.EACCES, self.name)
            self.close()
            raise refusal
        if trackfd:
            self._free_size()
        return self

    def __repr__(self) -> str:
        if self.closed:
            return "<mmap.mmap closed=True>"
        return (
            f"<mmap.mmap closed=False, access={_ACCESS[self._access]}, "
            f"length={len(self)}, pos={self._position}, offset={self.origin}>"
        )

    def fileno(self) -> NoReturn:
        """Raise, since a mapping of the standard library has no descriptor either.

        Raises
        ------
        io.UnsupportedOperation
            Always.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).fileno()
        Traceback (most recent call last):
        io.UnsupportedOperation: an mmap has no fileno
        """
        raise io.UnsupportedOperation("an mmap has no fileno")

    # -- As a sequence: iterating gives bytes objects

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
        i = 0
        while item := self[i : i + 1]:
            yield item
            i += 1

    def __reversed__(self) -> Iterator[bytes]:
        return (self[i : i + 1] for i in reversed(range(len(self))))

    def __contains__(self, item: object) -> bool:
        """Tell whether `item` is one of the bytes objects that iterating gives."""
        len(self)
        return isinstance(item, (bytes, bytearray, memoryview)) and (
            len(item) == 1 and Mmap.find(self, item) != -1
        )

    def __bool__(self) -> bool:
        return len(self) > 0

    # -- The file

    def size(self) -> int:
        """Return the size of the file, which may be larger than the mapping.

        Returns
        -------
        int
            The present size in bytes.

        Raises
        ------
        OSError
            When there is no file, or its descriptor is not tracked (``EBADF``).
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> with open("ten.bin", "w+b") as file:
        ...     file.truncate(10)
        ...     mmap.mmap(file.fileno(), 4).size()
        10
        10
        """
        if self._is_file and self._tracked:
            return self._size_of_file()
        len(self)
        raise os_error(errno.EBADF)

    def resize(self, newsize: SupportsIndex, /) -> None:
        """Change the length, and the size of the file.

        When the mapping becomes shorter, a longer file is truncated to that length. When it
        becomes longer, a file that is long enough stays as it is.

        Parameters
        ----------
        newsize : int
            The new length of the mapping, in bytes.

        Raises
        ------
        BufferError
            When it would become shorter under live views.
        OSError
            When the file cannot get that size, or it is 0 (``EINVAL``).
        OverflowError
            When `newsize` is beyond any size.
        TypeError
            When the mapping is read-only or copy-on-write.
        ValueError
            When `newsize` is negative, the descriptor is not tracked, or the mapping is
            closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> m = mmap.mmap(-1, 10)
        >>> m.resize(20)
        >>> len(m)
        20
        """
        size = as_ssize(newsize)
        len(self)
        if not self._tracked:
            raise ValueError("mmap can't resize with trackfd=False.")
        if self.readonly or self.private:
            raise TypeError("mmap can't resize a readonly or copy-on-write memory map.")
        if size < 0:
            raise ValueError("new size out of range")
        if size == 0:  # `mmap` cuts the file before it finds that it cannot map nothing
            raise os_error(errno.EINVAL)
        with self._turn:  # or a write that was found to fit would make it longer again
            super().resize(size)

    def flush(  # type: ignore[override]
        self, offset: SupportsIndex = 0, size: SupportsIndex = LENGTH, /
    ) -> None:
        """Write changed bytes to the disk.

        When another process has cut the file short, this writes the bytes that are left.

        Parameters
        ----------
        offset : int, default 0
            Where to start, in bytes; a multiple of ``PAGESIZE``.
        size : int, default len()
            Number of bytes; needed when `offset` is given.

        Raises
        ------
        BusError
            When a view touched a page that the kernel could not supply, so that bytes may
            be in memory only.
        OSError
            When `offset` is no multiple of it (``EINVAL``), or bytes could not be written.
        OverflowError
            When an argument is beyond any size.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).flush()
        """
        self._flush_with(MS_SYNC, offset, size)

    def _flush_with(self, flags: int, offset: SupportsIndex, size: SupportsIndex) -> None:
        writes = self._access not in (ACCESS_READ, ACCESS_COPY)
        try:
            self._flush(offset, size, writes, flags)
        except BusError:  # it comes last: all bytes of the file are on the disk
            if self.faults():
                raise

    def madvise(  # type: ignore[override]
        self,
        option: SupportsIndex,
        start: SupportsIndex = 0,
        length: SupportsIndex = LENGTH,
        /,
    ) -> None:
        """Tell the kernel how a range will be used, or that its bytes are not needed.

        Parameters
        ----------
        option : int
            A ``MADV_*`` constant. ``MADV_REMOVE`` makes a hole, ``MADV_DONTNEED`` discards
            the changes of a copy-on-write mapping, and so does ``MADV_FREE`` for memory.
        start : int, default 0
            Where to start, in bytes; a multiple of ``PAGESIZE``.
        length : int, default len()
            Number of bytes, which the kernel rounds up to whole pages.

        Raises
        ------
        OSError
            When the kernel, or `yammap.Mmap.madvise`, cannot follow the advice, or `start`
            is no multiple of ``PAGESIZE`` (``EINVAL``).
        OverflowError
            When the range goes beyond the largest offset, or `option` is no C int.
        ValueError
            When `start` is not in the mapping, `length` is negative, or the mapping is
            closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).madvise(mmap.MADV_RANDOM)
        """
        advice, first, size = as_int(option), as_ssize(start), len(self)
        count = size if length is LENGTH else as_ssize(length)
        if not 0 <= first < size:
            raise ValueError("madvise start out of bounds")
        if count < 0:
            raise ValueError("madvise length invalid")
        if count > sys.maxsize - first:
            raise OverflowError("madvise length too large")
        if first % PAGESIZE:
            raise os_error(errno.EINVAL)
        try:
            self._advise(advice, first, min(-(-count // PAGESIZE) * PAGESIZE, size - first))
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error), self.name) from None

    def _advise(self, option: int, start: int, count: int) -> None:
        if option == MADV_REMOVE and self.private and self._is_file:
            raise os_error(errno.EACCES, self.name)
        if option == MADV_FREE and (self._is_file or not self.private):
            raise os_error(errno.EINVAL, self.name)
        if option == MADV_REMOVE:
            self.punch_hole(start, count)
        elif self.private and option in (MADV_DONTNEED, MADV_FREE):
            self.discard(start, count)
        else:  # without a length, the advice holds for later growth, too
            super().madvise(option, start, count if start or count < len(self) else None)
