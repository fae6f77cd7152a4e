"""Writing: a new file of 256 MiB, and over bytes that are in memory."""

import mmap
import os
from contextlib import contextmanager
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

import yammap


def create_and_write_at(path, data):
    with yammap.create(path, len(data)) as m:
        m.write_at(data, 0)


def open_and_append(path, data):
    with yammap.open(path, "w+") as m:
        m.append(data)


@contextmanager
def new_descriptor(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


def mmap_sparse(path, data):
    with new_descriptor(path) as fd:
        os.ftruncate(fd, len(data))
        with mmap.mmap(fd, len(data)) as mapping:
            mapping[:] = data


def mmap_allocated(path, data):
    with new_descriptor(path) as fd:
        os.posix_fallocate(fd, 0, len(data))
        with mmap.mmap(fd, len(data)) as mapping:
            mapping[:] = data


def memmap(path, data):
    np.memmap(path, np.uint8, "w+", shape=len(data))[:] = data


def os_pwrite(path, data):
    with new_descriptor(path) as fd:
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], done)


def arrow(path, data):
    with pa.create_memory_map(str(path), len(data)) as file:
        file.write(data)


NEW_FILE = {
    "yammap: create(path, n), m.write_at(data, 0)": create_and_write_at,
    "yammap: open(path, 'w+'), m.append(data)": open_and_append,
    "mmap: ftruncate, mm[:] = data": mmap_sparse,
    "mmap: posix_fallocate, mm[:] = data": mmap_allocated,
    "np.memmap: mode 'w+', mm[:] = data": memmap,
    "os.pwrite(fd, data, 0)": os_pwrite,
    "pyarrow: create_memory_map(path, n), f.write(data)": arrow,
}


@contextmanager
def writing(path, write, data):
    yield partial(write, path, data)


@pytest.mark.parametrize("what", NEW_FILE)
def test_new_file(what, data, anew, race):
    race(
        anew(writing, NEW_FILE[what], data),
        anew(writing, create_and_write_at, data),
        group="write a new file, 256 MiB",
        what=what,
        rounds=10,
        operations=1,
        size=len(data),
    )


def write_at(peers, ranges, data):
    call = peers.yammap.write_at

    def run():
        for start, _ in ranges:
            call(data, start)

    return run


def mmap_assign(peers, ranges, data):
    mapping = peers.mmap

    def run():
        for start, stop in ranges:
            mapping[start:stop] = data

    return run


def pwrite(peers, ranges, data):
    call, fd = os.pwrite, peers.fd

    def run():
        for start, _ in ranges:
            call(fd, data, start)

    return run


def memmap_assign(peers, ranges, data):
    mapping, array = peers.memmap, np.asarray(data)

    def run():
        for start, stop in ranges:
            mapping[start:stop] = array

    return run


def arrow_write(peers, ranges, data):
    seek, call = peers.arrow.seek, peers.arrow.write

    def run():
        for start, _ in ranges:
            seek(start)
            call(data)

    return run


OVERWRITE = {
    "yammap: m.write_at(data, a)": write_at,
    "mmap: mm[a:b] = data": mmap_assign,
    "os.pwrite(fd, data, a)": pwrite,
    "np.memmap: mm[a:b] = data": memmap_assign,
    "pyarrow: f.seek(a); f.write(data)": arrow_write,
}


@pytest.mark.parametrize("what", OVERWRITE)
def test_overwrite(what, peers, shape, race_hot):
    data = peers.memory[: shape.size]
    race_hot("overwrite", OVERWRITE, what, data)
    start, stop = shape.ranges()[-1]
    assert np.array_equal(peers.memmap[start:stop], data)
