"""The standard library's readers and writers take a mapping for a file."""

import array
import bz2
import configparser
import csv
import gzip
import hashlib
import io
import json
import lzma
import marshal
import pickle
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tarfile
import tomllib
import wave
import xml.etree.ElementTree as ET
import zipfile
import zlib

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


def test_zipfile_of_few_bytes(new):
    """It looks for its records before the start of the file, for an OSError."""
    new.write(b"text")
    assert not zipfile.is_zipfile(new)
    new.truncate(0)
    with zipfile.ZipFile(new, "w"):
        pass
    with zipfile.ZipFile(new) as archive:
        assert archive.namelist() == []


@pytest.mark.parametrize("compression", ["", "gz"])
def test_tarfile(new, compression):
    with tarfile.open(fileobj=new, mode=f"w:{compression}") as archive:
        info = tarfile.TarInfo("member")
        info.size = 5000
        archive.addfile(info, io.BytesIO(b"x" * 5000))
    new.seek(0)
    with tarfile.open(fileobj=new) as archive:
        assert archive.extractfile("member").read() == b"x" * 5000


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_files(new, module):
    with module.open(new, "wb") as file:
        file.write(b"squeeze" * 100)
    new.seek(0)
    with module.open(new) as file:
        assert file.read() == b"squeeze" * 100


@pytest.mark.parametrize("module", [zlib, gzip, bz2, lzma])
def test_compressed_bytes(new, module):
    new.write(module.compress(b"squeeze" * 100))
    assert module.decompress(new) == b"squeeze" * 100


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


def test_numbers_in_place(new):
    new.write(struct.pack("<4d", 1, 2, 3, 4))
    assert struct.unpack_from("<2d", new, 8) == (2, 3)
    assert list(struct.iter_unpack("<d", new)) == [(1,), (2,), (3,), (4,)]
    struct.pack_into("<d", new, 24, -4)
    numbers = array.array("d")
    numbers.frombytes(new)
    assert numbers.tolist() == memoryview(new).cast("d").tolist() == [1, 2, 3, -4]
    assert zlib.crc32(new) == zlib.crc32(bytes(new))


def test_digest_of_a_file(new):
    new.write(b"digest" * 10_000)
    new.seek(0)
    assert hashlib.file_digest(new, "sha1").digest() == hashlib.sha1(new).digest()


def test_marshal(new):
    marshal.dump({"a": [1, 2]}, new)
    assert marshal.loads(new) == {"a": [1, 2]}
    new.seek(0)
    assert marshal.load(new) == {"a": [1, 2]}


def test_sqlite(new):
    with sqlite3.connect(":memory:") as database:
        database.execute("create table t (x)")
        database.executemany("insert into t values (?)", [(1,), (2,)])
        database.commit()
        new.write(database.serialize())
    database.close()
    database = sqlite3.connect(":memory:")
    database.deserialize(new)
    new.close()  # it has made a copy
    assert database.execute("select sum(x) from t").fetchone() == (3,)
    database.close()


def test_parsers(new):
    for text, parse in {
        "a = 1": lambda: tomllib.load(new),
        "<a>1</a>": lambda: {e.tag: int(e.text) for e in ET.parse(new).iter()},
        '{"a": 1}': lambda: json.load(new),
    }.items():
        new.truncate(0)
        new.seek(0)
        new.write(text.encode())
        new.seek(0)
        assert parse() == {"a": 1}
    config = configparser.ConfigParser()
    config.read_file(io.StringIO("[s]\na = 1"))
    with io.TextIOWrapper(new, write_through=True) as text:
        text.seek(0)
        config.write(text)
        text.seek(0)
        again = configparser.ConfigParser()
        again.read_file(text)
    assert again == config


def test_wave(new):
    with wave.open(new, "wb") as sound:
        sound.setparams((2, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(range(200)))
    new.seek(0)
    with wave.open(new, "rb") as sound:
        assert sound.readframes(50) == bytes(range(200))


def test_copying_and_sending(new, tmp_path):
    new.write(b"sent" * 10_000)
    new.seek(4)
    with open(tmp_path / "copy", "wb+") as copy:
        shutil.copyfileobj(new, copy)
        copy.seek(0)
        assert copy.read() == b"sent" * 9_999
    ours, theirs = socket.socketpair()
    with ours, theirs:
        new.seek(4)
        assert ours.sendfile(new, count=400) == 400
        assert theirs.recv(500) == b"sent" * 100
        ours.sendall(new.view(0, 400))
        assert theirs.recv_into(new.view(8, 400)) == 400
    assert new.pread(404, 0) == b"sent" * 101


def test_input_and_output_of_a_program(new):
    copy = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    new.write(b"rest, ")
    before = new.tell()
    subprocess.run([sys.executable, "-c", "print(end='ab')"], stdout=new, check=True)
    assert new.tell() == before + 2
    new.seek(before)
    done = subprocess.run([sys.executable, "-c", copy], stdin=new, capture_output=True)
    assert done.stdout == b"AB"
