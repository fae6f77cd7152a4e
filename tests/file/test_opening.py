"""Ways to open: modes, flags, creation, memory, descriptors, and what is refused."""

import errno
import io
import mmap
import os
import socket
import weakref

import numpy as np
import pytest

import yammap


@pytest.mark.parametrize("mode", ["r", "rb", "c", "cb"])
def test_reading_modes_need_the_file_and_leave_it(path, mode):
    with pytest.raises(FileNotFoundError):
        yammap.open(path, mode)
    path.write_bytes(b"abc")
    with yammap.open(path, mode) as m:
        assert m.read() == b"abc"
    assert path.read_bytes() == b"abc"


@pytest.mark.parametrize("mode", ["r+", "rb+", "r+b"])
def test_r_plus(path, mode):
    with pytest.raises(FileNotFoundError):
        yammap.open(path, mode)
    path.write_bytes(b"abc")
    with yammap.open(path, mode) as m:
        m.write(b"X")
        assert m.mode == "rb+"
    assert path.read_bytes() == b"Xbc"


def test_w_plus_empties(path):
    path.write_bytes(b"abc")
    with yammap.open(path, "w+") as m:
        assert m.size() == 0
    assert path.read_bytes() == b""


@pytest.mark.parametrize("mode", ["w+", "x+"])
def test_size_of_a_new_file(path, mode):
    with yammap.open(path, mode, size=10_000) as m:
        assert m.read() == bytes(10_000)
        m.sync()
    assert os.stat(path).st_blocks * 512 >= 10_000


@pytest.mark.parametrize("mode", ["r", "r+", "a+", "c"])
def test_size_belongs_to_new_files(path, mode):
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"needs mode 'w\+' or 'x\+', not .*resize\(\)"):
        yammap.open(path, mode, size=10)


@pytest.mark.parametrize("mode", ["", "w", "a", "x", "rw", "t", "rt", "rbb", "U", None, 3])
def test_unknown_modes(path, mode):
    with pytest.raises(
        ValueError, match=r"must be one of 'r', 'r\+', 'w\+', 'x\+', 'a\+', 'c', not"
    ):
        yammap.open(path, mode)
    assert not path.exists()


@pytest.mark.parametrize("kind", [str, os.fsencode, lambda p: p])
def test_kinds_of_paths(path, kind):
    with yammap.open(kind(path), "w+") as m:
        m.write(b"x")
        assert m.name == os.fspath(kind(path))
    assert path.read_bytes() == b"x"


def test_permissions(path):
    before = os.umask(0o027)
    try:
        yammap.open(path, "w+").close()
        yammap.create(path.with_name("other"), 0, perm=0o640).close()
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert os.stat(path.with_name("other")).st_mode & 0o777 == 0o640


# -- open_file


def test_open_file_flags(path):
    with pytest.raises(FileNotFoundError):
        yammap.open_file(path)
    with yammap.open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as m:
        m.write(b"abc")
    with yammap.open_file(path) as m:
        assert m.read() == b"abc"
        assert not m.writable()
    with yammap.open_file(path, os.O_RDWR | os.O_APPEND) as m:
        m.write(b"d")
        assert m.mode == "ab+"
    with yammap.open_file(path, os.O_RDWR | os.O_TRUNC) as m:
        assert m.size() == 0
    with yammap.open_file(path, private=True) as m:
        assert not m.readonly


def test_open_file_unnamed(tmp_path):
    with yammap.open_file(tmp_path, os.O_RDWR | os.O_TMPFILE) as m:
        m.write(b"unnamed")
        assert m.pread(9, 0) == b"unnamed"
    assert os.listdir(tmp_path) == []


def test_descriptors_are_not_inherited(path):
    with yammap.open(path, "w+") as m, yammap.anonymous(1) as n:
        assert not os.get_inheritable(m.fileno())
        assert not os.get_inheritable(n.fileno())


# -- create


def test_create_sets_the_size_exactly(path):
    with yammap.create(path, 10_000) as m:
        m.write_at(b"abc", 9_997)
        assert m.size() == 10_000
    assert os.stat(path).st_blocks * 512 >= 10_000
    with yammap.create(path, 9_999, exist_ok=True) as m:
        assert m.pread(10, 9_997) == b"ab"
    with yammap.create(path, 0, os.O_RDWR) as m:
        assert m.size() == 0
    assert os.stat(path).st_size == 0


