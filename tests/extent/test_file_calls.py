"""A file by its descriptor: which file it is, its offset, its flags."""

import fcntl
import os

import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


def test_12_the_mapping_keeps_its_file_when_the_name_goes(path):
    path.write_bytes(b"old")
    with yammap.open(path, "r+") as m:
        path.unlink()
        path.write_bytes(b"new file")
        assert m.refresh() == 3
        m.append(b"er")
        assert m.read() == b"older"
        os.replace(path, path.with_name("moved"))
        assert m.pread(9, 0) == b"older"
    assert path.with_name("moved").read_bytes() == b"new file"


def test_a_shared_descriptor_keeps_its_offset(path):
    with open(path, "wb+") as file:
        file.write(b"x" * PAGE)
        file.flush()
        before = file.tell()
        with yammap.open(file.fileno(), "r+") as m:
            assert m.seek(0, yammap.SEEK_HOLE) == PAGE
            with pytest.raises(OSError, match="No such device or address") as error:
                m.seek(PAGE, yammap.SEEK_DATA)
            assert error.value.filename == file.fileno()
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == before


def test_holes_in_a_window_end_with_it(path):
    path.write_bytes(b"0123456789" * 1000)
    with yammap.open(path, offset=10, length=100) as window:
        assert window.seek(5, yammap.SEEK_DATA) == 5
        assert window.seek(5, yammap.SEEK_HOLE) == 100
        for offset in (2**63 - 1, 2**63 - 10):  # which the window's own would overflow
            with pytest.raises(OSError, match="No such device or address"):
                window.lseek(offset, yammap.SEEK_DATA)
        with pytest.raises(ValueError, match="whence"):
            window.lseek(0, yammap.SEEK_SET)


def test_a_descriptor_that_appends_from_now_on(path):
    with open(path, "wb+") as file:
        file.truncate(8 << 20)
        with yammap.open(file.fileno(), "r+") as m:
            fcntl.fcntl(file.fileno(), fcntl.F_SETFL, os.O_APPEND)
            assert m.write_at(b"w" * (2 << 20), 100) == 2 << 20
            assert m.pread(3, 99) == b"\0ww"
    assert path.stat().st_size == 8 << 20


def test_a_sealed_memfd_is_written_by_memory():
    with yammap.anonymous(4 << 20) as m:
        fcntl.fcntl(m.fileno(), 1033, 0x10)  # F_ADD_SEALS, F_SEAL_FUTURE_WRITE
        assert m.write_at(b"w" * (2 << 20), 5) == 2 << 20
        with pytest.raises(PermissionError):
            m.append(b"x")
