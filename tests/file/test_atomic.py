"""Files that appear whole or not at all: whose they are, where, and what is left."""

import fcntl
import os
import stat
import tempfile
import textwrap
from pathlib import Path

import pytest

import yammap
from yammap._file import atomic


def put(path, data, **options):
    with yammap.atomic_create(path, len(data), **options) as m:
        m.write_at(data, 0)


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(params=["unnamed", "hidden"])
def way(request, monkeypatch):
    """Both ways of making the file: without a name, and with a hidden one."""
    if request.param == "hidden":
        monkeypatch.setattr(atomic._Draft, "_try_unnamed", lambda self: False)
    return request.param


@pytest.mark.parametrize(
    ("old", "perm", "new"),
    [
        (None, None, 0o644),
        (None, 0o600, 0o600),
        (0o600, None, 0o600),
        (0o666, None, 0o666),
        (0o600, 0o640, 0o640),
        (0o4755, None, 0o755),
    ],
)
@pytest.mark.usefixtures("umask")
def test_the_mode_is_that_of_the_file_that_is_replaced(path, way, old, perm, new):
    if old is not None:
        path.write_bytes(b"old")
        path.chmod(old)
    put(path, b"new", perm=perm)
    assert mode_of(path) == new


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
@pytest.mark.usefixtures("umask")
def test_the_owner_is_that_of_the_file_that_is_replaced(path, way):
    path.write_bytes(b"old")
    path.chmod(0o640)
    os.chown(path, 1234, 5678)
    put(path, b"new")
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode_of(path)) == (1234, 5678, 0o640)


@pytest.fixture
def open_directory():
    """A directory that every user may write; those of pytest are for one user."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_a_group_that_cannot_be_kept_lends_its_rights_to_no_other(open_directory, child):
    (open_directory / "file").write_bytes(b"old")
    (open_directory / "file").chmod(0o674)
    os.chown(open_directory / "file", 0, 5678)
    child(f"""
        import os, yammap
        os.chdir({str(open_directory)!r})
        os.setgid(65534)
        os.setuid(65534)
        with yammap.atomic_create("file", 3):
            pass
        status = os.stat("file")
        assert (status.st_uid, status.st_gid) == (65534, 65534)
        assert status.st_mode & 0o777 == 0o644, oct(status.st_mode)
    """)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path, way):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there/file")
    put(tmp_path / "link", b"new!")
    assert os.readlink(tmp_path / "link") == "there/file"
    assert (tmp_path / "there" / "file").read_bytes() == b"new!"
    assert os.listdir(tmp_path / "there") == ["file"]


def test_a_link_to_nothing_gets_its_file(tmp_path, way):
    (tmp_path / "link").symlink_to("file")
    put(tmp_path / "link", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["fifo", "loop", "device"])
def test_what_is_no_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to("loop")
    else:
        path.symlink_to("/dev/null")
    before = os.lstat(path)
    with pytest.raises(OSError, match=kind), yammap.atomic_create(path, 3):
        pytest.fail("its bytes would be lost")
    assert os.path.samestat(os.lstat(path), before)
    assert not stat.S_ISREG(os.stat("/dev/null").st_mode)


def test_nothing_is_left_of_what_could_not_be_made(path, way):
    yammap.anonymous(1).close()  # the first one has descriptors made for all
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=path.name), yammap.atomic_create(path, 1 << 62):
        pytest.fail("there is no disk as large")
    assert os.listdir(path.parent) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_left_of_what_could_not_be_named(path, way):
    with pytest.raises(OSError, match=path.stem), yammap.atomic_create(path, 3):
        path.mkdir()
    assert os.listdir(path.parent) == [path.name]


def test_closing_comes_before_the_name(path, way, monkeypatch):
    calls = []
    for where, name in ((yammap.Mmap, "close"), (atomic._Draft, "publish")):
        call = getattr(where, name)
        monkeypatch.setattr(
            where, name, lambda self, call=call, name=name: (calls.append(name), call(self))
        )
    put(path, b"data")
    assert calls.index("close") < calls.index("publish")


KILLED = """
    import os, signal, yammap
    from yammap._file import atomic

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def before_it_is_complete():
        atomic._Draft._try_unnamed = lambda self: False
        with yammap.atomic_create("file", 100_000):
            kill()

    def before_it_has_its_name():
        os.replace = kill
        with yammap.atomic_create("file", 100_000):
            pass
"""


def hidden_in(directory):
    return [name for name in os.listdir(directory) if name.startswith(".yammap-")]


@pytest.mark.parametrize("when", ["before_it_is_complete", "before_it_has_its_name"])
def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path, child, way, when):
    for _ in range(2):
        child(textwrap.dedent(KILLED) + f"{when}()", status=-9)
        assert len(hidden_in(tmp_path)) == 1
    put(tmp_path / "file", b"data")
    assert os.listdir(tmp_path) == ["file"]


def test_two_make_one_file_at_the_same_time(path, way):
    with yammap.atomic_create(path, 5) as first:
        first.write_at(b"first", 0)
        with yammap.atomic_create(path, 6) as second:
            second.write_at(b"second", 0)
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == [path.name]


def test_a_forked_child_leaves_the_file_to_its_parent(tmp_path, child):
    child("""
        import os, yammap

        with yammap.atomic_create("file", 5) as m:
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
                assert not os.path.exists("file")
                m[:] = b"whole"
        if not pid:
            os._exit(0)
        with open("file", "rb") as file:
            assert file.read() == b"whole"
        """)


def test_a_file_that_is_swept_as_it_is_made_gets_another_name(tmp_path, monkeypatch):
    """Somebody may lock it before its maker does, and then takes it for a left one."""
    monkeypatch.setattr(atomic._Draft, "_try_unnamed", lambda self: False)
    flock, sweeping = fcntl.flock, []

    def late(fd, operation):
        if not sweeping:
            [name] = os.listdir(tmp_path)
            sweeping.append(os.open(tmp_path / name, os.O_RDWR))
            flock(sweeping[0], fcntl.LOCK_EX)
            sweeping.append(tmp_path / name)
        return flock(fd, operation)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    with yammap.atomic_create(tmp_path / "file", 5) as m:
        m.write_at(b"whole", 0)
        os.unlink(sweeping[1])
    os.close(sweeping[0])
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]
