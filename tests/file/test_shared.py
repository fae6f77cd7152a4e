"""Memory that processes share by name: who uses it, how long it lives, what is refused."""

import copy
import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import segment_kills
import segment_tasks

import yammap
from yammap._file import segments
from yammap._file import shared as shared_memory

METHODS = ["fork", "spawn", "forkserver"]
IS_ROOT = os.geteuid() == 0


@pytest.fixture
def directory():
    """A directory of this test's own, in memory."""
    made = tempfile.mkdtemp(dir="/dev/shm")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def shared(directory):
    return partial(yammap.shared, directory=directory)


@pytest.fixture
def left(directory):
    return lambda: sorted(os.listdir(directory))


@pytest.fixture
def worker(directory):
    """Run Python source in a process, which says what it has done, and waits to go on."""
    started = []

    def start(source):
        head = f"import os, sys, yammap, numpy as np; directory = {directory!r}\n"
        head += "def tell(*what):\n    print(*what, flush=True); input()\n"
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-c", head + textwrap.dedent(source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def end(process, kind=None):
    process.send_signal(kind) if kind else go_on(process)
    process.wait()


USER = """
m = yammap.shared("x", directory=directory)
a = m.array("i8")
a[1] = 7
tell(a[0])
"""


# -- By name


def test_what_one_writes_the_other_sees(shared):
    with shared("x", 16, create=True) as m, shared("x") as same:
        m.array("i8")[1] = 5
        assert same.array("i8").tolist() == [0, 5]
        assert (same.name, same.size(), same.mode) == ("x", 16, "rb+")


def test_it_is_removed_with_its_last_user(shared, left):
    m, same = shared("x", 16, create=True), shared("x")
    m.close()
    m.close()
    assert left() == ["yammap-x"]
    same.close()
    assert left() == []
    with pytest.raises(FileNotFoundError, match="no segment of this name"):
        shared("x")


def test_forgetting_is_as_good_as_closing(shared, left):
    m = shared("x", 16, create=True)
    del m
    assert left() == []


def test_arrays_and_views_use_it(shared, left):
    m = shared("x", 16, create=True)
    a, view, buffer = m.array("i8"), memoryview(m), np.frombuffer(m, "u1")
    m.close()
    for user in ("a", "view", "buffer"):
        assert left() == ["yammap-x"], user
        with shared("x") as same:
            same.array("i8")[0] += 1
        assert a is None or a[0] > 0
        a, view, buffer = (
            None if user == name else held
            for name, held in {"a": a, "view": view, "buffer": buffer}.items()
        )
    del m  # which a buffer of the whole mapping keeps
    assert left() == []


def test_handles_use_it(shared, left):
    handle = yammap.MappedArray.of(shared("x", 64, create=True).array("i8")[2:])
    assert left() == ["yammap-x"]
    part = yammap.MappedArray.of(handle[1:])
    part[0] = 4
    assert handle[1] == 4
    del handle
    assert left() == ["yammap-x"]
    copies = copy.copy(part), copy.deepcopy(part)
    assert left() == ["yammap-x"]
    del part
    assert copies[1][0] == 4
    del copies
    assert left() == []


def test_a_mapping_of_a_handle_does_not_keep_it(shared, left):
    handle = yammap.MappedArray(shared("x", 64, create=True), "i8", mode="r+")
    handle[...] = 1
    handle.mapping.close()
    del handle
    assert left() == []


def test_modes(shared):
    m = shared("x", 8, create=True)
    reader, writer = shared("x", mode="r"), shared("x", mode="c")
    m[1] = 2
    writer[0] = 1
    assert reader.readonly
    assert (reader[:2], writer[:2], m[:2]) == (b"\0\2", b"\1\2", b"\0\2")
    assert pickle.loads(pickle.dumps(reader)).readonly
    assert pickle.loads(pickle.dumps(writer)).private


def test_a_name_of_its_own(shared):
    m, other = shared(size=8, create=True), shared(size=8, create=True)
    assert m.name != other.name
    m[0] = 9
    assert shared(m.name)[0] == 9


