"""What the bytes of a file come to."""

import mmap

import numpy as np
import pytest

import yammap
from yammap._arrays.fingerprint import content, sample

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 5 * MIB])
@pytest.mark.parametrize("read", [sample, content])
def test_it_is_of_the_first_bytes(path, read, size):
    path.write_bytes(np.random.default_rng(0).bytes(size))
    with yammap.open(path, "r+") as m:
        found = read(m, size)
        m.append(b"more")
        assert read(m, size) == found
        assert read(m, size + 1) != found
        for place in (0, size - 1) if size else ():
            before = m[place]
            m[place] = before ^ 1
            assert read(m, size) != found
            m[place] = before


def test_a_sample_reads_a_mebibyte(path, monkeypatch):
    path.touch()
    yammap.open(path, "r+").resize(MIB * 1000)
    with yammap.open(path) as m:
        m.evict()
        sample(m, len(m))
        assert m.resident().sum() * mmap.PAGESIZE <= 32 * MIB
