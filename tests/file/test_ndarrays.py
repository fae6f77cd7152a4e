"""Arrays over a mapping: dtype, shape, order, writing, and the buffer itself."""

import math
from pathlib import Path

import numpy as np
import pytest

import yammap


@pytest.fixture
def m(path):
    np.arange(24, dtype="<i4").tofile(path)
    with yammap.open(path, "r+") as m:
        yield m


def test_default_is_all_bytes(m, path):
    a = m.array()
    assert type(a) is np.ndarray
    assert (a.dtype, a.shape) == (np.uint8, (96,))
    assert a.tobytes() == path.read_bytes()


@pytest.mark.parametrize(
    "dtype", ["<i4", ">i4", "u2", "f8", "S3", "V6", "?", "M8[s]", "c16"]
)
@pytest.mark.parametrize("offset", [0, 1, 3, 95, 96])
def test_inferred_length_agrees_with_frombuffer(m, path, dtype, offset):
    data = path.read_bytes()[offset:]
    size = np.dtype(dtype).itemsize
    if len(data) % size:
        with pytest.raises(ValueError, match=f"{len(data)} bytes do not divide"):
            m.array(dtype, offset=offset)
        return
    expected = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    assert m.array(dtype, offset=offset).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "shape",
    [
        24,
        (24,),
        (4, 6),
        (2, 3, 4),
        (5, 2),
        (-1,),
        (-1, 4),
        (3, -1, 2),
        0,
        (0, 7),
        (),
        np.int64(4),
        [2, 3],
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_shape_and_order_agree_with_reshape(m, shape, order):
    a = m.array("<i4", shape, order=order)
    whole = np.arange(24, dtype="<i4")
    given = tuple(np.atleast_1d(shape)) if np.size(shape) else ()
    count = 24 if -1 in given else math.prod(given)
    expected = whole[:count].reshape(shape, order=order)
    assert a.shape == expected.shape
    assert a.strides == expected.strides
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize(
    ("dtype", "shape", "kind", "text"),
    [
        (
            "<i4",
            25,
            ValueError,
            r"shape \(25,\) and dtype int32 needs 100 bytes.* are 96: pass",
        ),
        ("<i4", -2, ValueError, "negative"),
        ("<i4", 1 << 70, ValueError, "needs"),
        ("<i4", 1 << 62, ValueError, "needs"),
        ("O", 1, TypeError, "refers to Python objects"),
        ("S0", 1, ValueError, "no size"),
        ("no such", 1, TypeError, "no such"),
        ("<i4", (-1, 5), ValueError, "96 bytes do not divide into rows of 20 bytes"),
        ("<i4", (-1, 5), ValueError, r"shape=\(4, 5\) leaves out the last 16"),
        ("<i4", (-1, -1), ValueError, "may have one -1"),
        ("<i4", (-2, 3), ValueError, "negative"),
        ("<i4", (-1, 0), ValueError, "do not divide"),
        ("<i4", (2**40, 2**40), ValueError, "needs"),
        ("<i4", 1.5, TypeError, "shape must be an int or a tuple of ints, not 1.5"),
        ("O", None, TypeError, "refers to Python objects"),
        ([("a", "i4"), ("b", "O")], None, TypeError, "refers to Python objects"),
        ("S0", None, ValueError, "no size"),
        ("no such", None, TypeError, "no such"),
    ],
)
def test_what_does_not_fit(m, dtype, shape, kind, text):
    with pytest.raises(kind, match=text):
        m.array(dtype, shape)


@pytest.mark.parametrize("order", ["A", "K", "c", None])
def test_unknown_order(m, order):
    with pytest.raises(ValueError, match="order must be"):
        m.array(order=order)


@pytest.mark.parametrize("shape", [None, 0, 1, (1,)])
def test_offset_outside(m, shape):
    with pytest.raises(ValueError, match="offset 97 is past the end of"):
        m.array(shape=shape, offset=97)
    with pytest.raises(ValueError, match="offset must not be negative"):
        m.array(shape=shape, offset=-1)
    with pytest.raises(TypeError):
        m.array(shape=shape, offset=1.0)


@pytest.mark.parametrize("dtype", ["u1", ">i4", "(2,)<i2", "i2,u2", "V6", "M8[s]"])
@pytest.mark.parametrize("offset", [0, 1, np.int64(8)])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_number_of_elements_is_a_shape(m, dtype, offset, count):
    found, expected = (m.array(dtype, shape, offset) for shape in (count, (count,)))
    assert (found.dtype, found.shape, found.flags) == (
        expected.dtype,
        expected.shape,
        expected.flags,
    )
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [3, (3,)])
def test_an_array_is_counted_and_keeps_no_more_than_the_memory(m, path, shape):
    array = m.array("<i4", shape, 4)
    with pytest.raises(BufferError, match="1 of its views is alive"):
        m.resize(0)
    m.close()
    assert array.tolist() == [1, 2, 3]
    assert str(path) in Path("/proc/self/maps").read_text()
    del array
    assert str(path) not in Path("/proc/self/maps").read_text()
    with pytest.raises(ValueError, match="is closed"):
        m.array("<i4", shape)


def test_structured(m):
    a = m.array([("x", "<i4"), ("y", "<i4", (2,))])
    assert a.shape == (8,)
    assert a["y"][1].tolist() == [4, 5]


def test_writing_reaches_the_file_both_ways(m, path):
    a = m.array("<i4")
    a[3] = -1
    assert m.pread(4, 12) == b"\xff" * 4
    assert path.read_bytes()[12:16] == b"\xff" * 4
    m.write_at(b"\2\0\0\0", 12)
    assert a[3] == 2


def test_writeable_only_when_the_mapping_is(m, path):
    assert m.array().flags.writeable
    assert yammap.open_array(path, mode="c").flags.writeable
    for mode in ("r", "a+"):
        a = yammap.open_array(path, mode=mode)
        assert not a.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            a[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            a.flags.writeable = True


def test_numpys_own_ways_in(m):
    expected = np.arange(24, dtype="<i4")
    for a in (
        np.frombuffer(m, "<i4"),
        np.asarray(memoryview(m)).view("<i4"),
        np.asarray(m).view("<i4"),
        np.ndarray(24, "<i4", buffer=m),
    ):
        np.testing.assert_array_equal(a, expected)
        assert not a.flags.owndata
    m.write_at(b"\7\0\0\0", 0)
    assert a[0] == 7


def test_memoryview(m):
    view = memoryview(m)
    assert (view.format, view.itemsize, view.ndim, view.shape) == ("B", 1, 1, (96,))
    assert (view.strides, view.contiguous, view.readonly) == ((1,), True, False)
    view[0:2] = b"ab"
    assert m.pread(2, 0) == b"ab"


def test_memoryview_of_a_read_only_mapping(path):
    path.write_bytes(b"abc")
    with yammap.open(path) as m:
        assert memoryview(m).readonly
        with pytest.raises(TypeError, match="read-only"):
            memoryview(m)[0] = 1
        with pytest.raises(TypeError, match=r"read-write|writable"):
            m.readinto(m)
