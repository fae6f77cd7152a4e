"""A mapping as a sequence of bytes: beside `bytes` and `bytearray`."""

import io
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import yammap

ENGINES = pytest.mark.parametrize("engine", ["mmap", "pread"])
POSITIONS = st.none() | st.integers(-70, 70) | st.sampled_from([sys.maxsize, -(2**70)])
STEPS = st.none() | st.integers(-70, 70).filter(bool) | st.sampled_from([2**63, -(2**70)])
SLICES = st.builds(slice, POSITIONS, POSITIONS, STEPS)
DATA = st.binary(max_size=64)


def mapped(data, engine="mmap"):
    m = yammap.anonymous(len(data), engine=engine)
    m.write_at(data, 0)
    return m


@pytest.fixture(params=["mmap", "pread"])
def m(request):
    with mapped(bytes(range(100)), request.param) as m:
        yield m


# -- What there is


@ENGINES
@given(data=DATA, key=st.integers(-70, 70))
def test_item(engine, data, key):
    with mapped(data, engine) as m:
        assert len(m) == len(data)
        if -len(data) <= key < len(data):
            assert m[key] == data[key]
        else:
            with pytest.raises(IndexError, match=f"out of range: {key} of 'memfd:yammap'"):
                m[key]


@ENGINES
@given(data=DATA, key=SLICES)
def test_slice(engine, data, key):
    with mapped(data, engine) as m:
        assert m[key] == data[key]


@pytest.mark.parametrize("step", [1, 3, 4096, -1, -4097])
def test_long_slices(path, step):
    path.write_bytes(data := os.urandom((3 << 20) + 5))
    with yammap.open(path) as m:
        assert m[77:-3:step] == data[77:-3:step]
        assert m[::step] == data[::step]


def test_a_slice_is_a_copy(m):
    before = m[10:13]
    m[10:13] = b"new"
    assert before == bytes([10, 11, 12])
    assert type(m[3]) is int


def test_numpy_integers_are_indices(m):
    assert m[np.int64(7)] == 7
    m[np.uint8(7)] = np.uint8(255)
    assert m[np.int8(-93) : np.int16(9)] == b"\xff\x08"


# -- Assignment


@ENGINES
@given(data=st.binary(min_size=1, max_size=64), key=st.integers(-64, 63))
def test_item_assignment(engine, data, key):
    expected = bytearray(data)
    with mapped(data, engine) as m:
        if -len(data) <= key < len(data):
            m[key] = expected[key] = 0xA5
        else:
            with pytest.raises(IndexError):
                m[key] = 0xA5
        assert m[:] == expected


@ENGINES
@given(data=DATA, key=SLICES)
def test_slice_assignment(engine, data, key):
    expected = bytearray(data)
    new = bytes(range(100, 100 + len(expected[key])))
    expected[key] = new
    with mapped(data, engine) as m:
        m[key] = new
        assert m[:] == expected


@pytest.mark.parametrize("step", [1, 3, 4096, -1, -4097])
def test_long_slice_assignment_leaves_all_else(path, step):
    path.write_bytes(data := os.urandom((3 << 20) + 5))
    expected = bytearray(data)
    new = os.urandom(len(expected[77:-3:step]))
    expected[77:-3:step] = new
    with yammap.open(path, "r+") as m:
        m[77:-3:step] = new
        assert m[:] == expected


@pytest.mark.parametrize(
    "buffer", [bytearray, memoryview, lambda b: np.frombuffer(b, "<u2")]
)
def test_any_buffer_is_assigned(m, buffer):
    m[20:24] = buffer(b"abcd")
    assert m[19:25] == b"\x13abcd\x18"


def test_a_view_of_its_own_bytes_is_assigned():
    m = mapped(bytes(range(100)))
    m[2:52] = m.view(0, 50)
    assert m[:54] == bytes([0, 1, *range(50), 52, 53])


