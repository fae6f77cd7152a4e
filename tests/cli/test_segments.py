"""``yammap shared``: the segments that are there, who uses them, and what is removed."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from functools import partial

import pytest

import yammap

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap._cli import segments, terminal
from yammap._file import segments as removing


@pytest.fixture
def directory():
    made = tempfile.mkdtemp(dir="/dev/shm")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def shared(directory):
    return partial(yammap.shared, directory=directory)


@pytest.fixture
def left_behind(directory):
    """Let a process make a segment and be killed."""

    def leave(name, size):
        source = f"""if 1:
            import os, yammap
            m = yammap.shared({name!r}, {size}, create=True, directory={directory!r})
            os.kill(os.getpid(), 9)
        """
        subprocess.run([sys.executable, "-P", "-c", source])

    return leave


def test_sizes_and_users(directory, shared):
    with shared("x", 4096, create=True), shared("y", 8, create=True, perm=0o660):
        x, y = segments.segments(directory)
    assert (x.name, x.size, x.path) == ("x", 4096, f"{directory}/yammap-x")
    assert x.users == y.users == [os.getpid()]
    assert (x.owner, x.pickles) == (os.geteuid(), 0)
    assert 0 <= x.age < 600
    assert segments.segments(directory) == []


def test_a_forked_child_is_a_user(directory, shared):
    m = shared("x", 8, create=True)
    read, write = os.pipe()
    if not (pid := os.fork()):
        os.read(read, 1)
        os._exit(0)
    both = segments.segments(directory)[0].users
    m.close()
    alone = segments.segments(directory)[0].users
    os.write(write, b"1")
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    assert both == sorted([os.getpid(), pid])
    assert alone == [pid]
    assert segments.segments(directory)[0].users == []


def test_files_that_are_no_segments(directory):
    for name in ("yammap-x", "other"):
        with open(f"{directory}/{name}", "w"):
            pass
    assert segments.segments(directory) == segments.removed(directory) == []
    assert len(os.listdir(directory)) == 2


def test_who_opens_it_is_no_user(directory, shared):
    with shared("x", 8, create=True) as m, open(m.path, "rb") as file:
        other = subprocess.Popen(["sleep", "60"], stdin=file)
        found = segments.segments(directory)[0].users
        other.kill()
        other.wait()
    assert found == [os.getpid()]


def test_users_that_are_not_shown(directory, shared, monkeypatch):
    with shared("x", 8, create=True):
        monkeypatch.setattr(segments, "_users", lambda names: {})
        assert segments.segments(directory)[0].users is None
        monkeypatch.setattr(segments, "_locked", set)
        assert segments.segments(directory)[0].users == []


def test_what_is_left_behind_is_removed(directory, shared, left_behind, run):
    with shared("used", 8, create=True):
        left_behind("left", 100)
        status, out, err = run("shared", directory)
        assert (status, err) == (0, "")
        _, left, used = out.splitlines()
        assert left.split() == ["100", "B", "0", *left.split()[3:5], "left"]
        assert used.split()[2] == "1"
        status, out, err = run("shared", "--clean", directory)
        assert [line.split()[-1] for line in out.splitlines()] == ["name", "left"]
        assert os.listdir(directory) == ["yammap-used"]
        assert run("shared", "--clean", "--json", directory) == (0, "[]\n", "")


def test_what_a_pickle_waits_for_stays(directory, shared, run):
    m = shared("x", 8, create=True)
    sent = pickle.dumps(m)
    m.close()
    assert run("shared", "--clean", directory)[1].count("\n") == 1
    assert run("shared", directory)[1].endswith("x  (pickles on their way: 1)\n")
    pickle.loads(sent).close()
    assert os.listdir(directory) == []


def test_json(directory, shared, run):
    with shared("x", 8, create=True):
        (found,) = json.loads(run("shared", "--json", directory)[1])
    assert found["name"] == "x"
    assert found["users"] == [os.getpid()]
    assert found.keys() == {"name", "path", "size", "owner", "users", "pickles", "age"}


def test_a_directory_that_is_not_there(run):
    status, out, err = run("shared", "/not/there")
    assert (status, out) == (1, "")
    assert err == "yammap: /not/there: No such file or directory\n"


def test_segments_that_go_meanwhile(directory, shared, monkeypatch):
    with shared("x", 8, create=True):
        listed = os.listdir(directory)
        monkeypatch.setattr(removing.os, "listdir", lambda path: [*listed, "yammap-gone"])
        assert [place.name for place, _ in removing.found(directory)] == ["x"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7300, "2 h"), (200_000, "2 d")],
)
def test_ages(seconds, text):
    assert terminal._spelled_age(seconds) == text
