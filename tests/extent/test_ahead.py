"""A file that runs ahead of its data: its marker, its lock, and what a crash leaves."""

import errno
import os
import random
import signal
import subprocess
import sys
import threading

import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")
AHEAD = 1 << 20

pytestmark = pytest.mark.usefixtures("can_run_ahead")
MARKER = "user.yammap.ahead"


def file_size(path):
    return os.stat(path).st_size


def is_marked(path):
    return MARKER in os.listxattr(path)


def left_ahead(path, data):
    """Leave a file as a process does that is killed after it has appended `data`."""
    pid = os.fork()
    if pid == 0:
        try:
            m = yammap.open(path, "r+" if path.exists() else "x+", ahead=AHEAD)
            m.append(data)
        finally:  # also when that fails, or it would go on as a second pytest
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def m(path):
    with yammap.open(path, "w+", ahead=AHEAD) as m:
        yield m


# -- The size


def test_the_size_runs_ahead_and_comes_back(path):
    with yammap.open(path, "w+", size=100, ahead=AHEAD) as m:
        view = m.view()
        assert file_size(path) == 100
        assert m.append(b"record") == 100
        assert (m.size(), len(m.view())) == (106, 106)
        assert file_size(path) > AHEAD
        m.sync()
        assert file_size(path) == 106
        assert not is_marked(path)
        assert m.append(b"more") == 106
        assert file_size(path) > AHEAD
        assert bytes(view) == bytes(100)
    assert path.read_bytes() == bytes(100) + b"recordmore"
    assert not is_marked(path)


# -- Others


def test_readers_follow_the_data(m, path):
    with yammap.open(path) as reader:
        for i in range(2000):
            m.append(b"%08d" % i * 32)
            assert reader.refresh() == m.size()
        assert reader.pread(m.size(), 0) == m.pread(m.size(), 0)
        with yammap.open(path) as late:
            assert late.size() == m.size()
        m.sync()
        assert reader.refresh() == m.size()


def test_one_at_a_time(m, path):
    with pytest.raises(OSError, match="only one can") as caught:
        yammap.open(path, "r+", ahead=AHEAD)
    assert caught.value.errno == errno.EBUSY
    assert "or open all of them with mode 'a+'" in str(caught.value)
    with yammap.open(path, "r+"):
        pass
    m.append(b"x")
    for mode in "r+", "a+":
        with pytest.raises(OSError, match="only one can"):
            yammap.open(path, mode)
    with yammap.open(path, "r+", length=1) as window:
        window.write_at(b"y", 0)
    m.close()
    with yammap.open(path, "r+", ahead=AHEAD) as other:
        assert other.append(b"z") == 1
    assert path.read_bytes() == b"yz"


def test_making_the_file_anew_is_refused_before_it_is_cut(m, path):
    m.append(b"record")
    for opening in (
        lambda: yammap.open(path, "w+"),
        lambda: yammap.open_file(path, os.O_RDWR | os.O_TRUNC),
    ):
        with pytest.raises(OSError, match="only one can"):
            opening()
    assert m.pread(6, 0) == b"record"
    m.close()
    assert path.read_bytes() == b"record"
    yammap.open(path, "w+").close()
    assert path.read_bytes() == b""


