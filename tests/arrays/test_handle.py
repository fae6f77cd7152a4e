"""What a handle keeps for its next index breaks nothing that could change under it."""

import copy
import os
import pickle

import numpy as np
import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture
def handle(path):
    """A handle of four pages of numbers, which has been indexed."""
    np.arange(PAGE // 2, dtype="<i8").tofile(path)
    found = yammap.MappedArray(path, "<i8", mode="r+")
    assert found[1] == 1
    return found


def is_mapped(path):
    with open("/proc/self/maps") as lines:
        return any(str(path) in line for line in lines)


def test_the_view_is_made_once(handle, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(yammap.MappedArray, "_in_the_one_mapping", None)
        assert [handle[2], *handle[3:5], *handle[[5]]] == [2, 3, 4, 5]
        handle[6] = 0
        assert np.asarray(handle)[6] == 0
        with pytest.raises(TypeError):
            yammap.MappedArray(handle.path)[0]


def test_it_does_not_travel(handle):
    before = pickle.dumps(yammap.MappedArray(handle.path, "<i8", mode="r+"))
    assert pickle.dumps(handle) == before
    handle[1] = 7
    for other in pickle.loads(pickle.dumps(handle)), copy.copy(handle):
        assert other._kept is None
        assert other[1] == 7


def test_the_handle_alone_keeps_it(path):
    path.write_bytes(bytes(PAGE))
    handle = yammap.MappedArray(path)
    assert handle[1] == 0
    assert is_mapped(path)
    del handle
    assert not is_mapped(path)


# -- The mapping is closed, cut or grows


def test_closing_takes_it_back(handle, path):
    handle.mapping.close()
    assert not is_mapped(path)
    for use in (
        lambda: handle[1],
        lambda: handle[1:3],
        lambda: handle[[1]],
        lambda: handle.__setitem__(1, 0),
        lambda: handle.take([1]),
        lambda: np.asarray(handle),
    ):
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_closing_leaves_views_to_the_caller(handle, path):
    piece = handle[4:6]
    handle.mapping.close()
    assert is_mapped(path)
    assert piece.tolist() == [4, 5]


def test_it_does_not_keep_the_mapping_from_being_cut(handle, path):
    m = handle.mapping
    piece = handle[:2]
    with pytest.raises(BufferError, match="1 of its views is alive"):
        m.resize(PAGE)
    del piece
    m.resize(PAGE)
    for key in 1, slice(2), [1]:
        with pytest.raises(ValueError, match="not all in"):
            handle[key]
    m.resize(4 * PAGE)
    assert (handle[1], handle[PAGE // 8]) == (1, 0)
    assert path.stat().st_size == 4 * PAGE


def test_all_handles_of_a_mapping_let_it_be_cut(handle, path):
    others = [yammap.MappedArray(path, "<i8", 3, mode="r+") for _ in range(20)]
    assert [other[2] for other in others] == [2] * 20
    assert others[0].mapping is handle.mapping
    del others[::2]
    handle.mapping.resize(24)
    assert [other[2] for other in others] == [2] * 10
    with pytest.raises(ValueError, match="not all in"):
        handle[2]


def test_the_mapping_it_was_made_of_is_cut_and_grows(path):
    np.arange(PAGE // 2, dtype="<i8").tofile(path)
    with yammap.open(path, "r+") as m:
        handle = yammap.MappedArray(m, "<i8", mode="r+")
        last = PAGE // 2 - 1
        assert handle[last] == last
        m.resize(PAGE)
        assert handle[1] == 1
        m.resize(4 * PAGE)
        assert (handle[1], handle[last]) == (1, 0)
    assert handle[1] == 1


def test_growing_moves_nothing(handle):
    view = handle[:]
    longer = handle.append(np.arange(PAGE))
    handle[1] = longer[2] = -1
    assert view[:3].tolist() == longer[:3].tolist() == handle[:3].tolist() == [0, -1, -1]


# -- The file is cut by others, or is another one


def test_a_fault_is_raised_by_the_next_index_until_it_is_healed(handle, path):
    content = path.read_bytes()
    beyond = PAGE // 8 + 1
    os.truncate(path, PAGE)
    with pytest.raises(yammap.BusError):
        assert handle[beyond] is None
        handle.mapping.faults()
        handle[1]
    for use in (lambda: handle[1], lambda: handle[:2], lambda: handle[[1]]):
        with pytest.raises(yammap.BusError, match="the file shrank"):
            use()
    path.write_bytes(content)
    handle.mapping.heal()
    assert (handle[1], handle[beyond]) == (1, beyond)


def test_a_fault_in_another_mapping_is_none_of_it(handle, path):
    other = path.with_name("other")
    other.write_bytes(bytes(2 * PAGE))
    with yammap.open(other, on_fault="poison") as m:
        os.truncate(other, PAGE)
        assert m.view()[PAGE] == 0
        assert handle[1] == 1
        with pytest.raises(yammap.BusError):
            m.close()
    assert handle[1] == 1


def test_the_mapping_follows_a_file_that_others_cut(handle, path):
    os.truncate(path, PAGE)
    handle.mapping.refresh()
    with pytest.raises(ValueError, match="not all in"):
        handle[1]
    os.truncate(path, 4 * PAGE)
    handle.mapping.refresh()
    assert (handle[1], handle[PAGE // 8]) == (1, 0)


def test_another_file_at_the_path(handle, path):
    other = path.with_name("other")
    other.write_bytes(bytes(4 * PAGE))
    os.replace(other, path)
    assert handle[1] == 1
    handle.mapping.close()
    with pytest.raises(OSError, match="another file has its path"):
        pickle.loads(pickle.dumps(handle))[1]


# -- Copy on write, and forks


def test_changes_of_its_own_are_in_the_view(path):
    path.write_bytes(bytes(PAGE))
    handle, other = (yammap.MappedArray(path, mode="c") for _ in range(2))
    assert handle[1] == other[1] == 0
    handle[1] = 5
    handle[2:4] = 6
    assert handle[:5].tolist() == [0, 5, 6, 6, 0]
    assert not other[:5].any()
    assert path.read_bytes() == bytes(PAGE)


def test_a_forked_child_shares_what_is_shared(child):
    """And has a copy of what is copy on write, and nothing where it may have none."""
    child(
        """
        import os, yammap

        open("file", "wb").write(bytes(8192))
        shared, other = (yammap.MappedArray("file", mode="r+") for _ in range(2))
        private = yammap.MappedArray("file", mode="c")
        denied = yammap.MappedArray("file")
        shared[1] = private[1] = 3
        assert denied[1] == other[1] == 3
        denied.mapping.madvise(yammap.MADV_DONTFORK)
        pid = os.fork()
        if pid == 0:
            assert private[1] == shared[1] == 3
            private[1] = shared[2] = 4
            try:
                denied[1]
            except ValueError as error:
                os._exit("closed" not in str(error))
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert (private[1], shared[2], denied[2], other[2]) == (3, 4, 4, 4)
        """
    )


# -- The same elements in another layout


def test_other_layouts_are_handles(path):
    array = np.arange(24, dtype="<i4").reshape(2, 3, 4)
    array.tofile(path)
    handle = yammap.MappedArray(path, "<i4", array.shape, mode="r+")
    for change in (
        lambda a: a.T,
        lambda a: a.transpose(1, 2, 0),
        lambda a: a.transpose((2, 0, 1)),
        lambda a: a.reshape(6, 4),
        lambda a: a.reshape((-1,)),
        lambda a: a.reshape(-1, 2, order="F") if a.flags.f_contiguous else a.T,
        lambda a: a.view(),
        lambda a: a.view("<i2"),
        lambda a: a.view("<i8"),
        lambda a: a.T.reshape(12, 2, order="F"),
        lambda a: np.transpose(a),
        lambda a: np.reshape(a, -1),
    ):
        found, expected = change(handle), change(array)
        assert type(found) is yammap.MappedArray
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
        assert found.mapping is handle.mapping
        assert np.array_equal(pickle.loads(pickle.dumps(found)), expected)


def test_other_layouts_look_at_no_file(path):
    path.write_bytes(bytes(24))
    handle = yammap.MappedArray(path, "<u2", (3, 4))
    path.unlink()
    assert handle.T.reshape(3, 4, order="F").T.view("u1").shape == (4, 6)


def test_other_layouts_share_the_changes_of_mode_c(path):
    path.write_bytes(bytes(6))
    handle = yammap.MappedArray(path, mode="c")
    turned = handle.reshape(2, 3).T
    turned[0, 1] = 5
    assert handle.tolist() == [0, 0, 0, 5, 0, 0]


def test_layouts_that_elements_do_not_have(path):
    path.write_bytes(bytes(24))
    handle = yammap.MappedArray(path, "u1", (4, 6))
    for shape in ((5, 5), (-1, 5), (-1, -1), (-2, 12), (24, -1, 0)):
        with pytest.raises(ValueError, match="has no shape"):
            handle.reshape(shape)
    with pytest.raises(ValueError, match=r"write handle\[...\].reshape\(\(24,\)\)"):
        handle.T.reshape(24)
    with pytest.raises(ValueError, match="order"):
        handle.reshape(24, order="K")
    with pytest.raises(ValueError, match=r"repeated|axes"):
        handle.transpose(0, 0)
    with pytest.raises(ValueError, match=r"divisor|divisible|contiguous"):
        handle.view("V5")
    with pytest.raises(ValueError, match="contiguous"):
        handle.T.view("<u2")
    with pytest.raises(TypeError, match="Python objects"):
        handle.view(object)


def test_handles_are_of_one_file_or_not(path):
    path.write_bytes(bytes(24))
    handle = yammap.MappedArray(path)
    os.link(path, path.with_name("linked"))
    path.with_name("other").write_bytes(bytes(24))
    assert handle.same_file(yammap.MappedArray(path.with_name("linked"), mode="r+").T)
    assert not handle.same_file(yammap.MappedArray(path.with_name("other")))
    with pytest.raises(TypeError, match="takes a handle"):
        handle.same_file(np.zeros(3))
