"""A file read once from its beginning to its end, and how much memory that takes.

Each scan has a process of its own: ``python -m yammap._bench.scan WAY PATH BYTES``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import yammap

from ._fresh import fresh
from ._lab import MIB, Lab, Store
from ._meter import Meter
from ._race import Contender, Measured, Race
from ._readers import AS_GOOD, CACHING, with_words

CHUNK = MIB
TOLD = "a large file read once, from the disk"
RESIDENT, CACHED = "resident memory", "page cache"


def stream(path: str, size: int, **words: Any) -> Iterator[Any]:
    """Let the mapping read ahead and drop behind."""
    with yammap.open(path, length=size) as m:
        yield from m.stream(CHUNK, **words)


def readinto(path: str, size: int) -> Iterator[Any]:
    """Read into one buffer again and again."""
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as file:
        for _ in range(0, size, CHUNK):
            yield memoryview(buffer)[: file.readinto(buffer)]


def memmap(path: str, size: int) -> Iterator[Any]:
    """Slice an np.memmap."""
    array = np.memmap(path, np.uint8, "r", shape=size)
    for start in range(0, size, CHUNK):
        yield array[start : start + CHUNK]


STREAM = "yammap: m.stream(1 MiB)"
WAYS: dict[str, Callable[[str, int], Iterable[Any]]] = {
    **{with_words(STREAM, words): partial(stream, **words) for words in CACHING},
    "file.readinto(buffer of 1 MiB)": readinto,
    "np.memmap: slices of 1 MiB": memmap,
}


def status(field: str) -> int:
    """Return the bytes that /proc/self/status says."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition(f"{field}:")[2].split()[0]) << 10


def cached(path: str, size: int) -> int:
    """Return the bytes of a file that are in memory."""
    with yammap.open(path, length=size) as m:
        return int(m.resident().sum()) * os.sysconf("SC_PAGESIZE")


def xor(chunks: Iterable[Any]) -> int:
    """Look at every byte."""
    total = 0
    for chunk in chunks:
        total ^= int(np.bitwise_xor.reduce(np.frombuffer(chunk, np.uint64)))
    return total


def scan(way: str, path: str, size: int) -> dict[str, Any]:
    """Go over a file, and return what it took."""
    before = cached(path, size)
    xor([np.ones(CHUNK, np.uint8)])  # what NumPy takes at first use is not the scan's
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM
    held = status("VmRSS")
    meter = Meter()
    total = xor(WAYS[way](path, size))
    spent = meter.spent()
    grown = {RESIDENT: status("VmHWM") - held, CACHED: cached(path, size) - before}
    return {**spent, "result": total, "memory": grown}


def scanned(work: range, way: str, path: Path, limit: int | None = None) -> Measured:
    """Scan in a process of its own; `work` is the bytes, each an operation."""
    return fresh(__name__, way, str(path), str(len(work)), limit=limit)


def race(
    store: Store,
    size: int,
    reach: float | None = None,
    limit: int | None = None,
    **terms: Any,
) -> Race:
    """Return the race over the first bytes of a file; `reach` is for the loop of reads.

    Each of the processes has `limit` bytes of memory.
    """
    asked = {way: AS_GOOD for way in WAYS if way.startswith("yammap")} | {STREAM: None}
    contenders = [
        Contender(
            way,
            partial(scanned, way=way, path=store.path, limit=limit),
            reach=reach if scanner is readinto else asked.get(way),
            told=TOLD if reach and scanner is readinto else "",
        )
        for way, scanner in WAYS.items()
    ]
    return Race(
        contenders=contenders,
        work=lambda _: range(size),
        size=1,
        before=store.evict,
        cold=True,
        **terms,
    )


def races(lab: Lab) -> Iterator[Race]:
    """Yield the race of this scenario."""
    size = lab.sized(4096)
    yield race(
        lab.big,
        size,
        reach=0.95,
        title=f"scan of {size // MIB:,} MiB, cold",
        rounds=7,
        limits={RESIDENT: 32 * MIB, CACHED: 32 * MIB},
        note="Times are those of a byte. Memory is the most that was held above before.",
    )


if __name__ == "__main__":
    print(json.dumps(scan(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
