"""What type checkers know of arrays. Checked by mypy and pyright, and never run."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import yammap


def arrays(m: yammap.Mmap, path: Path) -> None:
    assert_type(m.array(), NDArray[np.uint8])
    assert_type(m.array(np.uint16), NDArray[np.uint16])
    assert_type(m.array(np.dtype(np.float32), 10), NDArray[np.float32])
    assert_type(m.array("<u2", (-1, 3), offset=8, order="F"), NDArray[Any])
    assert_type(m.array([("key", "<u4"), ("value", "<f8")]), NDArray[Any])
    made = yammap.open_array(path, np.float32, "w+", shape=(2, 3))
    assert_type(made, NDArray[np.float32])
    assert_type(yammap.open_array(path), NDArray[Any])
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


def handles_of_a_known_type(path: Path, mask: NDArray[np.bool_]) -> None:
    tokens = yammap.MappedArray(path, np.uint16, identity="sample")
    assert_type(tokens, yammap.MappedArray[np.uint16])
    assert_type(yammap.MappedArray(path, np.dtype(np.float32)).T[...], NDArray[np.float32])
    named: yammap.MappedArray[np.uint16] = yammap.MappedArray(path, "<u2")
    assert_type(named.dtype, np.dtype[np.uint16])
    assert_type(tokens[...], NDArray[np.uint16])
    assert_type(tokens[2:5], NDArray[np.uint16])
    assert_type(tokens[mask], NDArray[np.uint16])
    assert_type(tokens.take([3, 0]), NDArray[np.uint16])
    assert_type(tokens.astype(np.float64), NDArray[np.float64])
    assert_type(tokens.reshape(-1, 2), yammap.MappedArray[np.uint16])
    assert_type(tokens.view(np.int8), yammap.MappedArray[np.int8])
    assert_type(tokens.same_file(named), bool)
    tokens[tokens != 3] = 0
    tokens.mode = "r"  # type: ignore[misc]
    yammap.MappedArray(path, mode="w")  # type: ignore[call-overload]
    tokens += 1


def many_files(path: Path) -> None:
    shards = yammap.concatenate([path, yammap.MappedArray(path, "<u2")], dtype="<u2")
    assert_type(shards, yammap.ConcatenatedArray)
    assert_type(shards.parts, tuple[yammap.MappedArray[Any], ...])
    assert_type(shards.take([1, -1]), NDArray[Any])
    values, bounds = shards.take_ragged([0, 8], [3, 1])
    assert_type(values, NDArray[Any])
    assert_type(bounds, NDArray[np.int64])


def records(path: Path, offsets: Path) -> None:
    texts = yammap.open_ragged(path, offsets, np.uint8, "a+")
    assert_type(texts, yammap.RaggedArray[np.uint8])
    assert_type(yammap.open_ragged(path, offsets, "<u2"), yammap.RaggedArray[Any])
    assert_type(texts[0], NDArray[np.uint8])
    assert_type(texts[1:], list[NDArray[np.uint8]])
    assert_type(texts.take([0]), tuple[NDArray[np.uint8], NDArray[np.int64]])
    assert_type(texts.append(b"text"), int)
    assert_type(texts.lengths, NDArray[np.int64])
    texts.extend([b"text", [1, 2]])
    for text in texts:
        assert_type(text, NDArray[np.uint8])
    for values, bounds in texts.batches([[0], [1]]):
        assert_type(values, NDArray[np.uint8])
        assert_type(bounds, NDArray[np.int64])
    tokens = yammap.MappedArray(path, np.uint16)
    pointers = yammap.MappedArray(offsets, "<i8")
    of_handles = yammap.open_ragged(tokens, pointers, lengths=pointers, in_bytes=True)
    assert_type(of_handles, yammap.RaggedArray[np.uint16])
    yammap.open_ragged(path, offsets, mode="w")  # type: ignore[call-overload]


def travelling(path: Path, array: NDArray[np.float32]) -> None:
    handle = yammap.MappedArray.of(array, "r")
    assert_type(handle, yammap.MappedArray[np.float32])
    assert_type(handle.append([[1, 2]]), yammap.MappedArray[np.float32])
    assert_type(handle.suggest_chunks(1 << 20), tuple[int, ...])
    assert_type(handle.strides, tuple[int, ...])
    assert_type(handle.path, str | bytes)
    memory = yammap.MappedArray(yammap.anonymous(8), shape=1, strides=(8,))
    assert_type(memory.mapping, yammap.Mmap)
    assert_type(yammap.open_npz(path), dict[str, NDArray[Any]])
