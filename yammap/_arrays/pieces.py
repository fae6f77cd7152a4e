"""The elements of an array in a file: by index, as operands, and block by block.

Knows ndarrays over the one mapping of a file, and mappings of pieces. It must not know
which elements a caller wants, nor formats.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._linux.flags import Advice
from .array_layout import Layout
from .blocks import BLOCK
from .file_identity import Place, file_of, guard, locate
from .handle import Handle, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import EllipsisType

    from numpy.typing import DTypeLike, NDArray

__all__ = ["Pieces", "layout_of"]

# For this many bytes, a mapping of their own takes no longer than a copy.
_LARGE = 1 << 20


class Pieces(Handle[Scalar]):
    """The part of `MappedArray` that gives and takes elements."""

    __slots__ = ()

    # -- By index

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

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

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: EllipsisType | slice, /) -> NDArray[Scalar]: ...
        @overload
        def __getitem__(
            self, key: NDArray[np.bool_ | np.integer[Any]], /
        ) -> NDArray[Scalar]: ...
        @overload
        def __getitem__(self, key: Any, /) -> Any: ...
        def __getitem__(self, key: Any, /) -> Any: ...

    def _given(self, whole: NDArray[Any], piece: NDArray[Any]) -> NDArray[Any]:
        """Return a piece, or one that leaves less of the one mapping in memory."""
        if _is_small(piece) or not self._is_large:
            return piece
        if not np.may_share_memory(piece, whole):
            self._drop_pages()
            return piece
        place = _address(piece) - _address(whole)
        return self._piece_mapped_apart(layout_of(piece, self.offset + place))

    def _assign(self, key: Any, value: Any) -> None:
        self._whole()[key] = self._comparable(value)
        if getattr(value, "nbytes", 0) >= _LARGE and self._is_large:
            self._drop_pages()

    def _comparable(self, value: Any) -> Any:
        """Return the value at addresses by which NumPy sees whether it overlaps with us."""
        if isinstance(value, memoryview) or hasattr(value, "__array__"):
            value = np.asarray(value)
        if isinstance(value, np.ndarray) and (place := self._place_here(value)):
            return self._in_the_one_mapping(layout_of(value, place.offset))
        return value

    def _place_here(self, array: NDArray[Any]) -> Place | None:
        """Return where an array lies in this file, by whatever name it was opened.

        Changes in mode ``"c"`` are in no file.
        """
        if self._mode != "c" and array.base is not None and array.size:
            with contextlib.suppress(ValueError):  # it is in no mapping
                place = locate(array)
                if place.file == file_of(self._mapping) and not place.private:
                    return place
        return None

    @property
    def _is_large(self) -> bool:
        """Whether pieces may have mappings of their own.

        Only the one mapping has the changes of mode ``"c"``, and the descriptor that a
        piece of a file without a path needs to travel.
        """
        if self._mode == "c" or isinstance(self._mapping.name, int):
            return False
        return len(self._layout.extent) >= _LARGE

    def _piece_mapped_apart(self, layout: Layout) -> NDArray[Any]:
        part = layout.extent
        with self._source.part(self._mode, self._mapping, part) as m:
            return layout.over(m.view(), part.start)

    def _drop_pages(self, extent: range | None = None) -> None:
        """Drop the pages just used from the process, but not from the page cache."""
        extent = self._layout.extent if extent is None else extent
        with contextlib.suppress(OSError):  # they may be locked
            self._mapping.madvise(Advice.DONTNEED, extent.start, len(extent))

    # -- As operands

    @contextlib.contextmanager
    def _reading(self) -> Iterator[NDArray[Any]]:
        array = self[...]
        with guard(array):
            yield array

    @contextlib.contextmanager
    def _writing(self) -> Iterator[NDArray[Any]]:
        if self._mode == "r":
            raise ValueError("the output is read-only: make the handle with mode='r+'")
        with self._elements() as whole:
            yield whole
        if self._is_large:
            self._drop_pages()

    @contextlib.contextmanager
    def _elements(self) -> Iterator[NDArray[Any]]:
        with self._mapping.guard():
            yield self._whole()

    @contextlib.contextmanager
    def _block(self, block: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Have a block in memory at once, instead of a few pages at each fault.

        Not so where much more lies between its elements. The copies in mode ``"c"`` are
        nowhere else, so their pages stay.
        """
        place = _address(block) - _address(self._whole())
        extent = layout_of(block, self.offset + place).extent
        if len(extent) <= 2 * BLOCK:
            self._mapping._populate(extent.start, len(extent), False)
        yield block
        if self._mode != "c":
            self._drop_pages(extent)


def _is_small(piece: NDArray[Any]) -> bool:
    """Tell whether a piece spans too little for a mapping of its own."""
    if piece.flags.c_contiguous:
        return piece.nbytes < _LARGE
    span = piece.itemsize
    for n, step in zip(piece.shape, piece.strides, strict=True):
        span += (n - 1) * abs(step)
    return span < _LARGE


def layout_of(array: NDArray[Any], offset: int) -> Layout:
    return Layout(array.dtype, array.shape, array.strides, offset)


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
