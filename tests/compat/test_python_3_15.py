"""What Python 3.15 changed in `mmap.mmap`, on every Python; there, test_compat compares."""

import errno

import pytest

from yammap import compat
from yammap.compat import _python_3_15 as newest

PAGE = compat.PAGESIZE
SYNC, ASYNC, INVALIDATE = compat.MS_SYNC, compat.MS_ASYNC, compat.MS_INVALIDATE


@pytest.fixture
def m(path):
    path.write_bytes(bytes(3 * PAGE))
    with open(path, "r+b") as file, newest.mmap(file.fileno(), 0) as made:
        yield made


@pytest.fixture
def synced(monkeypatch):
    """The ranges that are synced."""
    ranges, whole = [], newest.mmap._flush

    def flush(m, offset, size, writes, flags):
        if flags & SYNC:
            ranges.append((offset, size))
        whole(m, offset, size, writes, flags)

    monkeypatch.setattr(newest.mmap, "_flush", flush)
    return ranges


@pytest.mark.parametrize("flags", [0, SYNC, SYNC | INVALIDATE])
def test_a_flush_that_waits(m, synced, flags):
    m.flush(PAGE, flags=flags)
    m.flush(0, -1, flags=flags)
    m.flush(0, PAGE, flags=flags)
    assert synced == [(PAGE, 2 * PAGE), (0, 3 * PAGE), (0, PAGE)]


@pytest.mark.parametrize("flags", [ASYNC, INVALIDATE, ASYNC | INVALIDATE])
def test_a_flush_that_does_not_wait(m, synced, flags):
    m.flush(flags=flags)
    assert synced == []


@pytest.mark.parametrize("flags", [SYNC | ASYNC, 8, -1])
def test_flags_that_msync_does_not_take(path, m, flags):
    with pytest.raises(OSError, match="Invalid argument") as error:
        m.flush(flags=flags)
    assert error.value.errno == errno.EINVAL
    with open(path, "rb") as file:
        newest.mmap(file.fileno(), 0, access=compat.ACCESS_READ).flush(flags=flags)


@pytest.mark.parametrize("range_", [(4 * PAGE,), (-1,), (0, -2), (0, 4 * PAGE)])
def test_a_range_that_is_not_in_the_mapping(m, range_):
    with pytest.raises(ValueError, match="flush values out of range"):
        m.flush(*range_)


@pytest.mark.parametrize("flags", [2**31, -(2**31) - 1])
def test_flags_that_are_none_in_c(m, flags):
    with pytest.raises(OverflowError):
        m.flush(flags=flags)


def test_memory_has_the_size_of_its_mapping(path):
    with newest.mmap(-1, 10) as m:
        assert m.size() == 10
    path.write_bytes(b"abc")
    with open(path, "r+b") as file:
        assert newest.mmap(file.fileno(), 2).size() == 3
        untracked = newest.mmap(file.fileno(), 2, trackfd=False)
    with pytest.raises(ValueError, match="can't get size with trackfd=False"):
        untracked.size()


def test_names(m):
    with newest.mmap(-1, 10) as memory:
        memory.set_name("scratch")
        memory.set_name("x" * 66)
        with pytest.raises(ValueError, match="too long"):
            memory.set_name("é" * 34)
        with pytest.raises(ValueError, match="null character"):
            memory.set_name("a\0")
        with pytest.raises(TypeError, match="must be str, not bytes"):
            memory.set_name(b"scratch")
    with pytest.raises(ValueError, match="non-anonymous"):
        m.set_name("scratch")
