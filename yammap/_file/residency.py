"""How much of each part of a mapping is in memory.

Asks the kernel once for a part, whatever its size, and touches no page. It must not know
who shows the answer, or how.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pages import Pages

__all__ = ["Part", "residency"]


class Part(NamedTuple):
    """A part of a mapping: where it begins, its bytes, and the share of it in memory."""

    start: int
    length: int
    share: float


def residency(m: Pages, span: range, count: int) -> Iterator[Part]:
    """Yield at most `count` equal parts of a range of a mapping, of whole pages each.

    Raises
    ------
    OSError
        When the kernel does not tell: ``EPERM``, or ``ENOSYS`` before Linux 6.5.
    """
    step = mmap.PAGESIZE * max(1, -(-len(span) // (count * mmap.PAGESIZE)))
    for start in range(span.start, span.stop, step):
        length = min(step, span.stop - start)
        cached = m._cachestat(start, length) * mmap.PAGESIZE
        yield Part(start, length, min(1.0, cached / length))
