"""A mapping in chunks, one after the other, with memory for a few of them only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .._errors import BusError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pages import Pages

__all__ = ["AHEAD", "chunks"]

# Bytes that are on their way from the disk while a chunk is used.
AHEAD = 16 << 20

# Small chunks are not asked for, mapped and dropped one by one.
_STEP = 2 << 20


def chunks(
    m: Pages, positions: range, end: int, ahead: int, drop_behind: bool
) -> Iterator[memoryview]:
    """Yield views of what lies between each of `positions` and the next, or `end`.

    The pages of a chunk are mapped before it is handed out, without the GIL, so that its
    user takes no fault; those behind it are dropped once the next one is asked for. Who
    keeps a chunk keeps its bytes, which come back from the file when they are touched.
    """
    hinted = mapped = dropped = positions.start
    for position in positions:
        stop = min(position + positions.step, end)
        if drop_behind and position - dropped >= _STEP:
            dropped = _drop(m, positions.start, dropped, position)
        if mapped < stop:
            mapped = _map(m, mapped, stop, min(max(stop, mapped + _STEP), end))
        start = max(mapped, hinted)
        if start < min(stop + ahead // 2, end) and not _kernel_reads(m, start, end):
            hinted = min(stop + ahead, end)
            m._hint(start, hinted - start)
        yield m.view(position, stop - position)
    if drop_behind:
        _drop(m, positions.start, dropped, end)


def _kernel_reads(m: Pages, start: int, end: int) -> bool:
    """Tell whether the kernel reads ahead by itself, so that hints would only disturb it.

    In sequence it reads in folios that fill huge pages; what is hinted at comes in single
    pages.
    """
    with contextlib.suppress(OSError):  # it does not tell, or not of this file
        return m._cachestat(min(start + _STEP, end - 1), 1) > 0
    return False


def _map(m: Pages, start: int, stop: int, beyond: int) -> int:
    """Map pages up to `beyond` or, where not all are to be had, up to `stop` only."""
    with contextlib.suppress(BusError):
        m.populate(start, beyond - start)
        return beyond
    m.populate(start, stop - start)
    return stop


def _drop(m: Pages, first: int, start: int, end: int) -> int:
    """Drop what lies before `end`, and once more what the last time may have left.

    The page cache holds pages in folios, and keeps one of which only a part is given up.
    """
    start = max(first, start - _STEP)
    m._drop(start, end - start)
    return end
