"""Names, users and removal of segments: what may come between two system calls."""

import fcntl
import os
import threading

import pytest

import yammap
from yammap._file import segments
from yammap._file.segments import Place


def make(place, size=8, perm=0o600):
    fd, path = segments.make(place, perm, lambda fd: os.truncate(fd, size))
    with fd:
        return path


@pytest.fixture
def place(tmp_path):
    return Place(str(tmp_path), "x")


def names(place):
    return sorted(os.listdir(place.directory))


def before(monkeypatch, module, name, act):
    """Do something before the next call of a function."""
    call = getattr(module, name)

    def replaced(*arguments):
        monkeypatch.setattr(module, name, call)
        act()
        return call(*arguments)

    monkeypatch.setattr(module, name, replaced)


def test_a_path_is_in_use_as_long_as_somebody_has_it(place):
    path = make(place)
    same = path
    assert path == place.path
    assert not segments.remove_if_unused(place)
    del path
    assert names(place) == ["yammap-x"]
    del same
    assert names(place) == []


def test_a_process_has_one_use_of_a_segment(place):
    path = make(place)
    fd, other, _ = segments.attach(place, os.O_RDONLY)
    assert other.use is path.use
    del path, fd
    assert not segments.remove_if_unused(place)
    assert other.use.fd != -1


def test_a_sweep_between_making_and_locking(place, monkeypatch):
    before(monkeypatch, fcntl, "flock", lambda: segments.clean(place.directory))
    path = make(place)
    assert names(place) == ["yammap-x"]
    del path
    assert names(place) == []


def test_a_sweep_while_the_lock_changes(place, monkeypatch):
    """The kernel gives up a lock before it grants another kind of it."""
    fcntl_lock, kinds = fcntl.flock, []

    def flock(fd, kind):
        if kind == fcntl.LOCK_SH and not kinds:
            fcntl_lock(fd, fcntl.LOCK_UN)
            segments.clean(place.directory)
            assert names(place) == []
        kinds.append(kind)
        fcntl_lock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    path = make(place)
    assert names(place) == ["yammap-x"]
    assert path.use.fd != -1


def test_nobody_attaches_to_what_is_not_complete(place):
    begun, ended, found, made = threading.Event(), threading.Event(), [], []

    def fill(fd):
        begun.set()
        ended.wait()
        os.truncate(fd, 8)

    def attach():
        begun.wait()
        fd, path, _ = segments.attach(place, os.O_RDONLY)
        found.append((os.fstat(fd.fd).st_size, path))

    thread = threading.Thread(target=attach)
    maker = threading.Thread(target=lambda: made.append(segments.make(place, 0o600, fill)))
    maker.start()
    thread.start()
    begun.wait()
    ended.set()
    thread.join()
    maker.join()
    assert found == [(8, place.path)]


def test_what_a_killed_process_has_not_completed_is_no_segment(place):
    with open(place.path, "wb") as file:
        os.fchmod(file.fileno(), 0o1600)
    with pytest.raises(FileNotFoundError):
        segments.attach(place, os.O_RDWR)
    assert make(place) == place.path


def test_removal_between_opening_and_locking(place, monkeypatch):
    make_it = [make(place)]
    before(monkeypatch, fcntl, "flock", make_it.clear)
    monkeypatch.setattr(segments, "_uses", {})  # as in another process
    with pytest.raises(FileNotFoundError, match="no segment of this name"):
        segments.attach(place, os.O_RDWR)


def test_another_segment_between_opening_and_locking(place, monkeypatch):
    held = [make(place, 8)]

    def replace():
        held.clear()
        held.append(make(place, 16))

    before(monkeypatch, fcntl, "flock", replace)
    monkeypatch.setattr(segments, "_uses", {})
    fd, *_ = segments.attach(place, os.O_RDWR)
    assert os.fstat(fd.fd).st_size == 16


def test_a_use_does_not_remove_the_next_segment_of_its_name(place):
    first = make(place)
    first.use.unlink()
    second = make(place, 16)
    del first
    assert os.stat(place.path).st_size == 16
    del second
    assert names(place) == []


def test_failing_to_fill_leaves_nothing(place):
    def fill(fd):
        os.truncate(fd, 4096)
        raise OSError(28, "full")

    with pytest.raises(OSError, match="full") as raised:
        segments.make(place, 0o600, fill)
    assert names(place) == []
    frame = raised.traceback[-2].frame.f_locals
    assert frame["fd"].fd == -1  # a traceback holds no memory


# -- What is never removed


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o700])
def test_a_file_without_the_mark(place, mode):
    with open(place.path, "wb") as file:
        os.fchmod(file.fileno(), mode)
    assert segments.clean(place.directory) == []
    with pytest.raises(FileExistsError, match="no segment"):
        make(place)
    with pytest.raises(FileNotFoundError, match="no segment"):
        segments.attach(place, os.O_RDWR)
    assert names(place) == ["yammap-x"]


