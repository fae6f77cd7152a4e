"""Arrays in files of other formats, mapped where they are: the recipes of the how-to."""

import h5py
import numpy as np
import pytest
import tifffile

import yammap


@pytest.fixture
def array():
    return np.arange(4 * 50 * 60, dtype=">u2").reshape(4, 50, 60)


# -- HDF5


def dataset_of(path, name, mode="r"):
    with h5py.File(path) as file:
        dataset = file[name]
        offset = dataset.id.get_offset()
        if offset is None:
            raise ValueError(f"{name} is chunked, compressed or empty")
        return yammap.MappedArray(path, dataset.dtype, dataset.shape, offset, mode)


def test_a_contiguous_dataset(path, array):
    with h5py.File(path, "w") as file:
        file["a/b"] = array
        file["c"] = np.ones(1000, [("x", "<f4"), ("y", "<i8")])
    mapped = dataset_of(path, "a/b", "r+")
    assert np.array_equal(mapped, array)
    assert mapped.dtype == array.dtype
    mapped[2, 3:5] = 7
    mapped.flush()
    with h5py.File(path) as file:
        assert np.array_equal(file["a/b"], mapped)
        assert np.array_equal(dataset_of(path, "c"), file["c"])


def test_a_new_dataset_is_filled_in_place(path, array):
    """Made early, its bytes are there before any is written."""
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        space, kind = h5py.h5s.create_simple(array.shape), h5py.h5t.py_create(array.dtype)
        h5py.h5d.create(file.id, b"new", kind, space, properties)
    dataset_of(path, "new", "r+")[:] = array
    with h5py.File(path) as file:
        assert np.array_equal(file["new"], array)


@pytest.mark.parametrize("options", [{"chunks": (1, 50, 60)}, {"compression": "gzip"}])
def test_datasets_in_pieces_have_no_offset(path, array, options):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, **options)
    with pytest.raises(ValueError, match="chunked"):
        dataset_of(path, "a")


# -- TIFF


def series_of(path):
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if series.dataoffset is None:
            raise ValueError("its pages are compressed, tiled, or apart")
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        return yammap.MappedArray(path, dtype, series.shape, series.dataoffset)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}])
def test_pages_one_after_the_other(path, array, byteorder, options):
    tifffile.imwrite(
        path, array.astype("u2"), byteorder=byteorder, photometric="minisblack", **options
    )
    mapped = series_of(path)
    assert mapped.dtype.byteorder in (byteorder, "=")
    assert np.array_equal(mapped, array)
    assert np.array_equal(mapped, tifffile.imread(path))


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"compression": "zlib"}])
def test_pages_in_pieces_have_no_offset(path, array, options):
    tifffile.imwrite(path, array.astype("u2"), photometric="minisblack", **options)
    with pytest.raises(ValueError, match="its pages"):
        series_of(path)


# -- Raw


def test_interleaved_channels_behind_a_header(path):
    """Each channel is an array of its own, without a copy."""
    frames = np.arange(3000, dtype="<i2").reshape(1000, 3)
    path.write_bytes(b"h" * 44 + frames.tobytes())
    for channel in range(3):
        mapped = yammap.MappedArray(path, "<i2", 1000, 44 + 2 * channel, strides=(6,))
        assert np.array_equal(mapped, frames[:, channel])


def test_records_of_which_each_has_a_header(path):
    image = np.arange(20 * 30, dtype=">f4").reshape(20, 30)
    images = [(image + i).astype(">f4") for i in range(5)]
    path.write_bytes(b"".join(b"i" * 37 + each.tobytes() for each in images))
    mapped = yammap.MappedArray(
        path, ">f4", (5, 20, 30), 37, strides=(37 + image.nbytes, 120, 4)
    )
    assert np.array_equal(mapped.take([4, 0]), [images[4], images[0]])
    assert [int(each[0, 0, 0]) for each in mapped.stream(1)] == list(range(5))