@pytest.mark.parametrize(
    ("key", "value", "kind", "text"),
    [
        (0, 256, ValueError, r"must be in range\(0, 256\), not 256"),
        (0, -1, ValueError, r"not -1"),
        (0, 2**80, ValueError, r"not 1208925819614629174706176"),
        (0, b"x", TypeError, "must be an int, not 'bytes'"),
        (0, 1.5, TypeError, "not 'float'"),
        (100, 1, IndexError, "mmap index out of range: 100 of .* has 100 bytes"),
        (-101, 1, IndexError, "out of range: -101"),
        (2**70, 1, IndexError, "index-sized"),
        ("a", 1, TypeError, "integers or slices, not 'str'"),
        (1.0, 1, TypeError, "not 'float'"),
        (slice(0, 3), b"ab", IndexError, "wrong size: 2 bytes for 3 of 'memfd:yammap'"),
        (slice(0, 9, 3), b"ab", IndexError, "wrong size: 2 bytes for 3"),
        (slice(0, 3), "abc", TypeError, "bytes-like"),
        (slice(0, 3), 7, TypeError, "bytes-like"),
        (slice(0, 3, 0), b"", ValueError, "step cannot be zero"),
        (slice("a", 3), b"", TypeError, "slice indices"),
        (slice(0, 2), memoryview(b"abcd")[::2], TypeError, "C-contiguous"),
    ],
)
def test_what_cannot_be_assigned(m, key, value, kind, text):
    with pytest.raises(kind, match=text):
        m[key] = value
    assert m[:] == bytes(range(100))


def test_items_cannot_be_deleted(m):
    with pytest.raises(TypeError, match="doesn't support item deletion"):
        del m[0]
    with pytest.raises(TypeError, match="deletion"):
        del m[0:3]


@pytest.mark.parametrize("mode", ["r", "a+"])
def test_a_read_only_mapping_is_not_assigned_to(path, mode):
    path.write_bytes(b"abc")
    with yammap.open(path, mode) as m:
        for key, value in ((0, 1), (slice(0, 1), b"x"), (slice(None, None, 2), b"xy")):
            with pytest.raises(TypeError, match="can't modify a readonly memory map"):
                m[key] = value
        with pytest.raises(io.UnsupportedOperation):
            m.move(0, 1, 1)
        assert m[:] == b"abc"


def test_copy_on_write_stays_in_memory(path):
    path.write_bytes(b"abcdef")
    with yammap.open(path, "c") as m:
        m[0], m[2:4] = 65, b"CD"
        m[1::4] = b"BF"
        m.move(4, 0, 1)
        assert m[:] == b"ABCDAF"
    assert path.read_bytes() == b"abcdef"


# -- Containing and moving


def test_contains(m):
    assert 99 in m
    assert 100 not in m
    assert b"\x05\x06" in m
    assert b"\x06\x05" not in m
    assert np.array([5, 6], np.uint8) in m  # which has an `__index__` that refuses
    assert np.array([6], np.uint8) in m
    with pytest.raises(ValueError, match="256"):
        256 in m  # noqa: B015
    with pytest.raises(TypeError, match="bytes-like"):
        "a" in m  # noqa: B015


@ENGINES
@given(
    data=st.binary(min_size=64, max_size=64), ranges=st.tuples(*[st.integers(0, 32)] * 3)
)
def test_move(engine, data, ranges):
    dest, src, count = ranges
    expected = bytearray(data)
    expected[dest : dest + count] = data[src : src + count]
    with mapped(data, engine) as m:
        m.move(*ranges)
        assert m[:] == expected


@pytest.mark.parametrize(("dest", "src"), [(0, 100_003), (100_003, 0), (7, 0), (0, 7)])
def test_long_moves(path, dest, src):
    path.write_bytes(data := os.urandom(1 << 20))
    count = (1 << 20) - max(dest, src)
    with yammap.open(path, "r+") as m:
        m.move(dest, src, count)
        assert m[dest : dest + count] == data[src : src + count]
        assert m[:dest] == data[:dest]
        assert m[dest + count :] == data[dest + count :]


