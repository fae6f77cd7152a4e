"""NumPy's readers and writers; tests/file/test_ndarrays.py has its views of a mapping."""

import pickle

import numpy as np
import pytest

import yammap

VALUES = np.arange(1000, dtype="<f8").reshape(10, 100)


def test_save_and_load(new):
    np.save(new, VALUES)
    np.save(new, VALUES[:3])
    new.seek(0)
    np.testing.assert_array_equal(np.load(new), VALUES)
    np.testing.assert_array_equal(np.load(new), VALUES[:3])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(new, save):
    save(new, a=VALUES, b=[1, 2])
    new.seek(0)
    archive = np.load(new)
    np.testing.assert_array_equal(archive["a"], VALUES)
    new.close()
    with pytest.raises(ValueError, match="closed"):
        archive["b"]


def test_text(new):
    np.savetxt(new, VALUES)
    new.seek(0)
    np.testing.assert_array_equal(np.loadtxt(new), VALUES)
    new.seek(0)
    np.testing.assert_array_equal(np.genfromtxt(new), VALUES)


def test_tofile_and_fromfile_go_by_the_descriptor(new):
    VALUES.tofile(new)
    assert new.tell() == new.refresh() == VALUES.nbytes
    new.seek(800)
    np.testing.assert_array_equal(np.fromfile(new, "<f8", 100), VALUES[1])
    assert new.tell() == 1600


def test_dlpack(path, inside, outlives):
    VALUES.tofile(path)
    with yammap.open(path, "r+") as m:
        assert inside(np.from_dlpack(m.array("<f8")), m)
    outlives(lambda m: np.from_dlpack(m.array("<f8")[1:])[::2], np.ndarray.tolist)


def test_pickles_with_their_buffers_in_place(path, inside):
    buffers = []
    data = pickle.dumps(VALUES, 5, buffer_callback=buffers.append)
    with yammap.open(path, "w+") as m:
        m.write(buffers[0])
        array = pickle.loads(data, buffers=[m])
        assert inside(array, m)
    np.testing.assert_array_equal(array, VALUES)
