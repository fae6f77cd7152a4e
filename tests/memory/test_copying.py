"""Copies between memory and a buffer: how far they come, and where they fault."""

import os

import pytest

import yammap


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("method", ["read_at", "write_at"])
def test_source_and_target_in_one_mapping_that_was_cut(child, method):
    child(f"""
        import mmap, os, yammap
        page = mmap.PAGESIZE
        m = yammap.create("file", 4 * page)
        view = m.view(2 * page, page)
        os.truncate("file", 2 * page)
        try:
            m.{method}(view, 0)
        except yammap.BusError as error:
            assert "in the caller's buffer" in str(error)
        else:
            raise AssertionError
    """)


@pytest.mark.no_sanitizer
@pytest.mark.parametrize(
    "call", ["m.find(cut)", "m.rfind(cut)", "m[:] = cut", "m[::-1] = cut", "cut in m"]
)
def test_a_buffer_that_was_cut(child, call):
    child(f"""
        import os, yammap
        m, other = yammap.anonymous(100), yammap.create("other", 100)
        cut = other.view()
        os.truncate("other", 0)
        try:
            {call}
        except yammap.BusError as error:
            assert "in the caller's buffer" in str(error)
        else:
            raise AssertionError
    """)


@pytest.mark.parametrize("length", [1, 4096])
def test_a_hot_page_is_read_anew(path, length):
    """That a page was touched a moment ago spares a wait, and no read."""
    with yammap.open(path, "w+", size=8192) as m:
        for value in (b"a", b"b", b"c"):
            os.pwrite(m.fileno(), value * length, 2000)
            assert m.pread(length, 2000) == value * length


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("pages", [3, 700])
def test_a_copy_counts_exactly_up_to_the_first_missing_byte(child, pages):
    """memmove may touch the last page first; 700 pages are copied in several pieces."""
    child(f"""
        import mmap, os, yammap
        size, cut = {pages} * mmap.PAGESIZE, {pages - 1} * mmap.PAGESIZE - 5
        m = yammap.open("file", "w+")
        m.write(os.urandom(size))
        data, buffer = m[:], bytearray(size - 7)
        os.truncate("file", cut)
        try:
            m.read_at(buffer, 7)
        except yammap.BusError as error:
            assert (error.offset, error.count, error.access) == (cut, cut - 7, "read")
        else:
            raise AssertionError
        assert buffer[: cut - 7] == data[7:cut]
    """)


@pytest.mark.no_sanitizer
@pytest.mark.parametrize(
    ("step", "access"), [("m[::3]", "read"), ("m[::-1]", "read"), ("m[::2] = b", "write")]
)
def test_a_step_over_missing_bytes(child, step, access):
    child(f"""
        import os, yammap
        m = yammap.create("file", 20_000)
        b = bytes(10_000)
        os.truncate("file", 0)
        try:
            {step}
        except yammap.BusError as error:
            assert error.access == "{access}"
            assert "the file shrank from 20000 to 0 bytes" in str(error), error
        else:
            raise AssertionError
    """)