@pytest.mark.parametrize(
    "ranges", [(0, 0, 101), (100, 0, 1), (0, 100, 1), (0, 2**63 - 1, 2)]
)
def test_moves_out_of_range(m, ranges):
    with pytest.raises(ValueError, match="memfd:yammap"):
        m.move(*ranges)
    for i in range(3):
        with pytest.raises(ValueError, match="must not be negative: -1"):
            m.move(*[-1 if i == j else 0 for j in range(3)])


# -- Single bytes of the file object


def test_read_byte_and_write_byte(path):
    with yammap.open(path, "w+") as m:
        for byte in b"grows":
            m.write_byte(byte)
        m.seek(0)
        assert bytes(m.read_byte() for _ in range(5)) == b"grows" == m[:]
        with pytest.raises(ValueError, match=r"no byte to read: .* ends at 5"):
            m.read_byte()
        for wrong in (256, -1):
            with pytest.raises(ValueError, match="256"):
                m.write_byte(wrong)
        with pytest.raises(TypeError):
            m.write_byte(b"x")
        assert m.tell() == 5


# -- What it stays besides


def test_it_is_a_file_and_so_always_true(path):
    m = yammap.open(path, "w+")
    assert m
    assert len(m) == 0
    assert isinstance(m, io.RawIOBase)
    m.close()
    assert m
    assert not hasattr(m, "__fspath__")


def test_iterating_gives_lines():
    m = mapped(b"one\ntwo")
    assert list(m) == [b"one\n", b"two"]
    m.seek(0)
    assert [*map(len, m)] == [4, 3]


@pytest.mark.parametrize("convert", [np.asarray, np.frombuffer])
def test_numpy_takes_the_buffer_and_not_the_items(convert):
    m = mapped(bytes(range(100)))
    array = convert(m, dtype=np.uint8)
    m[3] = 77
    assert array[3] == 77
    assert bytes(m) == m[:] == bytes(array)


CLOSED = {
    "len": len,
    "item": lambda m: m[0],
    "item past the end": lambda m: m[1000],
    "slice": lambda m: m[1:1],
    "steps": lambda m: m[::2],
    "no steps": lambda m: m[1:0:2],
    "assign": lambda m: m.__setitem__(0, 1),
    "assign slice": lambda m: m.__setitem__(slice(0, 0), b""),
    "in": lambda m: b"" in m,
    "rfind": lambda m: m.rfind(b""),
    "move": lambda m: m.move(0, 0, 0),
    "read_byte": lambda m: m.read_byte(),
    "write_byte": lambda m: m.write_byte(0),
}


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_closed(m, call):
    m.close()
    with pytest.raises(ValueError, match="is closed"):
        call(m)


CONVERTED = {
    "item": lambda m, i: m[i],
    "slice": lambda m, i: m[i:],
    "steps": lambda m, i: m[:i:-2],
    "assign": lambda m, i: m.__setitem__(i, 1),
    "assign slice": lambda m, i: m.__setitem__(slice(i, 10), b""),
    "value": lambda m, i: m.__setitem__(0, i),
    "rfind": lambda m, i: m.rfind(b"", 0, i),
    "move": lambda m, i: m.move(0, 0, i),
}


@pytest.mark.parametrize("call", CONVERTED.values(), ids=CONVERTED)
def test_arguments_are_converted_before_the_mapping_is_read(m, call):
    class Closing:
        def __index__(self):
            m.close()
            return 10

    with pytest.raises(ValueError, match="is closed"):
        call(m, Closing())


def test_mappings_are_compared_as_files_are(path):
    """By identity, as mmap.mmap is: of bytes, it is a slice that is compared."""
    path.write_bytes(b"abc")
    with yammap.open(path) as m, yammap.open(path) as other:
        assert (m == m, m == other, m != other) == (True, False, True)
        assert m[:] == other[:] == b"abc"
        assert m != b"abc"
        assert len({m, other}) == 2
        with pytest.raises(TypeError):
            m < other  # noqa: B015
