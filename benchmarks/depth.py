"""Records out of memory: what a gather gets of what the device can do, which fio tells.

fio asks with O_DIRECT for pages of the same file, as many at a time as its depth says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._lab import KIB, Lab, Store, blocks, open_store, positions
from ._race import Contender, Measured, Race
from ._readers import batches, gathers, preadv, preadv_pool, slices

Offsets = NDArray[np.int64]
Rows = NDArray[np.uint8]
PAGE = 4 * KIB
DEPTHS = 32, 64, 128, 256
USUAL = 64  # the depth whose processor time counts
FRUGAL = 1 / 0.8
# Records a call, and the part of the rate of each depth that is to be reached.
REACH = {64: 0.85, 1024: 0.97, 16384: 0.98}
# Bytes of a record, and what its offset is a multiple of.
SIZES = {64: 64, 512: 512, KIB: KIB, 2050: 2, 64 * KIB: PAGE}
WHY = """\
fio always has as many requests under way as its depth says, and checks nothing. A batch \
has none before its first record, fewer towards its last, and hands out what it read."""


def fio(store: Store, engine: str, depth: int, count: int) -> Measured:
    """Let fio read random pages; its own clocks count, that of its processor as well."""
    command = ["fio", "--name=depth", f"--filename={store.path}", "--readonly"]
    command += ["--rw=randread", f"--bs={PAGE}", "--direct=1", f"--iodepth={depth}"]
    command += [f"--ioengine={engine}", f"--io_size={count * PAGE}", "--randrepeat=0"]
    command += ["--norandommap", "--output-format=json"]
    done = subprocess.run(command, capture_output=True, check=True)
    job: dict[str, Any] = json.loads(done.stdout)["jobs"][0]
    read = job["read"]
    each = count / read["total_ios"]  # it may have read one more, or one less
    busy = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] / 1000
    return Measured(
        count / read["iops"], processor=busy * each, read=read["io_bytes"] * each
    )


def fio_engine(store: Store) -> str | None:
    """Return what fio can use here; not every filesystem has O_DIRECT."""
    for engine in ("io_uring", "libaio") if shutil.which("fio") else ():
        try:
            fio(store, engine, 1, 1)
        except subprocess.CalledProcessError:
            continue
        return engine
    return None


def engines(
    store: Store, engine: str | None, reach: float, told: str
) -> Iterator[Contender]:
    """Yield fio at each depth: who is to have a part of the best has it of all of them."""
    if not engine:
        return
    for depth in DEPTHS:
        yield Contender(
            f"fio: {engine}, O_DIRECT, {depth} deep",
            partial(fio, store, engine, depth),
            len,
            reach=reach,
            told=told if depth == USUAL else "",
            frugal=FRUGAL if depth == USUAL else None,
        )


def pages(lab: Lab) -> Iterator[Race]:
    """Yield a race for few pages a call, and for many."""
    store, few = lab.big, lab.scaled(128, 8)
    engine = fio_engine(store)
    for batch, reach in REACH.items():
        shape = lab.scaled(32768, 64), PAGE
        told = f"random pages from the disk, {batch:,} a call" if batch > 64 else ""
        yield Race(
            f"random pages, {batch:,} a call, cold",
            [
                *gathers(store, shape, batch),
                batches(store, shape, batch),
                *engines(store, engine, reach, told),
                preadv(store, shape, most=lab.scaled(4096, 16)),
                preadv_pool(store, shape, 64),
                slices(store.random, shape, ", MADV_RANDOM", most=lab.scaled(4096, 16)),
                slices(store.mm, shape, most=few),
            ],
            work=partial(positions, count=shape[0], span=store.size, size=PAGE, step=PAGE),
            size=PAGE,
            before=store.evict,
            cold=True,
            why=WHY,
        )


def sizes(lab: Lab) -> Iterator[Race]:
    """Yield a point for each size of a record, 1,024 a call."""
    store = lab.big
    for size, step in SIZES.items():
        shape = lab.scaled(8192, 64), size
        work = partial(positions, count=shape[0], span=store.size, size=size, step=step)
        yield Race(
            "cold records by bytes of a record",
            [
                *gathers(store, shape, 1024),
                preadv_pool(store, shape, 64, reach=1),
                preadv(store, shape, most=lab.scaled(2048, 16)),
            ],
            work=work,
            size=size,
            before=store.evict,
            cold=True,
            axis="bytes of a record",
            x=size,
            limits={"read": 1.01 * blocks(work(0), size)},
            note="2,050 B begin anywhere at an even offset, 64 KiB at any page, and the "
            "others at a multiple of their size.",
        )


def scattered(lab: Lab) -> Iterator[Race]:
    """Yield the race that writes, over parts of pages: what is around them must be read.

    The file gets the bytes that it has.
    """
    lab.big.evict()  # its mappings would keep pages in memory
    count = lab.scaled(50_000, 64)

    def with_bytes(offsets: Offsets) -> tuple[Offsets, Rows]:
        return offsets, store.m.gather(offsets, KIB)

    def scatter(work: tuple[Offsets, Rows]) -> None:
        store.m.scatter(*work)

    def pwrite(work: tuple[Offsets, Rows]) -> None:
        for offset, row in zip(work[0].tolist(), work[1], strict=True):
            os.pwrite(store.fd, row.data, offset)

    with open_store(lab.big.path, writable=True) as store:
        yield Race(
            f"{count:,} records of 1 KiB written over, cold",
            [
                Contender("yammap: m.scatter(offsets, records)", scatter, with_bytes),
                Contender("os.pwrite(fd, records[i], j)", pwrite, with_bytes, reach=3),
            ],
            work=partial(positions, count=count, span=store.size, size=KIB, step=KIB),
            size=KIB,
            before=store.evict,
            rounds=5,
            cold=True,
            note="Into the page cache: none of them waits for the disk to have written.",
        )


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    yield from pages(lab)
    yield from sizes(lab)
    yield from scattered(lab)
