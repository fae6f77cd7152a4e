"""The calls of `mmap.mmap` by themselves; compat/test_compat compares them with mmap's."""

import inspect
import mmap
import operator
import sys

import pytest

from yammap import compat


@pytest.fixture
def m():
    with compat.mmap(-1, 10) as made:
        made[:] = b"0123456789"
        yield made


@pytest.mark.parametrize(
    ("pos", "whence", "at"), [(4, 0, 4), (-3, 1, 2), (-3, 2, 7), (10, 0, 10)]
)
def test_seek_moves_to_every_position_that_there_is(m, pos, whence, at):
    m.seek(5)
    assert m.seek(pos, whence) == m.tell() == at


@pytest.mark.parametrize(("pos", "whence"), [(-1, 0), (11, 0), (1, 2), (-6, 1), (6, 1)])
def test_seek_moves_to_no_other(m, pos, whence):
    m.seek(5)
    with pytest.raises(ValueError, match="seek out of range"):
        m.seek(pos, whence)
    assert m.tell() == 5


@pytest.mark.parametrize("again", [False, True])
def test_what_does_not_fit_is_not_written_at_all(m, again):
    if again:  # to a hot page
        m.seek(5)
        m.write(b"56789")
    m.seek(6)
    with pytest.raises(ValueError, match="data out of range"):
        m.write(b"12345")
    assert (m[:], m.tell()) == (b"0123456789", 6)
    assert m.write(b"abcd") == 4
    with pytest.raises(ValueError, match="write byte out of range"):
        m.write_byte(1)
    assert (m[:], m.tell()) == (b"012345abcd", 10)


def test_a_search_begins_at_the_position(m):
    m.seek(4)
    assert (m.find(b"3"), m.find(b"4"), m.rfind(b"3"), m.find(b"3", 0)) == (-1, 4, -1, 3)
    assert (m.find(b"8", 0, 8), m.find(b"8", -3, 9), m.rfind(b"", 2, -3)) == (-1, 8, 7)


def test_the_defaults_say_what_they_are():
    start, end = ("None",) * 2 if sys.version_info >= (3, 14) else ("tell()", "len()")
    assert str(inspect.signature(compat.mmap.find)) == (
        f"(self, sub, start={start}, end={end}, /)"
    )
    size = "= -1, /, *, flags" if sys.version_info >= (3, 15) else f"= {end}, /)"
    assert size in str(inspect.signature(compat.mmap.flush))


def test_a_read_only_mapping_takes_no_byte(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    with (
        path.open("rb") as file,
        compat.mmap(file.fileno(), 0, access=compat.ACCESS_READ) as m,
    ):
        for call in (
            lambda: m.write(b"b"),
            lambda: m.write_byte(1),
            lambda: m.move(0, 1, 2),
            lambda: operator.setitem(m, 0, 1),
            lambda: operator.setitem(m, slice(0, 1), None),
            lambda: operator.delitem(m, 9),
        ):
            with pytest.raises(TypeError, match="can't modify a readonly memory map"):
                call()
        assert m.read() == b"bytes"


@pytest.mark.parametrize("key", [0, 1.5, 2**64, slice(1, 3), slice(0, 3, 0)])
def test_what_deletes_is_refused_in_the_words_of_mmap(m, key):
    theirs = mmap.mmap(-1, 10)
    with pytest.raises((TypeError, IndexError, ValueError)) as expected:
        del theirs[key]
    with pytest.raises(expected.type) as told:
        del m[key]
    assert str(told.value).startswith(str(expected.value))


def test_a_wrong_index_is_said_before_another_mistake_by_python_before_3_14(m):
    is_new = sys.version_info >= (3, 14)
    with pytest.raises(TypeError if is_new else IndexError):
        del m[10]
    with pytest.raises(ValueError if is_new else IndexError):
        m[10] = 256


@pytest.mark.parametrize("size", [[], 1.5, "1", 2**64, -(2**64)])
def test_a_size_that_is_none_is_refused_in_the_words_of_mmap(m, size):
    with pytest.raises((TypeError, OverflowError)) as expected:
        mmap.mmap(-1, 10).read(size)
    with pytest.raises(expected.type) as told:
        m.read(size)
    assert str(told.value) == str(expected.value)


def test_an_argument_that_closes_the_mapping_finds_it_closed(tmp_path):
    class Closing:
        def __index__(self):
            m.close()
            return 1

    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    with path.open("rb") as file:
        for call in ("flush", "find", "seek"):
            m = compat.mmap(file.fileno(), 0, access=compat.ACCESS_READ)
            arguments = {"flush": (0, Closing()), "find": (b"t", Closing())}
            with pytest.raises(ValueError, match="closed"):
                getattr(m, call)(*arguments.get(call, (Closing(),)))
