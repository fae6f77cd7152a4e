"""What gives all elements gives those of the array."""

import io

import numpy as np
import pytest

import yammap


@pytest.fixture
def both(path):
    """A handle of rows in reverse, and the same array in memory."""
    array = np.arange(24, dtype="<i4").reshape(4, 6)
    array.tofile(path)
    handle = yammap.MappedArray.of(yammap.open_array(path, "<i4", shape=(4, 6))[::-1])
    return handle, array[::-1]


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a.astype("f8"),
        lambda a: a.astype(">i4", "F", copy=False),
        lambda a: a.astype("<i4", copy=False),
        lambda a: np.copy(a),
        lambda a: a.nonzero()[1],
        lambda a: np.array(a.tolist()),
        lambda a: np.frombuffer(a.tobytes("F"), "i4"),
        lambda a: np.array(list(a.flat)),
        lambda a: a.flat[3:9],
    ],
)
def test_it_is_that_of_the_array(both, call):
    found, expected = map(call, both)
    assert found.dtype == expected.dtype
    assert found.flags.f_contiguous == expected.flags.f_contiguous
    assert np.array_equal(found, expected)


def test_copies_are_in_memory(both):
    handle, _ = both
    for copy in (handle.astype("<i4"), np.copy(handle)):
        assert copy.flags.owndata
        assert copy.flags.writeable


def test_elements_go_to_another_file(both, path):
    handle, array = both
    other = path.with_name("other")
    handle.tofile(other)
    assert np.array_equal(np.fromfile(other, "<i4").reshape(4, 6), array)
    handle.tofile(str(other), sep=",")
    assert other.read_text() == ",".join(map(str, array.reshape(-1)))
    with pytest.raises(TypeError):
        handle.astype("U1", casting="safe")
    with pytest.raises((io.UnsupportedOperation, TypeError)):
        handle.tofile(io.BytesIO())


def test_copy_is_left_to_the_array(both):
    """Dask calls it before it makes a graph."""
    handle, _ = both
    with pytest.raises(AttributeError, match=r"as handle\[\.\.\.\]\.copy"):
        handle.copy  # noqa: B018


def test_flat_writes_to_the_file(path):
    path.write_bytes(bytes(6))
    handle = yammap.MappedArray(path, shape=(2, 3), mode="r+")
    handle.flat[1::2] = 7
    assert path.read_bytes() == b"\0\7\0\7\0\7"
    assert handle.flags.writeable
    assert handle.itemsize == 1
    assert not yammap.MappedArray(path).flags.writeable
