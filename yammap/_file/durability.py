"""When bytes are on the disk, and the name of a new file with them."""

from __future__ import annotations

import errno
import operator
from typing import TYPE_CHECKING

from .._core import Mapping
from .disk import differs_on_disk, sync_directory
from .records import Records

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["Durable"]


class Durable(Records):
    """The part of `Mmap` that knows what is on the disk."""

    __slots__ = ()

    def _note_unsynced_directory(self, path: str) -> None:
        """Let the first sync write the directory of a file that may be new."""
        self._unsynced_directory = path

    def flush(self, offset: SupportsIndex = 0, length: SupportsIndex | None = None) -> None:
        """Write changed bytes to the disk: `sync`, under its io name.

        `close` does not do so, and other readers of the file do not need it: they see
        written bytes at once. Wrappers that flush after each line make each line wait for
        the disk.

        Parameters
        ----------
        offset, length : int, optional
            The range, in bytes, at any alignment; by default all.

        Raises
        ------
        OSError
            When the kernel reports that bytes could not be written.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.create("flushed.bin", 10) as m:
        ...     m.flush()
        """
        self.sync(offset, length)

    def sync(
        self,
        offset: SupportsIndex = 0,
        length: SupportsIndex | None = None,
        *,
        wait: bool = True,
    ) -> None:
        """Write changed bytes to the disk and, the first time, the name of a new file.

        A new file is on the disk only when its directory is. So when opening may have made
        the file, the first sync of the mapping syncs the directory too.

        Parameters
        ----------
        offset, length : int, optional
            The range, in bytes; by default all.
        wait : bool, default True
            Return when the bytes are on the disk; otherwise only start writing.

        Raises
        ------
        BusError
            When a view touched a page that the kernel could not supply, so that bytes may
            be in memory only.
        OSError
            When the kernel reports that bytes could not be written, now or before.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.create("new.bin", 10) as m:
        ...     m.sync()
        """
        Mapping.sync(self, offset, length, wait=wait)
        directory = self._unsynced_directory if wait else None  # another thread may sync
        if directory is not None:
            try:
                sync_directory(directory)
            except OSError as error:
                self._raise_sync_failure(error.errno or errno.EIO)
            self._unsynced_directory = None

    def rewrite(
        self, offset: SupportsIndex = 0, length: SupportsIndex | None = None
    ) -> None:
        """Write bytes to the disk again, after a `sync` that failed.

        The kernel marks pages that it failed to write as clean. This method marks them as
        changed, syncs, and reads the disk itself (``O_DIRECT``, where the filesystem has
        it) to see whether they arrived. If so, `sync` works again. That is the best that
        can be done, and not certain: a page that left memory meanwhile comes back from the
        disk with its old bytes.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end. The mapping forgets the failure
            only after all of its bytes were written.

        Raises
        ------
        BusError
            When the file was cut short, or has no room.
        OSError
            When the bytes could not be written again, or are not on the disk.
        io.UnsupportedOperation
            When the mapping is read-only, in append mode, not in memory, or has not kept
            its descriptor.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.create("rewritten.bin", 10_000) as m:
        ...     m.rewrite()
        """
        self._rewrite(offset, length)
        offset = operator.index(offset)
        count = len(self) - offset if length is None else operator.index(length)
        if not self.private and differs_on_disk(self, offset, count):
            self._raise_sync_failure(errno.EIO)
