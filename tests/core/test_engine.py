"""Without mmap(2), by pread and pwrite, and without a descriptor."""

import io
import mmap
import os
import zlib

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.fixture
def m(path):
    path.write_bytes(bytes(range(256)) * 64)
    with yammap.open(path, "r+", engine="pread") as m:
        yield m


def test_reads_and_writes_by_system_call(m, path):
    assert m.engine == "pread"
    buffer = bytearray(300)
    assert m.read_at(buffer, 5) == 300
    assert buffer == (bytes(range(256)) * 2)[5:305]
    assert m.pread(10, m.size() - 3) == bytes([253, 254, 255])
    assert m.write_at(b"abc", 1000) == 3
    assert m.write_at(b"beyond", 20_000) == 6
    assert m.append(b"end") == 20_006
    assert m.size() == 20_009 == path.stat().st_size
    data = path.read_bytes()
    assert data[1000:1003] == b"abc"
    assert data[20_000:] == b"beyondend"
    assert data[16_384:20_000] == bytes(3616)
    with pytest.raises(yammap.ShortRead) as short:
        m.read_at(bytearray(20), 20_000)
    assert short.value.count == 9


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 3 << 20])
def test_moves_large_pieces(path, size):
    data = os.urandom(size)
    with yammap.open(path, "w+", engine="pread") as m:
        assert m.write_at(data, 7) == size
        assert zlib.crc32(m.pread(size, 7)) == zlib.crc32(data)
        m.write_at(data[::-1], 7)
        assert m.pread(size, 7) == data[::-1]


def test_finds_across_pieces(path):
    needle = b"needle in a haystack"
    with yammap.open(path, "w+", size=3 << 20, engine="pread") as m:
        assert m.find(needle) == -1
        assert m.find(b"") == 0
        for position in (0, (1 << 20) - 7, (2 << 20) - 39, (3 << 20) - len(needle)):
            m.write_at(needle, position)
            assert m.find(needle, position) == position
            assert m.find(needle, position + 1) == -1
            assert m.find(needle, 0, position + len(needle) - 1) == -1
            m.punch_hole(position, len(needle))


def test_is_a_file_object(m):
    assert zlib.crc32(m.read()) == zlib.crc32(bytes(range(256)) * 64)
    m.seek(0)
    assert io.BufferedReader(m).read(3) == b"\0\1\2"


def test_changes_its_size(m, path):
    m.resize(PAGE)
    assert path.stat().st_size == PAGE == m.size()
    m.resize(3 * PAGE)
    assert m.pread(2 * PAGE, PAGE) == bytes(2 * PAGE)
    os.truncate(path, 10)
    with pytest.raises(yammap.BusError, match=f"from {3 * PAGE} to 10 bytes") as error:
        m.pread(100, 0)
    assert error.value.count == error.value.offset == 10
    assert m.refresh() == 10
    assert m.pread(100, 0) == bytes(range(10))
    m.sync()


def test_has_no_memory(m):
    for view in (m.array, m.view, lambda: memoryview(m)):
        with pytest.raises(BufferError, match="engine is 'pread'"):
            view()
    for call in (m.populate, m.lock, m.unlock, m.rewrite):
        with pytest.raises(io.UnsupportedOperation):
            call()
    m.madvise(yammap.MADV_RANDOM)
    with pytest.raises(io.UnsupportedOperation):
        m.madvise(yammap.MADV_HUGEPAGE)
    assert m.faults() == []


def test_populates_and_advises_when_opened(path):
    path.write_bytes(b"x" * PAGE)
    options = {"populate": True, "advice": yammap.MADV_SEQUENTIAL}
    with yammap.open(path, engine="pread", **options) as m:
        assert m.read() == b"x" * PAGE


def test_copy_on_write_needs_memory(path):
    path.write_bytes(b"x")
    with pytest.raises(OSError, match="No such device"):
        yammap.open(path, "c", engine="pread")


def test_engines_are_known(path):
    path.write_bytes(b"x")
    for option, known in (
        ("engine", "engine must be 'mmap', 'auto' or 'pread', not 'uring'"),
        ("on_fault", "on_fault must be 'raise' or 'poison', not 'uring'"),
    ):
        with pytest.raises(ValueError, match=f"^{known}$"):
            yammap.open(path, **{option: "uring"})
    with yammap.open(path, engine="auto") as m:
        assert m.engine == "mmap"


# -- keep_fd=False


def test_without_a_descriptor(path):
    path.write_bytes(b"x" * 3 * PAGE)
    before = len(os.listdir("/proc/self/fd"))
    with yammap.open(path, "r+", keep_fd=False) as m:
        assert len(os.listdir("/proc/self/fd")) == before
        array = m.array()
        assert m.write_at(b"abc", 5) == 3
        assert array[6] == ord("b")
        assert not m.growable
        m.sync()
        calls = (m.fileno, m.refresh, m.allocate, m.heal, m.rewrite)
        for call in (*calls, lambda: m.resize(5), lambda: m.append(b"x")):
            with pytest.raises(io.UnsupportedOperation, match="keep_fd=False"):
                call()
    assert path.read_bytes()[5:8] == b"abc"


@pytest.mark.parametrize("make", ["open", "create"])
def test_a_new_file_without_a_descriptor(path, make):
    options = {"mode": "w+"} if make == "open" else {}
    with getattr(yammap, make)(path, size=PAGE, keep_fd=False, **options) as m:
        m.write_at(b"new", 0)
        m.sync()
    assert path.stat().st_size == PAGE
    assert path.read_bytes()[:3] == b"new"


def test_more_mappings_than_descriptors(child):
    child("""
        import resource, yammap
        open("file", "wb").write(b"x" * 10)
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        kept = [yammap.open("file", keep_fd=False) for _ in range(1000)]
        assert {m.pread(1, 9) for m in kept} == {b"x"}
    """)


def test_without_descriptor_nor_memory(path):
    path.write_bytes(b"x")
    with pytest.raises(io.UnsupportedOperation, match="not mapped"):
        yammap.open(path, engine="pread", keep_fd=False)
