"""Reading what is in memory: into a buffer, and as bytes.

Each contender is a function that looks everything up and returns what is timed: a loop
over the same offsets around the statement its users write.
"""

import os

import numpy as np
import pytest


def read_at(peers, ranges, target):
    call = peers.yammap.read_at

    def run():
        for start, _ in ranges:
            call(target, start)
        return target

    return run


def mmap_slice_into(peers, ranges, target):
    mapping = peers.mmap

    def run():
        for start, stop in ranges:
            target[:] = mapping[start:stop]
        return target

    return run


def mmap_slice_into_bytearray(peers, ranges, target):
    return mmap_slice_into(peers, ranges, bytearray(target))


def mmap_view_into(peers, ranges, target):
    mapping = peers.mmap

    def run():
        with memoryview(mapping) as view:
            for start, stop in ranges:
                target[:] = view[start:stop]
        return target

    return run


def os_preadv(peers, ranges, target):
    call, fd, targets = os.preadv, peers.fd, [target]

    def run():
        for start, _ in ranges:
            call(fd, targets, start)
        return target

    return run


def memmap_into(peers, ranges, target):
    mapping, array = peers.memmap, np.asarray(target)

    def run():
        for start, stop in ranges:
            array[:] = mapping[start:stop]
        return target

    return run


def arrow_readinto(peers, ranges, target):
    seek, call = peers.arrow.seek, peers.arrow.readinto

    def run():
        for start, _ in ranges:
            seek(start)
            call(target)
        return target

    return run


def memcpy(peers, ranges, target):
    memory = peers.memory

    def run():
        for start, stop in ranges:
            target[:] = memory[start:stop]
        return target

    return run


INTO_BUFFER = {
    "yammap: m.read_at(buf, a)": read_at,
    "mmap: buf[:] = mm[a:b]": mmap_slice_into,
    "mmap: buf[:] = mm[a:b], bytearray": mmap_slice_into_bytearray,
    "mmap: buf[:] = memoryview(mm)[a:b]": mmap_view_into,
    "os.preadv(fd, [buf], a)": os_preadv,
    "np.memmap: buf[:] = mm[a:b]": memmap_into,
    "pyarrow: f.seek(a); f.readinto(buf)": arrow_readinto,
    "memcpy: buf[:] = memory[a:b]": memcpy,
}


def pread(peers, ranges, size):
    call = peers.yammap.pread

    def run():
        for start, _ in ranges:
            result = call(size, start)
        return result

    return run


def mmap_slice(peers, ranges, _size):
    mapping = peers.mmap

    def run():
        for start, stop in ranges:
            result = mapping[start:stop]
        return result

    return run


def os_pread(peers, ranges, size):
    call, fd = os.pread, peers.fd

    def run():
        for start, _ in ranges:
            result = call(fd, size, start)
        return result

    return run


def memmap_tobytes(peers, ranges, _size):
    mapping = peers.memmap

    def run():
        for start, stop in ranges:
            result = mapping[start:stop].tobytes()
        return result

    return run


def arrow_read_at(peers, ranges, size):
    call = peers.arrow.read_at

    def run():
        for start, _ in ranges:
            result = call(size, start)
        return result

    return run


def memory_tobytes(peers, ranges, _size):
    memory = peers.memory

    def run():
        for start, stop in ranges:
            result = memory[start:stop].tobytes()
        return result

    return run


AS_BYTES = {
    "yammap: m.pread(n, a)": pread,
    "mmap: mm[a:b]": mmap_slice,
    "os.pread(fd, n, a)": os_pread,
    "np.memmap: mm[a:b].tobytes()": memmap_tobytes,
    "pyarrow: f.read_at(n, a)": arrow_read_at,
    "memcpy: memory[a:b].tobytes()": memory_tobytes,
}


def check(result, peers, shape):
    start, stop = shape.ranges()[-1]
    assert np.array_equal(np.frombuffer(result, np.uint8), peers.memory[start:stop])


@pytest.mark.parametrize("what", INTO_BUFFER)
def test_into_buffer(what, peers, shape, race_hot):
    target = memoryview(np.ones(shape.size, np.uint8))
    check(race_hot("read into a buffer", INTO_BUFFER, what, target), peers, shape)


@pytest.mark.parametrize("what", AS_BYTES)
def test_as_bytes(what, peers, shape, race_hot):
    check(race_hot("read as bytes", AS_BYTES, what, shape.size), peers, shape)
