"""The page cache: warm, resident, populate, evict; discard, and huge pages.

Files are in the directory of the tests, which must be on a disk for pages to go at all;
only one mapping of each is there when they must.
"""

import errno
import io
import mmap
import os
import subprocess

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE
MIB = 1 << 20


def rss_file():
    """Bytes of files that are in this process's page tables."""
    with open("/proc/self/smaps_rollup") as rollup:
        fields = dict(line.split(":", 1) for line in rollup if "kB" in line)
    return int(fields["Rss"].split()[0]) * 1024


@pytest.fixture
def data():
    return np.random.default_rng(7).bytes(8 * MIB)


@pytest.fixture
def file(path, data):
    """A file of 8 MiB on the disk, of which nothing is in memory."""
    kind = subprocess.check_output(["stat", "-f", "-c", "%T", path.parent], text=True)
    if kind.strip() in ("tmpfs", "ramfs"):
        pytest.skip(f"{path.parent} is memory: pass --basetemp on a disk")
    path.write_bytes(data)
    with yammap.open(path) as m:
        assert m.evict() == 0
    return path


def counts_pages():
    """Tell whether the kernel has cachestat(2), which Linux has from 6.5 on."""
    with yammap.anonymous(PAGE) as m:
        try:
            m._cachestat(0, PAGE)
        except OSError as error:
            return error.errno != errno.ENOSYS
    return True


needs_cachestat = pytest.mark.skipif(
    not counts_pages(), reason="Linux has cachestat(2) from 6.5 on"
)
ENGINES = ["mmap", pytest.param("pread", marks=needs_cachestat)]
ADVICE = [yammap.MADV_NORMAL, yammap.MADV_RANDOM]


# -- warm


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("advice", ADVICE)
def test_warm(file, engine, advice):
    with yammap.open(file, engine=engine, advice=advice) as m:
        assert not m.resident().any()
        assert m.warm() == 8 * MIB
        assert m.resident().all()


