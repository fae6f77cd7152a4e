"""The copy of elements of several files: no store into it, and sums of it are arrays."""

import copy
import operator

import numpy as np
import pytest

from yammap._arrays.seam_copy import SeamCopy


@pytest.mark.parametrize(
    "name", ["iadd", "iand", "ifloordiv", "ilshift", "imod", "imul", "ior", "ipow", "isub"]
)
def test_adding_in_place_gives_another_array(name):
    across, plain = SeamCopy.of(np.arange(1, 5)), np.arange(1, 5)
    found = getattr(operator, name)(across, 2)
    assert type(found) is np.ndarray
    assert found.tolist() == getattr(operator, name)(plain, 2).tolist()
    assert across.tolist() == [1, 2, 3, 4]


def test_a_copy_of_it_changes_as_arrays_do():
    own = copy.copy(SeamCopy.of(np.arange(3)))
    other = own
    own += 1
    assert other.tolist() == own.tolist() == [1, 2, 3]


def test_it_is_read_only():
    across = SeamCopy.of(np.arange(3))
    with pytest.raises(ValueError, match="read-only"):
        across[0] = 1
    assert isinstance(across.max(), np.integer)
