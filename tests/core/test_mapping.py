"""The core by offset: reads, writes, windows, searches, and what they refuse."""

import io
import mmap
import os
import resource

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.fixture
def m(path):
    with yammap.open(path, "w+") as m:
        m.write(bytes(range(256)) * 64)
        yield m


# -- read_at, pread


@pytest.mark.parametrize("length", [0, 1, 16, PAGE, 10_000])
@pytest.mark.parametrize("offset", [0, 1, 255, PAGE - 1, PAGE])
def test_read_at_and_pread_agree_with_the_file(m, path, offset, length):
    expected = path.read_bytes()[offset : offset + length]
    buffer = bytearray(length)
    for _ in range(2):  # the second time from pages known to be hot
        assert m.read_at(buffer, offset) == length
        assert buffer == expected
        assert m.pread(length, offset) == expected


def test_read_at_the_end_is_short(m):
    buffer = bytearray(b"-" * 10)
    with pytest.raises(yammap.ShortRead, match=r"10 bytes .* only 4") as error:
        m.read_at(buffer, 16380)
    assert error.value.count == 4
    assert buffer == b"\xfc\xfd\xfe\xff------"


@pytest.mark.parametrize("offset", [16384, 16385, 1 << 40, 2**63 - 1])
def test_reads_past_the_end(m, offset):
    assert m.pread(10, offset) == b""
    assert m.read_at(bytearray(), offset) == 0
    with pytest.raises(yammap.ShortRead) as error:
        m.read_at(bytearray(1), offset)
    assert error.value.count == 0


def test_pread_of_more_than_there_is_allocates_only_what_there_is(m):
    assert len(m.pread(2**62, 4)) == 16380


def test_read_at_takes_any_writable_buffer(m):
    whole = bytearray(8)
    m.read_at(memoryview(whole)[2:6], 1)
    assert whole == b"\0\0\1\2\3\4\0\0"


@pytest.mark.parametrize(
    "target", [b"read-only", "text", None, memoryview(bytearray(8))[::2]]
)
def test_read_at_refuses(m, target):
    with pytest.raises(TypeError, match=r"buffer|bytes-like"):
        m.read_at(target, 0)


def test_the_mapping_is_a_buffer_for_itself(m):
    m.write_at(memoryview(m)[0:100], 50)
    assert m.pread(100, 50) == bytes(range(100))


# -- write_at


@pytest.mark.parametrize("offset", [0, 100, 16380, 16384, 20_000, 3 * PAGE + 5])
def test_write_at_grows_to_exactly_what_is_needed(m, path, offset):
    model = bytearray(path.read_bytes())
    model.extend(bytes(max(0, offset + 10 - len(model))))
    model[offset : offset + 10] = b"0123456789"
    assert m.write_at(b"0123456789", offset) == 10
    assert m.size() == len(model)
    assert path.read_bytes() == model
    assert m.pread(len(model), 0) == model


def test_writing_nothing_does_not_grow(m):
    assert m.write_at(b"", 1 << 30) == 0
    assert m.size() == 16384


def test_write_at_takes_any_contiguous_buffer(m):
    m.write_at(memoryview(b"abcdef")[2:4], 0)
    assert m.pread(3, 0) == b"cd\2"
    with pytest.raises(TypeError, match="contiguous"):
        m.write_at(memoryview(b"abcdef")[::2], 0)


@pytest.mark.parametrize("offset", [0, 1, PAGE + 7])
@pytest.mark.parametrize("hot", [[], [0], [1 << 20, 5 << 20]])
def test_large_writes_into_pages_hot_and_cold(path, offset, hot):
    """Pages in memory are written by memory copies, others by system calls."""
    size = 6 << 20
    data = os.urandom(size)
    with yammap.create(path, size + 10_000) as m:
        for touched in hot:
            m.write_at(bytes(7), touched)
        assert m.write_at(data, offset) == size
        expected = bytes(offset) + data + bytes(10_000 - offset)
        assert m.pread(size + 10_000, 0) == expected
        assert m.write_at(data, 10_005) == size
        assert m.pread(size, 10_005) == data
        assert path.read_bytes()[10_005:] == data


