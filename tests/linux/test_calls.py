"""The kernel as Python sees it: harmless advice, and descriptors that are not lost."""

import fcntl
import os

import pytest

from yammap._linux.calls import CONSTANTS, HARMLESS, Descriptor, ask, open_again


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def opened():
    return os.open("/", os.O_RDONLY)


def test_advice_that_loses_data_or_kills_is_not_harmless():
    deadly = {"DONTNEED", "FREE", "REMOVE", "DONTNEED_LOCKED", "HWPOISON", "SOFT_OFFLINE"}
    advice = {name for name in CONSTANTS if name.startswith("MADV_")}
    harmless = {name for name in advice if CONSTANTS[name] in HARMLESS}
    assert advice - harmless == {"MADV_" + name for name in deadly}
    assert len(harmless) == len(HARMLESS)


def test_a_descriptor_is_closed_with_its_object():
    descriptor = Descriptor(opened)
    fd = descriptor.fd
    assert is_open(fd)
    del descriptor
    assert not is_open(fd)


def test_a_descriptor_is_closed_behind_its_block():
    with Descriptor(os.open, "/", os.O_RDONLY) as fd:
        assert is_open(fd)
    assert not is_open(fd)
    descriptor = Descriptor(opened)
    with pytest.raises(ZeroDivisionError), descriptor as fd:
        raise ZeroDivisionError
    assert not is_open(fd)
    assert descriptor.fd == -1


def test_a_call_that_fails_leaves_nothing(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Descriptor(os.open, tmp_path / "missing", os.O_RDONLY)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_number_that_others_got_meanwhile_stays_theirs():
    """What has been closed once is not closed again."""
    descriptor = Descriptor(opened)
    with descriptor:
        pass
    fd = opened()
    del descriptor
    assert is_open(fd)
    os.close(fd)


def test_a_file_that_is_opened_again_has_an_offset_of_its_own(tmp_path):
    with open(tmp_path / "file", "ab") as file:
        file.write(b"abc")
        file.flush()
        for kept, flags in (
            (os.O_ACCMODE | os.O_APPEND, os.O_WRONLY | os.O_APPEND),
            (os.O_ACCMODE, os.O_WRONLY),
        ):
            own = open_again(file.fileno(), ask(file.fileno(), kept))
            assert own.flags == flags
            assert fcntl.fcntl(own.fd, fcntl.F_GETFL) & kept == flags
            assert os.lseek(own.fd, 0, os.SEEK_CUR) == 0
            assert not os.get_inheritable(own.fd)


def test_what_is_no_regular_file_is_duplicated():
    reader, writer = os.pipe()
    with open_again(writer) as fd:
        os.write(fd, b"x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        open_again(writer)
