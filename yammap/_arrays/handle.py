"""What stands for an array in a file: which file, which elements of it, and how it travels.

Knows nothing of the elements themselves.
"""

from __future__ import annotations

import math
import operator
import os
from typing import TYPE_CHECKING, Any, Generic, Literal

import numpy as np

from .._core import Keeper, Kept
from .._file.html import html_of, spelled_size
from .._file.ndarrays import as_tuple, require_elements
from . import descriptors
from .array_layout import Layout
from .conversions import Conversions
from .file_identity import Source, file_of
from .reductions import Reductions
from .rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, SupportsIndex

    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import TypeVar

    from .._file.mmap_file import Mmap
    from .file_identity import HandleMode, Identity
    from .rows import Rows

    Scalar = TypeVar("Scalar", bound=np.generic, default=Any)
else:
    from typing import TypeVar

    Scalar = TypeVar("Scalar")  # defaults are for type checkers only, until Python 3.13

__all__ = ["Handle", "Scalar"]


class Handle(Keeper, Reductions, Conversions, Generic[Scalar]):
    """The part of `MappedArray` that has the attributes of an array, and travels."""

    __slots__ = ("_layout", "_mode", "_opened", "_rows", "_source")

    _source: Source
    _layout: Layout
    _mode: HandleMode
    _opened: dict[str, Mmap]
    _rows: Rows | tuple[()] | None  # None: not looked at yet; (): not whole

    @classmethod
    def _of_parts(
        cls, source: Source, layout: Layout, mode: HandleMode, m: Mmap | None
    ) -> Self:
        made = cls.__new__(cls)
        made._set_parts(source, layout, mode, m)
        return made

    def _set_parts(
        self, source: Source, layout: Layout, mode: HandleMode, m: Mmap | None
    ) -> None:
        self._source, self._layout, self._mode = source, layout, mode
        self._opened = {} if m is None else {"mapping": m}
        self._kept = self._rows = None

    # -- Attributes

    @property
    def path(self) -> str | bytes:
        """The file's absolute path: str or bytes."""
        return self._source.path

    @property
    def mode(self) -> HandleMode:
        """str: ``"r"``, ``"r+"`` or ``"c"``."""
        return self._mode

    @property
    def dtype(self) -> np.dtype[Scalar]:
        """numpy.dtype: the type of an element."""
        return self._layout.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of elements in each dimension: tuple of int."""
        return self._layout.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next, in each dimension: tuple of int."""
        return self._layout.strides

    @property
    def offset(self) -> int:
        """int: position in the file of the element with all indices 0, in bytes."""
        return self._layout.offset

    @property
    def ndim(self) -> int:
        """int: the number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """int: the number of elements."""
        return self._layout.size

    @property
    def nbytes(self) -> int:
        """int: the number of bytes of all elements."""
        return self._layout.nbytes

    @property
    def itemsize(self) -> int:
        """int: the number of bytes of an element."""
        return self._layout.dtype.itemsize

    @property
    def flags(self) -> Any:
        """The flags of the array, as those of an ndarray: whether it is ``writeable``."""
        return self._whole().flags

    @property
    def flat(self) -> Any:
        """numpy.flatiter: the elements one by one in row-major order, to read and write."""
        return self._whole().flat

    @property
    def identity(self) -> Identity:
        """How the file is known again: ``"file"``, ``"sample"``, ``"content"``..."""
        return self._source.identity

    @property
    def mapping(self) -> Mmap:
        """Mmap: the mapped file, opened on first use; arrays of this process share it."""
        m = descriptors.keep(self._mapping)
        if self._mode != "c" and not descriptors.has(m):
            self._kept = None
            self._opened["mapping"] = m = descriptors.keep(self._source.open(self._mode))
        return m

    @property
    def _mapping(self) -> Mmap:
        """The mapped file, which may have given up its descriptor."""
        if not self._opened:
            # setdefault() is atomic. A lock would have to be renewed in a forked child.
            self._opened.setdefault("mapping", self._source.open(self._mode))
        return self._opened["mapping"]

    def _keep(self) -> NDArray[Any]:
        kept = Kept(self._mapping)  # before the array: what it is made of may change now
        kept.view = whole = self._in_the_one_mapping(self._layout)
        self._kept = kept
        return whole

    def _in_the_one_mapping(self, layout: Layout) -> NDArray[Any]:
        start, length = layout.extent.start, len(layout.extent)
        return layout.over(self._mapping.view(start, length), start)

    def __len__(self) -> int:
        self._require_dimensions()
        return self._layout.shape[0]

    def _locate_rows(self) -> Rows | tuple[()]:
        self._require_dimensions()
        self._rows = found = rows_of(self._layout) or ()
        return found

    def _require_dimensions(self) -> None:
        if not self._layout.shape:
            raise TypeError("an array without dimensions has no length")

    def __repr__(self) -> str:
        dtype, shape, strides, _ = self._layout
        apart = "" if self._layout.is_contiguous else f" strides={strides}"
        extent = self._layout.extent
        opened = self._opened.get("mapping")
        engine = opened.engine if opened else None
        return (
            f"<{type(self).__name__} path={self.path!r} dtype={dtype} shape={shape}{apart} "
            f"mode={self._mode!r} bytes={extent.start}:{extent.stop} engine={engine!r}>"
        )

    def same_file(self, other: Handle) -> bool:
        """Tell whether two handles are of one file; ``==`` compares their elements.

        Parameters
        ----------
        other : MappedArray
            The other handle.

        Returns
        -------
        bool
            Whether both files are the same one on this machine, whatever their paths.

        Raises
        ------
        OSError
            When a file cannot be mapped, or is not the one that its handle was made of.
        TypeError
            When `other` is no handle.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(6).tofile("six.bin")
        >>> six = yammap.MappedArray("six.bin", int)
        >>> six.same_file(six.reshape(2, 3))
        True
        """
        if not isinstance(other, Handle):
            raise TypeError(f"same_file() takes a handle, not a {type(other).__name__!r}")
        return file_of(self._mapping) == file_of(other._mapping)

    # -- The same elements in another layout

    def _relaid(self, layout: Layout) -> Self:
        """Return a handle that opens the file together with this one."""
        made = self._of_parts(self._source, layout, self._mode, None)
        made._opened = self._opened
        return made

    @property
    def T(self) -> Self:  # noqa: N802  # as NumPy calls it
        """MappedArray: a handle of the same elements with the dimensions reversed."""
        return self.transpose()

    def transpose(self, *axes: Any) -> Self:
        """Return a handle of the same elements with the dimensions in another order.

        Parameters
        ----------
        *axes : int, or a tuple of int
            Which dimension each of the new ones is; by default, the last comes first.

        Returns
        -------
        MappedArray
            The handle. No byte is read or moved.

        Raises
        ------
        ValueError
            When `axes` do not name each dimension once.

        Examples
        --------
        >>> import yammap
        >>> grid = yammap.MappedArray(yammap.anonymous(6), "u1", (2, 3))
        >>> grid.transpose(1, 0).shape, grid.T.strides
        ((3, 2), (1, 3))
        """
        return self._seen(lambda array: array.transpose(*axes))

    def reshape(self, *shape: Any, order: Literal["C", "F"] = "C") -> Self:
        """Return a handle of the same elements in another shape.

        Parameters
        ----------
        *shape : int, or a tuple of int
            Elements for each dimension; one may be -1, and is inferred.
        order : {"C", "F"}, default "C"
            In which order the elements are counted.

        Returns
        -------
        MappedArray
            The handle. No byte is read or moved.

        Raises
        ------
        ValueError
            When the shape has another number of elements, or they would have to be moved:
            ``handle[...].reshape(shape)`` copies them into memory.

        Examples
        --------
        >>> import yammap
        >>> yammap.MappedArray(yammap.anonymous(6)).reshape(-1, 2).shape
        (3, 2)
        """
        given = shape[0] if len(shape) == 1 else shape
        full = self._inferred(as_tuple(given))
        if order not in ("C", "F"):
            raise ValueError(f"order must be 'C' or 'F', not {order!r}")
        layout = self._layout.reshaped(full, order)
        if layout is None:
            raise ValueError(
                f"elements of shape {self.shape} and strides {self.strides} have to be "
                f"moved for shape {full}: write handle[...].reshape({full}), a copy"
            )
        return self._relaid(layout)

    def _inferred(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        known = math.prod(n for n in shape if n != -1)
        if shape.count(-1) == 1 and known:
            shape = tuple(self.size // known if n == -1 else n for n in shape)
        if min(shape, default=0) < 0 or math.prod(shape) != self.size:
            raise ValueError(f"an array of size {self.size} has no shape {shape}")
        return shape

    def view(self, dtype: DTypeLike | None = None) -> Any:
        """Return a handle of the same bytes with elements of another type.

        Parameters
        ----------
        dtype : dtype_like, optional
            The type; by default the same. The last dimension changes with its size.

        Returns
        -------
        MappedArray
            The handle. No byte is read or moved.

        Raises
        ------
        TypeError
            When `dtype` holds Python objects.
        ValueError
            When the last dimension does not come out even, or its elements do not follow
            one another.

        Examples
        --------
        >>> import yammap
        >>> yammap.MappedArray(yammap.anonymous(8)).view("<u2").shape
        (4,)
        """
        kind = self.dtype if dtype is None else np.dtype(dtype)
        require_elements(kind)
        return self._seen(lambda array: array.view(kind))

    def _seen(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Self:
        """Return the handle of what NumPy makes of an array without looking at elements."""
        nowhere = np.lib.stride_tricks.as_strided(
            np.empty((), self.dtype), self.shape, self.strides
        )
        seen = change(nowhere)
        return self._relaid(Layout(seen.dtype, seen.shape, seen.strides, self.offset))

    def _repr_html_(self) -> str:
        """Show it in a notebook, without touching an element or mapping the file."""
        facts = {
            "file": os.fsdecode(self.path),
            "shape": self.shape,
            "dtype": self.dtype,
            "bytes": f"{spelled_size(self.nbytes)} from {self._layout.extent.start:,} on",
            "mode": self.mode,
        }
        m = self._opened.get("mapping")
        extent = self._layout.extent
        return html_of(type(self).__name__, facts, m, range(extent.start, extent.stop))

    def suggest_chunks(self, nbytes: int = 128 << 20) -> tuple[int, ...]:
        """Return a shape of chunks whose bytes lie together in the file.

        Parameters
        ----------
        nbytes : int, default 128 MiB
            The most bytes in a chunk, unless one element has more.

        Returns
        -------
        tuple of int
            Elements for each dimension: as many whole rows of a row-major array, or whole
            columns of a column-major one, as fit. Pass it to
            ``dask.array.from_array(array, chunks)``.

        Raises
        ------
        ValueError
            When `nbytes` is not positive.

        Examples
        --------
        >>> import yammap
        >>> a = yammap.open_array("grid.f4", "<f4", "w+", shape=(1000, 1024))
        >>> yammap.MappedArray.of(a).suggest_chunks(1 << 20)
        (256, 1024)
        >>> yammap.MappedArray.of(a.T).suggest_chunks(1 << 20)
        (1024, 256)
        """
        if (room := operator.index(nbytes)) < 1:
            raise ValueError(f"nbytes must be positive, not {nbytes}")
        room //= self.dtype.itemsize
        chunk = list(self.shape)
        for axis in sorted(range(self.ndim), key=lambda axis: abs(self.strides[axis])):
            chunk[axis] = max(1, min(chunk[axis], room))
            room //= chunk[axis]
        return tuple(chunk)

    # -- How it travels

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Return what a pickle has; protocols 0 and 1 know no base in C, and need 2's."""
        return super().__reduce_ex__(max(2, operator.index(protocol)))

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the state; with its times, a changed file has a new pickle, for caches."""
        file, born, more = self._source[:3], self._source[3:5], self._source[5:]
        times = self._source.times()
        return *file, *self._layout, self._mode, *born, times, *more

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take a state; in pickles of earlier versions it ends sooner."""
        source = Source(*state[:3], *state[8:10], *state[11:])
        self._set_parts(source, Layout(*state[3:7]), state[7], None)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return the file's name and state: Dask need not read the elements."""
        return type(self).__name__, *(
            repr(item) if isinstance(item, np.dtype) else item
            for item in self.__getstate__()
        )
