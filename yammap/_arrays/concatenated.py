"""`ConcatenatedArray`: many files as one array, a handle of its own kind."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .._file.streaming import PREFETCH
from .blocks import joined
from .columns import pack
from .file_identity import guard
from .handle import Handle
from .keys import require_rows, result_of, sections, split_key
from .parts import Parts
from .reductions import Reductions
from .seam_copy import SeamCopy
from .taking import Taking, is_mapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

    from .keys import Key
    from .mapped_array import MappedArray
    from .reductions import Reduce

__all__ = ["ConcatenatedArray"]


class ConcatenatedArray(Taking, Reductions):
    """One array over many files, as `concatenate` makes it.

    Its shape never changes. A pickle of a thousand files has a few tens of bytes for each.
    A file is mapped when it is used. When 8192 files are mapped, the half that was used
    least recently is unmapped; views keep their memory. (In mode ``"c"``, all files stay
    mapped, because changes are in memory only.)

    Notes
    -----
    ``array[key]`` is what NumPy gives: a view, where all elements are in one file. A slice
    across a seam, where one file ends and the next begins, is a read-only copy: a store
    into it is an error, because it could not reach the files. ``array[a:b] = x`` and
    ``array[a:b] += 1`` do reach them. (``x = array[a:b]; x += 1`` makes ``x`` a new array.)

    Examples
    --------
    >>> import numpy as np, yammap
    >>> for name in "ab":
    ...     np.arange(4).tofile(name)
    >>> both = yammap.concatenate(["a", "b"], dtype=int, mode="r+")
    >>> both[3:5]
    SeamCopy([3, 0])
    >>> both[3:5] += 7
    >>> both[2:6]
    SeamCopy([ 2, 10,  7,  1])
    """

    __slots__ = ("_axis", "_dtype", "_parts", "_shape")

    @classmethod
    def _of(cls, parts: Parts, axis: int) -> ConcatenatedArray:
        made = cls.__new__(cls)
        made._set(parts, axis)
        return made

    def _set(self, parts: Parts, axis: int) -> None:
        layout = parts.files[0][1]
        shape = (*layout.shape[:axis], parts.bounds[-1], *layout.shape[axis + 1 :])
        self._parts, self._axis, self._dtype, self._shape = parts, axis, layout.dtype, shape

    # -- Attributes

    @property
    def axis(self) -> int:
        """int: the dimension along which the parts follow one another."""
        return self._axis

    @property
    def bounds(self) -> tuple[int, ...]:
        """Where each part begins along the axis, and where the last ends: tuple of int."""
        return self._parts.bounds

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy.dtype: the type of an element."""
        return self._dtype

    @property
    def mode(self) -> str:
        """str: ``"r"``, ``"r+"`` or ``"c"``."""
        return self._parts.mode

    @property
    def nbytes(self) -> int:
        """int: the number of bytes of all elements."""
        return self.size * self._dtype.itemsize

    @property
    def ndim(self) -> int:
        """int: the number of dimensions."""
        return len(self._shape)

    @property
    def parts(self) -> tuple[MappedArray[Any], ...]:
        """The parts: tuple of MappedArray, which are opened when they are used."""
        return tuple(map(self._parts.handle, range(len(self._parts))))

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of elements in each dimension: tuple of int."""
        return self._shape

    @property
    def size(self) -> int:
        """int: the number of elements."""
        size = 1
        for n in self._shape:
            size *= n
        return size

    def __len__(self) -> int:
        return self._shape[0]

    def __repr__(self) -> str:
        first, last = (self._parts.files[i][0].path for i in (0, -1))
        return (
            f"<{type(self).__name__} parts={len(self._parts)} from={first!r} to={last!r} "
            f"dtype={self._dtype} shape={self._shape} axis={self._axis} mode={self.mode!r}>"
        )

    def suggest_chunks(self, nbytes: int = 128 << 20) -> tuple[tuple[int, ...], ...]:
        """Return chunk sizes with which each chunk lies together in one file.

        Parameters
        ----------
        nbytes : int, default 128 MiB
            The most bytes in a chunk, unless one element has more.

        Returns
        -------
        tuple of tuple of int
            The sizes for each dimension: ``dask.array.from_array(array, chunks)`` takes it.

        Raises
        ------
        ValueError
            When that is not positive.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> for name in "ab":
        ...     np.zeros((5, 2)).tofile(name)
        >>> both = yammap.concatenate(["a", "b"], dtype="f8", shape=(-1, 2))
        >>> both.suggest_chunks(64)
        ((4, 1, 4, 1), (2,))
        """
        sizes = [b - a for a, b in zip(self.bounds, self.bounds[1:], strict=False)]
        largest = sizes.index(max(sizes))
        chunk = self._parts.handle(largest).suggest_chunks(nbytes)
        whole = [_cut(n, each) for n, each in zip(self._shape, chunk, strict=True)]
        along = [size for n in sizes if n for size in _cut(n, chunk[self._axis])]
        whole[self._axis] = tuple(along) or (0,)
        return tuple(whole)

    # -- As an array

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        array: NDArray[Any] = np.asarray(self[...])
        if copy or (dtype is not None and np.dtype(dtype) != array.dtype):
            if copy is False:
                raise ValueError(f"as {dtype} it is a copy: leave out copy=False")
            return array.astype(dtype or self._dtype)
        return array

    def _reading(self) -> Any:
        return contextlib.nullcontext(np.asarray(self[...]))

    def _writing(self) -> Any:
        raise TypeError("no single array spans all files: write c[...] += x, or c[a:b] = x")

    def _comparable(self, value: Any) -> Any:
        return value

    def _reduce(self, reduce: Reduce, axes: tuple[int, ...]) -> NDArray[Any]:
        parts = (self._parts[i]._reduce(reduce, axes) for i in self._parts.with_elements())
        return joined(parts, self._axis, reduce if self._axis in axes else None)

    def _blocks(self) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        for number in self._parts.with_elements():
            for first, block in self._parts[number]._blocks():
                at = first[self._axis] + self.bounds[number]
                yield (*first[: self._axis], at, *first[self._axis + 1 :]), block

    def __contains__(self, value: Any) -> bool:
        if np.ndim(value):
            return value in np.asarray(self[...])
        return any(value in self._parts[i] for i in self._parts.with_elements())

    def __getitem__(self, key: Any) -> Any:
        if _names_fields(key):
            return SeamCopy.of(np.array(self[...])[key])
        split = split_key(key, self._shape, self._axis)
        if isinstance(split.at, int):
            part, local = self._parts.find(self._require_index(split.at))
            return self._parts[part][split.of(local)]
        if isinstance(split.at, slice):
            return self._read_slice(split)
        index = split.at
        rows = self._take(index.reshape(-1), None, 1)
        if split.is_bare:
            return rows.reshape(index.shape + self._shape[1:])
        return rows[split.of(np.arange(index.size).reshape(index.shape))]

    def _require_index(self, index: int) -> int:
        n = self._shape[self._axis]
        if not -n <= index < n:
            raise IndexError(
                f"index {index} is out of bounds for axis {self._axis} with size {n}"
            )
        return index % n

    def _read_slice(self, key: Key) -> Any:
        found = sections(key.at, self.bounds)
        if len(found) < 2:
            part, local = (found[0].part, found[0].local) if found else (0, slice(0))
            return self._parts[part][key.of(local)]
        shape, axis = result_of(key, self._shape, self._axis)
        out = np.empty(shape, self._dtype)
        if key.is_bare and key.at.step in (None, 1) and self._rows_follow:
            first, end, _ = key.at.indices(self._shape[0])
            run = np.array([first]), np.array([end - first])
            self._parts.gather(self._parts.pieces_of_runs(*run), out, 1, None)
        else:
            for section in found:
                piece = self._parts[section.part][key.of(section.local)]
                _copy(piece, out[(slice(None),) * axis + (section.place,)])
        return SeamCopy.of(out)

    def __setitem__(self, key: Any, value: Any) -> None:
        if _names_fields(key):
            for part in range(len(self._parts)):
                a, b = self.bounds[part : part + 2]
                whole = np.broadcast_to(_own(value), self._shape)
                self._parts[part][key] = whole[(slice(None),) * self._axis + (slice(a, b),)]
            return
        split = split_key(key, self._shape, self._axis)
        if isinstance(split.at, int):
            part, local = self._parts.find(self._require_index(split.at))
            self._parts[part][split.of(local)] = value
        elif isinstance(split.at, slice):
            self._write_slice(split, value)
        else:
            self._write_elements(split, value)

    def _write_slice(self, key: Key, value: Any) -> None:
        found = sections(key.at, self.bounds)
        if len(found) == 1:
            self._parts[found[0].part][key.of(found[0].local)] = value
            return
        shape, axis = result_of(key, self._shape, self._axis)
        values = _spread(value, shape, self._dtype)
        for section in found:
            place = (slice(None),) * axis + (section.place,)
            self._parts[section.part][key.of(section.local)] = values[place]

    def _write_elements(self, key: Key, value: Any) -> None:
        """Assign where arrays of integers say: by the coordinates of each element."""
        axis, index = self._axis, key.at
        rows = require_rows(index.reshape(-1), self._shape[axis], axis)
        shape = (*self._shape[:axis], len(rows), *self._shape[axis + 1 :])
        inner = key.of(np.arange(index.size).reshape(index.shape))
        where = [
            np.broadcast_to(np.expand_dims(np.arange(n), _others(i, shape)), shape)[inner]
            for i, n in enumerate(shape)
        ]
        values = _spread(value, where[0].shape, self._dtype).reshape(-1)
        flat = [coordinates.reshape(-1) for coordinates in where]
        flat[axis] = rows[flat[axis]]
        number = np.searchsorted(self.bounds, flat[axis], "right") - 1
        for part in np.unique(number).tolist():
            here = number == part
            local = [coordinates[here] for coordinates in flat]
            local[axis] = local[axis] - self.bounds[part]
            self._parts[part][tuple(local)] = values[here]

    # -- All at once

    def stream(
        self, rows: int, *, prefetch: int = PREFETCH, cached: bool | None = None
    ) -> Iterator[NDArray[Any]]:
        """Go through all rows in chunks without copies; no chunk crosses a seam.

        Parameters
        ----------
        rows : int
            Number of rows in each chunk; the last one of a file may have fewer.
        prefetch, cached : optional
            As for `MappedArray.stream`.

        Returns
        -------
        iterator of numpy.ndarray
            Arrays of shape ``(rows, *shape[1:])``. If the parts follow one another along
            another dimension than the first, the chunks are read-only copies.

        Raises
        ------
        BusError
            When a file was cut short or cannot be read, at the chunk that is affected.
        ValueError
            When `rows` is not positive.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> for name in "ab":
        ...     np.arange(4).tofile(name)
        >>> [len(chunk) for chunk in yammap.concatenate(["a", "b"], dtype=int).stream(3)]
        [3, 1, 3, 1]
        """
        rows = operator.index(rows)
        if rows < 1:
            raise ValueError(f"rows must be positive, not {rows}")
        if self._axis:
            return (self[i : i + rows] for i in range(0, len(self), rows))
        terms = {"prefetch": prefetch, "cached": cached}
        return (
            chunk
            for part in range(len(self._parts))
            for chunk in self._parts[part].stream(rows, **terms)  # type: ignore[arg-type]
        )

    def flush(self) -> None:
        """Write changed elements of all files to the disk, as `MappedArray.flush` does.

        Raises
        ------
        BusError
            When a file was cut short.
        OSError
            When the kernel reports that bytes could not be written.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> for name in "ab":
        ...     np.zeros(2).tofile(name)
        >>> both = yammap.concatenate(["a", "b"], dtype="f8", mode="r+")
        >>> both[1:3] = 5
        >>> both.flush()
        >>> np.fromfile("b")
        array([5., 0.])
        """
        for part in range(len(self._parts)):
            self._parts[part].flush()

    # -- How it travels

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the state; its last item gives changed files a new pickle, for caches."""
        return self._axis, self.mode, self._parts.packed(), pack(self._parts.times())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        axis, mode, packed, _ = state
        self._set(Parts.of_packed(packed, axis, mode), axis)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return the names and states of the files: Dask need not read the elements."""
        files = [(*s, *layout[1:]) for s, layout in self._parts.files]
        terms = type(self).__name__, self._axis, self.mode, repr(self._dtype)
        return *terms, files, self._parts.times()


def _names_fields(key: Any) -> bool:
    return isinstance(key, str) or (
        isinstance(key, list) and bool(key) and all(isinstance(k, str) for k in key)
    )


def _cut(n: int, size: int) -> tuple[int, ...]:
    return (size,) * (n // size) + ((n % size,) if n % size else ())


def _others(axis: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i for i in range(len(shape)) if i != axis)


def _copy(piece: Any, out: NDArray[Any]) -> None:
    """Copy a piece of a file, and raise the fault that it may have met."""
    if is_mapped(piece):
        with guard(piece):
            out[...] = piece
    else:
        out[...] = piece


def _own(value: Any, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Return a value as an array that an assignment to the files cannot change."""
    given = isinstance(value, np.ndarray | np.generic | Handle | ConcatenatedArray)
    array = np.asarray(value) if given else np.asarray(value, dtype)
    return np.array(array) if is_mapped(array) else array


def _spread(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    array = _own(value, dtype)
    while array.ndim > len(shape) and array.shape[0] == 1:  # as NumPy assigns
        array = array[0]
    return np.broadcast_to(array, shape)
