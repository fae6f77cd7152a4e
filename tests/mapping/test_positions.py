"""A position, as `io.FileIO` has it and `Mmap` has it: what reads, writes and moves it."""

import os
import threading

import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


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


def test_the_first_turns_are_taken_from_one_lock(monkeypatch):
    made, taken = [], []

    class Lock:
        def __init__(self):
            made.append(self)
            if len(made) == 1:  # while it is made, another thread, or a signal handler,
                with m._turn:  # takes a turn
                    pass

        def acquire(self):
            taken.append(self)

        def release(self):
            pass

    with yammap.anonymous(1) as m:
        monkeypatch.setattr(threading, "RLock", Lock)
        for _ in range(2):
            with m._turn:
                assert m._turn.takers == 1
    assert taken == 3 * [made[1]]
    assert len(made) == 2


def test_a_turn_that_cannot_be_taken_is_left(monkeypatch):
    def fail():
        raise MemoryError

    with yammap.anonymous(1) as m:
        monkeypatch.setattr(threading, "RLock", fail)
        with pytest.raises(MemoryError), m._turn:
            pass
        assert m._turn.takers == 0


@pytest.mark.parametrize("pages", [3, 8])
def test_a_hot_write_behind_a_cut_is_in_the_file(path, pages):
    """The page is there, and hot, but the file ends in the middle of it."""
    path.write_bytes(b"x" * (pages * PAGE))
    with yammap.open(path, "r+") as m:
        for size in (100, 100, 100):  # the third finds all pages hot
            m.seek(50)
            m.write(b"y" * size)
        os.truncate(path, 60)
        m.seek(55)
        assert m.write(b"z" * 100) == 100
        assert path.read_bytes() == b"x" * 50 + b"y" * 5 + b"z" * 100


def test_who_keeps_the_gil_waits_for_who_has_the_turn(path):
    path.write_bytes(b"0123456789" * PAGE)
    with yammap.open(path, "r+") as m:
        for _ in range(3):  # its page is hot then
            m.seek(0)
            m.read(1)
        reader = threading.Thread(target=m.read, args=(1,))
        with m._turn:
            reader.start()
            while m._turn.takers < 2:
                assert reader.is_alive()
            reader.join(0.2)  # in vain, since it waits
            assert reader.is_alive()
            assert m.tell() == 1
        reader.join()
        assert m.tell() == 2


def test_a_write_at_the_largest_position_is_too_far(path):
    """Hot pages and the end of the numbers: the sums may not overflow."""
    path.write_bytes(bytes(4000))
    with yammap.open(path, "r+", offset=1) as m:
        for _ in range(3):  # the page is hot for loads and stores then
            m.write_at(b"x", 0)
            m.pread(1, len(m) - 1)
        for position in 2**63 - 1, 2**63 - 2, 2**63 - 4096:
            m.seek(position)
            with pytest.raises(OSError, match="too large"):
                m.write(b"x")
            assert m.tell() == position
    assert path.stat().st_size == 4000
