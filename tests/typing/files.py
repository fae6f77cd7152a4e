"""What type checkers know of files. Checked by mypy and pyright, and never run."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, assert_type

import numpy as np

import yammap
from yammap import compat as mmap


def ways_in(path: Path, descriptor: int) -> None:
    assert_type(yammap.open(path), yammap.Mmap)
    assert_type(yammap.open("file", "w+", size=1 << 20, ahead=1 << 16), yammap.Mmap)
    assert_type(yammap.open(b"file", "r+", on_fault="poison"), yammap.Mmap)
    assert_type(yammap.open(descriptor, offset=10, length=20), yammap.Mmap)
    assert_type(yammap.open_file("file", os.O_RDWR | os.O_CREAT, 0o600), yammap.Mmap)
    assert_type(yammap.create("file", 10, reserve=1 << 30), yammap.Mmap)
    assert_type(yammap.anonymous(10), yammap.Mmap)
    with yammap.open(path) as m:
        assert_type(m, yammap.Mmap)
    with yammap.atomic_create(path, 10) as m:
        assert_type(m, yammap.Mmap)


def what_is_refused(path: Path, m: yammap.Mmap) -> None:
    yammap.open(path, sise=10)  # type: ignore[call-arg]
    yammap.open(path, on_fault="ignore")  # type: ignore[arg-type]
    yammap.open(path, "wb")  # type: ignore[arg-type]
    yammap.open(path, advice="randomly")  # type: ignore[arg-type]
    m.madvise("randomly")  # type: ignore[arg-type]
    yammap.open_array(path, offset="start")  # type: ignore[call-overload]
    m.write("text")  # type: ignore[arg-type]
    m.read_at(10, 0)  # type: ignore[arg-type]


def reading_and_writing(m: yammap.Mmap, data: memoryview) -> None:
    assert_type(m.read(), bytes)
    assert_type(m.pread(10, 0), bytes)
    assert_type(m.readinto(bytearray(10)), int)
    assert_type(m.read_at(np.empty(3, "<u2"), 0), int)
    assert_type(m.write(data), int)
    assert_type(m.write_at(b"data", 10), int)
    assert_type(m.append(np.arange(3)), int)
    assert_type(m.find(b"data"), int)
    assert_type(m.seek(0, yammap.SEEK_END), int)
    assert_type(m.readlines(), list[bytes])
    for line in m:
        assert_type(line, bytes)


def a_sequence_of_bytes(m: yammap.Mmap) -> None:
    assert_type(len(m), int)
    assert_type(m[0], int)
    assert_type(m[np.int64(0)], int)
    assert_type(m[-5::2], bytes)
    m[0] = 7
    m[:5] = np.arange(5, dtype="u1")
    m[0] = b"x"  # type: ignore[call-overload]
    m[:1] = 7  # type: ignore[call-overload]
    assert_type(m.rfind(b"data", -10), int)
    m.move(10, 0, 10)
    m.flush(0, 10)
    assert_type(m.read_byte(), int)
    m.write_byte(7)


def a_drop_in(file: BinaryIO) -> None:
    m = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert_type(m, mmap.mmap)
    assert_type(m.find(b"data"), int)
    for byte in m:
        assert_type(byte, bytes)
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_POPULATE) as memory:
        memory.madvise(mmap.MADV_RANDOM)
        assert_type(memory, mmap.mmap)


def sizes_and_pages(m: yammap.Mmap) -> None:
    assert_type(m.size(), int)
    assert_type(m.closed, bool)
    m.resize(10)
    assert_type(m.refresh(), int)
    m.sync(0, 10, wait=False)
    m.madvise(yammap.MADV_RANDOM)
    m.madvise("random")
    m.madvise(yammap.Advice.WILLNEED, 0, 10)
    assert_type(m.warm(progress=lambda done, total: print(done / total)), int)
    assert_type(m.evict(), int)


def faults(m: yammap.Mmap) -> None:
    with m.guard() as same:
        assert_type(same, yammap.Mmap)
    for fault in m.faults():
        assert_type(fault.offset, int)
        assert_type(fault.access, str)
    try:
        m.sync()
    except yammap.BusError as error:
        assert_type(error.offset, int)
        assert_type(error.record, int | None)
    with contextlib.suppress(yammap.ShortRead):
        assert_type(m.heal(), int)


def buffers(m: yammap.Mmap) -> None:
    assert_type(m.view(0, 10), memoryview)
    memoryview(m)
    for chunk in m.stream(1 << 20, prefetch=4 << 20):
        assert_type(chunk, memoryview)
    assert_type(iter(m.stream(1 << 20)), Iterator[memoryview])


def enums() -> None:
    advice: yammap.Advice = yammap.MADV_RANDOM
    flags: yammap.Prot = yammap.PROT_READ | yammap.PROT_WRITE
    print(advice, flags)


class Log(yammap.Mmap):
    """What a subclass makes stays one."""

    def entered(self) -> None:
        with self as log:
            same: Log = log
        print(same)
