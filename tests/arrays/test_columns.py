"""Many records that are alike, in few bytes."""

import os
import pickle

import pytest

from yammap._arrays.columns import pack, unpack


@pytest.mark.parametrize(
    "values",
    [
        [1],
        [7, 7, 7],
        [3, -2, 2**40],
        [0, 2**70],
        ["/a/b-1", "/a/b-2"],
        [os.fsdecode(b"/a/\xff"), "/b"],
        [b"/a", b"/b"],
        [None, (1, 2)],
        [(1, (2, "a")), (1, (3, "b"))],
        [(1,), (1, 2)],
        [True, 1],
        [(), ()],
    ],
)
def test_what_is_packed_comes_back(values):
    found = unpack(pack(values))
    assert found == values
    assert [*map(type, found)] == [*map(type, values)]


def test_what_is_alike_takes_few_bytes():
    names = [f"/a/directory/of/a/data/set/shard-{i:05}-of-01000.bin" for i in range(1000)]
    assert len(pickle.dumps(pack(names))) < 5000
    records = [(10**12 + i, 4096, "r+") for i in range(1000)]
    assert len(pickle.dumps(pack(records))) < 2500
