"""A million operations leave nothing behind: ``python tests/programs/leaks.py``.

Each kind of operation is done a tenth of its times first, so that caches fill, and then all
of them: descriptors, mappings and memory of the process must be what they were.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import mmap
import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import yammap

PAGE = mmap.PAGESIZE
SLACK = {"fds": 0, "maps": 2, "rss": 2048}  # KiB: the allocator keeps some


def usage() -> dict[str, int]:
    """Return the descriptors, mappings and KiB of memory this process has."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "maps": len(Path("/proc/self/maps").read_text().splitlines()),
        "rss": int(status.partition("VmRSS:")[2].split()[0]),
    }


def touch(array: np.ndarray) -> None:
    """Touch what is not there: the error comes at the next turn of a loop."""
    with contextlib.suppress(yammap.BusError):
        for position in PAGE, PAGE + 1:
            array[position]


# -- The operations. Each takes the path of a file it may do with as it likes.


def open_and_close(path: str) -> None:
    yammap.open(path).close()


def forget(path: str) -> None:
    yammap.open(path).view(0, 10)


def fail_to_open(path: str) -> None:
    with contextlib.suppress(ValueError):
        yammap.open(path, offset=1 << 40)


def array_of_its_own(path: str) -> None:
    yammap.open_array(path, "<u4", shape=8)[0]


def unseen_holder(path: str) -> None:
    with yammap.open(path, "r+") as m:
        kept = np.ndarray(8, np.uint8, buffer=m)
    kept[0]


def in_memory(_: str) -> None:
    with yammap.anonymous(PAGE) as m:
        m.append(b"x")


def append(path: str) -> None:
    with yammap.open(path, "a+") as m:
        m.append(b"record")
    os.truncate(path, 2 * PAGE)


def generations(path: str) -> None:
    """Grow beyond the reserve under a view, so that the file is mapped a second time."""
    with yammap.open(path, "r+", reserve=0, preallocate=False) as m:
        view = m.view()
        m.resize(4 * PAGE)
        view.release()
        m.resize(2 * PAGE)


def shrink_under_a_holder(path: str) -> None:
    with yammap.open(path, "r+") as m:
        memoryview(m).release()
        m.resize(PAGE)
        m.resize(2 * PAGE)


def fault_in_a_copy(path: str) -> None:
    with yammap.open(path) as m:
        os.truncate(path, PAGE)
        with contextlib.suppress(yammap.BusError):
            m.pread(10, PAGE)
    os.truncate(path, 2 * PAGE)


def fault_in_a_view(path: str) -> None:
    with yammap.open(path, "r+", on_fault="poison") as m:
        array = m.array()
        os.truncate(path, PAGE)
        array[PAGE] = 1
        m.heal(discard=True)
    os.truncate(path, 2 * PAGE)


def fault_and_close(path: str) -> None:
    m = yammap.open(path)
    array = m.array()
    os.truncate(path, PAGE)
    touch(array)
    with contextlib.suppress(yammap.BusError):
        m.close()
    os.truncate(path, 2 * PAGE)


def fault_of_an_orphan(path: str) -> None:
    array = yammap.open_array(path)
    os.truncate(path, PAGE)
    touch(array)
    os.truncate(path, 2 * PAGE)


def array_that_travels(path: str) -> None:
    pickle.loads(pickle.dumps(yammap.MappedArray.of(yammap.open_array(path))))[0]


def piece_of_its_own(_: str) -> None:
    with yammap.anonymous(1 << 20) as m:
        array = yammap.MappedArray(m, mode="r+")
    array[:] = array[:]


OPENING = [
    open_and_close,
    forget,
    fail_to_open,
    array_of_its_own,
    unseen_holder,
    in_memory,
    append,
    generations,
    shrink_under_a_holder,
    fault_in_a_copy,
    fault_in_a_view,
    fault_and_close,
    fault_of_an_orphan,
    array_that_travels,
    piece_of_its_own,
]


def copies(m: yammap.Mmap, buffer: bytearray) -> None:
    """Do eight operations on an open mapping."""
    m.read_at(buffer, 0)
    m.pread(100, PAGE)
    m.write_at(buffer, 100)
    m.find(b"nowhere")
    m.seek(0)
    m.readline()
    m.view(0, 10).release()
    m.array("<u2", 10)


def measure(act, times: int) -> dict[str, int]:
    """Return what the process has more of after doing something so often."""
    for _ in range(times // 10):
        act()
    before = usage()
    for _ in range(times):
        act()
    after = usage()
    return {key: after[key] - before[key] for key in after}


def rows(path: str, operations: int):
    """Yield each kind of operation, with what does it, and how often."""
    half = operations // 2
    for kind in OPENING:
        yield kind.__name__, lambda kind=kind: kind(path), half // len(OPENING)
    with yammap.open(path, "r+") as m:
        buffer = bytearray(100)
        yield "copies, eight at a time", lambda: copies(m, buffer), half // 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument("--directory", default=memory, help="where to put a file")
    arguments = parser.parse_args()
    leaked = False
    print(f"{'':26}{'times':>9}{'us each':>9}{'fds':>6}{'maps':>6}{'KiB':>7}")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        path = str(Path(folder, "file"))
        Path(path).write_bytes(bytes(2 * PAGE))
        for name, act, times in rows(path, arguments.operations):
            start = time.perf_counter()
            grown = measure(act, times)
            each = (time.perf_counter() - start) / (times * 1.1) * 1e6
            numbers = "".join(f"{grown[key]:>{6 + (key == 'rss')}}" for key in SLACK)
            print(f"{name:26}{times:9,}{each:9.1f}{numbers}", flush=True)
            leaked |= any(grown[key] > slack for key, slack in SLACK.items())
    return int(leaked)


if __name__ == "__main__":
    sys.exit(main())
