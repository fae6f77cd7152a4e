"""An array of any size in blocks of a few MiB, and what is reduced block by block.

Knows shapes and strides. It must not know a file or a mapping.
"""

from __future__ import annotations

import math
import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["BLOCK", "blocks_of", "joined", "reduced"]

Axes = tuple[int, ...]

# Bytes: much more than a system call costs, and no more than a processor's caches have.
BLOCK = 4 << 20

# Bytes that an element takes in memory, at the most, where it is alone on its page.
_PAGE = mmap.PAGESIZE


def reduced(
    array: NDArray[Any],
    axes: Axes,
    reduce: Callable[[NDArray[Any], Axes], NDArray[Any]],
    block: Callable[[NDArray[Any]], AbstractContextManager[object]],
) -> NDArray[Any]:
    """Return ``reduce(array, axes)``, made of the same of each block.

    What comes of the blocks is reduced once more, in one array: so sums of floats are
    pairwise, within the blocks and over them, as far as those of NumPy are.

    Parameters
    ----------
    array : numpy.ndarray
        The array; or what has its `shape` and `strides`, and gives arrays when sliced.
    axes : tuple of int
        The dimensions that are to go.
    reduce : callable
        It keeps the dimensions, with one element in those that went. Of its own results,
        it must give what it gives of all that they came of.
    block : callable
        It returns a context in which a block is in memory.
    """
    axis, step = _cut(array)
    if step >= array.shape[axis]:
        with block(array):
            return reduce(array, axes)
    parts = (
        reduced(_slice(array, axis, start, step), axes, reduce, block)
        for start in range(0, array.shape[axis], step)
    )
    return joined(parts, axis, reduce if axis in axes else None)


def joined(
    parts: Iterable[NDArray[Any]],
    axis: int,
    reduce: Callable[[NDArray[Any], Axes], NDArray[Any]] | None,
) -> NDArray[Any]:
    """Return parts one after the other along an axis, reduced along it if it is to go.

    They are reduced whenever there is a block of them.
    """
    found: list[NDArray[Any]] = []
    for part in parts:
        found.append(part)
        if reduce and len(found) * part.nbytes > BLOCK:
            found = [reduce(np.concatenate(found, axis), (axis,))]
    whole = np.concatenate(found, axis)
    return reduce(whole, (axis,)) if reduce else whole


def blocks_of(
    array: NDArray[Any], first: Axes | None = None
) -> Iterator[tuple[Axes, NDArray[Any]]]:
    """Yield each block in the order of memory, and the indices of its first element."""
    first = (0,) * len(array.shape) if first is None else first
    axis, step = _cut(array)
    if step >= array.shape[axis]:
        yield first, array
        return
    for start in range(0, array.shape[axis], step):
        at = (*first[:axis], first[axis] + start, *first[axis + 1 :])
        yield from blocks_of(_slice(array, axis, start, step), at)


def _cut(array: NDArray[Any]) -> tuple[int, int]:
    """Return the dimension that goes farthest in memory, and how much of it is a block."""
    shape, strides, itemsize = array.shape, array.strides, array.dtype.itemsize
    axis = max(range(len(shape)), key=lambda i: (shape[i] > 1, abs(strides[i])))
    elements = max(1, math.prod(shape) // max(1, shape[axis]))
    apart = min(abs(strides[axis]), elements * max(itemsize, _PAGE))
    return axis, max(1, BLOCK // max(1, elements * itemsize, apart))


def _slice(array: NDArray[Any], axis: int, start: int, step: int) -> NDArray[Any]:
    piece: NDArray[Any] = array[(slice(None),) * axis + (slice(start, start + step),)]
    return piece
