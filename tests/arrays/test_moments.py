"""The moments of parts make those of the whole, also where the mean is large."""

import numpy as np
import pytest

from yammap._arrays.moments import moments


@pytest.mark.parametrize("kind", ["u1", ">i4", "f2", "f4", "f8", "?", "g"])
@pytest.mark.parametrize("cuts", [[], [1], [3, 40, 90]])
def test_moments_of_parts_are_those_of_the_whole(kind, cuts):
    values = (np.random.default_rng(0).random((100, 3)) * 200).astype(kind)
    parts = [moments(part, (0,)) for part in np.split(values, cuts)]
    found = moments(np.concatenate(parts), (0,))
    assert found.shape == (1, 3)
    assert found["count"].tolist() == [[100] * 3]
    exact = values.astype(np.longdouble)
    assert np.allclose(found["mean"], exact.mean(0))
    assert np.allclose(found["spread"], 100 * exact.var(0))
    assert found["mean"].dtype == (np.longdouble if kind == "g" else np.float64)


def test_a_large_mean_takes_nothing_from_the_spread():
    values = 1e9 + np.arange(1000.0) / 1000
    parts = np.concatenate([moments(part, (0,)) for part in values.reshape(10, 100)])
    assert np.allclose(moments(parts, (0,))["spread"], 1000 * values.var(), rtol=1e-6)
