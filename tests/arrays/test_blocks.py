"""Blocks of an array: they are small, they are all of it, and they come to the same."""

import contextlib

import numpy as np
import pytest

from yammap._arrays import blocks
from yammap._arrays.blocks import blocks_of, reduced


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 64)
    monkeypatch.setattr(blocks, "_PAGE", 16)


def arrays():
    plain = np.arange(3 * 40 * 5).reshape(3, 40, 5)
    yield plain
    yield np.asfortranarray(plain)
    yield plain.transpose(1, 2, 0)[::-1, 1::2]
    yield plain.reshape(-1)
    yield np.broadcast_to(np.arange(50), (4, 50))
    yield np.lib.stride_tricks.sliding_window_view(np.arange(60), 7)
    yield plain[:, :0]


@pytest.mark.parametrize("array", list(arrays()), ids=lambda array: str(array.strides))
def test_blocks_are_all_of_the_array(array):
    seen = np.zeros(array.shape, int)
    for first, block in blocks_of(array):
        assert block.nbytes <= 64
        at = tuple(slice(i, i + n) for i, n in zip(first, block.shape, strict=True))
        assert np.array_equal(array[at], block)
        seen[at] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("array", list(arrays()), ids=lambda array: str(array.strides))
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (), (2, 0), (0, 1, 2)])
def test_what_is_reduced_by_blocks_is_the_same(array, axes):
    if max(axes, default=0) >= array.ndim or not array.size:
        return
    held = []

    @contextlib.contextmanager
    def block(piece):
        held.append(piece.nbytes)
        yield

    def total(piece, axes):
        return piece.sum(axis=axes, keepdims=True)

    found = reduced(array, axes, total, block)
    assert np.array_equal(found, array.sum(axis=axes, keepdims=True))
    assert sum(held) == array.nbytes
    assert max(held) <= 64


def test_results_of_blocks_do_not_pile_up():
    """Each is as large as a row, and there are as many as rows."""
    rows, most = np.ones((1000, 16)), 0

    def total(piece, axes):
        nonlocal most
        most = max(most, len(piece))
        return piece.sum(axis=axes, keepdims=True)

    assert reduced(rows, (0,), total, contextlib.nullcontext)[0, 0] == 1000
    assert most <= 2
