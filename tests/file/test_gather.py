"""What callers pass to a batch, and what is done for few records whose pages are hot."""

import os

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture
def mapped(path):
    with yammap.create(path, 20 * PAGE + 123) as m:
        yield m


def test_a_batch_cannot_be_made_by_hand():
    """It would hold nothing, and be used as if it did."""
    with pytest.raises(TypeError):
        gather.Batch()


# -- Small and hot


@pytest.mark.parametrize("count", [1, 8, 16, 17, 33, 200])
@pytest.mark.parametrize("length", [0, 1, 64, 500, PAGE, PAGE + 1])
def test_a_batch_whose_pages_are_hot(path, count, length):
    """The first time they are not, and the third time not again."""
    data = np.random.default_rng(count).integers(0, 256, 20 * PAGE, np.uint8)
    path.write_bytes(data)
    offsets = np.random.default_rng(length).integers(0, data.size - length, count)
    lengths = np.arange(count) % (length + 1)
    expected = np.stack([data[o : o + length] for o in offsets])
    ragged = [data[o : o + n] for o, n in zip(offsets, lengths, strict=True)]
    with yammap.open(path, "r+") as m:
        for _ in range(3):
            assert np.array_equal(m.gather(offsets, length), expected)
            values, starts = m.gather_ragged(offsets, lengths)
            assert np.array_equal(values, np.concatenate(ragged))
            assert starts.tolist() == [0, *np.cumsum(lengths)]
            m.scatter(offsets, expected)
        assert m.pread(m.size(), 0) == data.tobytes()


@pytest.mark.parametrize("count", [2, 16, 17, 200])
@pytest.mark.parametrize("bad", [-1, 20 * PAGE + 114, 1 << 62, -1 << 63])
def test_a_record_outside_is_refused_among_hot_ones(mapped, count, bad):
    offsets, out = np.zeros(count, np.int64), np.ones((count, 10), np.uint8)
    for _ in range(2):  # the first may have read a cold page, by system call
        mapped.gather(offsets, 10, out)
    offsets[-1], out[:] = bad, 1
    with pytest.raises(ValueError, match=f"record {count - 1}, 10 bytes at offset {bad}"):
        mapped.gather(offsets, 10, out)
    with pytest.raises(ValueError, match=f"record {count - 1}, 10 bytes at offset {bad}"):
        mapped.scatter(offsets, out)
    assert (out == 1).all()
    assert not mapped.pread(10, 0).strip(b"\0")


def test_hot_records_behind_a_truncation_are_outside(mapped):
    offsets = np.array([0, 10 * PAGE])
    mapped.gather(offsets, 10)
    mapped.resize(9 * PAGE)
    with pytest.raises(ValueError, match="record 1"):
        mapped.gather(offsets, 10)


# -- Arguments


class Late:
    """An integer that is looked at when the mapping may have been closed already."""

    def __init__(self, m):
        self.m = m

    def __index__(self):
        self.m.close()
        return 1


def test_errors_come_in_the_order_of_what_is_looked_at(path):
    m = yammap.create(path, PAGE)
    m.close()
    with pytest.raises(ValueError, match="dimension"):
        m.gather(0, -1)
    with pytest.raises(ValueError, match="length must not be negative"):
        m.gather([0], -1, bytearray(1))
    with pytest.raises(ValueError, match="closed"):
        m.gather([0], 2 * PAGE, bytearray(1))
    m = yammap.open(path, "r+")
    with pytest.raises(ValueError, match="a record of"):
        m.gather([0], 2 * PAGE, bytearray(1))
    with pytest.raises(TypeError, match="ndarray"):
        m.gather([PAGE], 1, bytearray(1))
    with pytest.raises(TypeError, match="read-only"):
        m.gather([PAGE], 1, np.frombuffer(b"ab", "S1")[::2])
    with pytest.raises(ValueError, match="out must have 1 bytes, not 2"):
        m.gather([PAGE], 1, np.zeros(4, "S1")[::2])
    with pytest.raises(TypeError, match=r"contiguous .* strides \(-1,\) and dtype \|S1"):
        m.gather([PAGE] * 2, 1, np.zeros(2, "S1")[::-1])
    with pytest.raises(TypeError, match="Python objects"):
        m.gather([PAGE], 8, np.zeros(1, [("a", object)]))
    with pytest.raises(ValueError, match="threads must not be negative"):
        m.gather([PAGE], 1, threads=-1)
    with pytest.raises(ValueError, match="record 0"):
        m.gather([PAGE], 1)


def test_an_argument_that_closes_the_mapping(mapped):
    with pytest.raises(ValueError, match="closed"):
        mapped.gather([0], Late(mapped))


def test_more_bytes_than_64_bits_can_count():
    """The product of count and length would be 0; none of this memory is touched."""
    m = yammap.anonymous(1 << 40)
    index, out = np.zeros(1 << 24, np.int64), np.zeros(0, np.uint8)
    with pytest.raises(ValueError, match=f"out must have {1 << 64} bytes, not 0"):
        m.gather(index, 1 << 40, out)


@pytest.mark.parametrize("kind", [np.ndarray, np.memmap, np.ma.MaskedArray])
def test_offsets_in_arrays_of_every_kind(mapped, kind, tmp_path):
    mapped.write_at(bytes(range(100)), 0)
    np.array([3, 50, 7, 8]).tofile(tmp_path / "index")
    index = np.memmap(tmp_path / "index", np.int64, "r")
    if kind is not np.memmap:
        index = np.array(index).view(kind)
    assert mapped.gather(index, 1).ravel().tolist() == [3, 50, 7, 8]
    assert mapped.gather(index[::-2], 1).ravel().tolist() == [8, 50]
    assert mapped.gather(index[2:3], 1).ravel().tolist() == [7]
