"""A handle in expressions is the array that it stands for."""

import operator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yammap

BINARY = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
]
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]


@pytest.fixture
def handle(path):
    """A handle of 1 to 5 in mode r+."""
    np.arange(1, 6).tofile(path)
    return yammap.MappedArray(path, np.int64, mode="r+")


def same(found, expected):
    assert type(found) is type(expected)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_a_handle_compares_no_identities(handle):
    handle[handle != 3] = 0
    assert handle.tolist() == [0, 0, 3, 0, 0]
    handle[handle == 3] = 7
    assert handle.tolist() == [0, 0, 7, 0, 0]


@pytest.mark.parametrize("name", BINARY + COMPARISONS)
def test_operators_give_what_arrays_give(handle, name):
    call, array = getattr(operator, name), np.arange(1, 6)
    for other in (2, np.int64(3), np.array(2), np.arange(1, 6), np.ones((2, 5), int)):
        same(call(handle, other), call(array, other))
        same(call(other, handle), call(other, array))
    same(call(handle, handle), call(array, array))


@pytest.mark.parametrize("name", ["eq", "ne"])
@pytest.mark.parametrize("dtype", ["i2,f8", "V3", "U2", "M8[s]"])
def test_arrays_of_any_dtype_are_equal_or_not(path, name, dtype):
    call, array = getattr(operator, name), np.zeros(5, dtype)
    array.view("u1")[::7] = 1
    array.tofile(path)
    handle = yammap.MappedArray(path, dtype)
    for other in (array, array[2], array[::-1]):
        same(call(handle, other), call(array, other))
        same(call(other, handle), call(other, array))
    same(call(handle, handle), call(array, array))


@pytest.mark.parametrize(
    "call",
    [
        operator.neg,
        operator.pos,
        operator.invert,
        abs,
        lambda h: h @ h,
        lambda h: np.eye(5) @ h,
        lambda h: divmod(h, 2)[1],
        lambda h: divmod(7, h)[0],
        np.sqrt,
        np.add.accumulate,
        lambda h: np.add.reduceat(h, [0, 2]),
        lambda h: np.multiply.outer(h, h),
        lambda h: np.add(1, 2, where=h[:1] == 1, out=np.zeros(1)),
        lambda h: np.add(np.zeros(5), 2, where=h > 2, out=np.zeros(5)),
    ],
)
def test_functions_give_what_arrays_give(handle, call):
    same(call(handle), call(np.arange(1, 6)))


@pytest.mark.parametrize("name", [*BINARY, "matmul"])
def test_operators_in_place_write_to_the_file(handle, path, name):
    if name == "matmul" and np.lib.NumpyVersion(np.__version__) < "1.25.0":
        pytest.skip("arrays of this NumPy have no @=")
    if name == "truediv":
        handle = yammap.MappedArray(path, "f8", mode="r+")
        handle[:] = np.arange(1.0, 6)
    array = handle[...].copy()
    operand = np.eye(5, dtype=int)[::-1] if name == "matmul" else 2
    call = getattr(operator, f"i{name.strip('_')}")
    kept = handle
    handle = call(handle, operand)
    assert handle is kept
    assert handle.tolist() == call(array, operand).tolist()
    assert np.fromfile(path, handle.dtype).tolist() == handle.tolist()


def test_out_may_be_a_handle(handle, path):
    array = np.arange(1, 6)
    assert np.add(array, 1, out=handle) is handle
    assert np.fromfile(path, int).tolist() == [2, 3, 4, 5, 6]
    other = path.with_name("other")
    np.zeros(5, int).tofile(other)
    second = yammap.MappedArray(other, int, mode="r+")
    found = np.divmod(handle, 2, out=(handle, second))
    assert (found[0] is handle, found[1] is second) == (True, True)
    assert (handle.tolist(), second.tolist()) == ([1, 1, 2, 2, 3], [0, 1, 0, 1, 0])
    plain = np.zeros(5, int)
    assert np.divmod(handle, 2, out=(plain, second))[0] is plain
    assert np.add.at(handle, [0, 0], second[1]) is None
    assert handle[0] == 1 + 2 * 1
    plain += handle
    assert plain[0] == 3 + 0


def test_where_may_be_a_handle(path):
    np.array([True, False]).tofile(path)
    mask = yammap.MappedArray(path, bool)
    assert np.add(1, [2, 2], where=mask, out=np.zeros(2)).tolist() == [3, 0]


def test_what_mode_r_refuses_and_mode_c_keeps(path):
    path.write_bytes(b"\1\2")
    handle = yammap.MappedArray(path)
    with pytest.raises(ValueError, match=r"make the handle with mode='r\+'"):
        handle += 1
    private = yammap.MappedArray(path, mode="c")
    private += 1
    assert private.tolist() == [2, 3]
    assert path.read_bytes() == b"\1\2"


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_operands_of_the_same_file_may_overlap(path, mode):
    """NumPy sees it by addresses, and each mapping has others."""
    for n in (10, 1 << 20):
        array = np.arange(n)
        array.tofile(path)
        handle = yammap.MappedArray(path, int, n - 1, 8, "r+")
        handle += yammap.MappedArray(path, int, n - 1, mode=mode)
        array[1:] += array[:-1].copy()
        assert np.array_equal(np.fromfile(path, int), array)
        backwards = yammap.MappedArray.of(yammap.open_array(path, int)[::-1])
        whole = yammap.MappedArray(path, int, mode="r+")
        whole -= backwards
        assert np.array_equal(np.fromfile(path, int), array - array[::-1])


