"""Whole pages around ranges of bytes."""

import mmap

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE


def present(m):
    """Tell of each page whether it is in the page table, as proc_pid_pagemap(5) says."""
    array = m.array()
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(array.ctypes.data // PAGE * 8)
        entries = np.frombuffer(pagemap.read(len(array) // PAGE * 8), np.uint64)
    return (entries >> np.uint64(63)).tolist()


@pytest.mark.parametrize("origin", [0, 1, PAGE - 1, PAGE, PAGE + 7])
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, PAGE), (PAGE - 1, 1), (PAGE - 1, 2), (5, 2 * PAGE), (PAGE, 0)],
)
def test_pages_are_all_that_have_a_byte_of_the_range(path, origin, offset, length):
    path.write_bytes(bytes(8 * PAGE))
    with yammap.open(path, offset=origin) as m:
        bytes_in_file = range(origin + offset, origin + offset + length)
        expected = len({byte // PAGE for byte in bytes_in_file})
        assert len(m._mincore(offset, length)) == expected
        m.sync(offset, length)
        m._hint(offset, length)


def test_pages_are_touched_and_dropped_whole():
    with yammap.anonymous(6 * PAGE) as m:
        m._populate(PAGE + 5, PAGE, True)
        assert present(m) == [0, 1, 1, 0, 0, 0]
        m.array()[2 * PAGE] = 7
        m._drop(PAGE + 1, 2 * PAGE)
        assert present(m) == [0, 1, 0, 0, 0, 0]
        assert m[2 * PAGE] == 7


@pytest.mark.no_sanitizer
def test_dropping_goes_around_locked_pages():
    with yammap.anonymous(8 * PAGE) as m:
        m._populate(0, 8 * PAGE, True)
        m.lock(4 * PAGE, PAGE)
        m._drop(0, None)
        assert present(m) == [0, 0, 0, 0, 1, 0, 0, 0]
        m.unlock()
        m._drop(0, None)
        assert present(m) == [0] * 8


def test_empty_ranges_leave_the_next_page_alone(child):
    """A range of no bytes at the end of an exact mapping begins on somebody else's page."""
    child("""
        import ctypes, mmap, numpy as np, os, yammap
        page = mmap.PAGESIZE
        open("file", "wb").write(b"x" * page)
        kept, neighbours = [], 0
        for _ in range(50):
            before = mmap.mmap(-1, page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            before[:6] = b"secret"
            m = yammap.open("file", length=page)
            here = m.array().ctypes.data
            kept.append((before, m))
            neighbours += ctypes.addressof(ctypes.c_char.from_buffer(before)) == here + page
            m.madvise(yammap.MADV_DONTNEED, page)
            m.unlock(page)
            m.sync(page)
            assert before[:6] == b"secret"
        assert neighbours
    """)
