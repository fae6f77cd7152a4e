"""Syncing: the name of a new file with its bytes, and what rewriting believes."""

import errno

import pytest

import yammap
from yammap._file import durability


@pytest.fixture
def synced(monkeypatch):
    """Have directories noted instead of synced, or `synced.failure` raised."""

    class Synced(list):
        failure = None

    synced = Synced()

    def sync_directory(path):
        if synced.failure is not None:
            raise synced.failure
        synced.append(path)

    monkeypatch.setattr(durability, "sync_directory", sync_directory)
    return synced


def test_the_first_sync_writes_the_name_of_a_new_file(path, synced):
    with yammap.open(path, "w+", size=10) as m:
        m.sync(wait=False)
        assert synced == []
        m.flush()
        m.sync()
        assert synced == [str(path.parent)]
    with yammap.open(path, "r+") as m:
        m.sync()
    assert synced == [str(path.parent)]


def test_a_name_that_cannot_be_written_stays_a_failure(path, synced):
    with yammap.open(path, "w+", size=10) as m:
        synced.failure = OSError(errno.EIO, "broken")
        for _ in range(2):
            with pytest.raises(OSError, match="may not be on the disk") as error:
                m.sync()
            assert error.value.errno == errno.EIO
            synced.failure = None


def test_rewriting_believes_the_disk_and_not_the_kernel(path, monkeypatch):
    path.write_bytes(b"x" * 10_000)
    asked = []

    def differs(m, offset, length):
        asked.append((offset, length))
        return offset == 5000

    monkeypatch.setattr(durability, "differs_on_disk", differs)
    with yammap.open(path, "r+") as m:
        m.rewrite(0, 5000)
        m.sync()
        for call in (lambda: m.rewrite(5000), m.sync):
            with pytest.raises(OSError, match="rewrite\\(\\) tries again") as error:
                call()
            assert error.value.errno == errno.EIO
        m.rewrite()
        m.sync()
    assert asked == [(0, 5000), (5000, 5000), (0, 10_000)]
    assert path.read_bytes() == b"x" * 10_000
