"""Dask on real workers: small graphs, memory that stays flat, results by region."""

import os
import pickle

import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import tokenize
from distributed import Client, LocalCluster

import yammap

MIB = 1 << 20
LIMIT = 512 * MIB
PAUSED = LIMIT * 8 // 10  # from where on a worker takes no more tasks
SHAPE = (768, 1024, 128)  # of float64: 768 MiB


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            memory_limit=LIMIT,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file larger than a worker's memory."""
    path = tmp_path_factory.mktemp("dask") / "big.npy"
    array = yammap.open_array(path, "<f8", "w+", shape=SHAPE)
    generator = np.random.default_rng(0)
    for i in range(0, len(array), 64):
        array[i : i + 64] = generator.random((64, *SHAPE[1:]))
    assert array.nbytes > LIMIT
    del array
    yield yammap.MappedArray(path)
    path.unlink()


def lazy(handle, nbytes=32 * MIB):
    return da.from_array(handle, chunks=handle.suggest_chunks(nbytes))


def test_the_graph_is_small(big):
    handle = yammap.MappedArray.of(big[:, :, :])
    assert len(pickle.dumps(lazy(handle, big.nbytes).dask)) < 2000
    assert len(pickle.dumps(big)) < 500


def test_the_name_comes_without_reading(path):
    with yammap.open(path, "w+", size=1 << 40, preallocate=False):
        pass
    handle = yammap.MappedArray(path, "<f8", (-1, 1024))
    first = lazy(handle, 1 << 36)
    assert first.name == lazy(pickle.loads(pickle.dumps(handle)), 1 << 36).name
    with yammap.open(path) as m:
        assert not m.resident(0, 1 << 30)[1:].any()  # the first tells if it is a .npy
    os.utime(path, ns=(1, 1))
    assert first.name != lazy(handle, 1 << 36).name
    assert tokenize(handle) != tokenize(yammap.MappedArray(path, "<f8"))


def test_a_reduction_over_more_than_a_worker_can_hold(client, big):
    """A worker that kept what it read in memory would be paused, and killed."""
    before = client.run(os.getpid)
    array = lazy(big)
    result = (array.sum(axis=0), array[::7].max(axis=(1, 2)))
    sums, most = dask.compute(*result)
    whole = np.asarray(big)
    assert np.allclose(sums, whole.sum(axis=0))
    assert np.array_equal(most, whole[::7].max(axis=(1, 2)))
    assert client.run(os.getpid) == before
    assert max(map(peak, before.values())) < PAUSED


def peak(pid):
    """The most that the process has had in memory, in bytes, as its worker counts it."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if "VmHWM" in line)


def test_a_written_result_comes_back_by_region(client, big, tmp_path):
    path = tmp_path / "result.npy"
    out = yammap.MappedArray.of(yammap.open_array(path, "<f8", "w+", shape=SHAPE))
    before = client.run(os.getpid)
    array = lazy(big)
    half = SHAPE[0] // 2
    regions = [(slice(0, half),), (slice(half, None),)]
    da.store([array[:half] * 2, array[half:] * 3], [out, out], lock=False, regions=regions)
    found = np.load(path, mmap_mode="r")
    for i in range(0, len(out), 64):
        factor = 2 if i < half else 3
        assert np.array_equal(found[i : i + 64], factor * big[i : i + 64])
    assert client.run(os.getpid) == before
    assert max(map(peak, before.values())) < PAUSED
    path.unlink()


def test_chunks_of_many_files_keep_to_the_seams(client, tmp_path):
    for i in range(1000):
        np.full((3, 2), i, "<i4").tofile(tmp_path / f"part-{i}")
    c = yammap.concatenate(tmp_path / "part-*", dtype="<i4", shape=(-1, 2))
    array = da.from_array(c, chunks=c.suggest_chunks())
    assert array.chunks == ((3,) * 1000, (2,))
    assert len(pickle.dumps(array.dask)) < 128_000
    assert tokenize(c) == tokenize(pickle.loads(pickle.dumps(c)))
    assert int(array[:30].sum().compute()) == 6 * sum(range(10))


def test_another_file_is_an_error_and_not_a_result(client, tmp_path):
    path = tmp_path / "rows.bin"
    np.zeros(1000).tofile(path)
    array = da.from_array(yammap.MappedArray(path, "f8"), chunks=500)
    with yammap.atomic_create(path, 8000):
        pass
    with pytest.raises(OSError, match="another file has its path"):
        array.sum().compute()
