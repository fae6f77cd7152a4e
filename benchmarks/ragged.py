"""Records of different lengths: 100 to 4000 bytes, and the definitions of real source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ._lab import Lab, Store, blocks, open_store, positions
from ._race import Contender, Race
from ._readers import AS_GOOD, CACHING, Terms, Words, listed, with_words

_Work = NDArray[np.int64]  # offset and length of each record
_Pairs = Sequence[tuple[int, int]]
_Bytes = NDArray[np.uint8]


def gather(store: Store, words: Words = CACHING[0], **terms: Unpack[Terms]) -> Contender:
    """Read all records in one call."""

    def job(work: _Work) -> _Bytes:
        values: _Bytes = store.m.gather_ragged(work[:, 0], work[:, 1], **words)[0]
        return values

    what = with_words("yammap: m.gather_ragged(offsets, lengths)", words)
    return Contender(what, job, **terms)


def gathers(store: Store) -> Iterator[Contender]:
    """Read by the default, and by all that a caller may say of the page cache."""
    yield gather(store)
    for words in CACHING[1:]:
        yield gather(store, words, reach=AS_GOOD)


def preadv(store: Store, **terms: Unpack[Terms]) -> Contender:
    """Read each record by a system call, into its place."""
    fd = store.fd

    def job(pairs: _Pairs) -> _Bytes:
        out = np.empty(sum(length for _, length in pairs), np.uint8)
        rest = out.data
        for offset, length in pairs:
            os.preadv(fd, [rest[:length]], offset)
            rest = rest[length:]
        return out

    return Contender("os.preadv(fd, [out[i:j]], offset)", job, listed, **terms)


def preadv_pool(store: Store, threads: int, **terms: Unpack[Terms]) -> Contender:
    """Read each record by a system call, into its place, in a pool of threads."""
    fd = store.fd

    def job(work: _Work) -> _Bytes:
        ends = np.cumsum(work[:, 1])
        rest = np.empty(ends[-1], np.uint8).data
        places = np.stack([work[:, 0], ends - work[:, 1], ends], axis=1).tolist()

        def part(first: int) -> None:
            for offset, start, end in places[first::threads]:
                os.preadv(fd, [rest[start:end]], offset)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, range(threads)))
        return np.asarray(rest)

    return Contender(f"os.preadv in {threads} threads", job, **terms)


def memmap(store: Store, **terms: Unpack[Terms]) -> Contender:
    """Join slices of an np.memmap."""
    array = store.memmap

    def job(pairs: _Pairs) -> _Bytes:
        return np.concatenate([array[offset : offset + length] for offset, length in pairs])

    return Contender("np.memmap: np.concatenate of slices", job, listed, **terms)


def slices(store: Store, **terms: Unpack[Terms]) -> Contender:
    """Join slices of an `mmap`."""
    mapping = store.mm

    def job(pairs: _Pairs) -> bytes:
        return b"".join([mapping[offset : offset + length] for offset, length in pairs])

    return Contender("mmap: b''.join of slices", job, listed, **terms)


def cold(lab: Lab) -> Race:
    """Return the race out of memory."""
    store, count, few = lab.big, lab.scaled(8192, 64), lab.scaled(128, 16)

    def work(number: int) -> _Work:
        lengths = np.random.default_rng(number).integers(100, 4001, count)
        return np.stack([positions(number, count, store.size, 4000), lengths], axis=1)

    return Race(
        "ragged records of 100 - 4000 B, cold",
        [
            *gathers(store),
            preadv_pool(store, 64, reach=1),
            preadv(
                store, reach=6, told="ragged records of 100 to 4,000 bytes, from the disk"
            ),
            memmap(store, most=few, reach=20),
            slices(store, most=few),
        ],
        work,
        size=2050,
        before=store.evict,
        cold=True,
        limits={"read": 1.01 * blocks(*work(0).T)},
    )


def definitions(text: bytes) -> _Work:
    """Return where each definition and class of some source begins, and its length."""
    starts = [match.start() for match in re.finditer(rb"^ *(?:def|class) ", text, re.M)]
    return np.stack([starts, np.diff([*starts, len(text)])], axis=1)


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    yield cold(lab)
    path, text = lab.new(), b"".join(lab.texts)
    path.write_bytes(text)
    parts = definitions(text)
    with open_store(path) as store:
        store.warm(store.size)
        yield Race(
            "definitions of the standard library, shuffled, warm",
            [*gathers(store), preadv(store), memmap(store), slices(store)],
            lambda number: np.random.default_rng(number).permutation(parts),
            size=int(parts[:, 1].mean()),
        )
