"""The labs do what the other tests take for granted."""

import ctypes
import errno
import mmap
import os

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer

PAGE = mmap.PAGESIZE


def raises(code):
    return pytest.raises(OSError, match=os.strerror(code))


def fill(directory):
    """Write until the disk is full; returns how many bytes that took."""
    with open(directory / "filler", "wb", buffering=0) as file, raises(errno.ENOSPC):
        while True:
            file.write(b"f" * lab.MIB)
    return os.stat(directory / "filler").st_size


@pytest.mark.parametrize(
    ("make", "least", "most"),
    [(lab.loop_ext4, 8, 16), (lab.loop_btrfs, 16, 112)],
)
def test_a_disk_ends(tmp_path, make, least, most):
    with make(tmp_path / "disk") as disk:
        assert least * lab.MIB < fill(disk) < most * lab.MIB
    assert not os.path.ismount(disk)


def test_a_tmpfs_ends(small_tmpfs):
    assert fill(small_tmpfs) == lab.MIB


def test_thin_takes_more_than_it_has(thin):
    with open(thin / "file", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 64 * lab.MIB)
        file.write(b"x" * (32 * lab.MIB))
        for code in (errno.ENOSPC, errno.EIO):
            with raises(code):
                os.fsync(file.fileno())
        os.fsync(file.fileno())  # the kernel tells what it lost once, and is done with it


def test_bad_pages(bad):
    fd = os.open(bad.path, os.O_RDWR)
    bad.fail("read 2", "write 1", "fsync")
    assert os.pread(fd, 1, 0) + os.pread(fd, 1, 3 * PAGE) == b"AD"
    for call in (
        lambda: os.pread(fd, 1, 2 * PAGE),
        lambda: os.pwrite(fd, b"x", PAGE),
        lambda: os.fsync(fd),
    ):
        with raises(errno.EIO):
            call()
    bad.fail()
    assert os.pwrite(fd, b"xyz", PAGE) == 3
    assert os.pread(fd, 4, PAGE) == b"xyzB"
    assert os.pread(fd, 4, 2 * PAGE) == b"CCCC"
    os.fsync(fd)
    os.ftruncate(fd, PAGE)
    assert os.fstat(fd).st_size == PAGE
    os.close(fd)


def test_bad_pages_that_are_mapped(bad):
    with open(bad.path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[PAGE] = 120
        bad.fail("write 1")
        with raises(errno.EIO):
            memory.flush()
        assert memory[3 * PAGE] == ord("D")


def test_a_snapshot_has_what_was_synced(tmp_path, ext4):
    with open(ext4 / "synced", "wb") as file:
        file.write(b"synced")
        file.flush()
        os.fsync(file.fileno())
    (ext4 / "lost").write_bytes(b"lost")
    lab.snapshot(ext4, tmp_path / "after")
    with lab.restarted(tmp_path / "after") as after:
        assert (after / "synced").read_bytes() == b"synced"
        assert not (after / "lost").exists()


def test_calls_are_failed_and_counted(failing):
    failing("""
        m = mapped()
        fail("pwrite", 2, errno.EIO)
        m.append(b"a")
        assert raised(OSError, m.append, b"b").errno == errno.EIO
        m.append(b"c")
        os.pwrite(m.fileno(), b"d", 0)      # not yammap's own
        assert fail("msync", 1, errno.EIO, once=False) == 3
        assert raised(OSError, m.sync).errno == errno.EIO
        raised(OSError, m.sync)
        assert fail() == 2
    """)


def test_all_the_calls_are_there(failing_library):
    library = ctypes.CDLL(failing_library)
    for name in ("mmap", "mremap", "ftruncate", "fallocate", "fstat", "madvise", "msync"):
        assert getattr(library, name)
