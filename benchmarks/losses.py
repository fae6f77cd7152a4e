"""Where yammap loses, or cannot win: files not to be mapped, tiny files, hot scans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import yammap

from . import scan
from ._lab import KIB, MIB, Lab, positions
from ._race import Contender, Race
from ._readers import gather, preadv


def unmapped(lab: Lab) -> Iterator[Race]:
    """Yield the race without mmap(2), as on a filesystem that refuses it."""
    span, shape = lab.sized(256), (lab.scaled(4096, 64), 2 * KIB)
    lab.big.warm(span)
    with yammap.open(lab.big.path, engine="pread") as m:
        store = replace(lab.big, m=m)
        yield Race(
            "random records of 2 KiB, warm, engine='pread'",
            [gather(store, shape, 64), preadv(store, shape)],
            partial(positions, count=shape[0], span=span, size=shape[1]),
            size=shape[1],
            why="Without mmap(2) each record costs a system call, as in a Python loop.",
        )


def mapped_whole(paths: Sequence[Path]) -> bytes:
    """Map each file, and take all of it."""
    for path in paths:
        with yammap.open(path) as m:
            data = m.read()
    return data


def read_whole(paths: Sequence[Path]) -> bytes:
    """Read each file."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    return data


def tiny(lab: Lab) -> Race:
    """Return the race over files that are opened for a hundred bytes."""
    folder = lab.directory / "tiny"
    folder.mkdir()
    paths = [folder / str(i) for i in range(lab.scaled(1000, 20))]
    for path in paths:
        path.write_bytes(bytes(100))
    return Race(
        "open a file of 100 B, read it, close it",
        [
            Contender("yammap: open(path), m.read()", mapped_whole),
            Contender(
                "open(path, 'rb'), file.read()",
                read_whole,
                told="a 100-byte file opened, read and closed",
            ),
        ],
        lambda _: paths,
        size=100,
        why="Mapping and unmapping a file cost more than reading what fits into a page.",
    )


def stream(path: str, size: int) -> Iterator[Any]:
    """Let the mapping read ahead, and keep what is there."""
    with yammap.open(path, length=size) as m:
        yield from m.stream(scan.CHUNK, cached=True)


def sequential(lab: Lab) -> Race:
    """Return the race over what is all in memory, from its beginning to its end."""
    size, store = lab.sized(1024), lab.big
    store.warm(size)
    ways = {
        "yammap: m.stream(1 MiB, cached=True)": stream,
        "file.readinto(buffer of 1 MiB)": scan.readinto,
        "np.memmap: slices of 1 MiB": scan.memmap,
    }

    def contender(what: str) -> Contender:
        way = ways[what]
        return Contender(what, lambda _: np.uint64(scan.xor(way(str(store.path), size))))

    return Race(
        f"{size // MIB:,} MiB in memory, from beginning to end",
        [contender(what) for what in ways],
        lambda _: range(1),
        size=size,
        why="There is nothing to read ahead, and each turn maps or opens the file again.",
    )


def races(lab: Lab) -> Iterator[Race]:
    """Yield the races of this scenario."""
    yield from unmapped(lab)
    yield tiny(lab)
    yield sequential(lab)