def test_create_fills_the_holes_of_a_file_that_exists(path):
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    yammap.create(path, 1 << 20, exist_ok=True, preallocate=False).close()
    assert os.stat(path).st_blocks == 0
    yammap.create(path, 1 << 20, exist_ok=True).close()
    assert os.stat(path).st_blocks * 512 >= 1 << 20


def test_create_honours_its_flags(path):
    with yammap.create(path, 5, os.O_RDWR | os.O_CREAT | os.O_APPEND) as m:
        m.write(b"end")
    assert path.read_bytes() == b"\0\0\0\0\0end"
    with pytest.raises(FileExistsError):
        yammap.create(path, 5, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with yammap.create(path, 5, os.O_RDWR | os.O_TRUNC) as m:
        assert m.read() == bytes(5)
    with pytest.raises(io.UnsupportedOperation):
        yammap.create(path, 6, os.O_RDONLY)


@pytest.mark.parametrize(
    ("size", "kind"), [(-1, ValueError), (2**63, ValueError), ("1", TypeError)]
)
def test_create_refuses(path, size, kind):
    with pytest.raises(kind):
        yammap.create(path, size)


def test_create_leaves_a_file_that_exists(path):
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as error:
        yammap.create(path, 5)
    assert str(error.value) == (
        "[Errno 17] File exists: to cut or lengthen it to 5 bytes, pass exist_ok=True, or "
        f"flags= without os.O_EXCL: {str(path)!r}"
    )
    assert path.read_bytes() == b"precious"
    with yammap.create(path, 5, os.O_RDWR | os.O_CREAT | os.O_EXCL, exist_ok=True) as m:
        assert m.read() == b"preci"


# -- What to write instead


MODES = "mode must be one of 'r', 'r+', 'w+', 'x+', 'a+', 'c', not "


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("wb", "'wb': a mapping must also read, so write 'w+'"),
        ("a", "'a': a mapping must also read, so write 'a+'"),
        ("rw", "'rw': a mapping must also read, so write 'r+'"),
        ("rt+", "'rt+': a mapping is of bytes, so write 'r+' and wrap it in "
         "io.TextIOWrapper"),
        ("<u2", "'<u2': a dtype is for yammap.open_array(path, dtype, mode)"),
        (np.uint8, "<class 'numpy.uint8'>: a dtype is for yammap.open_array(path, dtype, "
         "mode)"),
        (np.dtype("f4"), "dtype('float32'): a dtype is for yammap.open_array(path, dtype, "
         "mode)"),
        ((3, 4), "(3, 4): if that is the shape, write shape=(3, 4)"),
        ("", "''"),
        ("U", "'U'"),
        (None, "None"),
    ],
)  # fmt: skip
def test_a_mode_that_is_none_says_which_is_meant(path, mode, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        yammap.open(path, mode)
    assert str(error.value) == MODES + text
    with pytest.raises(ValueError) as error:  # noqa: PT011
        yammap.open_array(path, "u1", mode)
    assert str(error.value) == MODES + text
    assert not path.exists()


class Opened:
    def __repr__(self):
        return "<a file>"

    def fileno(self):
        return 0


class Bytes(io.BytesIO):
    def __repr__(self):
        return "<BytesIO>"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (None, "None: for memory without a file write yammap.anonymous(size)"),
        (Bytes(), "<BytesIO>: its bytes are in memory already, use getbuffer()"),
        (Opened(), "<a file>: pass its fileno() to yammap.open"),
        (1.5, "1.5"),
        (["list"], "['list']"),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        yammap.open,
        yammap.open_file,
        lambda path: yammap.create(path, 10),
        lambda path: yammap.atomic_create(path, 10).__enter__(),
    ],
)
def test_what_is_no_path_says_what_to_do_with_it(call, wrong, text):
    with pytest.raises(TypeError) as error:
        call(wrong)
    assert str(error.value) == f"path must be str, bytes or path-like, not {text}"


def test_a_descriptor_is_for_open():
    with pytest.raises(TypeError) as error:
        yammap.open_file(5)
    assert str(error.value) == (
        "path must be str, bytes or path-like, not 5: yammap.open(descriptor, mode) maps "
        "an open file"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda path, size: yammap.open(path, "w+", size=size),
        yammap.create,
        lambda path, size: yammap.atomic_create(path, size).__enter__(),
        lambda path, size: yammap.anonymous(size),
    ],
)
def test_a_size_is_a_number_of_bytes(path, call):
    with pytest.raises(TypeError) as error:
        call(path, "10")
    assert str(error.value) == "size must be an int, a number of bytes, not '10'"
    assert not path.exists()


