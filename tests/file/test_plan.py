"""The loops of a batch: records of every length, asked for early, and always whole."""

import contextlib
import os
import threading
import time

import numpy as np
import pytest

import yammap
from yammap._file import threads
from yammap._file.gather import take_rows

PAGE = os.sysconf("SC_PAGESIZE")
LENGTHS = [*range(70), 100, 1000, PAGE, PAGE + 1, 300_000]


@pytest.fixture
def mapped(path):
    with yammap.create(path, 20 * PAGE + 123) as m:
        yield m


@pytest.mark.parametrize("length", LENGTHS)
def test_gather_of_every_length(length):
    data = np.random.default_rng(length).integers(0, 256, length + 1000, np.uint8)
    m = yammap.anonymous(data.nbytes)
    m.write_at(data, 0)
    offsets = np.random.default_rng(1).integers(0, 1001, 100)
    expected = np.stack([data[o : o + length] for o in offsets])
    assert np.array_equal(m.gather(offsets, length), expected)


def test_gather_while_the_mapping_grows_and_shrinks(path, eager_switching):
    """Records are whole or refused, never zeros of a file that was cut in between."""
    full = b"x" * (2 * PAGE)
    offsets = np.arange(20_000) % 1000 + PAGE + 200
    done = threading.Event()
    with yammap.open(path, "w+") as m:
        m.write(full)

        def cut():
            while not done.is_set():
                m.resize(PAGE + 100)  # the rest of that page becomes zeros
                m.write_at(full, 0)
                time.sleep(0)  # let the other thread begin while all is there

        thread = threading.Thread(target=cut)
        thread.start()
        try:
            for _ in range(300):
                with contextlib.suppress(ValueError):  # outside, as it was just then
                    assert (m.gather(offsets, 100) == ord("x")).all()
        finally:
            done.set()
            thread.join()


def test_an_index_that_changes_meanwhile_reads_nothing_outside(mapped):
    """Another thread writes offsets beyond the mapping into the array while it is used."""
    offsets = np.zeros(200_000, np.int64)
    stop = threading.Event()

    def disturb():
        while not stop.is_set():
            offsets[1000:] = 1 << 60
            offsets[1000:] = 0

    thread = threading.Thread(target=disturb)
    thread.start()
    outcomes = set()
    try:
        for _ in range(100):
            try:
                mapped.gather(offsets, 16)
                outcomes.add("copied")
            except ValueError:
                outcomes.add("refused")
    finally:
        stop.set()
        thread.join()
    assert outcomes <= {"copied", "refused"}


@pytest.mark.parametrize("bad", [1 << 62, -1 << 63])
def test_an_index_that_changes_after_the_check(mapped, bad, monkeypatch):
    """The position of a record ahead, which is fetched unchecked, is beyond all numbers."""
    index, out = np.zeros(40, np.int64), np.zeros((40, 16), np.uint8)

    class Copy(threads.Copy):
        def __init__(self, part):
            super().__init__(part)
            index[20:] = bad

    monkeypatch.setattr(threads, "Copy", Copy)
    with pytest.raises(IndexError, match=str(bad)):
        take_rows(mapped, index, out, place=(10, 0, 16), threads=2, cached=None)
    index[:] = 0
    with pytest.raises(ValueError, match=f"16 bytes at offset {bad}, is not in"):
        mapped.gather_ragged(index, np.full(40, 16), out, threads=2)
