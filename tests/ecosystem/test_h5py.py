"""h5py: a mapping is a file to read, change and make HDF5 in."""

import h5py
import numpy as np
import pytest

import yammap

VALUES = np.arange(20_000, dtype="<f8").reshape(100, 200)


@pytest.fixture
def hdf5(path):
    with h5py.File(path, "w") as file:
        file["contiguous"] = VALUES
        file.create_dataset("packed", data=VALUES, chunks=(10, 200), compression="gzip")
    return path


def test_read(hdf5):
    with yammap.open(hdf5) as m, h5py.File(m) as file:
        np.testing.assert_array_equal(file["contiguous"][:], VALUES)
        np.testing.assert_array_equal(file["packed"][5:15, ::3], VALUES[5:15, ::3])


def test_change_and_extend(hdf5):
    with yammap.open(hdf5, "r+") as m:
        before = m.size()
        with h5py.File(m, "r+") as file:
            file["contiguous"][3] = -1
            file["more"] = np.tile(VALUES, (3, 1))
        assert m.size() > before + 3 * VALUES.nbytes
    with h5py.File(hdf5) as file:
        assert (file["contiguous"][3] == -1).all()
        np.testing.assert_array_equal(file["more"][200:], VALUES)


def test_make(path):
    with yammap.open(path, "w+") as m, h5py.File(m, "w") as file:
        file["values"] = VALUES
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["values"][:], VALUES)


def test_a_contiguous_dataset_in_place(hdf5, inside, outlives):
    def dataset(m):
        with h5py.File(m) as file:
            values = file["contiguous"]
            return m.array(values.dtype, values.shape, values.id.get_offset())

    with yammap.open(hdf5) as m:
        assert inside(dataset(m), m)
        np.testing.assert_array_equal(dataset(m), VALUES)
    outlives(dataset, np.ndarray.tolist)


def test_extending_under_an_array_in_place(hdf5):
    with yammap.open(hdf5, "r+") as m:
        with h5py.File(m, "r+") as file:
            values = file["contiguous"]
            array = m.array(values.dtype, values.shape, values.id.get_offset())
            file["more"] = np.tile(VALUES, (3, 1))
            values[0] = -1
        np.testing.assert_array_equal(array[1:], VALUES[1:])
        assert (array[0] == -1).all()


def test_cutting_under_an_array_in_place_is_refused(hdf5):
    """h5py makes a SystemError of the BufferError; the file is what it was."""
    with yammap.open(hdf5, "r+") as m:
        file = h5py.File(m, "r+")
        file["more"] = np.tile(VALUES, (3, 1))
        file.flush()
        array = m.array()
        before = array.tobytes()
        del file["more"]
        with pytest.raises((BufferError, SystemError)):
            file.close()
        assert len(array) == len(before)
    with h5py.File(hdf5) as file:
        np.testing.assert_array_equal(file["packed"][:], VALUES)


def test_growth_under_an_open_file(hdf5):
    with yammap.open(hdf5, "r+", reserve=0) as m, h5py.File(m) as file:
        m.resize(m.size() + (1 << 20))
        np.testing.assert_array_equal(file["packed"][:], VALUES)


def test_closed_under_an_open_file(hdf5):
    with yammap.open(hdf5) as m:
        file = h5py.File(m)
    with pytest.raises(ValueError, match="closed"):
        file["packed"][:]
    file.close()
