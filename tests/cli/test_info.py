"""What there is to tell of a file: it agrees with what the system says."""

import mmap
import os
import subprocess
import tempfile

import pytest

import yammap

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap._cli import info

PAGE = mmap.PAGESIZE


def test_info_agrees_with_the_system(written):
    found = info.inspect(str(written))
    status = written.stat()
    assert (found.path, found.size) == (str(written), status.st_size)
    assert found.allocated == status.st_blocks * 512
    assert (found.holes, found.bytes_in_holes, found.engine) == (0, 0, "mmap")


def test_holes_are_counted_in_bytes(path):
    with yammap.open(path, "w+", size=1 << 20, preallocate=False) as m:
        m.write_at(b"data", 1 << 18)
        m.write_at(b"data", 1 << 19)
    found = info.inspect(str(path))
    data = (1 << 20) - found.bytes_in_holes
    assert found.holes == 3
    assert 0 < data == found.allocated <= 2 << 16


def test_data_at_both_ends_leaves_one_hole(path):
    with yammap.open(path, "w+", size=1 << 20, preallocate=False) as m:
        m.write_at(b"data", 0)
        m.write_at(b"data", (1 << 20) - 4)
    assert info.inspect(str(path)).holes == 1


def test_residency_is_told_by_the_page(memory):
    found = info.inspect(memory)
    assert found.residency == info.Residency(PAGE, [0, PAGE, PAGE, 0, 0, 0, 0, 0])
    assert (found.holes, found.bytes_in_holes) == (2, 6 * PAGE)
    assert found.filesystem is None


@pytest.mark.parametrize(
    ("pages", "cell", "cells"),
    [(1, 1, 1), (256, 1, 256), (257, 2, 129), (512, 2, 256), (513, 4, 129)],
)
def test_cells_are_powers_of_two(pages, cell, cells):
    with yammap.anonymous(pages * PAGE - 1) as m:
        m.write_at(b"end", m.size() - 3)
        found = info.residency(m)
    assert (found.cell, len(found.resident)) == (cell * PAGE, cells)
    assert sum(found.resident) == found.resident[-1] == PAGE - 1


def test_nothing_is_no_cells(path):
    path.touch()
    assert info.inspect(str(path)).residency.resident == []


def test_a_file_beyond_the_address_space():
    fd = os.memfd_create("huge")
    try:
        os.truncate(fd, 1 << 62)
        os.pwrite(fd, b"x", 1 << 61)
        found = info.inspect(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    assert (found.size, found.holes, found.engine) == (1 << 62, 2, "pread")
    assert found.residency is None or sum(found.residency.resident) == PAGE


@pytest.mark.parametrize("directory", [None, "/dev/shm"])
def test_filesystem_is_the_one_that_has_the_file(directory):
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        found = info.inspect(file.name).filesystem
        assert os.path.ismount(found.mount)
        assert os.stat(found.mount).st_dev == os.stat(file.name).st_dev
    mounts = subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout
    assert f"{found.source} on {found.mount} type {found.type} " in mounts


def test_spaces_in_mounts_are_spaces():
    assert info._unescaped(r"/mnt/a\040b\134c") == r"/mnt/a b\c"


def test_what_the_kernel_hides_is_unknown_and_no_error(written, monkeypatch, run):
    def hide(self, start, count):
        raise PermissionError(1, "hidden", self.name)

    monkeypatch.setattr(yammap.Mmap, "_bytes_resident", hide)
    assert info.inspect(str(written)).residency is None
    assert "unknown: the kernel tells" in run("info", written)[1]
