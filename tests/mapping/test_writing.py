"""Writes at an offset: past the end they grow the file, inside they go the faster way."""

import mmap
import os
import threading

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize("offset", [0, 100, 16380, 16384, 20_000, 3 * PAGE + 5])
def test_write_at_grows_to_exactly_what_is_needed(m, path, offset):
    model = bytearray(path.read_bytes())
    model.extend(bytes(max(0, offset + 10 - len(model))))
    model[offset : offset + 10] = b"0123456789"
    assert m.write_at(b"0123456789", offset) == 10
    assert m.size() == len(model)
    assert path.read_bytes() == model
    assert m.pread(len(model), 0) == model


def test_writing_nothing_does_not_grow(m):
    assert m.write_at(b"", 1 << 30) == 0
    assert m.size() == 16384


def test_write_at_takes_any_contiguous_buffer(m):
    m.write_at(memoryview(b"abcdef")[2:4], 0)
    assert m.pread(3, 0) == b"cd\2"
    with pytest.raises(TypeError, match="contiguous"):
        m.write_at(memoryview(b"abcdef")[::2], 0)


@pytest.mark.parametrize("offset", [0, 1, PAGE + 7])
@pytest.mark.parametrize("hot", [[], [0], [1 << 20, 5 << 20]])
def test_large_writes_into_pages_hot_and_cold(path, offset, hot):
    """Pages in memory are written by memory copies, others by system calls."""
    size = 6 << 20
    data = os.urandom(size)
    with yammap.create(path, size + 10_000) as m:
        for touched in hot:
            m.write_at(bytes(7), touched)
        assert m.write_at(data, offset) == size
        expected = bytes(offset) + data + bytes(10_000 - offset)
        assert m.pread(size + 10_000, 0) == expected
        assert m.write_at(data, 10_005) == size
        assert m.pread(size, 10_005) == data
        assert path.read_bytes()[10_005:] == data


def test_large_writes_in_memory_only(path):
    path.write_bytes(bytes(4 << 20))
    data = os.urandom(3 << 20)
    with yammap.open(path, "c") as m:
        m.madvise(yammap.MADV_PAGEOUT)
        m.write_at(data, 77)
        assert m.pread(3 << 20, 77) == data
    assert path.read_bytes() == bytes(4 << 20)


@pytest.mark.parametrize("size", [PAGE, 512 << 10, 3 << 20])
@pytest.mark.parametrize(("source", "target"), [(0, 100), (100, 0), (0, PAGE)])
def test_a_write_from_a_view_of_the_same_bytes(path, size, source, target):
    with yammap.create(path, size + PAGE) as m:
        model = bytearray(os.urandom(size + PAGE))
        m.write_at(model, 0)
        m.write_at(m.view(source, size), target)
        model[target : target + size] = bytes(model[source : source + size])
        assert m.pread(size + PAGE, 0) == model


@pytest.mark.usefixtures("eager_switching")
def test_a_large_write_is_whole_after_truncations(path):
    size = 32 << 20
    data = b"w" * size
    for _ in range(10):
        with yammap.open(path, "w+", size=size) as m:
            writer = threading.Thread(target=m.write_at, args=(data, 0))
            writer.start()
            while writer.is_alive() and m.pread(1, 0) == b"\0":
                pass
            m.resize(0)
            m.resize(size)
            writer.join()
            assert m.pread(size, 0).count(b"w") in (0, size)
