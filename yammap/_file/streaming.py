"""A mapping in chunks, one after the other, in memory for a few of them only."""

from __future__ import annotations

import contextlib
import warnings
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from .._errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .pages import Pages

__all__ = ["PREFETCH", "accepts_ahead", "chunks"]

# Bytes that the kernel reads from the disk while the caller uses a chunk.
PREFETCH = 16 << 20

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Small chunks are hinted at, mapped and dropped in steps of this many bytes.
_STEP = 2 << 20


def accepts_ahead(stream: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a method take `prefetch` by its old name, ``ahead``, with a warning.

    `Mmap` has another ``ahead``, which makes files longer. Signatures and type checkers
    know the new name only.
    """

    @wraps(stream)
    def renamed(*arguments: _P.args, **options: _P.kwargs) -> _T:
        if "ahead" in options:
            if "prefetch" in options:
                raise TypeError("ahead is the old name of prefetch: pass prefetch alone")
            warnings.warn(
                "stream(ahead=) is deprecated: write stream(prefetch=)",
                DeprecationWarning,
                stacklevel=2,
            )
            options["prefetch"] = options.pop("ahead")
        return stream(*arguments, **options)

    return renamed


def chunks(
    m: Pages, positions: range, end: int, prefetch: int, drop_behind: bool
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
