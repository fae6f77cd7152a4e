"""NumPy's keys, taken apart at the axis of the seams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yammap._arrays.keys import require_rows, result_of, sections, split_key


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    start=st.none() | st.integers(-12, 12),
    stop=st.none() | st.integers(-12, 12),
    step=st.none() | st.integers(-5, 5).filter(bool),
)
def test_sections_are_what_a_slice_takes(lengths, start, stop, step):
    bounds = [0, *np.cumsum(lengths).tolist()]
    whole, at = np.arange(bounds[-1]), slice(start, stop, step)
    found = np.full(len(whole[at]), -1)
    for section in sections(at, bounds):
        part = whole[bounds[section.part] : bounds[section.part + 1]]
        found[section.place] = part[section.local]
    assert found.tolist() == whole[at].tolist()


def test_what_a_key_is_taken_apart_to():
    key = split_key((None, ..., 3), (5, 6, 7), 1)
    assert key == ((None, slice(None)), slice(None), (..., 3))
    assert split_key(2, (5,), 0).is_bare
    assert not split_key((2, 3), (5, 6), 0).is_bare
    rows, columns = split_key(np.eye(3, dtype=bool), (3, 3), 0).of("at")[::-1][:2]
    assert rows.tolist() == [0, 1, 2]
    assert columns == "at"


def test_where_numpy_moves_the_axis_to():
    key = split_key(([0, 1], slice(None), [1, 2]), (3, 4, 5), 1)
    assert result_of(key, (3, 4, 5), 1) == ((2, 4), 1)
    key = split_key((None, slice(1, 3)), (3, 4), 0)
    assert result_of(key, (3, 4), 0) == ((1, 2, 4), 1)


def test_rows_are_not_negative():
    assert require_rows(np.array([-1, 0]), 3, 0).tolist() == [2, 0]
    with pytest.raises(
        IndexError, match="index -4 is out of bounds for axis 1 with size 3"
    ):
        require_rows(np.array([0, -4]), 3, 1)
