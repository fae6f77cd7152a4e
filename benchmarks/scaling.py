"""How it goes on: against batch size, size of the file, threads, and bytes scanned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from . import scan
from ._lab import KIB, MIB, Lab, positions
from ._race import Contender, Race
from ._readers import gather, memmap, preadv, preadv_pool, slices

SIZE = 2 * KIB
COUNT = 4096


def cold(
    lab: Lab, title: str, axis: str, x: float, span: int, *contenders: Contender
) -> Race:
    """Return one point of a curve of cold records."""
    count = lab.scaled(COUNT, 16)
    work = partial(positions, count=count, span=span, size=SIZE)
    before = lab.big.evict
    return Race(title, contenders, work, SIZE, before, 5, axis=axis, x=x, cold=True)


def batches(lab: Lab) -> Iterator[Race]:
    """Yield the points for records a call."""
    store, shape = lab.big, (lab.scaled(COUNT, 16), SIZE)
    for batch in 1, 4, 16, 64, 256, 1024, 4096:
        yield cold(
            lab,
            "cold records by records a call",
            "records a call",
            batch,
            store.size,
            gather(store, shape, batch, most=max(batch, shape[0] // 8)),
            preadv(store, shape, most=shape[0] // 8),
            memmap(store, shape, most=lab.scaled(64, 8)),
        )


def file_sizes(lab: Lab) -> Iterator[Race]:
    """Yield the points for the size of the file: of its part that is read."""
    store, shape = lab.big, (lab.scaled(COUNT, 16), SIZE)
    for span in 64, 256, 1024, 4096, 8192:
        span = lab.sized(span)
        yield cold(
            lab,
            "cold records by MiB of the file",
            "MiB",
            span / MIB,
            span,
            gather(store, shape, 1024),
            preadv(store, shape, most=shape[0] // 4),
            slices(store.random, shape, ", MADV_RANDOM", most=shape[0] // 4),
            memmap(store, shape, most=lab.scaled(64, 8)),
        )


def threads(lab: Lab) -> Iterator[Race]:
    """Yield the points for threads: of gather itself, and of a pool of reads."""
    store, shape = lab.big, (lab.scaled(COUNT, 16), SIZE)
    for count in 1, 2, 4, 8:
        yield cold(
            lab,
            "cold records by threads",
            "threads",
            count,
            store.size,
            replace(
                gather(store, shape, 1024, {"threads": count}),
                what="yammap: m.gather(offsets, n, out, threads=as many)",
            ),
            replace(preadv_pool(store, shape, count), what="os.preadv in as many threads"),
        )


def scans(lab: Lab) -> Iterator[Race]:
    """Yield the points for bytes scanned, of which the memory is of interest."""
    for size in 64, 256, 1024, 2048, 4096:
        size = lab.sized(size)
        yield scan.race(
            lab.big,
            size,
            title="memory of a scan by MiB",
            axis="MiB scanned",
            x=size / MIB,
            rounds=2,
        )


def races(lab: Lab) -> Iterator[Race]:
    """Yield all curves, point by point."""
    yield from batches(lab)
    yield from file_sizes(lab)
    yield from threads(lab)
    yield from scans(lab)
