"""Searches for bytes, forward and backward: as those of `bytes`, and across pieces."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yammap

ENGINES = pytest.mark.parametrize("engine", ["mmap", "pread"])
POSITIONS = st.none() | st.integers(-70, 70) | st.sampled_from([sys.maxsize, -(2**70)])
NEEDLES = st.binary(max_size=3)
FEW_BYTES = st.lists(st.sampled_from(b"ab"), max_size=300).map(bytes)


def mapped(data, engine="mmap"):
    m = yammap.anonymous(len(data), engine=engine)
    m.write_at(data, 0)
    return m


@ENGINES
@given(data=FEW_BYTES, sub=NEEDLES | FEW_BYTES, start=POSITIONS, end=POSITIONS)
def test_find_and_rfind(engine, data, sub, start, end):
    start = 0 if start is None else start
    with mapped(data, engine) as m:
        assert m.find(sub, start, end) == data.find(sub, start, end)
        assert m.rfind(sub, start, end) == data.rfind(sub, start, end)
        assert (sub in m) == (sub in data)


@ENGINES
def test_rfind_across_pieces(path, engine):
    needle = b"needle in a haystack"
    with yammap.open(path, "w+", size=3 << 20, engine=engine) as m:
        assert m.rfind(needle) == -1
        assert m.rfind(b"") == 3 << 20
        for position in ((3 << 20) - len(needle), (2 << 20) - 39, (1 << 20) - 7, 0):
            m.write_at(needle, position)
            assert m.rfind(needle) == m.find(needle) == position
            assert m.rfind(needle, position + 1) == -1
            assert m.rfind(needle, 0, position + len(needle) - 1) == -1
            m.punch_hole(position, len(needle))


def test_rfind_of_bytes_that_are_all_alike():
    """Comparing at each place would take hours."""
    m = yammap.anonymous(32 << 20)
    assert m.rfind(b"\1" + bytes(4 << 20)) == -1
    assert m.rfind(bytes(4 << 20)) == 28 << 20
    assert m.rfind(bytes(4 << 20), 0, 20 << 20) == 16 << 20


@pytest.mark.parametrize("at", [4096 - 4, 4096 - 5 + (1 << 24) - 4, 1 << 23])
@pytest.mark.parametrize("engine", ["mmap", "pread"])
def test_a_needle_across_two_pieces_is_found(path, at, engine):
    needle = b"needle"
    with yammap.open(path, "w+", size=3 << 24, preallocate=False, engine=engine) as m:
        for start in (at, m.size() - at - len(needle)):
            m.write_at(needle, start)
        assert (m.find(needle), m.rfind(needle)) == (at, m.size() - at - len(needle))
        assert m.find(needle, at + 1, m.size() - at - 1) == -1
        assert m.rfind(needle, at + 1, m.size() - at - 1) == -1
        assert (m.find(b"", at), m.rfind(b"", 0, at)) == (at, at)


@pytest.mark.parametrize(
    ("sub", "start", "end"),
    [
        (b"\x05\x06", 0, None),
        (b"\x05\x06", 6, None),
        (b"\xff\x00", 0, 256),
        (b"\xff\x00", 0, 257),
        (b"", 5, None),
        (b"", 16384, None),
        (b"", 16385, None),
        (b"absent", 0, None),
        (b"\x01", 5, 2),
        (b"\x01", 16000, 10**9),
        (b"\x01", -300, -40),
        (b"\x01", -(10**30), 10**30),
    ],
)
def test_find_agrees_with_bytes(sub, start, end):
    m = mapped(data := bytes(range(256)) * 64)
    assert m.find(sub, start, end) == data.find(sub, start, end)
    assert m.rfind(sub, start, end) == data.rfind(sub, start, end)
