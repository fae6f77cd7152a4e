"""What stands for `mmap`, `io.FileIO` and `open` while other programs' own tests run.

``pytest -p stand_in`` puts `yammap.compat` in the place of `mmap` (but not with
``STAND_IN=mmap``), ``stand_in.py MODULE`` a mapping in the place of files in that module of
CPython's tests. Both write what failed, and how many passed, to the file ``REPORT``.
"""

import contextlib
import importlib
import io
import json
import os
import stat
import sys
import unittest

import yammap
from yammap import compat

FLAGS = {
    "r": 0,
    "w": os.O_CREAT | os.O_TRUNC,
    "x": os.O_CREAT | os.O_EXCL,
    "a": os.O_CREAT | os.O_APPEND,
}


def write_report(**numbers):
    with open(os.environ["REPORT"], "w") as file:
        json.dump(numbers, file)


# -- For mmap


class Results:
    """What a plugin of pytest has seen; tests are named so that pytest finds them again."""

    def __init__(self):
        self.names, self.failed, self.passed, self.mapped = {}, [], 0, 0
        self.new, compat.mmap.__new__ = compat.mmap.__new__, self.counted

    def counted(self, kind, *arguments, **options):
        self.mapped += 1
        return self.new(kind, *arguments, **options)

    def pytest_collection_modifyitems(self, items):
        for item in items:
            self.names[item.nodeid] = f"{item.path}::{item.nodeid.partition('::')[2]}"

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(self.names[report.nodeid])
        self.passed += report.when == "call" and report.passed

    def pytest_sessionfinish(self):
        write_report(failed=self.failed, passed=self.passed, mapped=self.mapped)


def pytest_configure(config):
    if os.environ.get("STAND_IN") != "mmap":
        sys.modules["mmap"] = compat
    config.pluginmanager.register(Results())


# -- For files


class FileIO(yammap.Mmap):
    """A mapping that is made as a FileIO is, and allows what that allows.

    Of what cannot be mapped, as a pipe or a device, it is a FileIO.
    """

    def __new__(cls, file, mode="r", closefd=True, opener=None):
        with contextlib.suppress(OSError, OverflowError):
            if opener is None and not stat.S_ISREG(os.stat(file).st_mode):
                return io.FileIO(file, mode, closefd)
        return super().__new__(cls)

    def __init__(self, file, mode="r", closefd=True, opener=None):
        with checked(file, mode):
            kind = mode.replace("b", "")
        self.reads, self.writes = kind[0] == "r" or "+" in kind, kind != "r"
        self.closefd = closefd
        fd = self.opened(file, mode, closefd, opener)
        os.set_inheritable(fd, False)
        super().__init__(fd, file, readonly=not self.writes)
        if self.appending:
            self.seek(0, os.SEEK_END)

    def opened(self, file, mode, closefd, opener):
        if isinstance(file, int):
            return file if closefd else os.dup(file)
        if not closefd:
            raise ValueError("Cannot use closefd=False with file name")
        flags = FLAGS[mode.replace("b", "")[0]] | os.O_CLOEXEC
        flags |= os.O_RDWR if self.writes else os.O_RDONLY
        fd = os.open(file, flags, 0o666) if opener is None else opener(file, flags)
        if fd < 0:
            raise ValueError(f"opener returned {fd}")
        return fd

    @property
    def mode(self):
        return super().mode if self.reads else "ab" if self.appending else "wb"

    def readable(self):
        return super().readable() and self.reads

    def writable(self):
        return super().writable() and self.writes

    def require(self, allowed):
        if not (self.closed or allowed):
            raise io.UnsupportedOperation("the mode does not allow it")

    def read(self, size=-1, /):
        self.require(self.reads)
        return super().read(size)

    def readinto(self, buffer, /):
        self.require(self.reads)
        return super().readinto(buffer)

    def readline(self, size=-1, /):
        self.require(self.reads)
        return super().readline(size)

    def write(self, data, /):
        self.require(self.writes)
        return super().write(data)


@contextlib.contextmanager
def checked(file, *arguments, of=io.FileIO):
    """Let the real thing say what is wrong with arguments, of a descriptor or `file`."""
    with open(os.devnull, "r+b", buffering=0) as null:
        fd = file if isinstance(file, int) else null.fileno()
        with of(fd, *arguments, closefd=False):
            yield


def open_file(
    file,
    mode="r",
    buffering=-1,
    encoding=None,
    errors=None,
    newline=None,
    closefd=True,
    opener=None,
):
    """`io.open`, over a mapping."""
    with checked(None, mode, buffering, encoding, errors, newline, of=open):
        pass
    raw = FileIO(file, mode.replace("t", ""), closefd, opener)
    try:
        if buffering == 0:
            return raw
        buffered = buffer_of(mode)(raw, *([buffering] if buffering > 1 else []))
        if "b" in mode:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
        text.mode = mode
        return text
    except BaseException:
        raw.close()
        raise


def buffer_of(mode):
    if "+" in mode:
        return io.BufferedRandom
    return io.BufferedReader if "r" in mode else io.BufferedWriter


def replace_files(name):
    """Let the module that a module of tests is for open mappings."""
    if name == "test_mailbox":
        importlib.import_module("mailbox").open = open_file
    if name == "test_tempfile":
        io.open = open_file


def tests_in(suite):
    """Return the tests of a suite; of those that are there for C and for Python, C's."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_in(test)
        elif hasattr(type(test), "FileIO") and type(test).__name__.startswith("C"):
            type(test).FileIO, type(test).open = FileIO, staticmethod(open_file)
            yield test
        elif not hasattr(type(test), "FileIO"):
            yield test


def main(name):
    module = importlib.import_module(f"test.{name}")
    replace_files(name)
    result = unittest.TestResult()
    tests = list(tests_in(unittest.defaultTestLoader.loadTestsFromModule(module)))
    unittest.TestSuite(tests).run(result)
    bad = result.errors + result.failures
    for _, text in bad:
        print(text)
    write_report(
        failed=[".".join(str(test.id()).split(".")[-2:]) for test, _ in bad],
        passed=result.testsRun - len(result.skipped) - len(bad),
    )


if __name__ == "__main__":
    main(sys.argv[1])
