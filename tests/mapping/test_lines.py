"""Lines: their ends, the pages they are on, and whose `readline` an iteration calls."""

import mmap
import os

import pytest

import yammap

PAGE = mmap.PAGESIZE


def lines_of(*lengths):
    return [b"x" * (length - 1) + b"\n" for length in lengths]


@pytest.fixture(params=[1, 2], ids=["cold", "hot"])
def read(request, tmp_path):
    """Read a file of these lines once or twice: the second time its pages are hot."""

    def in_all_ways(lines):
        path = tmp_path / "lines"
        path.write_bytes(b"".join(lines))
        with yammap.open(path) as m:
            for _ in range(request.param):
                m.seek(0)
                by_call = list(iter(m.readline, b""))
            at = m.tell()
            m.seek(0)
            return by_call, list(m), at

    return in_all_ways


@pytest.mark.parametrize(
    "lengths",
    [
        [1],
        [1] * 5000,
        [100] * 500,
        [PAGE, PAGE],
        [PAGE - 1, 2, PAGE - 1],
        [PAGE - 10, 20, PAGE - 11],  # one across the seam, one up to it
        [PAGE - 1, PAGE + 1, 1, 2 * PAGE, 3 * PAGE + 7, 1],
        [50_000, 1, 50_000],
    ],
    ids=str,
)
@pytest.mark.parametrize("rest", [b"", b"without an end"])
def test_lines_are_those_of_a_file(read, lengths, rest):
    lines = lines_of(*lengths) + ([rest] if rest else [])
    assert read(lines) == (lines, lines, sum(map(len, lines)))


def test_a_file_without_a_newline_is_one_line(read):
    for length in 1, 100, PAGE - 1, PAGE, PAGE + 1:
        assert read([b"x" * length]) == ([b"x" * length], [b"x" * length], length)


def test_an_iteration_calls_the_readline_of_a_subclass(tmp_path):
    class Upper(yammap.Mmap):
        def readline(self, size=-1, /):
            return super().readline(size).upper()

    path = tmp_path / "lines"
    path.write_bytes(b"a\nb\nc\n")
    with Upper(os.open(path, os.O_RDONLY), path) as m:
        assert next(m) == b"A\n"
        assert [*m] == [b"B\n", b"C\n"]
        m.seek(0)
        assert m.readlines() == [b"A\n", b"B\n", b"C\n"]


def test_it_is_its_own_iterator_as_a_file_is(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n")
    with yammap.open(path) as m:
        assert iter(m) is m
        assert [line for line in m for _ in range(1)] == [b"one\n", b"two\n"]
        with pytest.raises(StopIteration):
            next(m)


@pytest.mark.parametrize("hint", [None, -1, 0, 1, 3, 4, 5, 8, 100])
def test_readlines_stops_where_a_file_does(tmp_path, hint):
    path = tmp_path / "lines"
    path.write_bytes(b"abc\n" * 5)
    with yammap.open(path) as m, open(path, "rb", buffering=0) as file:
        assert m.readlines(hint) == file.readlines(hint)
        assert m.tell() == file.tell()