def test_casting_is_numpys(handle):
    with pytest.raises(TypeError, match="Cannot cast"):
        handle += 0.5
    with pytest.raises(TypeError):
        handle + "text"
    with pytest.raises(ValueError, match="broadcast"):
        handle + np.zeros(3)
    assert handle.tolist() == [1, 2, 3, 4, 5]


def test_a_fault_is_raised_before_there_is_a_result(path, child):
    child(
        """
        import mmap, os, numpy as np, yammap
        np.ones(1 << 15).tofile("file")
        handle = yammap.MappedArray("file", "f8")
        assert handle[0] == 1
        os.truncate("file", mmap.PAGESIZE)
        for call in (lambda: handle + 1, handle.sum, lambda: 3 in handle, handle.tolist):
            try:
                call()
            except yammap.BusError as error:
                assert "the file shrank" in str(error)
            else:
                raise AssertionError(call)
        """
    )


def test_equality_inside_other_objects_is_that_of_arrays(path):
    @dataclass
    class Sample:
        data: yammap.MappedArray
        label: int  # with one field alone, Python 3.13 returns what == of it gives

    path.write_bytes(bytes(8))
    handle, other = (yammap.MappedArray(path) for _ in range(2))
    here, there = Sample(handle, 0), Sample(other, 0)
    for call in (lambda: here == there, lambda: [other].index(handle)):
        with pytest.raises(ValueError, match="ambiguous"):
            call()
    with pytest.raises(TypeError, match="unhashable"):
        {handle}  # noqa: B018


def test_what_is_not_there_says_where_it_is(handle):
    for name in ("sort", "cumsum", "squeeze", "dot"):
        with pytest.raises(AttributeError, match=rf"as handle\[\.\.\.\]\.{name}"):
            getattr(handle, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'colour'$"):
        handle.colour  # noqa: B018
    with pytest.raises(AttributeError, match="it is called path"):
        handle.filename  # noqa: B018
    assert np.std(handle) == handle[...].std()


def test_one_value_is_a_number_and_true_or_false(path):
    path.write_bytes(b"\0\1\2")
    one = yammap.MappedArray(path, shape=(), offset=2)
    assert (int(one), float(one), bool(one)) == (2, 2.0, True)
    assert (complex(one), "abc"[one]) == (2 + 0j, "c")
    assert not yammap.MappedArray(path, shape=1)
    handle = yammap.MappedArray(path)
    assert 2 in handle
    assert 3 not in handle
    for kind in (bool, float, int):
        with pytest.raises((TypeError, ValueError)):
            kind(handle)


# -- Against NumPy, over types, orders, strides, keys and values

KINDS = ("<i4", ">u2", "<f8", ">f4", "c16", "?", "i1", "<f2")
NAMES = ("add", "subtract", "multiply", "maximum", "equal", "less", "logical_and")


def arrays_of(draws, path, kind):
    """Return a handle of some elements of a file, and the same of an array in memory."""
    shape = draws.draw(st.sampled_from([(6,), (2, 3), (3, 1, 2), (1,), ()]))
    order = draws.draw(st.sampled_from("CF"))
    values = np.arange(60).astype(kind)
    values.tofile(path)
    key = tuple(
        slice(None, None, draws.draw(st.sampled_from([1, 2, -1, -2]))) for _ in shape
    )
    size = int(np.prod(shape))
    in_memory = values[:size].reshape(shape, order=order)[(..., *key)]
    on_file = yammap.open_array(path, kind, "r+", shape=shape, order=order)[(..., *key)]
    return yammap.MappedArray.of(on_file), in_memory, values


@settings(max_examples=100)
@given(kind=st.sampled_from(KINDS), name=st.sampled_from(NAMES), draws=st.data())
def test_handles_compute_as_arrays_do(tmp_path_factory, kind, name, draws):
    path = tmp_path_factory.mktemp("ufunc") / "file"
    handle, array, values = arrays_of(draws, path, kind)
    other = draws.draw(st.sampled_from([1, np.float32(2), np.full(array.shape, 3, kind)]))
    call = getattr(np, name)
    try:
        expected = call(array, other)
    except TypeError:
        with pytest.raises(TypeError):
            call(handle, other)
        return
    for found in (call(handle, other), call(other, handle).astype(expected.dtype)):
        assert found.shape == expected.shape
    same(np.asarray(call(handle, other)), np.asarray(expected))
    try:
        call(array, other, out=array)
    except TypeError:
        with pytest.raises(TypeError):
            call(handle, other, out=handle)
        return
    assert call(handle, other, out=handle) is handle
    assert np.fromfile(path, kind).tobytes() == values.tobytes()
