"""A handle goes to other processes and not a copy of its data, whoever starts them."""

import concurrent.futures
import importlib
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import joblib
import numpy as np
import pytest

import yammap

ROWS = 1000
METHODS = ["fork", "spawn", "forkserver"]

# A fork of a process with threads, which pytest's may be, is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture
def tasks(monkeypatch):
    """The module of the tasks: spawned processes have this path, too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import tasks

    return tasks


@pytest.fixture
def array(path):
    content = np.arange(ROWS * 50).reshape(ROWS, 50)
    content.tofile(path)
    return content


@pytest.fixture
def handle(array, path):
    return yammap.MappedArray(path, array.dtype, array.shape, mode="r+")


def pool_of(method):
    def run(function, arguments):
        with multiprocessing.get_context(method).Pool(2) as pool:
            return pool.starmap(function, arguments)

    return run


def executor_of(method):
    def run(function, arguments):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            return list(executor.map(function, *zip(*arguments, strict=True)))

    return run


def with_joblib(function, arguments):
    return joblib.Parallel(n_jobs=2)(joblib.delayed(function)(*each) for each in arguments)


RUNNERS = {
    **{f"multiprocessing-{method}": pool_of(method) for method in METHODS},
    **{f"concurrent.futures-{method}": executor_of(method) for method in METHODS},
    "joblib": with_joblib,
}

# A multiprocessing.Pool does not: it waits for ever for the result of a killed process.
THAT_NOTICE = {name: run for name, run in RUNNERS.items() if "multiprocessing" not in name}


@pytest.fixture(params=RUNNERS.values(), ids=RUNNERS)
def run(request):
    return request.param


def pieces(handle):
    return [(handle, start, start + 100) for start in range(0, ROWS, 100)]


def test_a_reduction(run, tasks, handle, array):
    results = run(tasks.total, pieces(handle))
    assert [total for total, _ in results] == array.reshape(10, -1).sum(axis=1).tolist()
    assert os.getpid() not in {pid for _, pid in results}


def test_what_others_write_is_in_the_file(run, tasks, handle, array):
    view = handle[:]
    run(tasks.double, pieces(handle))
    assert np.array_equal(view, 2 * array)
    assert np.array_equal(np.fromfile(handle.path, array.dtype), 2 * array.ravel())


def test_slices_travel(run, tasks, handle, array):
    part = yammap.MappedArray.of(handle[::-3, 5:20].T)
    indices = np.array([3, -1, 3])
    (taken,) = run(tasks.picked, [(part, indices)])
    assert np.array_equal(taken, array[::-3, 5:20].T[indices])


def test_anonymous_memory_is_shared(run, tasks):
    with yammap.anonymous(ROWS * 8) as m:
        handle = yammap.MappedArray(m, np.int64, mode="r+")
    handle[:] = np.arange(ROWS)
    run(tasks.double, pieces(handle))
    assert np.array_equal(handle, 2 * np.arange(ROWS))


@pytest.mark.parametrize("run", THAT_NOTICE.values(), ids=THAT_NOTICE)
def test_after_a_process_was_killed_another_pool_does_its_work(
    run, tasks, handle, array, tmp_path
):
    out = yammap.MappedArray.of(
        yammap.open_array(tmp_path / "out", array.dtype, "w+", shape=array.shape)
    )
    regions = [(handle, out, start, start + 100, None) for start in range(0, ROWS, 100)]
    with pytest.raises(BrokenProcessPool):
        run(tasks.triple, [(*regions[3][:4], os.fspath(tmp_path / "killed"))])
    assert (out[300:350] == -1).all()
    run(tasks.triple, regions)
    assert np.array_equal(np.fromfile(out.path, array.dtype), 3 * array.ravel())


@pytest.mark.skipif(
    not hasattr(concurrent.futures, "InterpreterPoolExecutor"),
    reason="InterpreterPoolExecutor came with Python 3.14",
)
def test_interpreters_share_the_file_where_numpy_lets_them(tasks, handle, array):
    with concurrent.futures.InterpreterPoolExecutor(2) as executor:
        refusal = executor.submit(importlib.import_module, "yammap").exception()
        if isinstance(refusal, ImportError):  # as NumPy says it
            assert "interpreter" in str(refusal) or "once per process" in str(refusal)
            return
        results = list(executor.map(tasks.total, *zip(*pieces(handle), strict=True)))
    assert [total for total, _ in results] == array.reshape(10, -1).sum(axis=1).tolist()


def test_what_is_sent_is_small(handle):
    assert len(pickle.dumps((handle, 0, 100))) < 500
    assert len(pickle.dumps(yammap.MappedArray.of(handle[::-3, 5:20].T))) < 500


def test_a_cache_of_joblib_knows_that_the_file_has_changed(handle, tmp_path):
    memory = joblib.Memory(tmp_path / "cache", verbose=0)
    calls = []

    @memory.cache
    def first(array):
        calls.append(array)
        return int(array[0, 0])

    assert (first(handle), first(handle), len(calls)) == (0, 0, 1)
    with open(handle.path, "r+b") as file:
        file.write(b"\7")
    os.utime(handle.path, ns=(1, 1))
    assert (first(handle), first(handle), len(calls)) == (7, 7, 2)
