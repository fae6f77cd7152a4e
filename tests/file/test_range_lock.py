"""Locks of a file: they hold, whatever else is opened and closed meanwhile."""

import contextlib
import errno
import fcntl
import io
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

import yammap
from yammap._file.range_lock import FIRST_BEYOND

MIB = 1 << 20


def is_free(path, offset=0, length=0, *, exclusive=True):
    """Whether another process can have a lock of a range, 0 being all, by fcntl.lockf."""
    source = f"""
import fcntl, os, sys
fd = os.open({str(path)!r}, os.O_RDWR)
kind = fcntl.LOCK_{"EX" if exclusive else "SH"} | fcntl.LOCK_NB
try:
    fcntl.lockf(fd, kind, {length}, {offset})
except BlockingIOError:
    sys.exit(3)
"""
    code = subprocess.run([sys.executable, "-I", "-c", source], timeout=60).returncode
    assert code in (0, 3)
    return code == 0


def test_it_holds_whatever_is_closed_inside(path):
    np.zeros(2 * MIB // 8).tofile(path)
    handle = yammap.MappedArray(path, "f8", mode="r+")
    with handle.mapping.file_lock():
        handle[:200_000].sum()
        yammap.MappedArray.of(handle[5:]).flush()
        handle.mapping.rewrite()
        open(path).close()
        pickle.loads(pickle.dumps(handle))[0]
        yammap.open(path).close()
        assert not is_free(path)
        assert not is_free(path, exclusive=False)
    assert is_free(path)


def test_a_shared_lock_leaves_room_for_others_like_it(path):
    path.write_bytes(bytes(100))
    with yammap.open(path) as m, m.file_lock(exclusive=False):
        assert is_free(path, exclusive=False)
        assert not is_free(path)
        with (
            m.file_lock(False, timeout=0),
            yammap.open(path) as other,
            other.file_lock(exclusive=False, timeout=0),
        ):
            pass


def test_processes_and_threads_take_turns(tmp_path, child):
    """Each reads, adds one, and writes: none of it is lost."""
    with yammap.open(tmp_path / "counter", "w+", size=8):
        pass
    child(
        """
        import multiprocessing, threading, yammap

        def count():
            for _ in range(100):
                with m.file_lock(timeout=60):
                    counter[0] += 1

        def count_in_threads():
            threads = [threading.Thread(target=count) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()

        m = yammap.open("counter", "r+")
        counter = m.array("i8")
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=count_in_threads) for _ in range(2)]
        for process in processes: process.start()
        count()
        for process in processes: process.join()
        assert counter[0] == 700, counter[0]
        """
    )


def test_a_range_is_that_of_the_mapping(path):
    path.write_bytes(bytes(100))
    with yammap.open(path, "r+", offset=10) as m, m.file_lock(offset=20, length=5):
        assert is_free(path, 0, 30)
        assert not is_free(path, 34, 1)
        assert is_free(path, 35)
        with m.file_lock(offset=25, timeout=0):  # all behind it
            assert not is_free(path, 1 << 40, 1)


def test_time_that_is_over(path):
    path.write_bytes(bytes(10))
    with yammap.open(path, "r+") as m, m.file_lock():
        for timeout in (0, 0.01):
            over = pytest.raises(TimeoutError, match=f"after {timeout} s")
            with over as error, m.file_lock(timeout=timeout):
                raise AssertionError("entered")
            assert (error.value.errno, error.value.filename) == (errno.ETIMEDOUT, str(path))


def test_waiting_with_an_end_gets_it_when_it_is_free(path):
    path.write_bytes(bytes(10))
    held, leave = threading.Event(), threading.Event()

    def hold():
        with yammap.open(path, "r+") as m, m.file_lock():
            held.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    threading.Timer(0.05, leave.set).start()
    with yammap.open(path, "r+") as m, m.file_lock(timeout=60):
        assert leave.is_set()
    thread.join()


def when_somebody_waits(path, then):
    """Call `then` in another thread as soon as a lock of the file is waited for."""
    inode = f":{path.stat().st_ino} "

    def look():
        while True:
            with open("/proc/locks") as locks:
                if any("->" in line and inode in line for line in locks):
                    break
        then()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


def descriptors_of(path):
    with os.scandir("/proc/self/fd") as descriptors:
        return [os.readlink(each) for each in descriptors].count(str(path))


def test_a_signal_interrupts_waiting(path):
    path.write_bytes(bytes(10))

    class BySignalError(Exception):
        pass

    def interrupt(*_):
        raise BySignalError

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with yammap.open(path, "r+") as m, m.file_lock():
            thread = when_somebody_waits(path, lambda: os.kill(os.getpid(), signal.SIGUSR1))
            before_it = descriptors_of(path)
            with pytest.raises(BySignalError), m.file_lock():
                raise AssertionError("entered")
            thread.join()
            assert descriptors_of(path) == before_it
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_others_run_while_one_waits(path):
    path.write_bytes(bytes(10))
    with yammap.open(path, "r+") as m, contextlib.ExitStack() as held:
        held.enter_context(m.file_lock())
        thread = when_somebody_waits(path, held.close)
        with m.file_lock():
            pass
        thread.join()


def test_a_lock_by_fcntl_is_in_the_way(path):
    path.write_bytes(bytes(10))
    with yammap.open(path, "r+") as m, open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError), m.file_lock(timeout=0):
            pass


