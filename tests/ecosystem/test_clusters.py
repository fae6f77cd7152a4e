"""Dask, Ray and Spark on real workers: handles in, regions out, and workers that die."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import yammap

MIB = 1 << 20
HERE = Path(__file__).parent
SHAPE = (64, MIB)  # of int32: 256 MiB
ROWS = 4  # of a task

# -- Each cluster runs a function for tuples of arguments, and returns the results.


@contextlib.contextmanager
def dask():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options, memory_limit=0) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield lambda function, arguments: client.gather(
            [client.submit(function, *each, pure=False) for each in arguments]
        )


@contextlib.contextmanager
def ray():
    ray = pytest.importorskip("ray", reason="Ray comes with the extra `cluster`")
    # An object store that is smaller than the file: nothing of it goes there.
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * MIB,
        log_to_driver=False,
    )
    try:
        yield lambda function, arguments: ray.get(
            [ray.remote(function).remote(*each) for each in arguments]
        )
    finally:
        ray.shutdown()


@contextlib.contextmanager
def spark():
    sql = pytest.importorskip("pyspark.sql", reason="Spark comes with the extra `cluster`")
    builder = sql.SparkSession.builder.master("local[2, 3]")  # and three tries a task
    options = {"ui.enabled": False, "executor.pyspark.memory": f"{SPARK_LIMIT // MIB}m"}
    for name, value in options.items():
        builder = builder.config(f"spark.{name}", value)
    session = builder.getOrCreate()
    context = session.sparkContext
    context.setLogLevel("OFF")  # it tells of each worker that dies

    def run(function, arguments):
        tasks = context.parallelize(arguments, len(arguments))
        return tasks.map(lambda each: function(*each)).collect()

    try:
        yield run
    finally:
        session.stop()


CLUSTERS = {"dask": dask, "ray": ray, "spark": spark}
SPARK_LIMIT = 1024 * MIB
ENVIRONMENT = {
    "PYTHONPATH": os.fspath(HERE),
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_LOCAL_IP": "127.0.0.1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(scope="module")
def cluster_tasks(tmp_path_factory):
    """The module of the tasks: workers have this path and this Python, too.

    Workers look for modules where they are started, which is away from the source tree.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workers"))
        patch.syspath_prepend(HERE)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        import cluster_tasks

        yield cluster_tasks


@pytest.fixture(scope="module", params=CLUSTERS.values(), ids=CLUSTERS)
def run(request, cluster_tasks):
    with request.param() as run:
        yield run


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file that is larger than what a worker may hold."""
    path = tmp_path_factory.mktemp("clusters") / "big.npy"
    array = yammap.open_array(path, "<i4", "w+", shape=SHAPE)
    array[:] = np.arange(len(array))[:, None]
    yield yammap.MappedArray(path)
    path.unlink()


@pytest.fixture
def result(tmp_path):
    path = tmp_path / "result.npy"
    yield yammap.MappedArray.of(yammap.open_array(path, "<i4", "w+", shape=SHAPE))
    path.unlink()


def regions(rows):
    return [(start, start + ROWS) for start in range(0, rows, ROWS)]


def sums(rows):
    return [sum(range(*region)) * SHAPE[1] for region in regions(rows)]


def is_tripled(result, rows):
    found = np.load(result.path, mmap_mode="r")
    expected = np.where(np.arange(len(found)) < rows, 3 * np.arange(len(found)), 0)
    return np.array_equal(found.min(axis=1), expected) and np.array_equal(
        found.max(axis=1), expected
    )


def test_more_than_a_worker_may_hold(run, cluster_tasks, big, result):
    assert big.nbytes > cluster_tasks.ROOM
    assert run(cluster_tasks.can_load, [(big,), (big,)]) == [False, False]
    done = run(cluster_tasks.triple, [(big, result, *each) for each in regions(len(big))])
    assert [total for total, _ in done] == sums(len(big))
    assert os.getpid() not in {pid for _, pid in done}
    assert is_tripled(result, len(big))


def test_a_worker_that_is_killed_half_way(run, cluster_tasks, big, result, tmp_path):
    """Its task is run again by another, which writes the whole region."""
    tasks = [[big, result, *each] for each in regions(16)]
    tasks[1].append(os.fspath(tmp_path / "killed"))
    assert [total for total, _ in run(cluster_tasks.triple, tasks)] == sums(16)
    assert (tmp_path / "killed").exists()
    assert is_tripled(result, 16)


def test_another_file_is_an_error_and_not_a_result(run, cluster_tasks, path, result):
    np.zeros((4, 4), "<i4").tofile(path)
    handle = yammap.MappedArray(path, "<i4", (4, 4))
    with yammap.atomic_create(path, handle.nbytes):
        pass
    with pytest.raises(Exception, match="another file has its path"):
        run(cluster_tasks.triple, [(handle, result, 0, 4)])


def test_a_file_that_is_cut_is_an_error_of_the_task(run, cluster_tasks, path):
    """The worker lives, whatever handlers of SIGBUS the cluster has installed in it."""
    path.write_bytes(bytes(MIB))
    with pytest.raises(Exception, match="the file shrank to"):
        run(cluster_tasks.read_what_is_cut, [(os.fspath(path),)])


# -- Spark alone


@pytest.mark.parametrize("run", [spark], ids=["spark"], indirect=True)
def test_a_part_is_mapped_where_spark_limits_addresses(run, cluster_tasks, path):
    with yammap.open(path, "w+", size=SPARK_LIMIT, preallocate=False) as m:
        m.array()[:: 16 * MIB] = 1
    handle = yammap.MappedArray(path)
    with pytest.raises(Exception, match="RLIMIT_AS allows"):
        run(cluster_tasks.total_of_part, [(handle, 0, 1)])
    parts = [(path, start, 256 * MIB) for start in range(0, SPARK_LIMIT, 256 * MIB)]
    assert run(cluster_tasks.total_of_window, parts) == [16] * 4
