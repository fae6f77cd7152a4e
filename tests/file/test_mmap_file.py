"""One suite for `io.FileIO` and for `Mmap`: what a raw file does, both do."""

import gc
import io
import os
import sys

import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture(params=[io.FileIO, yammap.open], ids=["FileIO", "Mmap"])
def open_raw(request):
    return request.param


@pytest.fixture
def raw(open_raw, path):
    path.write_bytes(b"first\nsecond\n\nlast")
    with open_raw(path, "r+") as file:
        yield file


def test_read(raw):
    assert raw.read(3) == b"fir"
    assert raw.read(0) == b""
    assert raw.read(4) == b"st\ns"
    assert raw.read() == b"econd\n\nlast"
    assert raw.read(1) == b""
    assert raw.read() == b""


@pytest.mark.parametrize("size", [-1, None])
def test_read_all(raw, size):
    raw.seek(6)
    assert raw.read(size) == b"second\n\nlast"


def test_readall(raw):
    raw.seek(14)
    assert raw.readall() == b"last"
    assert raw.readall() == b""


@pytest.mark.parametrize("make", [bytearray, lambda n: memoryview(bytearray(n))])
def test_readinto(raw, make):
    buffer = make(10)
    assert raw.readinto(buffer) == 10
    assert bytes(buffer) == b"first\nseco"
    assert raw.readinto(buffer) == 8
    assert bytes(buffer) == b"nd\n\nlastco"
    assert raw.readinto(buffer) == 0
    assert raw.tell() == 18


@pytest.mark.parametrize("target", [b"read-only", "text", 5])
def test_readinto_refuses(raw, target):
    with pytest.raises(TypeError):
        raw.readinto(target)
    assert raw.tell() == 0


def test_readline(raw):
    assert raw.readline() == b"first\n"
    assert raw.readline(3) == b"sec"
    assert raw.readline(0) == b""
    assert raw.readline(100) == b"ond\n"
    assert raw.readline(1) == b"\n"
    assert raw.readline(None) == b"last"
    assert raw.readline() == b""


def test_whatever_is_an_index_is_a_size(raw):
    class Three:
        def __index__(self):
            return 3

    assert raw.read(Three()) == b"fir"
    assert raw.readline(Three()) == b"st\n"
    with pytest.raises(TypeError):
        raw.readline(3.0)


def test_readlines(raw):
    assert raw.readlines() == [b"first\n", b"second\n", b"\n", b"last"]
    raw.seek(0)
    assert raw.readlines(5) == [b"first\n"]
    raw.seek(0)
    assert raw.readlines(6) == [b"first\n", b"second\n"]


def test_iteration(raw):
    assert list(raw) == [b"first\n", b"second\n", b"\n", b"last"]
    assert next(raw, None) is None


def test_write_in_the_middle(raw, path):
    raw.seek(6)
    assert raw.write(b"SECOND") == 6
    assert raw.tell() == 12
    assert path.read_bytes() == b"first\nSECOND\n\nlast"


def test_write_across_the_end(raw, path):
    raw.seek(-2, os.SEEK_END)
    assert raw.write(b"XYZ") == 3
    assert raw.write(memoryview(b"!")) == 1
    assert path.read_bytes() == b"first\nsecond\n\nlaXYZ!"


@pytest.mark.parametrize("data", ["text", 5, None])
def test_write_refuses(raw, data):
    with pytest.raises(TypeError):
        raw.write(data)


def test_writelines(raw, path):
    raw.writelines([b"a", bytearray(b"bc")])
    assert path.read_bytes()[:5] == b"abcst"


def test_seek_and_tell(raw):
    assert raw.tell() == 0
    assert raw.seek(5) == raw.tell() == 5
    assert raw.seek(2, os.SEEK_CUR) == 7
    assert raw.seek(-2, os.SEEK_CUR) == 5
    assert raw.seek(-4, os.SEEK_END) == 14
    assert raw.seek(0, os.SEEK_END) == 18
    assert raw.seek(3, os.SEEK_DATA) == 3
    assert raw.seek(3, os.SEEK_HOLE) == 18


def test_past_the_end_there_is_nothing_to_read_and_room_to_write(raw, path):
    end = path.stat().st_size
    assert raw.seek(2, os.SEEK_END) == raw.tell() == end + 2
    assert raw.read(5) == raw.readline() == b""
    assert raw.readinto(bytearray(5)) == 0
    assert path.stat().st_size == end
    assert raw.write(b"x") == 1
    assert path.read_bytes()[end:] == b"\0\0x"


def test_the_position_is_that_of_a_descriptor_handed_out(raw, path):
    """What writes through it (Pillow, torch, ndarray.tofile) comes behind `write`."""
    raw.seek(3)
    raw.write(b"12")
    fd = raw.fileno()
    assert os.write(fd, b"3456") == 4
    assert raw.tell() == 9
    assert raw.write(b"7") == 1
    assert path.read_bytes().startswith(b"fir1234567")
    raw.seek(-1, os.SEEK_END)
    os.write(fd, b"longer")
    assert raw.seek(-6, os.SEEK_END) == 17
    assert raw.read() == b"longer"
    assert raw.tell() == os.lseek(fd, 0, os.SEEK_CUR) == 23