def test_arguments_in_the_order_of_memmap(path):
    path.write_bytes(bytes(24))
    with pytest.raises(TypeError) as error:
        yammap.open(path, "<u2", "r+")
    assert str(error.value) == (
        "open() got too many arguments without a name: for an array write "
        "open_array(path, dtype, mode, shape=...)"
    )
    with (
        pytest.warns(DeprecationWarning, match=r"shape=0, offset=\(3, 4\)"),
        pytest.raises(TypeError) as error,
    ):
        yammap.open_array(path, "<u2", "r", 0, (3, 4))
    assert str(error.value) == (
        "offset must be an int, not (3, 4): np.memmap takes the offset before the shape; "
        "here write shape=(3, 4)"
    )
    with pytest.raises(ValueError) as error:  # noqa: PT011
        yammap.MappedArray(path, "<u2", "r", 0, (3, 4))
    assert str(error.value) == (
        "mode must be one of 'r', 'r+', 'c', not (3, 4): write shape= and mode= by name"
    )
    with pytest.raises(ValueError, match="makes a new file"):
        yammap.MappedArray(path, "<u2", 3, mode="w+")
    with pytest.raises(TypeError, match="dtype: for an array write"):
        yammap.open(path, dtype="<u2")
    with pytest.raises(TypeError) as error:
        yammap.MappedArray(path, "<u2", "r", 0)
    assert str(error.value) == (
        "shape must be an int or a tuple of ints, not 'r': if that is the mode, write "
        "mode='r'"
    )


@pytest.mark.parametrize(
    ("advice", "bad"),
    [("random", False), ("willneed", False), (None, False), ("remove", True), ("x", True)],
)
def test_advice_by_name(path, advice, bad):
    path.write_bytes(bytes(24))
    if not bad:
        yammap.open(path, advice=advice).close()
        return
    with pytest.raises(ValueError) as error:  # noqa: PT011
        yammap.open(path, advice=advice)
    assert str(error.value) == (
        f"advice {advice!r} is unknown or discards data: pass a hint such as 'random', or "
        "call discard() or punch_hole() later"
    )


@pytest.mark.parametrize(
    ("mode", "options", "shown"),
    [
        ("r", {}, "mode='rb' size=10"),
        ("c", {}, "mode='c' size=10"),
        ("r+", {"offset": 3, "length": 5}, "mode='rb+' size=5 offset=3"),
        ("a+", {"engine": "pread"}, "mode='ab+' size=10 engine='pread'"),
    ],
)
def test_the_repr_shows_mode_window_and_engine(path, mode, options, shown):
    path.write_bytes(bytes(10))
    with yammap.open(path, mode, **options) as m:
        assert repr(m) == f"<Mmap name={str(path)!r} {shown}>"


# -- anonymous


def test_anonymous():
    with yammap.anonymous(1000, "scratch") as m:
        assert m.name == "memfd:scratch"
        assert "scratch" in os.readlink(f"/proc/self/fd/{m.fileno()}")
        assert m.read() == bytes(1000)
        m.write(b"grown")
        assert m.size() == 1005


def test_memory_may_be_there_from_the_start():
    size = 5 * mmap.PAGESIZE + 1
    with yammap.anonymous(size, populate=True) as m:
        assert m.resident().all()
    with yammap.anonymous(size) as m:
        assert not m.resident().any()


def test_memory_has_a_size():
    with pytest.raises(TypeError):
        yammap.anonymous(None)


# -- From a descriptor


@pytest.mark.parametrize("fd", [-1, -100, -(2**31), 2**31, -(2**80)])
@pytest.mark.parametrize("mode", ["r", "r+", "w+"])
def test_a_number_that_is_no_descriptor(fd, mode):
    with pytest.raises(OSError, match="Bad file descriptor") as told:
        yammap.open(fd, mode)
    assert told.value.errno == errno.EBADF


def test_descriptor_stays_the_callers(path):
    with open(path, "wb+") as file:
        file.write(b"shared")
        file.flush()
        with yammap.open(file.fileno(), "r+") as m:
            assert m.name == file.fileno()
            assert m.fileno() != file.fileno()
            m.write(b"S")
        assert os.pread(file.fileno(), 6, 0) == b"Shared"


def test_descriptor_decides_what_is_allowed(path):
    path.write_bytes(b"abc")
    with open(path, "rb") as file, yammap.open(file.fileno()) as m:
        assert not m.writable()
    with open(path, "ab") as file, pytest.raises(ValueError, match="for writing only"):
        yammap.open(file.fileno())


def test_bad_descriptor():
    with pytest.raises(OSError, match="Bad file descriptor"):
        yammap.open(10**6)


