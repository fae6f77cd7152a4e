"""The parts of an array over many files: where each lies, and which of them are open."""

import numpy as np
import pytest

import yammap
from yammap._arrays import parts as module
from yammap._arrays.parts import Parts


@pytest.fixture
def parts(tmp_path):
    """Parts of 3, 0 and 4 rows of two bytes."""
    handles = []
    for i, n in enumerate((3, 0, 4)):
        np.full((n, 2), i, "u1").tofile(tmp_path / str(i))
        handles.append(yammap.MappedArray(tmp_path / str(i), "u1", (n, 2)))
    return Parts.of_handles(handles, 0, "r")


def test_where_an_index_is(parts):
    assert parts.bounds == (0, 3, 3, 7)
    assert [parts.find(i) for i in (0, 2, 3, 6)] == [(0, 0), (0, 2), (2, 0), (2, 3)]


def test_runs_have_a_piece_in_each_part(parts):
    pieces = parts.pieces_of_runs(np.array([2, 0, 7]), np.array([3, 1, 0]))
    kept = pieces.lengths > 0
    assert pieces.part[kept].tolist() == [0, 2, 0]
    assert pieces.offsets[kept].tolist() == [4, 0, 0]
    assert pieces.lengths[kept].tolist() == [2, 4, 2]
    assert pieces.targets[kept].tolist() == [0, 2, 6]
    assert pieces.records[kept].tolist() == [0, 0, 1]


def test_the_least_recently_used_part_goes(parts, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    first, last = parts[0], parts[2]
    assert parts[0] is first
    parts[1]
    assert parts[0] is first
    assert parts[2] is not last


def test_a_part_that_was_closed_is_opened_again(parts):
    parts[0].mapping.close()
    assert parts[0][0, 0] == 0


def test_they_travel(parts):
    again = Parts.of_packed(parts.packed(), 0, "r")
    assert again.files == parts.files
    assert again.bounds == parts.bounds
