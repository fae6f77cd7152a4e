"""A mapping in chunks, one after the other, with memory for a few of them only."""

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

# Bytes that are on their way from the disk while a chunk is used.
PREFETCH = 16 << 20

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Small chunks are not asked for, mapped and dropped one by one.
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
        if start < min(stop + prefetch // 2, end) and not _kernel_reads(m, start, end):
            hinted = min(stop + prefetch, end)
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
