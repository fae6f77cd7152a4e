"""Fixtures: is it memory of the mapping, and does it stay when the mapping does not."""

import gc
import os
import shutil

import numpy as np
import pytest

import yammap

GROWTH = 1 << 20


@pytest.fixture
def new(path):
    with yammap.open(path, "w+") as m:
        yield m


@pytest.fixture
def inside():
    """Tell whether all of an array lies in the memory of a mapping."""
    bounds = np.lib.array_utils.byte_bounds

    def inside(array, m):
        (low, high), (start, end) = bounds(np.asarray(array)), bounds(m.array())
        return start <= low < high <= end

    return inside


@pytest.fixture
def outlives(path):
    """Check that what `make` makes of a mapping, and `read` reads, outlives the mapping.

    It must stay the same when the file grows past the reserve, and is mapped again; when
    the mapping is closed and freed; and let go of the memory in the end.
    """
    copy = path.with_name("outlived")

    def outlives(make, read):
        shutil.copy(path, copy)
        m = yammap.open(copy, "r+", reserve=0)
        made = make(m)
        expected = read(made)
        m.resize(m.size() + GROWTH)
        assert read(made) == expected
        m.close()
        assert read(made) == expected
        del m
        gc.collect()
        others = [yammap.anonymous(GROWTH).array() for _ in range(20)]
        assert read(made) == expected
        del made, others
        gc.collect()
        with open("/proc/self/maps") as maps:
            assert os.fspath(copy) not in maps.read()

    return outlives