@pytest.mark.parametrize("engine", ENGINES)
def test_warm_a_range(file, engine):
    with yammap.open(file, engine=engine, advice=yammap.MADV_RANDOM) as m:
        assert m.warm(4 * MIB + 5, 3) == 3
        resident = m.resident()
        assert resident[4 * MIB // PAGE]
        assert not resident[: 2 * MIB // PAGE].any()
        assert m.warm(8 * MIB) == m.warm(5, 0) == 0


def test_warm_takes_no_memory_of_the_process(file):
    with yammap.open(file) as m:
        before = rss_file()
        m.warm()
        assert rss_file() - before < 2 * MIB


def test_warm_without_a_descriptor(file):
    with yammap.open(file, keep_fd=False, advice=yammap.MADV_RANDOM) as m:
        assert m.warm() == 8 * MIB
        assert m.resident().all()


def test_warm_a_window_and_a_copy_on_write_mapping(file):
    with yammap.open(file, offset=5, length=3 * MIB) as m:
        assert m.warm() == 3 * MIB
        assert m.resident().all()
        assert len(m.resident()) == 3 * MIB // PAGE + 1
    with yammap.open(file, "c") as m:
        assert m.warm() == 8 * MIB
        assert m.resident().all()


def test_warm_tells_how_far_it_is(file):
    with yammap.open(file) as m:
        steps = []
        m.warm(5, 2 * MIB + 1, progress=lambda *step: steps.append(step))
    assert steps[-1] == (2 * MIB + 1, 2 * MIB + 1)
    assert steps == sorted(set(steps))
    assert len(steps) >= 3


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_warm_is_ended_by_an_exception(file, kind):
    def stop(done, total):
        raise kind

    with yammap.open(file, advice=yammap.MADV_RANDOM) as m:
        with pytest.raises(kind):
            m.warm(progress=stop)
        assert not m.resident()[4 * MIB // PAGE :].any()
        assert m.warm() == 8 * MIB


@pytest.mark.parametrize("options", [{}, {"engine": "pread"}, {"keep_fd": False}])
def test_warm_a_file_that_was_cut(path, options):
    path.write_bytes(b"x" * 4 * PAGE)
    with yammap.open(path, **options) as m:
        os.truncate(path, PAGE)
        with pytest.raises(yammap.BusError, match="bus error, read") as error:
            m.warm()
        assert (error.value.errno, error.value.offset) == (errno.EFAULT, PAGE)


@pytest.mark.parametrize(("size", "warmed"), [(2 * MIB, 2 * MIB), (PAGE, MIB)])
def test_warm_ends_where_another_thread_cuts_the_file(path, size, warmed):
    path.write_bytes(bytes(4 * MIB))
    with yammap.open(path, "r+") as m:
        assert m.warm(progress=lambda done, total: m.resize(size)) == warmed


def test_warm_of_a_mapping_that_is_closed_meanwhile(path):
    path.write_bytes(bytes(4 * MIB))
    m = yammap.open(path)
    with pytest.raises(ValueError, match="closed"):
        m.warm(progress=lambda done, total: m.close())


# -- populate


def test_populate_makes_page_table_entries(file):
    with yammap.open(file, advice=yammap.MADV_RANDOM) as m:
        before = rss_file()
        m.populate(4 * MIB, 2 * MIB)
        assert rss_file() - before >= 2 * MIB
        assert m.resident(4 * MIB, 2 * MIB).all()
        assert not m.resident(0, 2 * MIB).any()


def test_populate_to_write_allocates_holes(path):
    with yammap.open(path, "w+", size=MIB, preallocate=False) as m:
        m.populate(write=True)
        assert m.lseek(0, yammap.SEEK_HOLE) == MIB
        assert m.read() == bytes(MIB)


def test_populate_to_write_copies_a_private_mapping(path):
    path.write_bytes(b"x" * PAGE)
    with yammap.open(path, "c") as m:
        m.populate(write=True)
        with open(path, "r+b") as file:
            file.write(b"y" * PAGE)
        assert m.read() == b"x" * PAGE


def test_populate_is_refused_where_it_makes_no_sense(path):
    path.write_bytes(b"x" * PAGE)
    with yammap.open(path) as m, pytest.raises(io.UnsupportedOperation, match="read-only"):
        m.populate(write=True)
    with yammap.open(path, engine="pread") as m:
        for length in (0, None):
            with pytest.raises(io.UnsupportedOperation, match="not mapped"):
                m.populate(0, length)


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("keep_fd", [False, True])
def test_populate_a_file_that_was_cut(path, write, keep_fd):
    with yammap.create(path, 4 * PAGE, keep_fd=keep_fd) as m:
        os.truncate(path, PAGE)
        with pytest.raises(yammap.BusError) as error:
            m.populate(5, write=write)
        assert (error.value.errno, error.value.offset) == (errno.EFAULT, PAGE)
        assert error.value.access == ("write" if write else "read")
        m.populate(5, PAGE - 5, write=write)
        assert m.faults() == []


def test_populate_where_the_kernel_does_not_know_how(file, child):
    """Linux before 5.14: EINVAL, which a filter of system calls (seccomp) gives as well."""
    told = child(
        f"""
        import ctypes, os, struct
        import yammap

        with open("/proc/self/smaps_rollup") as rollup:
            rss = lambda: rollup.seek(0) or int(rollup.read().split("Rss:")[1].split()[0])
            m = yammap.open({str(file)!r}, "r+")
            ERRNO, ALLOW = 0x50000 | 22, 0x7FFF0000
            rules = [  # code, steps if true, if false, operand; see linux/filter.h
                (0x20, 0, 0, 0), (0x15, 0, 4, yammap.SYS_MADVISE),
                (0x20, 0, 0, 32), (0x15, 1, 0, yammap.MADV_POPULATE_READ),
                (0x15, 0, 1, yammap.MADV_POPULATE_WRITE),
                (0x06, 0, 0, ERRNO), (0x06, 0, 0, ALLOW),
            ]
            code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
            code = ctypes.create_string_buffer(code)
            program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
            prctl = ctypes.CDLL(None).prctl
            assert prctl(38, 1, 0, 0, 0) == 0 == prctl(22, 2, program, 0, 0)
            before = rss()
            m.populate(5, {2 * MIB})
            assert rss() - before >= {2 * MIB // 1024}
            before = rss()
            m.populate({4 * MIB}, {MIB}, write=True)
            assert rss() - before >= {MIB // 1024}
            assert sum(len(chunk) for chunk in m.stream({MIB})) == {8 * MIB}
            os.truncate(m.name, {PAGE})
            try:
                m.populate()
            except yammap.BusError as error:
                print(error.errno, error.offset)
        """
    )
    assert told == f"{errno.EFAULT} {PAGE}\n"


# -- resident


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("origin", [0, 5, PAGE + 5])
def test_resident_is_one_bool_a_page(file, engine, origin):
    with yammap.open(file, advice=yammap.MADV_RANDOM) as m:
        for page in (0, 1, 7, 20, 21):
            m.pread(1, page * PAGE)
        expected = m.resident()
    assert expected.dtype == np.bool_
    assert set(np.flatnonzero(expected)) >= {0, 1, 7, 20, 21}
    first = origin // PAGE
    with yammap.open(file, offset=origin, length=30 * PAGE, engine=engine) as m:
        end = first + 30 + (origin % PAGE > 0)
        np.testing.assert_array_equal(m.resident(), expected[first:end])
        np.testing.assert_array_equal(m.resident(PAGE, 2), expected[first + 1 : first + 2])
        assert m.resident(PAGE, 0).shape == (0,)
        m.resident()[:] = False


HIDDEN = """
    import errno, os, yammap
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    for options in OPTIONS:
        with yammap.open("file.bin", **options) as m:
            m.warm()
            for call in (m.resident, m.evict):
                try:
                    call()
                except OSError as error:
                    assert (error.errno, error.filename) == (errno.EPERM, "file.bin"), error
                else:
                    raise AssertionError(call)
"""


@pytest.fixture
def of_root(tmp_path, path):
    """A file that others may only read, in a directory they may enter."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    path.write_bytes(b"x" * 8 * PAGE)
    path.chmod(0o644)
    for directory in [tmp_path, *tmp_path.parents]:
        if not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)


@needs_cachestat
@pytest.mark.usefixtures("of_root")
def test_resident_tells_when_the_kernel_hides_it(child):
    child(HIDDEN.replace("OPTIONS", '({}, {"mode": "c"}, {"engine": "pread"})'))


@pytest.mark.usefixtures("of_root")
def test_resident_by_the_kernels_rule_where_it_cannot_be_asked(child):
    child("""
        import errno, os, yammap
        class Old(yammap.Mmap):
            def _cachestat(self, offset, length):
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), self.name)
        def mapped():
            return Old(os.open("file.bin", os.O_RDONLY), "file.bin")
        assert mapped().resident().all()
        os.setgid(65534)
        os.setuid(65534)
        try:
            mapped().resident()
        except OSError as error:
            assert error.errno == errno.EPERM, error
        else:
            raise AssertionError
    """)


# -- evict


@pytest.mark.parametrize("mode", ["r", "r+", "c", "a+"])
def test_evict(file, data, mode):
    with yammap.open(file, mode) as m:
        array = m.array()
        assert bytes(array) == data
        assert m.resident().all()
        assert m.evict() == 0
        assert not m.resident().any()
        assert bytes(array) == data


@needs_cachestat
def test_evict_without_a_mapping(file, data):
    with yammap.open(file, engine="pread") as m:
        assert m.pread(8 * MIB, 0) == data
        assert m.evict() == 0
        assert m.pread(8 * MIB, 0) == data


def test_evict_without_a_descriptor(file, data):
    with yammap.open(file, keep_fd=False) as m:
        assert m.pread(8 * MIB, 0) == data
        left = m.evict()
        assert left == PAGE * m.resident().sum() < MIB
        assert m.pread(8 * MIB, 0) == data


def test_evict_writes_first(path):
    with yammap.create(path, MIB) as m:
        array = m.array()
        array[:] = 7
        assert m.evict() == 0
        assert set(array) == {7}


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 10), (PAGE, PAGE), (MIB + 5, 2 * MIB), (8 * MIB - 10, 5)]
)
@pytest.mark.parametrize("origin", [0, 5])
def test_evict_a_range(file, data, origin, offset, length):
    with yammap.open(file, offset=origin) as m:
        m.populate()
        assert m.evict(offset, length) == 0
        assert not m.resident(offset, length).any()
        assert m.resident(5 * MIB, 10).all()
        assert m.pread(8 * MIB, 0) == data[origin:]


def test_evict_keeps_changes_of_a_private_mapping(file, data):
    with yammap.open(file, "c") as m:
        array = m.array()
        array[5 * PAGE] ^= 1
        m.populate()
        assert m.evict() in (0, PAGE)  # 0 where there is swap
        assert array[5 * PAGE] == data[5 * PAGE] ^ 1
        assert bytes(array[5 * PAGE + 1 :]) == data[5 * PAGE + 1 :]


@pytest.mark.parametrize("mode", ["r", "c"])
def test_evict_what_another_descriptor_wrote(path, mode):
    for _ in range(4):
        path.write_bytes(bytes(16 * MIB))
        with yammap.open(path, mode) as m:
            m._drop(0, None, write=True)
            assert m.resident().mean() < 0.5
            assert m.evict() == 0


def test_evict_all_generations(path):
    with yammap.open(path, "w+", size=MIB, reserve=MIB) as m:
        arrays = [m.array()]
        for size in (64 * MIB, 256 * MIB):
            m.resize(size)
            arrays.append(m.array())
        for array in arrays:
            array[:MIB:PAGE] = 3
        assert m.evict(0, MIB) == 0
        assert [int(array[:MIB:PAGE].sum()) for array in arrays] == [3 * MIB // PAGE] * 3


@pytest.mark.no_sanitizer
def test_evict_goes_around_locked_pages(file):
    with yammap.open(file) as m:
        m.lock(4 * PAGE, 2 * PAGE)
        m.populate()
        assert m.evict(5 * PAGE + 5, 7) == 7
        left = m.evict()
        assert 2 * PAGE <= left <= 4 * MIB
        assert m.resident()[[4, 5]].all()
        assert not m.resident(4 * MIB).any()
        m.unlock()
        assert m.evict() == 0


def test_evict_cannot_take_what_another_mapping_has(file):
    with yammap.open(file) as other, yammap.open(file) as m:
        other.populate(0, PAGE)
        m.warm()
        assert PAGE <= m.evict() < 8 * MIB
    m = yammap.anonymous(3 * PAGE)
    m.write(b"x" * PAGE)
    assert m.evict() == PAGE
    assert m.evict(5, 10) == 10
    assert m.evict(PAGE) == 0
    assert m.read() == bytes(2 * PAGE)


def test_dropping_takes_whole_pages_only_and_loses_nothing(file, data):
    with yammap.open(file, "r+", advice=yammap.MADV_RANDOM) as m:
        for page in range(20):
            m.write_at(b"new", page * PAGE)
        m.sync()
        m._drop(5 * PAGE + 1, 10 * PAGE)
        resident = m.resident(0, 20 * PAGE)
        assert resident[:6].all()
        assert resident[15:].all()
        m.write_at(b"dirty", 0)
        m._drop(0, None)
        assert m.pread(8, 0) == b"dirty" + data[5:8]
        m._drop(0, 0)
        m._drop(1, 1)


# -- discard


@pytest.fixture
def private(path, data):
    path.write_bytes(data[: 6 * PAGE])
    with yammap.open(path, "c") as m:
        yield m


RANGES = [
    *[(0, None), (0, 0), (0, 1), (5, 10), (PAGE, PAGE), (PAGE - 1, 2), (PAGE + 1, PAGE)],
    *[(1, 3 * PAGE), (2 * PAGE, 2 * PAGE + 7), (5 * PAGE + 5, None), (6 * PAGE, None)],
]


@pytest.mark.parametrize(("offset", "length"), RANGES)
@pytest.mark.parametrize("origin", [0, 5])
def test_discard_to_the_byte(path, data, origin, offset, length):
    path.write_bytes(data[: 5 * PAGE + 2000 + origin])
    with yammap.open(path, "c", offset=origin) as m:
        offset = min(offset, m.size())
        expected = bytearray(b"!" * m.size())
        end = m.size() if length is None else min(offset + length, m.size())
        expected[offset:end] = data[origin:][offset:end]
        array = m.array()
        array[:] = ord("!")
        m.discard(offset, end - offset)
        assert bytes(array) == expected
    assert path.read_bytes() == data[: 5 * PAGE + 2000 + origin]


def test_discard_frees_memory(private):
    private.array()[:] = 7
    before = rss_file()
    private.discard()
    assert rss_file() < before


def test_discard_needs_changes_to_discard(path):
    with yammap.create(path, PAGE) as m, pytest.raises(io.UnsupportedOperation):
        m.discard()


def test_discard_inside_a_page_needs_the_descriptor(path):
    path.write_bytes(b"x" * 3 * PAGE)
    with yammap.open(path, "c", keep_fd=False) as m:
        m.write(b"y" * 3 * PAGE)
        with pytest.raises(io.UnsupportedOperation, match="descriptor"):
            m.discard(5, 2 * PAGE)
        assert m.pread(3 * PAGE, 0) == b"y" * 3 * PAGE
        m.discard(PAGE, PAGE)
        assert m.pread(3 * PAGE, 0) == b"y" * PAGE + b"x" * PAGE + b"y" * PAGE


@pytest.mark.no_sanitizer
def test_discard_is_refused_for_locked_pages(private):
    private.lock(PAGE, PAGE)
    private.write_at(b"kept", PAGE)
    with pytest.raises(OSError, match="Invalid argument"):
        private.discard(PAGE, PAGE)
    assert private.pread(4, PAGE) == b"kept"


# -- huge pages


def test_huge_pages_on_tmpfs(tmp_path):
    if mmap.PAGESIZE > 4096:
        pytest.skip(
            "a huge page is larger than this file where pages are larger than 4 KiB"
        )
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16M,huge=advise", "tmpfs", tmp_path],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs with huge=advise needs root, and a kernel with it")
    try:
        with yammap.create(
            tmp_path / "huge", 4 * MIB, preallocate=False, advice=yammap.MADV_HUGEPAGE
        ) as m:
            m.populate(write=True)
            with open("/proc/self/smaps") as smaps:
                huge = [line.split()[1] for line in smaps if "ShmemPmdMapped" in line]
            assert set(huge) != {"0"}
    finally:
        subprocess.run(["umount", tmp_path], check=True)
