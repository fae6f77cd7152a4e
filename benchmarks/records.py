"""Small records that are in memory: 16 bytes each, a million of them all over 1 GiB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._lab import KIB, MIB, Lab
from ._race import Contender, Race
from ._readers import gathers, listed

SIZE = 16


def races(lab: Lab) -> Iterator[Race]:
    """Yield the race of this scenario: one record of each KiB, in random order."""
    store, span = lab.big, lab.sized(1024)
    store.warm(span)
    count, mapping = span // KIB, store.mm
    strided = np.asarray(store.memmap[:span]).reshape(count, KIB)[:, :SIZE]
    records = np.ndarray(count, f"V{SIZE}", store.memmap[:span], 0, (KIB,))

    def numbers(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        return offsets // KIB

    def np_take(indices: NDArray[np.int64]) -> NDArray[Any]:
        return np.take(records, indices)

    def fancy(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return strided[indices]

    def mmap_slices(offsets: Sequence[int]) -> list[bytes]:
        return [mapping[offset : offset + SIZE] for offset in offsets]

    yield Race(
        f"{count:,} records of 16 B over {span // MIB:,} MiB, warm",
        [
            *gathers(store, (count, SIZE), count),
            Contender("np.memmap: np.take of a strided view", np_take, numbers, reach=3),
            Contender("np.memmap: fancy index of a strided view", fancy, numbers),
            Contender("mmap: [mm[i:j] for ...]", mmap_slices, listed, reach=20),
        ],
        lambda number: np.random.default_rng(number).permutation(count) * KIB,
        size=SIZE,
        why="Each record is a miss of the caches. np.take copies the view first, in "
        "order, and then from that copy; where records lie 64 B apart instead of 1 KiB, "
        "that is sixteen times as much to copy as to take.",
    )
