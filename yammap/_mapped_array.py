"""`MappedArray`: an array in a file, by its path."""

from __future__ import annotations

import math
import operator
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ._array import shape_of
from ._open import open as open_path
from ._stream import AHEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ._array import Shape
    from ._file import Mmap
    from ._open import Path

__all__ = ["MappedArray"]

_MODES = ("r", "r+", "c")


class MappedArray:
    """An array in a file: what it is, and where, and its rows many at a time.

    The file is mapped when it is first needed. A pickle holds the path and no data.

    Parameters
    ----------
    path : path-like
        Of the file.
    dtype : dtype_like, default numpy.uint8
        Element type; structured types are fine, object types are not.
    shape : int or tuple of int, optional
        Elements a dimension, in C order; one may be -1, to be inferred from the file's
        size. By default one dimension of all elements up to the end.
    offset : int, default 0
        Position of the first element in the file, in bytes.
    mode : {"r", "r+", "c"}, default "r"
        Read; read and write; or copy on write.

    Raises
    ------
    OSError
        When there is no such file.
    TypeError
        When `dtype` holds Python objects.
    ValueError
        When the array does not fit into the file, or the mode is unknown.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> np.arange(12, dtype="<u2").tofile("rows.bin")
    >>> rows = yammap.MappedArray("rows.bin", "<u2", (-1, 3))
    >>> rows.shape, rows[1]
    ((4, 3), array([3, 4, 5], dtype=uint16))
    >>> rows.take([3, 0])
    array([[ 9, 10, 11],
           [ 0,  1,  2]], dtype=uint16)
    """

    __slots__ = ("__weakref__", "_dtype", "_mapping", "_mode", "_offset", "_path", "_shape")

    def __init__(
        self,
        path: Path,
        dtype: DTypeLike = np.uint8,
        shape: Shape | None = None,
        offset: int = 0,
        mode: str = "r",
    ) -> None:
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}, not {mode!r}")
        self._path, self._mode = os.fspath(path), mode
        self._dtype, self._offset = np.dtype(dtype), operator.index(offset)
        available = os.stat(self._path).st_size - self._offset
        if self._offset < 0 or available < 0:
            raise ValueError(f"offset {offset} is not in {self._path!r}")
        try:
            self._shape = shape_of(available, self._dtype, shape)
        except ValueError as error:
            raise ValueError(f"{self._path!r}, from offset {offset}: {error}") from None
        self._mapping: Mmap | None = None

    # -- What it is

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy.dtype: the type of an element."""
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The elements a dimension."""
        return self._shape

    @property
    def ndim(self) -> int:
        """int: the number of dimensions."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """int: the number of elements."""
        return math.prod(self._shape)

    @property
    def nbytes(self) -> int:
        """int: bytes of all elements."""
        return self.size * self._dtype.itemsize

    @property
    def mapping(self) -> Mmap:
        """Mmap: the mapped file, which is opened by this if need be."""
        if self._mapping is None:
            self._mapping = open_path(self._path, self._mode)
        return self._mapping

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("an array without dimensions has no length")
        return self._shape[0]

    def __repr__(self) -> str:
        kind, path = type(self).__name__, self._path
        return f"{kind}({path!r}, {self._dtype.str!r}, {self._shape}, {self._offset})"

    def __reduce__(self) -> tuple[Any, ...]:
        what = (self._path, self._dtype, self._shape, self._offset, self._mode)
        return type(self), what

    # -- As an array

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        array = self.mapping.array(self._dtype, self._shape, self._offset)
        if copy:
            return array.astype(dtype or self._dtype)
        if dtype is None or np.dtype(dtype) == self._dtype:
            return array
        if copy is False:
            raise ValueError(f"as {np.dtype(dtype)} it would be a copy")
        return array.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        np.asarray(self)[key] = value

    def take(
        self, indices: ArrayLike, out: NDArray[Any] | None = None, *, threads: int = 1
    ) -> NDArray[Any]:
        """Return rows, as ``np.take(array, indices, axis=0)``, without the GIL.

        Rows that are not in memory come from the disk many at a time.

        Parameters
        ----------
        indices : array_like of int
            Which rows, in any order and number; negative ones count from the end.
        out : numpy.ndarray, optional
            Where to put them: C-contiguous, of the result's shape and dtype.
        threads : int, default 1
            So many copy a part each.

        Returns
        -------
        numpy.ndarray
            `out`, or a new array, of shape ``indices.shape + shape[1:]``.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        IndexError
            When there is no such row, before anything is copied.
        TypeError
            When `indices` are no integers, the array has no dimensions, or `out` is
            read-only or not C-contiguous.
        ValueError
            When `out` has another shape or dtype.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(6.0).tofile("pairs.bin")
        >>> yammap.MappedArray("pairs.bin", "f8", (-1, 2)).take([-1, 0, -1])
        array([[4., 5.],
               [0., 1.],
               [4., 5.]])
        """
        index = np.asarray(indices)
        if index.dtype == np.bool_:
            index = index.astype(np.intp)  # as np.take does
        shape = (*index.shape, *self._shape[1:])
        result = np.empty(shape, self._dtype) if out is None else out
        if not isinstance(result, np.ndarray) or not result.flags.writeable:
            raise TypeError(f"out must be a writeable array, not {type(out).__name__!r}")
        if result.shape != shape or result.dtype != self._dtype:
            raise ValueError(
                f"out must have shape {shape} and dtype {self._dtype}, not "
                f"{result.shape} and {result.dtype}"
            )
        self.mapping._take_rows(
            index.reshape(-1), result, rows=len(self), offset=self._offset, threads=threads
        )
        return result[()] if out is None and not shape else result

    def stream(
        self, rows: int, *, ahead: int = AHEAD, drop_behind: bool = True
    ) -> Iterator[NDArray[Any]]:
        """Go through all rows, some at a time, without copies and in little memory.

        Parameters
        ----------
        rows : int
            Of each chunk; the last one may have fewer.
        ahead : int, default 16 MiB
            Bytes to read from the disk before they are asked for.
        drop_behind : bool, default True
            Give the memory behind back.

        Returns
        -------
        iterator of numpy.ndarray
            Arrays of shape ``(rows, *shape[1:])``.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read: by the chunk that has none.
        TypeError
            When the array has no dimensions.
        ValueError
            When `rows` is not positive.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(10).tofile("long.bin")
        >>> [int(chunk.sum()) for chunk in yammap.MappedArray("long.bin", int).stream(4)]
        [6, 22, 17]
        """
        rows = operator.index(rows)
        if rows < 1:
            raise ValueError(f"rows must be positive, not {rows}")
        row = self.nbytes // max(1, len(self))
        if row == 0:
            array = np.asarray(self)
            return (array[i : i + rows] for i in range(0, len(self), rows))
        views = self.mapping.stream(
            rows * row,
            offset=self._offset,
            length=self.nbytes,
            ahead=ahead,
            drop_behind=drop_behind,
        )
        return (
            np.frombuffer(view, self._dtype).reshape(-1, *self._shape[1:]) for view in views
        )

    def flush(self) -> None:
        """Write changed elements to the disk, as `Mmap.sync`.

        Raises
        ------
        BusError
            When the file was cut short.
        OSError
            When the kernel reports that bytes could not be written.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.zeros(4).tofile("four.bin")
        >>> four = yammap.MappedArray("four.bin", "f8", mode="r+")
        >>> four[1:3] = 5
        >>> four.flush()
        >>> np.fromfile("four.bin")
        array([0., 5., 5., 0.])
        """
        self.mapping.sync(self._offset, self.nbytes)
