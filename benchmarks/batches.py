"""A training loop: the next batch comes from the disk while this one is worked on.

The work is a fixed amount of arithmetic, without the GIL, that took 20 ms when nothing else
ran. The ideal is whatever takes longer alone, the work or the reading. And how long another
Python thread is held up meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from time import perf_counter, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yammap

from . import ragged
from ._lab import KIB, Lab, Store, positions
from ._race import Contender, Measured, Race
from ._readers import CACHING, gathers, preadv, with_words

SIZE, BATCH = 4 * KIB, 256
WORK = 20e-3  # seconds a batch
IDEAL = 1 / 1.1  # part of its rate that is to be reached
TICK = 1e-3
STALL = 5e-3  # how much longer than a loop of preadv may a batch call hold up a thread

Offsets = NDArray[np.int64]
Rows = NDArray[np.uint8]
Batches = Callable[[Offsets], Iterable[Rows]]


class Work:
    """A fixed amount of arithmetic."""

    def __init__(self, seconds: float) -> None:
        self._values = np.ones(1 << 16, np.float32)
        self._times = 100
        best = min(self._timed() for _ in range(5))
        self._times = max(1, round(self._times * seconds / best))

    def _timed(self) -> float:
        start = perf_counter()
        self()
        return perf_counter() - start

    def __call__(self) -> None:
        """Do it, without the GIL."""
        for _ in range(self._times):
            np.sqrt(self._values, out=self._values)


def ahead(store: Store, work: Offsets, **words: Any) -> Iterator[Rows]:
    """Let the mapping read the next two batches while one is worked on."""
    out = list(np.ones((3, BATCH, SIZE), np.uint8))
    yield from store.m.batches(work, SIZE, depth=2, out=out, **words)


def of_handle(store: Store, work: Offsets) -> Iterator[Rows]:
    """Let an array of rows do so."""
    array = yammap.MappedArray(store.path, np.uint8, (store.size // SIZE, SIZE))
    out = list(np.ones((3, BATCH, SIZE), np.uint8))
    yield from array.batches(work // SIZE, depth=2, out=out)


def gathered(store: Store, work: Offsets, **words: Any) -> Iterator[Rows]:
    """Read a batch when it is asked for."""
    out = np.ones((BATCH, SIZE), np.uint8)
    for offsets in work:
        yield store.m.gather(offsets, SIZE, out=out, **words)


def in_thread(store: Store, work: Offsets) -> Iterator[Rows]:
    """Read a batch in a thread while the one before is worked on."""
    outs = np.ones((2, BATCH, SIZE), np.uint8)
    with ThreadPoolExecutor(1) as pool:

        def begin(i: int) -> Any:
            return pool.submit(store.m.gather, work[i], SIZE, out=outs[i % 2])

        under_way = begin(0)
        for i in range(1, len(work)):
            rows = under_way.result()
            under_way = begin(i)
            yield rows
        yield under_way.result()


def by_preadv(store: Store) -> Batches:
    """Read a batch by a loop of system calls when it is asked for."""
    way = preadv(store, (BATCH, SIZE))

    def batches(work: Offsets) -> Iterator[Rows]:
        for offsets in work:
            rows: Any = way.job(offsets.tolist())
            yield rows

    return batches


def ways(store: Store) -> Iterator[tuple[str, Batches]]:
    """Yield what gives the batches, yammap's way first."""
    for words in CACHING:
        what = with_words("yammap: m.batches(parts, n, out=rows)", words)
        yield what, partial(ahead, store, **words)
    yield "yammap: handle.batches(parts, out=rows)", partial(of_handle, store)
    yield "yammap: m.gather(offsets, n, out)", partial(gathered, store)
    yield "yammap: m.gather in a thread, a batch ahead", partial(in_thread, store)
    yield "os.preadv(fd, [out[i]], j)", by_preadv(store)


def loop(what: str, batches: Batches, work: Work, **terms: Any) -> Contender:
    """Work on each batch."""

    def job(offsets: Offsets) -> Rows | None:
        last = None
        for rows in batches(offsets):
            last = rows
            work()
        return last

    return Contender(what, job, **terms)


def ideal(batches: Batches, work: Work) -> Contender:
    """Read everything, then do all the work, and count what took longer."""

    def job(offsets: Offsets) -> Measured:
        start = perf_counter()
        for _ in batches(offsets):
            pass
        middle = perf_counter()
        for _ in offsets:
            work()
        return Measured(max(middle - start, perf_counter() - middle))

    return Contender("ideal: max(work, reading by gather)", job, reach=IDEAL)


class Ticks(threading.Thread):
    """A thread that wakes up each millisecond, and notes how late it was."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[float] = []
        self._begun, self._over = threading.Event(), threading.Event()

    def run(self) -> None:
        """Sleep and look at the clock until told to stop."""
        self._begun.set()
        while not self._over.is_set():
            due = perf_counter() + TICK
            sleep(TICK)
            self._late.append(perf_counter() - due)

    def __enter__(self) -> Ticks:
        self.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def percentile(self) -> float:
        """Return how late it was at worst, except for a thousandth of the ticks."""
        return float(np.quantile(self._late, 0.999))


def watched(contender: Contender) -> Contender:
    """Return the contender with another thread's stall in place of its time."""

    def job(work: Any) -> Measured:
        with Ticks() as ticks:
            result = contender.job(work)
        return Measured(ticks.percentile() * len(work), result)

    within = STALL if contender.what.startswith("os.preadv(") else None
    return replace(contender, job=job, within=within, reach=None, told="")


def work_of(number: int, count: int, span: int) -> Offsets:
    """Return the offsets of a round's batches, a row for each."""
    return positions(number, count * BATCH, span, SIZE, SIZE).reshape(count, BATCH)


def stalls(lab: Lab, loops: list[Contender]) -> Iterator[Race]:
    """Yield a race for each kind of call that may hold up another thread."""
    store, shape = lab.big, (lab.scaled(65536, 64), SIZE)
    records = ragged.cold(lab)
    kept = [way for way in records.contenders if way.most is None]
    batch = lab.scaled(16384, 64)
    works: dict[str, tuple[list[Contender], Callable[[int], Any]]] = {
        "a training loop": (loops, partial(work_of, count=steps(lab), span=store.size)),
        f"gathers of {batch:,} pages": (
            [*gathers(store, shape, batch), preadv(store, shape)],
            partial(positions, count=shape[0], span=store.size, size=SIZE, step=SIZE),
        ),
        "ragged gathers": (kept, records.work),
    }
    for what, (contenders, work) in works.items():
        yield Race(
            f"another thread's stalls during {what}, 99.9th percentile",
            [watched(way) for way in contenders],
            work=work,
            before=store.evict,
            rounds=5,
            cold=True,
            note="The other thread sleeps for a millisecond at a time; a stall is how much "
            "later than that it runs. The longest counts where it woke up less than a "
            "thousand times.",
        )


def steps(lab: Lab) -> int:
    """Return how many batches a loop has."""
    return lab.scaled(64, 2)


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    store, work = lab.big, Work(lab.scale * WORK if lab.scale < 0.01 else WORK)
    loops = [loop(what, batches, work) for what, batches in ways(store)]
    yield Race(
        f"training loop of {WORK * 1000:g} ms a batch of {BATCH} pages, cold",
        [*loops, ideal(partial(gathered, store), work)],
        work=partial(work_of, count=steps(lab), span=store.size),
        size=BATCH * SIZE,
        before=store.evict,
        rounds=7,
        cold=True,
        note="Time, processor and bytes are those of a batch, the work included.",
    )
    yield from stalls(lab, loops)