def test_names_for_people(shared, left):
    for name in ("tokens", "größe", ".hidden", "a b-c", "x" * 200):
        with shared(name, 8, create=True) as m:
            assert pickle.loads(pickle.dumps(m)).name == m.name == name
            assert left() == [f"yammap-{name}"] == [os.path.basename(m.path)]
    with pytest.raises(AttributeError):
        m.name = "other"


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"name": "/x"}, ValueError, "no path: write 'tokens'"),
        ({"name": "../x"}, ValueError, "no path"),
        ({"name": ""}, ValueError, "no path"),
        ({"name": "a\0b"}, ValueError, "none is 0"),
        ({"name": "x" * 201}, ValueError, "at most 200 bytes"),
        ({"name": "ö" * 101}, ValueError, "at most 200 bytes"),
        ({"name": b"x"}, TypeError, "must be a str"),
        ({"name": None, "create": False, "size": None}, ValueError, "pass one, or create"),
        ({"create": False}, ValueError, "pass create=True as well"),
        ({"size": None}, ValueError, "1 byte or more, not None"),
        ({"size": 0}, ValueError, "1 byte or more, not 0"),
        ({"size": -1}, ValueError, "between 0 and"),
        ({"size": "1"}, TypeError, "size must be an int"),
        ({"mode": "r"}, ValueError, "leave out mode='r'"),
        ({"mode": "w+"}, ValueError, "'r', 'r\\+' or 'c', not 'w\\+'"),
        ({"perm": 0o400}, ValueError, "0o600, not 0o400"),
        ({"ahead": 1}, TypeError, "ahead"),
        ({"keep_fd": False}, TypeError, "keep_fd"),
    ],
)
def test_bad_arguments(shared, left, arguments, kind, reason):
    with pytest.raises(kind, match=reason):
        shared(**{"name": "x", "size": 8, "create": True, **arguments})
    assert left() == []


def test_a_name_in_use(shared):
    with shared("x", 8, create=True) as m:
        with pytest.raises(FileExistsError, match="leave out create=True") as raised:
            shared("x", 8, create=True)
        assert raised.value.filename == m.path


def test_a_directory_that_is_not_there(directory):
    with pytest.raises(FileNotFoundError):
        yammap.shared("x", 8, create=True, directory=f"{directory}/none")


def test_a_directory_on_a_disk(tmp_path):
    with yammap.shared("x", 8, create=True, directory=tmp_path) as m:
        assert m.path == f"{tmp_path}/yammap-x"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("perm", "mode"), [(None, 0o600), (0o666, 0o644), (0o660, 0o640)])
def test_only_its_owner_may_use_it(shared, perm, mode):
    before = os.umask(0o022)
    try:
        more = {} if perm is None else {"perm": perm}
        with shared("x", 8, create=True, **more) as m:
            assert os.stat(m.path).st_mode & 0o777 == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
def test_segments_of_other_users(shared, directory, left):
    os.chmod(directory, 0o1777)
    m, open_to_all = shared("x", 8, create=True), shared("y", 8, create=True, perm=0o644)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="belongs to user 0"):
            shared("x")
        with pytest.raises(FileExistsError):
            shared("x", 8, create=True)
        with pytest.raises(PermissionError, match="belongs to user 0"):
            shared("y")
        segments._uses.clear()
        reader = shared("y", mode="r")
        assert reader[0] == 0
        with pytest.raises(PermissionError):
            reader.unlink()
        open_to_all.close()
        reader.close()
        assert segments.clean(directory) == []
    finally:
        os.seteuid(0)
    assert left() == ["yammap-x", "yammap-y"]
    m.close()
    shared_memory.clean(directory)
    assert left() == []


# -- Removing the name


def test_unlink(shared, left):
    m, user = shared("x", 8, create=True), shared("x")
    m.unlink()
    assert left() == []
    user[0] = 3
    assert m[0] == 3
    with pytest.raises(FileNotFoundError, match="unlink"):
        user.unlink()
    with pytest.raises(FileNotFoundError, match="unlink"):
        pickle.dumps(user)
    other = shared("x", 16, create=True)
    m.close()
    user.close()
    assert left() == ["yammap-x"]
    other.close()


