"""xarray over a handle: nothing is read before it is needed, and Dask's workers read it."""

import cloudpickle
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from documents import ROOT, examples

import yammap

DIMS = ("time", "lat", "lon")
SHAPE = (2000, 6, 7)  # several chunks of the engine


@pytest.fixture(scope="module")
def engine():
    """The engine that the guide shows."""
    namespace = {"__name__": "__main__", "xr": xr, "yammap": yammap}
    blocks = [example.source for example in examples(ROOT / "docs/howto/xarray.md")]
    (source,) = [block for block in blocks if "class Npy" in block]
    exec(source.partition("\ndims = ")[0], namespace)
    return namespace["Npy"]


@pytest.fixture
def content(tmp_path):
    content = np.arange(np.prod(SHAPE), dtype="<f8").reshape(SHAPE)
    np.save(tmp_path / "climate.npy", content)
    return content


@pytest.fixture
def lazy(content, engine, tmp_path):
    def lazy(**options):
        return xr.open_dataset(
            tmp_path / "climate.npy", engine=engine, dims=DIMS, **options
        ).data

    return lazy


def test_nothing_is_read_before_it_is_needed(engine, tmp_path):
    path = tmp_path / "sparse.npy"
    shape = (1 << 10, 1 << 17)  # 1 GiB
    yammap.open_array(path, "<f8", "w+", shape=shape, preallocate=False)[512, 3] = 7
    wrapped = da.from_array(yammap.MappedArray(path), chunks=(1, 1 << 17))
    for array in (
        xr.open_dataset(path, engine=engine, dims=("row", "column")).data,
        xr.open_dataset(path, engine=engine, dims=("row", "column"), chunks={}).data,
        xr.DataArray(wrapped, dims=("row", "column")),
    ):
        assert int(array.isel(row=512, column=slice(2, 5)).sum()) == 7
    with yammap.open(path) as m:
        assert m.resident().mean() < 0.1  # the kernel reads some MiB around each place


SELECTIONS = {
    "slices": {"time": slice(-3, None, -2), "lat": slice(1, 4), "lon": 2},
    "a list": {"time": [3, 0, -1]},
    "lists": {"time": [3, 0], "lon": [6, 1, 1]},
    "points": {
        "time": xr.DataArray([3, 0], dims="p"),
        "lat": xr.DataArray([1, 5], dims="p"),
    },
}


@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("options", [{}, {"chunks": {}}], ids=["plain", "Dask"])
def test_selections_are_those_of_an_array(lazy, content, selection, options):
    expected = xr.DataArray(content, dims=DIMS).isel(selection)
    xr.testing.assert_equal(lazy(**options).isel(selection).compute(), expected)


def test_workers_open_the_file(lazy, content, tmp_path):
    wrapped = da.from_array(
        yammap.MappedArray(tmp_path / "climate.npy"), chunks=(800, 6, 7)
    )
    for array in (lazy(chunks={}), xr.DataArray(wrapped, dims=DIMS)):
        assert len(cloudpickle.dumps(array)) < content.nbytes
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            mean = array.mean(("lat", "lon")).compute(scheduler="processes", num_workers=2)
        np.testing.assert_allclose(mean, content.mean(axis=(1, 2)))
