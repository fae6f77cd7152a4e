"""Which format a file has is told by its first bytes, for all who ask."""

import io
import zipfile

import numpy as np
import pytest

import yammap
from yammap._arrays.formats import LONGEST, described_layout, recognise


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive():
    file = io.BytesIO()
    np.savez(file, x=np.arange(3))
    return file.getvalue()


def empty_archive():
    file = io.BytesIO()
    zipfile.ZipFile(file, "w").close()
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(np.arange(3)), "npy"),
        (b"\x93NUMPY", "npy"),
        (b"\x93NUMP", "raw"),
        (archive(), "archive"),
        (empty_archive(), "archive"),
        (b"PK", "raw"),
        (bytes(100), "raw"),
        (b"", "raw"),
    ],
)
def test_the_first_bytes_tell(content, expected):
    assert recognise(content) == recognise(content[:LONGEST]) == expected


def described(content, path="some.bin", offset=0, **given):
    terms = {"dtype": None, "shape": None, "order": "C", **given}
    return described_layout(io.BytesIO(content), path, len(content), offset, **terms)


def test_what_a_header_says():
    layout = described(saved(np.zeros((2, 3), ">f4", order="F")))
    assert (layout.shape, layout.strides, layout.offset) == ((2, 3), (4, 8), 128)
    assert layout.dtype == np.dtype(">f4")


def test_a_file_that_says_nothing():
    assert described(bytes(10)) is described(bytes(10), offset=5) is None
    assert described(b"") is None
    assert described(archive(), offset=30) is None


@pytest.mark.parametrize(
    ("content", "given", "text"),
    [
        (saved(np.zeros(3)), {"offset": 1}, "leave out offset"),
        (bytes(10), {"path": "x.npy"}, "no such header"),
        (archive(), {"path": b"x.npy"}, "no such header"),
        (archive(), {}, "call open_npz"),
        (saved(np.zeros(3)), {"dtype": "f4"}, "the header says"),
        (saved(np.zeros(3)), {"shape": 2}, "the header says"),
    ],
)
def test_what_is_refused(content, given, text):
    with pytest.raises(ValueError, match=text):
        described(content, **given)


@pytest.mark.parametrize("content", [saved(np.arange(6, dtype="u1")), archive(), bytes(9)])
def test_all_who_ask_come_to_the_same(path, content):
    path.write_bytes(content)
    found = []
    for make in (yammap.open_array, yammap.MappedArray):
        try:
            found.append(make(path).shape)
        except ValueError as error:
            found.append(str(error).partition(": ")[2])
    assert found[0] == found[1]
