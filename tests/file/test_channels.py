"""The files of a batch: all by a queue or none, and past the page cache or not."""

import os

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 40 << 20
PAST, INTO = "past the page cache", "into the page cache"


@pytest.fixture
def paths(tmp_path):
    paths = [tmp_path / str(i) for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * PAGE)
        os.truncate(path, SIZE)
    return paths


def engine(mappings, pages=None):
    """Read a page of the mappings in turn, and tell how that was done."""
    pages = np.arange(60) * 150 if pages is None else pages
    count, choice = len(pages), gather.new_choice()
    which = np.arange(count) % len(mappings)
    pieces = which, pages * PAGE, np.full(count, 8), np.arange(count) * 8, np.arange(count)
    out = np.full((count, 8), 9, np.uint8)
    for m in mappings:
        m.evict()
    gather.gather_files(mappings, pieces, out, choice, 1, None)
    assert np.array_equal(out[:, 0], np.where(pages == 0, which, 0))
    return choice.told()["engine"].split(", ")[-1]


@pytest.mark.parametrize(
    ("room", "where"), [(1 << 40, PAST), (3 * SIZE, PAST), (3 * SIZE - 1, INTO)]
)
def test_memory_must_have_room_for_all_files(paths, monkeypatch, room, where):
    """Without room, too few were read to tell."""
    monkeypatch.setattr(gather, "room_for_files", lambda: room)
    mappings = [yammap.open(path) for path in paths]
    assert engine(mappings) == where


def test_one_writable_mapping_is_enough(paths):
    mappings = [yammap.open(path, "r+" if i == 1 else "r") for i, path in enumerate(paths)]
    assert engine(mappings) == INTO


def test_a_mapping_without_a_descriptor_keeps_all_from_the_queue(paths):
    mappings = [yammap.open(path, keep_fd=i != 2) for i, path in enumerate(paths)]
    assert engine(mappings) == "mmap"


def test_private_changes_keep_all_from_the_queue(paths):
    mappings = [yammap.open(path, "c" if i == 2 else "r") for i, path in enumerate(paths)]
    assert engine(mappings) == "mmap"


def test_pages_of_one_number_in_many_files_are_not_the_same(paths):
    mappings = [yammap.open(path) for path in paths]
    assert engine(mappings, np.repeat(np.arange(40) * 5, 3)) == PAST
