"""Pages out of memory: what a gather gets of what the device can do, which fio tells.

fio asks with O_DIRECT for 64 pages at a time, which is the most it can be asked for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any

from ._lab import KIB, Lab, Store, positions
from ._race import Contender, Measured, Race
from ._readers import gather, preadv, preadv_pool, slices

PAGE = 4 * KIB
DEPTH = 64


def fio(store: Store, engine: str, count: int) -> Measured:
    """Let fio read random pages; its own clock counts."""
    command = ["fio", "--name=depth", f"--filename={store.path}", "--readonly"]
    command += ["--rw=randread", f"--bs={PAGE}", "--direct=1", f"--iodepth={DEPTH}"]
    command += [f"--ioengine={engine}", f"--io_size={count * PAGE}", "--randrepeat=0"]
    command += ["--norandommap", "--output-format=json"]
    done = subprocess.run(command, capture_output=True, check=True)
    read: dict[str, Any] = json.loads(done.stdout)["jobs"][0]["read"]
    return Measured(read["total_ios"] / read["iops"] * count / read["total_ios"])


def engines(store: Store) -> Iterator[Contender]:
    """Yield fio with what it can use here; not every filesystem has O_DIRECT."""
    for engine in ("io_uring", "libaio") if shutil.which("fio") else ():
        try:
            fio(store, engine, 1)
        except subprocess.CalledProcessError:
            continue
        what = f"fio: {engine}, O_DIRECT, {DEPTH} deep"
        yield Contender(what, partial(fio, store, engine), len, reach=0.9)


def races(lab: Lab) -> Iterator[Race]:
    """Yield a race for few records a call, and for many."""
    store, few = lab.big, lab.scaled(128, 8)
    for batch in 64, 1024, 16384:
        shape = lab.scaled(16384, 64), PAGE
        yield Race(
            f"random pages, {batch:,} a call, cold",
            [
                gather(store, shape, batch),
                *engines(store),
                preadv(store, shape, most=lab.scaled(4096, 16)),
                preadv_pool(store, shape, 64),
                slices(store.random, shape, ", MADV_RANDOM", most=lab.scaled(4096, 16)),
                slices(store.mm, shape, most=few),
            ],
            work=partial(positions, count=shape[0], span=store.size, size=PAGE, step=PAGE),
            size=PAGE,
            before=store.evict,
            cold=True,
            note="fio goes past the page cache, and always has 64 requests under way. A "
            "batch has none before its first record and fewer towards its last, and leaves "
            "its pages in the page cache. Where free memory goes back to the host of a "
            "virtual machine, as here, the first touch of each such page took 9 us, in the "
            "time of a read; the 64 buffers of fio are touched once.",
        )
