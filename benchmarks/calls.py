"""What a call costs on bytes that are in memory: reading them, and writing over them.

Each contender is the statement its users write, and is compiled, as by timeit, into a loop
over the same offsets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from ._lab import KIB, MIB, Lab, Store, positions
from ._loop import loop
from ._race import Contender, Race
from ._readers import listed

INTO = {
    "yammap": "m.read_at(buf, a)",
    "mmap": "buf[:] = mm[a:b]",
    "mmap, as a memoryview": "buf[:] = view[a:b]",
    "os": "os.preadv(fd, bufs, a)",
    "np.memmap": "array[:] = memmap[a:b]",
    "pyarrow": "arrow.seek(a); arrow.readinto(buf)",
    "memcpy": "buf[:] = memory[a:b]",
}
AS_BYTES = {
    "yammap": "result = m.pread(n, a)",
    "mmap": "result = mm[a:b]",
    "os": "result = os.pread(fd, n, a)",
    "np.memmap": "result = memmap[a:b].tobytes()",
    "pyarrow": "result = arrow.read_at(n, a)",
    "memcpy": "result = memory[a:b].tobytes()",
}
OVERWRITE = {
    "yammap": "m.write_at(buf, a)",
    "mmap": "mm[a:b] = buf",
    "os": "os.pwrite(fd, buf, a)",
    "np.memmap": "memmap[a:b] = array",
    "pyarrow": "arrow.seek(a); arrow.write(buf)",
}
WORKS = {"read into a buffer": INTO, "read as bytes": AS_BYTES, "overwrite": OVERWRITE}


@dataclass(frozen=True)
class Shape:
    """`count` operations of `size` bytes at random offsets below `span`."""

    size: int
    span: int
    count: int
    rounds: int

    def ranges(self, _: int) -> NDArray[np.int64]:
        """Return where each operation begins and ends."""
        starts = positions(0, self.count, self.span, self.size)
        return np.stack([starts, starts + self.size], axis=1)

    def __str__(self) -> str:
        times = f"{self.count} x " if self.count > 1 else ""
        where = f" out of {in_units(self.span)}" if self.span > self.size else ""
        return f"{times}{in_units(self.size)}{where}"


def in_units(count: int) -> str:
    """Return a number of bytes as text: 4096 is ``4 KiB``."""
    for factor, unit in (MIB, "MiB"), (KIB, "KiB"):
        if count >= factor:
            return f"{count // factor} {unit}"
    return f"{count} B"


def shapes(whole: int) -> list[Shape]:
    """Return what is asked of a file of `whole` bytes.

    Small ones twice: offsets close to each other are in the processor's caches and on few
    pages, offsets all over the file are on a page each.
    """
    return [
        Shape(16, MIB, count=1000, rounds=101),
        Shape(16, whole, count=1000, rounds=101),
        Shape(4 * KIB, MIB, count=1000, rounds=51),
        Shape(4 * KIB, whole, count=1000, rounds=51),
        Shape(MIB, whole, count=32, rounds=25),
        Shape(whole, whole, count=1, rounds=11),
    ]


def names_of(store: Store, arrow: pa.MemoryMappedFile, size: int) -> dict[str, Any]:
    """Return what the statements speak of."""
    array = np.array(store.memmap[:size])
    buffer = array.data
    return {
        "m": store.m,
        "mm": store.mm,
        "view": memoryview(store.mm),
        "fd": store.fd,
        "memmap": store.memmap,
        "memory": np.array(store.memmap).data,
        "arrow": arrow,
        "array": array,
        "buf": buffer,
        "bufs": [buffer],
        "result": buffer,
        "n": size,
        "os": os,
    }


def reach(title: str, peer: str, shape: Shape) -> float | None:
    """Return how many times as fast as a peer yammap is to be."""
    if shape.size == shape.span:
        return {"memcpy": 0.95}.get(peer) if title != "overwrite" else None
    if title == "read into a buffer" and shape.size == 16:
        return {"mmap": 1.5, "os": 8}.get(peer)
    return 0.9 if (title, peer) == ("read as bytes", "mmap") else None


def told(title: str, peer: str, shape: Shape) -> str:
    """Return what the report's first table says, which has 16 B out of few pages."""
    among = (shape.size, shape.span) == (16, MIB) and title != "read as bytes"
    return (
        f"{title}, {shape.size} bytes in memory" if among and peer in ("mmap", "os") else ""
    )


def races(lab: Lab) -> Iterator[Race]:
    """Yield a race for each work and shape."""
    store = lab.hot
    with pa.memory_map(str(store.path), "r+") as arrow:
        for shape in shapes(store.size):
            names = names_of(store, arrow, shape.size)
            for title, ways in WORKS.items():
                contenders = [
                    Contender(
                        f"{peer}: {statement.removeprefix('result = ')}",
                        loop(statement, names, "a, b"),
                        listed,
                        reach=reach(title, peer, shape),
                        told=told(title, peer, shape),
                    )
                    for peer, statement in ways.items()
                ]
                named = f"{title}, {shape}"
                yield Race(named, contenders, shape.ranges, shape.size, rounds=shape.rounds)
