"""Pages that are asked for before they are copied."""

import os
import resource

import numpy as np

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


def test_cold_records_are_asked_for_before_they_are_copied(path):
    """Then the disk has many requests at a time, and no access waits for a page fault.

    A mapping without a descriptor has no other way: the others read by a queue.
    """
    count, stride = 500, 16 * PAGE
    with yammap.create(path, count * stride) as m:
        m.array()[:] = 5
        m.sync()
        assert m.evict() == 0 or not m.resident()[::16].any()
    with yammap.open(path, keep_fd=False) as m:
        m.madvise(yammap.MADV_RANDOM)  # or a few faults would read all of it ahead
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
        records = m.gather(np.arange(count) * stride, 100)
        after = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
        assert (records == 5).all()
        assert after - before < count // 10
        assert m.resident()[::16].all()
