"""Rows of an array by fancy indexing: 32,768 of 1 KiB, cold and warm, and of a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

import yammap

from ._lab import KIB, Lab, Store
from ._race import Contender, Race
from ._readers import AS_GOOD, CACHING, Terms, Words, listed, with_words

_Rows = NDArray[Any]
TAKE = "yammap: a.take(indices, out)"


def take_anew(
    path: Path,
    shape: tuple[int, int],
    out: _Rows,
    words: Words = CACHING[0],
    **terms: Unpack[Terms],
) -> Contender:
    """Open the array, so that its mapping holds no page from round to round, and take."""

    def job(indices: NDArray[np.int64]) -> _Rows:
        array = yammap.MappedArray(path, out.dtype, shape)
        taken: _Rows = array.take(indices, out=out, **words)
        return taken

    return Contender(f"{with_words(TAKE, words)}, opened anew", job, **terms)


def takes_anew(path: Path, shape: tuple[int, int], out: _Rows) -> Iterator[Contender]:
    """Take by the default, and by all that a caller may say of the page cache."""
    yield take_anew(path, shape, out)
    for words in CACHING[1:]:
        yield take_anew(path, shape, out, words, reach=AS_GOOD)


def take(
    array: yammap.MappedArray, out: _Rows, words: Words = CACHING[0], **terms: Unpack[Terms]
) -> Contender:
    """Take from an array that is open."""
    return Contender(
        with_words(TAKE, words),
        lambda indices: array.take(indices, out=out, **words),
        **terms,
    )


def takes(array: yammap.MappedArray, out: _Rows) -> Iterator[Contender]:
    """Take by the default, and by all that a caller may say of the page cache."""
    yield take(array, out)
    for words in CACHING[1:]:
        yield take(array, out, words, reach=AS_GOOD)


def preadv(store: Store, out: _Rows, **terms: Unpack[Terms]) -> Contender:
    """Read each row by a system call, into its place."""
    rows = [[memoryview(row)] for row in out.view(np.uint8)]
    fd, size = store.fd, out[0].nbytes

    def job(indices: Sequence[int]) -> _Rows:
        for row, index in zip(rows, indices, strict=False):
            os.preadv(fd, row, index * size)
        return out

    return Contender("os.preadv(fd, [out[i]], j)", job, listed, **terms)


def np_take(array: _Rows, out: _Rows, **terms: Unpack[Terms]) -> Contender:
    """Take by NumPy; without "clip" it would go through a buffer of its own."""

    def job(indices: NDArray[np.int64]) -> _Rows:
        return np.take(array, indices, axis=0, out=out, mode="clip")

    return Contender("np.memmap: np.take(a, i, 0, out, 'clip')", job, **terms)


def fancy(array: _Rows, **terms: Unpack[Terms]) -> Contender:
    """Index by an array."""
    return Contender("np.memmap: a[indices]", lambda indices: array[indices], **terms)


def indices(number: int, count: int, rows: int) -> NDArray[np.int64]:
    """Return a round's random rows."""
    return np.random.default_rng(number).integers(0, rows, count)


def of_big(lab: Lab) -> Iterator[Race]:
    """Yield the races on the large file, cold and warm."""
    store, count = lab.big, lab.scaled(32768, 64)
    array = store.memmap.view("<u2").reshape(-1, KIB // 2)
    out, other, third = (np.ones((count, KIB // 2), "<u2") for _ in range(3))
    yield Race(
        f"{count:,} rows of 1 KiB, cold",
        [
            *takes_anew(store.path, array.shape, out),
            preadv(store, third, reach=6),
            fancy(array, reach=20, told="random rows of 1 KiB, from the disk"),
        ],
        partial(indices, count=count, rows=len(array)),
        size=KIB,
        before=store.evict,
        cold=True,
        note="np.memmap reads as far around each as the readahead goes.",
    )
    span = lab.sized(1024)
    store.warm(span)
    mapped = yammap.MappedArray(store.path, "<u2", array.shape)
    yield Race(
        f"{count:,} rows of 1 KiB, warm",
        [
            *takes(mapped, out),
            np_take(array, other, reach=1, told="random rows of 1 KiB, from memory"),
            fancy(array, reach=1),
        ],
        partial(indices, count=count, rows=span // KIB),
        size=KIB,
        rounds=41,
        note="Most of it is waiting for memory, which all of them do.",
    )


def of_elevations(lab: Lab) -> Race:
    """Return the race on an elevation model that matplotlib ships: small, and in memory."""
    sample = Path(mpl.get_data_path(), "sample_data", "jacksboro_fault_dem.npz")
    elevation = np.load(sample)["elevation"]
    path = lab.new()
    elevation.tofile(path)
    memmap = np.memmap(path, elevation.dtype, "r", shape=elevation.shape)
    out, other = (np.ones((1000, elevation.shape[1]), elevation.dtype) for _ in range(2))
    mapped = yammap.MappedArray(path, elevation.dtype, elevation.shape)
    return Race(
        "1000 rows of matplotlib's elevation model, warm",
        [take(mapped, out), np_take(memmap, other), fancy(memmap)],
        partial(indices, count=1000, rows=len(elevation)),
        size=elevation[0].nbytes,
        rounds=41,
    )


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    yield from of_big(lab)
    yield of_elevations(lab)