def test_who_reopens_at_the_same_time_waits_for_the_one_that_trims(path):
    """A crash leaves a file ahead, and its readers and writers all come back at once."""
    openers = 6
    for _ in range(20):
        path.unlink(missing_ok=True)
        left_ahead(path, b"record")
        barrier = threading.Barrier(openers)
        failures = []

        def reopen(barrier=barrier, failures=failures):
            barrier.wait()
            try:
                yammap.open(path, "a+").close()
            except OSError as error:
                failures.append(error)

        threads = [threading.Thread(target=reopen) for _ in range(openers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert path.read_bytes() == b"record"


def test_other_threads_run_while_one_waits_for_the_one_that_trims(child):
    child(f"""
        import fcntl, os, signal, struct, threading, yammap
        signal.alarm(20)
        open("log", "wb").close()
        fd = os.open("log", os.O_RDWR)

        def lock(kind):     # as _extent/ahead.c does, of two bytes
            flock = struct.pack("hhqqi4x", kind, os.SEEK_SET, 2**63 - 3, 2, 0)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, flock)

        lock(fcntl.F_WRLCK)
        done = threading.Event()
        opener = threading.Thread(
            target=lambda: (yammap.open("log", "r+", ahead={AHEAD}).close(), done.set()))
        before = len(os.listdir("/proc/self/fd"))
        opener.start()
        while len(os.listdir("/proc/self/fd")) < before + 2:     # its file, and its lock
            pass
        assert not done.is_set()
        lock(fcntl.F_UNLCK)
        opener.join()
        assert done.is_set()
    """)


def test_what_others_have_written_behind_is_kept(m, path):
    m.append(b"ours")
    size = file_size(path)
    with open(path, "ab") as file:
        file.write(b"theirs")
    m.sync()
    assert path.read_bytes() == b"ours" + bytes(size - 4) + b"theirs"
    assert m.refresh() == size + 6
    assert m.append(b"more") == size + 6
    m.close()
    assert path.read_bytes() == b"ours" + bytes(size - 4) + b"theirsmore"


def test_what_others_have_written_unseen_is_kept(m, path):
    with open(path, "ab") as file:
        file.write(b"theirs")
        file.flush()
        assert m.append(b"our") == 0  # over it, as without ahead
        assert path.read_bytes() == b"ourirs"
        m.refresh()
        m.append(b"!")
        size = file_size(path)
        theirs = b"x" * (3 * AHEAD)
        file.write(theirs)
        file.flush()
        m.append(b"y" * AHEAD)
        m.append(b"z" * 8)
    m.sync()
    data = path.read_bytes()
    assert data[:7] == b"ourirs!"
    assert data[7 + AHEAD :][:8] == b"z" * 8
    assert data[size + PAGE :] == theirs[PAGE:]


def test_a_forked_child_leaves_the_file_alone(child):
    child(f"""
        import os, signal, yammap
        m = yammap.open("log", "w+", ahead={AHEAD})
        m.append(b"parent")
        size = os.stat("log").st_size
        ends, go = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            try:
                m.append(b"child")
                os._exit(1)
            except ValueError as error:
                assert "forked" in str(error)
            os.read(ends, 1)
            assert m.refresh() == 12
            m.close()
            assert os.stat("log").st_size == size
            os._exit(0)
        m.append(b"parent")
        os.close(go)
        assert os.waitpid(pid, 0)[1] == 0
        m.append(b"!")
        m.close()
        assert open("log", "rb").read() == b"parentparent!"
    """)


def test_a_forked_child_does_not_keep_the_lock(child):
    child(f"""
        import os, signal, yammap
        gone, waits = os.pipe()
        middle = os.fork()
        if middle == 0:
            m = yammap.open("log", "w+", ahead={AHEAD})
            m.append(b"data")
            if os.fork() == 0:
                os.write(waits, b"%d" % os.getpid())
                os.close(1), os.close(2)        # the test waits for their end
                signal.pause()
            name = os.read(gone, 9)
            os.write(waits, name)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(middle, 0)
        with yammap.open("log", "r+", ahead={AHEAD}) as m:
            assert m.append(b"more") == 4
        os.kill(int(os.read(gone, 9)), signal.SIGTERM)
    """)


# -- After a crash


def test_the_next_opening_for_writing_trims(path):
    left_ahead(path, b"kept" + bytes(100))
    assert file_size(path) > AHEAD
    with yammap.open(path) as m:
        assert m.read() == b"kept" + bytes(100)
    assert file_size(path) > AHEAD
    with yammap.open(path, "r+"):
        assert file_size(path) == 104
    assert not is_marked(path)
    left_ahead(path, b"more")
    with yammap.open(path, "a+") as m:
        assert m.append(b"!") == 108


APPENDER = """
import sys, yammap
m = yammap.open("log", "r+", ahead=int(sys.argv[1]))
view = m.view()
i = m.size() // 64
while True:
    assert m.append(b"%064d" % i) == 64 * i
    i += 1
    sys.stdout.buffer.write(b"%d\\n" % i)
    sys.stdout.buffer.flush()
    if i % 1000 == 0:
        m.sync()
"""


@pytest.mark.parametrize("ahead", [PAGE, AHEAD])
def test_killed_at_any_moment(tmp_path, ahead):
    path = tmp_path / "log"
    path.touch()
    draw = random.Random(0)
    acknowledged = 0
    for _ in range(10):
        command = [sys.executable, "-P", "-c", APPENDER, str(ahead)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
            for _ in range(draw.randrange(1, 3000)):
                acknowledged = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split(b"\n")[:-1]
            acknowledged = int(rest[-1]) if rest else acknowledged
        with yammap.open(path, "r+") as m:
            count = m.size() // 64
            assert file_size(path) == m.size() == 64 * count
            assert acknowledged <= count <= acknowledged + 1
            assert m.read() == b"".join(b"%064d" % i for i in range(count))


def test_a_power_cut_that_lost_the_trailer(path):
    path.write_bytes(b"synced" + bytes(10))
    left_ahead(path, b"more")
    size = file_size(path)
    with open(path, "r+b") as file:
        file.seek(size - 24)
        file.write(bytes(24))
    with yammap.open(path, "r+") as m:
        assert m.read() == b"synced" + bytes(10) + b"more"
    assert file_size(path) == 20
    left_ahead(path, bytes(4))
    with open(path, "r+b") as file:
        file.seek(file_size(path) - 24)
        file.write(bytes(24))
    with yammap.open(path, "r+") as m:
        assert m.size() == 20  # zeros, not synced: they may be the reserve's


@pytest.mark.parametrize("ahead", [0, AHEAD])
def test_what_cannot_be_trimmed_is_not_opened(child, path, ahead):
    left_ahead(path, b"data")
    child(f"""
        import os, resource, yammap
        yammap.anonymous(1).close()     # the first one has descriptors made for all
        fd = os.open("{path}", os.O_RDWR)
        least = os.dup(fd) + 1          # the mapping's, and no more
        os.close(least - 1)
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, least))
        try:
            yammap.open(fd, "r+", ahead={ahead}).append(b"cut off by the next one")
            raise AssertionError
        except OSError as error:
            assert error.errno == {errno.EMFILE}, error
    """)
    with yammap.open(path, "r+") as m:
        assert m.read() == b"data"


def test_what_merely_looks_like_it_is_not_cut(path, tmp_path):
    left_ahead(path, b"data")
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    with yammap.open(copy, "r+", ahead=AHEAD) as m:
        assert m.size() == file_size(path)
    assert copy.read_bytes() == path.read_bytes()
    os.setxattr(copy, MARKER, bytes(16) + os.getxattr(path, MARKER)[16:])
    with yammap.open(copy, "r+") as m:
        assert m.size() == file_size(path)
    with open(path, "ab") as file:
        file.write(b"behind")
    size = file_size(path)
    with yammap.open(path, "r+") as m:
        assert m.size() == size
    assert not is_marked(path)


def test_collected_without_closing(path):
    m = yammap.open(path, "w+", ahead=AHEAD)
    m.append(b"data")
    del m
    assert path.read_bytes() == b"data"
    assert not is_marked(path)


# -- Where it cannot be


def test_a_file_that_appears_whole(path):
    with yammap.atomic_create(path, 4, ahead=AHEAD) as m:
        m.append(b"more")
    assert path.read_bytes() == b"\0\0\0\0more"
