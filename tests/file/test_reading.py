"""Cold records that a queue cannot bring: where they go, and where they come from."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 300 * PAGE
HERE = Path(__file__).parent / "reuse"
CORE = HERE.parents[2] / "yammap"


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture
def m(path, data):
    path.write_bytes(data)
    with yammap.open(path) as m:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        yield m


@pytest.fixture(params=["io_uring", "aio", "hints"])
def kind(request, monkeypatch):
    for other in set(gather.KINDS) - {request.param}:
        monkeypatch.delitem(gather.KINDS, other)
    yield request.param
    gather.idle_queues[request.param].clear()


def cold(m):
    m.evict()
    return m


@pytest.mark.parametrize("cached", [True, False, None])
@pytest.mark.parametrize("length", [100, PAGE])
def test_out_is_a_view_of_another_file(m, kind, data, tmp_path, length, cached):
    (tmp_path / "out").write_bytes(bytes(200 * length))
    with yammap.open(tmp_path / "out", "r+") as other:
        out = other.array(shape=(200, length))
        cold(m).gather(np.arange(200) * PAGE, length, out, cached=cached)
        assert np.array_equal(out, data.reshape(-1, PAGE)[:200, :length])
        del out


@pytest.mark.parametrize("cached", [True, False, None])
@pytest.mark.parametrize("length", [100, PAGE])
def test_out_is_a_view_of_a_file_that_was_cut(m, kind, data, tmp_path, length, cached):
    """The caller gets the error of the view, and all records before it."""
    (tmp_path / "out").write_bytes(bytes(200 * length))
    with yammap.open(tmp_path / "out", "r+") as other:
        out = other.array(shape=(200, length))
        cold(m)
        end = 100 * length // PAGE * PAGE
        os.truncate(tmp_path / "out", end)
        with pytest.raises(yammap.BusError) as caught:
            m.gather(np.arange(200) * PAGE, length, out, cached=cached)
        assert caught.value.record == end // length
        before = out[: end // length]
        assert np.array_equal(before, data.reshape(-1, PAGE)[: len(before), :length])
        del out, before


@pytest.mark.parametrize("cached", [True, False, None])
def test_out_is_a_part_of_the_mapping_itself(path, kind, data, cached):
    path.write_bytes(data)
    with yammap.open(path, "r+") as m:
        cold(m)
        out = m.array(shape=(50, PAGE), offset=250 * PAGE)
        m.gather(np.arange(50) * PAGE, PAGE, out, cached=cached)
        assert np.array_equal(out, data[: 50 * PAGE].reshape(50, PAGE))
        del out
    assert path.read_bytes()[250 * PAGE :] == data[: 50 * PAGE].tobytes()


@pytest.mark.parametrize("cached", [True, False, None])
def test_an_index_that_another_thread_changes(m, kind, data, cached):
    """A record is checked again when it is copied: no byte is read outside the mapping."""
    offsets = np.arange(0, 3000 * 100, 100)
    batch = gather.begin_gather(cold(m), offsets, 50, None, cached)
    offsets[5:] = -1
    with pytest.raises(ValueError, match=r"record \d+, 50 bytes at offset -1, is not in"):
        batch.finish()


@pytest.mark.parametrize("cached", [True, False, None])
def test_a_batch_goes_on_where_memory_is_hot(m, kind, data, cached):
    """Cold records first, and then many that lie in memory."""
    cold(m).read_at(np.empty(200 * PAGE, np.uint8), 100 * PAGE)
    pages = np.r_[np.arange(60), np.tile(np.arange(100, 300), 20), np.arange(60, 100)]
    found = m.gather(pages * PAGE + 3, 50, cached=cached)
    assert np.array_equal(found, data.reshape(-1, PAGE)[pages, 3:53])


@pytest.mark.parametrize("kind", ["io_uring", "hints"], indirect=True)
def test_a_batch_of_which_a_part_is_cold_stays_in_the_queue(path, kind):
    """A page fault would wait, however fast the disk is, and read around the page."""
    pages = np.arange(4096)
    path.write_bytes(bytes(len(pages) * PAGE))
    with yammap.open(path) as m, path.open("rb") as file:
        os.fsync(file.fileno())
        cold(m)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for page in pages[pages % 32 > 0].tolist():
            os.pread(file.fileno(), 1, page * PAGE)
        m.gather(pages * PAGE, PAGE, cached=True)
        assert m.statistics()["requests"] == len(pages)


# -- The sample of reads


@pytest.fixture(scope="module")
def draws(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("reuse") / "draws"
    command = ["gcc", "-O2", "-Wall", "-Werror", f"-I{CORE}", "-o", program]
    subprocess.run([*command, HERE / "draws.c", "-lm"], check=True)

    def draw(*arguments):
        return subprocess.check_output([program, *map(str, arguments)], text=True).strip()

    return draw


@pytest.mark.parametrize("room", [1000, 30_000, 60_000])
@pytest.mark.parametrize("times", [10, 30])
def test_uniform_draws_are_rare_where_there_is_little_room(draws, room, times):
    assert draws(room, 16 * room, times * 16 * room // 10, 0) == "rare"


@pytest.mark.parametrize("room", [1000, 30_000, 60_000])
def test_draws_of_a_few_pages_mostly_are_not_rare(draws, room):
    assert draws(room, 16 * room, 16 * room, 1.1) == "frequent"


def test_what_fits_is_not_rare(draws):
    assert draws(60_000, 50_000, 400_000, 0) == "frequent"


def test_too_few_draws_tell_nothing(draws):
    assert draws(1000, 16_000, 127, 0) == "frequent"
