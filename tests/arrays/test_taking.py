"""Many rows of an array over many files: in one call, and batches that are read ahead."""

import asyncio
import os

import numpy as np
import pytest

import yammap
from yammap._arrays import parts

ROWS, FILES = 300, 4
PAGE = os.sysconf("SC_PAGESIZE")
CACHED = [None, True, False]


@pytest.fixture(scope="module")
def whole():
    return np.random.default_rng(0).integers(0, 9, (FILES * ROWS, PAGE // 8), "<i8")


@pytest.fixture
def array(tmp_path, whole):
    """Of files of which no page is in memory."""
    paths = [tmp_path / f"{i}.npy" for i in range(FILES)]
    for path, rows in zip(paths, np.split(whole, FILES), strict=True):
        np.save(path, rows)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return yammap.concatenate(paths)


@pytest.fixture
def rows():
    return np.random.default_rng(1).integers(-FILES * ROWS, FILES * ROWS, (6, 200))


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("threads", [1, 3])
def test_cold_rows(array, whole, rows, threads, cached):
    found = array.take(rows, threads=threads, cached=cached)
    assert np.array_equal(found, whole[rows])


@pytest.mark.parametrize("cached", CACHED)
def test_cold_runs(array, whole, cached):
    starts, lengths = np.arange(0, 1000, 7), np.arange(143) % 60
    values, bounds = array.take_ragged(starts, lengths, cached=cached)
    for i in range(143):
        assert np.array_equal(
            values[bounds[i] : bounds[i + 1]], whole[starts[i] :][: i % 60]
        )


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("depth", [0, 2])
def test_batches_come_in_order(array, whole, rows, depth, cached):
    found = list(array.batches(rows, depth=depth, cached=cached))
    assert np.array_equal(found, whole[rows])


def test_batches_go_into_the_callers_arrays(array, whole, rows):
    out = list(np.empty((3, 250, PAGE // 8), "<i8"))
    for i, batch in enumerate(array.batches(rows, out=out)):
        assert batch.base is not None
        assert np.shares_memory(batch, out[i % 3])
        assert np.array_equal(batch, whole[rows[i]])
    with pytest.raises(ValueError, match="3 arrays"):
        array.batches(rows, out=out[:2])
    with pytest.raises(ValueError, match="shape"):
        next(array.batches(rows, out=[a[:5] for a in out]))


@pytest.mark.parametrize("cached", CACHED)
def test_batches_of_runs(array, whole, cached):
    starts, lengths = np.arange(300).reshape(3, 100) * 3, np.arange(300).reshape(3, 100) % 9
    batches = array.batches_ragged(starts, lengths, cached=cached)
    for first, count, (values, bounds) in zip(starts, lengths, batches, strict=True):
        assert bounds[-1] == count.sum()
        expected = [whole[a : a + n] for a, n in zip(first, count, strict=True)]
        assert np.array_equal(values, np.concatenate(expected))
    out = list(np.empty((3, 900, PAGE // 8), "<i8"))
    for values, _ in array.batches_ragged(starts, lengths, out=out, cached=cached):
        assert any(np.shares_memory(values, each) for each in out)


def test_batches_in_an_event_loop(array, whole, rows):
    async def collect():
        return [batch async for batch in array.batches(rows)]

    assert np.array_equal(asyncio.run(collect()), whole[rows])


def test_a_batch_that_cannot_begin_fails_in_its_turn(array, whole):
    batches = array.batches([[1], [FILES * ROWS], [2]])
    assert np.array_equal(next(batches), whole[[1]])
    with pytest.raises(IndexError, match="out of bounds"):
        next(batches)
    runs = array.batches_ragged([[1], [0]], [[2], [FILES * ROWS + 1]])
    next(runs)
    with pytest.raises(IndexError, match="is not in the array"):
        next(runs)


def test_a_cut_file_fails_at_the_batch_it_belongs_to(array, whole, tmp_path):
    array.take([0, ROWS, 2 * ROWS])
    os.truncate(tmp_path / "1.npy", 10 * PAGE)
    batches = array.batches([[0, 2 * ROWS], [5, ROWS + 100], [7]])
    assert np.array_equal(next(batches), whole[[0, 2 * ROWS]])
    with pytest.raises(yammap.BusError, match="record 1 of the batch") as caught:
        next(batches)
    assert caught.value.record == 1


def test_batches_of_more_files_than_may_be_open(array, whole, rows, monkeypatch):
    monkeypatch.setattr(parts, "_MOST", 2)
    assert np.array_equal(list(array.batches(rows)), whole[rows])


def test_batches_along_another_dimension(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.arange(12).reshape(4, 3))
    array = yammap.concatenate([tmp_path / "a.npy", tmp_path / "b.npy"], axis=1)
    expected = np.concatenate([np.arange(12).reshape(4, 3)] * 2, axis=1)
    assert np.array_equal(list(array.batches([[3, 0], [1, 1]])), expected[[[3, 0], [1, 1]]])
    with pytest.raises(ValueError, match="axis 0"):
        next(array.batches_ragged([[0]], [[1]]))
