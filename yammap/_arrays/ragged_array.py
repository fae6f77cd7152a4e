"""`RaggedArray`: records of many lengths as one object, read and appended."""

from __future__ import annotations

import io
import operator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, overload

import numpy as np

from .._file.batches import Batches, buffers_for
from .._file.gather import begin_gather_ragged, gather_ragged
from .blocks import BLOCK
from .concatenated import ConcatenatedArray
from .handle import Scalar
from .mapped_array import MappedArray
from .ragged_files import complete, write_records
from .record_bounds import Bounds
from .rows import require_like

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import SupportsIndex

    from numpy.typing import ArrayLike, NDArray

    _Numbers = NDArray[np.int64]

__all__ = ["RaggedArray"]

# Records whose bounds are read at once while iterating.
_STEP = 4096


class _State(NamedTuple):
    """What belongs together: another one takes its place at once."""

    values: MappedArray[Any] | ConcatenatedArray
    bounds: Bounds
    offsets: MappedArray[Any] | None  # of two files that grow, or None


class _Begun(NamedTuple):
    """A batch under way, whose bounds are known."""

    batch: Any
    bounds: _Numbers

    def finish(self) -> tuple[NDArray[Any], _Numbers]:
        return self.batch.finish()[0], self.bounds


class RaggedArray(Generic[Scalar]):
    """Records of many lengths, as `open_ragged` opens them.

    ``records[i]`` is a view of a record, ``records[i:j]`` is a list of views, and `take`
    copies any number of records in one call. A pickle has the paths and no data.

    Notes
    -----
    `append` writes the values of a record, and then where it ends. So a reader sees
    complete records only, and when a process was killed meanwhile, the next `append` begins
    where the last complete record ends. Whoever appends holds a lock on the file of offsets
    (`Mmap.file_lock`), so any number of threads and processes may append. Only records that
    a `flush` has acknowledged survive a power cut.

    The array has the records that were complete when it was opened, those that it appended
    itself, and those that others had appended at the last `refresh`.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> tracks = yammap.open_ragged("xy.bin", "xy.idx", "<f4", "w+", shape=(-1, 2))
    >>> tracks.append([[1, 2], [3, 4], [5, 6]]), tracks.append([[7, 8]])
    (0, 1)
    >>> tracks[1]
    array([[7., 8.]], dtype=float32)
    >>> values, bounds = tracks.take([1, 0, 1])
    >>> values.shape, bounds
    ((5, 2), array([0, 1, 4, 5]))
    """

    __slots__ = ("__weakref__", "_state")

    _state: _State

    @classmethod
    def _of(
        cls, values: MappedArray[Any] | ConcatenatedArray, bounds: Bounds
    ) -> RaggedArray[Any]:
        made: RaggedArray[Any] = cls.__new__(cls)
        made._state = _State(values, bounds, None)
        return made

    @classmethod
    def _of_files(
        cls, values: MappedArray[Any], offsets: MappedArray[Any]
    ) -> RaggedArray[Any]:
        made: RaggedArray[Any] = cls.__new__(cls)
        made._see(values, offsets)
        return made

    def _see(self, values: MappedArray[Any], offsets: MappedArray[Any]) -> _State:
        values, offsets = complete(values, offsets)
        made = _State(values, Bounds.of_offsets(offsets, 1), offsets)
        self._state = made
        return made

    # -- What it is

    @property
    def values(self) -> MappedArray[Scalar] | ConcatenatedArray:
        """MappedArray or ConcatenatedArray: the values of all records, in their file."""
        return self._state.values

    @property
    def lengths(self) -> NDArray[np.int64]:
        """numpy.ndarray of int64: the number of rows in each record."""
        bounds = self._state.bounds
        return bounds.runs_between(0, bounds.records)[1]

    @property
    def dtype(self) -> np.dtype[Scalar]:
        """numpy.dtype: the type of a value."""
        return self._state.values.dtype

    @property
    def mode(self) -> str:
        """str: the mode of the values, ``"r"`` or ``"r+"``, and ``"c"`` for a handle."""
        return self._state.values.mode

    def __len__(self) -> int:
        return self._state.bounds.records

    def __repr__(self) -> str:
        values, bounds, _ = self._state
        return (
            f"<{type(self).__name__} records={bounds.records} values={values!r} "
            f"offsets={bounds.starts.path!r}>"
        )

    # -- One record, and all in order

    @overload
    def __getitem__(self, key: SupportsIndex) -> NDArray[Scalar]: ...
    @overload
    def __getitem__(self, key: slice) -> list[NDArray[Scalar]]: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        if isinstance(key, slice):
            return self._listed(key)
        try:
            number = operator.index(key)
        except TypeError:
            raise TypeError(
                f"a record has a number, and records a slice, not {type(key).__name__!r}: "
                f"take(numbers) copies records in any order"
            ) from None
        values, bounds, _ = self._state
        start, length = bounds.run(number)
        record = values[start : start + length]
        if start < 0 or len(record) != length:
            _require_inside([number], np.array([start]), np.array([length]), len(values))
        return record

    def _listed(self, key: slice) -> list[NDArray[Scalar]]:
        if key.step in (None, 1):
            state = self._state
            return _views(state, *key.indices(state.bounds.records)[:2])
        return [self[i] for i in range(*key.indices(len(self)))]

    def __iter__(self) -> Iterator[NDArray[Scalar]]:
        """Yield views of the records. Those of a few MiB at a time are mapped together."""
        state = self._state
        for first in range(0, state.bounds.records, _STEP):
            end = min(first + _STEP, state.bounds.records)
            for a, b in _groups(state, first, end):
                yield from _views(state, a, b)

    # -- Many records in one call

    def take(
        self,
        indices: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
        cached: bool | None = None,
    ) -> tuple[NDArray[Scalar], NDArray[np.int64]]:
        """Copy records in any order, in one batch without the GIL.

        Parameters
        ----------
        indices : array_like of int, shape (n,)
            Numbers of the records; negative ones count from the end.
        out : numpy.ndarray, optional
            Array for the values: C-contiguous, of the result's shape and dtype.
        threads : int, default 1
            Number of threads; each copies a part of the records.
        cached : bool, optional
            Whether records that come from the disk stay in the page cache, as for
            `Mmap.gather`.

        Returns
        -------
        values : numpy.ndarray
            The records, one after the other: `out`, or a new array.
        bounds : numpy.ndarray of int64, shape (n + 1,)
            Record ``i`` of the batch is ``values[bounds[i]:bounds[i + 1]]``.

        Raises
        ------
        BusError
            When a file was cut short, or cannot be read.
        IndexError
            When a record does not exist, before anything is copied.
        TypeError
            When `indices` are no integers, or `out` is read-only or not C-contiguous.
        ValueError
            When `out` has another shape or dtype, or offsets lie outside the values.

        Examples
        --------
        >>> import yammap
        >>> words = yammap.open_ragged("w.bin", "w.idx", "u1", "w+")
        >>> words.extend([b"one", b"three"])
        >>> values, bounds = words.take([1, -2])
        >>> values.tobytes(), bounds
        (b'threeone', array([0, 5, 8]))
        """
        state = self._state
        starts, lengths = _runs(state, indices)
        if isinstance(state.values, ConcatenatedArray):
            words: dict[str, Any] = {"threads": threads, "cached": cached}
            return state.values.take_ragged(starts, lengths, out, **words)
        bounds, out = _result(state.values, lengths, out)
        runs = _bytes_of(state.values, starts, lengths)
        gather_ragged(*runs, out, threads=threads, cached=cached)
        return out, bounds

    def batches(
        self,
        indices: Iterable[ArrayLike],
        *,
        depth: int = 2,
        out: Sequence[NDArray[Any]] | None = None,
        cached: bool | None = None,
    ) -> Batches[tuple[NDArray[Scalar], NDArray[np.int64]]]:
        """Take one batch of records after the other, and read the next ones meanwhile.

        Parameters
        ----------
        indices : iterable of array_like of int
            The `indices` of each batch, as for `take`.
        depth : int, default 2
            Number of batches that are read while the caller works on one.
        out : sequence of numpy.ndarray, optional
            At least ``depth + 1`` arrays of the dtype, used in turn: each has room for the
            values of a batch. A batch is valid until the next one is asked for. By default
            each batch is a new array.
        cached : bool, optional
            Whether records that come from the disk stay in the page cache, as for
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
        >>> import yammap
        >>> words = yammap.open_ragged("w.bin", "w.idx", "u1", "w+")
        >>> words.extend([b"one", b"two", b"three"])
        >>> [values.tobytes() for values, _ in words.batches([[0, 1], [2, 0]])]
        [b'onetwo', b'threeone']
        """
        buffers = buffers_for(out, depth)

        def begin(numbers: ArrayLike) -> Any:
            state, buffer = self._state, next(buffers)
            starts, lengths = _runs(state, numbers)
            if buffer is not None:
                buffer = buffer[: int(lengths.sum())]
            if isinstance(state.values, ConcatenatedArray):
                return state.values._begin_runs(starts, lengths, buffer, cached)
            bounds, buffer = _result(state.values, lengths, buffer)
            runs = _bytes_of(state.values, starts, lengths)
            return _Begun(begin_gather_ragged(*runs, buffer, cached), bounds)

        return Batches(begin, indices, depth)

    # -- What is appended

    def append(self, record: ArrayLike) -> int:
        """Write a record after the last one.

        Parameters
        ----------
        record : array_like or bytes-like
            Its values, converted to the dtype as in an assignment: of one dimension, or of
            the `shape` that `open_ragged` was given. It may be empty.

        Returns
        -------
        int
            The record's number.

        Raises
        ------
        io.UnsupportedOperation
            When the mode is not ``"r+"``, or the files are not a pair that can be appended.
        OSError
            When the disk is full or bad, or the filesystem has no locks. Readers see no
            part of the record.
        ValueError
            When `record` does not fit the shape of a record.

        Examples
        --------
        >>> import yammap
        >>> words = yammap.open_ragged("w.bin", "w.idx", "u1", "a+")
        >>> words.append(b"word")
        0
        """
        return self._write([self._as_record(record)])

    def extend(self, records: Iterable[ArrayLike]) -> None:
        """Write records after the last one: many with each system call.

        Parameters
        ----------
        records : iterable of array_like or bytes-like
            Records as for `append`. At most 4 MiB of them, or one record, are held in
            memory and written together.

        Raises
        ------
        io.UnsupportedOperation, OSError, ValueError
            As `append`. Some or all of the earlier records have been written.

        Examples
        --------
        >>> import yammap
        >>> words = yammap.open_ragged("w.bin", "w.idx", "u1", "w+")
        >>> words.extend(text.encode() for text in ["a", "few", "words"])
        >>> words.lengths
        array([1, 3, 5])
        """
        group: list[NDArray[Any]] = []
        nbytes = 0
        for given in records:
            record = self._as_record(given)
            if group and nbytes + record.nbytes > BLOCK:
                self._write(group)
                group, nbytes = [], 0
            group.append(record.copy())  # the caller may use its memory for the next one
            nbytes += record.nbytes + 64  # and what an array takes, however small
        if group:
            self._write(group)

    def _as_record(self, given: Any) -> NDArray[Any]:
        values = self._state.values
        if isinstance(given, bytes | bytearray | memoryview):
            given = np.frombuffer(given, values.dtype)
        record = np.asarray(given, values.dtype, order="C")
        if record.size == 0 and record.ndim == 1:
            record = record.reshape(0, *values.shape[1:])
        if record.ndim != values.ndim or record.shape[1:] != values.shape[1:]:
            raise ValueError(
                f"a record of shape {record.shape} does not fit: only the first dimension "
                f"of {(-1, *values.shape[1:])} may differ"
            )
        return record

    def _write(self, records: Sequence[NDArray[Any]]) -> int:
        values, offsets = self._require_files("append() and extend()")
        if values.mode != "r+":
            raise io.UnsupportedOperation(
                f"append() and extend() need mode 'r+', 'a+', 'w+' or 'x+': "
                f"{values.path!r} was opened with {values.mode!r}"
            )
        m = offsets.mapping
        with m.file_lock(), m._turn:
            values, offsets = complete(values, offsets)
            try:
                write_records(values, offsets, records)
            finally:  # some may be complete, though the disk had no room for all
                self._see(values, offsets)
        return max(0, len(offsets) - 1)

    def refresh(self) -> int:
        """See the records that others have appended.

        Returns
        -------
        int
            The number of records now.

        Raises
        ------
        io.UnsupportedOperation
            When the files are not a pair that can be appended.
        OSError
            When another file has one of the paths.

        Examples
        --------
        >>> import yammap
        >>> writer = yammap.open_ragged("w.bin", "w.idx", "u1", "w+")
        >>> reader = yammap.open_ragged("w.bin", "w.idx")
        >>> writer.append(b"word")
        0
        >>> len(reader), reader.refresh(), len(reader)
        (0, 1, 1)
        """
        values, offsets = self._require_files("refresh()")
        with offsets.mapping._turn:  # after another thread, which may see fewer
            return self._see(values, offsets).bounds.records

    def flush(self) -> None:
        """Write what was appended or changed to the disk: values first, then offsets.

        Raises
        ------
        BusError
            When a file was cut short.
        OSError
            When the kernel reports that bytes could not be written.

        Examples
        --------
        >>> import yammap
        >>> words = yammap.open_ragged("w.bin", "w.idx", "u1", "w+")
        >>> words.extend([b"one", b"two"])
        >>> words.flush()
        """
        values, _, offsets = self._state
        values.flush()
        if offsets is not None:
            offsets.flush()

    def _require_files(self, what: str) -> tuple[MappedArray[Any], MappedArray[Any]]:
        values, _, offsets = self._state
        if offsets is None or isinstance(values, ConcatenatedArray):
            raise io.UnsupportedOperation(
                f"{what} need two raw files: open them by their paths, without lengths= "
                f"and in_bytes="
            )
        return values, offsets

    # -- How it travels

    def __getstate__(self) -> tuple[Any, ...]:
        values, bounds, offsets = self._state
        return values, tuple(bounds), offsets

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        values, bounds, offsets = state
        self._state = _State(values, Bounds(*bounds), offsets)


