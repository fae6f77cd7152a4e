"""The parts of an array over many files: where each lies, and which of them are open.

Knows files, layouts and how many may be open. It must not know keys.
"""

from __future__ import annotations

import errno
import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from .._file.gather import begin_gather_files, gather_files, new_choice
from .array_layout import Layout
from .columns import pack, unpack
from .file_identity import Source
from .mapped_array import MappedArray
from .rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from .._file.batches import Begun
    from .._file.gather import Batch
    from .._file.mmap_file import Mmap

    _Numbers = NDArray[np.int64]

__all__ = ["Parts", "Pieces"]

_T = TypeVar("_T")

# What opening fails with at a limit of the process or the system.
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

# Parts that are kept open at most: an eighth of the mappings that the kernel allows.
_MOST = 8192


class Pieces(NamedTuple):
    """Bytes of parts, and their places in a buffer: an item a piece, all of int64."""

    part: _Numbers
    offsets: _Numbers  # in the part's file, in bytes
    lengths: _Numbers
    targets: _Numbers  # in the buffer
    records: _Numbers  # which of the caller's records each is of


class _Places(NamedTuple):
    """Where the rows of each part lie, for all parts at once."""

    starts: _Numbers  # the number of its first row, and at the end that of all rows
    offsets: _Numbers  # of its first row in its file, in bytes
    steps: _Numbers  # from each row to the next
    nbytes: int  # of a row

    @property
    def follow(self) -> bool:
        """Whether the rows of each part follow one another."""
        return bool((self.steps == self.nbytes).all())