# -- Refused: FAULTS 47


def test_47_fifo_does_not_wait(path):
    os.mkfifo(path)
    for mode in ("r", "r+"):
        with pytest.raises(OSError, match="FIFO") as error:
            yammap.open(path, mode)
        assert (error.value.errno, error.value.filename) == (errno.ENODEV, str(path))


@pytest.mark.parametrize("mode", ["r", "c", "r+"])
def test_47_directory(tmp_path, mode):
    with pytest.raises(IsADirectoryError) as error:
        yammap.open(tmp_path, mode)
    assert error.value.filename == str(tmp_path)


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC])
def test_47_write_only(path, flags):
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"only write: use os\.O_RDWR"):
        yammap.open_file(path, flags)
    assert path.read_bytes() == b"abc"


def test_47_devices_sockets_pipes():
    for device in ("/dev/null", "/dev/zero"):
        with pytest.raises(OSError, match="only regular files") as error:
            yammap.open(device)
        assert (error.value.errno, error.value.filename) == (errno.ENODEV, device)
    one, two = socket.socketpair()
    with one, two, pytest.raises(OSError, match="only regular files"):
        yammap.open(one.fileno())


def test_47_proc_and_sys():
    for name in ("/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"):
        with pytest.raises(OSError, match=name) as error:
            yammap.open(name)
        assert error.value.errno in (errno.ENODEV, errno.EIO, errno.EINVAL)


@pytest.mark.parametrize("mode", ["r", "r+", "a+", "c"])
def test_47_empty_file(path, mode):
    path.touch()
    with yammap.open(path, mode) as m:
        assert m.size() == 0
        assert m.read() == b""
        assert bytes(m) == b""
        assert m.array().shape == (0,)
        assert m.find(b"x") == -1
        m.sync()


def test_47_symlink_loop(path):
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        yammap.open(path)


# -- The object


def test_initialised_only_once(path):
    with yammap.open(path, "w+") as m, pytest.raises(RuntimeError, match="only once"):
        m.__init__(m.fileno(), "again")


def test_without_init_it_is_closed():
    m = yammap.Mmap.__new__(yammap.Mmap)
    assert m.closed
    with pytest.raises(ValueError, match="closed"):
        m.pread(1, 0)


def test_subclass_and_weak_reference(path):
    class Log(yammap.Mmap):
        pass

    log = Log(os.open(path, os.O_RDWR | os.O_CREAT), str(path))
    log.extra = 1
    reference = weakref.ref(log)
    log.write(b"x")
    assert repr(log) == f"<Log name={str(path)!r} mode='rb+' size=1>"
    log.close()
    assert repr(log) == f"<Log name={str(path)!r} closed>"
    del log
    assert reference() is None


@pytest.mark.parametrize(
    ("mode", "options", "why"),
    [
        ("c", {}, "copy on write"),
        ("r", {"offset": 3, "length": 5}, "a window from offset 3"),
        ("r+", {"ahead": 1 << 20}, "a file that runs ahead of its data"),
    ],
)
def test_no_descriptor_that_shows_other_bytes(path, mode, options, why):
    path.write_bytes(b"0123456789")
    with (
        yammap.open(path, mode, **options) as m,
        pytest.raises(io.UnsupportedOperation, match=why),
    ):
        m.fileno()
    assert path.read_bytes() == b"0123456789"


@pytest.fixture
def linked(tmp_path, monkeypatch):
    """A directory in which ``link/..`` is another one, called far."""
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize("kind", [os.fsdecode, os.fsencode])
def test_a_file_behind_a_link_is_made_where_open_makes_it(linked, kind):
    with yammap.atomic_create(kind("link/../file"), 3):
        pass
    with yammap.open(kind("link/../file")) as m:
        assert m.size() == 3
    assert sorted(os.listdir(linked / "far")) == ["away", "file"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_a_file_of_the_longest_name_is_made_atomically(tmp_path, name):
    with yammap.atomic_create(tmp_path / name, 3):
        pass
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["", "away", "n" * 256])
def test_what_cannot_become_a_file_is_refused_before_the_block(linked, name, monkeypatch):
    monkeypatch.chdir(linked / "far")
    with pytest.raises(OSError), yammap.atomic_create(name, 3):  # noqa: PT011
        pytest.fail("its bytes would be lost")


def test_a_file_made_atomically_needs_its_descriptor(path):
    with (
        pytest.raises(ValueError, match="leave out keep_fd"),
        yammap.atomic_create(path, 3, keep_fd=False),
    ):
        pytest.fail("its bytes would be lost")
