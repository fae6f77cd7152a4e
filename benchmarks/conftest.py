"""What the benchmarks share: the files, opened by each peer, and how a race is timed."""

import mmap
import operator
import os
import random
import statistics
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

import yammap

KIB = 1 << 10
MIB = 1 << 20
WHOLE = 256 * MIB


@dataclass(frozen=True)
class Shape:
    """`count` operations on `size` bytes each, at random offsets below `span`."""

    size: int
    span: int
    count: int
    rounds: int

    def ranges(self):
        """Return each operation's (start, stop), so that no peer has to add them up."""
        last = self.span - self.size
        starts = random.Random(0).choices(range(last + 1), k=self.count)
        return [(start, start + self.size) for start in starts]

    def __str__(self):
        times = f"{self.count} x " if self.count > 1 else ""
        where = f" out of {in_units(self.span)}" if self.span > self.size else ""
        return f"{times}{in_units(self.size)}{where}"


def in_units(count):
    """Return a number of bytes as text: 4096 is ``4 KiB``."""
    for factor, unit in (MIB, "MiB"), (KIB, "KiB"):
        if count >= factor:
            return f"{count // factor} {unit}"
    return f"{count} B"


# Small ones twice: offsets close to each other are in the processor's caches and on few
# pages, offsets all over the file are on a page each.
SHAPES = [
    Shape(16, MIB, count=1000, rounds=200),
    Shape(16, WHOLE, count=1000, rounds=200),
    Shape(4 * KIB, MIB, count=1000, rounds=100),
    Shape(4 * KIB, WHOLE, count=1000, rounds=100),
    Shape(MIB, WHOLE, count=32, rounds=50),
    Shape(WHOLE, WHOLE, count=1, rounds=15),
]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    """Each of the sizes and spans in turn."""
    return request.param


@pytest.fixture(scope="session")
def data():
    """256 MiB of random bytes, in memory for which NumPy asks huge pages."""
    return memoryview(np.random.default_rng(0).integers(0, 256, WHOLE, np.uint8))


@dataclass(frozen=True)
class Peers:
    """One file, as each of them has it open, and `memory` with the same bytes."""

    memory: memoryview
    yammap: yammap.Mmap
    mmap: mmap.mmap
    memmap: np.memmap
    arrow: pa.MemoryMappedFile
    fd: int


@pytest.fixture(scope="module")
def peers(tmp_path_factory, data):
    """A file of `data`, on the disk already, so that no writeback comes in between."""
    path = tmp_path_factory.mktemp("hot") / "hot.bin"
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "w+b"))
        file.write(data)
        os.fsync(file.fileno())
        yield Peers(
            memory=data,
            yammap=stack.enter_context(yammap.open(path, "r+")),
            mmap=stack.enter_context(mmap.mmap(file.fileno(), 0)),
            memmap=np.memmap(path, np.uint8, "r+"),
            arrow=stack.enter_context(pa.memory_map(str(path), "r+")),
            fd=file.fileno(),
        )
    path.unlink()


@pytest.fixture
def anew(tmp_path):
    """Return a contender's contexts on a file that is new each time, and then deleted."""
    path = tmp_path / "new.bin"

    @contextmanager
    def on_new_file(contender, *args):
        with contender(path, *args) as run:
            yield run
        path.unlink()

    return lambda contender, *args: partial(on_new_file, contender, *args)


@pytest.fixture
def race(benchmark):
    """Return a function that times a contender, and what it takes as a ratio to yammap.

    Contender and reference are functions that return a context, new for each round; what
    it gives is called and timed. The reference runs right before each round. A machine's
    speed may drift, and it does so for both, so the ratios of these pairs are steadier
    than the ratio of two medians.
    """

    def run(contender, reference, *, group, what, rounds, operations, size=None):
        references = []
        benchmark.group = group
        with ExitStack() as stack:

            def next_round():
                stack.close()
                references.append(seconds(reference))
                return (stack.enter_context(contender()),), {}

            result = benchmark.pedantic(
                operator.call, setup=next_round, rounds=rounds, warmup_rounds=1
            )
        benchmark.extra_info.update(what=what, operations=operations, size=size)
        if benchmark.stats:
            times = benchmark.stats.stats.data
            benchmark.extra_info["ratio"] = quartiles(times, references[1:])
        return result

    return run


def seconds(contender):
    """Return how long one round takes."""
    with contender() as run:
        start = time.perf_counter()
        _kept = run()  # freed after the clock has stopped, as pytest-benchmark does
        return time.perf_counter() - start


def quartiles(times, references):
    """Return the lower quartile, median and upper quartile of the pairs' ratios."""
    pairs = zip(times, references, strict=True)
    return statistics.quantiles([mine / other for mine, other in pairs])


@pytest.fixture
def race_hot(race, peers, shape):
    """Return a function that races the contender `what` against the first of all."""

    def run(title, contenders, what, argument):
        ranges = shape.ranges()

        def ready(make):
            return partial(nullcontext, make(peers, ranges, argument))

        return race(
            ready(contenders[what]),
            ready(next(iter(contenders.values()))),
            group=f"{title}, {shape}",
            what=what,
            rounds=shape.rounds,
            operations=shape.count,
            size=shape.size,
        )

    return run
