"""Arrays over a buffer, as `Mmap.array` makes them: dtype, shape and order.

Knows nothing of files. Array formats are in `yammap._arrays`.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

Shape = int | tuple[int, ...]

__all__ = ["Shape", "array_of", "as_tuple", "require_writeable", "shape_of"]


def shape_of(
    available: int | None, dtype: np.dtype[Any], shape: Shape | None
) -> tuple[int, ...]:
    """Return the full shape of an array in a number of bytes.

    Parameters
    ----------
    available : int or None
        Bytes the array may cover; None when the file does not exist yet.
    dtype : numpy.dtype
        Element type.
    shape : int, tuple of int, or None
        Elements a dimension; one of them may be -1, to be inferred. None is ``(-1,)``.

    Returns
    -------
    tuple of int
        The shape, all dimensions known.

    Raises
    ------
    TypeError
        When `dtype` holds Python objects.
    ValueError
        When the shape does not fit, or an inferred dimension does not come out even.
    """
    if dtype.hasobject:
        raise TypeError(f"dtype {dtype} refers to Python objects, which no file can hold")
    if dtype.itemsize == 0:
        raise ValueError(f"dtype {dtype} has no size: give it one, as in 'S16'")
    full = as_tuple(shape)
    if full.count(-1) > 1 or any(n < -1 for n in full):
        raise ValueError(f"shape {full} may have one -1, and no other negative number")
    if available is None:
        if -1 in full:
            raise ValueError("a new file, and strides, need the full shape, without -1")
        return full
    if -1 in full:
        return _infer(available, dtype, full)
    wanted = math.prod(full) * dtype.itemsize
    if wanted > available:
        raise ValueError(
            f"an array of shape {full} and dtype {dtype} needs {wanted} bytes, and there "
            f"are {available}: pass a smaller shape, or make the file larger first"
        )
    return full


def as_tuple(shape: Shape | None) -> tuple[int, ...]:
    """Return a shape as a tuple of int; None is ``(-1,)``."""
    if shape is None:
        return (-1,)
    try:
        return tuple(operator.index(n) for n in np.atleast_1d(np.asarray(shape)).tolist())
    except TypeError:
        raise TypeError(f"shape must be an int or a tuple of ints, not {shape!r}") from None


def require_writeable(out: NDArray[Any]) -> NDArray[Any]:
    """Return the caller's array if it can be written to.

    Raises
    ------
    TypeError
        When `out` is no array, or is read-only.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, not {type(out).__name__!r}")
    if not out.flags.writeable:
        raise TypeError("out is read-only: pass an array that is writeable")
    return out


def _infer(available: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    row = dtype.itemsize * math.prod(n for n in shape if n != -1)
    if row == 0 or available % row:
        raise ValueError(
            f"{available} bytes do not divide into rows of {row} bytes "
            f"(shape {shape}, dtype {dtype}): pass the full shape"
        )
    return tuple(available // row if n == -1 else n for n in shape)


def array_of(
    buffer: memoryview, dtype: DTypeLike, shape: Shape | None, order: Literal["C", "F"]
) -> NDArray[Any]:
    """Return a plain ndarray over the start of `buffer`, without a copy.

    ``np.asarray`` makes it, and not ``np.ndarray(buffer=)``, which would keep the exporting
    object only: this array holds the export itself, which the region can count. The
    dimensions of a subarray dtype become the array's last ones, as in NumPy's functions.
    """
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    dtype = np.dtype(dtype)
    shape = shape_of(buffer.nbytes, dtype, shape)
    flat = np.asarray(buffer)[: math.prod(shape) * dtype.itemsize]
    return flat.view(dtype.base).reshape((*shape, *dtype.shape), order=order)
