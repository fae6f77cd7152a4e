"""Numbers that callers pass to batches."""

import numpy as np
import pytest

import yammap


@pytest.fixture
def m():
    with yammap.anonymous(100) as m:
        m.write_at(bytes(range(100)), 0)
        yield m


@pytest.mark.parametrize("dtype", ["i1", "u2", "<i4", ">i8", "<u8", "i8"])
def test_integers_of_any_type(m, dtype):
    assert m.gather(np.array([7, 3], dtype), 1).tolist() == [[7], [3]]
    assert m.gather(np.array([7, 0, 3, 0], dtype)[::2], 1).tolist() == [[7], [3]]


@pytest.mark.parametrize("offsets", [[1.5], ["a"], [None], [2**64]])
def test_what_is_no_integer(m, offsets):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        m.gather(offsets, 1)


def test_lengths_of_few_and_of_many_records(m):
    for count in 10, 10_000:
        lengths = np.arange(count) % 5
        values, starts = m.gather_ragged(np.full(count, 9), lengths)
        assert np.array_equal(np.diff(starts), lengths)
        assert len(values) == lengths.sum()


def test_lengths_that_cannot_be(m):
    with pytest.raises(ValueError, match="negative"):
        m.gather_ragged([1, 2], [3, -1])
    with pytest.raises(ValueError, match="need 2 lengths, not 1"):
        m.gather_ragged([1, 2], [3])
    with pytest.raises(ValueError, match="negative"):
        m.gather([1], -1)
    with pytest.raises(ValueError, match="larger than"):
        m.gather([1], 1 << 70)
