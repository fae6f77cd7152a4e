"""Fixtures: a child process to die in our place, and the labs of lab.py it dies in."""

import textwrap

import lab
import pytest

SETUP = """
import contextlib, ctypes, errno, faulthandler, gc, mmap, os, re, resource, signal
import struct, sys, textwrap, threading, time, warnings
import numpy as np
import yammap

PAGE = mmap.PAGESIZE
MIB = 1 << 20


def letters(pages):
    return b"".join(bytes([65 + i]) * PAGE for i in range(pages))


def mapped(pages=4, mode="r+", name="file", **options):
    with open(name, "wb") as file:
        file.write(letters(pages))
    return yammap.open(name, mode, **options)


def raised(kind, call, *args, **options):
    try:
        call(*args, **options)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def bus_error(call, *args, **options):
    return raised(yammap.BusError, call, *args, **options)


def touched(touch, *args):
    "The BusError that is raised in this thread for a view it touched, soon after."
    def wait():
        touch(*args)
        for _ in range(10**8):
            pass
    return bus_error(wait)


def next_tick():
    "Wait until who has SIGBUS is asked again, as each tick (of 2**26 ns) begins."
    end = time.monotonic_ns() + (2 << 26)   # the coarse clock is late by some ms
    while time.monotonic_ns() < end:
        pass


def store(view, offset, value):
    view[offset] = value


def poisoned(m):
    "Every method but faults() and heal() raises the same BusError, which it returns."
    first = bus_error(m.size)
    for call in (m.tell, m.refresh, m.sync, m.view, m.array, m.read,
                 lambda: m.pread(1, 0), lambda: m.read_at(bytearray(1), 0)):
        error = bus_error(call)
        assert str(error) == str(first), (str(error), str(first))
        assert (error.errno, error.offset) == (first.errno, first.offset)
    return first


def start(*functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def content(name="file"):
    with open(name, "rb") as file:
        return file.read()


def on_disk(name):
    "What a file that nobody maps holds when the page cache has forgotten it."
    with open(name, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def maps(name=""):
    with open("/proc/self/maps") as file:
        return [line for line in file if name in line]


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def fail(name="", nth=0, code=0, once=True):
    "Make system calls fail, see failing.c; returns how many were made before."
    return ctypes.CDLL(None).fail(name.encode(), ctypes.c_long(nth), code, once)


def refuse(code, number, argument=None, values=()):
    "Have a system call refused from now on (code None: killed), see seccomp(2)."
    load, equal, answer = 0x20, 0x15, 0x06
    kill_process, fail_with, pass_on = 0x80000000, 0x50000, 0x7FFF0000
    allow = answer, 0, 0, pass_on
    refused = answer, 0, 0, kill_process if code is None else fail_with | code
    steps = [(load, 0, 0, 0), (equal, 1, 0, number), allow]
    if argument is None:
        steps.append(refused)
    else:
        steps.append((load, 0, 0, 16 + 8 * argument))
        for value in values:
            steps += [(equal, 0, 1, value), refused]
        steps.append(allow)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privs, seccomp, by_filter = 38, 22, 2
    assert libc.prctl(no_new_privs, 1, 0, 0, 0) == 0
    assert libc.prctl(seccomp, by_filter, program, 0, 0) == 0, ctypes.get_errno()


def become_nobody():
    "Have no privileges from now on."
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)


def give_small_stacks():
    "Give a thread as little as this Python allows."
    try:
        threading.stack_size(32 * 1024)
    except ValueError:
        threading.stack_size(64 * 1024)     # since Python 3.14


def lose_proc():
    "Have no /proc from now on, in a mount namespace of this process."
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, private, detach = 0x20000, 0x44000, 2
    assert libc.unshare(new_namespace) == 0, ctypes.get_errno()
    assert libc.mount(None, b"/", None, private, None) == 0, ctypes.get_errno()
    while libc.umount2(b"/proc", detach) == 0:
        pass
    assert not os.listdir("/proc")

"""


@pytest.fixture
def faulty(child):
    """Run source with the names above at hand; it must exit with `status`."""

    def run(source, status=0, **environment):
        return child(SETUP + textwrap.dedent(source), status, **environment)

    return run


@pytest.fixture(scope="session")
def failing_library(tmp_path_factory):
    return str(lab.failing(tmp_path_factory.mktemp("failing")))


@pytest.fixture
def failing(faulty, failing_library):
    """Run source in which `fail` makes system calls fail."""

    def run(source, status=0, **environment):
        return faulty(source, status, LD_PRELOAD=failing_library, **environment)

    return run


@pytest.fixture
def small_tmpfs(tmp_path):
    """A filesystem of 1 MiB at ``small/``."""
    with lab.tmpfs(tmp_path / "small", lab.MIB) as directory:
        yield directory


@pytest.fixture
def ext4(tmp_path):
    """A filesystem of 16 MiB at ``disk/``."""
    with lab.loop_ext4(tmp_path / "disk") as directory:
        yield directory


@pytest.fixture
def btrfs(tmp_path):
    """A filesystem at ``disk/`` on which overwriting needs free space."""
    with lab.loop_btrfs(tmp_path / "disk") as directory:
        yield directory


@pytest.fixture
def thin(tmp_path):
    """A filesystem of 256 MiB at ``thin/``, on a disk of 8 MiB."""
    with lab.thin_ext4(tmp_path / "thin") as directory:
        yield directory


@pytest.fixture
def bad(tmp_path):
    """A filesystem at ``bad/`` with the file ``file``; ``bad.fail(...)`` breaks it."""
    with lab.fuse(tmp_path / "bad") as filesystem:
        yield filesystem
