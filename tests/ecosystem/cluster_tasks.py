"""What tasks of Ray, Spark and Dask do in their workers, which import it by its name."""

import os
import resource
from typing import Any

import numpy as np
import tasks

import yammap

MIB = 1 << 20
ROOM = 160 * MIB
"""Bytes that a limited worker may have beside what it starts with."""


def limit_memory() -> None:
    """Let this process have only so much more memory; pages of a file do not count."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY:
        limit = memory() + ROOM
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def memory() -> int:
    """Return the bytes that count towards the limit."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if "VmData" in line)


def can_load(array: yammap.MappedArray) -> bool:
    """Whether this process has memory for a copy of the array."""
    limit_memory()
    try:
        np.fromfile(array.path, array.dtype)
    except MemoryError:
        return False
    return True


def triple(*arguments: Any) -> tuple[int, int]:
    limit_memory()
    return tasks.triple(*arguments)


def total_of_part(array: yammap.MappedArray, start: int, stop: int) -> int:
    return int(array[start:stop].sum())


def total_of_window(path: str, offset: int, length: int) -> int:
    """Map a part of the file alone, which takes as many addresses."""
    with yammap.open(path, offset=offset, length=length) as m:
        return int(m.array().sum())


def read_what_is_cut(path: str) -> int:
    """Have a file cut under a view of it, and read the view."""
    with yammap.open(path, "r+") as m:
        view = m.array()
        os.truncate(path, len(view) // 2)
        with m.guard():
            return int(view.sum())
