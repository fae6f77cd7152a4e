"""Many files as one array: 4,096 rows of 1 KiB over 1,000 .npy files; and ragged records.

The peers are the loops that users write: over shards with `numpy.load`, in which each shard
is indexed once, and over records with an `np.memmap` of values and an array of offsets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yammap

from ._lab import KIB, Lab
from ._race import Contender, Race

ROWS = 1 << 10  # of a shard: 1 MiB
RECORDS = 1 << 15

_Rows = NDArray[Any]
_Numbers = NDArray[np.int64]


class Shards:
    """Files of rows, and each contender's way to them."""

    def __init__(self, folder: Path, count: int) -> None:
        folder.mkdir(exist_ok=True)
        self.paths = [folder / f"shard-{i}.npy" for i in range(count)]
        block = np.random.default_rng(0).integers(0, 1 << 16, (ROWS, KIB // 2), "<u2")
        for i, path in enumerate(self.paths):
            if not path.exists():
                np.save(path, block + np.uint16(i))
        os.sync()  # what is not on the disk cannot be evicted
        self.rows = count * ROWS
        self._state = yammap.concatenate(self.paths).__getstate__()

    def anew(self) -> yammap.ConcatenatedArray:
        """Return the array as a worker gets it: none of its files is open."""
        array = yammap.ConcatenatedArray.__new__(yammap.ConcatenatedArray)
        array.__setstate__(self._state)
        return array

    def evict(self) -> None:
        """Have all files out of memory, which nobody maps."""
        for path in self.paths:
            with open(path, "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def by_shard(shards: Callable[[int], _Rows], rows: _Numbers) -> _Rows:
    """Index each shard once, by all of its rows."""
    out = np.empty((len(rows), KIB // 2), "<u2")
    number, local = np.divmod(rows, ROWS)
    order = np.argsort(number, kind="stable")
    ends = np.flatnonzero(np.diff(number[order])) + 1
    for place in np.split(order, ends):
        out[place] = shards(int(number[place[0]]))[local[place]]
    return out


def chosen(number: int, count: int, rows: int) -> _Numbers:
    """Return a round's random rows."""
    return np.random.default_rng(number).integers(0, rows, count)


def of_shards(lab: Lab) -> Iterator[Race]:
    """Yield the races over shards, cold and warm."""
    shards = Shards(lab.directory / "shards", lab.scaled(1000, 20))
    count = lab.scaled(4096, 64)

    def loaded(number: int) -> _Rows:
        array: _Rows = np.load(shards.paths[number], mmap_mode="r")
        return array

    work = partial(chosen, count=count, rows=shards.rows)
    yield Race(
        f"{count:,} rows of {len(shards.paths):,} shards, cold",
        [
            Contender(
                "yammap: c.take(rows), opened anew", lambda rows: shards.anew().take(rows)
            ),
            Contender(
                "np.load(shard, mmap_mode='r')[rows]",
                partial(by_shard, loaded),
                reach=20,
                told="random rows of 1,000 files, from the disk",
            ),
        ],
        work,
        size=KIB,
        before=shards.evict,
        cold=True,
        note="Both open the files in their time, and close them.",
    )
    array, maps = shards.anew(), [loaded(i) for i in range(len(shards.paths))]
    for i, each in enumerate(maps):  # touch all pages by both
        assert (array.take(np.arange(i * ROWS, (i + 1) * ROWS)) == each).all()
    yield Race(
        f"{count:,} rows of {len(shards.paths):,} shards, warm",
        [
            Contender("yammap: c.take(rows)", array.take),
            Contender(
                "np.memmap of each: a[rows]",
                partial(by_shard, maps.__getitem__),
                reach=1.5,
                told="random rows of 1,000 files, from memory",
            ),
        ],
        work,
        size=KIB,
        rounds=41,
    )


def of_records(lab: Lab) -> Iterator[Race]:
    """Yield the races over records of many lengths, warm."""
    generator, folder = np.random.default_rng(0), lab.directory
    lengths = generator.integers(100, 4001, lab.scaled(RECORDS, 512))
    records = yammap.open_ragged(folder / "values", folder / "offsets", "u1", "w+")
    records.extend(generator.bytes(n) for n in lengths.tolist())
    values = np.memmap(folder / "values", np.uint8, "r")
    offsets = np.fromfile(folder / "offsets", np.int64)

    def views(numbers: Sequence[int]) -> _Rows:
        return np.array([int(records[i][0]) for i in numbers])

    def slices(numbers: Sequence[int]) -> _Rows:
        return np.array([int(values[offsets[i] : offsets[i + 1]][0]) for i in numbers])

    def joined(numbers: Sequence[int]) -> _Rows:
        return np.concatenate([values[offsets[i] : offsets[i + 1]] for i in numbers])

    work = partial(chosen, count=lab.scaled(4096, 64), rows=len(records))
    size = int(lengths.mean())
    yield Race(
        "records of 100 - 4000 B, taken, warm",
        [
            Contender("yammap: r.take(numbers)", lambda numbers: records.take(numbers)[0]),
            Contender("np.memmap: np.concatenate of a[o[i]:o[i + 1]]", joined, reach=1.5),
        ],
        work,
        size=size,
        rounds=41,
    )
    yield Race(
        "records of 100 - 4000 B, one by one, warm",
        [
            Contender("yammap: r[i]", views, np.ndarray.tolist),
            Contender("np.memmap: a[o[i]:o[i + 1]]", slices, np.ndarray.tolist, reach=1),
        ],
        work,
        size=size,
        rounds=41,
    )


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    yield from of_shards(lab)
    yield from of_records(lab)
