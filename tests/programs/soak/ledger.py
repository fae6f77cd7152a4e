"""What a file of records must hold, known to many processes.

A record is a stamp (file, index, sequence number), repeated over its whole length, so that
whoever reads one can tell whether it is whole, and which writing of it this is. Beside the
files lies a table in plain shared memory, with a row for each record: when it was last
written, and when it was last cut off. Each record has one writer and each file one who cuts
it; they note the time before and after. A reader copies the rows, reads, and copies them
again: what was quiet all the while must be in the file exactly so. What was not says
nothing, and is not judged.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

STAMP = struct.Struct("<IIQ")
BEGUN, DONE, WRITE_BEGUN, WRITE_DONE, CUT_BEGUN, CUT_DONE = range(6)


@dataclass(frozen=True)
class File:
    """A file of records, each `stride` bytes long and at a multiple of that."""

    number: int
    path: Path
    stride: int
    roomy: bool  # not on the full disk

    def tells(self, end: int) -> bool:
        """Whether a store before `end`, if it is lost, is told.

        A file that was cut inside a page has memory there up to the end of the page, and
        what is stored into that the kernel throws away when the file grows again.
        """
        return self.stride % mmap.PAGESIZE == 0 or end <= os.stat(self.path).st_size

    def range(self, index: int) -> slice:
        """Return the bytes of a record."""
        return slice(index * self.stride, (index + 1) * self.stride)

    def record(self, index: int, sequence: int) -> bytes:
        """Return the record as its writer writes it for the `sequence`-th time."""
        stamp = STAMP.pack(self.number, index, sequence)
        return (stamp * (self.stride // len(stamp) + 1))[: self.stride]

    def sequence(self, index: int, data: bytes) -> int | None:
        """Return which writing of the record `data` is: 0 for zeros, None if torn."""
        if not any(data[: STAMP.size]):
            return 0 if not any(data) else None
        sequence = STAMP.unpack_from(data)[2]
        return sequence if data == self.record(index, sequence) else None

    def describe(self, data: bytes) -> str:
        """Say which writings the parts of a record are of: a clue to what went wrong."""
        stamps = data[: len(data) // STAMP.size * STAMP.size]
        numbers = [sequence for _, _, sequence in STAMP.iter_unpack(stamps)]
        runs = [(n, len(list(same))) for n, same in itertools.groupby(numbers)]
        return ", ".join(f"writing {n} for {count * STAMP.size} bytes" for n, count in runs)


class Ledger:
    """The table of all records of all files, shared by all processes."""

    def __init__(self, path: Path, files: int, records: int) -> None:
        shape = (files, records, 6)
        with open(path, "ab+") as file:
            file.truncate(8 * files * records * 6)
            memory = mmap.mmap(file.fileno(), 0)
        self.rows = np.frombuffer(memory, np.int64).reshape(shape)

    def clear(self) -> None:
        """Call every record one that was cut off and not written since."""
        self.rows[:] = 0
        self.rows[..., [CUT_BEGUN, CUT_DONE]] = 1

    def write(self, file: File, index: int, count: int) -> Writing:
        """Note that some records are about to be written."""
        return Writing(self.rows[file.number, index : index + count], file, index)

    def cut(self, file: File, index: int, end: int | None = None) -> Cutting:
        """Return a context in which the records ``[index, end)`` become zeros, or go."""
        return Cutting(self.rows[file.number, index:end])

    def look(self, file: File, index: int, count: int) -> Look:
        """Note what must be in some records that are about to be read."""
        return Look(self.rows[file.number, index : index + count], file, index)


class Writing:
    """Some records being written; the numbers in their rows only grow, but for `undo`.

    A writing that neither was done nor undone leaves its records unsure: something else
    than the last sequence number is in `BEGUN`.
    """

    def __init__(self, rows: np.ndarray, file: File, index: int) -> None:
        self.rows, self.before = rows, rows.copy()
        rows[:, BEGUN] += 1
        rows[:, WRITE_BEGUN] = time.monotonic_ns()
        numbers = rows[:, BEGUN].tolist()
        self.data = b"".join(file.record(index + i, n) for i, n in enumerate(numbers))

    def done(self) -> None:
        """The records are in the file, acknowledged."""
        self.rows[:, WRITE_DONE] = time.monotonic_ns()
        self.rows[:, DONE] = self.rows[:, BEGUN]

    def undo(self) -> None:
        """The file is as it was before."""
        self.rows[:, WRITE_BEGUN] = self.before[:, WRITE_BEGUN]
        self.rows[:, BEGUN] = self.before[:, BEGUN]


class Cutting:
    """Some records being cut off or punched out."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __enter__(self) -> None:
        self.rows[:, CUT_BEGUN] = time.monotonic_ns()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.rows[:, CUT_DONE] = time.monotonic_ns()


class Look:
    """Some records being read: what of them was quiet is judged afterwards."""

    def __init__(self, rows: np.ndarray, file: File, index: int) -> None:
        self.rows, self.file, self.index = rows, file, index
        self.before = rows.copy()
        self.size = os.stat(file.path).st_size

    def judge(self, data: bytes) -> Iterator[str]:
        """Say what is wrong with `data`, which ends where reading was not possible."""
        size = os.stat(self.file.path).st_size
        alive, cut = self.sure()
        stride = self.file.stride
        whole = len(data) // stride
        if whole < len(alive) and alive[whole]:
            yield f"{self.name(whole)} was written and cannot be read"
        for i in np.flatnonzero((alive | cut)[:whole]).tolist():
            found = self.file.sequence(self.index + i, data[i * stride : (i + 1) * stride])
            wanted = int(self.before[i, DONE]) if alive[i] else 0
            if found != wanted:
                text = self.file.describe(data[i * stride : (i + 1) * stride])
                yield f"{self.name(i)} is {text}, not {wanted}: {self.before[i].tolist()}"
            elif cut[i] and self.past(i, size):
                yield f"{self.name(i)} reads zeros past the end of the file, {size}"

    def sure(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which records were there all the while, and which were cut off."""
        rows = self.before
        quiet = (rows == self.rows).all(1) & (rows[:, BEGUN] == rows[:, DONE])
        quiet &= rows[:, CUT_BEGUN] <= rows[:, CUT_DONE]
        alive = quiet & (rows[:, WRITE_BEGUN] > rows[:, CUT_DONE])
        return alive, quiet & (rows[:, CUT_BEGUN] > rows[:, WRITE_DONE])

    def past(self, i: int, size: int) -> bool:
        """Whether a record lay past the end of the file before and after.

        On a full disk the file may have been longer in between, when growing it failed. A
        record is no less than a page long, so reading it reaches one without a file.
        """
        return self.file.roomy and size == self.size <= (self.index + i) * self.file.stride

    def name(self, i: int) -> str:
        return f"record {self.index + i} of {self.file.path.name}"
