"""Growing a file: by zeros under a live array, and by appending records.

Each contender opens a new file of one page, gives what is timed, and closes it.
"""

import mmap
import os
from contextlib import contextmanager

import numpy as np
import pytest

import yammap

PAGE = 4096
TIMES = 10_000
SIZES = [PAGE * (2 + i) for i in range(TIMES)]


@contextmanager
def resize_live(path, **options):
    with yammap.open(path, "w+", size=PAGE, **options) as m:
        array, resize = m.array(), m.resize

        def run():
            for size in SIZES:
                resize(size)

        yield run
        assert m.size() == SIZES[-1]
        assert not array.any()


def resize_live_sparse(path):
    return resize_live(path, preallocate=False)


@contextmanager
def new_file(path):
    """A descriptor of a file of one page, closed by the end."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        os.ftruncate(fd, PAGE)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def mmap_resize(path):
    with new_file(path) as fd, mmap.mmap(fd, PAGE) as mapping:
        resize = mapping.resize

        def run():
            for size in SIZES:
                resize(size)

        yield run


@contextmanager
def remap(path):
    with new_file(path) as fd:

        def run():
            for size in SIZES:
                os.ftruncate(fd, size)
                array = np.frombuffer(mmap.mmap(fd, size), np.uint8)
            return array

        yield run


@contextmanager
def remap_memmap(path):
    with new_file(path) as fd:

        def run():
            for size in SIZES:
                os.ftruncate(fd, size)
                array = np.memmap(path, np.uint8, "r+")
            return array

        yield run


GROW = {
    "yammap: m.resize(n), an array alive": resize_live,
    "yammap: preallocate=False, m.resize(n), an array alive": resize_live_sparse,
    "mmap: mm.resize(n), no array": mmap_resize,
    "mmap: ftruncate, a new mmap, a new array": remap,
    "np.memmap: ftruncate, a new np.memmap": remap_memmap,
}


@pytest.mark.parametrize("what", GROW)
def test_grow(what, anew, race):
    race(
        anew(GROW[what]),
        anew(resize_live),
        group="grow by 4 KiB, 10,000 times",
        what=what,
        rounds=10,
        operations=TIMES,
    )


@contextmanager
def append_live(path, record, times=TIMES):
    with yammap.open(path, "w+", size=PAGE) as m:
        array, append = m.array(), m.append

        def run():
            for _ in range(times):
                append(record)

        yield run
        assert m.size() == PAGE + times * len(record)
        assert not array.any()


@contextmanager
def append_ahead(path, record, times=TIMES):
    with yammap.open(path, "w+", size=PAGE, ahead=1 << 24) as m:
        array, append = m.array(), m.append

        def run():
            for _ in range(times):
                append(record)

        yield run
        assert m.size() == PAGE + times * len(record)
        assert not array.any()


@contextmanager
def mmap_resize_and_assign(path, record):
    with new_file(path) as fd, mmap.mmap(fd, PAGE) as mapping:
        resize, step = mapping.resize, len(record)

        def run():
            end = PAGE
            for _ in range(TIMES):
                start, end = end, end + step
                resize(end)
                mapping[start:end] = record

        yield run


@contextmanager
def remap_and_assign(path, record):
    values = np.frombuffer(record, np.uint8)
    with new_file(path) as fd:

        def run():
            end = PAGE
            for _ in range(TIMES):
                start, end = end, end + len(values)
                os.ftruncate(fd, end)
                array = np.frombuffer(mmap.mmap(fd, end), np.uint8)
                array[start:] = values
            return array

        yield run


@contextmanager
def os_write(path, record, times=TIMES):
    with new_file(path) as fd:
        write = os.write

        def run():
            for _ in range(times):
                write(fd, record)

        yield run


@contextmanager
def buffered_write(path, record, times=TIMES):
    with new_file(path) as fd, open(fd, "ab", closefd=False) as file:
        write = file.write

        def run():
            for _ in range(times):
                write(record)
            file.flush()

        yield run


APPEND = {
    "yammap: m.append(record), an array alive": append_live,
    "yammap: ahead=16 MiB, m.append(record), an array alive": append_ahead,
    "mmap: mm.resize(b), mm[a:b] = record, no array": mmap_resize_and_assign,
    "mmap: ftruncate, a new mmap, a new array, array[a:] = record": remap_and_assign,
    "os.write(fd, record), not mapped": os_write,
    "file.write(record), buffered, not mapped": buffered_write,
}


@pytest.mark.parametrize(("size", "named"), [(64, "64 B"), (PAGE, "4 KiB")])
@pytest.mark.parametrize("what", APPEND)
def test_append(what, size, named, anew, race):
    record = b"r" * size
    race(
        anew(APPEND[what], record),
        anew(append_live, record),
        group=f"append {named}, 10,000 times",
        what=what,
        rounds=10,
        operations=TIMES,
        size=size,
    )


MANY = 1_000_000
APPEND_MANY = {
    "yammap: ahead=16 MiB, m.append(record), an array alive": append_ahead,
    "yammap: m.append(record), an array alive": append_live,
    "os.write(fd, record), not mapped": os_write,
    "file.write(record), buffered, not mapped": buffered_write,
}


@pytest.mark.parametrize("what", APPEND_MANY)
def test_append_many(what, anew, race):
    record = b"r" * 64
    race(
        anew(APPEND_MANY[what], record, MANY),
        anew(append_ahead, record, MANY),
        group="append 64 B, 1,000,000 times",
        what=what,
        rounds=5,
        operations=MANY,
        size=64,
    )
