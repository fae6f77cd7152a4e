"""What type checkers know of arrays. Checked by mypy and pyright, and never run."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import yammap


def arrays(m: yammap.Mmap, path: Path) -> None:
    assert_type(m.array(), NDArray[Any])
    assert_type(m.array("<u2", (-1, 3), offset=8, order="F"), NDArray[Any])
    assert_type(m.array([("key", "<u4"), ("value", "<f8")]), NDArray[Any])
    assert_type(yammap.open_array(path, np.float32, "w+", shape=(2, 3)), NDArray[Any])
    assert_type(m.resident(), NDArray[np.bool_])


def many_records(m: yammap.Mmap, offsets: NDArray[np.int64]) -> None:
    assert_type(m.gather(offsets, 64), NDArray[Any])
    assert_type(m.gather([0, 64], 64, np.empty((2, 64), np.uint8), threads=2), NDArray[Any])
    data, starts = m.gather_ragged(offsets, [3, 4])
    assert_type(data, NDArray[Any])
    assert_type(starts, NDArray[np.int64])
    m.scatter(offsets, np.zeros((2, 64), np.uint8))


def handles(path: Path) -> None:
    rows = yammap.MappedArray(path, "<u2", (-1, 3), mode="r+")
    assert_type(rows.shape, tuple[int, ...])
    assert_type(rows.dtype, np.dtype[Any])
    assert_type(len(rows), int)
    assert_type(rows.take([3, 0]), NDArray[Any])
    assert_type(np.asarray(rows), NDArray[Any])
    rows[0] = 7
    for block in rows.stream(1000, prefetch=1 << 20):
        assert_type(block, NDArray[Any])


def travelling(path: Path, array: NDArray[np.float32]) -> None:
    handle = yammap.MappedArray.of(array, "r")
    assert_type(handle, yammap.MappedArray)
    assert_type(handle.append([[1, 2]]), yammap.MappedArray)
    assert_type(handle.suggest_chunks(1 << 20), tuple[int, ...])
    assert_type(handle.strides, tuple[int, ...])
    assert_type(handle.path, str | bytes)
    memory = yammap.MappedArray(yammap.anonymous(8), shape=1, strides=(8,))
    assert_type(memory.mapping, yammap.Mmap)
    assert_type(yammap.open_npz(path), dict[str, NDArray[Any]])
