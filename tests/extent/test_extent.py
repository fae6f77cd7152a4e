"""The end of a file: its size, its blocks, and what others append behind it."""

import os

import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


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


@pytest.mark.parametrize("preallocate", [True, False])
@pytest.mark.parametrize("grow", ["m.resize(1 << 20)", "m.write_at(b'x', 1 << 20)"])
def test_failed_growth_keeps_what_others_appended(child, preallocate, grow):
    child(f"""
        import errno, resource, yammap
        m = yammap.open("file", "w+", size=100, preallocate={preallocate})
        with open("file", "ab") as file:
            file.write(b"o" * 50)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            {grow}
        except OSError as error:
            assert error.errno == errno.EFBIG
        else:
            raise AssertionError
        with open("file", "rb") as file:
            assert file.read() == bytes(100) + b"o" * 50
        assert m.size() == 100
    """)


def test_growth_goes_round_what_others_appended(path):
    with yammap.open(path, "w+", size=100) as m:
        with open(path, "ab") as file:
            file.write(b"o" * 50)
        m.resize(120)
        assert m.pread(120, 0) == bytes(100) + b"o" * 20
        m.write_at(b"end", 200)
        assert path.read_bytes() == bytes(100) + b"o" * 50 + bytes(50) + b"end"
