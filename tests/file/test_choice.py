"""Whether batches read past the page cache: as the caller says, or as it is cheaper."""

import os

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")
PAGES = 600
PAST, INTO = "past the page cache", "into the page cache"


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 256, PAGES * PAGE, np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("written") / "file.bin"
    path.write_bytes(data)
    return path


@pytest.fixture
def m(written):
    with yammap.open(written, "r+") as m:
        m.sync()
        yield m


@pytest.fixture
def room(monkeypatch):
    """Say how much memory there is: a function of the bytes."""
    return lambda size: monkeypatch.setattr(gather, "room_for_files", lambda: size)


def read(m, pages, **options):
    """Gather cold records, one of each page."""
    m.evict()
    found = m.gather(np.asarray(pages) * PAGE, 100, **options)
    assert len(found) == len(pages)
    return m.statistics()


def uniform(turn, count=300):
    return np.random.default_rng(turn).integers(0, PAGES, count)


def test_nothing_was_read_yet(m):
    assert m.statistics() == {
        "engine": "mmap",
        "reason": "no batch has met cold records",
        "requests": 0,
        "bytes_read": 0,
        "fallbacks": 0,
    }


def test_hot_records_are_no_concern_of_it(m):
    m.populate()
    m.gather(np.arange(PAGES) * PAGE, 100)
    assert m.statistics()["engine"] == "mmap"


@pytest.mark.parametrize(("cached", "where"), [(True, INTO), (False, PAST)])
def test_as_the_caller_wants_it(m, room, cached, where):
    room(0 if cached else 1 << 60)
    found = read(m, uniform(0), cached=cached)
    assert found["engine"].endswith(where)
    assert found["reason"] == f"cached={cached}"


def test_what_the_cache_keeps(m):
    read(m, np.arange(PAGES), cached=False)
    assert m.resident().mean() < 0.1
    read(m, np.arange(PAGES), cached=True)
    assert m.resident().mean() > 0.9


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_small_mapping_that_memory_has_room_for_is_read_into_it(written, room, mode):
    room(PAGES * PAGE)
    with yammap.open(written, mode) as m:
        for turn in range(5):
            found = read(m, uniform(turn))
        assert found["engine"].endswith(INTO)
        assert found["reason"] == "there is memory for all of the mapping"


@pytest.mark.parametrize(("mode", "where"), [("r", PAST), ("r+", INTO)])
def test_a_few_pages_of_a_large_mapping(path, room, mode, where):
    """Past the cache, unless the disk would have to write changed pages before."""
    room(1 << 40)
    path.touch()
    os.truncate(path, 1 << 28)
    with yammap.open(path, mode) as m:
        found = read(m, np.arange(300) * 200)
        assert found["engine"].endswith(where)


def test_a_few_pages_that_are_read_again_and_again(path, room):
    """They have no tracer, perhaps."""
    room(1 << 40)
    path.touch()
    os.truncate(path, 1 << 28)
    with yammap.open(path) as m:
        for _ in range(4):
            found = read(m, np.arange(10) * 128 + 1)
        assert found["engine"].endswith(INTO)
        assert found["reason"].endswith("pages are read again")


def test_without_room_the_cache_is_tried_first(m, room):
    """Until the sample tells; and pages that are in it at last are read again."""
    room(PAGE)
    found = [read(m, np.arange(PAGES)) for _ in range(3)]
    assert [each["engine"].split(", ")[1] for each in found] == [INTO, PAST, INTO]
    assert found[0]["reason"] == "pages are read again, or too few were read to tell"


def test_without_room_a_batch_changes_its_way_as_soon_as_the_sample_tells(path, room):
    """Into the cache, then past it, and into it again when it meets the same pages."""
    room(64 * PAGE)
    path.touch()
    os.truncate(path, 50_000 * PAGE)
    with yammap.open(path) as m:
        pages = np.random.default_rng(0).permutation(50_000)[:10_000]
        found = read(m, pages)
        assert found["engine"].endswith(PAST)
        assert found["requests"] == len(pages)
        assert 2000 < m.resident().sum() < 3000
        found = read(m, np.tile(pages[:50], 200))
        assert found["engine"].endswith(INTO)
        assert m.resident().sum() == 50


def test_without_room_rare_reuse_goes_past_the_cache(path, room):
    room(64 * PAGE)
    path.touch()
    os.truncate(path, 50_000 * PAGE)
    with yammap.open(path) as m:
        for turn in range(3):
            pages = np.random.default_rng(turn).permutation(50_000)[:2000]
            found = read(m, pages)
        assert found["engine"].endswith(PAST)
        assert found["reason"].startswith("memory has no room")


def test_pages_that_are_read_again_stay(m, room):
    room(PAGES * PAGE - 1)
    for _ in range(6):
        found = read(m, uniform(0))
    assert found["engine"].endswith(INTO)
    assert found["reason"].startswith("pages are read again")


def test_requests_and_bytes_are_counted(m):
    found = read(m, np.arange(0, PAGES, 3), cached=False)
    assert found["requests"] == PAGES // 3
    assert PAGES // 3 * 100 <= found["bytes_read"] <= PAGES // 3 * PAGE
    again = read(m, np.arange(0, PAGES, 3), cached=False)
    assert again["requests"] == 2 * found["requests"]
    assert again["bytes_read"] == 2 * found["bytes_read"]


def test_each_mapping_counts_for_itself(m, written):
    read(m, uniform(0), cached=False)
    with yammap.open(written) as other:
        assert other.statistics()["requests"] == 0


def test_a_closed_mapping_tells_nothing(m):
    m.close()
    with pytest.raises(ValueError, match="closed"):
        m.statistics()