def test_a_file_of_another_name(tmp_path):
    file = tmp_path / "psm_1234"
    file.touch()
    file.chmod(0o1600)
    assert segments.clean(str(tmp_path)) == []
    assert file.exists()


@pytest.mark.parametrize("kind", ["directory", "link", "fifo"])
def test_what_is_no_file(place, kind, tmp_path):
    target = tmp_path / "target"
    target.touch()
    target.chmod(0o1600)
    if kind == "link":
        os.symlink(target, place.path)
    else:
        {"directory": os.mkdir, "fifo": os.mkfifo}[kind](place.path, 0o1700)
    assert segments.clean(place.directory) == []
    with pytest.raises(OSError, match="yammap-x"):
        segments.attach(place, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        make(place)
    assert names(place) == ["target", "yammap-x"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_segment_of_another_user(place):
    path = make(place)
    os.chown(place.path, 65534, -1)
    del path
    assert segments.clean(place.directory) == []
    assert names(place) == ["yammap-x"]


# -- Pickles on their way


def test_a_ticket_keeps_the_segment(place):
    path = make(place)
    function, arguments = path.__reduce__()
    del path
    assert segments.clean(place.directory) == []
    again = function(*arguments)
    assert names(place) == ["yammap-x"]
    del again
    assert names(place) == []
    with pytest.raises(FileNotFoundError, match="gone"):
        function(*arguments)


def test_a_ticket_is_for_one_segment(place):
    path, other = make(place), make(place._replace(name="y-x"))
    arguments = path.__reduce__()[1]
    del path, other
    assert names(place)[1:] == ["yammap-x"]
    assert segments.receive(*arguments) == place.path
    assert names(place) == []


def test_a_ticket_expires(place, monkeypatch):
    path = make(place)
    path.__reduce__()
    now = segments._now()
    monkeypatch.setattr(segments, "_now", lambda: now + segments.HANDED_ON_FOR + 1)
    assert not segments.clean(place.directory)  # in use
    assert names(place) == ["yammap-x"]
    del path
    assert names(place) == []


@pytest.mark.parametrize("after", [segments.HANDED_ON_FOR + 1, -5])
def test_a_ticket_that_nobody_used(place, monkeypatch, after):
    """Before the last start of the machine, its clock was ahead."""
    path = make(place)
    path.__reduce__()
    del path
    now = segments._now()
    monkeypatch.setattr(segments, "_now", lambda: now + after)
    assert segments.clean(place.directory) == ["x"]
    assert names(place) == []


def test_another_segment_has_the_name_of_the_one_that_was_pickled(place):
    path = make(place)
    arguments = path.__reduce__()[1]
    path.use.unlink()
    assert names(place) == []  # its ticket is gone as well
    other = make(place)
    with pytest.raises(FileNotFoundError, match="gone"):
        segments.receive(*arguments)
    assert other.use.fd != -1


def test_what_was_unlinked_is_not_handed_on(place):
    path = make(place)
    path.use.unlink()
    with pytest.raises(FileNotFoundError, match="unlink"):
        path.__reduce__()
    other = make(place)
    with pytest.raises(FileNotFoundError, match="unlink"):
        path.__reduce__()
    with pytest.raises(FileNotFoundError, match="unlink"):
        path.use.unlink()
    assert names(place) == ["yammap-x"]
    assert other


def test_other_files_called_like_tickets(place):
    for name in (".yammap-ticket-", ".yammap-ticket-zz-1-x"):
        open(f"{place.directory}/{name}", "wb").close()
    path = make(place)
    assert path.__reduce__()
    assert list(place.tickets())


# -- When to look for left-overs


def leave(place):
    with open(place.path, "wb") as file:
        os.fchmod(file.fileno(), 0o1600)
        os.truncate(file.fileno(), 8)


def test_sweeping_takes_a_small_part_of_the_time(place, monkeypatch):
    clock = iter([100, 102, 250, 301, 302]).__next__
    monkeypatch.setattr(segments.time, "monotonic", clock)
    segments.sweep(place.directory)  # from 100 to 102: the next is due 200 s later
    leave(place)
    segments.sweep(place.directory)  # at 250
    assert names(place) == ["yammap-x"]
    segments.sweep(place.directory)  # from 301 on
    assert names(place) == []


def test_the_first_call_of_a_process_sweeps(child, tmp_path):
    leave(Place(str(tmp_path), "left"))
    child(
        """
        import os, yammap
        with yammap.shared("new", 8, create=True, directory=os.getcwd()):
            assert os.listdir() == ["yammap-new"]
        assert os.listdir() == []
        """
    )


def test_what_no_fork_hook_prepared(place):
    """Ending a use in a child closes the child's descriptor, and leaves the lock."""
    path = make(place)
    if not (pid := os.fork()):
        path.use.end()
        os._exit(0 if path.use.fd == -1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert not segments.remove_if_unused(place)
    with yammap.open(path) as m:
        assert m.size() == 8
