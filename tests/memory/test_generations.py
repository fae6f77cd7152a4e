"""Regions one after the other: growth moves no view, and truncation spares holders."""

import contextlib
import gc
import mmap
import re
import threading

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE


def address(a):
    return a.__array_interface__["data"][0]


@pytest.mark.parametrize("reserve", [None, 0, 64 * PAGE])
def test_30_growth_moves_no_view(path, reserve):
    with yammap.open(path, "w+", size=PAGE, reserve=reserve) as m:
        views, addresses = [], []
        for step in range(1, 1001):
            m.resize((step + 1) * PAGE)
            if step % 10 == 0:
                views.append(m.array())
                addresses.append(address(views[-1]))
        for offset in range(0, 1000 * PAGE, 97 * PAGE):
            m.write_at(b"seen", offset)
            assert all(v[offset : offset + 4].tobytes() in (b"seen", b"") for v in views)
        views[0][PAGE - 4 : PAGE] = np.frombuffer(b"back", np.uint8)
        assert m.pread(4, PAGE - 4) == b"back"
        assert [address(v) for v in views] == addresses
        if reserve is None:
            assert len(set(addresses)) == 1


def test_generations_are_let_go(path, mapped_ranges):
    with yammap.open(path, "w+", size=PAGE, reserve=0) as m:
        for step in range(2, 200):
            m.resize(step * PAGE)
            m.view().release()
        assert len(mapped_ranges()) <= 2


def test_an_exported_generation_is_kept_until_the_object_goes(path):
    m = yammap.open(path, "w+", size=PAGE, reserve=0)
    blocker = [yammap.anonymous(PAGE) for _ in range(3)]
    lost = np.ndarray(4, np.uint8, buffer=m)
    m.resize(1 << 30)
    m.write_at(b"seen", 0)
    assert lost.tobytes() == b"seen"
    m.close()
    assert lost.tobytes() == b"seen"
    del blocker


@pytest.mark.parametrize(
    "consume", [memoryview, lambda m: m.array(), lambda m: np.frombuffer(m, np.uint8)]
)
def test_29_shrinking_under_a_view_is_refused(path, consume):
    path.write_bytes(b"0123456789" * 1000)
    m = yammap.open(path, "r+")
    views = [consume(m), consume(m)]
    with pytest.raises(
        BufferError, match=re.escape(repr(str(path))) + r".* 2 of its views are"
    ):
        m.truncate(10)
    assert path.stat().st_size == m.size() == 10_000
    views.pop()
    with pytest.raises(BufferError, match="1 of its views is alive"):
        m.truncate(10)
    views.pop()
    assert m.truncate(10) == 10
    assert m.size() == path.stat().st_size == 10


def test_29_shrinking_counts_views_of_older_generations(path):
    with yammap.open(path, "w+", size=PAGE, reserve=0) as m:
        view = m.view()
        m.resize(1 << 20)
        with pytest.raises(BufferError, match="1 of its views"):
            m.resize(0)
        view.release()
        m.resize(0)


def test_29_shrinking_under_an_unseen_holder(child):
    # np.ndarray(buffer=) drops the export, so nobody knows that it is there.
    child("""
        import mmap, numpy as np, os, yammap
        page = mmap.PAGESIZE
        m = yammap.open("file", "w+")
        m.write(b"x" * (4 * page))
        lost = np.ndarray(4 * page, "u1", buffer=m)
        m.truncate(page + 10)
        assert lost[:page + 10].tobytes() == b"x" * (page + 10)
        assert lost[page + 10:].tobytes() == bytes(3 * page - 10)
        lost[3 * page] = 1
        m.truncate(4 * page)
        assert m.pread(4 * page, page + 10) == bytes(3 * page - 10)
        m.write_at(b"y", 0)
        assert lost[0] == ord("y")
        m.close()
        assert lost[0] == ord("y") and lost[3 * page] == 1
    """)


def test_a_finaliser_that_cuts_the_file_while_a_view_is_made(path):
    class Cutting:
        def __init__(self, m):
            self.m, self.cycle = m, self

        def __del__(self):
            with contextlib.suppress(BufferError):
                self.m.resize(0)

    for threshold in range(1, 30):
        with yammap.open(path, "w+", size=1 << 20) as m:
            gc.collect()
            Cutting(m)
            gc.set_threshold(threshold, 0, 0)
            try:
                view = m.view()
            finally:
                gc.set_threshold(700, 10, 10)
            assert len(view) in (0, m.size())
            del view
            gc.collect()


@pytest.mark.usefixtures("eager_switching")
def test_shrinking_races(path):
    for _ in range(300):
        with yammap.open(path, "w+", size=200 * PAGE, reserve=0, preallocate=False) as m:
            memoryview(m).release()
            barrier = threading.Barrier(2)

            def cut(barrier=barrier, m=m):
                barrier.wait()
                m.resize(10 * PAGE)
                memoryview(m).release()

            cutter = threading.Thread(target=cut)
            cutter.start()
            barrier.wait()
            m.resize(100 * PAGE)
            cutter.join()
            assert m.size() in (10 * PAGE, 100 * PAGE)
            assert len(m.pread(200 * PAGE, 0)) == m.size() == path.stat().st_size


def test_exports_and_truncations_do_not_pile_up_memory(path):
    def ranges():
        with open("/proc/self/maps") as maps:
            return len(maps.readlines())

    before = ranges()
    with yammap.open(path, "w+", size=1 << 20) as m:
        for i in range(500):
            memoryview(m).release()
            m.resize((1 << 20) - i)
        assert ranges() - before < 600


def test_trimming_spares_a_copy_that_began_before(child):
    """The reserve is given back only behind the longest the mapping has been."""
    child("""
        import threading, yammap
        size = 64 << 20
        for _ in range(20):
            m = yammap.open("file", "w+", size=size, preallocate=False)
            reader = threading.Thread(target=lambda: m.pread(size, 0))
            reader.start()
            m.resize(size - (4 << 20))
            memoryview(m).release()
            m.resize(size - (8 << 20))
            reader.join()
            m.close()
    """)