def _runs(state: _State, indices: ArrayLike) -> tuple[_Numbers, _Numbers]:
    numbers = np.asarray(indices).reshape(-1)
    starts, lengths = state.bounds.runs(numbers)
    _require_inside(numbers, starts, lengths, len(state.values))
    return starts, lengths


def _require_inside(numbers: Any, starts: Any, lengths: Any, rows: int) -> None:
    """Raise unless runs of rows are in the values."""
    wrong = (starts < 0) | (lengths < 0) | (starts > rows - lengths)
    if np.any(wrong):
        i = int(np.argmax(wrong))
        raise ValueError(
            f"record {numbers[i]}, {lengths[i]} rows from {starts[i]}, is not in the "
            f"values, which have {rows}: the offsets belong to other values, or are damaged"
        )


def _result(
    values: MappedArray[Any], lengths: _Numbers, out: NDArray[Any] | None
) -> tuple[_Numbers, NDArray[Any]]:
    """Return the bounds of a batch, and the array for it: `out`, or a new one."""
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    shape = int(bounds[-1]), *values.shape[1:]
    if out is None:
        out = np.empty(shape, values.dtype)
    require_like(out, shape, values.dtype)
    return bounds, out


def _bytes_of(
    values: MappedArray[Any], starts: _Numbers, lengths: _Numbers
) -> tuple[Any, _Numbers, _Numbers]:
    """Return the mapping, and where the runs of rows are in it."""
    row = values._layout.row.nbytes
    return values._mapping, values.offset + row * starts, row * lengths


def _views(state: _State, first: int, end: int) -> list[NDArray[Any]]:
    """Return views of records that follow one another; if their values do, of one span."""
    values, bounds, _ = state
    if end <= first:
        return []
    starts, lengths = bounds.runs_between(first, end)
    _require_inside(range(first, end), starts, lengths, len(values))
    ends = starts + lengths
    span: Any = values
    if isinstance(values, MappedArray) and not bounds.are_lengths:
        low = int(starts[0])
        span, starts, ends = values[low : int(ends[-1])], starts - low, ends - low
    return [span[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]


def _groups(state: _State, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield parts of a range of records with at most a block of values, or one record."""
    row = max(1, state.values.nbytes // max(1, len(state.values)))
    lengths = state.bounds.runs_between(first, end)[1]
    group = np.cumsum(lengths * row) // BLOCK
    starts = first + np.flatnonzero(np.diff(group, prepend=-1))
    yield from zip(starts.tolist(), [*starts.tolist()[1:], end], strict=True)
