"""Where the elements of an array lie in a file. Knows only offsets of files."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .._file.ndarrays import shape_of

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from .._file.ndarrays import Shape

__all__ = ["Layout", "contiguous", "layout_in", "require_inside"]


class Layout(NamedTuple):
    """Where the elements of an array lie, in bytes, as NumPy describes it for memory."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int  # of the element with all indices 0; others may lie before it

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def extent(self) -> range:
        """The bytes from the first element in the file to the end of the last one."""
        if self.size == 0:
            return range(self.offset, self.offset)
        start = end = self.offset
        for n, step in zip(self.shape, self.strides, strict=True):
            if step < 0:
                start += (n - 1) * step
            else:
                end += (n - 1) * step
        return range(start, end + self.dtype.itemsize)

    @property
    def row(self) -> Layout:
        """The layout of ``array[0]``."""
        return self._replace(shape=self.shape[1:], strides=self.strides[1:])

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements follow one another in C order."""
        steps = zip(self.shape, self.strides, _strides(self), strict=True)
        return self.size == 0 or all(n == 1 or a == b for n, a, b in steps)

    def reshaped(self, shape: tuple[int, ...], order: Literal["C", "F"]) -> Layout | None:
        """Return the same elements in another shape; None where they have to be moved.

        `shape` has as many elements. This is what NumPy does without a copy, and must not
        try with one, since the elements are not at hand.
        """
        turn = 1 if order == "C" else -1
        runs = _runs(self.shape[::turn], self.strides[::turn])
        steps = _steps(shape[::turn], runs) if self.size else None
        if self.size and steps is None:
            return None
        made = contiguous(self.dtype, shape, self.offset, order)
        return made if steps is None else made._replace(strides=steps[::turn])

    def over(self, buffer: memoryview, start: int) -> NDArray[Any]:
        """Return the array over `buffer`, which begins at byte `start`, without a copy.

        ``np.ndarray(buffer=)`` with the memoryview itself would drop the export, so that
        the region could no longer count it.
        """
        data = np.asarray(buffer)
        return np.ndarray(self.shape, self.dtype, data, self.offset - start, self.strides)


def contiguous(
    dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, order: Literal["C", "F"]
) -> Layout:
    """Return the layout of elements that follow one another.

    The dimensions of a subarray dtype become the array's last ones, as in NumPy.
    """
    layout = Layout(dtype.base, (*shape, *dtype.shape), (), offset)
    if order == "C":
        return layout._replace(strides=_strides(layout))
    mirrored = layout._replace(shape=layout.shape[::-1])
    return layout._replace(strides=_strides(mirrored)[::-1])


def layout_in(
    size: int,
    dtype: DTypeLike,
    shape: Shape | None,
    offset: int,
    strides: tuple[int, ...] | None,
    order: Literal["C", "F"],
) -> Layout:
    """Return the layout of an array in a file of `size` bytes.

    Raises
    ------
    TypeError
        When `dtype` holds Python objects.
    ValueError
        When the array does not fit.
    """
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    if strides is not None and order != "C":
        raise ValueError("strides say where the elements lie: leave out order='F'")
    offset = operator.index(offset)  # sums of NumPy integers would overflow
    if not 0 <= offset <= size:
        raise ValueError(
            f"offset must be from 0 to {size}, where the bytes end, not {offset}"
        )
    kind = np.dtype(dtype)
    if strides is None:
        return contiguous(kind, shape_of(size - offset, kind, shape), offset, order)
    full = shape_of(None, kind, shape)
    steps = tuple(operator.index(step) for step in strides)
    if len(steps) != len(full):
        raise ValueError(f"strides {steps} need one item a dimension of shape {full}")
    element = contiguous(kind, (), offset, "C")
    layout = element._replace(shape=full + element.shape, strides=steps + element.strides)
    return require_inside(layout, size)


def require_inside(layout: Layout, size: int) -> Layout:
    """Return the layout if all its elements lie in a file of `size` bytes."""
    extent = layout.extent
    if not 0 <= extent.start <= extent.stop <= size:
        raise ValueError(
            f"the array needs bytes {extent.start} to {extent.stop}, and there are {size}"
        )
    return layout


def _strides(layout: Layout) -> tuple[int, ...]:
    steps = [layout.dtype.itemsize]
    for n in layout.shape[:0:-1]:
        steps.append(steps[-1] * n)
    return tuple(steps[::-1]) if layout.shape else ()


def _runs(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the numbers and steps of elements that go on evenly, over dimensions."""
    runs: list[tuple[int, int]] = []
    for n, step in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * step:
            runs[-1] = runs[-1][0] * n, step
        else:
            runs.append((n, step))
    return runs


def _steps(shape: tuple[int, ...], runs: list[tuple[int, int]]) -> tuple[int, ...] | None:
    """Return strides that go through `runs` in a shape; None where one would bend."""
    left = list(runs)
    steps: list[int] = []
    for n in reversed(shape):
        count, step = left.pop() if left else (1, steps[-1] if steps else 0)
        if count % n:
            return None
        steps.append(step)
        if count // n > 1 or n == 1:
            left.append((count // n, step * n))
    return tuple(steps[::-1])
