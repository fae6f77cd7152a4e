"""Any call with any arguments: a documented exception at worst, and nothing damaged.

Some arguments run code of their own when they are converted, and use it to close, cut or
grow the very mapping that is being called.
"""

import array
import contextlib
import ctypes
import gc
import inspect
import math
import os
import resource
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import yammap

CONTENT = b"line of a file\n" * 700
LIMIT = 1 << 20  # no file becomes longer
MODES = ["r", "r+", "a+", "c"]
DOCUMENTED = (TypeError, ValueError, OSError, EOFError, BufferError, StopIteration)
FILE_NUMBERS = (OverflowError,)  # of a descriptor beyond any, as os.open raises it

METHODS = sorted(
    name
    for name, member in inspect.getmembers(yammap.Mmap)
    if callable(member) and (not name.startswith("_") or name in ("__exit__", "__next__"))
)
OPTIONS = [
    *[
        "offset",
        "length",
        "size",
        "start",
        "end",
        "wait",
        "order",
        "dtype",
        "shape",
        "perm",
    ],
    *["discard", "revoke", "reserve", "populate", "preallocate", "advice", "private"],
    *["readonly", "on_fault", "keep_fd", "engine", "unknown"],
]

FUZZ = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Own(Exception):  # noqa: N818
    """What an argument raises by itself."""


# -- Arguments that act when they are looked at

ACTS = {
    "close": lambda m: m.close(),
    "empty": lambda m: m.resize(0),
    "grow": lambda m: m.resize(100_000),
    "append": lambda m: m.append(b"more"),
    "refresh": lambda m: m.refresh(),
    "cut": lambda m: os.truncate(m.fileno(), 10),
    "move": lambda m: m.seek(3),
    "export": lambda m: memoryview(m).release(),
    "collect": lambda m: gc.collect(0),
}


class Acting:
    """Something that does `act` to the mapping `m` of the moment."""

    m = None

    def __init__(self, name, value):
        self.name, self.value = name, value

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r}, {self.value!r})"

    def act(self):
        if self.name == "raise":
            raise Own
        with contextlib.suppress(*DOCUMENTED):
            ACTS[self.name](Acting.m)


class Index(Acting):
    def __index__(self):
        self.act()
        return self.value


class Truth(Acting):
    def __bool__(self):
        self.act()
        return True


class Path(Acting):
    def __fspath__(self):
        self.act()
        return "made"


class Iterable(Acting):
    def __iter__(self):
        yield b"first"
        self.act()
        yield self.value


class Lending(Acting):
    """A buffer by PEP 688, of which older Pythons know nothing."""

    def __buffer__(self, flags):
        self.act()
        return memoryview(bytearray(9))

    def __release_buffer__(self, buffer):
        self.act()
        buffer.release()


def released():
    view = memoryview(bytearray(9))
    view.release()
    return view


EDGES = [
    (1 << bits) + near for bits in (0, 8, 12, 31, 32, 62, 63, 64) for near in (-1, 0, 1)
]
OTHERS = [
    *[
        None,
        True,
        math.nan,
        math.inf,
        1.5,
        1j,
        "1",
        "",
        "r+",
        object(),
        int,
        [],
        {},
        (3, -1),
    ],
    *[np.int64(5), np.float64(5), np.array(7), np.array([1, 2]), np.uint64(2**64 - 1)],
]
BUFFERS = [
    *[b"", b"line", bytearray(5000), array.array("i", [1, 2]), (ctypes.c_int * 3)()],
    *[memoryview(bytes(10))[::2], memoryview(bytearray(9))[::-1], memoryview(bytearray(8))],
    *[
        memoryview(bytearray(12)).cast("B", (3, 4)),
        memoryview(bytes(8)).cast("d"),
        released(),
    ],
    *[np.zeros((3, 3))[:, 1], np.zeros((3, 3), order="F"), np.zeros(0), np.float16(1)],
    *[np.zeros(2, "M8[s]"), np.array([None]), np.zeros(2, "u1,f8"), np.array("text")],
]


def one_of(things):
    """Choose by number: some of the things cannot be hashed or compared."""
    return st.integers(0, len(things) - 1).map(things.__getitem__)


NUMBERS = one_of(EDGES + [-n for n in EDGES]) | st.integers(-3, len(CONTENT) + 3)
ACTING = st.builds(
    lambda kind, name, value: kind(name, value),
    one_of([Index, Index, Index, Truth, Path, Iterable, Lending]),
    one_of([*ACTS, "raise"]),
    one_of([0, 1, 5000, -1, 1 << 62, 1 << 63, "no number"]),
)
ARGUMENTS = NUMBERS | one_of(OTHERS) | one_of(BUFFERS) | ACTING
CALLS = st.tuples(
    st.sampled_from(METHODS),
    st.lists(ARGUMENTS, max_size=3),
    st.just({}) | st.dictionaries(st.sampled_from(OPTIONS), ARGUMENTS, max_size=2),
)