def test_truncate(raw, path):
    raw.seek(5)
    assert raw.truncate() == 5
    assert path.read_bytes() == b"first"
    assert raw.truncate(7) == 7
    assert path.read_bytes() == b"first\0\0"
    assert raw.tell() == 5
    assert raw.truncate(0) == 0
    assert raw.tell() == 5
    assert raw.read() == b""
    assert raw.write(b"x") == 1
    assert path.read_bytes() == b"\0\0\0\0\0x"


def test_truncate_cuts_what_was_written_through_the_descriptor(raw, path):
    assert os.write(raw.fileno(), b"x" * 100) == 100
    assert raw.truncate(30) == 30
    assert path.read_bytes() == b"x" * 30


def test_what_others_append_is_read(raw, path):
    raw.seek(0, os.SEEK_END)
    with open(path, "ab", buffering=0) as other:
        assert raw.readline() == raw.read(5) == b""
        other.write(b" line\nmore")
        assert raw.readline() == b" line\n"
        assert raw.read(9) == b"more"
        other.write(b"and more")
        assert raw.readinto(buffer := bytearray(9)) == 8
        assert buffer == b"and more\0"
        other.write(b"all")
        assert raw.read() == b"all"
        other.write(b"end")
        assert raw.seek(-3, os.SEEK_END) == raw.tell() == path.stat().st_size - 3
        assert raw.readlines() == [b"end"]


@pytest.mark.parametrize("size", [0, 2, 6 * PAGE + 3])
def test_what_others_cut_is_not_read(open_raw, path, size):
    path.write_bytes(b"line\n" * 10_000)
    for read in ("read", "readall", "readline", "readinto"):
        with open_raw(path, "r+") as file:
            file.seek(8 * PAGE)
            os.truncate(path, size)
            arguments = (bytearray(5),) if read == "readinto" else ()
            assert getattr(file, read)(*arguments) in (b"", 0)
            assert file.tell() == 8 * PAGE
        path.write_bytes(b"line\n" * 10_000)


def test_a_read_across_a_cut_ends_there(open_raw, path):
    path.write_bytes(b"x" * 10 * PAGE)
    with open_raw(path) as file:
        os.truncate(path, 2 * PAGE + 9)
        assert file.read(5 * PAGE) == b"x" * (2 * PAGE + 9)
        assert file.tell() == 2 * PAGE + 9


@pytest.mark.parametrize("size", [0, 3, 2 * PAGE + 3])
@pytest.mark.parametrize("at", [0, PAGE + 1, 3 * PAGE, 4 * PAGE - 1, 9 * PAGE])
def test_a_write_extends_what_others_have_cut(open_raw, path, size, at):
    path.write_bytes(b"x" * 4 * PAGE)
    with open_raw(path, "r+") as file:
        file.seek(at)
        os.truncate(path, size)
        assert file.write(b"y" * PAGE) == PAGE
        assert file.tell() == at + PAGE
    expected = (b"x" * size).ljust(at, b"\0")
    expected = expected[:at] + b"y" * PAGE + expected[at + PAGE :]
    assert path.read_bytes() == expected


def test_truncate_cuts_what_others_have_appended(raw, path):
    path.write_bytes(b"x" * 100)
    assert raw.truncate(30) == 30
    assert path.read_bytes() == b"x" * 30


def test_truncate_refuses_negative(raw, path):
    with pytest.raises((OSError, ValueError)):
        raw.truncate(-1)
    assert len(path.read_bytes()) == 18


def test_capabilities(raw):
    assert raw.readable()
    assert raw.writable()
    assert raw.seekable()
    assert not raw.isatty()
    assert os.fstat(raw.fileno()).st_size == 18


@pytest.mark.parametrize(
    ("mode", "reported"), [("r", "rb"), ("r+", "rb+"), ("w+", "rb+"), ("a+", "ab+")]
)
def test_mode_and_name(open_raw, path, mode, reported):
    path.touch()
    with open_raw(path, mode) as file:
        assert file.mode == reported
        assert os.fspath(file.name) == os.fspath(path)


def test_the_name_can_be_set(raw):
    raw.name = "new"
    assert raw.name == "new"
    assert "name='new'" in repr(raw)


@pytest.mark.no_sanitizer
def test_errors_call_the_file_by_the_name_that_was_set(child):
    """Those of views that were handed out before as well."""
    child(
        """
        import os, yammap
        m = yammap.create("file", 2 * 4096)
        view = m.view()
        m.name = "called"
        os.truncate("file", 0)
        for call in (lambda: view[5000], lambda: m.pread(1, 5000)):
            try:
                call()
                for _ in range(10**8):
                    pass
            except yammap.BusError as error:
                assert error.filename == "called", error
            else:
                raise AssertionError
        """
    )


