"""What indexes an array of parts: NumPy's keys, taken apart at the axis of the seams.

Knows keys and shapes. It must not know files.
"""

from __future__ import annotations

import contextlib
import operator
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Key", "Section", "require_rows", "result_of", "sections", "split_key"]

_EVERYTHING = slice(None)


class Key(NamedTuple):
    """A key, as the items for the axis, and for what comes before and after it."""

    before: tuple[Any, ...]
    at: Any  # int, slice, or array of integers
    after: tuple[Any, ...]

    def of(self, at: Any) -> tuple[Any, ...]:
        """Return the key with another item for the axis."""
        return (*self.before, at, *self.after)

    @property
    def is_bare(self) -> bool:
        """Whether all of the other axes is taken, and the axis is the first."""
        return not self.before and all(
            item is ... or (isinstance(item, slice) and item == _EVERYTHING)
            for item in self.after
        )


class Section(NamedTuple):
    """What a slice takes from one part."""

    part: int
    local: slice  # in the part
    place: slice  # in what the whole slice takes


def split_key(key: Any, shape: tuple[int, ...], axis: int) -> Key:
    """Take a key apart, in which masks become arrays of integers.

    Raises
    ------
    IndexError
        When it is no key for the shape, as far as is known without the elements.
    """
    items = list(_items(key, shape))
    dimension = 0
    for i, item in enumerate(items):
        if item is not None and item is not ...:
            if dimension == axis:
                return Key(tuple(items[:i]), item, tuple(items[i + 1 :]))
            dimension += 1
    raise AssertionError  # _items() gives one for each dimension


def _items(key: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Yield what is in a key: an item for each dimension, and those that are for none."""
    given = [_item(item) for item in (key if isinstance(key, tuple) else (key,))]
    missing = len(shape) - sum(map(_dimensions, given))
    if missing < 0:
        raise IndexError(
            f"too many indices: the array has {len(shape)} dimensions, and "
            f"{len(shape) - missing} were indexed"
        )
    ellipses = sum(item is ... for item in given)
    if ellipses > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    dimension = 0
    for item in given if ellipses else [*given, ...]:
        if item is ...:
            yield from [_EVERYTHING] * missing
            if ellipses:
                yield ...  # with it, the result is an array, and no scalar
            dimension += missing
        elif isinstance(item, _Mask):
            yield from item.indices(shape, dimension)
            dimension += _dimensions(item)
        else:
            yield item
            dimension += item is not None


class _Mask:
    """Booleans, which take as many dimensions as they have."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask

    def indices(self, shape: tuple[int, ...], first: int) -> tuple[NDArray[np.intp], ...]:
        meant = shape[first : first + self.mask.ndim]
        if self.mask.shape != meant:
            raise IndexError(
                f"boolean index did not match indexed array: shape is {self.mask.shape}, "
                f"and that of the dimensions from {first} on is {meant}"
            )
        return np.nonzero(self.mask)


def _dimensions(item: Any) -> int:
    if isinstance(item, _Mask):
        return item.mask.ndim
    return 0 if item is None or item is ... else 1


def _item(item: Any) -> Any:
    if item is None or item is ... or isinstance(item, slice):
        return item
    if not isinstance(item, bool | np.bool_ | np.ndarray | list | tuple):
        with contextlib.suppress(TypeError):
            return operator.index(item)
    array = np.asarray(item)
    if array.size == 0 and isinstance(item, list):
        array = array.astype(np.intp)
    if array.dtype == np.bool_ and array.ndim:
        return _Mask(array)
    if array.dtype.kind not in "iu":
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None, and arrays of integers "
            f"or of booleans with a dimension are valid indices, not {item!r}"
        )
    return array if array.ndim else operator.index(array[()])


def require_rows(index: NDArray[Any], n: int, axis: int) -> NDArray[np.int64]:
    """Return indices without negative ones.

    Raises
    ------
    IndexError
        When one is not below `n`, as NumPy words it.
    """
    if index.size == 0:
        return index.astype(np.int64)
    least, most = int(index.min()), int(index.max())
    if least < -n or most >= n:
        wrong = index[(index < -n) | (index >= n)][0]
        raise IndexError(f"index {wrong} is out of bounds for axis {axis} with size {n}")
    rows = index.astype(np.int64, copy=False)
    return rows if least >= 0 else np.where(rows < 0, rows + n, rows)


def sections(at: slice, bounds: Sequence[int]) -> list[Section]:
    """Return what a slice takes from each of the parts that lie between bounds."""
    taken = range(*at.indices(bounds[-1]))
    if not taken:
        return []
    first, last = (bisect_right(bounds, taken[i]) - 1 for i in (0, -1))
    step = 1 if first <= last else -1
    found = (
        _section(taken, part, bounds[part], bounds[part + 1])
        for part in range(first, last + step, step)
    )
    return [section for section in found if section.place.start < section.place.stop]


def _section(taken: range, part: int, low: int, high: int) -> Section:
    """Return what of a range lies in a part, which goes from `low` to `high`."""
    first, step = (low, taken.step) if taken.step > 0 else (high - 1, taken.step)
    end = high if step > 0 else low - 1
    start = max(0, -((taken.start - first) // step))
    stop = min(len(taken), -((taken.start - end) // step))
    inner = taken[start : max(start, stop)]
    limit = inner.stop - low
    return Section(
        part,
        slice(inner.start - low, limit if limit >= 0 else None, step),
        slice(start, max(start, stop)),
    )


def result_of(key: Key, shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], int]:
    """Return the shape of what a key with a slice takes, and which axis of it is ours.

    NumPy is asked, by arrays without memory: arrays of integers move the axes.
    """
    n = len(range(*key.at.indices(shape[axis])))
    found = [
        np.broadcast_to(np.uint8(0), (*shape[:axis], length, *shape[axis + 1 :]))[
            key.of(_EVERYTHING)
        ].shape
        for length in (n, n + 1)
    ]
    moved = next(i for i, (a, b) in enumerate(zip(*found, strict=True)) if a != b)
    return found[0], moved
