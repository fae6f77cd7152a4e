"""One mapping, many threads: positions, growth and closing are serialised."""

import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")
MIB = 1 << 20


pytestmark = pytest.mark.usefixtures("eager_switching")


def together(*functions, done=None):
    """Run each function in a thread of its own, all started at once; raise what fails.

    Others may run until one of them has set the event `done`, which a failure does, too.
    """
    barrier = threading.Barrier(len(functions))
    failures = []

    def run(function):
        barrier.wait()
        try:
            function()
        except BaseException as failure:
            failures.append(failure)
            if done is not None:
                done.set()

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_reads_take_turns_at_the_position(path, eager_switching):
    records = [i.to_bytes(4, "big") for i in range(5_000)]
    path.write_bytes(b"".join(records))
    seen = []
    with yammap.open(path) as m:

        def read():
            while record := m.read(4):
                seen.append(record)

        together(read, read, read, read)
    assert sorted(seen) == records


@pytest.mark.parametrize("mode", ["w+", "a+"])
@pytest.mark.parametrize("method", ["write", "append"])
def test_writes_at_the_end_are_all_there(path, mode, method):
    with yammap.open(path, mode) as m:

        def write(name):
            for i in range(2000):
                getattr(m, method)(b"%c%07d" % (name, i))

        together(*(lambda name=name: write(name) for name in b"abcd"))
        data = m.pread(m.size(), 0)
    records = sorted(data[i : i + 8] for i in range(0, len(data), 8))
    assert records == [b"%c%07d" % (name, i) for name in b"abcd" for i in range(2000)]


def test_processes_append_to_one_log(child):
    child("""
        import os, yammap
        children = []
        for name in b"abcd":
            pid = os.fork()
            if pid == 0:
                with yammap.open("log", "a+") as m:
                    for i in range(2000):
                        m.append(b"%c%07d" % (name, i))
                os._exit(0)
            children.append(pid)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        data = open("log", "rb").read()
        records = sorted(data[i:i + 8] for i in range(0, len(data), 8))
        assert records == [b"%c%07d" % (n, i) for n in b"abcd" for i in range(2000)]
    """)


def test_growth_under_readers_and_views(path):
    with yammap.open(path, "w+", size=PAGE, reserve=0) as m:
        m.write_at(b"head", 0)
        done = threading.Event()

        def grow():
            for i in range(2, 600):
                m.resize(i * PAGE)
                m.write_at(b"%08d" % i, (i - 1) * PAGE)
            done.set()

        def read():
            while not done.is_set():
                assert m.pread(4, 0) == b"head"
                last = m.size() // PAGE - 1
                expected = {bytes(8), b"%08d" % (last + 1), b"head" + bytes(4)}
                assert m.pread(8, last * PAGE) in expected
                assert bytes(m.view(0, 4)) == b"head"

        together(grow, read, read, done=done)


def test_31_close_during_copies(path):
    size = 8 << 20
    for _ in range(30):
        m = yammap.create(path, size, exist_ok=True)
        m.write_at(b"x" * size, 0)

        def read(m=m):
            buffer = bytearray(size)
            with pytest.raises(ValueError, match="is closed"):
                while True:
                    assert m.read_at(buffer, 0) == size
                    assert buffer.count(b"x") == size

        started = threading.Event()

        def close(m=m, started=started):
            started.wait()
            m.close()

        together(read, read, close, started.set)


def test_a_truncation_of_ours_overtakes_copies(path):
    """A read sees the bytes as they were or the new end, and never zeros between."""
    size = 256 * PAGE
    full = b"x" * size
    with yammap.open(path, "w+") as m:
        m.write(full)
        done = threading.Event()

        def cut():
            for _ in range(300):
                m.resize(PAGE + 100)
                m.write_at(full, 0)
            done.set()

        def read():
            while not done.is_set():
                for data in (m.pread(size, 0), m[:]):
                    assert data.count(b"x") == len(data)

        together(cut, read, read, done=done)


def test_a_truncation_of_ours_overtakes_slices_with_a_step(path):
    """Of the last page, which is read last, the part behind the new end becomes zeros."""
    size = 256 * PAGE
    with yammap.open(path, "w+") as m:
        m.write(b"x" * size)
        done = threading.Event()

        def cut():
            for _ in range(300):
                m.resize(size - PAGE + 100)
                m.write_at(b"x" * PAGE, size - PAGE)
            done.set()

        def read():
            while not done.is_set():
                data = m[::2]
                assert data.count(b"x") == len(data)

        together(cut, read, done=done)


def test_find_during_truncation(path):
    with yammap.open(path, "w+") as m:
        m.write(bytes(64 * PAGE))
        done = threading.Event()

        def cut():
            for _ in range(500):
                m.resize(PAGE)
                m.resize(64 * PAGE)
            done.set()

        def find():
            while not done.is_set():
                assert m.find(b"absent") == m.rfind(b"absent") == -1

        together(cut, find, done=done)


def test_a_write_overtaken_by_a_truncation_leaves_no_trace(path):
    size, cut = 2 * PAGE, PAGE + 100
    with yammap.open(path, "w+") as m:
        for _ in range(3000):
            m.resize(0)
            m.resize(size)
            together(lambda: m.write_at(b"\xff" * size, 0), lambda: m.resize(cut))
            if m.size() == cut:
                m.resize(size)
                assert m.pread(size, cut) == bytes(size - cut)
            else:
                assert m.pread(size, 0) == b"\xff" * size


