"""A batch in several threads, of which only the main one sees signals."""

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import yammap
from yammap._file import threads

PAGE = 4096


class Part:
    """A part whose copy may send a signal, and goes on until somebody stops it."""

    def __init__(self, sends=0, lasts=False):
        self.sends, self.lasts, self.log = sends, lasts, []
        self.stopped = threading.Event()

    def check(self):
        pass

    def copy(self):
        self.log.append("begin")
        self.send()
        while self.lasts and not self.stopped.wait(1):
            self.send()  # the first came just before the main thread began to wait
        sum(range(10_000))  # for whoever does not wait
        self.log.append("end")

    def send(self):
        if self.sends:
            signal.pthread_kill(threading.main_thread().ident, self.sends)

    def stop(self):
        self.stopped.set()


def test_ctrl_c_ends_all_threads(path, monkeypatch):
    """It comes while they are waited for, by the only thread that sees signals."""
    path.write_bytes(b"x")
    out = np.zeros(4, np.uint8)
    parts = []

    class Copy(threads.Copy):
        def run(self):
            parts.append(self.part)
            self.part = Part()
            super().run()

        def finish(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(threads, "Copy", Copy)
    with yammap.open(path) as m:
        with pytest.raises(KeyboardInterrupt):
            m.gather([0, 0, 0, 0], 1, out, threads=2)
        for part in parts:
            part.copy()
    assert len(parts) == 2
    assert not out.any()


@pytest.fixture
def raising_handler():
    def handler(number, frame):
        raise ZeroDivisionError

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_while_threads_start_leaves_none(
    raising_handler, eager_switching
):
    for _ in range(50):
        parts = [Part(sends=signal.SIGUSR1, lasts=True), Part(lasts=True), Part(lasts=True)]
        with pytest.raises(ZeroDivisionError):
            threads.copy_in_threads(parts)
        for part in parts:
            assert part.log in ([], ["begin", "end"])


def test_the_first_error_is_raised_and_the_others_keep_nothing(path):
    """Not even until the garbage collector finds them."""
    path.write_bytes(bytes(3 * PAGE))
    m = yammap.open(path)
    m.array()[::PAGE].sum()
    os.truncate(path, PAGE)
    gc.disable()
    try:
        with pytest.raises(yammap.BusError, match=f"offset {2 * PAGE}"):
            m.gather([0, 2 * PAGE, PAGE, PAGE], 16, threads=2)
        m.close()
        alive = weakref.ref(m)
        del m
        assert alive() is None
    finally:
        gc.enable()


FORK_DURING_THE_FIRST_BATCH = """
import os
import threading
import yammap

def first_batch():
    batch = threading.Thread(target=m.gather, args=([0, 64], 16), kwargs={"threads": 2})
    batch.start()
    batch.join()

m = yammap.anonymous(128)
os.register_at_fork(before=first_batch)
if os.fork() == 0:
    os._exit(0)
os.wait()
"""


def test_a_first_batch_beside_a_fork():
    """A lock that the batch were to import would be released by the fork's later hooks."""
    # Python 3.12 warns of any fork beside another thread.
    options = ["-P", "-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *options, "-c", FORK_DURING_THE_FIRST_BATCH]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
