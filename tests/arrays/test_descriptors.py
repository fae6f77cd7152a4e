"""Handles need no descriptor each, and get one when something needs it."""

import os
import resource

import numpy as np
import pytest

import yammap
from yammap._arrays import descriptors

MIB = 1 << 20


@pytest.fixture
def few():
    """Let a process have 64 descriptors, of which 16 are for arrays."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def handles(tmp_path, few):
    """More handles of files than there may be descriptors, all of them mapped."""
    for i in range(300):
        np.full(4, i).tofile(tmp_path / str(i))
    made = [yammap.MappedArray(tmp_path / str(i), int, mode="r+") for i in range(300)]
    assert [int(handle[0]) for handle in made] == [*range(300)]
    return made


def test_more_handles_than_descriptors(handles):
    for i, handle in enumerate(handles):
        handle[1] += 1
        handle += 1
        assert handle[...].tolist() == [i + 1, i + 2, i + 1, i + 1]
        assert handle.take([1, 0]).tolist() == [i + 2, i + 1]
        assert np.fromfile(handle.path, int).tolist() == handle.tolist()
    held = [descriptors.has(handle._mapping) for handle in handles]
    assert not held[0]
    assert held[-1]
    assert 10 < sum(held) < 60


def test_what_needs_a_descriptor_gets_one(handles):
    first = handles[0]
    view = first[:]
    assert not descriptors.has(first._mapping)
    first[0] = 5
    longer = first.append([7])
    assert longer.tolist() == [5, 0, 0, 0, 7]
    first.flush()
    with first.mapping.file_lock():
        view[1] = 6
    assert first.tolist() == [5, 6, 0, 0]
    for handle in handles:
        assert handle[3] is not None
    assert descriptors.has(first.mapping)


def test_a_longer_handle_of_the_same_file(handles):
    first = handles[0]
    with open(first.path, "ab") as file:
        file.write(bytes(80))
    longer = yammap.MappedArray(first.path, int, mode="r+")
    assert len(longer) == 14
    assert longer[13] == 0
    longer[0] = 9
    assert first[0] == 9


def test_large_pieces_are_mapped_by_path(tmp_path, handles):
    path = tmp_path / "large"
    np.arange(MIB).tofile(path)
    handle = yammap.MappedArray(path, int)
    assert handle[0] == 0
    handle._mapping._drop_descriptor()
    piece = handle[1:]
    assert piece[-1] == MIB - 1
    assert handle.sum() == sum(range(MIB))
    os.replace(tmp_path / "1", path)
    with pytest.raises(OSError, match="another file has its path"):
        handle[1:]


def test_changes_of_mode_c_stay_where_they_are(tmp_path, few):
    (tmp_path / "file").write_bytes(bytes(8))
    made = [yammap.MappedArray(tmp_path / "file", mode="c") for _ in range(300)]
    for i, handle in enumerate(made):
        handle[0] = i % 256
    assert [int(handle[0]) for handle in made] == [i % 256 for i in range(300)]
    assert made[0].mapping is made[0].mapping
    assert made[0][0] == 0


def test_a_mapping_that_a_caller_has_keeps_its_own(tmp_path, few):
    (tmp_path / "file").write_bytes(bytes(8))
    handle = yammap.MappedArray(tmp_path / "file", mode="r+")
    m = handle.mapping
    for i in range(100):
        (tmp_path / str(i)).write_bytes(bytes(8))
        assert yammap.MappedArray(tmp_path / str(i))[0] == 0
    m.resize(16)
    assert m is handle.mapping
