"""Which pages of a mapping are in memory, and how to load and evict them."""

from __future__ import annotations

import errno
import mmap
import os
import time
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from .._core import LineReader, Mapping
from .._linux.flags import Advice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Pages"]

# Bytes between two checks for signals: few enough to interrupt a slow disk.
_PIECE = 1 << 20

# The page cache holds folios of up to this many bytes, and drops each as a whole.
_FOLIO = 2 << 20

# Seconds to wait until pages can go that the kernel is just reading or writing.
_PAUSES = (0.001, 0.01)


class Pages(LineReader):
    """The part of `Mmap` that knows the page cache."""

    __slots__ = ()

    def warm(
        self,
        offset: SupportsIndex = 0,
        length: SupportsIndex | None = None,
        *,
        progress: Callable[[int, int], object] | None = None,
    ) -> int:
        """Read a range into the page cache, and wait until it is there.

        It takes no memory of the process and makes no page table entries (`populate` does):
        the kernel sends the file to ``/dev/null``, see sendfile(2). Advice such as
        ``MADV_RANDOM`` does not slow it down. A signal can interrupt it, and the next call
        goes on from there.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.
        progress : callable, optional
            A function that is called after each MiB, with the number of bytes read and the
            number to read. If it raises, the call ends.

        Returns
        -------
        int
            The number of bytes read: all, unless another thread truncated the file.

        Raises
        ------
        BusError
            When another process cut the file short, or the kernel cannot read it.
        OSError
            When there is no ``/dev/null``.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.create("weights.bin", 3 << 20) as m:
        ...     m.warm(progress=lambda done, total: print(f"{done / total:.0%}"))
        33%
        67%
        100%
        3145728
        """
        start, total = self._range(offset, length)
        done = 0
        with open(os.devnull, "wb", buffering=0) as sink:
            while done < total:
                count = self._warm_piece(start + done, total - done, sink.fileno())
                if count == 0:
                    break
                done += count
                if progress is not None:
                    progress(done, total)
        return done

    def _warm_piece(self, offset: int, length: int, sink: int) -> int:
        """Read one piece, and return its number of bytes.

        Without a descriptor, or where the kernel sends nothing, a copy does the same, and
        raises what is wrong.
        """
        piece = min(length, _PIECE)
        if count := self._send(offset, piece, sink):
            return count
        inside = min(piece, len(self) - offset)
        if inside > 0:
            self.madvise(Advice.WILLNEED, offset, inside)
        return len(self.pread(piece, offset))

    def populate(
        self,
        offset: SupportsIndex = 0,
        length: SupportsIndex | None = None,
        *,
        write: bool = False,
    ) -> None:
        """Load a range into memory and the page tables, so that no access to it faults.

        This is `warm` and, for each page, an entry in the page table, which `warm` leaves
        to the first access (madvise(2), ``MADV_POPULATE_READ``).

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.
        write : bool, default False
            Make the pages ready for writing (``MADV_POPULATE_WRITE``): this allocates the
            blocks of holes, and copies all pages of a copy-on-write mapping.

        Raises
        ------
        BusError
            When the kernel cannot supply a page: the file was cut short, or the disk is
            full or bad.
        OSError
            When there is not enough memory, or no ``/dev/null``.
        io.UnsupportedOperation
            When `write` is true and the mapping is read-only, or its engine is ``"pread"``.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.create("cut.bin", 8192)
        >>> m.populate(write=True)
        >>> os.truncate("cut.bin", 4096)
        >>> m.populate()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        yammap.BusError: [Errno 14] bus error, read at offset 4096: the file ...
        >>> m.close()
        """
        start, total = self._range(offset, length)
        self._require_memory(write=write)
        # Before Linux 5.18, sending the holes of a tmpfs fills them with small pages.
        in_memory = self._is_in_memory()
        with open(os.devnull, "wb", buffering=0) as sink:
            for at in range(start, start + total, _PIECE):
                piece = min(_PIECE, start + total - at)
                # Without this, the kernel reads in small folios, and page by page under
                # the advice MADV_RANDOM.
                if in_memory or not self._send(at, piece, sink.fileno()):
                    self.madvise(Advice.WILLNEED, at, piece)
                self._populate(at, piece, write)

    def resident(
        self, offset: SupportsIndex = 0, length: SupportsIndex | None = None
    ) -> NDArray[np.bool_]:
        """Tell which pages are in memory, as mincore(2).

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Returns
        -------
        numpy.ndarray
            Shape ``(pages,)``, dtype bool: for each page that the range touches, whether
            it is in the page cache or is a changed page of a copy-on-write mapping.

        Raises
        ------
        OSError
            ``EPERM`` when the kernel does not tell, because the caller neither owns the
            file nor may write to it; mincore(2) would call all pages resident. ``EPERM`` or
            ``ENOSYS``, and the name of the call, when a sandbox refuses mincore(2), or the
            engine is ``"pread"`` and there is no cachestat(2) (before Linux 6.5).
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Notes
        -----
        A mapping that has not kept its descriptor cannot ask whether the kernel hides
        the answer, and trusts mincore(2).

        Examples
        --------
        >>> import mmap, yammap
        >>> m = yammap.anonymous(3 * mmap.PAGESIZE)
        >>> m.write_at(b"touched", mmap.PAGESIZE)
        7
        >>> m.resident()
        array([False,  True, False])
        """
        start, count = self._range(offset, length)
        if self.engine == "pread":
            return self._resident_by_count(start, count)
        pages: NDArray[np.bool_] = np.frombuffer(self._mincore(start, count), np.bool_)
        if len(pages) and pages.all() and self._residency_is_hidden(start):
            raise OSError(
                errno.EPERM,
                "the kernel tells which pages are resident only to the file's owner and to "
                "users who may write to it",
                self.name,
            )
        return pages

    def _residency_is_hidden(self, offset: int) -> bool:
        """Tell whether mincore(2) answers yes to every question."""
        try:
            self._cachestat(offset, 1)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS):
                return False
            # Either the kernel's own rule, or a sandbox that refuses the call.
            return not _may_see_residency(Mapping.fileno(self))
        return False

    def _resident_by_count(self, start: int, count: int) -> NDArray[np.bool_]:
        first = (self.origin + start) // mmap.PAGESIZE
        end = -(-(self.origin + start + count) // mmap.PAGESIZE) if count else first
        pages = np.zeros(end - first, np.bool_)
        self._mark_cached(pages, first)
        return pages

    def _mark_cached(self, pages: NDArray[np.bool_], first: int) -> None:
        """Mark cached pages: halve the range until all or none of its pages are cached."""
        start = max(0, first * mmap.PAGESIZE - self.origin)
        end = min((first + len(pages)) * mmap.PAGESIZE - self.origin, len(self))
        count = self._cachestat(start, end - start)
        half = len(pages) // 2
        if 0 < count < len(pages):
            self._mark_cached(pages[:half], first)
            self._mark_cached(pages[half:], first + half)
        else:
            pages[:] = count > 0

    def evict(self, offset: SupportsIndex = 0, length: SupportsIndex | None = None) -> int:
        """Write a range to the disk, and drop it from the page cache.

        No byte is lost, and views stay valid: touching them reads the file again.
        Neighbouring pages may go as well, since the kernel caches large folios as a whole.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Returns
        -------
        int
            The number of bytes of the range that are still in memory, 0 when all are gone.
            Pages stay that are locked, mapped by another process or another mapping,
            changed in a copy-on-write mapping, or have no other place, as on a tmpfs.
            Without a descriptor, pages that another processor has just read may stay too.

        Raises
        ------
        BusError
            When the file was cut short.
        OSError
            When bytes could not be written, and so stay in memory, or the kernel does not
            tell which pages are resident, see `resident`.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.create("evicted.bin", 1 << 20) as m:
        ...     m.array()[:] = 7
        ...     m.evict()
        0
        """
        start, count = self._range(offset, length)
        left = self._evict_pages(start, count, mmap.PAGESIZE)
        for pause in _PAUSES:
            if left:
                time.sleep(pause)
                left = self._evict_pages(start, count, _FOLIO)
        return left

    def _evict_pages(self, start: int, count: int, unit: int) -> int:
        """Evict the units of the file around a range; return the bytes that stayed."""
        first = (self.origin + start) // unit * unit - self.origin
        end = -(-(self.origin + start + count) // unit) * unit - self.origin
        around = max(0, first), min(end, len(self)) - max(0, first)
        self.sync(*around)
        self._drop(*around, write=True)
        return self._bytes_resident(start, count)

    def _bytes_resident(self, start: int, count: int) -> int:
        pages, first, last = self._pages_resident(start, count)
        lead = (self.origin + start) % mmap.PAGESIZE
        trail = -(lead + count) % mmap.PAGESIZE
        return pages * mmap.PAGESIZE - lead * first - trail * last

    def _pages_resident(self, start: int, count: int) -> tuple[int, int, int]:
        """Count the pages of a range that are in memory: all, the first, and the last.

        A file that is not mapped may be larger than any address space, and have too many
        pages for an array.
        """
        if count == 0:
            return 0, 0, 0
        if self.engine == "pread":
            ends = self._cachestat(start, 1), self._cachestat(start + count - 1, 1)
            return self._cachestat(start, count), *ends
        pages = self.resident(start, count)
        return int(np.count_nonzero(pages)), int(pages[0]), int(pages[-1])


def _may_see_residency(fd: int) -> bool:
    """Apply the kernel's rule by hand, where the kernel cannot be asked."""
    owner = os.fstat(fd).st_uid == os.geteuid()
    return owner or os.access(f"/proc/self/fd/{fd}", os.W_OK, effective_ids=True)
