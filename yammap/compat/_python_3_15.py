"""The class `mmap` with what Python 3.15 changed in the standard library's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._linux.flags import MS_SYNC
from . import _mmap
from ._arguments import as_int, as_ssize

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["mmap"]

_LONGEST_NAME = 66  # of 80 bytes that the kernel keeps, Python uses the others itself


class mmap(_mmap.mmap):  # noqa: N801
    __slots__ = ()
    __doc__ = _mmap.mmap.__doc__

    def size(self) -> int:
        """Return the size of the file, which may be larger than the mapping.

        Returns
        -------
        int
            The present size in bytes; that of the mapping when there is no file.

        Raises
        ------
        ValueError
            When the mapping is closed, or its descriptor is not tracked.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> with open("ten.bin", "w+b") as file:
        ...     file.truncate(10)
        ...     mmap.mmap(file.fileno(), 4).size()
        10
        10
        """
        length = len(self)
        if not self._tracked:
            raise ValueError("can't get size with trackfd=False")
        return super().size() if self._is_file else length

    def flush(  # type: ignore[override]
        self,
        offset: SupportsIndex = 0,
        size: SupportsIndex = -1,
        /,
        *,
        flags: SupportsIndex = 0,
    ) -> None:
        """Write changed bytes to the disk.

        When another process has cut the file short, this writes the bytes that are left.

        Parameters
        ----------
        offset : int, default 0
            Where to start, in bytes; a multiple of ``PAGESIZE``.
        size : int, default -1
            Number of bytes; -1 for all to the end.
        flags : int, default 0
            ``MS_SYNC`` or 0 waits for the disk. ``MS_ASYNC`` does not, and leaves it to the
            kernel when to write. ``MS_INVALIDATE`` may be added, and changes nothing.

        Raises
        ------
        BusError
            When a view touched a page that the kernel could not supply, so that bytes may
            be in memory only.
        OSError
            When `offset` is no multiple of ``PAGESIZE`` or `flags` are unknown
            (``EINVAL``), or bytes could not be written.
        OverflowError
            When an argument is beyond any size.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).flush(flags=mmap.MS_ASYNC)
        """
        start, count, how = as_ssize(offset), as_ssize(size), as_int(flags)
        if count == -1:
            count = min(len(self) - start, len(self))  # a wrong start is refused below
        self._flush_with(how or MS_SYNC, start, count)

    def set_name(self, name: str, /) -> None:
        """Look at the name, and do no more, as `mmap` does without ``-X dev``.

        In ``/proc/PID/maps`` memory is called ``memfd:mmap``.

        Parameters
        ----------
        name : str
            At most 66 bytes as UTF-8.

        Raises
        ------
        TypeError
            When `name` is no string.
        ValueError
            When `name` is too long or has a null character, or there is a file.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).set_name("scratch")
        """
        if not isinstance(name, str):
            kind = type(name).__name__
            raise TypeError(f"set_name() argument must be str, not {kind}")
        if "\0" in name:
            raise ValueError("embedded null character")
        if len(name.encode()) > _LONGEST_NAME:
            raise ValueError("name is too long")
        if self._is_file:
            raise ValueError("Cannot set annotation on non-anonymous mappings")
