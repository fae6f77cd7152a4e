"""Raise wherever Python can: what moved, the position has followed, and nothing leaks."""

import contextlib
import gc
import io
import itertools
import os
import re
import signal
import sys

import pytest

import yammap
from yammap import compat

# Where something is half done may be here: not in what the standard library looks up, nor
# in other packages, which may lie below a folder that has our name.
PACKAGE = re.escape(os.path.dirname(yammap.__file__))
TRACED = re.compile(rf"{PACKAGE}/|contextlib|test_interrupts")

CONTENT = b"first\nsecond\n\nlast" * 100


class Interrupt(BaseException):
    """As of a signal handler: nobody on the way catches it."""


def raises_at(step, action):
    """Raise before that step of the interpreter; False when the action has fewer."""
    steps = 0

    def trace(frame, event, argument):
        nonlocal step, steps
        if not TRACED.search(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        steps += 1
        if steps == step:
            if is_finalising(frame):  # there it would only be printed
                step += 1
            else:
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        action()
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def is_finalising(frame):
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def state(file, path):
    return file.tell(), path.read_bytes()


# What is called, and the system calls that it stands for.
CALLS = {
    "write": (lambda f: f.write(b"x" * 50), [lambda f: f.write(b"x" * 50)]),
    "write behind the end": (
        lambda f: (f.seek(9, os.SEEK_END), f.write(b"x")),
        [lambda f: f.seek(9, os.SEEK_END), lambda f: f.write(b"x")],
    ),
    "writelines": (
        lambda f: f.writelines([b"one", b"two"]),
        [lambda f: f.write(b"one"), lambda f: f.write(b"two")],
    ),
    "read": (lambda f: f.read(9), [lambda f: f.read(9)]),
    "readall": (lambda f: f.readall(), [lambda f: f.readall()]),
    "readinto": (lambda f: f.readinto(bytearray(9)), [lambda f: f.read(9)]),
    "readline": (lambda f: f.readline(), [lambda f: f.readline()]),
    "next": (lambda f: next(f), [lambda f: f.readline()]),
    "readlines": (lambda f: f.readlines(9), 2 * [lambda f: f.readline()]),
    "seek": (lambda f: f.seek(7), [lambda f: f.seek(7)]),
    "truncate": (lambda f: f.truncate(7), [lambda f: f.truncate(7)]),
    "close": (lambda f: f.close(), []),
}
OURS = {
    "read_byte": (lambda m: m.read_byte(), [lambda f: f.read(1)]),
    "write_byte": (lambda m: m.write_byte(65), [lambda f: f.write(b"A")]),
    "resize": (lambda m: m.resize(5000), [lambda f: f.truncate(5000)]),
    "append": (lambda m: m.append(b"end"), [lambda f: os.pwrite(f.fileno(), b"end", 1800)]),
}


def states(path, mode, steps):
    """What `io.FileIO` leaves after each step, and before the first."""
    path.write_bytes(CONTENT)
    with io.FileIO(path, mode) as file:
        file.seek(3)
        yield state(file, path)
        for step in steps:
            step(file)
            yield state(file, path)


@pytest.mark.parametrize("mode", ["r+", "a+"])
@pytest.mark.parametrize("tied", [False, True], ids=["", "descriptor is out"])
@pytest.mark.parametrize("name", [*CALLS, *OURS])
def test_position_and_bytes_are_those_of_one_moment(path, name, mode, tied):
    action, steps = {**CALLS, **OURS}[name]
    if name == "append" and (tied or mode == "a+"):
        pytest.skip("where the position is then, test_ahead tells")
    allowed = list(states(path, mode, steps))
    for step in itertools.count(1):
        path.write_bytes(CONTENT)
        with yammap.open(path, mode) as m:
            m.seek(3)
            if tied:
                m.fileno()
            raised = raises_at(step, lambda m=m: action(m))
            if not m.closed:
                assert state(m, path) in allowed
        if not raised:
            break
    assert step > 3


COMPAT = {
    "write": lambda m: m.write(b"x" * 50),
    "write_byte": lambda m: m.write_byte(65),
    "read": lambda m: m.read(9),
    "read_byte": lambda m: m.read_byte(),
    "readline": lambda m: m.readline(),
    "seek": lambda m: m.seek(7, os.SEEK_CUR),
}


@pytest.mark.parametrize("name", COMPAT)
def test_so_it_is_in_compat(name):
    action, seen = COMPAT[name], set()
    for step in itertools.count(1):
        with compat.mmap(-1, len(CONTENT)) as m:
            m[:] = CONTENT
            m.seek(3)
            raised = raises_at(step, lambda m=m: action(m))
            seen.add((m.tell(), m[:]))
        if not raised:
            break
    assert len(seen) == 2


def descriptors(expected=None):
    found = os.listdir("/proc/self/fd")
    if found != expected:  # some may be garbage that is not collected yet
        gc.collect()
        found = os.listdir("/proc/self/fd")
    return found


OPENINGS = {
    "open": lambda p: yammap.open(p, "r+").close(),
    "w+": lambda p: yammap.open(p, "w+", size=10).close(),
    "x+": lambda p: yammap.open(f"{p}.new", "x+").close(),
    "a+": lambda p: yammap.open(p, "a+").close(),
    "ahead": lambda p: yammap.open(p, "r+", ahead=4096).close(),
    "open_file": lambda p: yammap.open_file(p, os.O_RDWR).close(),
    "create": lambda p: yammap.create(p, 5000, exist_ok=True).close(),
    "anonymous": lambda p: yammap.anonymous(10).close(),
    "open_array": lambda p: yammap.open_array(p, "u1"),
    "MappedArray": lambda p: yammap.MappedArray(p, "u1")[:5],
    "compat": lambda p: compat.mmap(-1, 10).close(),
}


# A file of io that is collected is closed, and says that it was not before.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", OPENINGS)
def test_no_descriptor_is_lost_in_opening(path, name):
    path.write_bytes(CONTENT)
    OPENINGS[name](path)
    before = descriptors()
    for step in itertools.count(1):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}.new")
        if not raises_at(step, lambda: OPENINGS[name](path)):
            break
        assert descriptors(before) == before
    assert step > 20


