"""Rows that are copied many at a time: which, where to, and where they lie."""

import numpy as np
import pytest

from yammap._arrays.array_layout import contiguous, layout_in
from yammap._arrays.rows import as_rows, may_overlap, require_like, rows_of


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((5, 3), {}, (5, 8, 12)),
        ((5,), {}, (5, 8, 4)),
        ((5, 3), {"strides": (100, 4)}, (5, 8, 100)),
        ((5, 3), {"strides": (-12, 4), "offset": 48}, (5, 48, -12)),
        ((5, 3), {"strides": (0, 4)}, (5, 8, 0)),
        ((5, 3), {"order": "F"}, None),
        ((5, 1), {"order": "F"}, (5, 8, 4)),
        ((5, 3), {"strides": (24, 8)}, None),
        ((0, 3), {}, None),
        ((5, 0), {}, None),
    ],
)
def test_where_rows_lie(shape, options, expected):
    terms = {"offset": 8, "strides": None, "order": "C", **options}
    layout = layout_in(1000, "<i4", shape, **terms)
    assert rows_of(layout) == expected


def test_rows_of_a_structured_type_are_whole():
    assert rows_of(contiguous(np.dtype("i2,S3"), (7,), 1, "C")) == (7, 1, 5)


@pytest.mark.parametrize(
    "index", [[2, 0], (2, 0), [[2], [0]], np.array([2, 0], "u1"), np.array([2, 9, 0])[::2]]
)
def test_indices_are_integers_in_one_dimension(index):
    rows = as_rows(np.asarray(index))
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, 0]


def test_indices_are_not_copied_where_they_need_not_be():
    index = np.array([2, 0])
    assert as_rows(index) is index


def test_indices_that_are_no_integers():
    assert as_rows(np.array([True, False])).tolist() == [1, 0]
    assert as_rows(np.array([])).tolist() == []
    for index in ([0.5], ["a"], [None]):
        with pytest.raises(TypeError, match="indices must be integers"):
            as_rows(np.asarray(index))
    with pytest.raises(IndexError, match="beyond any file"):
        as_rows(np.asarray([2**63]))


def test_what_out_has_to_be():
    require_like(np.empty((2, 3), "<i4"), (2, 3), np.dtype("<i4"))
    for wrong in (np.empty((3, 2), "<i4"), np.empty((2, 3), "<f4")):
        with pytest.raises(ValueError, match=r"must have shape \(2, 3\) and dtype int32"):
            require_like(wrong, (2, 3), np.dtype("<i4"))
    with pytest.raises(TypeError, match="not 'list'"):
        require_like([], (2, 3), np.dtype("<i4"))


def test_what_may_overlap():
    own, other = np.zeros(8, np.int64), np.zeros(8, np.int64)
    assert may_overlap(own, own)
    assert may_overlap(own, own[::2])
    assert may_overlap(own[1:], own)
    assert may_overlap(own[:4], own[2:])
    assert not may_overlap(own, other)
    assert not may_overlap(own[1:], other[1:])
