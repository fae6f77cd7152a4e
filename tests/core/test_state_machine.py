"""Any sequence of operations does to the file what it does to a bytearray."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import yammap

DATA = st.binary(max_size=64) | st.sampled_from([b"\n" * 3, b"x" * 5000, b"y" * 40_000])
OFFSETS = st.integers(0, 100) | st.integers(0, 60_000) | st.sampled_from([4095, 4096, 8192])


class FileModel(RuleBasedStateMachine):
    """The file, mapped, beside a bytearray and a position."""

    def __init__(self):
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "file"
        self.model = bytearray()
        self.views = []
        self.open("w+", None)

    def open(self, mode, reserve):
        self.mode = mode
        self.position = len(self.model) if mode == "a+" else 0
        self.m = yammap.open(self.path, mode, reserve=reserve)

    @rule(
        mode=st.sampled_from(["r", "r+", "a+"]), reserve=st.sampled_from([None, 0, 16384])
    )
    def reopen(self, mode, reserve):
        self.m.close()
        self.m.close()
        assert all(view == self.model[: len(view)] for view in self.views)
        self.drop_views()  # the next mapping knows nothing of them, and may truncate
        assert self.path.read_bytes() == self.model
        self.open(mode, reserve)

    @rule(size=st.integers(-1, 50_000))
    def read(self, size):
        end = len(self.model) if size < 0 else self.position + size
        expected = self.model[self.position : end]
        assert self.m.read(size) == expected
        self.position += len(expected)

    @rule(size=st.integers(0, 50_000), offset=OFFSETS)
    def pread(self, size, offset):
        assert self.m.pread(size, offset) == self.model[offset : offset + size]

    @rule(size=st.integers(0, 50_000), offset=OFFSETS)
    def read_at(self, size, offset):
        expected = self.model[offset : offset + size]
        buffer = bytearray(size)
        if len(expected) == size:
            assert self.m.read_at(buffer, offset) == size
        else:
            with pytest.raises(yammap.ShortRead) as short:
                self.m.read_at(buffer, offset)
            assert short.value.count == len(expected)
        assert buffer == expected + bytes(size - len(expected))

    @rule(size=st.integers(-1, 100))
    def readline(self, size):
        rest = bytes(self.model[self.position :])
        line = rest[: rest.find(b"\n") + 1] or rest
        expected = line if size < 0 else line[:size]
        assert self.m.readline(size) == expected
        self.position += len(expected)

    @rule(sub=st.binary(max_size=3), start=OFFSETS)
    def find(self, sub, start):
        assert self.m.find(sub, start) == self.model.find(sub, start)

    @rule(offset=OFFSETS, whence=st.sampled_from([0, 1, 2]))
    def seek(self, offset, whence):
        offset = -offset if whence == 2 else offset
        position = offset + [0, self.position, len(self.model)][whence]
        if position >= 0:
            assert self.m.seek(offset, whence) == position
            self.position = position
        else:
            with pytest.raises(ValueError, match="position"):
                self.m.seek(offset, whence)

    def put(self, data, offset):
        if data:
            self.model.extend(bytes(max(0, offset - len(self.model))))
            self.model[offset : offset + len(data)] = data

    @precondition(lambda self: self.mode != "r")
    @rule(data=DATA)
    def write(self, data):
        if self.mode == "a+" and data:
            self.position = len(self.model)
        assert self.m.write(data) == len(data)
        self.put(data, self.position)
        self.position += len(data)

    @precondition(lambda self: self.mode not in ("r", "a+"))
    @rule(data=DATA, offset=OFFSETS)
    def write_at(self, data, offset):
        assert self.m.write_at(data, offset) == len(data)
        self.put(data, offset)

    @precondition(lambda self: self.mode != "r")
    @rule(data=DATA)
    def append(self, data):
        assert self.m.append(data) == len(self.model)
        self.model += data

    @precondition(lambda self: self.mode != "r")
    @rule(size=OFFSETS)
    def truncate(self, size):
        if size < len(self.model) and self.views:
            with pytest.raises(BufferError):
                self.m.truncate(size)
            return
        assert self.m.truncate(size) == size
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    @rule()
    def truncate_at_position_when_read_only(self):
        if self.mode == "r":
            with pytest.raises(OSError, match="read-only"):
                self.m.truncate()

    @rule(data=st.binary(min_size=1, max_size=50))
    def another_process_appends(self, data):
        with open(self.path, "ab") as file:
            file.write(data)
        self.model += data
        assert self.m.refresh() == len(self.model)

    @rule()
    def view(self):
        self.views.append(self.m.view())

    @rule()
    def drop_views(self):
        self.views.clear()

    @rule(start=OFFSETS)
    def sync(self, start):
        self.m.sync(min(start, len(self.model)))

    @invariant()
    def agrees(self):
        assert self.m.size() == len(self.model)
        assert self.m.tell() == self.position
        assert all(view == self.model[: len(view)] for view in self.views)

    def teardown(self):
        self.m.close()
        assert self.path.read_bytes() == self.model
        assert os.stat(self.path).st_size == len(self.model)
        self.views.clear()
        self.directory.cleanup()


FileModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
TestFileModel = FileModel.TestCase
