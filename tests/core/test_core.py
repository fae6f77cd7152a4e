"""The core by offset: what is read, and what others change."""

import io
import mmap

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


# -- The file


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
