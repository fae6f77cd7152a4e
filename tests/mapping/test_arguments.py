"""Arguments by number: offsets, indices, ranges, and what they refuse. FAULTS 46."""

import errno
import mmap
import os

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("f", "'f': pass the path to yammap.open('f', mode)"),
        (None, "None: pass a descriptor"),
    ],
)
def test_a_mapping_is_made_of_a_descriptor(wrong, text):
    with pytest.raises(TypeError) as error:
        yammap.Mmap(wrong, "r")
    assert str(error.value) == (
        f"a mapping is made of a descriptor, which it then owns, and not of {text}"
    )


def test_a_mapping_is_not_made_of_a_file_object():
    with open(os.devnull, "rb") as file, pytest.raises(TypeError) as error:
        yammap.Mmap(file, "r")
    assert str(error.value).endswith(f"{file!r}: pass os.dup(file.fileno())")


@pytest.mark.parametrize("name", ["random", "normal", "dontneed", "willneed"])
def test_advice_has_names(m, name):
    m.madvise(name)
    m.madvise(name, 10, 20)


def test_an_unknown_name_of_advice(m):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        m.madvise("randomly")
    text = str(error.value)
    assert text.startswith("advice 'randomly' is unknown: write one of 'cold', 'collapse'")
    assert "'random', 'remove', 'sequential'" in text
    with pytest.raises(ValueError, match="unknown, or destroys data"):
        m.madvise("remove")


@pytest.mark.parametrize("call", ["append", "write"])
@pytest.mark.parametrize(
    ("data", "kind", "why"),
    [
        (np.zeros(10)[::2], ValueError, "ndarray is not C-contiguous"),
        (
            memoryview(bytes(10))[::2],
            BufferError,
            "memoryview: underlying buffer is not C-contiguous",
        ),
    ],
)
def test_data_in_pieces_says_how_to_join_them(m, call, data, kind, why):
    with pytest.raises(kind) as error:
        getattr(m, call)(data)
    assert str(error.value) == (
        f"a C-contiguous buffer is needed ({why}): pass numpy.ascontiguousarray(data)"
    )


BAD_OFFSETS = [
    (-1, ValueError, "-1"),
    (-(2**63) - 1, ValueError, "negative"),
    (2**63, ValueError, "beyond the largest"),
    (10**30, ValueError, "beyond the largest"),
    (1.0, TypeError, "float"),
    ("1", TypeError, "str"),
    (None, TypeError, "None"),
]


@pytest.mark.parametrize(("offset", "kind", "text"), BAD_OFFSETS)
def test_46_bad_offsets(m, offset, kind, text):
    calls = [
        lambda: m.read_at(bytearray(1), offset),
        lambda: m.pread(1, offset),
        lambda: m.pread(offset, 0),
        lambda: m.write_at(b"x", offset),
        lambda: m.resize(offset),
        lambda: m.sync(offset),
        lambda: m.madvise(yammap.MADV_NORMAL, offset),
        lambda: m.view(offset),
        lambda: m.resident(offset),
        lambda: m.warm(offset),
        lambda: m.populate(offset),
        lambda: m.evict(offset),
    ]
    for call in calls:
        with pytest.raises(kind, match=text):
            call()
    assert m.size() == 16384


def test_46_offsets_that_overflow_when_added(m):
    for offset in (2**63 - 1, 2**62, 2**63 - PAGE):
        with pytest.raises(OSError, match=r"too large|allocate memory") as error:
            m.write_at(b"xy", offset)
        assert error.value.errno in (errno.EFBIG, errno.ENOMEM)
        assert error.value.filename == m.name
    with pytest.raises(OSError, match="File too large"):
        m.resize(2**63 - 1)
    assert m.size() == 16384


def test_46_a_file_too_large_for_any_address_space():
    fd = os.memfd_create("large")
    with yammap.Mmap(os.dup(fd), "large") as m:
        os.truncate(fd, 2**63 - 1)
        with pytest.raises(OSError, match="File too large: 'large'"):
            m.refresh()
        assert m.size() == 0
    with pytest.raises(OSError, match="File too large: 'large'"):
        yammap.Mmap(os.dup(fd), "large")
    with yammap.Mmap(fd, "large", offset=2**62 + 1, length=9) as m:
        assert m[:] == bytes(9)


INDEXED = {
    "read_at": lambda m, index: m.read_at(bytearray(1), index),
    "pread size": lambda m, index: m.pread(index, 0),
    "pread offset": lambda m, index: m.pread(1, index),
    "write_at": lambda m, index: m.write_at(b"x", index),
    "resize": lambda m, index: m.resize(index),
    "find": lambda m, index: m.find(b"x", 0, index),
    "view": lambda m, index: m.view(0, index),
    "sync": lambda m, index: m.sync(index),
}


@pytest.mark.parametrize("call", INDEXED.values(), ids=INDEXED)
def test_46_an_index_is_converted_before_the_mapping_is_read(m, call):
    class Closing:
        def __index__(self):
            m.close()
            return 0

    with pytest.raises(ValueError, match="closed"):
        call(m, Closing())


RANGES = [
    *["sync", "view", "resident", "lock", "unlock", "allocate", "punch_hole"],
    *["warm", "populate", "evict"],
]


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(
    ("offset", "length"), [(16385, 0), (0, 16385), (16384, 1), (1, 2**63 - 1)]
)
def test_46_ranges_outside(m, name, offset, length):
    with pytest.raises(
        ValueError, match=r"(not all in|past the end of) .*file.bin.*16384 bytes"
    ):
        getattr(m, name)(offset, length)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 0), (16384, 0), (16384, None), (1, 1), (4097, 777)],
)
def test_46_ranges_of_any_alignment(m, name, offset, length):
    getattr(m, name)(offset, length)
