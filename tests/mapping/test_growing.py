"""How a mapping gets another size: appends, resizing, blocks, reserves."""

import io
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


def test_append_mode_takes_nothing_else(path):
    path.write_bytes(b"log")
    with yammap.open(path, "a+") as m:
        for refused in (lambda: m.write_at(b"x", 0), m.punch_hole):
            with pytest.raises(io.UnsupportedOperation, match=r"file.bin.* append mode"):
                refused()
        assert m.readonly
        assert memoryview(m).readonly
        m.truncate(1)
        assert m[:] == b"l"


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


@pytest.mark.parametrize("step", [1, PAGE, 1 << 20])
def test_growth_has_blocks(path, step):
    with yammap.open(path, "w+") as m:
        m.resize(step)
        m.sync()
        assert os.stat(path).st_blocks * 512 >= step


def test_blocks_ahead_of_growth_are_few(path):
    with yammap.open(path, "w+", size=1 << 20) as m:
        m.sync()
        assert os.stat(path).st_blocks * 512 < (1 << 20) + PAGE + 1
        for step in range(100):
            m.resize((1 << 20) + step * PAGE)
        m.sync()
        used = os.stat(path).st_blocks * 512
        assert m.size() <= used <= m.size() + (1 << 16) + PAGE
        m.resize(PAGE)
        assert os.stat(path).st_blocks * 512 <= 2 * PAGE


def test_growth_without_preallocation_is_sparse(path):
    with yammap.open(path, "w+", preallocate=False) as m:
        m.resize(1 << 30)
        assert os.stat(path).st_blocks * 512 < 1 << 20
        assert m.pread(4, 1 << 29) == bytes(4)


def test_sparse_growth_does_not_cut_what_another_appended(path):
    with yammap.open(path, "w+", preallocate=False) as m:
        path.write_bytes(b"x" * 1000)
        m.resize(500)
        assert os.stat(path).st_size == 1000


@pytest.mark.parametrize("use", ["write", "write_at"])
def test_a_gap_is_a_hole(path, use):
    with yammap.open(path, "w+") as m:
        m.write(b"start")
        if use == "write":
            m.seek(1 << 20)
            m.write(b"end")
        else:
            m.write_at(b"end", 1 << 20)
        m.sync()
        assert os.stat(path).st_blocks * 512 < 1 << 18
        assert m.pread(4, (1 << 20) - 1) == b"\0end"


def test_what_is_added_by_resizing_has_blocks_behind_a_hole_too(path):
    with yammap.open(path, "w+") as m:
        m.write_at(b"end", 1 << 20)
        m.resize(2 << 20)
        m.sync()
        assert 1 << 20 <= os.stat(path).st_blocks * 512 < 2 << 20


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


def test_resize_of_what_has_a_fixed_size(path):
    path.write_bytes(b"x" * 100)
    for options in ({"mode": "r+", "length": 50}, {"mode": "c"}):
        with yammap.open(path, **options) as m:
            with pytest.raises(ValueError, match="fixed size"):
                m.resize(10)
            with pytest.raises(ValueError, match="fixed size"):
                m.write_at(b"xy", m.size() - 1)
            with pytest.raises(ValueError, match="fixed size"):
                m.append(b"x")
            with pytest.raises(ValueError, match="fixed size"):
                m.refresh()
    assert path.read_bytes() == b"x" * 100


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


@pytest.mark.no_sanitizer
def test_without_a_reserve_growth_maps_anew(child):
    # RLIMIT_AS leaves no room for the default reserve of 1 GiB.
    child("""
        import resource, yammap
        resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))
        m = yammap.open("exact", "w+")
        m.write(b"start")
        view = m.view()
        for size in range(1 << 20, 20 << 20, 1 << 20):
            m.resize(size)
            m.write_at(b"end", size - 3)
            assert m.pread(3, size - 3) == b"end"
        view[:] = b"START"
        assert m.pread(5, 0) == b"START"
    """)


def test_a_reserve_that_cannot_be_had(path):
    for reserve in (2**63 - 1, 1 << 62, 1 << 47):
        with yammap.open(path, "w+", reserve=reserve) as m:
            m.write(b"fits")
            assert m.pread(4, 0) == b"fits"