def test_a_closed_segment(shared):
    m = shared("x", 8, create=True)
    m.close()
    assert "closed" in repr(m)
    assert m.name == "x"
    for call in (m.unlink, partial(pickle.dumps, m), partial(m.resize, 9)):
        with pytest.raises(ValueError, match="closed"):
            call()


# -- Memory


def test_small_ones_have_less_address_space(shared):
    def span(m):
        first, last = next(
            line.split()[0].split("-")
            for line in Path("/proc/self/maps").read_text().splitlines()
            if line.endswith(m.path)
        )
        return int(last, 16) - int(first, 16)

    with shared("x", 16 << 20, create=True) as m:
        assert span(m) == 64 << 20
        m.resize(65 << 20)
        m.array()[-1] = 1
    with shared("x", (16 << 20) + 1, create=True) as m:
        assert span(m) > 1 << 30
    with shared("x", 8, create=True, reserve=1 << 20) as m:
        assert span(m) < 2 << 20


def test_its_memory_is_there_at_once(shared):
    with shared("x", 1 << 20, create=True) as m:
        assert os.stat(m.path).st_blocks * 512 >= 1 << 20
        m.resize(2 << 20)
        assert os.stat(m.path).st_blocks * 512 >= 2 << 20


@pytest.fixture
def small(tmp_path):
    """A tmpfs of 1 MiB."""
    if not IS_ROOT:
        pytest.skip("only root mounts")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_file_system(small):
    with pytest.raises(OSError, match=f"{small} has {1 << 20} bytes free") as raised:
        yammap.shared("x", 2 << 20, create=True, directory=small)
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == f"{small}/yammap-x"
    assert os.listdir(small) == []
    told = os.statvfs(small)
    assert told.f_bavail * told.f_frsize == 1 << 20
    m = yammap.shared("x", 512 << 10, create=True, directory=small)
    with pytest.raises(OSError, match="No space"):
        m.resize(2 << 20)
    assert m.size() == 512 << 10
    m.close()


def test_left_overs_never_fill_a_file_system(small):
    yammap.shared("first", 8, create=True, directory=small).close()  # sweeps
    left = small / "yammap-left"
    left.write_bytes(bytes(800 << 10))
    left.chmod(0o1600)
    segments._due[str(small)] = float("inf")
    yammap.shared("x", 800 << 10, create=True, directory=small).close()
    assert os.listdir(small) == []


def test_memory_that_no_limit_allows(shared, left, monkeypatch):
    asked = []
    monkeypatch.setattr(
        shared_memory, "shortage", lambda size: asked.append(size) or "memory.max allows 5"
    )
    with pytest.raises(OSError, match="no memory for 1048576 bytes more") as raised:
        shared("x", 1 << 20, create=True)
    assert raised.value.errno == errno.ENOMEM
    assert left() == []
    with shared("x", (1 << 20) - 1, create=True) as m:  # too little to ask
        with pytest.raises(OSError, match="allows 5"):
            m.resize(2 << 20)
        assert m.size() == (1 << 20) - 1
        m.resize(1 << 20)
    assert asked == [1 << 20, (1 << 20) + 1]


def control_groups():
    """Where groups of either version are made, and how their limit is called."""
    yield Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    yield Path("/sys/fs/cgroup"), "memory.max"


@pytest.fixture
def group():
    """A control group that allows 64 MiB."""
    for root, limit in control_groups():
        made = root / f"yammap-{os.getpid()}"
        try:
            made.mkdir()
            (made / limit).write_text(str(64 << 20))
        except OSError:
            if made.is_dir():
                made.rmdir()
            continue
        yield made
        made.rmdir()
        return
    pytest.skip("control groups cannot be made here")


def test_a_real_control_group(group, child):
    child(
        f"""
        import os, yammap
        with open("{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        m = yammap.shared("x", 8 << 20, create=True, directory=os.getcwd())
        for grow in m.resize, lambda size: yammap.shared("y", size, create=True):
            try:
                grow(128 << 20)
            except OSError as error:
                assert error.errno == 12 and "{group}/memory." in error.strerror, error
            else:
                raise AssertionError
        m.close()
        """
    )


