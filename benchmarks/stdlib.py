"""Every call of `mmap.mmap`, and single calls beside `io`, `os` and NumPy, in memory.

A contender is the statement its users write; the loop around it is in all times. What is
called `result` must be the same for all. A statement of a size has its range as `a:b`.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import yammap
from yammap import compat

from ._lab import MIB, Lab, Store, open_store
from ._loop import loop
from ._race import Contender, Race

CALLS, OTHERS = "Every call of mmap", "Single calls beside io, os and NumPy"
LINE = b"x" * 63 + b"\n"
LINES = MIB // len(LINE)
EACH_LINE = "for line in iter(m.readline, b''): pass"

SIZES = 1, 16, 64, 4096
READS_OF_SIZE = "result = m[a:b]", "m.seek(a); result = m.read(n)"
WRITES_OF_SIZE = "m[a:b] = data", "m.seek(a); m.write(data)"
READS = (
    "result = len(m)",
    "result = m[5000]",
    "result = m[5000:5192:3]",
    "result = m.tell()",
    "m.seek(5000)",
    "m.seek(5000); result = m.read_byte()",
    "m.seek(640); result = m.readline()",
    r"result = m.find(b'\n', 5000)",
    r"result = m.rfind(b'\n', 5000, 5100)",
    "result = m.size()",
    "result = memoryview(m)",
)
WRITES = (
    "m[5000] = 7",
    "m[5000:5192:3] = b64",
    "m.seek(5000); m.write_byte(65)",
    "m.move(5000, 9000, 64)",
)
FLUSH = "m.flush(0, 4096)"  # waits for the disk

# yammap's statement, the other, and how many times as fast as that it is to be.
BESIDE_READS = (
    ("result = m.read(64)", "result = file.read(64)", 1 / 1.5),
    ("m.read_at(buffer, 5000)", "os.preadv(fd, [buffer], 5000)", 8),
    ("np.frombuffer(m, u1, 64, 16)", "np.frombuffer(mm, u1, 64, 16)", 1 / 1.2),
    ("np.frombuffer(m, u1, 64, 16)", "memmap[16:80]", 1),
    ("m.array(u1, 64, 16)", "np.frombuffer(mm, u1, 64, 16)", 1 / 1.2),
    ("m.array(u1, 64, 16)", "memmap[16:80]", 1),
    ("m.view(16, 64)", "np.frombuffer(mm, u1, 64, 16)", 1 / 1.2),
    ("m.view(16, 64)", "memmap[16:80]", 1),
    ("m.gather(starts, 64, out)", "[mm[i : i + 64] for i in list_of_starts]", 1),
    ("m.gather_ragged(starts, lengths)", "[mm[i:j] for i, j in ranges]", 1),
)
BESIDE_WRITES = (
    ("m.write_at(b16, 5000)", "mm[5000:5016] = b16", 1),
    ("m[5000:5016] = b16", "mm[5000:5016] = b16", 1),
    ("m.write_at(b4096, 4096)", "mm[4096:8192] = b4096", 1),
    ("m[4096:8192] = b4096", "mm[4096:8192] = b4096", 1),
    ("log.append(b64)", "os.write(log_fd, b64)", 1),
)
LINES_OF_FILE = (
    ("for line in m: pass", "for line in file: pass", 1 / 1.2),
    ("m.readlines()", "file.readlines()", 1 / 1.2),
)
OPENED = (
    ("with compat.mmap(fd, 65536): pass", "with mmap.mmap(fd, 65536): pass"),
    ("with compat.mmap(fd, 0): pass", "with mmap.mmap(fd, 0): pass"),
    ("with compat.mmap(-1, 4096): pass", "with mmap.mmap(-1, 4096): pass"),
    ("with yammap.anonymous(4096): pass", "with mmap.mmap(-1, 4096): pass"),
    *(
        (
            f"with yammap.open(path, 'r+'{window}): pass",
            f"with open(path, 'r+b') as f, mmap.mmap(f.fileno(), {length}): pass",
        )
        for window, length in ((", length=65536", 65536), ("", 0))
    ),
)


def shown(statement: str) -> str:
    """Return a statement as its users write it."""
    return f"`{statement.replace('result = ', '')}`"


def of_size(statement: str, size: int) -> str:
    """Return a statement on the range of that size."""
    text = statement.replace("a:b", f"5000:{5000 + size}").replace("(a)", "(5000)")
    return text.replace("(n)", f"({size})").replace("data", f"b{size}")


@dataclass(frozen=True)
class Calls:
    """The races over one file, which is open in every way there is."""

    count: int
    store: Store
    compat: compat.mmap
    file: io.BufferedReader
    log: yammap.Mmap
    log_fd: int

    def rewind(self) -> None:
        """Go back to the beginning of all."""
        for file in self.store.m, self.compat, self.store.mm, self.file:
            file.seek(0)

    def race(
        self, title: str, contenders: list[Contender], count: int, **terms: Any
    ) -> Race:
        """Return a race over `count` operations, which is a row of a table."""
        work = range(count or self.count)
        return Race(
            title, contenders, lambda _: work, before=self.rewind, rounds=101, **terms
        )

    def of_mmap(self, statement: str, count: int = 0, **form: Any) -> Race:
        """Return the race of a statement on mappings of the three kinds."""
        data = {f"b{size}": b"a" * size for size in SIZES}
        kinds = {
            "yammap.Mmap": self.store.m,
            "yammap.compat": self.compat,
            "mmap": self.store.mm,
        }
        contenders = [
            Contender(what, loop(statement, {"m": m, **data}), **form)
            for what, m in kinds.items()
        ]
        return self.race(shown(statement), contenders, count, table=CALLS, mean=1.0)

    def beside(
        self, ours: str, theirs: str, reach: float, count: int = 0, **form: Any
    ) -> Race:
        """Return the race of a statement of yammap's and one of another module's."""
        names = self.names()
        contenders = [
            Contender("yammap", loop(ours, names), **form),
            Contender("the other", loop(theirs, names), reach=round(reach, 2), **form),
        ]
        title = f"{shown(ours)} beside {shown(theirs)}"
        return self.race(title, contenders, count, table=OTHERS)

    def names(self) -> Mapping[str, Any]:
        """Return what the statements of two modules speak of."""
        starts = np.arange(8) * 4096 + 512
        begin = starts.tolist()
        return {
            "np": np,
            "os": os,
            "mmap": mmap,
            "yammap": yammap,
            "compat": compat,
            "path": self.store.path,
            "fd": self.store.fd,
            "file": self.file,
            "m": self.store.m,
            "mm": self.store.mm,
            "memmap": self.store.memmap,
            "log": self.log,
            "log_fd": self.log_fd,
            "u1": np.uint8,
            "buffer": bytearray(16),
            "b16": b"a" * 16,
            "b64": b"a" * 64,
            "b4096": b"a" * 4096,
            "starts": starts,
            "lengths": np.full(8, 64),
            "out": np.empty((8, 64), np.uint8),
            "list_of_starts": begin,
            "ranges": [(i, i + 64) for i in begin],
        }


def once(_: object) -> tuple[int]:
    """Let a loop run once, whatever it counts as."""
    return (0,)


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of both tables, of files that are closed at the end."""
    path, log = lab.directory / "calls.bin", lab.directory / "log.bin"
    path.write_bytes(LINE * LINES)
    with (
        open_store(path, writable=True) as store,
        compat.mmap(store.fd, 0) as mapping,
        open(path, "rb") as file,
        yammap.open(log, "w+") as ours,
        open(log.with_suffix(".os"), "wb", buffering=0) as theirs,
    ):
        count = lab.scaled(2000, 20)
        yield from rows(Calls(count, store, mapping, file, ours, theirs.fileno()))


def rows(calls: Calls) -> Iterator[Race]:
    """Yield the races; those that write come last, as they write over ends of lines."""
    yield from map(calls.of_mmap, READS)
    for statement in READS_OF_SIZE:
        yield from (calls.of_mmap(of_size(statement, size)) for size in SIZES)
    yield calls.of_mmap(EACH_LINE, LINES, form=once)
    for ours, theirs, reach in LINES_OF_FILE:
        yield calls.beside(ours, theirs, reach, LINES, form=once)
    for pair in BESIDE_READS:
        yield calls.beside(*pair)
    for ours, theirs in OPENED:
        yield calls.beside(ours, theirs, 1 / 2.5, max(calls.count // 20, 1))
    yield from map(calls.of_mmap, WRITES)
    yield calls.of_mmap(FLUSH, max(calls.count // 100, 1))
    for statement in WRITES_OF_SIZE:
        yield from (calls.of_mmap(of_size(statement, size)) for size in SIZES)
    for pair in BESIDE_WRITES:
        yield calls.beside(*pair)
