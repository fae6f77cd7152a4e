"""How long another Python thread is held up while records come from the disk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

from ._lab import KIB, Lab, positions
from ._race import Contender, Measured, Race
from ._readers import gather, preadv, slices


class Watch(threading.Thread):
    """A thread that does nothing but look at the clock, and knows its longest gap."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._begun = threading.Event()
        self._over = False

    def run(self) -> None:
        """Look at the clock until told to stop."""
        self._begun.set()
        last = perf_counter()
        while not self._over:
            now = perf_counter()
            self.longest = max(self.longest, now - last)
            last = now

    def __enter__(self) -> Watch:
        self.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self.join()


def watched(contender: Contender) -> Contender:
    """Return the contender with another thread's longest stall in place of its time."""

    def job(work: Any) -> Measured:
        with Watch() as watch:
            result = contender.job(work)
        return Measured(watch.longest * len(work), result)

    return replace(contender, job=job)


def races(lab: Lab) -> Iterator[Race]:
    """Yield the race of this scenario."""
    store, shape = lab.big, (lab.scaled(4096, 64), 4 * KIB)
    few = lab.scaled(128, 16)
    ways = [
        gather(store, shape, shape[0]),
        slices(store.mm, shape, most=few),
        slices(store.random, shape, ", MADV_RANDOM"),
        preadv(store, shape),
    ]
    yield Race(
        "another thread's longest stall during a cold gather",
        [watched(way) for way in ways],
        work=partial(positions, count=shape[0], span=store.size, size=shape[1]),
        before=store.evict,
        cold=True,
        limits={"seconds": 5e-3},
        note="The interpreter's switch interval is 5 ms: a thread that keeps the GIL, as a "
        "slice does while it waits for the disk, is asked for it no sooner.",
    )
