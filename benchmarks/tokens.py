"""Windows of tokens for training: batches of 64, of the standard library's text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ._lab import TOKEN, Lab, positions
from ._race import Race
from ._readers import gathers, memmap, preadv, slices

BATCH = 64
WINDOW = 1025 * TOKEN.itemsize
TOLD = "random 2 KiB windows of tokens, from"


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario: out of memory, and in it."""
    store = lab.big
    few = lab.scaled(2, 1) * BATCH
    shape = lab.scaled(64, 2) * BATCH, WINDOW
    yield Race(
        "token windows, cold",
        [
            *gathers(store, shape, BATCH),
            memmap(store, shape, TOKEN, most=few, reach=20, told=f"{TOLD} the disk"),
            slices(store.mm, shape, most=few),
            slices(store.random, shape, ", MADV_RANDOM"),
            preadv(store, shape, reach=6),
        ],
        work=partial(positions, count=shape[0], span=store.size, size=WINDOW, step=2),
        size=WINDOW,
        before=store.evict,
        cold=True,
    )
    span = lab.sized(1024)
    store.warm(span)
    yield Race(
        "token windows, warm",
        [
            *gathers(store, shape, BATCH),
            memmap(store, shape, TOKEN, reach=5, told=f"{TOLD} memory"),
            slices(store.mm, shape),
            preadv(store, shape),
        ],
        work=partial(positions, count=shape[0], span=span, size=WINDOW, step=2),
        size=WINDOW,
        rounds=41,
        note="Most of it is waiting for memory, which all of them do.",
    )
