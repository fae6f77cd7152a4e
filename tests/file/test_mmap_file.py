"""One suite for `io.FileIO` and for `Mmap`: what a raw file does, both do."""

import gc
import io
import os
import sys

import pytest

import yammap


def test_readall(raw):
    raw.seek(14)
    assert raw.readall() == b"last"
    assert raw.readall() == b""


def test_readlines(raw):
    assert raw.readlines() == [b"first\n", b"second\n", b"\n", b"last"]
    raw.seek(0)
    assert raw.readlines(5) == [b"first\n"]
    raw.seek(0)
    assert raw.readlines(6) == [b"first\n", b"second\n"]


def test_iteration(raw):
    assert list(raw) == [b"first\n", b"second\n", b"\n", b"last"]
    assert next(raw, None) is None


def test_writelines(raw, path):
    raw.writelines([b"a", bytearray(b"bc")])
    assert path.read_bytes()[:5] == b"abcst"


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
        assert file.mode in (
            reported,
            mode[0] + reported[1:],
        )  # since Python 3.15, of FileIO
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
