"""What is really on the disk, where the page cache may hold something else."""

import os

import pytest

import yammap
from yammap._file import disk

PAGE = os.sysconf("SC_PAGESIZE")
LENGTH = 2 * disk._CHUNK + PAGE + 5


@pytest.fixture
def other_byte(path, monkeypatch):
    """Have the disk hold another byte at a position than the page cache does."""
    monkeypatch.setattr(os, "O_DIRECT", 0)  # also where the tests' directory has none
    readv = os.readv
    path.write_bytes(bytes(LENGTH))

    def other_byte(position):
        def read(fd, buffers):
            offset = os.lseek(fd, 0, os.SEEK_CUR)
            count = readv(fd, buffers)
            if offset <= position < offset + count:
                buffers[0][position - offset] = 1
            return count

        monkeypatch.setattr(os, "readv", read)

    return other_byte


@pytest.mark.parametrize(
    "position", [0, PAGE, disk._CHUNK - 1, disk._CHUNK, 2 * disk._CHUNK, LENGTH - 1]
)
@pytest.mark.parametrize("origin", [0, 3])
def test_another_byte_differs_and_those_before_and_the_next_pages_do_not(
    path, other_byte, origin, position
):
    end = LENGTH - origin
    position = min(position, end - 1)
    other_byte(origin + position)
    with yammap.open(path, offset=origin) as m:
        assert disk.differs_on_disk(m, 0, end)
        assert disk.differs_on_disk(m, position, 1)
        assert not disk.differs_on_disk(m, 0, position)
        behind = (origin + position) // PAGE * PAGE + PAGE - origin
        assert not disk.differs_on_disk(m, behind, max(0, end - behind))


def test_what_is_on_the_disk_does_not_differ(path):
    with yammap.create(path, LENGTH) as m:
        m.write_at(b"x" * LENGTH, 0)
        m.sync()
        assert not disk.differs_on_disk(m, 0, LENGTH)


def test_a_filesystem_that_cannot_read_past_its_cache_is_believed(path, monkeypatch):
    path.write_bytes(b"x")
    with yammap.open(path) as m:
        monkeypatch.setattr(os, "O_DIRECT", os.O_DIRECTORY)  # refused here
        assert not disk.differs_on_disk(m, 0, 1)


def test_a_directory_is_synced_as_a_directory(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    disk.sync_directory(str(tmp_path))
    assert synced == [tmp_path.stat().st_ino]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        disk.sync_directory(str(tmp_path / "file"))
