"""Ways to read records at random offsets into the rows of an array that exists.

`shape` is that of the array: the most records of a round, and the bytes of each.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from ._lab import Store
from ._race import Contender

__all__ = [
    "AS_GOOD",
    "CACHING",
    "Terms",
    "Words",
    "batches",
    "gather",
    "gathers",
    "listed",
    "memmap",
    "preadv",
    "preadv_pool",
    "slices",
    "with_words",
]

Shape = tuple[int, int]
Words = Mapping[str, Any]

# What a caller may say of the page cache. The default is the first one, and is to take at
# most a ninth more than the better one of the others.
CACHING: tuple[Words, ...] = {}, {"cached": True}, {"cached": False}
AS_GOOD = 0.9


class Terms(TypedDict, total=False):
    most: int | None
    reach: float | None
    told: str
    frugal: float | None
    within: float | None


def with_words(call: str, words: Words) -> str:
    """Return a call as it is written with some words of the caller."""
    given = "".join(f", {name}={value}" for name, value in words.items())
    return f"{call.removesuffix(')')}{given})"


def listed(work: NDArray[Any]) -> list[Any]:
    """Return what a loop in Python goes over faster than over an array."""
    values: list[Any] = np.asarray(work).tolist()
    return values


def target(shape: Shape) -> NDArray[np.uint8]:
    """Return an array whose pages are there."""
    return np.ones(shape, np.uint8)


def gather(
    store: Store,
    shape: Shape,
    batch: int,
    words: Words = CACHING[0],
    **terms: Unpack[Terms],
) -> Contender:
    """Read `batch` records a call."""
    out = target(shape)

    def job(offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        for i in range(0, len(offsets), batch):
            part = offsets[i : i + batch]
            store.m.gather(part, shape[1], out=out[i : i + len(part)], **words)
        return out[: len(offsets)]

    what = with_words("yammap: m.gather(offsets, n, out)", words)
    return Contender(what, job, **terms)


def gathers(store: Store, shape: Shape, batch: int) -> Iterator[Contender]:
    """Read by the default, and by all that a caller may say of the page cache."""
    yield gather(store, shape, batch)
    for words in CACHING[1:]:
        yield gather(store, shape, batch, words, reach=AS_GOOD)


def batches(
    store: Store,
    shape: Shape,
    batch: int,
    words: Words = CACHING[0],
    **terms: Unpack[Terms],
) -> Contender:
    """Read `batch` records a batch, the next ones while the last are used."""
    out = target(shape)

    def job(offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        starts = range(0, len(offsets), batch)
        parts = (offsets[i : i + batch] for i in starts)
        rows = [out[i : i + batch] for i in starts]
        rows += [out[:batch]] * 2  # there must be one more than are under way
        for _ in store.m.batches(parts, shape[1], out=rows, **words):
            pass
        return out[: len(offsets)]

    what = with_words("yammap: m.batches(parts, n, out=rows)", words)
    return Contender(what, job, **terms)


def memmap(
    store: Store,
    shape: Shape,
    dtype: np.dtype[Any] = np.dtype(np.uint8),  # noqa: B008
    **terms: Unpack[Terms],
) -> Contender:
    """Slice an np.memmap of elements of `dtype`."""
    array, out = store.memmap.view(dtype), target(shape)
    rows, count = list(out.view(dtype)), shape[1] // dtype.itemsize

    def job(starts: Sequence[int]) -> NDArray[np.uint8]:
        for row, start in zip(rows, starts, strict=False):
            row[:] = array[start : start + count]
        return out[: len(starts)]

    def form(offsets: NDArray[np.int64]) -> list[int]:
        return listed(offsets // dtype.itemsize)

    return Contender("np.memmap: out[i] = a[j:k]", job, form, **terms)


def slices(
    mapping: mmap.mmap, shape: Shape, how: str = "", **terms: Unpack[Terms]
) -> Contender:
    """Slice an `mmap`, which makes bytes, and copy those."""
    out = target(shape)
    rows, size = [memoryview(row) for row in out], shape[1]

    def job(starts: Sequence[int]) -> NDArray[np.uint8]:
        for row, start in zip(rows, starts, strict=False):
            row[:] = mapping[start : start + size]
        return out[: len(starts)]

    return Contender(f"mmap: out[i] = mm[j:k]{how}", job, listed, **terms)


def preadv(store: Store, shape: Shape, **terms: Unpack[Terms]) -> Contender:
    """Read each record by a system call."""
    out = target(shape)
    rows, fd, call = [[memoryview(row)] for row in out], store.fd, os.preadv

    def job(starts: Sequence[int]) -> NDArray[np.uint8]:
        for row, start in zip(rows, starts, strict=False):
            call(fd, row, start)
        return out[: len(starts)]

    return Contender("os.preadv(fd, [out[i]], j)", job, listed, **terms)


def preadv_pool(
    store: Store, shape: Shape, threads: int, **terms: Unpack[Terms]
) -> Contender:
    """Read each record by a system call, in a pool of threads."""
    out = target(shape)
    rows, fd = [[memoryview(row)] for row in out], store.fd

    def job(starts: Sequence[int]) -> NDArray[np.uint8]:
        def part(first: int) -> None:
            pairs = zip(rows[first::threads], starts[first::threads], strict=False)
            for row, start in pairs:
                os.preadv(fd, row, start)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, range(threads)))
        return out[: len(starts)]

    return Contender(f"os.preadv in {threads} threads", job, listed, **terms)
