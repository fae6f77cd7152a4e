"""Pieces of many mappings go to their places in one buffer."""

import os
from mmap import PAGESIZE

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yammap
from yammap._file import gather


def copy(mappings, which, offsets, lengths, targets, out, threads=1, **options):
    """Copy pieces, of which a record has one each."""
    pieces = which, offsets, lengths, targets, np.arange(len(which))
    cached = options.get("cached")
    gather.gather_files(mappings, pieces, out, gather.new_choice(), threads, cached)


def numbers(values):
    return np.array(values, np.int64)


def filled(*contents):
    found = []
    for content in contents:
        m = yammap.anonymous(len(content))
        m.write_at(content, 0)
        found.append(m)
    return found


@settings(max_examples=50)
@given(st.integers(0, 600), st.integers(1, 5), st.integers(1, 3))
def test_pieces_go_to_their_places(count, files, threads):
    generator = np.random.default_rng(count)
    contents = [generator.bytes(20_000) for _ in range(files)]
    which = generator.integers(0, files, count)
    lengths = generator.integers(0, 300, count)
    offsets = generator.integers(0, 20_000 - 300, count)
    targets = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    expected = b"".join(
        contents[w][a : a + n] for w, a, n in zip(which, offsets, lengths, strict=True)
    )
    order = generator.permutation(count)
    columns = [column[order] for column in (which, offsets, lengths, targets)]
    copy(filled(*contents), *columns, out, threads)
    assert out.tobytes() == expected


@pytest.mark.parametrize(
    ("offset", "length", "target"),
    [(5, 4, 0), (-1, 1, 0), (0, -1, 0), (0, 4, 5), (0, 1, -1)],
)
def test_a_piece_outside_is_refused_before_anything_is_copied(offset, length, target):
    out = np.zeros(8, np.uint8)
    columns = [0, 0], [0, offset], [1, length], [0, target]
    with pytest.raises(ValueError, match="are not in"):
        copy(filled(b"abcdefgh"), *map(numbers, columns), out, 1)
    assert not out.any()


@pytest.mark.parametrize("cached", [None, True, False])
@pytest.mark.parametrize("kinds", [["io_uring"], ["aio"], ["hints"], []])
def test_cold_pieces_come_from_the_disk(tmp_path, monkeypatch, kinds, cached):
    for kind in set(gather.KINDS) - set(kinds):
        monkeypatch.delitem(gather.KINDS, kind)
    content = np.random.default_rng(0).bytes(1 << 20)
    mappings = []
    for i in range(4):
        (tmp_path / str(i)).write_bytes(content)
        mappings.append(yammap.open(tmp_path / str(i)))
        mappings[-1].sync()
        mappings[-1].evict()
    count = 600
    offsets = numbers(np.random.default_rng(1).integers(0, (1 << 20) - 100, count))
    out = np.empty((count, 100), np.uint8)
    lengths, targets = np.full(count, 100), numbers(range(0, count * 100, 100))
    copy(mappings, numbers(range(count)) % 4, offsets, lengths, targets, out, cached=cached)
    assert out.tobytes() == b"".join(content[a : a + 100] for a in offsets.tolist())


def test_a_file_that_was_cut_names_the_record(tmp_path):
    """By the number that the caller has for the piece; those before it are there."""
    mappings = []
    for i in range(3):
        (tmp_path / str(i)).write_bytes(bytes([i + 1]) * (1 << 20))
        mappings.append(yammap.open(tmp_path / str(i), "r+"))
        mappings[-1].sync()
        mappings[-1].evict()
    os.truncate(tmp_path / "1", PAGESIZE)
    offsets = numbers(np.random.default_rng(1).integers(0, (1 << 20) - 100, 600))
    offsets[1:400:3] %= 4000
    which, out = numbers(range(600)) % 3, np.zeros((600, 100), np.uint8)
    first = next(i for i in range(600) if which[i] == 1 and offsets[i] > PAGESIZE - 100)
    pieces = which, offsets, np.full(600, 100), np.arange(600) * 100, np.arange(600) + 7
    with pytest.raises(yammap.BusError, match=f"record {first + 7} of the batch") as caught:
        gather.gather_files(mappings, pieces, out, gather.new_choice(), 1, None)
    assert caught.value.record == first + 7
    assert (out[:first] == which[:first, None] + 1).all()


def test_mappings_without_memory(tmp_path):
    (tmp_path / "file").write_bytes(b"abcdefgh")
    with yammap.open(tmp_path / "file", engine="pread") as m:
        out = np.empty(4, np.uint8)
        columns = [0, 0], [6, 0], [2, 2], [0, 2]
        copy([m], *map(numbers, columns), out, 1)
    assert out.tobytes() == b"ghab"
