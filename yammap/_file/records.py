"""Many records in one call, and the whole file in chunks."""

from __future__ import annotations

import math
import operator
import sys
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from .gather import Batch
from .ndarrays import require_writeable
from .pages import Pages
from .streaming import PREFETCH, accepts_ahead, chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Records", "as_integers"]

_MOST = sys.maxsize  # as an offset


class Records(Pages):
    """The part of `Mmap` that moves many records at once."""

    __slots__ = ()

    def gather(
        self,
        offsets: ArrayLike,
        length: int,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
    ) -> NDArray[Any]:
        r"""Copy records of one length from anywhere, in one call without the GIL.

        Records that are not in memory come from the disk many at a time, and the others at
        the speed of memory.

        Parameters
        ----------
        offsets : array_like of int, shape (n,)
            Position of each record, in bytes; in any order, any number of times.
        length : int
            Length of each record, in bytes.
        out : numpy.ndarray, optional
            Array for the records: C-contiguous, of ``n * length`` bytes, any dtype.
        threads : int, default 1
            Number of threads; each copies a part of the records.

        Returns
        -------
        numpy.ndarray
            `out`, or a new array of uint8 and shape ``(n, length)``.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read. ``record`` tells which record
            it was.
        TypeError
            When `offsets` are no integers, or `out` is read-only or not C-contiguous.
        ValueError
            When a record does not lie in the mapping, before anything is copied; `out` has
            another size; or the mapping is closed.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> m = yammap.anonymous(8)
        >>> m.write_at(b"abcdefgh", 0)
        8
        >>> m.gather([6, 0, 3], 2).tobytes()
        b'ghabde'
        """
        index = as_integers(offsets, "offsets")
        length = _not_negative(length, "length")
        self._require_length(length if len(index) else 0)
        out = _target(out, (len(index), length))
        self._copy(index, out, threads, length=length)
        return out

    def gather_ragged(
        self,
        offsets: ArrayLike,
        lengths: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        r"""Copy records of many lengths from anywhere, in one call without the GIL.

        Parameters
        ----------
        offsets : array_like of int, shape (n,)
            Position of each record, in bytes.
        lengths : array_like of int, shape (n,)
            Length of each record, in bytes; 0 is allowed.
        out : numpy.ndarray, optional
            Array for the records: C-contiguous, of ``sum(lengths)`` bytes, any dtype.
        threads : int, default 1
            Number of threads; each copies a part of the records.

        Returns
        -------
        values : numpy.ndarray
            The records, one after the other: `out`, or a new array of uint8.
        starts : numpy.ndarray of int64, shape (n + 1,)
            Record ``i`` is ``values[starts[i]:starts[i + 1]]``, in bytes.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read. ``record`` tells which record
            it was.
        TypeError
            When `offsets` or `lengths` are no integers, or `out` is read-only or not
            C-contiguous.
        ValueError
            When a record does not lie in the mapping, before anything is copied; there are
            not as many lengths as offsets, or one is negative; `out` has another size; or
            the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(8)
        >>> m.write_at(b"abcdefgh", 0)
        8
        >>> values, starts = m.gather_ragged([5, 0], [3, 1])
        >>> values.tobytes(), starts
        (b'fgha', array([0, 3, 4]))
        """
        index = as_integers(offsets, "offsets")
        lengths = as_integers(lengths, "lengths")
        self._require_length(int(lengths.max(initial=0)))
        starts = _starts(lengths, len(index))
        out = _target(out, (int(starts[-1]),))
        self._copy(index, out, threads, starts=starts)
        return out, starts

    def scatter(self, offsets: ArrayLike, records: NDArray[Any]) -> None:
        r"""Copy records of one length to anywhere, in one call without the GIL.

        This is the inverse of `gather`. The file does not grow. Where records overlap, the
        last one wins.

        Parameters
        ----------
        offsets : array_like of int, shape (n,)
            Position of each record, in bytes.
        records : numpy.ndarray
            The records, along the first dimension: C-contiguous, of any dtype.

        Raises
        ------
        BusError
            When the file was cut short, or the disk is full or bad. ``record`` tells which
            record it was; those before it are written.
        io.UnsupportedOperation
            When the mapping is read-only or in append mode.
        TypeError
            When `offsets` are no integers, or `records` is no array.
        ValueError
            When a record does not lie in the mapping, before anything is written; there
            are not as many records as offsets; or the mapping is closed.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> m = yammap.anonymous(8)
        >>> m.scatter([6, 0], np.frombuffer(b"ghab", "S2"))
        >>> m.pread(8, 0)
        b'ab\x00\x00\x00\x00gh'
        """
        index = as_integers(offsets, "offsets")
        if not isinstance(records, np.ndarray):
            raise TypeError(f"records must be an ndarray, not {type(records).__name__!r}")
        if records.shape[:1] != index.shape:
            raise ValueError(
                f"records must have {len(index)} rows, one for each offset, not shape "
                f"{records.shape}"
            )
        length = records.nbytes // max(1, len(index))
        self._copy(index, records, 1, length=length, writing=True)

    @accepts_ahead
    def stream(
        self,
        chunk: int,
        *,
        offset: int = 0,
        length: int | None = None,
        prefetch: int = PREFETCH,
        drop_behind: bool = True,
    ) -> Iterator[memoryview]:
        """Go through a range in chunks without copies, in memory for a few of them.

        The kernel reads the next chunks from the disk while the caller uses one. The pages
        of a chunk are mapped before the caller gets it, so that no access to it faults. The
        process and the page cache give back the pages behind.

        Parameters
        ----------
        chunk : int
            Bytes in each chunk; the last one may have fewer.
        offset : int, default 0
            Position of the first byte, in bytes.
        length : int, optional
            Number of bytes; by default all to the present end.
        prefetch : int, default 16 MiB
            Bytes that are read from the disk before the caller asks for them, where the
            kernel does not read as far ahead by itself.
        drop_behind : bool, default True
            Give back the memory behind. Pages that are changed, locked or in use elsewhere
            stay in the page cache.

        Returns
        -------
        iterator of memoryview
            Views of format ``"B"``. A view that the caller keeps stays valid: its pages
            come back from the file when they are touched.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read, at the chunk that is affected.
        io.UnsupportedOperation
            When the engine is ``"pread"``, which has no views.
        ValueError
            When `chunk` is not positive, `prefetch` is negative, the range is not in the
            mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(10_000)
        >>> [len(chunk) for chunk in m.stream(4096)]
        [4096, 4096, 1808]
        """
        step, prefetch = operator.index(chunk), _not_negative(prefetch, "prefetch")
        if step < 1:
            raise ValueError(f"chunk must be a positive number of bytes, not {chunk}")
        start, total = self._range(offset, length)
        self._hint(start, 0)  # for what it refuses
        end = start + total
        return chunks(self, range(start, end, step), end, prefetch, drop_behind)

    def _require_length(self, longest: int) -> None:
        """Refuse a record that is too long before allocating memory for it."""
        if longest > len(self):
            raise ValueError(
                f"a record of {longest} bytes is larger than {self.name!r}, which has "
                f"{len(self)} bytes"
            )

    def _take_rows(
        self,
        index: NDArray[np.int64],
        out: NDArray[Any],
        *,
        rows: int,
        offset: int,
        step: int,
        threads: int,
    ) -> None:
        """Copy rows of an array at `offset`, each `step` bytes after the one before."""
        length = out.nbytes // max(1, len(index))
        self._copy(index, out, threads, length=length, base=offset, step=step, rows=rows)

    def _copy(
        self,
        index: NDArray[np.int64],
        buffer: NDArray[Any],
        threads: int,
        *,
        length: int = 0,
        starts: NDArray[np.int64] | None = None,
        **layout: Any,
    ) -> None:
        """Copy records between the file and `buffer`, one part for each thread."""
        if buffer.dtype.hasobject or not buffer.flags.c_contiguous:
            raise TypeError(
                f"the array must be C-contiguous and hold no Python objects, not have "
                f"strides {buffer.strides} and dtype {buffer.dtype}"
            )
        if threads == 1:
            Batch(self, index, buffer, length=length, starts=starts, **layout).copy()
            return
        data = np.asarray(buffer).reshape(-1).view(np.uint8)
        threads = min(_not_negative(threads, "threads"), len(index)) or 1
        bounds = [i * len(index) // threads for i in range(threads + 1)]

        def part(first: int, end: int) -> Batch:
            place, own = slice(first * length, end * length), None
            if starts is not None:
                place = slice(*starts[[first, end]])
                own = starts[first : end + 1] - starts[first]
            terms = {"length": length, "starts": own, "first": first, **layout}
            return Batch(self, index[first:end], data[place], **terms)

        _copy_in_threads([part(first, end) for first, end in pairwise(bounds)])


def _copy_in_threads(parts: list[Batch]) -> None:
    """Copy the parts at the same time, after checking that all lie in the mapping."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    for part in parts:
        part.check()
    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            deque(pool.map(Batch.copy, parts), maxlen=0)
        except BaseException:
            for part in parts:  # leaving the pool waits for all; only we see Ctrl-C
                part.stop()
            raise


def _not_negative(value: SupportsIndex, what: str) -> int:
    number = operator.index(value)
    if number < 0:
        raise ValueError(f"{what} must not be negative: {number}")
    return number


def as_integers(
    values: ArrayLike, what: str, beyond: type[Exception] = ValueError
) -> NDArray[np.int64]:
    """Return an array of int64 as the core takes it, without a copy where possible.

    Raises
    ------
    TypeError
        When the values are no integers.
    ValueError
        When they have more or less than one dimension.
    beyond
        When a value has more than 64 bits.
    """
    array = np.asarray(values)
    if array.dtype == np.int64 and array.ndim == 1 and array.flags.carray:
        return array
    is_huge = array.dtype == object and all(isinstance(n, int) for n in array.flat)
    if array.size and array.dtype.kind not in "iu" and not is_huge:
        raise TypeError(f"{what} must be integers, not {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{what} must have one dimension, not shape {array.shape}")
    if array.size and (is_huge or array.dtype == np.uint64) and abs(array).max() > _MOST:
        raise beyond(f"{what} reach {abs(array).max()}, which is beyond any file")
    return np.require(array, np.int64, ("C_CONTIGUOUS", "ALIGNED"))


def _starts(lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return where records of these lengths begin, and where the last one ends."""
    if len(lengths) != count:
        raise ValueError(f"{count} offsets need {count} lengths, not {len(lengths)}")
    if count and lengths.min() < 0:
        raise ValueError(f"lengths must not be negative: {lengths.min()}")
    if lengths.sum(dtype=np.float64) > _MOST // 2:
        raise ValueError(
            "the records need more memory than there can be: copy fewer a call"
        )
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _target(out: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return `out`, or a new array of bytes."""
    if out is None:
        return np.empty(shape, np.uint8)
    if require_writeable(out).nbytes != math.prod(shape):
        raise ValueError(f"out must have {math.prod(shape)} bytes, not {out.nbytes}")
    return out
