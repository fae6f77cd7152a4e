"""Where records begin among the rows of their values, and how many rows each has.

Knows numbers in files. It must not know the values, nor who writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .rows import as_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .mapped_array import MappedArray

    _Numbers = NDArray[np.int64]

__all__ = ["Bounds"]


class Bounds(NamedTuple):
    """Starts of records and, beside them, their ends or their lengths."""

    starts: MappedArray[Any]  # shape (n,)
    others: MappedArray[Any]  # shape (n,)
    are_lengths: bool  # what the others are; lengths count rows
    unit: int  # starts and ends for each row: 1, or its bytes

    @classmethod
    def of_offsets(cls, offsets: MappedArray[Any], unit: int) -> Bounds:
        """Return the bounds of records of which each ends where the next one begins."""
        layout = offsets._layout
        count = max(0, len(offsets) - 1)
        second = layout.offset + layout.strides[0] * (count > 0)
        starts, ends = (
            offsets._relaid(layout._replace(shape=(count,), offset=offset))
            for offset in (layout.offset, second)
        )
        return cls(starts, ends, False, unit)

    @property
    def records(self) -> int:
        """The number of records."""
        return len(self.starts)

    def run(self, number: int) -> tuple[int, int]:
        """Return in which row a record begins, and how many it has."""
        start, length, rest = int(self.starts[number]), int(self.others[number]), 0
        if self.unit != 1:
            start, rest = divmod(start, self.unit)
        if not self.are_lengths:
            end, other_rest = divmod(length, self.unit)
            length, rest = end - start, rest or other_rest
        return start, self._require_whole(length, rest)

    def runs(self, numbers: Any) -> tuple[_Numbers, _Numbers]:
        """Return the same of many records, in one batch for each of both files."""
        return self._runs(self.starts.take(numbers), self.others.take(numbers))

    def runs_between(self, first: int, end: int) -> tuple[_Numbers, _Numbers]:
        """Return the same of records that follow one another."""
        return self._runs(self.starts[first:end], self.others[first:end])

    def _runs(self, starts: Any, others: Any) -> tuple[_Numbers, _Numbers]:
        first, rest = self._in_rows(starts)
        if self.are_lengths:
            return first, self._require_whole(as_rows(others), rest)
        ends, other_rest = self._in_rows(others)
        return first, self._require_whole(ends - first, rest or other_rest)

    def _in_rows(self, numbers: Any) -> tuple[_Numbers, bool]:
        rows = as_rows(numbers)
        if self.unit == 1:
            return rows, False
        rows, rest = np.divmod(rows, self.unit)
        return rows, bool(rest.any())

    def _require_whole(self, lengths: Any, rest: int | bool) -> Any:
        if rest:
            raise ValueError(
                f"offsets in bytes must be multiples of a row's {self.unit} bytes: leave "
                f"out in_bytes=True if they count rows"
            )
        return lengths
