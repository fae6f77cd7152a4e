"""What tests of shared memory run in workers, which import it by its name."""

import time
from multiprocessing import util

import yammap


def make_result(directory, value):
    m = yammap.shared(size=8000, create=True, directory=directory)
    a = m.array("f8")
    a[:] = value
    return yammap.MappedArray.of(a)


def add_one(m):
    m.array("f8")[:] += 1
    return m


def put_results(queue, directory, count):
    for value in range(count):
        queue.put(make_result(directory, value))


class Late:
    """Is pickled when its process has begun to end."""

    def __reduce__(self):
        while not util.is_exiting():
            time.sleep(0.001)
        return Late, ()


def put_late(queue, directory):
    queue.put(Late())
    queue.put(make_result(directory, 5))


def keep_it(m):
    keep_it.kept = m
