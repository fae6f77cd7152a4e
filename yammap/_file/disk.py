"""What the disk really holds: directory entries, and bytes behind the page cache."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from .._linux.calls import Descriptor

if TYPE_CHECKING:
    from .._core import Paged

__all__ = ["differs_on_disk", "sync_directory"]

_CHUNK = 1 << 20


def sync_directory(path: str) -> None:
    """Write a directory's entries to the disk: fsync(2)."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with Descriptor(os.open, path, flags) as fd:
        os.fsync(fd)


def differs_on_disk(m: Paged, offset: int, length: int) -> bool:
    """Tell whether the disk holds other bytes than the mapping, as far as one can see.

    This reads with ``O_DIRECT``, which bypasses the page cache. Where the filesystem cannot
    do so, the answer is no. Bytes that a thread changes meanwhile may differ.
    """
    flags = os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC
    try:
        opened = Descriptor(m._open_again, flags)
    except OSError:
        return False
    with opened as fd:
        end = m.origin + offset + length
        start = (m.origin + offset) // mmap.PAGESIZE * mmap.PAGESIZE
        return any(_chunk_differs(m, fd, at, end) for at in range(start, end, _CHUNK))


def _chunk_differs(m: Paged, fd: int, start: int, end: int) -> bool:
    with mmap.mmap(-1, _CHUNK) as buffer:  # O_DIRECT needs whole pages
        os.lseek(fd, start, os.SEEK_SET)
        count = os.readv(fd, [buffer])  # not preadv2(2), which sandboxes may refuse
        first = max(start, m.origin)
        last = min(start + count, end)
        return buffer[first - start : last - start] != m.pread(
            last - first, first - m.origin
        )
