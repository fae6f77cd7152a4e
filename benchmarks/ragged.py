"""Records of different lengths: 100 to 4000 bytes, and the definitions of real source."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ._lab import Lab, Store, open_store, positions
from ._race import Contender, Race
from ._readers import Terms, listed

_Work = NDArray[np.int64]  # offset and length of each record
_Pairs = Sequence[tuple[int, int]]
_Bytes = NDArray[np.uint8]


def gather(store: Store) -> Contender:
    """Read all records in one call."""

    def job(work: _Work) -> _Bytes:
        values: _Bytes = store.m.gather_ragged(work[:, 0], work[:, 1])[0]
        return values

    return Contender("yammap: m.gather_ragged(offsets, lengths)", job)


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
            gather(store),
            preadv(store, reach=4),
            memmap(store, most=few, reach=20),
            slices(store, most=few),
        ],
        work,
        size=2050,
        before=store.evict,
        cold=True,
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
            [gather(store), preadv(store), memmap(store), slices(store)],
            lambda number: np.random.default_rng(number).permutation(parts),
            size=int(parts[:, 1].mean()),
        )
