"""`yammap.compat.shared_memory` beside the standard library's, and in its place."""

import errno
import inspect
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from importlib.util import find_spec
from multiprocessing import shared_memory as standard
from pathlib import Path

import numpy as np
import pytest

import yammap
from yammap._file import segments
from yammap._file import shared as allocating
from yammap.compat import shared_memory

BOTH_WAYS = pytest.mark.parametrize(
    ("maker", "user"),
    [(shared_memory, standard), (standard, shared_memory), (shared_memory, shared_memory)],
    ids=["ours-theirs", "theirs-ours", "ours-ours"],
)
SUITE = Path(__file__).parents[1] / "programs/shared_memory_suite.py"


@pytest.fixture
def memory():
    """16 bytes, which are gone after the test."""
    made = shared_memory.SharedMemory(create=True, size=16)
    yield made
    made.close()
    if os.path.exists(path_of(made)):
        made.unlink()


def path_of(memory):
    return f"/dev/shm/{memory.name}"


# -- CPython's own tests


@pytest.mark.skipif(
    find_spec("test._test_multiprocessing") is None, reason="Python without its tests"
)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_cpythons_own_tests(method, tmp_path):
    """All pass, and none is skipped."""
    done = subprocess.run(
        [sys.executable, "-P", SUITE, method], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^test_.* \.\.\. ok$", done.stdout, re.M)) >= 13
    assert "skipped" not in done.stdout


# -- The same names and arguments


@pytest.mark.parametrize("name", standard.__all__)
def test_it_has_all_that_theirs_has(name):
    ours, theirs = getattr(shared_memory, name), getattr(standard, name)
    assert issubclass(ours, theirs)
    found, expected = (inspect.signature(kind).parameters for kind in (ours, theirs))
    assert [*found][: len(expected)] == [*expected]
    assert {*found} - {*expected} <= {"track"}
    for parameter, same in zip(found.values(), expected.values(), strict=False):
        assert (parameter.kind, parameter.default) == (same.kind, same.default)
    assert ours.__module__ == "yammap.compat.shared_memory"


def test_the_parameter_of_3_13():
    track = inspect.signature(shared_memory.SharedMemory).parameters["track"]
    assert (track.kind, track.default) == (track.KEYWORD_ONLY, True)


# -- Both directions


@BOTH_WAYS
def test_one_attaches_to_what_the_other_made(maker, user):
    made = maker.SharedMemory(create=True, size=5000)
    used = user.SharedMemory(made.name)
    used.buf[:5] = b"hello"
    assert bytes(made.buf[:5]) == b"hello"
    assert (used.name, used.size, len(used.buf)) == (made.name, 5000, 5000)
    assert repr(used) == repr(made)
    used.close()
    made.close()
    used.unlink()
    with pytest.raises(FileNotFoundError):
        maker.SharedMemory(made.name)


@BOTH_WAYS
def test_lists_both_ways(maker, user):
    made = maker.ShareableList([1, 2.5, True, None, "text", b"bytes"])
    used = user.ShareableList(name=made.shm.name)
    used[0], used[4] = 7, "other"
    assert list(made) == [7, 2.5, True, None, "other", b"bytes"]
    assert used.format == made.format
    assert type(used.shm) is user.SharedMemory
    assert type(pickle.loads(pickle.dumps(used))) is user.ShareableList
    used.shm.close()
    made.shm.close()
    made.shm.unlink()


@BOTH_WAYS
def test_another_process_attaches(maker, user, child):
    made = maker.SharedMemory(create=True, size=16)
    child(
        f"""
        from {user.__name__} import SharedMemory
        from multiprocessing import resource_tracker
        used = SharedMemory({made.name!r})
        used.buf[3] = 9
        used.close()
        resource_tracker.unregister("/" + used.name, "shared_memory")  # it is not its own
        """
    )
    assert made.buf[3] == 9
    made.close()
    made.unlink()


def other_pythons():
    found = Path.home().glob(".pyenv/versions/3.1[123].*/bin/python3")
    return [str(path) for path in sorted(found)]


@pytest.mark.parametrize("python", other_pythons() or [sys.executable])
def test_every_python_attaches(python, memory):
    source = f"""if 1:
        from multiprocessing import resource_tracker, shared_memory
        used = shared_memory.SharedMemory({memory.name!r})
        used.buf[:4] = b"seen"
        used.close()
        resource_tracker.unregister("/" + used.name, "shared_memory")
    """
    subprocess.run([python, "-I", "-c", source], check=True)
    assert bytes(memory.buf[:4]) == b"seen"


# -- How long it lives


def test_yammap_never_removes_it(memory):
    name = memory.name
    memory.close()
    segments.clean("/dev/shm")
    shared_memory.SharedMemory(name).close()


def test_unlinked_by_one_and_used_by_others(memory):
    same = shared_memory.SharedMemory(memory.name)
    memory.unlink()
    with pytest.raises(FileNotFoundError):
        memory.unlink()
    memory.buf[0] = 3
    assert same.buf[0] == 3
    same.close()


@pytest.mark.parametrize("track", [True, False])
def test_the_tracker_removes_what_is_tracked(track):
    source = f"""if 1:
        from yammap.compat import shared_memory
        print(shared_memory.SharedMemory(create=True, size=8, track={track}).name)
    """
    done = subprocess.run([sys.executable, "-P", "-c", source], capture_output=True)
    path = f"/dev/shm/{done.stdout.decode().strip()}"  # read until the tracker has ended
    assert os.path.exists(path) != track
    assert (b"leaked shared_memory" in done.stderr) == track
    if not track:
        os.unlink(path)


def test_the_tracker_does_not_know_what_was_not_made(child):
    child(
        """
        import os
        from yammap._file import shared
        from yammap.compat import shared_memory
        def full(size, path, fd):
            raise OSError(28, "full", path)
        shared_memory.allocate = full
        for _ in range(2):
            try:
                shared_memory.SharedMemory("not-made", create=True, size=8)
            except OSError as error:
                assert error.filename == "/dev/shm/not-made"
                assert len(os.listdir("/proc/self/fd")) < 6
        """
    )


# -- Closing


@pytest.mark.parametrize(
    "hold",
    [lambda buf: np.frombuffer(buf, "u1"), lambda buf: np.ndarray(16, "u1", buf)],
    ids=["frombuffer", "ndarray"],
)
@pytest.mark.parametrize("leave", ["close", "__del__"])
def test_arrays_stay_valid(hold, leave, memory):
    array = hold(memory.buf)
    memory.buf[2] = 5
    getattr(memory, leave)()
    memory.unlink()
    assert (memory.buf, array[2]) == (None, 5)


def test_arrays_outlive_an_object_that_is_forgotten(child):
    output = child(
        """
        import gc
        import numpy as np
        from yammap.compat import shared_memory
        def made(size):
            memory = shared_memory.SharedMemory(create=True, size=size)
            memory.unlink()
            return np.ndarray(size, "u1", memory.buf)
        array = made(1 << 20)
        gc.collect()
        array[-1] = 3
        print(array.sum())
        """
    )
    assert output == "3\n"


def test_its_memory_is_given_back(memory):
    memory.unlink()
    mapped = Path("/proc/self/maps").read_text().count(memory.name)
    memory.close()
    assert mapped == 1
    assert memory.name not in Path("/proc/self/maps").read_text()
    memory.close()


def test_a_handle_of_an_array_over_it(memory):
    handle = yammap.MappedArray.of(np.ndarray(2, "i8", memory.buf))
    handle = pickle.loads(pickle.dumps(handle))
    handle[1] = 6
    assert (memory.buf[8], handle.path) == (6, path_of(memory))


def test_a_forked_child_shares_it(memory):
    if not (pid := os.fork()):
        memory.buf[0] = 8
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert memory.buf[0] == 8


# -- Memory


def test_its_memory_is_there_at_once():
    made = shared_memory.SharedMemory(create=True, size=1 << 20)
    assert os.stat(path_of(made)).st_blocks * 512 == 1 << 20
    made.close()
    made.unlink()


def test_memory_that_no_limit_allows(monkeypatch):
    monkeypatch.setattr(allocating, "shortage", lambda size: "memory.max allows 5")
    with pytest.raises(OSError, match=r"no memory for 1048576 bytes more") as raised:
        shared_memory.SharedMemory("x", create=True, size=1 << 20)
    assert raised.value.errno == errno.ENOMEM
    assert not os.path.exists("/dev/shm/x")


@pytest.fixture
def small(tmp_path):
    """Run Python source where ``/dev/shm`` has 1 MiB."""
    mount = "mount -t tmpfs -o size=1m none /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("only root mounts")

    def run(source):
        python = [sys.executable, "-P", "-c", inspect.cleandoc(source)]
        command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *python]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_full_file_system(small):
    output = small(
        """
        import os
        from yammap.compat import shared_memory
        try:
            shared_memory.SharedMemory(create=True, size=2 << 20)
        except OSError as error:
            print(error.errno, os.listdir("/dev/shm"))
        """
    )
    assert output == f"{errno.ENOSPC} []\n"


