"""Pictures of mappings: what is in memory, drawn on axes of matplotlib."""

import mmap

import numpy as np
import pytest

import yammap
import yammap.plot

PAGE = mmap.PAGESIZE


@pytest.fixture
def ax():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot.figure().gca()
    pyplot.close("all")


def drawn(ax):
    (mesh,) = ax.collections
    return mesh.get_array().ravel().tolist(), mesh.get_coordinates()[0, :, 0].tolist()


def test_a_mapping(ax):
    with yammap.anonymous(4 * PAGE, "four pages") as m:
        m.write_at(b"x", PAGE)
        assert yammap.plot.residency(m, ax=ax) is ax
        assert drawn(ax) == ([0, 1, 0, 0], [0, 4, 8, 12, 16])
        assert ax.get_xlabel() == "offset, KiB"
        assert m.resident().sum() == 1  # drawing touches nothing
    assert ax.get_title().endswith("four pages: 4.0 KiB of 16.0 KiB in memory")


def test_the_bytes_of_an_array(ax, path):
    np.zeros((4, PAGE), "u1").tofile(path)
    handle = yammap.MappedArray(path, "<f4", (-1, 16), offset=PAGE)
    yammap.plot.residency(handle, ax=ax)
    assert drawn(ax) == ([1, 1, 1], [4, 8, 12, 16])


def test_the_current_axes_are_the_default(ax):
    with yammap.anonymous(PAGE) as m:
        assert yammap.plot.residency(m) is ax


def test_nothing_to_draw(ax):
    with (
        yammap.anonymous(0) as m,
        pytest.raises(ValueError, match=r"there is nothing to draw: .* is empty"),
    ):
        yammap.plot.residency(m, ax=ax)
    with pytest.raises(ValueError, match="closed"):
        yammap.plot.residency(m, ax=ax)
