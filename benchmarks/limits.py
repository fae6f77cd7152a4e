"""Records and scans with less memory than the file has: in a memory cgroup.

Each reader has a process of its own: ``python -m yammap._bench.limits TASK``, as JSON.
Where this process may make no cgroups of version 1, the scenario has no races.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yammap

from . import scan
from ._fresh import can_limit, fresh, limited
from ._lab import KIB, MIB, Lab, Store, positions
from ._meter import Meter
from ._race import Contender, Measured, Race
from ._readers import AS_GOOD, CACHING, with_words

PAGE = os.sysconf("SC_PAGESIZE")
LIMITS = 128, 256, 512  # MiB
LEAST = 96 * MIB  # an interpreter with NumPy, and the records of a call
# Records a call, and their bytes: 50,000 of 4 KiB would not fit into the least limit.
CALLS = {5_000: 4 * KIB, 50_000: KIB}
COUNT = 50_000
EXPONENT = 1.1  # of Zipf's law: the k-th record is asked for in proportion to k ** -1.1
SCATTER = 2_654_435_761  # a prime, that puts neighbours of the law far from each other
AHEAD = {"uniform": 3.0, "Zipf": 1.0}  # times as fast as a loop of preadv
MOST = 1.2  # bytes read, times those of the pages that are needed

Offsets = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What a process is to do: `count` records of a file's first `span` bytes."""

    way: str
    path: str
    span: int
    size: int
    batch: int
    count: int
    law: str
    number: int

    def offsets(self) -> Offsets:
        """Return where the records of the round begin: at multiples of their size."""
        if self.law == "uniform":
            starts: Offsets
            starts = positions(self.number, self.count, self.span, self.size, self.size)
            return starts
        rows, tail = self.span // self.size, 1 - EXPONENT
        drawn = np.random.default_rng(self.number).random(self.count)
        # The continuous law between 1 and the number of records, turned round.
        rank = (1 - drawn * (1 - rows**tail)) ** (1 / tail)
        scattered: Offsets = rank.astype(np.int64) * SCATTER % rows * self.size
        return scattered

    def needed(self) -> float:
        """Return the bytes that a record needs of the disk, if each page is read once."""
        touched: Any = np.unique(self.offsets() // PAGE)
        return float(len(touched)) * max(self.size, PAGE) / self.count


def preadv(task: Task, parts: Sequence[Offsets], out: NDArray[np.uint8]) -> None:
    """Read each record by a system call."""
    with open(task.path, "rb", buffering=0) as file:
        fd = file.fileno()
        for part in parts:
            for row, offset in zip(out, part.tolist(), strict=False):
                os.preadv(fd, [row], offset)


def gather(
    task: Task, parts: Sequence[Offsets], out: NDArray[np.uint8], **words: Any
) -> None:
    """Read `batch` records a call."""
    with yammap.open(task.path) as m:
        for part in parts:
            m.gather(part, task.size, out=out[: len(part)], **words)


GATHER = "yammap: m.gather(offsets, n, out)"
PREADV = "os.preadv(fd, [out[i]], j)"
WAYS: dict[str, Callable[[Task, Sequence[Offsets], NDArray[np.uint8]], None]] = {
    **{with_words(GATHER, words): partial(gather, **words) for words in CACHING},
    PREADV: preadv,
}


def measure(task: Task) -> dict[str, Any]:
    """Do a task, and return what it took."""
    offsets, out = task.offsets(), np.ones((task.batch, task.size), np.uint8)
    parts = np.split(offsets, range(task.batch, task.count, task.batch))
    meter = Meter()
    WAYS[task.way](task, parts, out)
    spent = meter.spent()
    last = out[: len(parts[-1])].reshape(-1).view(np.uint64)
    return {**spent, "result": int(np.bitwise_xor.reduce(last))}


def measured(task: Task, limit: int) -> Measured:
    """Have a task done in a process of its own."""
    return fresh(__name__, json.dumps(asdict(task)), limit=limit)


def contenders(law: str, limit: int) -> Iterator[Contender]:
    """Yield all ways, yammap's default first."""
    for way in WAYS:

        def job(task: Task, way: str = way) -> Measured:
            return measured(replace(task, way=way), limit)

        others = AHEAD[law] if way == PREADV else AS_GOOD
        yield Contender(
            way,
            job,
            lambda work: work[0],
            reach=None if way == GATHER else others,
        )


@dataclass(frozen=True)
class Round(Sequence[Task]):
    """The task of a round, that counts as many operations as it has records."""

    task: Task

    def __len__(self) -> int:
        return self.task.count

    def __getitem__(self, index: Any) -> Any:
        return self if isinstance(index, slice) else self.task


def records(lab: Lab, law: str, batch: int, size: int) -> Iterator[Race]:
    """Yield a point for each limit."""
    batch, count = lab.scaled(batch, 16), lab.scaled(COUNT, 64)
    span = lab.sized(4096)
    task = Task(GATHER, str(lab.big.path), span, size, batch, count, law, 0)
    for limit in sorted({max(lab.sized(mebibytes), LEAST) for mebibytes in LIMITS}):
        yield Race(
            f"records of {size // KIB} KiB under a memory limit, {batch:,} a call, {law}",
            list(contenders(law, limit)),
            work=lambda number: Round(replace(task, number=number)),
            size=size,
            before=lab.big.evict,
            rounds=3,
            cold=True,
            axis="MiB of memory",
            x=limit / MIB,
            limits={"read": MOST * task.needed()},
            note=f"{count:,} records over the first {span // MIB:,} MiB of the file, each "
            "contender in a new process in a cgroup with the limit. Of Zipf's law the "
            f"exponent is {EXPONENT}.",
        )


def dd(store: Store, size: int, limit: int) -> Measured:
    """Let dd read past the page cache; its own clock counts."""
    command = ["dd", f"if={store.path}", "of=/dev/null", "iflag=direct", "bs=1M"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with limited(limit) as words:
        done = subprocess.run(
            [*words, *command, f"count={size // MIB}"],
            env={**os.environ, "LC_ALL": "C"},
            check=True,
            capture_output=True,
            text=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = re.search(r"copied, ([\d.e-]+) s", done.stderr)
    assert found, done.stderr
    return Measured(float(found[1]), processor=busy, read=size)


def scans(lab: Lab) -> Race:
    """Return the race over a file that has eight times the limit."""
    size = lab.sized(4096)
    limit = max(size // 8, LEAST)
    race = scan.race(
        lab.big,
        size,
        title=f"scan of {size // MIB:,} MiB in {limit // MIB} MiB of memory, cold",
        rounds=5,
        limit=limit,
        note="yammap and the other scans look at every byte, dd at none.",
    )
    direct = Contender(
        "dd iflag=direct bs=1M", lambda _: dd(lab.big, size, limit), reach=0.95
    )
    try:
        direct.job(None)
    except subprocess.CalledProcessError:  # not every filesystem has O_DIRECT
        return race
    return replace(race, contenders=[*race.contenders, direct])


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    if not can_limit():
        return
    for law in AHEAD:
        for batch, size in CALLS.items():
            yield from records(lab, law, batch, size)
    yield scans(lab)


if __name__ == "__main__":
    print(json.dumps(measure(Task(**json.loads(sys.argv[1])))))
