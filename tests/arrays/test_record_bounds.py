"""Where records begin, from offsets of any type, in rows or in bytes."""

import numpy as np
import pytest

import yammap
from yammap._arrays.record_bounds import Bounds


@pytest.fixture
def handle(path):
    def made(numbers, dtype="<i8"):
        np.array(numbers, dtype).tofile(path)
        return yammap.MappedArray(path, dtype)

    return made


@pytest.mark.parametrize("dtype", ["<i8", ">u8", "<i4", "<u2"])
@pytest.mark.parametrize("unit", [1, 6])
def test_runs_of_offsets(handle, dtype, unit):
    bounds = Bounds.of_offsets(handle(np.multiply([0, 3, 3, 10], unit), dtype), unit)
    assert bounds.records == 3
    assert [bounds.run(i) for i in range(3)] == [(0, 3), (3, 0), (3, 7)]
    for starts, lengths in bounds.runs(np.array([2, 0])), bounds.runs_between(0, 3):
        assert starts.dtype == lengths.dtype == np.int64
        assert lengths.tolist() in ([7, 3], [3, 0, 7])


@pytest.mark.parametrize("offsets", [[], [7]])
def test_one_offset_or_none_is_no_record(handle, offsets):
    bounds = Bounds.of_offsets(handle(offsets), 1)
    assert bounds.records == 0
    assert bounds.runs(np.array([], int))[1].tolist() == []


def test_lengths_count_rows_whatever_offsets_count(handle):
    starts = handle([8, 0, 16])
    bounds = Bounds(starts, starts, True, 8)
    assert bounds.run(0) == (1, 8)
    assert [found.tolist() for found in bounds.runs_between(1, 3)] == [[0, 2], [0, 16]]


def test_bytes_that_are_no_rows_are_refused(handle):
    bounds = Bounds.of_offsets(handle([0, 8, 12]), 8)
    assert bounds.run(0) == (0, 1)
    for ask in lambda: bounds.run(1), lambda: bounds.runs([1]), lambda: bounds.runs([0, 1]):
        with pytest.raises(ValueError, match="multiples of a row's 8 bytes"):
            ask()
