"""Rows of an array that are copied many at a time: which, where to, and where they lie.

Knows arrays and offsets of files. It must not know a mapping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._file.ndarrays import as_integers, require_writeable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .array_layout import Layout

__all__ = ["Rows", "as_rows", "may_overlap", "require_like", "rows_of"]

_INT64 = np.dtype(np.int64)


class Rows(NamedTuple):
    """Where rows lie in a file, whose bytes follow one another."""

    rows: int
    offset: int  # of the first, in bytes
    step: int  # from each to the next


def rows_of(layout: Layout) -> Rows | None:
    """Return where rows lie, of at least one dimension; None where they are not whole."""
    if layout.size and layout.row.is_contiguous:
        return Rows(layout.shape[0], layout.offset, layout.strides[0])
    return None


def as_rows(index: NDArray[Any]) -> NDArray[np.int64]:
    """Return indices of rows as integers in one dimension."""
    if index.dtype is _INT64 and index.ndim == 1:
        return index
    if index.dtype == np.bool_:
        index = index.astype(np.intp)  # as np.take does
    return as_integers(index.reshape(-1), "indices", IndexError)


def require_like(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise unless the caller's array can take what has a shape and dtype."""
    require_writeable(out)
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {dtype}, not {out.shape} and "
            f"{out.dtype}"
        )


def may_overlap(out: NDArray[Any], rows: NDArray[Any]) -> bool:
    """Tell whether writing to one may change the other; at once where each has its own."""
    if out.base is None and rows.base is None:
        return out is rows
    return np.may_share_memory(out, rows)
