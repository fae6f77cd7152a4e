"""Where the elements of an array lie in a file: strides, orders, slices, rows."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import yammap
from yammap._arrays.array_layout import Layout

SHAPE = (6, 5, 4)


def test_strides_and_order(cube, path):
    column = yammap.MappedArray(path, "<i4", (6, 5), 3 + 4 * 3, strides=(80, 16))
    assert np.array_equal(column, cube[..., 3])
    backwards = yammap.MappedArray(path, "<i4", 120, 3 + 4 * 119, strides=(-4,))
    assert np.array_equal(backwards, cube.ravel()[::-1])
    repeated = yammap.MappedArray(path, "<i4", (7, 2), 3, strides=(0, 4))
    assert np.array_equal(repeated, np.broadcast_to([0, 1], (7, 2)))
    fortran = yammap.MappedArray(path, "<i4", cube.shape, 3, order="F")
    assert np.array_equal(fortran, cube.ravel().reshape(cube.shape, order="F"))


def test_a_small_integer_of_numpys_is_an_offset_like_any(path):
    offset = np.uint8(200)
    yammap.open_array(path, "u1", "w+", shape=100, offset=offset)[:] = np.arange(100)
    assert path.stat().st_size == 300
    assert yammap.MappedArray(path, "u1", 100, offset)[99] == 99
    assert yammap.MappedArray(path, "u1", 100, offset, strides=(-2,))[99] == 0


def test_a_subarray_dtype_adds_dimensions(cube, path):
    for order in "CF":
        plain = np.ndarray((3, 2), "(4,5)<i4", cube.tobytes(), order=order)
        handle = yammap.MappedArray(path, "(4,5)<i4", (3, 2), 3, order=order)
        assert (handle.shape, handle.dtype) == (plain.shape, plain.dtype)
        assert np.array_equal(handle, plain)
        opened = yammap.open_array(path, "(4,5)<i4", shape=(3, 2), offset=3, order=order)
        assert np.array_equal(opened, plain)
    assert yammap.MappedArray(path, "(3,)u1").shape == (162, 3)
    apart = yammap.MappedArray(path, "(2,)<i4", (6, 5), 3, strides=(80, 16))
    assert np.array_equal(apart, cube[..., :2])


@settings(max_examples=200)
@given(draws=st.data(), axes=st.permutations(range(3)))
def test_slices_of_slices_travel(tmp_path_factory, draws, axes):
    path = tmp_path_factory.mktemp("of") / "file"
    array = np.arange(120, dtype="<i4").reshape(SHAPE)
    path.write_bytes(b"abc" + array.tobytes())
    piece = yammap.open_array(path, "<i4", shape=SHAPE, offset=3).transpose(axes)
    for _ in range(3):
        piece = piece[draws.draw(npst.basic_indices(piece.shape, allow_newaxis=True))]
        if not isinstance(piece, np.ndarray):
            return
    handle = pickle.loads(pickle.dumps(yammap.MappedArray.of(piece)))
    assert (handle.dtype, handle.shape, handle.mode) == (piece.dtype, piece.shape, "r")
    assert piece.size == 0 or handle.strides == piece.strides
    assert np.array_equal(handle, piece)


@settings(max_examples=150)
@given(draws=st.data(), rows=st.integers(1, 9), axes=st.permutations(range(3)))
def test_rows_of_any_layout(tmp_path_factory, draws, rows, axes):
    path = tmp_path_factory.mktemp("rows") / "file"
    np.arange(120, dtype="<i4").tofile(path)
    array = yammap.open_array(path, "<i4", shape=SHAPE).transpose(axes)
    array = array[draws.draw(npst.basic_indices(array.shape, min_dims=1))]
    handle = yammap.MappedArray.of(array)
    pieces = list(handle.stream(rows))
    assert [len(piece) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
    assert np.array_equal(np.concatenate([array[:0], *pieces]), array)
    if len(array):
        elements = st.integers(-len(array), len(array) - 1)
        index = draws.draw(npst.arrays("i8", st.integers(0, 5), elements=elements))
        assert np.array_equal(handle.take(index), array[index])
    with pytest.raises(IndexError):
        handle.take([len(array)])


@settings(max_examples=200)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    nbytes=st.integers(1, 4000),
    draws=st.data(),
)
def test_chunks_lie_together(tmp_path_factory, shape, nbytes, draws):
    path = tmp_path_factory.mktemp("chunks") / "file"
    array = yammap.open_array(path, "<i2", "w+", shape=tuple(shape), preallocate=False)
    array = array.transpose(draws.draw(st.permutations(range(array.ndim))))
    chunk = yammap.MappedArray.of(array).suggest_chunks(nbytes)
    piece = array[tuple(slice(n) for n in chunk)]
    assert piece.shape == chunk
    assert len(yammap.MappedArray.of(piece)._layout.extent) == piece.nbytes
    assert piece.nbytes <= nbytes or piece.size == 1


SIDES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@settings(max_examples=300)
@given(shape=SIDES, draws=st.data())
def test_another_shape_is_that_of_numpy(shape, draws):
    """None where NumPy would copy, and else the strides that it gives."""
    array = np.arange(int(np.prod(shape))).reshape(shape)
    keys = st.sampled_from([slice(None), slice(None, None, -1), slice(None, None, 2)])
    array = array[(..., *(draws.draw(keys) for _ in shape))]
    array = array.transpose(draws.draw(st.permutations(range(array.ndim))))
    other = draws.draw(st.permutations([*array.shape, 1]))
    for at in range(len(other) - 1, 0, -1):
        if draws.draw(st.booleans()):
            other[at - 1 : at + 1] = [other[at - 1] * other[at]]
    order = draws.draw(st.sampled_from("CF"))
    expected = array.reshape(other, order=order)
    layout = Layout(array.dtype, array.shape, array.strides, 0)
    found = layout.reshaped(tuple(other), order)
    shares = np.shares_memory(expected, array)
    assert (found is not None) == shares
    if found is not None:
        shown = np.lib.stride_tricks.as_strided(array, found.shape, found.strides)
        assert np.array_equal(shown, expected)
