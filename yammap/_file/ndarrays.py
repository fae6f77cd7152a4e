"""Arrays over a buffer, as `Mmap.array` makes them: dtype, shape and order.

Knows nothing of files. Array formats are in `yammap._arrays`.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

_MOST = sys.maxsize  # as an offset

Shape = int | tuple[int, ...]

__all__ = [
    "Shape",
    "array_of",
    "as_integers",
    "as_tuple",
    "require_elements",
    "require_writeable",
    "shape_of",
]


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
    require_elements(dtype)
    full = as_tuple(shape)
    if full.count(-1) > 1 or any(n < -1 for n in full):
        raise ValueError(f"shape {full} may have one -1, and no other negative number")
    if available is None:
        if -1 in full:
            raise ValueError("new files and strides need the full shape=, without -1")
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


def require_elements(dtype: np.dtype[Any]) -> None:
    """Raise unless elements of a type can be in a file.

    Raises
    ------
    TypeError
        When they refer to Python objects.
    ValueError
        When they have no size.
    """
    if dtype.hasobject:
        raise TypeError(f"dtype {dtype} refers to Python objects, which no file can hold")
    if dtype.itemsize == 0:
        raise ValueError(f"dtype {dtype} has no size: give it one, as in 'S16'")


def as_tuple(shape: Shape | None) -> tuple[int, ...]:
    """Return a shape as a tuple of int; None is ``(-1,)``."""
    if shape is None:
        return (-1,)
    try:
        return tuple(operator.index(n) for n in np.atleast_1d(np.asarray(shape)).tolist())
    except TypeError:
        mode = f": if that is the mode, write mode={shape!r}" * isinstance(shape, str)
        raise TypeError(
            f"shape must be an int or a tuple of ints, not {shape!r}{mode}"
        ) from None


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


def as_integers(
    values: ArrayLike, what: str, beyond: type[Exception] = ValueError
) -> NDArray[np.int64]:
    """Return an array of int64 as the core takes it, without a copy where possible.

    Raises
    ------
    TypeError
        When the values are no integers.
    ValueError
        When they have more or less than one dimension.
    beyond
        When a value has more than 64 bits.
    """
    array = np.asarray(values)
    if array.dtype == np.int64 and array.ndim == 1 and array.flags.carray:
        return array
    is_huge = array.dtype == object and all(isinstance(n, int) for n in array.flat)
    if array.size and array.dtype.kind not in "iu" and not is_huge:
        raise TypeError(f"{what} must be integers, not {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{what} must have one dimension, not shape {array.shape}")
    if (
        array.size
        and (is_huge or array.dtype == np.uint64)
        and int(abs(array).max()) > _MOST
    ):
        raise beyond(f"{what} reach {abs(array).max()}, which is beyond any file")
    return np.require(array, np.int64, ("C_CONTIGUOUS", "ALIGNED"))


def _infer(available: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    row = dtype.itemsize * math.prod(n for n in shape if n != -1)
    full = tuple(available // row if row and n == -1 else n for n in shape)
    if row == 0 or available % row:
        end = f": shape={full} leaves out the last {available % row}" if row else ""
        raise ValueError(
            f"{available} bytes do not divide into rows of {row} bytes "
            f"(shape {shape}, dtype {dtype}){end}"
        )
    return full


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
