"""The two files of records that are appended: values, and int64 offsets beside them.

Knows in which order they are written, and which records are complete. It must not know
what a caller asks of the records.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from .._file.opening import open as open_path
from .array_layout import contiguous
from .mapped_array import MappedArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .._file.opening import Path, PlainMode

__all__ = ["OFFSET", "complete", "make_files", "write_records"]

# What is in the file of offsets: the start of the first record, and the end of each.
OFFSET = np.dtype("<i8")


def make_files(values: Path, offsets: Path, mode: PlainMode, perm: int) -> None:
    """Make the two files, or empty them, in the order that shows no record without values.

    Raises
    ------
    FileExistsError
        When one of them exists, in mode ``"x+"``; neither is made or changed then.
    """
    open_path(offsets, mode, perm=perm).close()
    try:
        open_path(values, mode, perm=perm).close()
    except OSError:
        if mode == "x+":
            os.unlink(offsets)
        raise


def complete(
    values: MappedArray[Any], offsets: MappedArray[Any]
) -> tuple[MappedArray[Any], MappedArray[Any]]:
    """Return the handles of what both files have now, as far as records are complete.

    A record is complete when its end is in the file of offsets and its values reach there.
    They do, unless the system crashed: whoever appends writes the values first.
    """
    # The offsets first: the values that they are of are there already.
    count = offsets.mapping.refresh() // OFFSET.itemsize
    rows = (values.mapping.refresh() - values.offset) // values._layout.row.nbytes
    if count == len(offsets):
        return values, offsets
    ends = offsets.mapping.array(OFFSET, count)
    ends = ends[: _number_of_whole(ends, rows)]
    rows = int(ends[-1]) if len(ends) else 0
    return _of_length(values, rows), _of_length(offsets, len(ends))


def _number_of_whole(offsets: NDArray[np.int64], rows: int) -> int:
    """Return how many offsets come before the first that is past `rows`, or made up.

    After a crash of the system, a file may end with zeros where offsets were not written.
    """
    count = len(offsets)
    if count and not offsets[-1]:
        written = np.flatnonzero(offsets)
        count = int(written[-1]) + 1 if written.size else count
    if count and offsets[count - 1] > rows:
        count = int(np.searchsorted(offsets[:count], rows, "right"))
    return count


def _of_length(array: MappedArray[Any], count: int) -> MappedArray[Any]:
    """Return a handle of the first rows that are in the file now."""
    m = array.mapping
    layout = contiguous(array.dtype, (count, *array.shape[1:]), array.offset, "C")
    source = array._source._replace(size=m.origin + m.size())
    return MappedArray._of_parts(source, layout, array.mode, m)


def write_records(
    values: MappedArray[Any], offsets: MappedArray[Any], records: Sequence[NDArray[Any]]
) -> None:
    """Write records after the last complete one: values first, and then where they end.

    The caller holds the lock of the offsets, and passes what `complete` returns.
    """
    lengths = [len(record) for record in records]
    joined = records[0]
    if len(records) > 1:
        joined = np.concatenate(records, dtype=values.dtype)  # in its byte order, too
    ends = len(values) + np.cumsum([0, *lengths], dtype=OFFSET)
    _drop_incomplete(offsets)
    # Bytes behind the end of a file are written by pwrite(2), which makes it longer, too:
    # a kill leaves no zeros. Offsets lie whole on pages, so it leaves the first of them.
    values.mapping.write_at(joined, values._layout.offset + values.nbytes)
    offsets.mapping.write_at(ends[1:] if len(offsets) else ends, offsets.nbytes)


def _drop_incomplete(offsets: MappedArray[Any]) -> None:
    """Cut off offsets of incomplete records, to which values will be added now."""
    m = offsets.mapping
    if m.size() >= offsets.nbytes + OFFSET.itemsize:
        m.resize(offsets.nbytes)
