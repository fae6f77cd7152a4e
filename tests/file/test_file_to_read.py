"""The descriptors by which batches read a file."""

import os
import resource

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")
PAGES = 600


@pytest.fixture
def written(path):
    path.write_bytes(np.random.default_rng(0).bytes(PAGES * PAGE))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path


def read(m, **options):
    """Gather cold records, one of each page."""
    m.evict()
    m.gather(np.arange(PAGES) * PAGE, 100, **options)
    return m.statistics()


def test_a_mapping_without_a_descriptor_has_no_queue(written):
    with yammap.open(written, keep_fd=False) as m:
        found = read(m, cached=False)
        assert (found["engine"], found["requests"]) == ("mmap", 0)


def test_a_mapping_that_found_no_descriptor_asks_again(written):
    """It asks once a second at most."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gather.forget_queues()
    with yammap.open(written) as m:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            m.evict()
            m.gather(np.arange(PAGES) * PAGE, 100)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        assert m.statistics()["engine"] == "mmap"
        while read(m)["engine"] == "mmap":
            pass


def test_closing_closes_the_descriptors(written):
    gather.forget_queues()
    before = len(os.listdir("/proc/self/fd"))
    m = yammap.open(written)
    read(m, cached=True)
    gather.forget_queues()
    assert len(os.listdir("/proc/self/fd")) > before
    m.close()
    assert len(os.listdir("/proc/self/fd")) == before