def test_it_grows_under_live_views_of_every_process(shared, worker):
    m = shared("x", 16, create=True)
    a = m.array("i8")
    a[0] = 3
    other = worker(USER + "m.refresh(); b = m.array('i8'); b[2] = 8; tell(m.size(), a[0])")
    assert other.stdout.readline() == "3\n"
    m.resize(1 << 16)
    a[0] = 4
    go_on(other)
    assert other.stdout.readline() == f"{1 << 16} 4\n"
    assert a[1] == 7
    assert m.array("i8")[2] == 8
    with pytest.raises(ValueError, match="1 byte or more"):
        m.resize(0)
    end(other)


# -- Processes


@pytest.mark.parametrize("kind", [None, signal.SIGKILL])
def test_a_user_that_ends(shared, left, worker, kind):
    m = shared("x", 16, create=True)
    user = worker(USER)
    user.stdout.readline()
    end(user, kind)
    assert m.array("i8")[1] == 7
    assert shared("x").size() == 16
    m.close()
    assert left() == []


@pytest.mark.parametrize("kind", [None, signal.SIGKILL])
def test_the_last_user_ends_in_another_process(shared, left, worker, kind):
    m = shared("x", 16, create=True)
    user = worker(USER)
    user.stdout.readline()
    m.close()
    assert left() == ["yammap-x"]
    assert segments.clean(os.path.dirname(m.path)) == []
    end(user, kind)
    segments._due.clear()
    with shared("y", 8, create=True):
        assert left() == ["yammap-y"]


def test_names_go_when_a_process_ends(left, worker):
    user = worker(
        """
        a = yammap.shared("x", 8, create=True, directory=directory).array()
        cycle = [yammap.shared("y", 8, create=True, directory=directory)]
        cycle.append(cycle)
        tell()
        """
    )
    user.stdout.readline()
    assert left() == ["yammap-x", "yammap-y"]
    end(user)
    assert left() == []


def test_a_forked_child_is_a_user(shared, left):
    m = shared("x", 16, create=True)
    read, write = os.pipe()
    if not (pid := os.fork()):
        os.read(read, 1)
        m[0] = 5
        seen = yammap.shared("x", directory=os.path.dirname(m.path))[0]
        m.close()
        os._exit(seen)
    m.close()
    assert left() == ["yammap-x"]
    os.write(write, b"1")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(read)
    os.close(write)
    segments._due.clear()
    assert shared_memory.clean(os.path.dirname(m.path)) in ([], ["x"])
    assert left() == []


@pytest.mark.parametrize("hold", ["array", "None"])
def test_a_child_that_ends_before_its_parent(left, worker, hold):
    """The parent's mapping keeps no lock that the child had, too."""
    user = worker(
        f"""
        m = yammap.shared("x", 8, create=True, directory=directory)
        array = m.array()
        array = {hold}
        if pid := os.fork():
            os.waitpid(pid, 0)
            print(os.listdir(directory), flush=True)
        else:
            del m, array
            os._exit(0)
        """
    )
    assert user.stdout.readline() == "['yammap-x']\n"
    user.wait()
    assert left() == []


def test_a_program_that_is_started_is_no_user(shared, left):
    m = shared("x", 16, create=True)
    process = subprocess.Popen(["sleep", "60"], close_fds=False)
    m.close()
    assert left() == []
    process.kill()
    process.wait()


