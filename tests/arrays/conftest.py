"""Fixture: an array in a file."""

import numpy as np
import pytest


@pytest.fixture
def cube(path):
    """An array in a file, at a bad alignment."""
    array = np.arange(120, dtype="<i4").reshape(6, 5, 4)
    path.write_bytes(b"abc" + array.tobytes() + b"xyz")
    return array
