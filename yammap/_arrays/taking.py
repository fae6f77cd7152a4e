"""Many rows of an array over many files, in one call or in one batch after the other."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .._file.batches import Batches, Done, buffers_for
from .elementwise import Elementwise
from .file_identity import locate
from .keys import require_rows
from .row_batches import RowBatches
from .rows import as_rows, require_like

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .._file.batches import Begun
    from .parts import Parts

__all__ = ["Taking", "is_mapped"]


class Taking(RowBatches, Elementwise):
    """The part of `ConcatenatedArray` that copies many rows at once."""

    __slots__ = ()

    _axis: int
    _dtype: np.dtype[Any]
    _parts: Parts
    _shape: tuple[int, ...]

    if TYPE_CHECKING:

        def __getitem__(self, key: Any) -> Any: ...

    def take(
        self,
        indices: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
        cached: bool | None = None,
    ) -> NDArray[Any]:
        """Return rows, as ``np.take(array, indices, axis=0)`` does, without the GIL.

        The rows of all files are one batch: those that are not in memory come from the
        disk many at a time, and each is copied to its place in the result.

        Parameters
        ----------
        indices : array_like of int
            Indices of the rows, in any order and number; negative ones count from the end.
        out : numpy.ndarray, optional
            Array for the rows: C-contiguous, of the result's shape and dtype.
        threads : int, default 1
            Number of threads; each copies a part of the rows.
        cached : bool, optional
            Whether rows that come from the disk stay in the page cache, as for
            `Mmap.gather`.

        Returns
        -------
        numpy.ndarray
            `out`, or a new array, of shape ``indices.shape + shape[1:]``.

        Raises
        ------
        BusError
            When a file was cut short, or cannot be read. ``record`` is the row's place.
        IndexError
            When a row does not exist, before anything is copied.
        TypeError
            When `indices` are no integers, or `out` is read-only or not C-contiguous.
        ValueError
            When `out` has another shape or dtype.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> for name in "ab":
        ...     np.arange(4).tofile(name)
        >>> yammap.concatenate(["a", "b"], dtype=int).take([5, 0, -1])
        array([1, 0, 3])
        """
        index = np.asarray(indices)
        shape = index.shape + self._shape[1:]
        if out is not None:
            require_like(out, shape, self._dtype)
            _require_contiguous(out)
            if is_mapped(out) or np.may_share_memory(out, index):
                # Else rows could be overwritten before they are read.
                out[...] = self.take(index, threads=threads, cached=cached)
                return out
        rows = as_rows(index)
        if self._axis:
            rows = require_rows(rows, self._shape[0], 0)
            taken = self[(rows,)].reshape(shape)
        else:
            flat = None if out is None else out.reshape((rows.size, *self._shape[1:]))
            taken = self._take(rows, flat, threads, cached).reshape(shape)
            if out is not None:
                return out
        if out is None:
            result: NDArray[Any] = taken if shape else taken[()]
            return result
        out[...] = taken
        return out

    def _take(
        self,
        index: NDArray[Any],
        out: NDArray[Any] | None,
        threads: int = 1,
        cached: bool | None = None,
    ) -> NDArray[Any]:
        """Return what lies at indices along the axis of the parts."""
        axis = self._axis
        rows = require_rows(index, self._shape[axis], axis)
        if out is None:
            shape = (*self._shape[:axis], len(rows), *self._shape[axis + 1 :])
            out = np.empty(shape, self._dtype)
        if self._parts.places is not None:
            pieces = self._parts.pieces_of_rows(rows)
            self._parts.gather(pieces, out, _require_threads(threads), cached)
            return out
        number = np.searchsorted(self._parts.bounds, rows, "right") - 1
        before = (slice(None),) * axis
        for part in np.unique(number).tolist():
            here = number == part
            local = rows[here] - self._parts.bounds[part]
            out[(*before, here)] = self._parts[part][(*before, local)]
        return out

    def take_ragged(
        self,
        starts: ArrayLike,
        lengths: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
        cached: bool | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return runs of rows of many lengths, wherever the seams are, in one batch.

        Parameters
        ----------
        starts : array_like of int, shape (n,)
            First row of each run.
        lengths : array_like of int, shape (n,)
            Number of rows in each run; 0 is allowed.
        out : numpy.ndarray, optional
            Array for the rows: C-contiguous, of shape ``(sum(lengths), *shape[1:])``.
        threads : int, default 1
            Number of threads; each copies a part of the rows.
        cached : bool, optional
            Whether rows that come from the disk stay in the page cache, as for
            `Mmap.gather`.

        Returns
        -------
        values : numpy.ndarray
            The runs, one after the other: `out`, or a new array.
        bounds : numpy.ndarray of int64, shape (n + 1,)
            Run ``i`` is ``values[bounds[i]:bounds[i + 1]]``.

        Raises
        ------
        BusError
            When a file was cut short, or cannot be read. ``record`` tells which run it was.
        IndexError
            When a run is not in the array, before anything is copied.
        TypeError
            When `starts` or `lengths` are no integers.
        ValueError
            When there are not as many lengths as starts, or `out` has another shape or
            dtype; or when the parts do not follow one another along the first dimension.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> for name in "ab":
        ...     np.arange(4).tofile(name)
        >>> yammap.concatenate(["a", "b"], dtype=int).take_ragged([2, 0], [4, 1])
        (array([2, 3, 0, 1, 0]), array([0, 4, 5]))
        """
        first, count = as_rows(np.asarray(starts)), as_rows(np.asarray(lengths))
        out, bounds = self._place_for_runs(first, count, out)
        if self._rows_follow and not is_mapped(out):
            pieces = self._parts.pieces_of_runs(first, count)
            self._parts.gather(pieces, out, _require_threads(threads), cached)
        else:
            rows = np.arange(bounds[-1]) + np.repeat(first - bounds[:-1], count)
            self.take(rows, out, threads=threads, cached=cached)
        return out, bounds

    def _place_for_runs(
        self,
        first: NDArray[np.int64],
        count: NDArray[np.int64],
        out: NDArray[Any] | None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return an array for runs, and where each begins in it."""
        self._require_runs(first, count)
        bounds = np.concatenate([[0], np.cumsum(count)])
        shape = int(bounds[-1]), *self._shape[1:]
        if out is None:
            out = np.empty(shape, self._dtype)
        require_like(out, shape, self._dtype)
        _require_contiguous(out)
        return out, bounds

    # -- One batch after the other

    def _begin_take(
        self, rows: NDArray[np.int64], out: NDArray[Any] | None, cached: bool | None
    ) -> Begun[NDArray[Any]]:
        shape = len(rows), *self._shape[1:]
        if out is None:
            out = np.empty(shape, self._dtype)
        require_like(out, shape, self._dtype)
        _require_contiguous(out)
        if self._axis or self._parts.places is None or is_mapped(out):
            return Done(self.take(rows, out, cached=cached))
        pieces = self._parts.pieces_of_rows(require_rows(rows, self._shape[0], 0))
        return self._parts.begin(pieces, out, cached, out)

    def batches_ragged(
        self,
        starts: Iterable[ArrayLike],
        lengths: Iterable[ArrayLike],
        *,
        depth: int = 2,
        out: Sequence[NDArray[Any]] | None = None,
        cached: bool | None = None,
    ) -> Batches[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Take batches of runs of rows, and read the next ones meanwhile.

        Parameters
        ----------
        starts, lengths : iterable of array_like of int
            The `starts` and `lengths` of each batch, as for `take_ragged`.
        depth : int, default 2
            Number of batches that are read while the caller works on one.
        out : sequence of numpy.ndarray, optional
            At least ``depth + 1`` arrays, used in turn: each has room for the rows of a
            batch along its first dimension. A batch is valid until the next one is asked
            for. By default each batch is a new array.
        cached : bool, optional
            Whether rows that come from the disk stay in the page cache, as for
            `Mmap.gather`.

        Returns
        -------
        Batches
            An iterator over what `take_ragged` returns for each batch, in order.

        Raises
        ------
        BusError, IndexError, TypeError
            As `take_ragged`, at the batch that is affected.
        ValueError
            As `take_ragged`, at the batch that is affected, or where `starts` and `lengths`
            have different numbers of batches; at once when `depth` is negative or `out` has
            too few arrays.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> for name in "ab":
        ...     np.arange(4).tofile(name)
        >>> both = yammap.concatenate(["a", "b"], dtype=int)
        >>> [rows.tolist() for rows, _ in both.batches_ragged([[2], [0]], [[4], [1]])]
        [[2, 3, 0, 1], [0]]
        """
        buffers = buffers_for(out, depth)

        def begin(runs: tuple[ArrayLike, ArrayLike]) -> Begun[Any]:
            first, count = (as_rows(np.asarray(x)) for x in runs)
            buffer = next(buffers)
            if buffer is not None:
                buffer = buffer[: int(count.sum())]
            return self._begin_runs(first, count, buffer, cached)

        return Batches(begin, zip(starts, lengths, strict=True), depth)

    def _begin_runs(
        self,
        first: NDArray[np.int64],
        count: NDArray[np.int64],
        out: NDArray[Any] | None,
        cached: bool | None,
    ) -> Begun[tuple[NDArray[Any], NDArray[np.int64]]]:
        out, bounds = self._place_for_runs(first, count, out)
        if not self._rows_follow or is_mapped(out):
            return Done(self.take_ragged(first, count, out, cached=cached))
        pieces = self._parts.pieces_of_runs(first, count)
        return self._parts.begin(pieces, out, cached, (out, bounds))

    def _require_runs(self, first: NDArray[np.int64], count: NDArray[np.int64]) -> None:
        if self._axis:
            raise ValueError("runs of rows need parts along axis 0")
        if len(first) != len(count):
            raise ValueError(f"{len(first)} starts need as many lengths, not {len(count)}")
        wrong = (first < 0) | (count < 0) | (first > self._shape[0] - count)
        if wrong.any():
            i = int(wrong.argmax())
            raise IndexError(
                f"run {i}, {count[i]} rows from {first[i]}, is not in the array, which has "
                f"{self._shape[0]}"
            )

    @property
    def _rows_follow(self) -> bool:
        return self._parts.places is not None and self._parts.places.follow


def is_mapped(array: Any) -> bool:
    if not isinstance(array, np.ndarray) or array.base is None:
        return False
    with contextlib.suppress(ValueError):  # it is in no mapping
        return bool(locate(array))
    return False


def _require_threads(threads: int) -> int:
    if operator.index(threads) < 0:
        raise ValueError(f"threads must not be negative: {threads}")
    return operator.index(threads)


def _require_contiguous(out: NDArray[Any]) -> None:
    if not out.flags.c_contiguous:
        raise TypeError(f"out must be C-contiguous, not have strides {out.strides}")
