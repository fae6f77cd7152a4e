"""`concatenate`: which files make one array, and whether they fit together."""

from __future__ import annotations

import operator
import os
import re
from glob import glob, has_magic
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .concatenated import ConcatenatedArray
from .mapped_array import MappedArray
from .parts import Parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import DTypeLike, NDArray

    from .._file.ndarrays import Shape
    from .._file.opening import Path

__all__ = ["concatenate"]


def concatenate(
    parts: Path | Iterable[Path | MappedArray[Any] | ConcatenatedArray | NDArray[Any]],
    axis: int = 0,
    *,
    dtype: DTypeLike | None = None,
    shape: Shape | None = None,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
    mode: str | None = None,
) -> ConcatenatedArray:
    """Return one array over many files, without reading or moving their bytes.

    Parameters
    ----------
    parts : path-like, or iterable of path-like, MappedArray or numpy.ndarray
        The parts, in order: paths, handles, arrays over mappings, other concatenations. A
        single path is a pattern of `glob`, as ``"shards/*.npy"``: the names that match are
        sorted, with numbers in them by value, so ``shard-10`` comes after ``shard-9``.
    axis : int, default 0
        The dimension along which the parts follow one another.
    dtype, shape, offset, order : optional
        How the array lies in each file that is given by path, as for `MappedArray`: raw
        files with a header of 1024 bytes have ``offset=1024``. For a ``.npy`` file, the
        header says all of this.
    mode : {"r", "r+", "c"}, optional
        As for `MappedArray`; by default that of the handles, and ``"r"`` for paths.

    Returns
    -------
    ConcatenatedArray
        The array. It opens a file when an element of it is used.

    Raises
    ------
    FileNotFoundError
        When no file matches the pattern.
    OSError
        When a file cannot be mapped.
    ValueError
        When there is no part; when parts differ in dtype, or in a dimension other than
        `axis`; when they have no such axis; or when handles of different modes are given
        and no `mode`.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> for i in range(12):
    ...     np.save(f"shard-{i}.npy", np.full((2, 3), i))
    >>> shards = yammap.concatenate("shard-*.npy")
    >>> shards.shape, len(shards.parts)
    ((24, 3), 12)
    >>> shards.take([-1, 0, 5])[:, 0]
    array([11,  0,  2])
    """
    terms = {"dtype": dtype, "shape": shape, "offset": offset, "order": order}
    if isinstance(parts, str | bytes | os.PathLike):
        parts = _matching(parts)
    handles: list[MappedArray[Any]] = []
    for part in parts:
        if isinstance(part, ConcatenatedArray):
            handles += part.parts
        elif isinstance(part, MappedArray):
            handles.append(part)
        elif isinstance(part, np.ndarray):
            handles.append(MappedArray.of(part, mode))  # type: ignore[arg-type]
        else:
            handles.append(MappedArray(part, mode=mode or "r", **terms))  # type: ignore[call-overload]
    mode = _require_alike(handles, mode)
    axis = _require_axis(handles, axis)
    return ConcatenatedArray._of(Parts.of_handles(handles, axis, mode), axis)


def _matching(pattern: Any) -> list[str]:
    name = os.fsdecode(pattern)
    found = sorted(glob(name), key=_by_value) if has_magic(name) else [name]
    if not found:
        raise FileNotFoundError(f"no file matches {name!r}")
    return found


def _by_value(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts names as people do: 9 before 10."""
    return [
        (not text.isdecimal(), int(text) if text.isdecimal() else 0, text)
        for text in re.split(r"(\d+)", name)
    ]


def _require_alike(handles: list[MappedArray[Any]], mode: str | None) -> str:
    if not handles:
        raise ValueError("there is no part: pass one file at least")
    modes = {handle.mode for handle in handles}
    if mode is None and len(modes) > 1:
        raise ValueError(f"the parts have modes {sorted(modes)}: pass mode=")
    if mode not in (None, "r", "r+", "c"):
        raise ValueError(f"mode must be one of 'r', 'r+', 'c', not {mode!r}")
    for handle in handles:
        if handle.dtype != handles[0].dtype:
            raise ValueError(
                f"{handle.path!r} has dtype {handle.dtype}, and {handles[0].path!r} has "
                f"{handles[0].dtype}: views of files cannot be converted"
            )
    return mode or modes.pop()


def _require_axis(handles: list[MappedArray[Any]], axis: int) -> int:
    ndim, axis = handles[0].ndim, operator.index(axis)
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of bounds for parts of dimension {ndim}")
    axis %= ndim
    shapes = [handle.shape[:axis] + handle.shape[axis + 1 :] for handle in handles]
    for handle, shape in zip(handles, shapes, strict=True):
        if shape != shapes[0] or handle.ndim != ndim:
            raise ValueError(
                f"{handle.path!r} has shape {handle.shape}, and {handles[0].path!r} has "
                f"{handles[0].shape}: only dimension {axis} may differ"
            )
    return axis
