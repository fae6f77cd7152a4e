"""Pages that are left in the page cache, by which the next reader learns of this one."""

import os

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")
PAGES = (64 << 20) // PAGE
PAST, INTO = "past the page cache", "into the page cache"


@pytest.fixture(autouse=True)
def much_room(monkeypatch):
    monkeypatch.setattr(gather, "room_for_files", lambda: 1 << 40)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "file.bin"
    path.write_bytes(np.random.default_rng(0).bytes(PAGES * PAGE))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path


@pytest.fixture
def cold(written):
    """The path of a file that is not in memory."""
    with written.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return written


def pages_of(turn, count):
    return np.random.default_rng(turn).permutation(PAGES)[:count]


def engine(path, pages):
    """Gather records by a mapping of their own, and tell where they were read to."""
    with yammap.open(path) as m:
        m.gather(pages * PAGE, 100)
        return m.statistics()["engine"].split(", ")[-1]


def resident(path):
    with yammap.open(path) as m:
        return m.resident()


@pytest.mark.parametrize("length", [100, PAGE, 5 * PAGE])
def test_few_pages_stay_of_records_that_are_read_once(cold, length):
    pages = pages_of(0, 500)
    pages = pages[pages < PAGES - 5]
    with yammap.open(cold) as m:
        m.gather(pages * PAGE, length)
        assert m.statistics()["engine"].endswith(PAST)
    stay = resident(cold)
    touched = np.zeros(PAGES, bool)
    for i in range(-(-length // PAGE)):
        touched[pages + i] = True
    assert not (stay & ~touched).any()
    assert 0 < stay.sum() <= touched.sum() // 32


def test_another_mapping_finds_that_records_were_read_before(cold):
    pages = pages_of(1, 1000)
    assert [engine(cold, pages) for _ in range(3)] == [PAST, INTO, "mmap"]


def test_a_part_of_the_mapping_finds_the_same_tracers(cold):
    first = 3 * PAGE + 77
    pages = pages_of(2, 1000)
    pages = pages[pages > 3]
    engine(cold, pages)
    with yammap.open(cold, offset=first) as m:
        m.gather(pages * PAGE - first, 100)
        assert m.statistics()["engine"].endswith(INTO)


def test_other_records_go_on_past_the_cache(cold):
    pages = pages_of(3, 2000)
    assert engine(cold, pages[:1000]) == PAST
    assert engine(cold, pages[1000:]) == PAST


def test_who_reads_much_of_a_file_fills_the_cache(cold):
    """Each record once: none of them says that it will be read again."""
    with yammap.open(cold) as m:
        for part in np.array_split(pages_of(4, PAGES), 64):
            m.gather(part * PAGE, 100)
        assert m.statistics()["engine"].endswith(INTO)
    assert resident(cold).mean() > 0.5


def test_a_caller_who_says_what_to_do_leaves_no_tracers(cold):
    with yammap.open(cold) as m:
        m.gather(pages_of(5, 2000) * PAGE, 100, cached=False)
    assert not resident(cold).any()
