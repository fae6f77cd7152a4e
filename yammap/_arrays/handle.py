"""What stands for an array in a file: which file, which elements of it, and how it travels.

Knows nothing of the elements themselves.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from .array_layout import Layout
from .elementwise import Elementwise
from .file_identity import Source

if TYPE_CHECKING:
    from typing import Self

    from .._file.mmap_file import Mmap

__all__ = ["Handle"]


class Handle(Elementwise):
    """The part of `MappedArray` that has the attributes of an array, and travels."""

    __slots__ = ("__weakref__", "_layout", "_mode", "_opened", "_source")

    _source: Source
    _layout: Layout
    _mode: str
    _opened: dict[str, Mmap]

    @classmethod
    def _of_parts(cls, source: Source, layout: Layout, mode: str, m: Mmap | None) -> Self:
        made = cls.__new__(cls)
        made._set_parts(source, layout, mode, m)
        return made

    def _set_parts(self, source: Source, layout: Layout, mode: str, m: Mmap | None) -> None:
        self._source, self._layout, self._mode = source, layout, mode
        self._opened = {} if m is None else {"mapping": m}

    # -- Attributes

    @property
    def path(self) -> str | bytes:
        """The file's absolute path: str or bytes."""
        return self._source.path

    @property
    def mode(self) -> str:
        """str: ``"r"``, ``"r+"`` or ``"c"``."""
        return self._mode

    @property
    def dtype(self) -> np.dtype[Any]:
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
    def mapping(self) -> Mmap:
        """Mmap: the mapped file, opened on first use; arrays of this process share it."""
        if not self._opened:
            # setdefault() is atomic. A lock would have to be renewed in a forked child.
            self._opened.setdefault("mapping", self._source.open(self._mode))
        return self._opened["mapping"]

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an array without dimensions has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        dtype, shape, strides, offset = self._layout
        apart = "" if self._layout.is_contiguous else f", strides={strides}"
        return f"{type(self).__name__}({self.path!r}, {dtype!r}, {shape}, {offset}{apart})"

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

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the state; its last item gives a changed file a new pickle, for caches."""
        file, more = self._source[:3], self._source[3:]
        return *file, *self._layout, self._mode, *more, self._source.times()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take a state; in pickles of earlier versions, it ends with the mode."""
        source = Source(*state[:3], *state[8:10])
        self._set_parts(source, Layout(*state[3:7]), state[7], None)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return the file's name and state: Dask need not read the elements."""
        return type(self).__name__, *(
            repr(item) if isinstance(item, np.dtype) else item
            for item in self.__getstate__()
        )
