"""A new file of 1 GiB, from an array in memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

import yammap

from ._lab import MIB, Lab
from ._race import Contender, Race

Data = memoryview


def write_at(path: Path, data: Data) -> None:
    """Make it as large as it is to be, with blocks on the disk, and write."""
    with yammap.create(path, len(data)) as m:
        m.write_at(data, 0)


def append(path: Path, data: Data) -> None:
    """Let it grow."""
    with yammap.open(path, "w+") as m:
        m.append(data)


def pwrite(path: Path, data: Data) -> None:
    """Write by system call, which does 2 GiB at most."""
    with open(path, "wb", buffering=0) as file:
        done = 0
        while done < len(data):
            done += os.pwrite(file.fileno(), data[done:], done)


def mmap_sparse(path: Path, data: Data) -> None:
    """Assign to a mapping of a file without blocks."""
    with open(path, "w+b") as file:
        file.truncate(len(data))
        with mmap.mmap(file.fileno(), len(data)) as mapping:
            mapping[:] = data


def mmap_allocated(path: Path, data: Data) -> None:
    """Assign to a mapping of a file with blocks."""
    with open(path, "w+b") as file:
        os.posix_fallocate(file.fileno(), 0, len(data))
        with mmap.mmap(file.fileno(), len(data)) as mapping:
            mapping[:] = data


def memmap(path: Path, data: Data) -> None:
    """Assign to an np.memmap."""
    np.memmap(path, np.uint8, "w+", shape=len(data))[:] = data


def arrow(path: Path, data: Data) -> None:
    """Write to pyarrow's mapping."""
    with pa.create_memory_map(str(path), len(data)) as file:
        file.write(data)


def races(lab: Lab) -> Iterator[Race]:
    """Yield the race of this scenario."""
    size = lab.sized(1024)
    data = np.resize(lab.tokens.view(np.uint8), size).data

    def contender(
        what: str, write: Callable[[Path, Data], None], **terms: Any
    ) -> Contender:
        return Contender(what, lambda _: write(lab.directory / "new.bin", data), **terms)

    yield Race(
        f"a new file of {size // MIB:,} MiB",
        [
            contender("yammap: create(path, n), m.write_at(data, 0)", write_at),
            contender("yammap: open(path, 'w+'), m.append(data)", append),
            contender("os.pwrite(fd, data, 0)", pwrite, reach=1),
            contender("mmap: ftruncate, mm[:] = data", mmap_sparse, reach=1.3),
            contender("mmap: posix_fallocate, mm[:] = data", mmap_allocated),
            contender("np.memmap: 'w+', a[:] = data", memmap),
            contender("pyarrow: create_memory_map(path, n), f.write(data)", arrow),
        ],
        work=lambda _: range(1),
        size=size,
        before=lab.new,
        why="The kernel writes the files of earlier rounds to the disk meanwhile.",
    )
