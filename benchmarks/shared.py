"""Memory that processes share by name: made, attached, filled, and passed to workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import shared_memory as standard
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yammap
from yammap.compat import shared_memory as drop_in

from ._lab import KIB, MIB, Lab
from ._race import Contender, Race

Data = NDArray[np.float64]
Numbers = Sequence[int]
Module = Any  # multiprocessing.shared_memory, or the drop-in for it

SIZE = 4 * KIB
WORKERS = 8
DTYPE = np.dtype("f8")
NAME = f"bench-{os.getpid()}"

OURS = "yammap.shared"
DROP_IN = "yammap.compat: SharedMemory"
THEIRS = "multiprocessing: SharedMemory"


# -- Small ones


def make(numbers: Numbers) -> None:
    """Make segments, which go when they are closed."""
    for number in numbers:
        yammap.shared(f"{NAME}-{number}", SIZE, create=True).close()


def make_memory(module: Module, numbers: Numbers) -> None:
    """Make memory, close it and remove it."""
    for number in numbers:
        memory = module.SharedMemory(f"{NAME}-{number}", create=True, size=SIZE)
        memory.close()
        memory.unlink()


def attach(numbers: Numbers) -> None:
    """Attach to a segment that is there."""
    for _ in numbers:
        yammap.shared(NAME).close()


def attach_memory(module: Module, numbers: Numbers) -> None:
    """Attach to memory that is there."""
    for _ in numbers:
        module.SharedMemory(NAME).close()


# -- A large one


def fill(data: Data) -> None:
    """Write all of a new segment."""
    with yammap.shared(NAME, data.nbytes, create=True) as m:
        m.write_at(data, 0)


def fill_memory(module: Module, data: Data) -> None:
    """Write all of new memory."""
    memory = module.SharedMemory(NAME, create=True, size=data.nbytes)
    memory.buf[:] = data.view(np.uint8).data
    memory.close()
    memory.unlink()


def array_of(memory: standard.SharedMemory) -> Data:
    """Return an array over shared memory of the standard library."""
    return np.ndarray(memory.size // DTYPE.itemsize, DTYPE, memory.buf)


# -- Workers: each gets the whole array, and makes a result of its own part of it


def part(array: Any, number: int) -> Any:
    """Return the sixteenth of an array that a worker works on."""
    length = len(array) // 16
    return array[number * length :][:length]


def negative(task: tuple[yammap.MappedArray, int]) -> yammap.MappedArray:
    """Return a handle of a result in shared memory."""
    source = part(*task)
    m = yammap.shared(size=source.nbytes, create=True)
    return yammap.MappedArray.of(np.negative(source, out=m.array(DTYPE)))


def negative_memory(task: tuple[str, int]) -> str:
    """Return the name of a result in shared memory."""
    name, number = task
    whole = standard.SharedMemory(name)
    source = part(array_of(whole), number)
    result = standard.SharedMemory(create=True, size=source.nbytes)
    np.negative(source, out=array_of(result))
    del source
    whole.close()
    result.close()
    return result.name


def negative_pickled(task: tuple[Data, int]) -> Data:
    """Return a result."""
    result: Data = np.negative(part(*task))
    return result


def pass_handles(pool: Pool, data: Data, numbers: Numbers) -> Data:
    """Copy the array to a segment, and pass handles of it and of the results."""
    m = yammap.shared(size=data.nbytes, create=True)
    m.write_at(data, 0)
    handle = yammap.MappedArray.of(m.array(DTYPE))
    results = pool.map(negative, [(handle, i) for i in numbers], chunksize=1)
    return np.array([result.sum() for result in results])


def pass_names(pool: Pool, data: Data, numbers: Numbers) -> Data:
    """Copy the array to shared memory, and pass names of it and of the results."""
    memory = standard.SharedMemory(create=True, size=data.nbytes)
    array_of(memory)[:] = data
    names = pool.map(negative_memory, [(memory.name, i) for i in numbers], chunksize=1)
    sums = np.array([sum_of(name) for name in names])
    memory.close()
    memory.unlink()
    return sums


def sum_of(name: str) -> float:
    """Attach to a result, and remove it."""
    memory = standard.SharedMemory(name)
    found = float(array_of(memory).sum())
    memory.close()
    memory.unlink()
    return found


def pass_pickles(pool: Pool, data: Data, numbers: Numbers) -> Data:
    """Let the pool pickle the array, and the results."""
    results = pool.map(negative_pickled, [(data, i) for i in numbers], chunksize=1)
    return np.array([result.sum() for result in results])


# -- Races


@contextmanager
def present() -> Iterator[None]:
    """Have something to attach to, for everybody."""
    memory = standard.SharedMemory(NAME, create=True, size=SIZE)
    try:
        with yammap.shared(NAME, SIZE, create=True):
            yield
    finally:
        memory.close()
        memory.unlink()


def small(lab: Lab) -> Iterator[Race]:
    """Yield the races of small segments."""
    count = lab.scaled(1000, 4)
    for title, ours, theirs in (
        ("made and closed", make, make_memory),
        ("attached and closed", attach, attach_memory),
    ):
        yield Race(
            f"shared memory of {SIZE // KIB} KiB, {title}",
            [
                Contender(OURS, ours),
                Contender(DROP_IN, partial(theirs, drop_in)),
                Contender(THEIRS, partial(theirs, standard), reach=1),
            ],
            work=lambda _: range(count),
            note="The standard library also writes to a process that tracks its memory, "
            "whose work is not in the times.",
        )


def large(data: Data) -> Race:
    """Return the race of a large segment."""
    return Race(
        f"shared memory of {data.nbytes // MIB} MiB, made, written full and closed",
        [
            Contender(OURS, lambda _: fill(data)),
            Contender(DROP_IN, lambda _: fill_memory(drop_in, data)),
            Contender(THEIRS, lambda _: fill_memory(standard, data), reach=1),
        ],
        work=lambda _: range(1),
        size=data.nbytes,
    )


def passed(data: Data, workers: int, pool: Pool) -> Race:
    """Return the race of arrays that go to workers and come back."""
    size, back = data.nbytes / MIB, data.nbytes / 16 / MIB
    return Race(
        f"{size:g} MiB to each of {workers} workers, and {back:.2g} MiB back",
        [
            Contender(f"{OURS}, MappedArray", lambda n: pass_handles(pool, data, n)),
            Contender(f"{THEIRS}, by name", lambda n: pass_names(pool, data, n), reach=1),
            Contender(
                "multiprocessing.Pool: pickles",
                lambda n: pass_pickles(pool, data, n),
                most=2,
                reach=1,
            ),
        ],
        work=lambda _: range(workers),
        size=data.nbytes,
        rounds=5,
        note="A worker has one of the operations. The array is private before, and "
        "shared memory is made, filled and removed in the time.",
    )


def started(workers: int) -> Pool:
    """Start processes that inherit to ignore Ctrl-C: it is for us, and we end them then."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return multiprocessing.get_context("spawn").Pool(workers)
    finally:
        signal.signal(signal.SIGINT, before)


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    with present():
        yield from small(lab)
    yield large(np.ones(lab.sized(256) // DTYPE.itemsize))
    workers = lab.scaled(WORKERS, 2)
    with started(workers) as pool:
        yield passed(np.arange(lab.sized(1024) / DTYPE.itemsize), workers, pool)