def test_a_block_inside_a_block_waits_for_itself_and_takes_nothing_away(path):
    path.write_bytes(bytes(10))
    with yammap.open(path, "r+") as m, m.file_lock():
        with pytest.raises(TimeoutError), m.file_lock(timeout=0):
            pass
        assert not is_free(path)


def test_an_error_inside_is_the_callers_and_gives_the_lock_back(path):
    path.write_bytes(bytes(10))
    with yammap.open(path, "r+") as m:
        with pytest.raises(OSError, match="own") as error, m.file_lock():
            raise OSError(errno.EIO, "own", "another file")
        assert error.value.filename == "another file"
        assert is_free(path)


def test_a_mapping_closed_inside_keeps_it(path):
    path.write_bytes(bytes(10))
    m = yammap.open(path, "r+")
    with m.file_lock():
        m.close()
        assert not is_free(path)
    assert is_free(path)


def test_a_forked_child_gives_nothing_back(path, child):
    path.write_bytes(bytes(10))
    child(
        f"""
        import os, yammap
        m = yammap.open({str(path)!r}, "r+")
        try:
            with m.file_lock():
                pid = os.fork()
                if pid == 0:
                    raise KeyError
                assert os.waitpid(pid, 0)[1] == 0
                other = yammap.open({str(path)!r}, "r+")
                try:
                    with other.file_lock(timeout=0):
                        raise AssertionError("the child gave it back")
                except TimeoutError:
                    pass
        except KeyError:
            os._exit(0)
        with other.file_lock(timeout=0):
            pass
        """
    )


def test_it_keeps_off_what_holds_an_appender(path):
    """Locks of all that a file will ever have end before the bytes of that one."""
    with yammap.open(path, "w+", ahead=1 << 16) as m, m.file_lock(timeout=0):
        m.append(b"one")
        reader = yammap.open(path)
        with reader, pytest.raises(TimeoutError), reader.file_lock(False, timeout=0):
            pass
    with yammap.open(path, "r+") as m, m.file_lock():
        with yammap.open(path, "r+", ahead=1 << 16) as appender:
            appender.append(b"two")
        with open(path, "r+b") as file:
            beyond = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, FIRST_BEYOND, 0, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, beyond)
    assert path.read_bytes() == b"onetwo"


@pytest.mark.parametrize(
    "options",
    [
        {"offset": -1},
        {"length": 0},
        {"length": -1},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"offset": 1 << 63},
        {"offset": FIRST_BEYOND},
    ],
)
def test_bad_ranges_and_times(path, options):
    path.write_bytes(bytes(10))
    with yammap.open(path, "r+") as m:
        with pytest.raises(ValueError, match=r"or more|beyond"), m.file_lock(**options):
            pass
        with pytest.raises(TypeError), m.file_lock(length=1.5):
            pass
        with m.file_lock(False, 0, 1 << 70), m.file_lock(False, 1 << 62, 1, 10**400):
            pass


def test_what_a_descriptor_does_not_allow(path):
    path.write_bytes(bytes(10))
    for mode in ("r", "c"):
        with yammap.open(path, mode) as m:
            with (
                pytest.raises(io.UnsupportedOperation, match="exclusive=False"),
                m.file_lock(),
            ):
                pass
            with m.file_lock(exclusive=False):
                pass
    m = yammap.open(path, "r+", keep_fd=False)
    with pytest.raises(ValueError, match="descriptor"), m.file_lock():
        pass
    m.close()
    with pytest.raises(ValueError, match="closed"), m.file_lock():
        pass
    with yammap.open(path, "a+") as m, m.file_lock():
        assert not is_free(path)


def test_memory_without_a_file_has_locks_as_well():
    m = yammap.anonymous(10)
    with m, m.file_lock(), pytest.raises(TimeoutError), m.file_lock(timeout=0):
        pass


def test_handles_made_under_the_lock_append_in_turns(tmp_path, child):
    """A handle that others have overtaken is refused; one made in its turn is not."""
    yammap.open_array(tmp_path / "log.npy", "i8", "w+", shape=0)
    child(
        """
        import multiprocessing, yammap

        def append():
            with yammap.open("log.npy", "r+") as m:
                for _ in range(50):
                    with m.file_lock(timeout=60):
                        yammap.MappedArray("log.npy", mode="r+").append([1])

        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=append) for _ in range(2)]
        for process in processes: process.start()
        append()
        for process in processes: process.join()
        assert yammap.open_array("log.npy").sum() == 150
        """
    )
