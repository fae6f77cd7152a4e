"""`MappedArray`: an array in a file, as something that travels between processes."""

from __future__ import annotations

import contextlib
import io
import operator
import os
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from .._core import Mapping
from .._file.mmap_file import Mmap
from .._file.ndarrays import require_writeable
from .._file.opening import reopen
from .._file.records import as_integers
from .._file.streaming import PREFETCH, accepts_ahead
from .._linux.flags import Advice
from .array_layout import Layout, contiguous, layout_in
from .file_identity import Place, file_of, find_source, locate, source_at
from .handle import Handle
from .npy import MAGIC, Header, is_npy, layout_of_npy, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from .._file.ndarrays import Shape
    from .._file.opening import Path

__all__ = ["MappedArray"]

_MODES = ("r", "r+", "c")

# For this many bytes, a mapping of their own takes no longer than a copy.
_LARGE = 1 << 20


class MappedArray(Handle):
    """An array in a file: its layout, its place, and its elements by index.

    It never changes, and it travels: a pickle has the path and no data. The first access to
    elements maps the file, in whatever process that is, after checking that the file is
    still the one that the array was made from. Threads may share it.

    Parameters
    ----------
    path : path-like or Mmap
        Path of the file; or a mapping, such as one of `yammap.anonymous`. A mapping whose
        name does not lead to its file travels as a path in /proc, which other processes of
        this user on this machine can follow while the array is alive here.
    dtype : dtype_like, optional
        Element type; structured types are fine, object types are not. By default
        numpy.uint8, or the type in the header of a file in NumPy's format.
    shape : int or tuple of int, optional
        Elements for each dimension. One may be -1, and is inferred from the size of the
        file or mapping. By default there is one dimension, with all elements up to the end.
    offset : int, default 0
        Position of the element with all indices 0, in bytes, in the file or mapping.
    mode : {"r", "r+", "c"}, default "r"
        Read; read and write; or copy on write, where only this object sees the changes.
    strides : tuple of int, optional
        Bytes from one element to the next in each dimension, where elements do not follow
        one another. They need a full `shape`.
    order : {"C", "F"}, default "C"
        Row-major or column-major.

    Raises
    ------
    OSError
        When the file cannot be mapped. Later, at the first access and at each access to
        1 MiB or more: ``ESTALE`` when another file has the path, or the file is shorter.
    TypeError
        When `dtype` holds Python objects.
    ValueError
        When the array does not fit into the file or mapping, or the mode is unknown. For a
        ``.npy`` file, when its header says something else; for its bytes as they are, write
        ``MappedArray.of(yammap.open(path).array(dtype))``. For an archive, as a ``.npz``
        is, when `offset` is 0.

    Notes
    -----
    ``array[key]`` is an ndarray or a scalar, as for any array: a view where NumPy gives
    one, which stays valid whatever happens to this object. A view that spans 1 MiB or more
    has a mapping of its own, except in mode ``"c"`` and for a file that has no path. Its
    pages, which count as memory of this process, go when the view goes. (Those that a large
    assignment touches go when it ends.)

    A bus error in such a view is raised in the thread that touched it, but not by
    `mapping`, which is another mapping. And two such views have different addresses, so
    NumPy cannot see whether they overlap: ``array[1:] = array[:-1]`` is fine,
    `numpy.copyto` from one view to the other is not.

    The identity of a file is its inode, the time at which it was made, where the filesystem
    tells that, and the filesystem, for files in memory; writing changes none of these. But
    a pickle, and the name that Dask gives the array, change when the file does
    (``os.stat``, ``st_mtime_ns`` and ``st_ctime_ns``), so that caches keep no stale
    results. They do not change for bytes stored through a mapping while its pages wait to
    be written to the disk, and never do so on a tmpfs.

    It compares and computes nothing: write ``array[...] == x``, ``array[...].sum()``.

    Examples
    --------
    >>> import numpy as np, pickle, yammap
    >>> np.arange(12, dtype="<u2").tofile("rows.bin")
    >>> rows = yammap.MappedArray("rows.bin", "<u2", (-1, 3))
    >>> rows.shape, rows[1]
    ((4, 3), array([3, 4, 5], dtype=uint16))
    >>> rows.take([3, 0])
    array([[ 9, 10, 11],
           [ 0,  1,  2]], dtype=uint16)
    >>> int(pickle.loads(pickle.dumps(rows))[-1, -1])
    11
    """

    __slots__ = ()

    def __init__(
        self,
        path: Path | Mmap,
        dtype: DTypeLike | None = None,
        shape: Shape | None = None,
        offset: int = 0,
        mode: str = "r",
        *,
        strides: tuple[int, ...] | None = None,
        order: Literal["C", "F"] = "C",
    ) -> None:
        _require_mode(mode)
        if isinstance(path, Mmap):
            place = locate(path.array())
            if place.private:
                raise ValueError(
                    f"{path!r} has changes of its own, which cannot travel: pass its path"
                )
            source, m = find_source(place, mode)
            window = range(place.offset, min(place.offset + len(path), source.size))
        else:
            source, m = source_at(path), None
            window = range(source.size)
        layout = _layout(source.path, window, dtype, shape, offset, strides, order)
        self._set_parts(source, layout, mode, m)

    @classmethod
    def of(cls, array: NDArray[Any], mode: str | None = None) -> Self:
        """Return a `MappedArray` for an ndarray over a mapping.

        Parameters
        ----------
        array : numpy.ndarray
            Any view of a mapping: slices of slices, with steps, transposed, reshaped. The
            mapping may be closed.
        mode : {"r", "r+", "c"}, optional
            By default ``"r+"`` when `array` is writeable, else ``"r"``.

        Returns
        -------
        MappedArray
            The same elements of the same file.

        Raises
        ------
        OSError
            When the file cannot be mapped.
        TypeError
            When `array` is no ndarray.
        ValueError
            When the array is not in a mapping; when the mapping is copy on write, whose
            changes cannot travel, and no `mode` is given; or when no path leads to the file
            and the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> a = yammap.open_array("grid.bin", "<i4", "w+", shape=(100, 100))
        >>> piece = yammap.MappedArray.of(a[10:20, ::-2].T)
        >>> piece.shape, piece.strides
        ((50, 10), (-8, 400))
        >>> piece[0, 0] = 7
        >>> int(a[10, 99])
        7
        """
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"{cls.__name__}.of() takes an ndarray, not a {type(array).__name__!r}"
            )
        place = locate(array)
        if mode is None and place.private:
            raise ValueError(
                f"changes of a copy-on-write mapping cannot travel: pass mode='r' or 'c' "
                f"for the bytes that are in {place.name!r}"
            )
        if mode is None:
            mode = "r+" if array.flags.writeable else "r"
        _require_mode(mode)
        source, m = find_source(place, mode)
        layout = _layout_of(array, place.offset)
        if (end := layout.extent.stop) > source.size:
            raise ValueError(
                f"the array ends at byte {end} of {source.path!r}, which has "
                f"{source.size} bytes now: the file was cut short"
            )
        return cls._of_parts(source, layout, mode, m)

    # -- As an array

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _whole(self) -> NDArray[Any]:
        return self._in_the_one_mapping(self._layout)

    def _in_the_one_mapping(self, layout: Layout) -> NDArray[Any]:
        start, length = layout.extent.start, len(layout.extent)
        return layout.over(self.mapping.view(start, length), start)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        array: NDArray[Any] = self[...]
        if copy:
            return array.astype(dtype or self.dtype)
        if dtype is None or np.dtype(dtype) == self.dtype:
            return array
        if copy is False:
            raise ValueError(f"as {np.dtype(dtype)} it is a copy: leave out copy=False")
        return array.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        whole = self._whole()
        piece = whole[key]
        if not self._is_large or not isinstance(piece, np.ndarray):
            return piece
        if piece.nbytes < _LARGE and piece.flags.c_contiguous:
            return piece
        if not np.may_share_memory(piece, whole):
            self._drop_pages()
            return piece
        place = piece.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        layout = _layout_of(piece, self.offset + place)
        return self._piece_mapped_apart(layout) if len(layout.extent) >= _LARGE else piece

    def __setitem__(self, key: Any, value: Any) -> None:
        self._whole()[key] = self._comparable(value)
        if self._is_large and getattr(value, "nbytes", 0) >= _LARGE:
            self._drop_pages()

    def _comparable(self, value: Any) -> Any:
        """Return the value at addresses by which NumPy sees whether it overlaps with us."""
        if isinstance(value, memoryview) or hasattr(value, "__array__"):
            value = np.asarray(value)
        if isinstance(value, np.ndarray) and (place := self._place_here(value)):
            return self._in_the_one_mapping(_layout_of(value, place.offset))
        return value

    def _place_here(self, array: NDArray[Any]) -> Place | None:
        """Return where an array lies in this file, by whatever name it was opened.

        Changes in mode ``"c"`` are in no file.
        """
        if self._mode != "c" and array.base is not None:
            with contextlib.suppress(ValueError):  # it is in no mapping
                place = locate(array)
                if place.file == file_of(self.mapping) and not place.private:
                    return place
        return None

    @property
    def _is_large(self) -> bool:
        """Whether pieces may have mappings of their own.

        Only the one mapping has the changes of mode ``"c"``, and the descriptor that a
        piece of a file without a path needs to travel.
        """
        if self._mode == "c" or isinstance(self.mapping.name, int):
            return False
        return len(self._layout.extent) >= _LARGE

    def _piece_mapped_apart(self, layout: Layout) -> NDArray[Any]:
        start, length = layout.extent.start, len(layout.extent)
        mapping = self._source.checked(self.mapping)
        with reopen(mapping, self._mode, offset=start, length=length) as m:
            return layout.over(m.view(), start)

    def _drop_pages(self) -> None:
        """Drop the pages just used from the process, but not from the page cache."""
        extent = self._layout.extent
        with contextlib.suppress(OSError):  # they may be locked
            self.mapping.madvise(Advice.DONTNEED, extent.start, len(extent))

    def take(
        self, indices: ArrayLike, out: NDArray[Any] | None = None, *, threads: int = 1
    ) -> NDArray[Any]:
        """Return rows, as ``np.take(array, indices, axis=0)`` does, without the GIL.

        Rows that are not in memory come from the disk many at a time. (Where the bytes of a
        row do not follow one another, `numpy.take` copies them.)

        Parameters
        ----------
        indices : array_like of int
            Indices of the rows, in any order and number; negative ones count from the end.
        out : numpy.ndarray, optional
            Array for the rows: C-contiguous, of the result's shape and dtype.
        threads : int, default 1
            Number of threads; each copies a part of the rows.

        Returns
        -------
        numpy.ndarray
            `out`, or a new array, of shape ``indices.shape + shape[1:]``.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        IndexError
            When a row does not exist, before anything is copied.
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
        shape = (*index.shape, *self.shape[1:])
        result = np.empty(shape, self.dtype) if out is None else require_writeable(out)
        if result.shape != shape or result.dtype != self.dtype:
            raise ValueError(
                f"out must have shape {shape} and dtype {self.dtype}, not "
                f"{result.shape} and {result.dtype}"
            )
        rows = as_integers(index.reshape(-1), "indices", IndexError)
        if out is not None and (np.may_share_memory(out, rows) or self._place_here(out)):
            out[...] = self.take(
                index, threads=threads
            )  # else rows could be overwritten before they are read
            return out
        if self.size and self._layout.row.is_contiguous:
            layout = {"rows": len(self), "offset": self.offset, "step": self.strides[0]}
            self.mapping._take_rows(rows, result, threads=threads, **layout)
        else:
            np.take(self._whole(), rows.reshape(index.shape), axis=0, out=result)
        return result[()] if out is None and not shape else result

    @accepts_ahead
    def stream(
        self, rows: int, *, prefetch: int = PREFETCH, drop_behind: bool = True
    ) -> Iterator[NDArray[Any]]:
        """Go through all rows in chunks, without copies and in little memory.

        Parameters
        ----------
        rows : int
            Number of rows in each chunk; the last one may have fewer.
        prefetch : int, default 16 MiB
            Bytes that are read from the disk before the caller asks for them, where the
            kernel does not read as far ahead by itself.
        drop_behind : bool, default True
            Give back the memory behind.

        Returns
        -------
        iterator of numpy.ndarray
            Arrays of shape ``(rows, *shape[1:])``.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read, at the chunk that is affected.
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
        starts = range(0, len(self), rows)
        extent, row, step = self._layout.extent, self._layout.row, self.strides[0]
        if not 0 < len(row.extent) <= step:  # rows that overlap, interleave or go backwards
            return (self[i : i + rows] for i in starts)
        views = self.mapping.stream(
            rows * step,
            offset=extent.start,
            length=len(extent),
            prefetch=prefetch,
            drop_behind=drop_behind,
        )
        first = self._layout._replace(offset=self.offset - extent.start)
        return (
            first._replace(shape=(min(rows, len(self) - i), *self.shape[1:])).over(view, 0)
            for i, view in zip(starts, views, strict=True)
        )

    def flush(self) -> None:
        """Write changed elements to the disk, as `Mmap.sync` does.

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
        extent = self._layout.extent
        m = self.mapping
        start = 0 if _begins_as_npy(m) else extent.start  # the header may have changed
        m.sync(start, extent.stop - start)

    def append(self, rows: ArrayLike) -> Self:
        """Write rows after the last one, and return the longer array.

        This array, and all views, stay as they are.

        Parameters
        ----------
        rows : array_like, shape ``(n, *shape[1:])``
            The rows, converted to the dtype as in an assignment.

        Returns
        -------
        MappedArray
            The array with the new rows.

        Raises
        ------
        io.UnsupportedOperation
            When the mode is not ``"r+"``.
        OSError
            When the disk is full or bad. The array stays as it was.
        TypeError
            When the array has no dimensions.
        ValueError
            When `rows` do not fit the shape; when the array is not all of the file from
            `offset` on, because it is a part of an array or another process has appended;
            or when the header of a ``.npy`` file has no room for the new shape.

        Notes
        -----
        The header of a ``.npy`` file is written in place, after the rows: a process that is
        killed in between leaves the array as it was. Only rows that a `flush` has
        acknowledged survive a power cut. Processes that append to one file must take turns:
        make the array and append to it under `Mmap.file_lock`.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.save("log.npy", np.zeros((2, 3)))
        >>> log = yammap.MappedArray("log.npy", mode="r+")
        >>> longer = log.append([[1, 2, 3]])
        >>> len(log), len(longer), np.load("log.npy")[-1]
        (2, 3, array([1., 2., 3.]))
        """
        if self._mode != "r+":
            raise io.UnsupportedOperation(f"append() needs mode 'r+', not {self._mode!r}")
        new = np.ascontiguousarray(rows, self.dtype)
        shape = len(self) + len(new), *self.shape[1:]
        if new.ndim != self.ndim or new.shape[1:] != self.shape[1:]:
            raise ValueError(
                f"rows of shape {new.shape} do not fit: only the first dimension of "
                f"{self.shape} may differ"
            )
        m = self.mapping
        with m._serial:
            header = self._require_whole(m)
            text = header.of_shape(shape) if header else b""
            m.write_at(new, self._layout.extent.stop)
            if header:
                # One system call within a page: unlike a copy, a kill cannot cut it in two.
                os.pwrite(Mapping.fileno(m), text, header.text.start)
            source = self._source._replace(size=m.size())
        # One row, or none, may have any strides; more rows may not.
        layout = contiguous(self.dtype, shape, self.offset, "C")
        return self._of_parts(source, layout, "r+", m)

    def _require_whole(self, m: Mmap) -> Header | None:
        """Raise unless the file has only this array; return its header if it has one."""
        end, size = self._layout.extent.stop, m.refresh()
        if not _begins_as_npy(m):
            if end != size or not self._layout.is_contiguous:
                self._refuse_part(f"the file has {size} bytes, and the array ends at {end}")
            return None
        m.seek(0)
        header = read_header(m)
        if header.layout_of(self.dtype) != self._layout or header.order == "F":
            self._refuse_part(
                f"the header says shape {header.layout.shape}, order {header.order!r}"
            )
        # Other bytes are the rows of an append that was killed before it wrote the header.
        if m.pread(len(MAGIC), end) == MAGIC:
            self._refuse_part(f"another array begins where it ends, at {end}")
        return header

    def _refuse_part(self, reason: str) -> NoReturn:
        raise ValueError(
            f"append() needs an array of the whole file, which {self!r} is not: {reason}; "
            f"make it again from the path"
        )


def _layout_of(array: NDArray[Any], offset: int) -> Layout:
    return Layout(array.dtype, array.shape, array.strides, offset)


def _begins_as_npy(m: Mmap) -> bool:
    return m.pread(len(MAGIC), 0) == MAGIC


def _require_mode(mode: str) -> None:
    if mode not in _MODES:
        raise ValueError(
            f"mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}"
        )


def _layout(
    path: str | bytes,
    window: range,
    dtype: DTypeLike | None,
    shape: Shape | None,
    offset: int,
    strides: tuple[int, ...] | None,
    order: Literal["C", "F"],
) -> Layout:
    try:
        with open(path, "rb", buffering=0) as file:
            # Read one page for these bytes, and not as many as the kernel would read ahead.
            with contextlib.suppress(OSError):  # a sandbox may refuse it
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            if is_npy(file.read(len(MAGIC)), path, window.start + offset):
                if strides is not None:
                    raise ValueError(
                        "the header says where elements lie: leave out strides"
                    )
                file.seek(0)
                return layout_of_npy(file, window.stop, dtype, shape, order)
        kind = np.uint8 if dtype is None else dtype
        layout = layout_in(len(window), kind, shape, offset, strides, order)
        return layout._replace(offset=window.start + layout.offset)
    except ValueError as error:
        raise ValueError(f"{path!r}, from offset {offset}: {error}") from None