@pytest.mark.parametrize("kind", [io.FileIO, yammap.Mmap])
@pytest.mark.parametrize("before", [False, True], ids=["open", "closed before"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_dropped_is_closed_once(path, kind, before):
    """By the `close` of a subclass, which may have more to do."""
    closed = []

    class Closing(kind):
        def close(self):
            closed.append(self.closed)
            super().close()

    path.write_bytes(b"abc")
    file = Closing(os.open(path, os.O_RDWR), "r+")
    if before:
        file.close()
    del file
    gc.collect()
    assert closed == [False]


def test_dropping_a_mapping_warns_of_nothing(path):
    path.write_bytes(b"abc")
    yammap.open(path)
    gc.collect()


def test_what_closing_raises_is_told_when_there_is_nobody_to_raise_in(path, monkeypatch):
    class Failing(yammap.Mmap):
        def close(self):
            super().close()
            raise OSError("told")

    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))
    path.write_bytes(b"abc")
    Failing(os.open(path, os.O_RDWR), path)
    gc.collect()
    assert [str(error) for error in told] == ["told"]


def test_append(open_raw, path):
    path.write_bytes(b"old")
    with open_raw(path, "a+") as file:
        assert file.tell() == 3
        assert file.write(b"new") == 3
        file.seek(0)
        assert file.write(b"er") == 2
        assert file.tell() == 8
        file.seek(3)
        assert file.write(b"") == 0
        assert file.tell() == 3
        file.seek(0)
        assert file.read() == b"oldnewer"


def test_what_is_appended_to_has_one_beginning(open_raw, path):
    """No second byte order mark and no second header, for which writers ask tell()."""
    for row in ("first", "second"):
        raw = io.BufferedRandom(open_raw(path, "a+"))
        with io.TextIOWrapper(raw, encoding="utf-16", newline="\n") as text:
            text.write(f"header\n{row}\n" if text.tell() == 0 else f"{row}\n")
    assert path.read_text("utf-16") == "header\nfirst\nsecond\n"


def test_read_only(open_raw, path):
    path.write_bytes(b"abc")
    with open_raw(path) as file:
        assert not file.writable()
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
        with pytest.raises(io.UnsupportedOperation):
            file.truncate(1)
    assert path.read_bytes() == b"abc"


CALLS = {
    "read": (),
    "readall": (),
    "readinto": (bytearray(1),),
    "readline": (),
    "readlines": (),
    "write": (b"x",),
    "writelines": ([b"x"],),
    "seek": (0,),
    "tell": (),
    "truncate": (),
    "flush": (),
    "fileno": (),
    "isatty": (),
    "readable": (),
    "writable": (),
    "seekable": (),
    "__enter__": (),
    "__iter__": (),
    "__next__": (),
}


def test_writing_no_lines_to_a_closed_file_raises(raw):
    raw.close()
    with pytest.raises(ValueError, match="closed"):
        raw.writelines([])


@pytest.mark.parametrize("name", CALLS)
def test_closed(raw, name):
    assert not raw.closed
    raw.close()
    raw.close()
    assert raw.closed
    with pytest.raises(ValueError, match="closed"):
        getattr(raw, name)(*CALLS[name])


def test_with_closes(open_raw, path):
    path.touch()
    with open_raw(path) as file:
        assert not file.closed
    assert file.closed


def test_missing_file(open_raw, path):
    with pytest.raises(FileNotFoundError) as error:
        open_raw(path)
    assert os.fspath(error.value.filename) == os.fspath(path)


def test_exclusive(open_raw, path):
    with open_raw(path, "x+") as file:
        file.write(b"mine")
    with pytest.raises(FileExistsError):
        open_raw(path, "x+")
    assert path.read_bytes() == b"mine"


def test_buffered_reader(raw):
    with io.BufferedReader(raw, 4) as buffered:
        assert buffered.peek()[:2] == b"fi"
        assert buffered.read(7) == b"first\ns"
        assert list(buffered) == [b"econd\n", b"\n", b"last"]


def test_buffered_writer(raw, path):
    with io.BufferedWriter(raw, 4) as buffered:
        buffered.write(b"12")
        buffered.write(b"345678")
    assert raw.closed
    assert path.read_bytes()[:9] == b"12345678c"


def test_buffered_random(raw, path):
    with io.BufferedRandom(raw, 8) as buffered:
        assert buffered.read(2) == b"fi"
        buffered.write(b"RST")
        buffered.seek(0, os.SEEK_END)
        buffered.write(b" line")
        buffered.seek(0)
        assert buffered.readline() == b"fiRST\n"
        buffered.truncate(8)
    assert path.read_bytes() == b"fiRST\nse"


def test_text(raw):
    random = io.BufferedRandom(raw)
    with io.TextIOWrapper(random, encoding="ascii", newline="\n") as text:
        assert text.readlines() == ["first\n", "second\n", "\n", "last"]
        text.write(" word")
        text.seek(0)
        assert text.read() == "first\nsecond\n\nlast word"
