"""Nothing dangles and growth never moves: views outlive closing, growth and the object."""

import ctypes
import gc
import mmap
import os
import re

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE


def opened(path):
    """Not a fixture: pytest would hold the object that must go."""
    path.write_bytes(b"0123456789" * 1000)
    return yammap.open(path, "r+")


def mapped_ranges(path):
    """The address ranges at which this process maps a file."""
    with open("/proc/self/maps") as maps:
        return [line.split()[0] for line in maps if line.rstrip().endswith(os.fspath(path))]


CONSUMERS = {
    "memoryview": memoryview,
    "slice of a memoryview": lambda m: memoryview(m)[0:10_000],
    "view": lambda m: m.view(),
    "array": lambda m: m.array(),
    "np.frombuffer": lambda m: np.frombuffer(m, np.uint8),
    "np.asarray": np.asarray,
    "np.ndarray(buffer=)": lambda m: np.ndarray(10_000, np.uint8, buffer=m),
    "ctypes": lambda m: (ctypes.c_char * 10_000).from_buffer(m),
    "reshaped child": lambda m: m.array("S10", (10, 100)).T[3:],
    "open_array": lambda m: yammap.open_array(m.name),
}


@pytest.mark.parametrize("consume", CONSUMERS.values(), ids=CONSUMERS)
def test_28_views_outlive_close_and_the_object(path, consume):
    m = opened(path)
    view = consume(m)
    expected = bytes(view)
    m.close()
    assert bytes(view) == expected
    del m
    gc.collect()
    assert bytes(view) == expected
    assert len(mapped_ranges(path)) == 1
    del view
    gc.collect()
    assert mapped_ranges(path) == []


def test_close_unmaps_at_once_what_was_never_handed_out(path):
    m = opened(path)
    m.pread(10, 0)
    assert len(mapped_ranges(path)) == 1
    m.close()
    assert mapped_ranges(path) == []


@pytest.mark.parametrize("consume", [lambda m: m.array(), lambda m: m.view(5)])
def test_views_are_all_that_keeps_a_closed_mapping(path, consume):
    m = opened(path)
    view = consume(m)
    m.close()
    assert len(mapped_ranges(path)) == 1
    del view
    assert mapped_ranges(path) == []


def test_a_lent_mapping_stays_while_somebody_may_hold_the_object(path):
    m = opened(path)
    memoryview(m).release()
    m.close()
    assert len(mapped_ranges(path)) == 1
    del m
    assert mapped_ranges(path) == []


def test_views_do_not_keep_the_descriptor(path):
    m = opened(path)
    fd = m.fileno()
    view = m.view()
    del m
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert bytes(view[:3]) == b"012"


def test_28_views_in_a_process_that_would_crash(child):
    child("""
        import gc, numpy as np, yammap
        m = yammap.create("file", 1 << 20)
        m.write_at(b"alive", 0)
        lost = np.ndarray(5, "u1", buffer=m)
        kept = [memoryview(m), np.frombuffer(m, "u1"), m.array("S5", 10), lost]
        m.close()
        del m
        gc.collect()
        churn = [yammap.anonymous(1 << 20).array() for _ in range(50)]
        assert all(bytes(view[:5]) == b"alive" for view in kept[:2])
        assert kept[2][0] == b"alive" and lost.tobytes() == b"alive"
    """)


def test_28_an_unseen_holder_in_a_process_that_would_crash(child):
    child("""
        import gc, numpy as np, yammap
        m = yammap.create("file", 1 << 20)
        m.write_at(b"alive", 0)
        lost = np.ndarray(1 << 20, "u1", buffer=m)
        m.close()
        gc.collect()
        assert lost[:5].tobytes() == b"alive" and lost[-1] == 0
    """)


# -- Growth


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


def test_generations_are_let_go(path):
    with yammap.open(path, "w+", size=PAGE, reserve=0) as m:
        for step in range(2, 200):
            m.resize(step * PAGE)
            m.view().release()
        assert len(mapped_ranges(path)) <= 2


def test_a_lent_generation_is_kept_until_the_object_goes(path):
    m = yammap.open(path, "w+", size=PAGE, reserve=0)
    blocker = [yammap.anonymous(PAGE) for _ in range(3)]
    lost = np.ndarray(4, np.uint8, buffer=m)
    m.resize(1 << 30)
    m.write_at(b"seen", 0)
    assert lost.tobytes() == b"seen"
    m.close()
    assert lost.tobytes() == b"seen"
    del blocker


# -- Shrinking: FAULTS 29


@pytest.mark.parametrize(
    "consume", [memoryview, lambda m: m.array(), lambda m: np.frombuffer(m, np.uint8)]
)
def test_29_shrinking_under_a_view_is_refused(path, consume):
    m = opened(path)
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


# -- The end: FAULTS 32


def test_32_views_outlive_the_object_and_the_interpreter(child):
    out = child("""
        import atexit, sys, yammap

        class Late:
            def __init__(self, view):
                self.view = view
            def __del__(self):
                sys.__stdout__.write(bytes(self.view[:4]).decode())

        m = yammap.create("file", 1 << 20)
        m.write_at(b"late", 0)
        sys.modules["holder"] = Late(m.view())
        cycle = [m.array()]
        cycle.append(cycle)
        atexit.register(lambda: sys.__stdout__.write("exit "))
        m.close()
    """)
    assert out in ("exit late", "exit ")


def test_12_the_mapping_keeps_its_file_when_the_name_goes(path):
    path.write_bytes(b"old")
    with yammap.open(path, "r+") as m:
        path.unlink()
        path.write_bytes(b"new file")
        assert m.refresh() == 3
        m.append(b"er")
        assert m.read() == b"older"
        os.replace(path, path.with_name("moved"))
        assert m.pread(9, 0) == b"older"
    assert path.with_name("moved").read_bytes() == b"new file"
