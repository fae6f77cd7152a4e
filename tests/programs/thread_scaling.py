"""How calls on one mapping scale from one thread to two: ``python -P thread_scaling.py``.

Without a GIL, the interpreter counts the references of an object that threads share in one
word, which their processors take from each other. To tell that from our own work, some rows
run once more on objects that are not counted: their counts are set to the number of an
immortal one. Each row is the best of some runs, by the processor time of the slower thread,
so that other work on the machine matters little. It needs CPython without a GIL.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import itertools
import os
import sys
import sysconfig
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import yammap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALLS = 1_500_000
RUNS = 7
LOCAL_COUNT = 12  # its offset in an object


def stop_counting(thing: Any) -> None:
    ctypes.c_uint32.from_address(id(thing) + LOCAL_COUNT).value = 0xFFFFFFFF


def slices(m: Any) -> None:
    for _ in range(CALLS):
        m[512:528]


def items(get: Any) -> None:
    place = slice(512, 528)
    for _ in range(CALLS):
        get(place)


def methods(m: Any) -> None:
    buffer = bytearray(16)
    for _ in range(CALLS):
        m.read_at(buffer, 512)


def calls(read: Any) -> None:
    buffer = bytearray(16)
    for _ in range(CALLS):
        read(buffer, 512)


def maps(read: Any) -> None:
    buffers = itertools.repeat(bytearray(16), CALLS)
    collections.deque(map(read, buffers, itertools.repeat(512)), 0)


def rate(work: Callable[[Any], None], makers: Sequence[Callable[[], Any]]) -> float:
    """Calls in a second of all threads, each on what it has made."""
    seconds: list[float] = []
    begin = threading.Barrier(len(makers))

    def run(cpu: int, make: Callable[[], Any]) -> None:
        os.sched_setaffinity(0, {cpu})
        used = make()
        begin.wait()
        start = time.thread_time()
        work(used)
        seconds.append(time.thread_time() - start)

    cpus = sorted(os.sched_getaffinity(0))
    threads = [
        threading.Thread(target=run, args=each) for each in zip(cpus, makers, strict=False)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(makers) * CALLS / max(seconds)


def show(name: str, work: Callable[[Any], None], *makers: Callable[[], Any]) -> None:
    one = max(rate(work, makers[:1]) for _ in range(RUNS))
    two = max(rate(work, makers) for _ in range(RUNS))
    print(
        f"{name:52} {one / 1e6:5.1f} M/s {two / 1e6:5.1f} M/s {two / one:5.2f} x",
        flush=True,
    )


def main() -> None:
    if not sysconfig.get_config_var("Py_GIL_DISABLED") or sys._is_gil_enabled():
        raise SystemExit("this needs CPython without a GIL")
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(1 << 16))
        file.flush()
        shared, other, uncounted = (yammap.open(file.name) for _ in range(3))
        data = bytes(1 << 16)
        read = vars(yammap._core.Mapping)["read_at"]
        own = functools.partial
        for m in shared, other, uncounted:
            m.pread(16, 512)
        show("m[512:528]", slices, *[lambda: shared] * 2)
        show("m[512:528], a mapping each", slices, lambda: shared, lambda: other)
        show("get(s), its own m.__getitem__", items, *[lambda: shared.__getitem__] * 2)
        show("data[512:528] of bytes", slices, *[lambda: data] * 2)
        show("m.read_at", methods, *[lambda: shared] * 2)
        show("m.read_at, a mapping each", methods, lambda: shared, lambda: other)
        show("read(b, 512), its own m.read_at", calls, *[lambda: shared.read_at] * 2)
        show("read(b, 512), its own partial", calls, *[lambda: own(shared.read_at)] * 2)
        show("map(m.read_at)", maps, *[lambda: shared.read_at] * 2)
        stop_counting(uncounted)
        show("m[512:528], mapping not counted", slices, *[lambda: uncounted] * 2)
        show("m.read_at, mapping not counted", methods, *[lambda: uncounted] * 2)
        stop_counting(read)
        show("m.read_at, function not counted", methods, *[lambda: shared] * 2)
        show("m.read_at, neither counted", methods, *[lambda: uncounted] * 2)


if __name__ == "__main__":
    main()
