"""Many records in one call, and the whole file in chunks."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .batches import Batches, buffers_for
from .gather import (
    begin_gather,
    begin_gather_ragged,
    can_bypass_cache,
    gather,
    gather_ragged,
    scatter,
    statistics,
)
from .pages import Pages
from .signatures import done_by
from .streaming import PREFETCH, accepts_old_names, chunks, chunks_past_cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Records"]


class Records(Pages):
    """The part of `Mmap` that moves many records at once."""

    __slots__ = ()

    @done_by(gather)
    def gather(
        self,
        offsets: ArrayLike,
        length: int,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
        cached: bool | None = None,
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
        cached : bool, optional
            Whether records that come from the disk stay in the page cache. False reads past
            it, where the file allows that. By default they stay once the caller reads pages
            again, or reads much of a mapping that fits into memory. If such a mapping is
            writable, they always stay.

        Returns
        -------
        numpy.ndarray
            `out`, or a new array of uint8 and shape ``(n, length)``.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read. ``record`` says which record
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
        raise NotImplementedError

    @done_by(gather_ragged)
    def gather_ragged(
        self,
        offsets: ArrayLike,
        lengths: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
        cached: bool | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        r"""Copy records of different lengths from anywhere, in one call without the GIL.

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
        cached : bool, optional
            Whether records that come from the disk stay in the page cache. False reads past
            it, where the file allows that. By default they stay once the caller reads pages
            again, or reads much of a mapping that fits into memory. If such a mapping is
            writable, they always stay.

        Returns
        -------
        values : numpy.ndarray
            The records, one after the other: `out`, or a new array of uint8.
        starts : numpy.ndarray of int64, shape (n + 1,)
            Record ``i`` is ``values[starts[i]:starts[i + 1]]``, in bytes.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read. ``record`` says which record
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
        raise NotImplementedError

    def batches(
        self,
        offsets: Iterable[ArrayLike],
        length: int,
        *,
        depth: int = 2,
        out: Sequence[NDArray[Any]] | None = None,
        cached: bool | None = None,
    ) -> Batches[NDArray[Any]]:
        r"""Copy one batch of records after the other, and read the next ones meanwhile.

        While the caller works on a batch, the disk reads the next ones. This takes no
        thread.

        Parameters
        ----------
        offsets : iterable of array_like of int
            The `offsets` of each batch, as for `gather`.
        length : int
            Length of each record, in bytes.
        depth : int, default 2
            Number of batches that are read ahead. 0 reads each when it is asked for.
        out : sequence of numpy.ndarray, optional
            At least ``depth + 1`` arrays, used in turn: each has room for the records of a
            batch along its first dimension. A batch is valid until the next one is asked
            for. By default each batch is a new array.
        cached : bool, optional
            Whether records that come from the disk stay in the page cache. False reads past
            it, where the file allows that. By default they stay once the caller reads pages
            again, or reads much of a mapping that fits into memory. If such a mapping is
            writable, they always stay.

        Returns
        -------
        Batches
            An iterator over what `gather` returns for each batch, in order. It also works
            in ``async for`` and in a ``with`` block.

        Raises
        ------
        BusError, TypeError
            As `gather`, at the batch that is affected.
        ValueError
            As `gather`, at the batch that is affected; at once when `depth` is negative or
            `out` has too few arrays.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(8)
        >>> m.write_at(b"abcdefgh", 0)
        8
        >>> [records.tobytes() for records in m.batches([[6, 0], [3]], 2)]
        [b'ghab', b'de']
        """
        buffers = buffers_for(out, depth)

        def begin(starts: ArrayLike) -> Any:
            buffer = next(buffers)
            if buffer is not None:
                starts = np.asarray(starts)
                buffer = buffer[: len(starts)]
            return begin_gather(self, starts, length, buffer, cached)

        return Batches(begin, offsets, depth)

    def batches_ragged(
        self,
        offsets: Iterable[ArrayLike],
        lengths: Iterable[ArrayLike],
        *,
        depth: int = 2,
        out: Sequence[NDArray[Any]] | None = None,
        cached: bool | None = None,
    ) -> Batches[tuple[NDArray[Any], NDArray[np.int64]]]:
        r"""Copy batches of records of many lengths, and read the next ones meanwhile.

        Parameters
        ----------
        offsets, lengths : iterable of array_like of int
            The `offsets` and `lengths` of each batch, as for `gather_ragged`.
        depth : int, default 2
            Number of batches that are read ahead.
        out : sequence of numpy.ndarray, optional
            At least ``depth + 1`` arrays of uint8 in one dimension, used in turn: each has
            room for the records of a batch. A batch is valid until the next one is asked
            for. By default each batch is a new array.
        cached : bool, optional
            Whether records that come from the disk stay in the page cache. False reads past
            it, where the file allows that. By default they stay once the caller reads pages
            again, or reads much of a mapping that fits into memory. If such a mapping is
            writable, they always stay.

        Returns
        -------
        Batches
            An iterator over what `gather_ragged` returns for each batch, in order.

        Raises
        ------
        BusError, TypeError
            As `gather_ragged`, at the batch that is affected.
        ValueError
            As `gather_ragged`, at the batch that is affected, or where `offsets` and
            `lengths` have different numbers of batches; at once when `depth` is negative or
            `out` has too few arrays.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(8)
        >>> m.write_at(b"abcdefgh", 0)
        8
        >>> for values, starts in m.batches_ragged([[5, 0], [2]], [[3, 1], [2]]):
        ...     print(values.tobytes(), starts)
        b'fgha' [0 3 4]
        b'cd' [0 2]
        """
        buffers = buffers_for(out, depth)

        def begin(batch: tuple[ArrayLike, ArrayLike]) -> Any:
            buffer = next(buffers)
            if buffer is not None:
                buffer = buffer[: int(np.sum(batch[1]))]
            return begin_gather_ragged(self, *batch, buffer, cached)

        return Batches(begin, zip(offsets, lengths, strict=True), depth)

    def statistics(self) -> dict[str, str | int]:
        """Return how batches have read records that were not in memory.

        Returns
        -------
        dict
            ``engine``: the kind of queue that was used last, or ``"mmap"`` if none was;
            ``reason``: why the last batch read past the page cache, or into it;
            ``requests``: how many requests the kernel got; ``bytes_read``: how many bytes
            they read; ``fallbacks``: how many records were copied in another way, because
            their request failed.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(8).statistics()["requests"]
        0
        """
        return statistics(self)

    @done_by(scatter)
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
            When the file was cut short, or the disk is full or bad. ``record`` says which
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
        raise NotImplementedError

    @accepts_old_names
    def stream(
        self,
        chunk: int,
        *,
        offset: int = 0,
        length: int | None = None,
        prefetch: int = PREFETCH,
        cached: bool | None = None,
    ) -> Iterator[memoryview]:
        """Read a range in chunks from start to end, without copies and in little memory.

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
        cached : bool, optional
            Whether the bytes stay in the page cache. By default the chunks are views, and
            the pages behind are given back, except those that are changed, locked or in use
            elsewhere. True keeps all of them. False reads past the page cache, where the
            file allows that: then a chunk is read-only, and valid until the caller asks for
            the next one.

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
        step, prefetch = operator.index(chunk), operator.index(prefetch)
        if prefetch < 0:
            raise ValueError(f"prefetch must not be negative: {prefetch}")
        if step < 1:
            raise ValueError(f"chunk must be a positive number of bytes, not {chunk}")
        start, total = self._range(offset, length)
        self._require_memory()
        end = start + total
        positions = range(start, end, step)
        if cached is False and can_bypass_cache(self):
            return chunks_past_cache(self, positions, end, prefetch)
        return chunks(self, positions, end, prefetch, drop_behind=not cached)
