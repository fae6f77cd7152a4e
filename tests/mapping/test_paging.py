"""Pages of a mapping: advice, populating, locking, holes and blocks."""

import errno
import mmap
import os

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize(
    "advice", ["NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "DONTNEED"]
)
def test_madvise(m, advice):
    data = m.pread(16384, 0)
    m.madvise(yammap.Advice[advice])
    m.madvise(yammap.Advice[advice], 4097, 5)
    assert m.pread(16384, 0) == data


@pytest.mark.parametrize("advice", ["FREE", "REMOVE", "HWPOISON"])
def test_madvise_refuses_to_destroy(m, advice):
    with pytest.raises(ValueError, match="destroys data"):
        m.madvise(yammap.Advice[advice])


def test_madvise_refuses_to_drop_private_changes(path):
    path.write_bytes(b"x" * PAGE)
    with yammap.open(path, "c") as m:
        m.write(b"mine")
        with pytest.raises(ValueError, match="destroys data"):
            m.madvise(yammap.MADV_DONTNEED)
        assert m.pread(4, 0) == b"mine"


def test_wipe_on_fork_is_for_anonymous_memory():
    m = yammap.anonymous(PAGE)
    with pytest.raises(OSError) as error:  # noqa: PT011
        m.madvise(yammap.MADV_WIPEONFORK)
    assert error.value.errno == errno.EINVAL


def test_madvise_unknown(m):
    # 24 and 102 drop private changes and make the next access a segmentation fault.
    for number in (12345, -1, 24, 102):
        with pytest.raises(
            ValueError, match=f"advice {number} is unknown, or destroys data"
        ):
            m.madvise(number)


def test_madvise_that_the_kernel_refuses(m):
    with pytest.raises(OSError, match="Invalid argument") as error:
        m.madvise(yammap.MADV_MERGEABLE, 0, 0) or m.madvise(yammap.MADV_WIPEONFORK)
    assert (error.value.errno, error.value.filename) == (errno.EINVAL, m.name)


def test_populate(path):
    path.write_bytes(b"x" * (64 * PAGE))
    with yammap.open(path, populate=True) as m:
        assert m.resident().tolist() == [True] * 64
    with yammap.open(path.with_name("empty"), "w+", populate=True) as m:
        assert m.resident().size == 0


@pytest.mark.no_sanitizer
def test_lock_and_its_limit(child):
    child("""
        import errno, os, resource, yammap
        m = yammap.anonymous(1 << 20)
        m.lock(5, 10)
        m.unlock()
        if os.geteuid() == 0:  # root may lock what it wants
            os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        try:
            m.lock()
        except OSError as error:
            assert error.errno in (errno.ENOMEM, errno.EPERM), error
        else:
            raise AssertionError
    """)


def test_punch_hole_and_allocate(m, path):
    m.append(b"x" * (8 << 20))
    m.sync()
    full = os.stat(path).st_blocks
    m.punch_hole(2 << 20, 4 << 20)
    assert os.stat(path).st_blocks < full  # before reading, which allocates on tmpfs
    assert m.find(b"\0" * (4 << 20), 16384) == 2 << 20
    assert m.pread(3, (2 << 20) - 2) == b"xx\0"
    m.allocate()
    assert os.stat(path).st_blocks >= full
    assert m.size() == 16384 + (8 << 20)
