"""Growing by a page, ten thousand times, while an array is alive."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import yammap

from ._lab import Lab
from ._race import Contender, Race

PAGE = mmap.PAGESIZE
Sizes = Sequence[int]


def resize(sizes: Sizes, path: Path, *, preallocate: bool = True) -> None:
    """Resize under an array."""
    with yammap.open(path, "r+", preallocate=preallocate) as m:
        array, call = m.array(), m.resize
        for size in sizes:
            call(size)
    array[0]


def mmap_resize(sizes: Sizes, path: Path) -> None:
    """Resize an `mmap`, which lets no array live."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        call = mapping.resize
        for size in sizes:
            call(size)


def map_anew(sizes: Sizes, path: Path) -> None:
    """Make a new array over a new `mmap`."""
    with open(path, "r+b") as file:
        fd = file.fileno()
        for size in sizes:
            os.ftruncate(fd, size)
            array = np.frombuffer(mmap.mmap(fd, size), np.uint8)
    array[0]


def memmap_anew(sizes: Sizes, path: Path) -> None:
    """Make a new np.memmap."""
    for size in sizes:
        os.truncate(path, size)
        array = np.memmap(path, np.uint8, "r+")
    array[0]


def races(lab: Lab) -> Iterator[Race]:
    """Yield the race of this scenario."""
    path, count = lab.new(), lab.scaled(10_000, 100)
    sizes = [PAGE * (2 + i) for i in range(count)]
    sparse = partial(resize, path=path, preallocate=False)
    mapped_anew = partial(map_anew, path=path)
    yield Race(
        f"grow by 4 KiB, {count:,} times",
        [
            Contender("yammap: m.resize(n), an array alive", partial(resize, path=path)),
            Contender("yammap: preallocate=False, m.resize(n), an array alive", sparse),
            Contender(
                "mmap: mm.resize(n), no array",
                partial(mmap_resize, path=path),
                reach=0.67,
                told="a file grown by 4 KiB",
            ),
            Contender("mmap: ftruncate, a new mmap, a new array", mapped_anew, reach=2),
            Contender(
                "np.memmap: truncate, a new np.memmap", partial(memmap_anew, path=path)
            ),
        ],
        lambda _: sizes,
        before=lambda: path.write_bytes(bytes(PAGE)),
        note="mmap.resize allocates no blocks, and refuses while there is an array.",
    )