def test_what_theirs_made_has_no_memory_behind_it(small):
    """The standard library dies of SIGBUS here."""
    output = small(
        """
        import yammap
        from multiprocessing import shared_memory as standard
        from yammap.compat import shared_memory
        made = standard.SharedMemory(create=True, size=2 << 20)
        used = shared_memory.SharedMemory(made.name)
        def fill():
            for i in range(0, 2 << 20, 4096):
                used.buf[i] = 1
        try:
            fill()
        except yammap.BusError as error:
            print(error.errno, error.filename == "/dev/shm/" + made.name)
        try:
            used.close()
        except yammap.BusError:
            print("told again")
        made.close()
        made.unlink()
        """
    )
    assert output == f"{errno.ENOSPC} True\ntold again\n"


# -- What is refused


@pytest.mark.parametrize(
    ("arguments", "kind", "reason"),
    [
        ({"size": -1}, ValueError, "1 byte or more, not -1"),
        ({"create": True}, ValueError, "1 byte or more, not 0"),
        ({"size": 5}, ValueError, "pass one, or create=True"),
        ({"name": "a\0b"}, ValueError, "none is 0"),
        ({"name": "not there"}, FileNotFoundError, "No such file"),
        ({"name": "a/b", "create": True, "size": 1}, OSError, "Invalid"),
    ],
)
def test_bad_arguments(arguments, kind, reason):
    with pytest.raises(kind, match=reason):
        shared_memory.SharedMemory(**arguments)


def test_a_name_in_use(memory):
    with pytest.raises(FileExistsError):
        shared_memory.SharedMemory(memory.name, create=True, size=16)
    memory.buf[0] = 1


def test_what_has_no_size_yet(memory):
    os.truncate(path_of(memory), 0)
    with pytest.raises(ValueError, match="is empty"):
        shared_memory.SharedMemory(memory.name)
    assert os.path.exists(path_of(memory))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_it_travels(method, memory):
    with multiprocessing.get_context(method).Pool(1) as pool:
        same = pool.apply(pickle.loads, (pickle.dumps(memory),))
        pool.close()
        pool.join()
    assert isinstance(same, shared_memory.SharedMemory)
    assert (same.name, same.size) == (memory.name, memory.size)
    same.close()
