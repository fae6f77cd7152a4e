"""Arrays over a buffer: dtype, shape and order. Knows nothing of files."""

import math

import numpy as np

__all__ = ["array_of", "shape_of"]


def shape_of(available, dtype, shape):
    """Return the full shape of an array in a number of bytes.

    Parameters
    ----------
    available : int
        Bytes the array may cover.
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
        raise TypeError(f"dtype {dtype} holds references to Python objects, not bytes")
    if dtype.itemsize == 0:
        raise ValueError(f"dtype {dtype} has no size")
    shape = (-1,) if shape is None else tuple(np.atleast_1d(shape).tolist())
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ValueError(f"shape {shape} has more than one unknown or a negative dimension")
    if -1 in shape:
        return _infer(available, dtype, shape)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > available:
        raise ValueError(
            f"an array of shape {shape} and dtype {dtype} takes {wanted} bytes, "
            f"and there are {available}"
        )
    return shape


def _infer(available, dtype, shape):
    row = dtype.itemsize * math.prod(n for n in shape if n != -1)
    if row == 0 or available % row:
        raise ValueError(
            f"{available} bytes do not divide into rows of {row} bytes "
            f"(shape {shape}, dtype {dtype})"
        )
    return tuple(available // row if n == -1 else n for n in shape)


def array_of(buffer, dtype, shape, order):
    """Return a plain ndarray over the start of `buffer`, without a copy.

    It is made by ``np.asarray``, not by ``np.ndarray(buffer=)``: so it holds the export
    itself, which can be counted, and not the object that exported.
    """
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    dtype = np.dtype(dtype)
    shape = shape_of(buffer.nbytes, dtype, shape)
    flat = np.asarray(buffer)[: math.prod(shape) * dtype.itemsize]
    return flat.view(dtype).reshape(shape, order=order)
