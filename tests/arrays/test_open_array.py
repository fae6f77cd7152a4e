"""Arrays by path: what is mapped, what is made, and what is refused."""

import numpy as np
import pytest

import yammap


@pytest.fixture
def numbers(path):
    """A file of 24 integers."""
    np.arange(24, dtype="<i4").tofile(path)


@pytest.mark.usefixtures("numbers")
def test_open_array_reads(path):
    np.testing.assert_array_equal(
        yammap.open_array(path, "<i4", shape=(2, 3), offset=4, order="F"),
        np.arange(1, 7).reshape((2, 3), order="F"),
    )


@pytest.mark.parametrize("mode", ["w+", "x+"])
def test_open_array_makes_a_file_of_just_the_size(path, mode):
    a = yammap.open_array(path, "f8", mode, shape=(3, 4), offset=10)
    assert path.stat().st_size == 10 + 96
    a[:] = 1.5
    np.testing.assert_array_equal(np.fromfile(path, "f8", offset=10), np.full(12, 1.5))


@pytest.mark.parametrize("shape", [None, -1, (3, -1)])
def test_open_array_needs_the_shape_of_a_new_file(path, shape):
    with pytest.raises(ValueError, match="need the full shape"):
        yammap.open_array(path, mode="w+", shape=shape)
    assert not path.exists()


@pytest.mark.usefixtures("numbers")
def test_open_array_refuses_what_the_file_has_not(path):
    for mode in ("r", "r+", "c"):
        with pytest.raises(ValueError, match="needs 100 bytes"):
            yammap.open_array(path, "<i4", mode, shape=25)
    assert path.stat().st_size == 96