@pytest.mark.parametrize("method", METHODS)
def test_a_result_outlives_the_worker_that_made_it(directory, left, method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(pool.map(segment_tasks.make_result, [directory] * 4, range(4)))
    assert [result[5] for result in results] == [0, 1, 2, 3]
    assert len(left()) == 4
    del results
    assert left() == []


@pytest.mark.parametrize("method", METHODS)
def test_a_queue_hands_it_on(directory, left, method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=segment_tasks.put_results, args=(queue, directory, 3))
    process.start()
    process.join()  # what it has put fits into the pipe
    assert [queue.get(timeout=60)[0] for _ in range(3)] == [0, 1, 2]
    queue.close()
    queue.join_thread()
    assert left() == []


@pytest.mark.parametrize("method", METHODS)
def test_a_queue_hands_on_what_it_pickles_at_the_end(directory, left, method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=segment_tasks.put_late, args=(queue, directory))
    process.start()
    process.join()
    assert isinstance(queue.get(timeout=60), segment_tasks.Late)
    assert queue.get(timeout=60)[5] == 5
    queue.close()
    queue.join_thread()
    assert left() == []


@pytest.mark.parametrize("method", METHODS)
def test_a_segment_travels(shared, left, method):
    m = shared("x", 80, create=True)
    with multiprocessing.get_context(method).Pool(1) as pool:
        same = pool.apply(segment_tasks.add_one, (m,))
        pool.close()
        pool.join()
    assert m.array("f8")[9] == same.array("f8")[0] == 1
    assert isinstance(same, yammap.Segment)
    m.close()
    same.close()
    assert left() == []


@pytest.mark.parametrize("method", METHODS)
def test_workers_end_their_uses(shared, left, method):
    """They leave by os._exit(), so no destructor runs."""
    m = shared("x", 80, create=True)
    pool = multiprocessing.get_context(method).Pool(1)
    pool.apply(segment_tasks.keep_it, (m,))
    m.close()
    assert left() == ["yammap-x"]
    pool.close()
    pool.join()
    assert left() == []


def test_a_pickle_that_was_not_loaded(shared, left, monkeypatch):
    m = shared("x", 8, create=True)
    sent = pickle.dumps(yammap.MappedArray.of(m.array()))
    m.close()
    assert len(left()) == 2
    now = segments._now()
    monkeypatch.setattr(segments, "_now", lambda: now + segments.HANDED_ON_FOR + 1)
    segments._due.clear()
    with pytest.raises(FileNotFoundError):
        shared("y")
    assert left() == []
    with pytest.raises(FileNotFoundError, match="nobody has used it for 600 s"):
        pickle.loads(sent)


def test_a_handle_is_of_one_segment(shared):
    m = shared("x", 8, create=True)
    first = shared_memory.HeldPath(m._held_path().use)
    handle = yammap.MappedArray.of(m.array())
    m.unlink()
    other = shared("x", 8, create=True)
    with pytest.raises(FileNotFoundError):
        pickle.dumps(handle)
    with pytest.raises(OSError, match="not as it was"):
        handle[0]
    assert first == other.path


def test_threads_make_and_attach(shared, left, eager_switching):
    from concurrent.futures import ThreadPoolExecutor

    def turn(i):
        with shared(f"{i}", 8, create=True) as m, shared(f"{i}") as same:
            m[0] = 1
            return same[0]

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(turn, range(200))) == 200
    assert left() == []


# -- Killed at random


def test_kills(directory):
    """Ten rounds; `python tests/programs/segment_kills.py` runs a thousand."""
    segment_kills.run(10, directory, seed=1)


def test_a_file_system_that_ten_processes_fill(small):
    results = segment_kills.fill(str(small), processes=10, size=64 << 10, rounds=20)
    assert set(results) <= {0, errno.ENOSPC}
    assert {0, errno.ENOSPC} <= set(results)
    assert os.listdir(small) == []


@pytest.mark.parametrize("make", ["segment", "drop_in"])
def test_dev_shm_of_64_mib_that_ten_processes_fill(child_with_shm, make):
    output = child_with_shm(
        f"""
        import collections, os, segment_kills
        make = segment_kills.{make}
        found = segment_kills.fill("/dev/shm", 10, 4 << 20, 20, make)
        print(sorted(collections.Counter(found)), os.listdir("/dev/shm"))
        """
    )
    assert output == f"[0, {errno.ENOSPC}] []\n"


@pytest.fixture
def child_with_shm(tmp_path):
    """Run Python source where ``/dev/shm`` is a tmpfs of 64 MiB, and nobody else's."""
    if not IS_ROOT:
        pytest.skip("only root mounts")
    mount = "mount -t tmpfs -o size=64m none /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this container may not mount")
    programs = os.path.dirname(segment_kills.__file__)

    def run(source):
        file = tmp_path / "source.py"
        file.write_text(textwrap.dedent(source))
        command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]
        command += [sys.executable, "-P", "-W", "error", str(file)]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": programs},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
