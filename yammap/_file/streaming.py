"""A mapping in chunks, one after the other, in memory for a few of them only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import BusError
from .batches import Batches, buffers_for
from .gather import begin_block
from .signatures import renames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .pages import Pages

__all__ = ["PREFETCH", "accepts_old_names", "chunks", "chunks_past_cache"]

# Bytes that the kernel reads from the disk while the caller uses a chunk.
PREFETCH = 16 << 20

# Small chunks are hinted at, mapped and dropped in steps of this many bytes.
_STEP = 2 << 20

# Past the page cache, this many blocks are under way while the caller uses one.
_BLOCKS_AHEAD = 2

_ALIGNED = 4096  # bytes, as far as any disk wants its buffers aligned


def _cached(drop_behind: object) -> bool | None:
    return None if drop_behind else True


accepts_old_names = renames(
    ahead=("prefetch", None),  # in `Mmap` it makes files longer
    drop_behind=("cached", _cached),
)


def chunks(
    m: Pages, positions: range, end: int, prefetch: int, *, drop_behind: bool
) -> Iterator[memoryview]:
    """Yield a view from each of `positions` to the next one, or to `end`.

    This maps the pages of a chunk before it yields it, without the GIL, so that the caller
    takes no fault. It drops the pages behind when the caller asks for the next chunk. A
    chunk that the caller keeps stays valid: its pages come back from the file when they are
    touched.
    """
    hinted = mapped = dropped = positions.start
    for position in positions:
        stop = min(position + positions.step, end)
        if drop_behind and position - dropped >= _STEP:
            dropped = _drop(m, positions.start, dropped, position)
        if mapped < stop:
            mapped = _populate(m, mapped, stop, min(max(stop, mapped + _STEP), end))
        start = max(mapped, hinted)
        if start < min(stop + prefetch // 2, end) and not _kernel_reads_on(m, start, end):
            hinted = min(stop + prefetch, end)
            m._hint(start, hinted - start)
        yield m.view(position, stop - position)
    if drop_behind:
        _drop(m, positions.start, dropped, end)


def _kernel_reads_on(m: Pages, start: int, end: int) -> bool:
    """Tell whether the kernel reads ahead by itself, so that hints would only disturb it.

    A sequential read fills large folios, and a hint brings single pages.
    """
    with contextlib.suppress(OSError):  # the kernel does not tell, or not of this file
        return m._cachestat(min(start + _STEP, end - 1), 1) > 0
    return False


def _populate(m: Pages, start: int, stop: int, beyond: int) -> int:
    """Map pages up to `beyond` or, where the kernel cannot supply all, up to `stop`."""
    with contextlib.suppress(BusError):
        m.populate(start, beyond - start)
        return beyond
    m.populate(start, stop - start)
    return stop


def _drop(m: Pages, first: int, start: int, end: int) -> int:
    """Drop the pages before `end`, and again those that the last call may have left.

    The page cache holds pages in folios, and keeps a folio when only a part is dropped.
    """
    start = max(first, start - _STEP)
    m._drop(start, end - start)
    return end


def chunks_past_cache(
    m: Pages, positions: range, end: int, prefetch: int
) -> Iterator[memoryview]:
    """Yield the bytes from each of `positions` to the next one, or to `end`.

    Small chunks are read in blocks of several. The caller's chunk is in a buffer that is
    used again, so a chunk is valid until the next one is asked for.
    """
    step = positions.step
    block = step * max(1, _STEP // step)
    depth = _BLOCKS_AHEAD if prefetch else 0
    starts = range(positions.start, end, block)
    size = min(block, end - positions.start)
    buffers = buffers_for([_aligned(size) for _ in range(depth + 1)], depth)

    def begin(start: int) -> Any:
        length = min(block, end - start)
        return begin_block(m, [start], length, next(buffers)[:length])  # type: ignore[index]

    with Batches(begin, starts, depth) as blocks:
        for bytes_ in blocks:
            view = memoryview(bytes_).toreadonly()
            for i in range(0, len(view), step):
                yield view[i : i + step]


def _aligned(size: int) -> NDArray[np.uint8]:
    """Return memory that the disk can read into without a copy."""
    memory = np.empty(size + _ALIGNED, np.uint8)
    return memory[-memory.ctypes.data % _ALIGNED :][:size]
