"""What others may hold of a mapping, and what nobody may make by hand."""

import copy
import gc
import io
import pickle
import weakref

import numpy as np
import pytest

import yammap
from yammap._core import Keeper, Kept


def test_private_types_cannot_be_made(path):
    """One that was made by hand would hold nothing, and be used as if it did."""
    m = yammap.anonymous(10)
    view = m.view()
    kinds = {
        type(m.guard()),
        type(view.obj),
        *(
            getattr(yammap._core, name)
            for name in ("Region", "View", "Guard", "Memory", "Extent", "PinnedMemory")
        ),
    }
    assert len(kinds) == 6
    for kind in kinds:
        for make in (
            kind,
            lambda kind=kind: kind.__new__(kind),
            lambda kind=kind: object.__new__(kind),
        ):
            with pytest.raises(TypeError):
                make()
        with pytest.raises(TypeError):
            copy.copy(next((o for o in (m.guard(), view.obj) if type(o) is kind), view))


def test_owners_of_memory_are_not_copied(m):
    for thing in (memoryview(m).obj, m):
        with pytest.raises(TypeError, match=r"pickle|__reduce__"):
            pickle.dumps(thing)


@pytest.mark.parametrize("engine", ["mmap", "pread"])
def test_a_pin_sees_the_mapping_as_it_is_at_each_batch(path, engine):
    """Also in another region: without a reserve, growth maps the file anew."""
    with yammap.open(path, "w+", size=4096, reserve=0, engine=engine) as m:
        for size in (1 << 20, 100, 4 << 20):
            m.resize(size)
            m.write_at(b"end", size - 3)
            assert m.gather([size - 3], 3).tobytes() == b"end"
            with pytest.raises(ValueError, match=f"{size}"):
                m.gather([size - 2], 3)


def test_what_writes_is_asked_first(path):
    path.write_bytes(b"unchanged")
    for mode in ("r", "a+"):
        m = yammap.open(path, mode)
        with m, pytest.raises(io.UnsupportedOperation, match=r"read-only|append mode"):
            m.scatter([0], np.zeros((1, 1), np.uint8))
    assert path.read_bytes() == b"unchanged"


def test_a_mapping_is_known_by_its_public_name():
    assert repr(yammap.Mapping) == "<class 'yammap.Mapping'>"


# -- What is kept of a mapping


def address(array):
    return array.__array_interface__["data"][0]


@pytest.fixture
def exact(path):
    with yammap.open(path, "w+", size=4096, reserve=0, preallocate=False) as m:
        yield m


def kept_of(m):
    kept = Kept(m)
    kept.view = m.array()
    return kept


def test_it_is_what_was_put_there(exact):
    kept = kept_of(exact)
    view = kept.view
    assert kept.view is view
    assert Kept(exact).view is None


def test_it_is_of_the_region_that_the_mapping_is_in(exact):
    kept = kept_of(exact)
    before = address(kept.view)
    while address(exact.array()) == before and exact.size() < 1 << 34:
        exact.resize(2 * exact.size())
        assert (kept.view is None) == (address(exact.array()) != before)
    assert address(exact.array()) != before


def test_it_does_not_count_as_a_view_that_is_alive(exact):
    kept = [kept_of(exact) for _ in range(3)]
    exact.resize(100)
    assert [each.view for each in kept] == [None] * 3
    again = kept_of(exact)
    assert len(again.view) == 100
    exact.close()
    with pytest.raises(ValueError, match="is closed"):
        again.view  # noqa: B018
    with pytest.raises(ValueError, match="is closed"):
        Kept(exact)


def test_it_is_not_kept_by_the_mapping(exact):
    kept = kept_of(exact)
    gone = weakref.ref(kept)
    del kept
    gc.collect()
    assert gone() is None
    exact.resize(0)


def test_what_it_takes():
    with pytest.raises(TypeError):
        Kept(None)
    with pytest.raises(TypeError):
        Kept(np.zeros(1))


def test_a_view_made_while_the_kept_one_was_let_go_is_not_kept(m):
    kept = Kept(m)
    made = m.view()
    kept.let_go()  # another thread is about to cut the file
    kept.view = made
    del made
    m.resize(1)  # no view is alive
    assert kept.view is None


class Listed(Keeper):
    """Of a list, which tells what it was asked."""

    def __init__(self, numbers):
        self.numbers, self.asked = numbers, []

    def _keep(self):
        return self.numbers

    def _given(self, whole, piece):
        return whole, piece

    def _assign(self, key, value):
        self.asked.append((key, value))


def test_a_keeper_asks_its_class_for_pieces_and_values_that_are_no_numbers():
    listed = Listed([1, 2, 3])
    assert listed[1] == 2
    assert listed[1:] == ([1, 2, 3], [2, 3])
    listed[1], listed[2], listed[0] = 7, 0.5, "text"
    assert (listed.numbers, listed.asked) == ([1, 7, 0.5], [(0, "text")])


def test_a_keeper_uses_the_view_that_it_keeps(m):
    listed = Listed(None)
    listed._kept = kept_of(m)
    assert listed[:3][0] is listed._kept.view
    listed[0] = 7
    assert m[0] == 7
    listed._kept.let_go()
    assert listed._whole() is None
    with pytest.raises(TypeError):
        listed._kept = m


def test_a_keeper_deletes_nothing():
    with pytest.raises(ValueError, match="cannot delete"):
        del Listed([1])[0]
