"""`MappedArray`: an array in a file, as something that travels between processes."""

from __future__ import annotations

import contextlib
import io
import operator
import os
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

import numpy as np

from .._file.batches import Done
from .._file.gather import begin_take, take_rows
from .._file.mmap_file import Mmap
from .._file.streaming import PREFETCH, accepts_old_names
from .array_layout import Layout, contiguous, layout_in
from .file_identity import find_source, locate, require_identity, source_at
from .formats import LONGEST, described_layout, recognise
from .handle import Scalar
from .npy import Header, read_header
from .pieces import Pieces, layout_of
from .row_batches import RowBatches
from .rows import as_rows, may_overlap, require_like

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from .._file.ndarrays import Shape
    from .._file.opening import Path
    from .file_identity import HandleMode, Identity
    from .formats import Format

__all__ = ["MappedArray"]

_Known = TypeVar("_Known", bound=np.generic)

_MODES = ("r", "r+", "c")


class MappedArray(RowBatches, Pieces[Scalar]):
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
    identity : {"file", "sample", "content", "size", None}, default "file"
        How the file is known again where its path is opened; see the notes. Arrays with
        mode ``"r+"`` are not known by what they contain.

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
    For type checkers, it is generic in the type of its scalars, as ``NDArray`` is:
    ``MappedArray[np.uint16]``.

    ``array[key]`` is an ndarray or a scalar, as for any array: a view where NumPy gives
    one, which stays valid whatever happens to this object. A view that spans 1 MiB or more
    has a mapping of its own, except in mode ``"c"`` and for a file that has no path. Its
    pages, which count as memory of this process, go when the view goes. (Those that a large
    assignment touches go when it ends.)

    A bus error in such a view is raised in the thread that touched it, but not by
    `mapping`, which is another mapping. And two such views have different addresses, so
    NumPy cannot see whether they overlap: ``array[1:] = array[:-1]`` is fine,
    `numpy.copyto` from one view to the other is not.

    `identity` says how the file is known again, in another process or on another machine,
    when its path is opened. The file may always have grown.

    - ``"file"``: it is the same file, and no copy: by its inode, the time at which it was
      made, where the filesystem tells that, and the filesystem, for files in memory. What
      is written changes none of these. Where inodes are made up and change (FAT, SMB,
      FUSE), another one will do if the file was made at the same time or, if that is not
      known, was not written to since.
    - ``"sample"``: it has the same bytes at both ends and at 254 places between, 1 MiB in
      all. This knows copies on other machines, in milliseconds whatever the size, and
      misses what differs only between these places.
    - ``"content"``: all its bytes are the same. This reads the whole file.
    - ``"size"``: it is not shorter.
    - None: anything will do that the array fits into.

    Only a process that opens the file checks it. Whatever the identity,
    a pickle, and the name that Dask gives the array, change when the file does
    (``os.stat``, ``st_mtime_ns`` and ``st_ctime_ns``), so that caches keep no stale
    results. They do not change for bytes stored through a mapping while its pages wait to
    be written to the disk, and never do so on a tmpfs.

    In expressions it is the array: operators, comparisons and NumPy's functions give
    ndarrays, and ``handle += x`` writes to the file. `sum`, `min`, `max`, `mean` and the
    like go through a large array in blocks of 4 MiB and keep none of it in memory. What
    has as many elements as the array (``handle + 1``) needs memory for all of them. `T`,
    `reshape` and `view` are handles. As arrays have none, handles have no hash; `same_file`
    compares their files.

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

    @overload
    def __init__(
        self: MappedArray[_Known],
        path: Path | Mmap,
        dtype: type[_Known] | np.dtype[_Known],
        shape: Shape | None = None,
        offset: int = 0,
        mode: HandleMode = "r",
        *,
        strides: tuple[int, ...] | None = None,
        order: Literal["C", "F"] = "C",
        identity: Identity = "file",
    ) -> None: ...
    @overload
    def __init__(
        self,
        path: Path | Mmap,
        dtype: DTypeLike | None = None,
        shape: Shape | None = None,
        offset: int = 0,
        mode: HandleMode = "r",
        *,
        strides: tuple[int, ...] | None = None,
        order: Literal["C", "F"] = "C",
        identity: Identity = "file",
    ) -> None: ...
    def __init__(
        self,
        path: Path | Mmap,
        dtype: DTypeLike | None = None,
        shape: Shape | None = None,
        offset: int = 0,
        mode: HandleMode = "r",
        *,
        strides: tuple[int, ...] | None = None,
        order: Literal["C", "F"] = "C",
        identity: Identity = "file",
    ) -> None:
        _require_mode(mode)
        require_identity(identity, mode)
        if isinstance(path, Mmap):
            place = locate(path.array())
            if place.private:
                raise ValueError(
                    f"{path!r} has changes of its own, which cannot travel: pass its path"
                )
            source, m = find_source(place, mode, identity)
            window = range(place.offset, min(place.offset + len(path), source.size))
        else:
            source, m = source_at(path, identity), None
            window = range(source.size)
        layout = _layout(source.path, window, dtype, shape, offset, strides, order)
        self._set_parts(source, layout, mode, m)

    @classmethod
    def of(
        cls,
        array: NDArray[_Known],
        mode: HandleMode | None = None,
        *,
        identity: Identity = "file",
    ) -> MappedArray[_Known]:
        """Return a `MappedArray` for an ndarray over a mapping.

        Parameters
        ----------
        array : numpy.ndarray
            Any view of a mapping: slices of slices, with steps, transposed, reshaped. The
            mapping may be closed.
        mode : {"r", "r+", "c"}, optional
            By default ``"r+"`` when `array` is writeable, else ``"r"``.
        identity : {"file", "sample", "content", "size", None}, default "file"
            How the file is known again, as for `MappedArray`.

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
        require_identity(identity, mode)
        source, m = find_source(place, mode, identity)
        layout = layout_of(array, place.offset)
        if (end := layout.extent.stop) > source.size:
            raise ValueError(
                f"the array ends at byte {end} of {source.path!r}, which has "
                f"{source.size} bytes now: the file was cut short"
            )
        made: MappedArray[Any] = cls._of_parts(source, layout, mode, m)
        return made

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # it is the same method, told in more detail
        def view(self, dtype: None = None) -> Self: ...
        @overload
        def view(self, dtype: type[_Known] | np.dtype[_Known]) -> MappedArray[_Known]: ...
        @overload
        def view(self, dtype: DTypeLike) -> MappedArray[Any]: ...
        def view(self, dtype: Any = None) -> Any: ...

    # -- Rows

    def take(
        self,
        indices: ArrayLike,
        out: NDArray[Any] | None = None,
        *,
        threads: int = 1,
        cached: bool | None = None,
    ) -> NDArray[Scalar]:
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
        rows = as_rows(index)
        shape = index.shape + self._layout.shape[1:]
        if out is None:
            result = np.empty(shape, self._layout.dtype)
            self._take(rows, result, index.shape, threads, cached)
            return result if shape else result[()]
        require_like(out, shape, self._layout.dtype)
        if may_overlap(out, rows) or self._place_here(out):
            # Else rows could be overwritten before they are read.
            out[...] = self.take(index, threads=threads, cached=cached)
        else:
            self._take(rows, out, index.shape, threads, cached)
        return out

    def _take(
        self,
        rows: NDArray[np.int64],
        out: NDArray[Any],
        shape: tuple[int, ...],
        threads: int,
        cached: bool | None,
    ) -> None:
        place = self._rows
        if place is None:
            place = self._locate_rows()
        if place:
            opened = self._opened
            m = opened["mapping"] if opened else self._mapping
            take_rows(m, rows, out, place, threads, cached)
        else:
            np.take(self._whole(), rows.reshape(shape), axis=0, out=out)

    def _begin_take(
        self, rows: NDArray[np.int64], buffer: NDArray[Any] | None, cached: bool | None
    ) -> Any:
        shape = (len(rows), *self._layout.shape[1:])
        if buffer is None:
            buffer = np.empty(shape, self._layout.dtype)
        require_like(buffer, shape, self._layout.dtype)
        if place := self._rows or self._locate_rows():
            return begin_take(self._mapping, rows, buffer, place, cached)
        return Done(np.take(self._whole(), rows, axis=0, out=buffer))

    @accepts_old_names
    def stream(
        self, rows: int, *, prefetch: int = PREFETCH, cached: bool | None = None
    ) -> Iterator[NDArray[Any]]:
        """Read all rows in chunks, without copies and in little memory.

        Parameters
        ----------
        rows : int
            Number of rows in each chunk; the last one may have fewer.
        prefetch : int, default 16 MiB
            Bytes that are read from the disk before the caller asks for them, where the
            kernel does not read as far ahead by itself.
        cached : bool, optional
            Whether the rows stay in the page cache, as for `Mmap.stream`: False gives
            arrays that are valid until the next one is asked for.

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
            cached=cached,
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
        start = 0 if _format_at(m, 0) == "npy" else extent.start  # its header may be new
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
        with m._turn:
            header = self._require_whole(m)
            text = header.of_shape(shape) if header else b""
            m.write_at(new, self._layout.extent.stop)
            if header:
                # One system call within a page: unlike a copy, a kill cannot cut it in two.
                m._write_by_call(text, header.text.start)
            source = self._source._replace(size=m.size())
        # One row, or none, may have any strides; more rows may not.
        layout = contiguous(self.dtype, shape, self.offset, "C")
        return self._of_parts(source, layout, "r+", m)

    def _require_whole(self, m: Mmap) -> Header | None:
        """Raise unless the file has only this array; return its header if it has one."""
        end, size = self._layout.extent.stop, m.refresh()
        if _format_at(m, 0) != "npy":
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
        if _format_at(m, end) == "npy":
            self._refuse_part(f"another array begins where it ends, at {end}")
        return header

    def _refuse_part(self, reason: str) -> NoReturn:
        raise ValueError(
            f"append() needs an array of the whole file, which {self!r} is not: {reason}; "
            f"make it again from the path"
        )


def _format_at(m: Mmap, offset: int) -> Format:
    return recognise(m.pread(LONGEST, offset))


def _require_mode(mode: str) -> None:
    if mode in _MODES:
        return
    instead = ""
    if not isinstance(mode, str):
        instead = ": write shape= and mode= by name"
    elif mode.startswith(("w", "x")):
        instead = ": yammap.open_array(path, dtype, 'w+', shape=...) makes a new file"
    raise ValueError(
        f"mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}{instead}"
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
            end, start = window.stop, window.start + offset
            found = described_layout(file, path, end, start, dtype, shape, order)
        if found:
            if strides is not None:
                raise ValueError("the header says where elements lie: leave out strides")
            return found
        kind = np.uint8 if dtype is None else dtype
        layout = layout_in(len(window), kind, shape, offset, strides, order)
        return layout._replace(offset=window.start + layout.offset)
    except ValueError as error:
        raise ValueError(f"{path!r}, from offset {offset}: {error}") from None
