"""Rows of an array, one batch after the other, of which the next ones are read ahead.

Knows the order and the buffers of batches. It must not know where rows lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._file.batches import Batches, buffers_for
from .rows import as_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .._file.batches import Begun

__all__ = ["RowBatches"]


class RowBatches:
    """The part that arrays have in common, in one file or in many."""

    __slots__ = ()

    def _begin_take(
        self, rows: NDArray[np.int64], out: NDArray[Any] | None, cached: bool | None
    ) -> Begun[NDArray[Any]]:
        """Begin to read rows into an array of as many, or into a new one."""
        raise NotImplementedError

    def batches(
        self,
        indices: Iterable[ArrayLike],
        *,
        depth: int = 2,
        out: Sequence[NDArray[Any]] | None = None,
        cached: bool | None = None,
    ) -> Batches[NDArray[Any]]:
        """Take one batch of rows after the other, and read the next ones meanwhile.

        Parameters
        ----------
        indices : iterable of array_like of int
            The `indices` of each batch, as for `take`, in one dimension.
        depth : int, default 2
            Number of batches that are read while the caller works on one.
        out : sequence of numpy.ndarray, optional
            At least ``depth + 1`` arrays of the array's dtype, used in turn: each has room
            for the rows of a batch along its first dimension. A batch is valid until the
            next one is asked for. By default each batch is a new array.
        cached : bool, optional
            Whether rows that come from the disk stay in the page cache, as for
            `Mmap.gather`.

        Returns
        -------
        Batches
            An iterator over what `take` returns for each batch, in order. It also works in
            ``async for`` and in a ``with`` block.

        Raises
        ------
        BusError, IndexError, TypeError
            As `take`, at the batch that is affected.
        ValueError
            As `take`, at the batch that is affected; at once when `depth` is negative or
            `out` has too few arrays.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(6).tofile("six.bin")
        >>> six = yammap.MappedArray("six.bin", int)
        >>> [int(rows.sum()) for rows in six.batches([[0, 1], [5], [-1, -2]])]
        [1, 5, 9]
        """
        buffers = buffers_for(out, depth)

        def begin(index: ArrayLike) -> Begun[NDArray[Any]]:
            rows, place = as_rows(np.asarray(index)), next(buffers)
            if place is not None:
                place = place[: len(rows)]
            return self._begin_take(rows, place, cached)

        return Batches(begin, indices, depth)
