"""Reductions are NumPy's, and a large array is not in memory at once."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yammap
from yammap._arrays import blocks, reductions

NAMES = [
    *("sum", "prod", "min", "max", "any", "all", "mean", "var", "std"),
    *("argmin", "argmax"),
]
KINDS = ["<i2", ">i4", "u1", "?", "<f4", ">f8", "f2", "c8", "m8[s]", "M8[D]"]


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Let a few hundred bytes be many blocks."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (blocks, reductions):
            patch.setattr(module, "BLOCK", 128)
        yield


def content(kind, size):
    """Return values of which sums and products are exact, and some are equal."""
    values = np.random.default_rng(0).integers(0, 3, size)
    if kind == "c8":
        return (values + 1j * values[::-1]).astype(kind)
    if kind[0] in "mM":
        return values.astype("i8").view(kind)
    return values.astype(kind)


def alike(call, handle, array, is_spread=False):
    try:
        expected = call(array)
    except TypeError as error:
        with pytest.raises(type(error)):
            call(handle)
        return
    found = call(handle)
    assert type(found) is type(expected)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if is_spread and array.dtype in (np.float16, np.float32):
        # NumPy rounds each difference and square, so the exact result tells who is nearer.
        exact = call(array.astype("f8"))
        allowed = np.maximum(np.abs(expected - exact), np.spacing(expected))
        assert (np.abs(found - exact) <= allowed).all()
    elif found.dtype.kind in "fc":
        assert np.allclose(found, expected, rtol=1e-3 if kind_is_half(found) else 1e-6)
    else:
        assert np.array_equal(found, expected)


def reduce(array, name, **options):
    return getattr(array, name)(**options)


def kind_is_half(array):
    return array.dtype == np.float16


@settings(max_examples=120)
@given(name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS), draws=st.data())
def test_reductions_are_numpys(tmp_path_factory, name, kind, draws):
    path = tmp_path_factory.mktemp("reduced") / "file"
    shape = draws.draw(st.sampled_from([(300,), (20, 15), (3, 100), (5, 4, 15), (150, 2)]))
    content(kind, 300).tofile(path)
    order = draws.draw(st.sampled_from("CF"))
    key = tuple(slice(None, None, draws.draw(st.sampled_from([1, -1, 2]))) for _ in shape)
    mapped = yammap.open_array(path, kind, shape=shape, order=order)[key]
    array = np.fromfile(path, kind).reshape(shape, order=order)[key]
    handle = yammap.MappedArray.of(mapped)
    axis = draws.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    keepdims = draws.draw(st.booleans())
    with np.errstate(over="ignore"):
        call = partial(reduce, name=name, axis=axis, keepdims=keepdims)
        alike(call, handle, array, is_spread=name in ("var", "std"))


@settings(max_examples=120)
@given(name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS), draws=st.data())
def test_reductions_over_many_files_are_numpys(tmp_path_factory, name, kind, draws):
    folder = tmp_path_factory.mktemp("reduced")
    axis = draws.draw(st.integers(0, 1))
    shape = draws.draw(st.sampled_from([(20, 15), (150, 2), (3, 100)]))
    array = content(kind, 300).reshape(shape)
    cuts = draws.draw(st.lists(st.integers(0, shape[axis]), max_size=3))
    parts = []
    for i, part in enumerate(np.split(array, sorted(cuts), axis)):
        (folder / str(i)).write_bytes(part.tobytes())
        parts.append(yammap.MappedArray(folder / str(i), kind, part.shape))
    over = draws.draw(st.sampled_from([None, 0, 1, -1]))
    keepdims = draws.draw(st.booleans())
    whole = yammap.concatenate(parts, axis)
    with np.errstate(over="ignore"):
        call = partial(reduce, name=name, axis=over, keepdims=keepdims)
        alike(call, whole, array, is_spread=name in ("var", "std"))
    assert (array[-1, -1] in whole, array[:1] in whole) == (True, True)
    assert np.array(9).astype(kind)[()] not in whole or kind == "?"


@pytest.mark.parametrize("ddof", [0, 1, 300, 301])
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
def test_a_spread_is_divided_by_the_number_less_ddof(path, ddof):
    values = 1e9 + np.random.default_rng(0).random((10, 30))
    values.tofile(path)
    handle = yammap.MappedArray(path, "f8", values.shape)
    for call in np.var, np.std:
        for axis in None, 0:
            expected = call(values, axis, ddof=ddof)
            assert np.allclose(
                call(handle, axis, ddof=ddof), expected, 1e-6, equal_nan=True
            )


def test_a_fault_in_one_of_many_files_is_raised(tmp_path):
    for i in range(3):
        np.ones(4096).tofile(tmp_path / str(i))
    whole = yammap.concatenate([tmp_path / str(i) for i in range(3)], dtype="f8")
    assert whole.sum() == 3 * 4096
    (tmp_path / "1").write_bytes(b"")
    for call in whole.mean, whole.var, whole.argmax, lambda: 2.0 in whole:
        with pytest.raises((yammap.BusError, OSError)):
            call()


@pytest.fixture
def both(path):
    array = np.arange(600.0).reshape(20, 30)
    array.tofile(path)
    return yammap.MappedArray(path, "f8", (20, 30)), array


@pytest.mark.parametrize(
    "call",
    [
        lambda a: a.sum((0, 1), keepdims=True),
        lambda a: a.sum((1,)),
        lambda a: a.sum(()),
        lambda a: a.sum(dtype="f4"),
        lambda a: a.sum(0, initial=5),
        lambda a: a.sum(where=np.arange(30) > 3),
        lambda a: a.mean(dtype="f4"),
        lambda a: a.mean((1, 0)),
        lambda a: a.prod(1, "f8"),
        lambda a: a.sum(0, out=np.zeros(30)),
        np.sum,
        np.max,
        np.argmin,
        lambda a: np.mean(a, axis=1),
        lambda a: np.any(a, axis=0),
        lambda a: np.all(a > 3),
        np.add.reduce,
    ],
)
def test_what_else_they_take(both, call):
    alike(call, *both)


def test_an_axis_that_is_not_there(both):
    for array in both:
        with pytest.raises(IndexError, match="out of bounds"):
            array.sum(axis=2)
        with pytest.raises(ValueError, match=r"duplicate|repeated"):
            array.min((0, 0))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("nan", [(), (3,), (250, 100)])
def test_the_first_is_found_and_nan_before_all(path, order, nan):
    values = np.ones(300)
    values[[20, 40, 280]] = 7
    values[list(nan)] = np.nan
    values.tofile(path)
    array = values.reshape(20, 15, order=order)
    handle = yammap.MappedArray(path, "f8", (20, 15), order=order)
    assert handle.argmax() == array.argmax()
    assert handle.argmin() == array.argmin()
    assert np.array_equal(handle.max(), array.max(), equal_nan=True)


def test_contents_are_looked_for_block_by_block(both):
    handle, array = both
    assert 599 in handle
    assert 600 not in handle
    assert array[3] in handle


def test_what_is_empty(path):
    path.touch()
    handle = yammap.MappedArray(path, "f8")
    assert handle.sum() == 0
    with pytest.raises(ValueError, match="zero-size"):
        handle.min()


def test_floats_are_as_near_as_numpys(path):
    """Added up one after the other, they would be off by a thousand times as much."""
    values = np.random.default_rng(0).random(1 << 16, "f4")
    values.tofile(path)
    exact = float(values.sum(dtype="f8"))
    found = yammap.MappedArray(path, "f4").sum()
    bound = np.finfo("f4").eps * np.log2(values.size) * exact
    assert abs(float(found) - exact) <= bound / 4


RSS = """
    import os, numpy as np, yammap

    def mapped():
        with open("/proc/self/status") as status:
            fields = dict(line.split(":") for line in status)
        return int(fields["RssFile"].split()[0]) << 10

    np.arange(8 << 20).tofile("big")
    handle = yammap.MappedArray("big", int, (-1, 1024), mode={!r})
    most, block = 0, type(handle)._block

    def seen(self, piece):
        global most
        most = max(most, mapped())
        return block(self, piece)

    type(handle)._block = seen
    before = mapped()
"""


@pytest.mark.parametrize(
    "body",
    [
        "assert handle.sum() == sum(range(8 << 20))",
        "assert handle.T.max(axis=1)[-1] == (8 << 20) - 1",
        "assert handle.argmax() == (8 << 20) - 1",
        "assert -1 not in handle",
    ],
)
def test_a_large_array_is_not_in_memory_at_once(child, body):
    child(
        f"{RSS.format('r')}    {body}\n    assert most - before < 12 << 20, most - before"
    )


def test_changes_in_mode_c_are_added_up_and_stay(child):
    child(
        RSS.format("c")
        + """
    handle[0, 0] = 5
    assert handle.sum() == sum(range(8 << 20)) + 5
    assert handle[0, 0] == 5
    """
    )
