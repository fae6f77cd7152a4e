"""How a mapping gets another size: appends, resizing, blocks, reserves."""

import mmap
import os

import pytest

import yammap

PAGE = mmap.PAGESIZE


def test_append_tells_where(m, path):
    assert m.append(b"one") == 16384
    assert m.append(b"") == 16387
    assert m.append(b"two") == 16387
    assert path.read_bytes()[16384:] == b"onetwo"


def test_append_mode_sees_what_others_append(path):
    with yammap.open(path, "a+") as one, yammap.open(path, "a+") as two:
        assert one.append(b"one") == 0
        assert two.append(b"two") == 3
        assert one.size() == 3
        assert one.refresh() == 6
        assert one.read() == b"onetwo"
        assert one.append(b"") == 6


def test_append_mode_finds_room_behind_what_others_append(path):
    with yammap.open(path, "a+", reserve=0) as m:
        with open(path, "ab") as other:
            other.write(bytes(9 * PAGE))
        assert m.append(b"one") == 9 * PAGE
        assert m.size() == 9 * PAGE + 3
        assert m.pread(9, 9 * PAGE) == b"one"


@pytest.mark.parametrize("mode", ["a+", "w+"])
def test_append_keeps_views_of_a_region_without_room(path, mode):
    with yammap.open(path, mode, reserve=0) as m:
        assert m.append(b"one") == 0
        view = m.view()
        assert [m.append(bytes(PAGE)) for _ in range(3)] == [3, PAGE + 3, 2 * PAGE + 3]
        assert view == b"one"
        assert m.pread(m.size(), 0) == b"one" + bytes(3 * PAGE)


def test_resize(m, path):
    m.resize(20_000)
    assert m.size() == os.stat(path).st_size == 20_000
    assert m.pread(20_000, 16384) == bytes(20_000 - 16384)
    m.resize(0)
    m.resize(0)
    assert path.read_bytes() == b""
    m.resize(5)
    assert m.pread(9, 0) == bytes(5)


@pytest.mark.parametrize("size", [PAGE + 100, PAGE])
def test_bytes_cut_off_come_back_as_zeros(m, size):
    m.resize(size)
    m.resize(3 * PAGE)
    assert m.pread(3 * PAGE, size) == bytes(3 * PAGE - size)


def test_failed_growth_changes_nothing(child):
    # RLIMIT_FSIZE stands for any failure in the middle: pwrite comes back short.
    child("""
        import errno, os, resource, yammap
        m = yammap.open("limited", "w+")
        m.write(b"kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        for grow in (lambda: m.write_at(b"x" * 200, 2), lambda: m.append(b"x" * 200),
                     lambda: m.resize(200), lambda: m.write_at(b"x", 150),
                     lambda: m.resize(1 << 20)):
            try:
                grow()
            except OSError as error:
                assert error.errno == errno.EFBIG, error
                assert error.filename == "limited"
            else:
                raise AssertionError
            assert m.size() == os.stat("limited").st_size == 4
            assert m.pread(10, 0) == b"kept"
        m.append(b"!")
        assert m.pread(10, 0) == b"kept!"
    """)


def test_failed_append_changes_nothing(child):
    child("""
        import os, resource, yammap
        m = yammap.open("limited", "a+")
        m.write(b"kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            m.append(b"x" * 200)
        except OSError:
            pass
        else:
            raise AssertionError
        assert m.size() == os.stat("limited").st_size == 4
        assert m.append(b"!") == 4
    """)


@pytest.mark.parametrize("base", [1 << 32, (1 << 32) - 3, 5 << 30])
def test_beyond_4_gib(path, base):
    with yammap.open(path, "w+", preallocate=False) as m:
        m.write_at(b"far away", base)
        assert m.size() == base + 8
        assert m.pread(100, base) == b"far away"
        assert m.find(b"away", base - 10) == base + 4
        view = m.view(base + 4)
        m.write_at(b"AWAY", base + 4)
        assert bytes(view) == b"AWAY"
        m.sync(base, 8)
    with yammap.open(path, offset=base + 1) as m:
        assert m.read() == b"ar AWAY"


def test_a_sparse_file_of_8_tib(path):
    size = 8 << 40
    with yammap.open(path, "w+", size=size, preallocate=False) as m:
        m.write_at(b"last", size - 4)
        assert m.pread(8, size - 4) == b"last"
        m.append(b"!")
        assert m.size() == size + 1
