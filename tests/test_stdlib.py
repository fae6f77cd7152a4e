"""The standard library's readers and writers take a mapping for a file."""

import csv
import gzip
import hashlib
import io
import json
import pickle
import re
import tarfile
import zipfile

import pytest

import yammap


@pytest.fixture
def new(path):
    with yammap.open(path, "w+") as m:
        yield m


def test_zipfile(new):
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"alpha" * 1000)
        archive.writestr("b.txt", b"beta")
    with zipfile.ZipFile(new, "a") as archive:
        archive.writestr("c.txt", b"gamma")
    with zipfile.ZipFile(new) as archive:
        assert archive.testzip() is None
        assert archive.read("a.txt") == b"alpha" * 1000
        assert archive.namelist() == ["a.txt", "b.txt", "c.txt"]


@pytest.mark.parametrize("compression", ["", "gz"])
def test_tarfile(new, compression):
    with tarfile.open(fileobj=new, mode=f"w:{compression}") as archive:
        info = tarfile.TarInfo("member")
        info.size = 5000
        archive.addfile(info, io.BytesIO(b"x" * 5000))
    new.seek(0)
    with tarfile.open(fileobj=new) as archive:
        assert archive.extractfile("member").read() == b"x" * 5000


def test_gzip(new):
    with gzip.GzipFile(fileobj=new, mode="wb") as file:
        file.write(b"squeeze" * 100)
    new.seek(0)
    with gzip.GzipFile(fileobj=new) as file:
        assert file.read() == b"squeeze" * 100


def test_pickle(new):
    value = {"a": [1, 2.5, "three"], "b": b"x" * 100_000}
    pickle.dump(value, new)
    new.seek(0)
    assert pickle.load(new) == value


def test_json_and_csv(new):
    with io.TextIOWrapper(io.BufferedRandom(new), encoding="utf-8", newline="") as text:
        json.dump({"é": [1, 2]}, text)
        text.write("\n")
        csv.writer(text).writerows([["x", "y, z"], [1, 2]])
        text.seek(0)
        assert json.loads(text.readline()) == {"é": [1, 2]}
        assert list(csv.reader(text)) == [["x", "y, z"], ["1", "2"]]


def test_text_directly_over_the_mapping(new):
    new.write("naïve\nlines\n".encode())
    new.seek(0)
    with io.TextIOWrapper(new, encoding="utf-8") as text:
        assert list(text) == ["naïve\n", "lines\n"]


def test_buffer_consumers(new):
    new.write(b"needle in a haystack")
    assert hashlib.sha256(new).digest() == hashlib.sha256(b"needle in a haystack").digest()
    assert re.search(rb"h\w+", new).group() == b"haystack"
    assert bytes(new) == b"needle in a haystack"
    new.truncate(6)
    assert bytes(new) == b"needle"
