"""Values before offsets: what a kill or a full disk leaves, and who may append at once."""

import signal
import subprocess
import sys
import textwrap
import threading
from unittest import mock

import numpy as np
import pytest

import yammap
from yammap._file import range_lock


@pytest.fixture
def pair(tmp_path):
    return tmp_path / "values", tmp_path / "offsets"


def texts(records):
    return [record.tobytes() for record in records]


KILLED = """
    import os, signal, sys
    import yammap

    writer = yammap.open_ragged("values", "offsets", mode="w+")
    writer.append(b"first")
    expected, kept = [b"first"], set()

    def kill_at(step, act):
        '''Call `act` in a child, which is killed at a line of ours; tell whether it was.'''
        child = os.fork()
        if not child:
            left = step

            def trace(frame, event, arg):
                nonlocal left
                if "ragged" not in frame.f_code.co_filename:
                    return None
                left -= event == "line"
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace

            sys.settrace(trace)
            act()
            os._exit(0)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    step = 1
    while kill_at(step, lambda: writer.extend([b"killed", b"", b"while writing"])):
        found = [r.tobytes() for r in yammap.open_ragged("values", "offsets")]
        new = found[len(expected):]
        assert found[:len(expected)] == expected, (step, found)
        assert new in ([], [b"killed", b"", b"while writing"]), (step, new)
        kept.add(bool(new))
        expected = [*found, b"next %d" % step]
        assert writer.append(expected[-1]) == len(found)
        step += 1
    assert step > 30, step
    assert kept == {False, True}
    found = [r.tobytes() for r in yammap.open_ragged("values", "offsets")]
    assert found[:len(expected)] == expected
"""


def test_a_writer_that_is_killed_at_any_line_leaves_complete_records(child):
    child(KILLED)


@pytest.mark.parametrize(
    ("values", "ends"), [(0, 0), (9, 0), (25, 0), (25, 7), (25, 8), (25, 12), (25, 16)]
)
def test_a_write_that_is_cut_in_two_leaves_complete_records(pair, values, ends):
    yammap.open_ragged(*pair, mode="w+").append(b"first")
    records = [b"second record", b"third record"]
    with open(pair[0], "ab") as file:
        file.write(b"".join(records)[:values])
    with open(pair[1], "ab") as file:
        file.write(np.array([18, 30], "<i8").tobytes()[:ends])
    expected = [b"first", *records[: ends // 8]]
    assert texts(yammap.open_ragged(*pair)) == expected
    writer = yammap.open_ragged(*pair, mode="r+")
    writer.append(b"next")
    assert texts(yammap.open_ragged(*pair)) == [*expected, b"next"]


WRITER = """
    import itertools, sys
    import yammap

    writer = yammap.open_ragged("values", "offsets", "<u4", "a+")
    for n in itertools.count(len(writer)):
        writer.extend([[n] * (n % 1000), [n]]) if n % 3 else writer.append([n] * (n % 500))
"""


def test_a_writer_that_is_killed_at_any_time_leaves_complete_records(pair):
    reader = yammap.open_ragged(*pair, "<u4", "a+")
    generator = np.random.default_rng(5)
    for _ in range(3):
        command = [sys.executable, "-P", "-c", textwrap.dedent(WRITER)]
        with subprocess.Popen(command, cwd=pair[0].parent) as writer:
            enough = len(reader) + int(generator.integers(1, 200))
            while reader.refresh() < enough:
                assert writer.poll() is None
            writer.send_signal(signal.SIGKILL)
        for record in yammap.open_ragged(*pair, "<u4")[-500:]:
            assert (record == record[:1]).all()
        before = reader.refresh()
        reader.append([before] * 7)
        assert reader[-1].tolist() == [before] * 7


def test_many_threads_and_processes_append(child, pair):
    child(
        """
        import os, threading
        import yammap

        shared = yammap.open_ragged("values", "offsets", "<u2", "w+")
        children = []
        for _ in range(2):  # so there are four processes
            child = os.fork()
            children = [*children, child] if child else []
        records = yammap.open_ragged("values", "offsets", "<u2", "r+")

        def work(one):
            for i in range(20):
                one.append([i] * (i + os.getpid() % 7))
                one.extend([[i], [i, i]])

        threads = [threading.Thread(target=work, args=[one]) for one in (shared, records)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        assert 120 <= shared.refresh() <= records.refresh()
        """
    )
    records = yammap.open_ragged(*pair, "<u2")
    assert len(records) == 4 * 2 * 60
    assert all((record == record[:1]).all() for record in records)
    assert int(records.values.sum()) == int(sum(record.sum() for record in records))
    assert len(records.values) == pair[0].stat().st_size // 2


def test_append_waits_for_whoever_has_the_lock(pair):
    writer = yammap.open_ragged(*pair, mode="w+")
    appended, asked, real = [], threading.Event(), range_lock._set_lock

    def set_lock(fd, command, kind, span):
        asked.set()
        real(fd, command, kind, span)

    thread = threading.Thread(target=lambda: appended.append(writer.append(b"later")))
    with yammap.open(pair[1], "r+") as m, m.file_lock():
        with mock.patch.object(range_lock, "_set_lock", set_lock):
            thread.start()
            while not asked.is_set():
                assert thread.is_alive(), "it did not ask for the lock"
        assert (len(yammap.open_ragged(*pair)), appended) == (0, [])
    thread.join()
    assert appended == [0]


@pytest.mark.parametrize(
    ("most", "full"), [(5, "values"), (9, "values"), (16, "offsets"), (28, "offsets")]
)
def test_a_full_disk_leaves_the_records_as_they_were(child, pair, most, full):
    # A limit of the size of files stands for it, since it cuts a write at a known byte.
    child(
        f"""
        import errno, os, resource
        import yammap

        writer = yammap.open_ragged("values", "offsets", mode="w+")
        writer.append(b"first")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, limits[1]))
        try:
            writer.extend([b"second", b"third"])
        except OSError as error:
            assert error.errno == errno.EFBIG, error
            assert os.path.basename(error.filename) == {full!r}, error
        else:
            raise AssertionError("the files became longer than they may")
        assert len(writer) == len(yammap.open_ragged("values", "offsets")) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert writer.append(b"last") == 1
        """
    )
    assert texts(yammap.open_ragged(*pair)) == [b"first", b"last"]


@pytest.mark.parametrize("tail", [[0, 0], [99], [11, 99, 99], [0]])
def test_offsets_without_values_after_a_crash_of_the_system_do_not_count(pair, tail):
    pair[0].write_bytes(b"onetwo")
    np.array([0, 3, 6, *tail]).tofile(pair[1])
    writer = yammap.open_ragged(*pair, mode="r+")
    assert texts(writer) == [b"one", b"two"]
    writer.append(b"3")
    assert texts(yammap.open_ragged(*pair)) == [b"one", b"two", b"3"]
    writer.append(bytes(200))
    assert texts(yammap.open_ragged(*pair)) == [b"one", b"two", b"3", bytes(200)]


def test_empty_records_are_no_crash(pair):
    writer = yammap.open_ragged(*pair, mode="w+")
    writer.extend([b"", b"", b""])
    assert len(yammap.open_ragged(*pair)) == 3
    writer.append(b"x")
    assert yammap.open_ragged(*pair).lengths.tolist() == [0, 0, 0, 1]