def test_a_file_of_compat_is_opened_without_losing_it(path):
    path.write_bytes(CONTENT)
    with open(path, "r+b") as file:
        before = descriptors()
        for step in itertools.count(1):
            if not raises_at(step, lambda: compat.mmap(file.fileno(), 0).close()):
                break
            assert descriptors(before) == before


def test_atomic_create_leaves_the_old_file_or_the_new(path):
    def replace():
        with yammap.atomic_create(path, 3) as m:
            m.write(b"new")

    path.write_bytes(b"old")
    replace()
    before = descriptors()
    for step in itertools.count(1):
        path.write_bytes(b"old")
        if not raises_at(step, replace):
            break
        assert path.read_bytes() in (b"old", b"new")
    assert path.read_bytes() == b"new"
    assert descriptors(before) == before


class Alarm:
    """A timer whose handler raises, once, as soon as `armed` is true.

    It goes off again and again, and not only once, so that a process that gets no processor
    for a while does not miss it.
    """

    armed = False

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self.handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        return self

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)

    def handle(self, number, frame):
        if self.armed:
            self.armed = False
            raise Interrupt


@pytest.mark.parametrize("make", [yammap.anonymous, lambda size: compat.mmap(-1, size)])
@pytest.mark.parametrize("name", ["write", "readinto"])
def test_a_handler_that_raises_finds_the_position_moved(make, name):
    size = 64 << 20
    with make(size) as m, Alarm() as alarm:
        data, move = bytearray(b"x" * size), getattr(m, name)
        with m._turn:  # the first one makes a lock by a function of Python's
            pass
        with pytest.raises(Interrupt):
            alarm.armed = True  # no handler runs between this and the call
            move(data)
            while True:
                pass
        assert m.tell() == size
        if name == "write":
            assert m[-1] == ord("x")


@pytest.mark.parametrize("name", ["find", "rfind", "readline"])
@pytest.mark.parametrize("engine", ["mmap", "pread"])
def test_a_search_of_a_huge_hole_can_be_interrupted(path, name, engine):
    """Searching all of it would take an hour, after a part of which the test has failed."""
    path.touch()
    os.truncate(path, 1 << 40)
    with yammap.open(path, engine=engine) as m, Alarm() as alarm:
        search = getattr(m, name)
        arguments = () if name == "readline" else (b"x",)
        with pytest.raises(Interrupt):
            alarm.armed = True
            search(*arguments)
        assert m.tell() == 0


def test_a_mapping_whose_name_refers_to_it_is_collected():
    class Name:
        def __str__(self):
            return "self-made"

    yammap.anonymous(10).close()  # some descriptors are made once, for all mappings
    before = descriptors()
    name = Name()
    name.mapping = yammap.anonymous(10)
    name.mapping.name = name
    name.mapping.resize(3)
    del name
    assert descriptors(before) == before
