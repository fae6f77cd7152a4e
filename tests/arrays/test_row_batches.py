"""Batches of rows, of one file and of many: their order, and the buffers that they use."""

import numpy as np
import pytest

import yammap

ROWS = np.arange(60).reshape(20, 3)
BATCHES = [[0, 7, -1], [19], [], [3, 3]]


@pytest.fixture(params=[1, 2, 20])
def array(request, tmp_path):
    """An array in that number of files."""
    paths = [tmp_path / str(i) for i in range(request.param)]
    for path, part in zip(paths, np.split(ROWS, request.param), strict=True):
        part.tofile(path)
    parts = [yammap.MappedArray(path, int, (-1, 3)) for path in paths]
    return parts[0] if request.param == 1 else yammap.concatenate(parts)


@pytest.mark.parametrize("depth", [0, 1, 9])
def test_batches_come_in_order(array, depth):
    found = [rows.tolist() for rows in array.batches(BATCHES, depth=depth)]
    assert found == [ROWS[numbers].tolist() if numbers else [] for numbers in BATCHES]


def test_buffers_are_used_in_turn_as_far_as_a_batch_needs_them(array):
    out = [np.empty((4, 3), int) for _ in range(2)]
    for i, rows in enumerate(array.batches(BATCHES, depth=1, out=out)):
        assert rows.shape == (len(BATCHES[i]), 3)
        assert rows.ctypes.data == out[i % 2].ctypes.data
        assert rows.tolist() == ROWS[np.array(BATCHES[i], int)].tolist()


def test_buffers_that_do_not_fit(array):
    out = [np.empty((2, 3), int) for _ in range(2)]
    with pytest.raises(ValueError, match="out must have shape"):
        next(array.batches(BATCHES, depth=1, out=out))
    with pytest.raises(ValueError, match="out must have 3 arrays"):
        array.batches(BATCHES, depth=2, out=out)
    with pytest.raises(ValueError, match="depth"):
        array.batches(BATCHES, depth=-1)
