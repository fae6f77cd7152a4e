"""Fixtures: a path, a raw file of either kind, and a child process to die in our place."""

import ctypes
import io
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

import hypothesis
import pytest

import yammap

# No time is a result: the machine may be slow, or busy.
hypothesis.settings.register_profile("yammap", deadline=None)
hypothesis.settings.load_profile("yammap")


def wait_for_threads_to_end():
    """Let threads that were joined leave: under a sanitizer, a fork has to wait for that.

    On their way out they lock its allocator. A child that is forked meanwhile has a copy of
    that lock, which nobody opens. (For threads of C code alone, it waits in vain.)
    """
    deadline = time.monotonic() + 1
    while len(os.listdir("/proc/self/task")) > threading.active_count():
        if time.monotonic() > deadline:
            return
        os.sched_yield()


if "ASAN_OPTIONS" in os.environ:
    os.register_at_fork(before=wait_for_threads_to_end)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.bin"


def require_blocks(directory):
    """Skip where blocks cannot be allocated in advance."""
    with tempfile.TemporaryFile(dir=directory) as file:
        if ctypes.CDLL(None).fallocate(
            file.fileno(), 0, ctypes.c_long(0), ctypes.c_long(1)
        ):
            pytest.skip("no fallocate(2) here")


def require_marks(file):
    """Skip where a file cannot be marked as one that runs ahead of its data."""
    try:
        os.setxattr(file, "user.yammap.test", b"")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error.strerror}")


@pytest.fixture
def can_run_ahead(tmp_path):
    """Skip where a file cannot run ahead of its data (`ahead=`)."""
    require_blocks(tmp_path)
    require_marks(tmp_path)


@pytest.fixture
def can_run_ahead_in_memory():
    """The same for a file in memory, which has no extended attributes before Linux 6.6."""
    with yammap.anonymous(1) as m:
        require_marks(m.fileno())


@pytest.fixture
def eager_switching():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def child(tmp_path):
    """Run Python source in a process of its own; returns its exit status and output.

    It must exit with `status`: 0, or minus the number of the signal that killed it.
    """

    def run(source, status=0, **environment):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", textwrap.dedent(source)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(params=[io.FileIO, yammap.open], ids=["FileIO", "Mmap"])
def open_raw(request):
    return request.param


@pytest.fixture
def raw(open_raw, path):
    path.write_bytes(b"first\nsecond\n\nlast")
    with open_raw(path, "r+") as file:
        yield file