def test_a_truncation_overtakes_assignments_and_moves(path):
    """Each is done, or refused for a mapping that is too small by now."""
    size = 64 * PAGE
    with yammap.open(path, "w+") as m:
        m.resize(size)
        done = threading.Event()

        def cut():
            for _ in range(500):
                m.resize(PAGE)
                m.resize(size)
            done.set()

        def assign():
            calls = [
                lambda: m.__setitem__(slice(None), bytes(size)),
                lambda: m.__setitem__(slice(None, None, 2), bytes(size // 2)),
                lambda: m.__setitem__(size - 1, 0),
                lambda: m.move(0, size // 2, size // 2),
            ]
            while not done.is_set():
                for call in calls:
                    with contextlib.suppress(IndexError, ValueError):
                        call()

        together(cut, assign, done=done)
        assert m[:] == bytes(size)
        assert path.stat().st_size == size


CALLS = {
    "read_at": lambda m, buffer: m.read_at(buffer, 0),
    "pread": lambda m, buffer: m.pread(len(buffer), 0),
    "write_at": lambda m, buffer: m.write_at(buffer, 0),
    "append": lambda m, buffer: m.append(buffer),
    "find": lambda m, _: m.find(b"absent"),
    "rfind": lambda m, _: m.rfind(b"absent"),
    "slice": lambda m, _: m[:],
    "slice with a step": lambda m, _: m[::2],
    "assign": lambda m, buffer: m.__setitem__(slice(0, len(buffer)), buffer),
    "assign with a step": lambda m, buffer: m.__setitem__(
        slice(0, len(buffer), 2), buffer[::2]
    ),
    "move": lambda m, buffer: m.move(0, 1, len(buffer) - 1),
    "sync": lambda m, _: m.sync(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_another_thread_runs_meanwhile(path, call):
    """Only a call that gives the GIL up lets the other thread in: nothing else does."""
    sys.setswitchinterval(1000)
    buffer = bytearray(32 << 20)
    start, ran = threading.Event(), []
    other = threading.Thread(target=lambda: (start.wait(), ran.append(True)), daemon=True)
    other.start()
    with yammap.create(path, len(buffer)) as m:
        m.write_at(buffer, 0)
        start.set()
        assert not ran
        for _ in range(50):
            call(m, buffer)
            if ran:
                break
        alone = not ran  # closing gives the GIL up, too
    other.join()
    assert not alone


@pytest.mark.no_sanitizer  # which makes every frame larger
@pytest.mark.parametrize("size", [32, 64])
def test_small_stacks(path, child, size):
    """No function of ours keeps a large buffer on the stack."""
    try:
        threading.stack_size(threading.stack_size(size * 1024))
    except ValueError:
        pytest.skip("this Python gives a thread more")
    path.write_bytes(bytes(range(256)) * 4096)
    child(f"""
        import threading, numpy as np, yammap

        def work():
            with yammap.open({str(path)!r}, "c") as m:
                m[:200] = bytes(200)
                m.discard(5, 100)
                m.move(100_000, 0, 90_000)
                m.gather(np.arange(0, 900_000, 5000), 1000)
                m.gather_ragged([1, 70_000], [70_000, 3])
                m.find(b"absent"), m[::-1]
            with yammap.open("other", "w+", ahead=1 << 20) as m:
                for i in range(1000):
                    m.append(bytes(100))
                m.resize(1 << 20)
                m.punch_hole(5, 100_000)
                m.scatter([0, 500_000], np.ones((2, 1000), np.uint8))
                m.sync()
                sum(len(chunk) for chunk in m.stream(10_000))
            done.append(True)

        done = []
        threading.stack_size({size} * 1024)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert done
        """)


def test_advice_for_all_of_a_mapping_that_another_thread_cuts(path, eager_switching):
    """The reserve is advised, too, which a truncation gives back under a live view."""
    rounds = 300
    with yammap.open(path, "w+", size=MIB, reserve=8 * MIB) as m:
        stop = threading.Event()

        def advise():
            while not stop.is_set():
                m.madvise(yammap.MADV_RANDOM)
                m.madvise(yammap.MADV_NORMAL)

        thread = ThreadPoolExecutor(1)
        with thread:
            advising = thread.submit(advise)
            for i in range(rounds):
                np.ndarray((1,), np.uint8, buffer=m)  # an unseen holder: a new region
                m.resize(MIB - 4096 * (i % 7))
            stop.set()
            advising.result()


def test_faults_and_sync_while_another_thread_closes(path, eager_switching):
    path.write_bytes(bytes(100))

    def use(m):
        with contextlib.suppress(ValueError):
            while True:
                assert m.faults() == []
                m.sync()

    with ThreadPoolExecutor(2) as pool:
        for _ in range(300):
            m = yammap.open(path, "r+")
            using = pool.submit(use, m)
            closing = pool.submit(m.close)
            closing.result(), using.result()
            assert m.faults() == []


def test_close_against_everything():
    """A crash, or an exception that says nothing of the mapping, ends the program."""
    program = Path(__file__).parents[1] / "programs/close_races.py"
    done = subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", program, "--rounds", "300"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Mmap")
