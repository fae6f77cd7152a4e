"""How much of each part is in memory: one question for each."""

import mmap

import pytest

import yammap
from yammap._file.residency import Part, residency

PAGE = mmap.PAGESIZE


@pytest.fixture
def counted(monkeypatch):
    """Answer for the kernel: odd pages are in memory. Returns what was asked."""
    asked = []

    def answer(self, start, length):
        asked.append((start, length))
        return sum(page % 2 for page in range(start // PAGE, -(-(start + length) // PAGE)))

    monkeypatch.setattr(yammap.Mmap, "_cachestat", answer)
    return asked


def test_parts_are_whole_pages_and_the_last_is_what_remains(counted):
    with yammap.anonymous(5 * PAGE + 1) as m:
        assert list(residency(m, range(len(m)), 3)) == [
            Part(0, 2 * PAGE, 0.5),
            Part(2 * PAGE, 2 * PAGE, 0.5),
            Part(4 * PAGE, PAGE + 1, PAGE / (PAGE + 1)),
        ]
        assert len(counted) == 3


def test_a_part_is_never_fuller_than_full(counted):
    with yammap.anonymous(2 * PAGE) as m:
        assert list(residency(m, range(PAGE, PAGE + 10), 8)) == [Part(PAGE, 10, 1.0)]


def test_nothing_has_no_parts(counted):
    with yammap.anonymous(0) as m:
        assert list(residency(m, range(len(m)), 8)) == []
    assert counted == []
