"""zarr: arrays over a mapping go in and out, and chunks that are not packed in place."""

import json

import numpy as np
import pytest
import zarr
import zarr.buffer.cpu
import zarr.storage

import yammap

VALUES = np.arange(20_000, dtype="<f8").reshape(100, 200)


@pytest.fixture
def m(path):
    VALUES.tofile(path)
    with yammap.open(path, "r+") as m:
        yield m


def test_from_and_into_a_mapping(m):
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(store, data=m.array("<f8", (100, 200)), chunks=(10, 200))
    np.testing.assert_array_equal(array[:], VALUES)
    m.array()[:] = 0
    array.get_basic_selection(
        out=zarr.buffer.cpu.NDBuffer.from_numpy_array(m.array("<f8", (100, 200)))
    )
    np.testing.assert_array_equal(np.fromfile(m.name, "<f8"), VALUES.ravel())


@pytest.fixture
def chunk(tmp_path):
    """The file of one of two chunks, not packed."""
    zarr.create_array(
        tmp_path / "array.zarr", data=VALUES, chunks=(50, 200), compressors=None
    )
    return tmp_path / "array.zarr" / "c" / "1" / "0"


def test_a_chunk_in_place(chunk, inside):
    with yammap.open(chunk, "r+") as m:
        rows = m.array("<f8", (50, 200))
        assert inside(rows, m)
        np.testing.assert_array_equal(rows, VALUES[50:])
        rows[0] = -1
    array = zarr.open_array(chunk.parents[2])
    assert (array[50] == -1).all()


def test_a_store_of_chunks_in_place(chunk, path, outlives):
    """The array is zarr's own, its chunk the mapping's."""
    path.write_bytes(chunk.read_bytes())
    rows = zarr.create_array({}, shape=(50, 200), dtype="<f8", compressors=None)

    def make(m):
        chunk = zarr.buffer.cpu.Buffer.from_array_like(m.array(shape=50 * 200 * 8))
        metadata = zarr.buffer.cpu.Buffer.from_bytes(
            json.dumps(rows.metadata.to_dict()).encode()
        )
        store = zarr.storage.MemoryStore({"zarr.json": metadata, "c/0/0": chunk})
        return zarr.open_array(store, mode="r")

    outlives(make, lambda array: array[:].tolist())