def test_large_writes_in_memory_only(path):
    path.write_bytes(bytes(4 << 20))
    data = os.urandom(3 << 20)
    with yammap.open(path, "c") as m:
        m.madvise(yammap.MADV_PAGEOUT)
        m.write_at(data, 77)
        assert m.pread(3 << 20, 77) == data
    assert path.read_bytes() == bytes(4 << 20)


# -- Windows


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE, PAGE + 1])
@pytest.mark.parametrize("length", [None, 0, 1, 5000])
def test_window(m, path, offset, length):
    data = path.read_bytes()[offset:]
    data = data if length is None else data[:length]
    with yammap.open(path, "r+", offset=offset, length=length) as window:
        assert window.origin == offset
        assert window.size() == len(data)
        assert window.read() == data
        assert bytes(memoryview(window)) == data
        if data:
            window.write_at(b"W", len(data) - 1)
            window.sync()
            assert m.pread(1, offset + len(data) - 1) == b"W"


def test_an_open_window_grows_with_the_file(m, path):
    with yammap.open(path, "r+", offset=16000) as window:
        window.append(b"more")
        assert window.size() == 388
        assert os.stat(path).st_size == 16388
        window.resize(100)
        assert os.stat(path).st_size == 16100


@pytest.mark.parametrize(
    ("window", "text"),
    [
        ({"offset": 16385}, "offset 16385 is past the end"),
        ({"offset": 16000, "length": 385}, "length 385 at offset 16000"),
        ({"length": 2**63}, "length must be between"),
        ({"offset": -1}, "offset must be between"),
    ],
)
def test_window_outside(m, path, window, text):
    with pytest.raises(ValueError, match=text):
        yammap.open(path, **window)


# -- refresh


def test_refresh_sees_growth_and_shrinking(m, path):
    with yammap.open(path) as reader:
        view = reader.view(0, 10)
        m.append(b"new")
        assert reader.size() == 16384
        assert reader.refresh() == 16387
        assert reader.pread(9, 16384) == b"new"
        m.resize(10)
        assert reader.refresh() == 10
        assert reader.read() == bytes(view)


# -- The file


def test_sync_reaches_the_file(m, path):
    m.view()[100:103] = b"abc"
    m.sync(100, 3)
    m.sync(wait=False)
    m.flush()
    assert path.read_bytes()[99:104] == b"cabcg"


def test_copy_on_write_stays_in_memory(path):
    path.write_bytes(b"original")
    with yammap.open(path, "c") as m:
        m.write(b"ORI")
        m.array()[3:5] = 88
        assert m.pread(8, 0) == b"ORIXXnal"
        m.sync()
        for refused in (m.allocate, m.punch_hole):
            with pytest.raises(io.UnsupportedOperation, match="copy-on-write"):
                refused()
    assert path.read_bytes() == b"original"


# -- find


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
def test_find_agrees_with_bytes(m, sub, start, end):
    data = m.pread(16384, 0)
    assert m.find(sub, start, end) == data.find(sub, start, end)
    assert m.rfind(sub, start, end) == data.rfind(sub, start, end)


# -- Descriptors


def test_descriptors_are_not_leaked(path):
    def count():
        return len(os.listdir("/proc/self/fd"))

    path.write_bytes(b"x")
    before = count()
    for _ in range(50):
        yammap.open(path, "r+").close()
        yammap.open_array(path)
        with pytest.raises(ValueError, match="past the end"):
            yammap.open(path, offset=2)
        with pytest.raises(OSError, match="directory"):
            yammap.open(path.parent)
        with pytest.raises(TypeError):
            yammap.create(path, "ten")
    assert count() == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before
