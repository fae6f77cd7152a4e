"""What there is to tell of a file: it agrees with what the system says."""

import mmap
import os
import subprocess
import tempfile

import numpy as np
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
    assert 0 < data <= found.allocated <= 2 << 16  # with blocks that say where data are


def test_data_at_both_ends_leaves_one_hole(path):
    with yammap.open(path, "w+", size=1 << 20, preallocate=False) as m:
        m.write_at(b"data", 0)
        m.write_at(b"data", (1 << 20) - 4)
    assert info.inspect(str(path)).holes == 1


def test_residency_is_told_by_the_page(memory):
    found = info.inspect(memory)
    pages = [0, PAGE, PAGE, 0, 0, 0, 0, 0]
    assert found.residency == info.Residency(0, 8 * PAGE, PAGE, pages)
    assert (found.holes, found.bytes_in_holes) == (2, 6 * PAGE)
    assert found.filesystem is None


@pytest.mark.parametrize(
    ("pages", "cell", "cells"),
    [(1, 1, 1), (256, 1, 256), (257, 2, 129), (512, 2, 256), (513, 4, 129)],
)
def test_cells_are_powers_of_two(pages, cell, cells):
    with yammap.anonymous(pages * PAGE - 1) as m:
        m.write_at(b"end", m.size() - 3)
        found = info.residency(m, 0, m.size())
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


# -- Arrays


def test_arrays_of_numpys_files_are_told(tmp_path):
    grid = np.zeros((3, 4), "<f4", order="F")
    np.save(tmp_path / "grid.npy", grid)
    assert info.inspect(str(tmp_path / "grid.npy")).arrays == [
        info.Array(None, "float32", (3, 4), "F")
    ]
    np.savez(tmp_path / "two.npz", x=np.arange(3), y=np.zeros((), "S2"))
    assert info.inspect(str(tmp_path / "two.npz")).arrays == [
        info.Array("x", "int64", (3,), "C"),
        info.Array("y", "|S2", (), "C"),
    ]
    np.savez_compressed(tmp_path / "small.npz", x=grid)
    (found,) = info.inspect(str(tmp_path / "small.npz")).arrays
    assert found.compressed


@pytest.mark.parametrize("name", ["bad.npy", "bad.npz"])
def test_a_file_that_only_has_the_name_of_an_array_has_none(name, tmp_path):
    (tmp_path / name).write_bytes(b"no header")
    assert info.inspect(str(tmp_path / name)).arrays == []


def test_arrays_are_shown(tmp_path, run):
    np.savez(tmp_path / "two.npz", x=np.zeros((2, 3), "<i2", order="F"), y=np.zeros(1))
    out = run("info", tmp_path / "two.npz")[1]
    assert "  array       x: int16 (2, 3), order F\n  array       y: float64 (1,)\n" in out


# -- Ranges and directories


def test_a_range_is_looked_at_alone(memory):
    found = info.inspect(memory, 2 * PAGE, 3 * PAGE).residency
    assert found == info.Residency(2 * PAGE, 3 * PAGE, PAGE, [PAGE, 0, 0])
    assert info.inspect(memory, 7 * PAGE, 9 * PAGE).residency.resident == [0]
    with pytest.raises(OSError, match="byte 1,000,000 is behind the end"):
        info.inspect(memory, 1_000_000)


def test_files_below_a_directory(tmp_path):
    for name in ("b/c", "b/a", "a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "fifo")
    below = [os.path.relpath(path, tmp_path) for path in info.files_below(str(tmp_path))]
    assert below == ["a", "b/a", "b/c"]
    assert list(info.files_below("no such file")) == ["no such file"]


# -- Sparse files: what takes no time here would take an hour, byte by byte


@pytest.fixture
def sparse(tmp_path):
    """A file of 8 TiB with two pages of data."""
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(8 << 40)
        os.pwrite(file.fileno(), b"x" * PAGE, 0)
        os.pwrite(file.fileno(), b"x" * PAGE, 5 << 40)
    return path


def test_sparse_files_of_terabytes_take_no_time(sparse, run):
    if not cachestat_works(sparse):
        pytest.skip("mincore(2) looks at each page")
    assert run("evict", sparse)[0] == 0
    assert run("info", sparse)[0] == 0
    assert sum(info.inspect(str(sparse)).residency.resident) == 0
    assert run("warm", sparse) == (0, "", "")
    found = info.inspect(str(sparse))
    assert sum(found.residency.resident) >= 2 * PAGE
    assert found.holes == 2


def cachestat_works(path):
    with yammap.open(path, engine="pread") as m:
        try:
            m.resident(0, 1)
        except OSError:
            return False
    return True


def test_only_data_are_warmed(sparse):
    with yammap.open(sparse, engine="pread") as m:
        ranges = list(info.ranges_of_data(m, 0, m.size()))
        assert [start for start, _ in ranges] == [0, 5 << 40]
        assert list(info.ranges_of_data(m, PAGE // 2, 10)) == [(PAGE // 2, 10)]
        assert list(info.ranges_of_data(m, 4 << 40, 10)) == []
        assert list(info.ranges_of_data(m, 0, 0)) == []


def test_only_what_is_in_memory_is_evicted():
    cached = [(3, 1), (64, 8)]

    def bytes_at(start, count):
        return sum(start < at + n and at < start + count for at, n in cached)

    pieces = list(info.ranges_in_memory(bytes_at, 0, 100, 8))
    assert pieces == [(0, 8), (64, 8)]
    assert list(info.ranges_in_memory(bytes_at, 0, 0, 8)) == []


def test_without_cachestat_mincore_is_asked(written, monkeypatch):
    real = yammap.Mmap._bytes_resident

    def refuse(self, start, count):
        if self.engine == "pread":
            raise PermissionError(1, "refused", self.name)
        return real(self, start, count)

    with yammap.open(written) as m, info.counter(m) as bytes_at:
        expected = bytes_at(0, 100_000)
        monkeypatch.setattr(yammap.Mmap, "_bytes_resident", refuse)
        with info.counter(m) as bytes_at:
            assert bytes_at(0, 100_000) == expected