class Parts:
    """Files and layouts in order along an axis, of which those used last are open."""

    __slots__ = (
        "_choice",
        "_clock",
        "_held",
        "_open",
        "_stamps",
        "bounds",
        "files",
        "mode",
        "places",
    )

    def __init__(
        self, files: Sequence[tuple[Source, Layout]], axis: int, mode: str
    ) -> None:
        self.files, self.mode = files, mode
        lengths = (layout.shape[axis] for _, layout in files)
        self.bounds = (0, *itertools.accumulate(lengths))
        self.places = None if axis else _places_of(files, self.bounds)
        self._held: dict[int, MappedArray[Any]] = {}
        self._open: dict[int, MappedArray[Any]] = {}
        self._stamps = np.zeros(len(files), np.int64)  # when each was used last
        self._clock = itertools.count(1)
        self._choice = new_choice()

    @classmethod
    def of_handles(cls, handles: Sequence[MappedArray[Any]], axis: int, mode: str) -> Self:
        """Return the parts that handles stand for, which the caller goes on to use."""
        parts = cls([(h._source, h._layout) for h in handles], axis, mode)
        # Memory that no path leads to is there as long as its mapping is.
        parts._held = {
            i: h
            for i, h in enumerate(handles)
            if h._opened and isinstance(h._mapping.name, int)
        }
        return parts

    def __len__(self) -> int:
        return len(self.files)

    def handle(self, number: int) -> MappedArray[Any]:
        """Return a new handle of a part, which is not open."""
        held = self._held.get(number)
        m = None if held is None else held._mapping
        return MappedArray._of_parts(*self.files[number], self.mode, m)  # type: ignore[arg-type]

    def find(self, index: int) -> tuple[int, int]:
        """Return which part an index is in, and where in it."""
        number = bisect_right(self.bounds, index) - 1
        return number, index - self.bounds[number]

    def with_elements(self) -> Iterator[int]:
        """Yield the numbers of the parts that are not empty."""
        return (i for i, (_, layout) in enumerate(self.files) if layout.size)

    # -- Those that are open

    def __getitem__(self, number: int) -> MappedArray[Any]:
        """Return a part, opened."""
        part = self._open.get(number)
        if part is None or part._mapping.closed:
            if len(self._open) >= _MOST and self.mode != "c":
                self._close_all_but(_MOST // 2)
            part = self._open[number] = self._opened(number)
        self._stamps[number] = next(self._clock)
        return part

    def _opened(self, number: int) -> MappedArray[Any]:
        """Return a new handle that has mapped its file; others give way if they have to."""
        part = self.handle(number)
        while True:
            try:
                part._mapping  # noqa: B018  # maps the file
            except OSError as error:
                if error.errno not in _LIMITS or not self._open or self.mode == "c":
                    raise
                self._close_all_but(len(self._open) // 2)
            else:
                return part

    def _close_all_but(self, count: int) -> None:
        """Let go of the parts that were used least recently; views keep what they show.

        A mapping with faults stays, since the next call has to raise them.
        """
        numbers = sorted([*self._open], key=self._stamps.__getitem__)
        for number in numbers[: len(numbers) - count]:
            part = self._open.get(number)
            if part is not None and not part._mapping.closed and part._mapping.faults():
                continue
            self._open.pop(number, None)

    # -- Many pieces at once

    def pieces_of_rows(self, rows: _Numbers) -> Pieces:
        """Return rows of whole parts as pieces, which follow one another in the buffer."""
        places = self._require_places()
        part = np.searchsorted(places.starts, rows, "right") - 1
        offsets = places.offsets[part] + places.steps[part] * (rows - places.starts[part])
        records = np.arange(len(rows))
        lengths = np.full(len(rows), places.nbytes)
        return Pieces(part, offsets, lengths, records * places.nbytes, records)

    def pieces_of_runs(self, starts: _Numbers, lengths: _Numbers) -> Pieces:
        """Return runs of rows as pieces, of which a run has one in each part it is in."""
        places = self._require_places()
        ends = starts + lengths
        first = np.searchsorted(places.starts, starts, "right") - 1
        last = np.searchsorted(places.starts, ends, "left") - 1
        counts = np.maximum(last - first, 0) + 1
        before = np.cumsum(counts) - counts
        run = np.repeat(np.arange(len(starts)), counts)
        part = first[run] + np.arange(len(run)) - before[run]
        part = np.minimum(part, len(self) - 1)  # an empty run at the end
        low = np.maximum(starts[run], places.starts[part])
        high = np.minimum(ends[run], places.starts[part + 1])
        target = (np.cumsum(lengths) - lengths)[run] + low - starts[run]
        return Pieces(
            part,
            places.offsets[part] + places.nbytes * (low - places.starts[part]),
            np.maximum(high - low, 0) * places.nbytes,
            target * places.nbytes,
            run,
        )

    def _require_places(self) -> _Places:
        assert self.places is not None
        return self.places

    def gather(
        self, pieces: Pieces, out: NDArray[Any], threads: int, cached: bool | None
    ) -> None:
        """Copy pieces to their places in a buffer, from as many parts as may be open."""
        for mappings, group in self._groups(pieces):
            gather_files(mappings, group, out, self._choice, threads, cached)

    def begin(
        self, pieces: Pieces, out: NDArray[Any], cached: bool | None, result: _T
    ) -> Begun[_T]:
        """Begin what `gather` does; to finish it gives the result."""
        begun = [
            begin_gather_files(mappings, group, out, self._choice, cached)
            for mappings, group in self._groups(pieces)
        ]
        return _Begun(begun, result)

    def _groups(self, pieces: Pieces) -> Iterator[tuple[list[Mmap], Pieces]]:
        """Yield mappings, and pieces that have the numbers of those as parts."""
        needed = np.zeros(len(self), bool)
        needed[pieces.part] = True
        used = np.flatnonzero(needed)
        done, most = 0, _MOST
        while done < len(used):
            group = used[done : done + most]
            try:
                mappings = [self[number]._mapping for number in group.tolist()]
            except OSError as error:
                if error.errno not in _LIMITS or len(group) == 1:
                    raise
                most = len(group) // 2  # others have more open than was left to them
                continue
            yield mappings, self._pieces_of(group, pieces)
            done += len(group)

    def _pieces_of(self, group: NDArray[np.intp], pieces: Pieces) -> Pieces:
        inside = (pieces.part >= group[0]) & (pieces.part <= group[-1])
        if not inside.all():
            pieces = Pieces(*(column[inside] for column in pieces))
        number = np.zeros(len(self), np.int64)
        number[group] = np.arange(len(group))
        return pieces._replace(part=number[pieces.part])

    # -- How they travel

    def times(self) -> list[tuple[int, int] | None]:
        """Return when content and inode of each file changed, in ns, for caches."""
        return [source.times() for source, _ in self.files]

    def packed(self) -> tuple[Any, ...]:
        """Return the files and layouts in few bytes."""
        return pack([(tuple(source), tuple(layout)) for source, layout in self.files])

    @classmethod
    def of_packed(cls, packed: tuple[Any, ...], axis: int, mode: str) -> Self:
        """Return the parts that were packed."""
        files = [(Source(*source), Layout(*layout)) for source, layout in unpack(packed)]
        return cls(files, axis, mode)


class _Begun(Generic[_T]):
    """Batches under way that make one."""

    def __init__(self, batches: list[Batch[Any]], result: _T) -> None:
        self._batches, self._result = batches, result

    def finish(self) -> _T:
        for batch in self._batches:
            batch.finish()
        return self._result


def _places_of(
    files: Sequence[tuple[Source, Layout]], bounds: tuple[int, ...]
) -> _Places | None:
    """Return where rows lie; None where those of a part are not whole, or have no bytes."""
    row = files[0][1].row
    offsets, steps = [], []
    for _, layout in files:
        rows = rows_of(layout)
        if rows is None and layout.size:
            return None
        offsets.append(rows.offset if rows else 0)
        steps.append(rows.step if rows else row.nbytes)
    if not row.nbytes:
        return None
    numbers = (np.array(x, np.int64) for x in (bounds, offsets, steps))
    starts, first, step = numbers
    return _Places(starts, first, step, row.nbytes)
