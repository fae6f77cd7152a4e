"""`open_ragged`: records of many lengths, by the files that they are in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from .._file.ndarrays import as_tuple
from .._file.opening import checked_mode
from .concatenated import ConcatenatedArray
from .mapped_array import MappedArray
from .ragged_array import RaggedArray
from .ragged_files import OFFSET, make_files
from .record_bounds import Bounds

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .._file.ndarrays import Shape
    from .._file.opening import Mode, Path
    from .file_identity import HandleMode

__all__ = ["open_ragged"]

_HANDLES = MappedArray | ConcatenatedArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


@overload
def open_ragged(
    values: MappedArray[_Scalar],
    offsets: Path | MappedArray[Any],
    *,
    lengths: MappedArray[Any] | None = None,
    in_bytes: bool = False,
) -> RaggedArray[_Scalar]: ...
@overload
def open_ragged(
    values: Path,
    offsets: Path | MappedArray[Any],
    dtype: type[_Scalar] | np.dtype[_Scalar],
    mode: Mode = "r",
    *,
    shape: Shape = -1,
    lengths: MappedArray[Any] | None = None,
    in_bytes: bool = False,
    perm: int = 0o666,
) -> RaggedArray[_Scalar]: ...
@overload
def open_ragged(
    values: Path | MappedArray[Any] | ConcatenatedArray,
    offsets: Path | MappedArray[Any],
    dtype: DTypeLike | None = None,
    mode: Mode = "r",
    *,
    shape: Shape = -1,
    lengths: MappedArray[Any] | None = None,
    in_bytes: bool = False,
    perm: int = 0o666,
) -> RaggedArray[Any]: ...
def open_ragged(
    values: Path | MappedArray[Any] | ConcatenatedArray,
    offsets: Path | MappedArray[Any],
    dtype: DTypeLike | None = None,
    mode: Mode = "r",
    *,
    shape: Shape = -1,
    lengths: MappedArray[Any] | None = None,
    in_bytes: bool = False,
    perm: int = 0o666,
) -> RaggedArray[Any]:
    r"""Open records of many lengths, which are in a file of values and one of offsets.

    Both are raw files, which any program can read and write. The first holds the values of
    all records, one after the other. The second holds offsets as 64-bit little-endian
    integers: where the first record begins, and where each ends. Record ``i`` is
    ``values[offsets[i]:offsets[i + 1]]``. An empty file of offsets has no records.

    Parameters
    ----------
    values : path-like, MappedArray or ConcatenatedArray
        The values: a raw file or a handle. Pass a handle for a ``.npy`` file, for values
        after a header, or for values in many files (`concatenate`).
    offsets : path-like or MappedArray
        Where records begin in the values: a raw file; or a handle of integers of any type.
    dtype : dtype_like, optional
        Type of a value in a raw file; by default numpy.uint8.
    mode : str, default "r"
        For two paths: ``"r"`` read; ``"r+"`` read and append; ``"a+"`` the same, and the
        files are made if there are none; ``"w+"`` and ``"x+"`` the same with new, empty
        files, which must not exist for ``"x+"``. Handles have a mode of their own.
    shape : int or tuple of int, default -1
        Shape of a record in a raw file: its first dimension is -1. ``(-1, 3)`` is for
        records of points with three coordinates.
    lengths : MappedArray, optional
        Number of rows in each record. By default each ends where the next one begins, and
        there is one more offset than records.
    in_bytes : bool, default False
        Whether offsets count bytes of the values, and not rows.
    perm : int, default 0o666
        Permission bits of new files, less the process's umask.

    Returns
    -------
    RaggedArray
        The records. Those that are opened by two paths, without `lengths` and `in_bytes`,
        can be appended to, and see with `refresh` what others append.

    Raises
    ------
    OSError
        When a file cannot be opened or mapped. ``FileExistsError`` in mode ``"x+"``.
    TypeError
        When `dtype` holds Python objects, or offsets or lengths are no integers.
    ValueError
        When the mode is unknown, or does not fit handles; when a record's first dimension
        is not -1; or when offsets or lengths have more than one dimension, or their numbers
        differ. Also when a path leads to a ``.npy`` file: pass a handle of it instead.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> writer = yammap.open_ragged("texts.bin", "texts.idx", "u1", "w+")
    >>> writer.extend([b"a short one", b"", b"the last one"])
    >>> texts = yammap.open_ragged("texts.bin", "texts.idx")
    >>> len(texts), texts[-1].tobytes()
    (3, b'the last one')
    >>> np.fromfile("texts.idx", "<i8")
    array([ 0, 11, 11, 23])
    """
    plain = checked_mode(mode)
    paths = [x for x in (values, offsets) if not isinstance(x, _HANDLES)]
    is_pair = len(paths) == 2 and lengths is None and not in_bytes
    if plain == "c" or (plain != "r" and not is_pair):
        raise ValueError(
            f"mode {mode!r} does not fit: 'r+', 'a+', 'w+' and 'x+' are for two paths, "
            f"without lengths= and in_bytes=, and handles have a mode of their own"
        )
    if isinstance(values, _HANDLES) and (dtype is not None or shape != -1):
        raise ValueError(
            "the handle of the values has a dtype and a shape: leave these out"
        )
    row, kind = _row_of(shape), np.uint8 if dtype is None else dtype
    if is_pair:
        if plain not in ("r", "r+"):
            make_files(paths[0], paths[1], plain, perm)
        how: HandleMode = "r" if plain == "r" else "r+"
        first, second = MappedArray(paths[0], kind, (0, *row), mode=how), paths[1]
        return RaggedArray._of_files(first, MappedArray(second, OFFSET, 0, mode=how))
    if not isinstance(values, _HANDLES):
        values = MappedArray(values, kind, (-1, *row))
    if not isinstance(offsets, MappedArray):
        offsets = MappedArray(offsets, OFFSET)
    _require_rows(values)
    return RaggedArray._of(values, _bounds_of(values, offsets, lengths, in_bytes))


def _row_of(shape: Shape) -> tuple[int, ...]:
    first, *row = as_tuple(shape) or (0,)
    if first != -1 or min(row, default=0) < 0:
        raise ValueError(
            f"the first dimension of a record's shape is -1, and the others are numbers, "
            f"as in (-1, 3), not {shape!r}"
        )
    return tuple(row)


def _require_rows(values: MappedArray[Any] | ConcatenatedArray) -> None:
    """Raise unless the rows of the values follow one another in their files."""
    if isinstance(values, ConcatenatedArray):
        follow = not values.axis
    else:
        follow = bool(values.shape) and values._layout.is_contiguous
    if not follow or 0 in values.shape[1:]:
        raise ValueError(f"the rows of the values must follow one another: {values!r}")


def _bounds_of(
    values: MappedArray[Any] | ConcatenatedArray,
    offsets: MappedArray[Any],
    lengths: MappedArray[Any] | None,
    in_bytes: bool,
) -> Bounds:
    for what, numbers in ("offsets", offsets), ("lengths", lengths):
        if numbers is None:
            continue
        if not isinstance(numbers, MappedArray):
            raise TypeError(
                f"{what} must be a MappedArray, not {type(numbers).__name__!r}: write "
                f"yammap.MappedArray(path, dtype, shape, offset)"
            )
        if numbers.dtype.kind not in "iu":
            raise TypeError(f"{what} must be integers, not {numbers.dtype}")
        if numbers.ndim != 1:
            raise ValueError(f"{what} must have one dimension, not shape {numbers.shape}")
    unit = values.dtype.itemsize * math.prod(values.shape[1:]) if in_bytes else 1
    if lengths is None:
        return Bounds.of_offsets(offsets, unit)
    if len(lengths) != len(offsets):
        raise ValueError(f"{len(offsets)} offsets need as many lengths, not {len(lengths)}")
    return Bounds(offsets, lengths, True, unit)
