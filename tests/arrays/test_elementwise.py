"""What a handle leaves to the array that it stands for, and says so."""

import operator
from dataclasses import dataclass

import numpy as np
import pytest

import yammap


def test_a_handle_compares_no_identities(path):
    """Nor does it compute: what is to be had is said, and nothing is overwritten."""
    np.arange(5).tofile(path)
    handle = yammap.MappedArray(path, np.int64, mode="r+")
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        with pytest.raises(TypeError, match=r"write handle\[\.\.\.\] [=!<>]=? x"):
            getattr(operator, name)(handle, 3)
    with pytest.raises(TypeError, match=r"handle\[\.\.\.\] > x"):
        3 < handle  # noqa: B015, SIM300
    with pytest.raises(TypeError, match=r"handle\[\.\.\.\] != x"):
        handle[handle != 3] = 0
    handle[handle[...] != 3] = 0
    assert handle[...].tolist() == [0, 0, 0, 3, 0]


@pytest.mark.parametrize(
    ("call", "way_out"),
    [
        (lambda h: h + 1, "handle[...] + x"),
        (lambda h: 1 - h, "x - handle[...]"),
        (lambda h: h @ h, "handle[...] @ x"),
        (lambda h: -h, "-handle[...]"),
        (abs, "abs(handle[...])"),
        (lambda h: divmod(7, h), "divmod(x, handle[...])"),
        (lambda h: operator.imul(h, 2), "handle[...] *= x"),
    ],
)
def test_operators_of_a_handle_say_what_to_write(path, call, way_out):
    path.write_bytes(bytes(8))
    with pytest.raises(TypeError) as error:
        call(yammap.MappedArray(path))
    assert str(error.value).endswith(f"write {way_out}")


def test_methods_of_arrays_are_the_arrays(path):
    path.write_bytes(bytes(range(8)))
    handle = yammap.MappedArray(path)
    for name in ("sum", "T", "astype", "tolist"):
        with pytest.raises(AttributeError, match=rf"as handle\[\.\.\.\]\.{name}"):
            getattr(handle, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'colour'$"):
        handle.colour  # noqa: B018
    assert np.sum(handle) == handle[...].sum() == 28  # NumPy asks for the method first
    assert np.array_equal(np.add(handle, 1), np.arange(1, 9))


@pytest.mark.parametrize("left", [np.arange(5), np.array(3), np.int64(3), np.float32(3)])
def test_an_array_or_scalar_of_numpys_takes_a_handle_for_one(path, left):
    np.arange(5).tofile(path)
    handle, array = yammap.MappedArray(path, np.int64), np.arange(5)
    for name in ("eq", "ne", "lt", "add", "sub", "pow"):
        call = getattr(operator, name)
        assert np.array_equal(call(left, handle), call(left, array))


def test_what_asks_a_handle_for_equality_in_silence_is_told(path):
    @dataclass
    class Sample:
        data: yammap.MappedArray

    path.write_bytes(bytes(8))
    handle, other = (yammap.MappedArray(path) for _ in range(2))
    for call in (
        lambda: Sample(handle) == Sample(other),
        lambda: (handle,) == (other,),
        lambda: handle in [1, other],
        lambda: [other].index(handle),
        lambda: {handle},
    ):
        with pytest.raises(TypeError):
            call()


def test_contents_and_truth_are_those_of_the_array(path):
    path.write_bytes(b"\0\1\2")
    handle = yammap.MappedArray(path)
    assert 2 in handle
    assert 3 not in handle
    assert not yammap.MappedArray(path, shape=1)
    assert yammap.MappedArray(path, shape=1, offset=1)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(handle)
