"""Bytes written to the disk, and what a sync says where it cannot."""

import io

import pytest

import yammap


def test_sync_reaches_the_file(m, path):
    m.view()[100:103] = b"abc"
    m.sync(100, 3)
    m.sync(wait=False)
    m.flush()
    assert path.read_bytes()[99:104] == b"cabcg"


@pytest.mark.parametrize("engine", ["mmap", "pread"])
def test_flush_takes_a_range(engine):
    with yammap.anonymous(100, engine=engine) as m:
        m.flush()
        m.flush(10, 20)
        with pytest.raises(ValueError, match="not all in"):
            m.flush(10, 91)


@pytest.mark.parametrize("options", [{}, {"keep_fd": False}, {"engine": "pread"}])
def test_what_was_stored_is_in_the_file(path, options):
    path.write_bytes(bytes(5000))
    with yammap.open(path, "r+", **options) as m:
        m.write_at(b"stored", 4093)
        m.sync(4093, 6)
        assert path.read_bytes()[4093:4099] == b"stored"


@pytest.mark.no_sanitizer
def test_bytes_that_the_file_has_no_more_were_not_written(child):
    child("""
        import errno, os, yammap
        m = yammap.create("file", 20_000)
        os.truncate("file", 5000)
        m.sync(0, 5000)
        for length in (5001, None):
            try:
                m.sync(0, length)
            except yammap.BusError as error:
                assert (error.errno, error.offset) == (errno.EFAULT, 5000), error
                assert "from 20000 to 5000 bytes" in str(error), error
            else:
                raise AssertionError
    """)


def test_what_cannot_be_rewritten(path):
    path.write_bytes(b"x" * 10)
    for options, text in (
        ({"mode": "r"}, "read-only"),
        ({"mode": "a+"}, "append mode"),
        ({"mode": "r+", "engine": "pread"}, "not mapped"),
        ({"mode": "r+", "keep_fd": False}, "keep_fd=False"),
    ):
        m = yammap.open(path, **options)
        with m, pytest.raises(io.UnsupportedOperation, match=text):
            m.rewrite()
    assert path.read_bytes() == b"x" * 10
