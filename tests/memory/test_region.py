"""Nothing dangles: views outlive closing, the object and the interpreter."""

import ctypes
import gc
import mmap
import os

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE


def opened(path):
    """Not a fixture: pytest would hold the object that must go."""
    path.write_bytes(b"0123456789" * 1000)
    return yammap.open(path, "r+")


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
def test_28_views_outlive_close_and_the_object(path, consume, mapped_ranges):
    m = opened(path)
    view = consume(m)
    expected = bytes(view)
    m.close()
    assert bytes(view) == expected
    del m
    gc.collect()
    assert bytes(view) == expected
    assert len(mapped_ranges()) == 1
    del view
    gc.collect()
    assert mapped_ranges() == []


def test_close_unmaps_at_once_what_was_never_handed_out(path, mapped_ranges):
    m = opened(path)
    m.pread(10, 0)
    assert len(mapped_ranges()) == 1
    m.close()
    assert mapped_ranges() == []


@pytest.mark.parametrize("consume", [lambda m: m.array(), lambda m: m.view(5)])
def test_views_are_all_that_keeps_a_closed_mapping(path, consume, mapped_ranges):
    m = opened(path)
    view = consume(m)
    m.close()
    assert len(mapped_ranges()) == 1
    del view
    assert mapped_ranges() == []


def test_an_exported_mapping_stays_while_somebody_may_hold_the_object(path, mapped_ranges):
    m = opened(path)
    memoryview(m).release()
    m.close()
    assert len(mapped_ranges()) == 1
    del m
    assert mapped_ranges() == []


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