OPENERS = [yammap.open, yammap.open_file, yammap.open_array]
OPENERS += [yammap.create, yammap.anonymous]


@pytest.fixture(scope="module", autouse=True)
def short_files():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Everything happens here, and leaves no descriptor behind."""
    monkeypatch.chdir(tmp_path)
    yammap.anonymous(1).close()  # the first mapping opens what all share
    gc.collect()
    before = os.listdir("/proc/self/fd")
    yield tmp_path
    Acting.m = None
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def survives(call, *arguments, **options):
    """Return what the call returns, or the exception, which must be a documented one."""
    allowed = FILE_NUMBERS if call in OPENERS else ()
    try:
        return call(*arguments, **options)
    except (*DOCUMENTED, *allowed, Own) as error:
        return error


def check(m):
    """The mapping and its file are of one mind, and can still be used."""
    if m.closed:
        assert isinstance(survives(m.size), ValueError)
        return
    size = survives(m.refresh if m.growable else m.size)
    data = survives(m.pread, LIMIT, 0)
    if not isinstance(data, OSError):
        assert len(data) == size
    if m.growable:
        assert os.fstat(m.fileno()).st_size == size <= LIMIT
        assert os.pread(m.fileno(), LIMIT, 0) == data


@FUZZ
@given(mode=st.sampled_from(MODES), calls=st.lists(CALLS, min_size=1, max_size=6))
def test_any_method_with_any_arguments(folder, mode, calls):
    (folder / "file").write_bytes(CONTENT)
    with yammap.open("file", mode) as m:
        Acting.m = m
        kept = [
            survives(getattr(m, name), *arguments, **options)
            for name, arguments, options in calls
        ]
        check(m)
        del kept


@pytest.mark.parametrize("name", METHODS)
def test_any_method_with_numbers_at_the_edges(folder, name):
    (folder / "file").write_bytes(CONTENT)
    numbers = [*EDGES, *(-n for n in EDGES)]
    with yammap.open("file", "r+") as m:
        for n in numbers:
            for arguments in (n,), (n, 0), (0, n), (b"x", n), (0, 0, n):
                survives(getattr(m, name), *arguments)
        check(m)


@FUZZ
@given(offset=NUMBERS, length=NUMBERS, calls=st.lists(CALLS, min_size=1, max_size=4))
def test_any_method_of_any_window(folder, offset, length, calls):
    (folder / "file").write_bytes(CONTENT)
    m = survives(yammap.open, "file", "r+", offset=offset, length=length)
    if isinstance(m, Exception):
        assert not 0 <= offset <= offset + length <= len(CONTENT) or length < 0
        return
    Acting.m = m
    with m:
        kept = [
            survives(getattr(m, name), *arguments, **options)
            for name, arguments, options in calls
        ]
        check(m)
        del kept


FILES = [
    "file",
    b"file",
    "missing",
    ".",
    "",
    "nul\0",
    "no/such",
    -1,
    1 << 31,
    1 << 70,
    None,
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # calls as they were
@FUZZ
@given(
    call=st.sampled_from(OPENERS),
    file=one_of(FILES) | ACTING,
    arguments=st.lists(one_of([*MODES, "w+", "x+", "rb"]) | ARGUMENTS, max_size=3),
    options=st.dictionaries(st.sampled_from(OPTIONS), ARGUMENTS, max_size=2),
)
def test_any_opening(folder, call, file, arguments, options):
    (folder / "file").write_bytes(CONTENT)
    with yammap.open("file", "r+") as Acting.m:
        m = survives(call, file, *arguments, **options)
        if isinstance(m, (TypeError, Own)) and not Acting.m.closed:
            assert os.stat("file").st_size == Acting.m.size() or acted(arguments, options)
    if isinstance(m, yammap.Mmap):
        check(m)
        m.close()


def acted(arguments, options):
    """Whether an argument may have changed the file by itself."""
    return any(isinstance(x, Acting) for x in (*arguments, *options.values()))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="buffers in Python: PEP 688")
@pytest.mark.parametrize("act", [*ACTS, "raise"])
@pytest.mark.parametrize("method", ["read_at", "write_at", "append", "find", "readinto"])
def test_a_buffer_that_acts(folder, method, act):
    (folder / "file").write_bytes(CONTENT)
    with yammap.open("file", "r+") as Acting.m:
        position = [0] if method in ("read_at", "write_at") else []
        survives(getattr(Acting.m, method), Lending(act, 0), *position)
        check(Acting.m)
