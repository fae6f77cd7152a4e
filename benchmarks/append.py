"""Records of 64 bytes at the end of a file, a million of them, while an array is alive."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import yammap

from ._lab import MIB, Lab
from ._race import Contender, Race

RECORD = bytes(range(64))
Job = Callable[[range], object]


def live(path: Path, *, ahead: int = 0) -> Job:
    """Append to a mapping, on a page of zeros."""

    def job(work: range) -> None:
        with yammap.open(path, "r+", ahead=ahead) as m:
            array, append = m.array(), m.append
            for _ in work:
                append(RECORD)
        array[0]

    return job


def os_write(path: Path) -> Job:
    """Append by system call."""

    def job(work: range) -> None:
        fd, write = os.open(path, os.O_WRONLY | os.O_APPEND), os.write
        for _ in work:
            write(fd, RECORD)
        os.close(fd)

    return job


def buffered(path: Path) -> Job:
    """Append to a buffered file."""

    def job(work: range) -> None:
        with open(path, "ab") as file:
            write = file.write
            for _ in work:
                write(RECORD)

    return job


def resize(path: Path) -> Job:
    """Resize an `mmap`, which lets no array live, and assign."""

    def job(work: range) -> None:
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            end = len(mapping)
            for _ in work:
                mapping.resize(end + len(RECORD))
                mapping[end:] = RECORD
                end += len(RECORD)

    return job


def map_anew(path: Path) -> Job:
    """Write, and make a new array over a new `mmap`, since the old one cannot grow."""

    def job(work: range) -> None:
        with open(path, "r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            for _ in work:
                file.write(RECORD)
                array = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)
        array[0]

    return job


def races(lab: Lab) -> Iterator[Race]:
    """Yield one race of those whose records are in the file at once, one of the others."""
    path, count, few = lab.new(), lab.scaled(1_000_000, 1000), lab.scaled(20_000, 500)

    def page() -> None:
        path.write_bytes(bytes(mmap.PAGESIZE))

    def race(title: str, *contenders: Contender, why: str = "") -> Race:
        title = f"append {len(RECORD)} B {count:,} times, {title}"
        return Race(
            title, contenders, lambda _: range(count), len(RECORD), before=page, why=why
        )

    yield race(
        "each in the file at once",
        Contender("yammap: m.append(record), an array alive", live(path)),
        Contender(
            "os.write(fd, record), not mapped",
            os_write(path),
            reach=1,
            told="64-byte records appended, file size exact",
        ),
        Contender("mmap: resize, mm[a:] = record, no array", resize(path), most=few),
        Contender("mmap: write, a new mmap, a new array", map_anew(path), most=few),
        why="os.write has no mapping to keep in step, no other threads to keep apart, and "
        "allocates no blocks before the size changes.",
    )
    yield race(
        "the file's size behind",
        Contender(
            "yammap: ahead=16 MiB, m.append(record), an array alive",
            live(path, ahead=16 * MIB),
        ),
        Contender(
            "file.write(record), buffered",
            buffered(path),
            reach=1,
            told="64-byte records appended with ahead=",
        ),
    )
