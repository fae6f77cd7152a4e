"""Elements as operands: where they are read, where they are written, and what is kept."""

import mmap
import os

import numpy as np
import pytest

import yammap

MIB = 1 << 20


def test_operands_do_not_stay_in_memory(child):
    child(
        """
        import numpy as np, yammap

        def mapped():
            with open("/proc/self/status") as status:
                fields = dict(line.split(":") for line in status)
            return int(fields["RssFile"].split()[0]) << 10

        np.arange(4 << 20).tofile("big")
        handle = yammap.MappedArray("big", int, mode="r+")
        before = mapped()
        for use in (
            lambda: handle == 3,
            lambda: handle.astype("i1"),
            lambda: handle.__iadd__(1),
            lambda: np.add(handle, 1, out=handle),
            lambda: handle.nonzero(),
        ):
            use()
            assert mapped() - before < 4 << 20
        assert handle[0] == 2
        """
    )


def test_a_block_is_mapped_at_once_unless_it_is_thin(path, monkeypatch):
    path.write_bytes(bytes(40 * MIB))
    asked = []
    monkeypatch.setattr(yammap.Mmap, "_populate", lambda _, *args: asked.append(args))
    assert yammap.MappedArray(path, "u1", shape=10 * MIB).sum() == 0
    assert [start for start, *_ in asked] == [0, 4 * MIB, 8 * MIB]
    asked.clear()
    thin = yammap.MappedArray(path, "u1", (10, 1 * MIB), strides=(4 * MIB, 4))
    assert thin.sum() == 0
    assert asked
    assert {length <= 8 * MIB for _, length, _ in asked} == {True}


def test_what_is_cut_in_a_reduction_is_an_error(path):
    yammap.open_array(path, "u1", "w+", shape=16 * MIB)
    handle = yammap.MappedArray(path)
    assert handle[0] == 0
    os.truncate(path, mmap.PAGESIZE)
    with pytest.raises(yammap.BusError, match="the file shrank"):
        handle.sum()


def test_one_handle_twice(path):
    np.arange(MIB).tofile(path)
    handle = yammap.MappedArray(path, int, mode="r+")
    assert np.array_equal(handle * handle, np.arange(MIB) ** 2)
    handle *= handle
    assert np.array_equal(np.fromfile(path, int), np.arange(MIB) ** 2)
