"""A mapping in chunks, one after the other: the bytes, and what stays in memory."""

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yammap

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 20 * PAGE + 123


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture
def mapped(path, data):
    path.write_bytes(data)
    with yammap.open(path, "r+") as m:
        yield m


@settings(max_examples=60)
@given(
    chunk=st.integers(1, 2 * SIZE),
    offset=st.integers(0, SIZE),
    length=st.none() | st.integers(0, SIZE),
    prefetch=st.sampled_from([0, 1, PAGE, 1 << 20]),
    cached=st.sampled_from([None, True, False]),
)
def test_chunks_are_the_range(
    tmp_path_factory, data, chunk, offset, length, prefetch, cached
):
    path = tmp_path_factory.mktemp("stream") / "file"
    path.write_bytes(data)
    if length is not None:
        length = min(length, SIZE - offset)
    with yammap.open(path) as m:
        chunks = m.stream(
            chunk, offset=offset, length=length, prefetch=prefetch, cached=cached
        )
        pieces = [bytes(piece) for piece in chunks]
        end = SIZE if length is None else offset + length
        assert b"".join(pieces) == data[offset:end].tobytes()
        assert all(len(piece) == chunk for piece in pieces[:-1])


@pytest.mark.parametrize("cached", [None, True, False])
def test_a_chunk_may_be_larger_than_there_is_memory_for(mapped, data, cached):
    (chunk,) = mapped.stream(1 << 70, offset=1, cached=cached)
    assert bytes(chunk) == data[1:].tobytes()


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_stream_leaves_little_in_memory_and_kept_chunks_whole(path, mode):
    """Little but what is read ahead stays in memory, and a kept chunk is still right."""
    size, chunk = 128 << 20, 1 << 20
    content = np.arange(size // 8)
    content.tofile(path)
    with yammap.open(path, mode) as m:
        m.sync()
        assert m.evict() == 0
        kept, most = None, 0
        for i, piece in enumerate(m.stream(chunk, prefetch=4 << 20)):
            if i == 3:
                kept = np.frombuffer(piece, np.int64)
            most = max(most, int(m.resident().sum()) * PAGE)
        assert most < size // 4
        assert m.resident().sum() * PAGE < size // 16
        assert np.array_equal(kept, content[3 * chunk // 8 : 4 * chunk // 8])


@pytest.mark.parametrize("keep_fd", [True, False])
def test_a_stream_hints_only_where_the_kernel_may_not_read(path, keep_fd, monkeypatch):
    """Without a descriptor it cannot be known; with one, all is there already here."""
    hinted = []
    monkeypatch.setattr(yammap.Mmap, "_hint", lambda _, at, length: hinted.append(length))
    path.write_bytes(bytes(8 << 20))
    with yammap.open(path, keep_fd=keep_fd) as m:
        m.warm()
        for _chunk in m.stream(1 << 20, prefetch=4 << 20):
            pass
    assert sum(hinted) == (0 if keep_fd else 6 << 20)


def test_a_stream_keeps_changes(path):
    path.write_bytes(bytes(8 << 20))
    for mode in ("c", "r+"):
        with yammap.open(path, mode) as m:
            for piece in m.stream(1 << 20):
                piece[0] = 1
            assert [m.pread(1, i << 20) for i in range(8)] == [b"\1"] * 8
            assert path.read_bytes()[0] == (mode == "r+")


def test_a_stream_that_is_left_early(mapped):
    for _chunk in mapped.stream(100):
        break
    assert mapped.size() == SIZE


@pytest.mark.parametrize(
    "options",
    [
        {"chunk": 0},
        {"chunk": -1},
        {"chunk": 1, "prefetch": -1},
        {"chunk": 1, "offset": -1},
        {"chunk": 1, "offset": SIZE + 1},
        {"chunk": 1, "length": SIZE + 1},
    ],
)
def test_bad_streams(mapped, options):
    with pytest.raises(ValueError, match=r"chunk|prefetch|offset|bytes"):
        mapped.stream(**options)


def test_a_stream_needs_memory_and_an_open_mapping(path):
    path.write_bytes(b"x")
    m = yammap.open(path, engine="pread")
    with pytest.raises(io.UnsupportedOperation, match="pread"):
        m.stream(1)
    m.close()
    with pytest.raises(ValueError, match="closed"):
        m.stream(1)


@pytest.mark.parametrize("kind", ["mapping", "array"])
def test_a_stream_takes_prefetch_by_its_old_name(path, kind, monkeypatch):
    hinted = []
    monkeypatch.setattr(yammap.Mmap, "_hint", lambda _, *span: hinted.append(span))
    monkeypatch.setattr(yammap.Mmap, "_cachestat", lambda *_: 0)  # so that it hints
    path.write_bytes(bytes(8 << 20))
    with yammap.open(path) as m:
        source = m if kind == "mapping" else yammap.MappedArray.of(m.array())
        for prefetch in (1 << 20, 4 << 20):
            list(source.stream(1 << 20, prefetch=prefetch))
            wanted = hinted[:]
            hinted.clear()
            with pytest.warns(DeprecationWarning, match=r"write stream\(prefetch=") as told:
                stream = source.stream(1 << 20, ahead=prefetch)
            assert [warning.filename for warning in told] == [__file__]
            list(stream)
            assert hinted == wanted
            assert len(wanted) > 1
            hinted.clear()
        with pytest.raises(TypeError, match="pass prefetch alone"):
            source.stream(1 << 20, prefetch=0, ahead=0)
