"""Arguments, threads and neighbours that do what nobody expects."""

import contextlib
import copy
import errno
import fcntl
import gc
import mmap
import os
import pickle
import sys
import threading
import time

import numpy as np
import pytest

import yammap

PAGE = mmap.PAGESIZE
FE_UPWARD = 0x800  # on x86-64


@pytest.fixture
def m(path):
    path.write_bytes(b"0123456789" * 1000)
    with yammap.open(path, "r+") as m:
        yield m


def test_empty_ranges_leave_the_next_page_alone(child):
    """A range of no bytes at the end of an exact mapping begins on somebody else's page."""
    child("""
        import ctypes, mmap, numpy as np, os, yammap
        page = mmap.PAGESIZE
        open("file", "wb").write(b"x" * page)
        kept, neighbours = [], 0
        for _ in range(50):
            before = mmap.mmap(-1, page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            before[:6] = b"secret"
            m = yammap.open("file", length=page)
            here = m.array().ctypes.data
            kept.append((before, m))
            neighbours += ctypes.addressof(ctypes.c_char.from_buffer(before)) == here + page
            m.madvise(yammap.MADV_DONTNEED, page)
            m.unlock(page)
            m.sync(page)
            assert before[:6] == b"secret"
        assert neighbours
    """)


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("method", ["read_at", "write_at"])
def test_source_and_target_in_one_mapping_that_was_cut(child, method):
    child(f"""
        import mmap, os, yammap
        page = mmap.PAGESIZE
        m = yammap.create("file", 4 * page)
        view = m.view(2 * page, page)
        os.truncate("file", 2 * page)
        try:
            m.{method}(view, 0)
        except yammap.BusError as error:
            assert "in the caller's buffer" in str(error)
        else:
            raise AssertionError
    """)


@pytest.mark.no_sanitizer
@pytest.mark.parametrize(
    "call", ["m.find(cut)", "m.rfind(cut)", "m[:] = cut", "m[::-1] = cut", "cut in m"]
)
def test_a_buffer_that_was_cut(child, call):
    child(f"""
        import os, yammap
        m, other = yammap.anonymous(100), yammap.create("other", 100)
        cut = other.view()
        os.truncate("other", 0)
        try:
            {call}
        except yammap.BusError as error:
            assert "in the caller's buffer" in str(error)
        else:
            raise AssertionError
    """)


@pytest.mark.no_sanitizer
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="rounding is set the x86 way")
def test_a_fault_leaves_the_rounding_mode(child):
    child(f"""
        import ctypes, os, yammap
        libm = ctypes.CDLL("libm.so.6")
        m = yammap.create("file", 100)
        os.truncate("file", 0)
        libm.fesetround({FE_UPWARD})
        try:
            m.pread(1, 0)
        except yammap.BusError:
            pass
        assert libm.fegetround() == {FE_UPWARD}
    """)


def test_init_again_from_an_argument(path):
    class Again:
        def __index__(self):
            m.__init__(os.open(path, os.O_RDWR), "again")

    path.write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    m = yammap.Mmap.__new__(yammap.Mmap)
    with pytest.raises(RuntimeError, match="only once"):
        m.__init__(os.open(path, os.O_RDWR), "first", offset=Again())
    assert m.closed
    assert len(os.listdir("/proc/self/fd")) == before + 1  # the one that `Again` opened


def test_owners_of_memory_are_not_copied(m):
    for thing in (memoryview(m).obj, m):
        with pytest.raises(TypeError, match=r"pickle|__reduce__"):
            pickle.dumps(thing)


def test_a_finaliser_that_cuts_the_file_while_a_view_is_made(path):
    class Cutting:
        def __init__(self, m):
            self.m, self.cycle = m, self

        def __del__(self):
            with contextlib.suppress(BufferError):
                self.m.resize(0)

    for threshold in range(1, 30):
        with yammap.create(path, 1 << 20) as m:
            gc.collect()
            Cutting(m)
            gc.set_threshold(threshold, 0, 0)
            try:
                view = m.view()
            finally:
                gc.set_threshold(700, 10, 10)
            assert len(view) in (0, m.size())
            del view
            gc.collect()


# -- Somebody else's bytes


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


@pytest.mark.usefixtures("eager_switching")
def test_a_write_and_a_truncation_with_append_come_in_some_order(path):
    size, record = (1 << 20) - 1, b"R" * 50
    data = b"w" * size
    with yammap.open(path, "w+", size=size) as m:
        for delay in range(300):  # microseconds: somewhere in there the copy runs
            m.resize(size)
            barrier = threading.Barrier(2)

            def write(barrier=barrier):
                barrier.wait()
                m.write_at(data, 0)

            writer = threading.Thread(target=write)
            writer.start()
            barrier.wait()
            until = time.perf_counter() + delay * 1e-6
            while time.perf_counter() < until:
                pass
            m.resize(10)
            m.append(record)
            writer.join()
            if m.size() == 60:
                assert m.pread(50, 10) == record
            else:
                assert m.pread(size, 0) == data


@pytest.mark.usefixtures("eager_switching")
def test_shrinking_races(path):
    for _ in range(300):
        with yammap.open(path, "w+", size=200 * PAGE, reserve=0, preallocate=False) as m:
            memoryview(m).release()
            barrier = threading.Barrier(2)

            def cut(barrier=barrier, m=m):
                barrier.wait()
                m.resize(10 * PAGE)
                memoryview(m).release()

            cutter = threading.Thread(target=cut)
            cutter.start()
            barrier.wait()
            m.resize(100 * PAGE)
            cutter.join()
            assert m.size() in (10 * PAGE, 100 * PAGE)
            assert len(m.pread(200 * PAGE, 0)) == m.size() == path.stat().st_size


def test_exports_and_truncations_do_not_pile_up_memory(path):
    def ranges():
        with open("/proc/self/maps") as maps:
            return len(maps.readlines())

    before = ranges()
    with yammap.open(path, "w+", size=1 << 20) as m:
        for i in range(500):
            memoryview(m).release()
            m.resize((1 << 20) - i)
        assert ranges() - before < 600


# -- Errors that tell


def test_errors_of_a_buffer_are_its_own(m):
    released = memoryview(b"x")
    released.release()
    with pytest.raises(ValueError, match="released"):
        m.write_at(released, 0)
    closed = yammap.anonymous(1)
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        m.write_at(closed, 0)


def test_a_bad_descriptor_is_not_a_closed_mapping():
    with pytest.raises(OSError, match="Bad file descriptor"):
        yammap.Mapping(-1, "none")


@pytest.mark.parametrize("offset", [1.5, "1", None])
def test_seek_takes_integers_only(m, offset):
    with pytest.raises(TypeError):
        m.seek(offset)
    assert m.tell() == 0


RDWR_TRUNC = os.O_RDWR | os.O_TRUNC

REFUSED = {
    "misspelt": lambda p: yammap.open(p, "w+", prealocate=False),
    "private": lambda p: yammap.open(p, "r+", private=True),
    "open_file": lambda p: yammap.open_file(p, RDWR_TRUNC, popluate=True),
    "create": lambda p: yammap.create(p, 5, offset=3),
    "anonymous": lambda p: yammap.anonymous(5, length=3),
    "open_array": lambda p: yammap.open_array(p, mode="w+", shape=3, prealocate=False),
    "array size": lambda p: yammap.open_array(p, mode="w+", shape=3, size=10),
    "size": lambda p: yammap.open(p, "w+", size=-1),
    "create size": lambda p: yammap.create(p, -1),
    "offset": lambda p: yammap.open(p, "w+", offset=3),
    "length": lambda p: yammap.open(p, "w+", size=30, length=30),
    "truncated": lambda p: yammap.open_file(p, RDWR_TRUNC, offset=3),
    "reserve": lambda p: yammap.open(p, "w+", reserve=-1),
    "advice": lambda p: yammap.open(p, "w+", advice="random"),
    "bad advice": lambda p: yammap.open(p, "w+", advice=yammap.MADV_REMOVE),
    "order": lambda p: yammap.open_array(p, "u1", "w+", shape=3, order="K"),
    "array offset": lambda p: yammap.open_array(p, "<u2", "w+", shape=3, offset=-2),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_a_refused_call_leaves_the_file_as_it_was(m, path, call):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises((TypeError, ValueError)):
        call(path)
    assert path.stat().st_size == 10_000
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_object_is_not_a_path(path):
    path.touch()
    with open(path, "rb") as file, pytest.raises(TypeError, match="fileno"):
        yammap.open(file)


def test_appending_takes_the_same_buffers_as_writing(path):
    days = np.arange("2020-01-01", "2020-01-04", dtype="M8[D]")
    for mode in ("w+", "a+"):
        with yammap.open(path, mode) as m:
            assert m.write(days) == 24
    assert path.read_bytes() == days.tobytes() * 2


def test_seeking_past_the_known_end_looks_again(m, path):
    with open(path, "ab") as file:
        file.write(b"more")
    assert m.seek(10_003) == 10_003
    assert m.read() == b"e"
    for kind in (ValueError, OSError):
        with pytest.raises(kind, match="position -1 is before the start of") as before:
            m.seek(-1)
        assert before.value.errno == errno.EINVAL
    with pytest.raises(
        ValueError, match="SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE"
    ):
        m.seek(0, 7)


def test_a_shared_descriptor_keeps_its_offset(path):
    with open(path, "wb+") as file:
        file.write(b"x" * PAGE)
        file.flush()
        before = file.tell()
        with yammap.open(file.fileno(), "r+") as m:
            assert m.seek(0, yammap.SEEK_HOLE) == PAGE
            with pytest.raises(OSError, match="No such device or address") as error:
                m.seek(PAGE, yammap.SEEK_DATA)
            assert error.value.filename == file.fileno()
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == before


def test_holes_in_a_window_end_with_it(m, path):
    with yammap.open(path, offset=10, length=100) as window:
        assert window.seek(5, yammap.SEEK_DATA) == 5
        assert window.seek(5, yammap.SEEK_HOLE) == 100
        for offset in (2**63 - 1, 2**63 - 10):  # which the window's own would overflow
            with pytest.raises(OSError, match="No such device or address"):
                window.lseek(offset, yammap.SEEK_DATA)
    with pytest.raises(ValueError, match="whence"):
        m.lseek(0, yammap.SEEK_SET)


@pytest.mark.parametrize(
    ("flags", "good", "bad"),
    [
        (os.O_RDONLY, ["r", "c"], ["r+", "a+", "w+", "x+"]),
        (os.O_RDWR, ["r", "c", "r+"], ["a+", "w+", "x+"]),
        (os.O_RDWR | os.O_APPEND, ["r", "c", "a+"], ["r+", "w+", "x+"]),
    ],
)
def test_a_descriptor_must_fit_the_mode(path, flags, good, bad):
    path.write_bytes(b"abc")
    fd = os.open(path, flags)
    try:
        for mode in good:
            with yammap.open(fd, mode) as m:
                assert m.writable() == (mode != "r")
                assert m.pread(3, 0) == b"abc"
        for mode in bad:
            with pytest.raises(
                ValueError, match=f"descriptor {fd} (has one|was opened otherwise)"
            ):
                yammap.open(fd, mode)
    finally:
        os.close(fd)
    assert path.read_bytes() == b"abc"


# -- Copies, truncations, and memory that goes


def test_trimming_spares_a_copy_that_began_before(child):
    """The reserve is given back only behind the longest the mapping has been."""
    child("""
        import threading, yammap
        size = 64 << 20
        for _ in range(20):
            m = yammap.open("file", "w+", size=size, preallocate=False)
            reader = threading.Thread(target=lambda: m.pread(size, 0))
            reader.start()
            m.resize(size - (4 << 20))
            memoryview(m).release()
            m.resize(size - (8 << 20))
            reader.join()
            m.close()
    """)


def test_a_descriptor_that_appends_from_now_on(path):
    with open(path, "wb+") as file:
        file.truncate(8 << 20)
        with yammap.open(file.fileno(), "r+") as m:
            fcntl.fcntl(file.fileno(), fcntl.F_SETFL, os.O_APPEND)
            assert m.write_at(b"w" * (2 << 20), 100) == 2 << 20
            assert m.pread(3, 99) == b"\0ww"
    assert path.stat().st_size == 8 << 20


def test_a_sealed_memfd_is_written_by_memory():
    with yammap.anonymous(4 << 20) as m:
        fcntl.fcntl(m.fileno(), 1033, 0x10)  # F_ADD_SEALS, F_SEAL_FUTURE_WRITE
        assert m.write_at(b"w" * (2 << 20), 5) == 2 << 20
        with pytest.raises(PermissionError):
            m.append(b"x")


def test_subclasses_compare_as_they_like(path):
    class Equal(yammap.Mmap):
        def __eq__(self, other):
            return True

    with Equal(os.open(path, os.O_RDWR | os.O_CREAT), "equal") as m:
        m.write(b"x")
        assert m.pread(1, 0) == b"x"


def test_private_types_cannot_be_made(path):
    """One that was made by hand would hold nothing, and be used as if it did."""
    m = yammap.anonymous(10)
    view = m.view()
    kinds = {
        type(m.guard()),
        type(view.obj),
        *(
            getattr(yammap._core, name)
            for name in ("Region", "View", "Guard", "Memory", "Extent", "PinnedMemory")
        ),
    }
    assert len(kinds) == 6
    for kind in kinds:
        for make in (
            kind,
            lambda kind=kind: kind.__new__(kind),
            lambda kind=kind: object.__new__(kind),
        ):
            with pytest.raises(TypeError):
                make()
        with pytest.raises(TypeError):
            copy.copy(next((o for o in (m.guard(), view.obj) if type(o) is kind), view))


NO_MEMORY = """
import _testcapi, contextlib, errno, gc, os, sys
import numpy as np
import yammap

def opened(path, mode, **options):
    m = yammap.open(path, mode, **options)
    try:
        use(m)
    finally:
        m.close()

def use(m):
    m.read_at(bytearray(5), 0), m.pread(5, 1), m[1], m[:5], m[::2], m.find(b"x")
    m.seek(0), m.read(3), m.readline(), m.size(), len(m)
    m.view(0, 5), m.array("u1"), memoryview(m), m.gather([0, 1], 2)
    m.gather_ragged([0, 1], [2, 3]), list(m.stream(1000)), m.faults(), m.guard()
    if not m.readonly:
        m.write_at(b"abc", 0), m.__setitem__(0, 1), m.append(b"tail"), m.sync()
        m.resize(5000), m.truncate(100), m.refresh(), m.move(0, 5, 5)
    m.madvise(yammap.MADV_RANDOM), m.resident(), m.populate(), repr(m)

def handle(path):
    h = yammap.MappedArray(path, "u1", mode="r")
    h[3], h[1:5], h.take([1, 2]), repr(h), h.mapping.close()

def core(path, flags, **options):
    m = yammap.Mapping(os.open(path, flags), path, **options)
    try:
        m.read_at(bytearray(5), 0), m.pread(5, 1), m[1], m[:5], m[::2], m.find(b"x")
        m.rfind(b"x", 0, 100), m.view(0, 5), memoryview(m), m.faults(), m.guard(), len(m)
        with m.guard():
            pass
        if m.growable:
            m.write_at(b"abc", 0), m.__setitem__(0, 1), m.append(b"tail"), m.sync()
            m.resize(5000), m.refresh(), m.move(0, 5, 5), m.allocate(0, 100)
            m.punch_hole(0, 100)
        m.madvise(yammap.MADV_RANDOM), m.lock(0, 10), m.unlock(0, 10), m.fileno()
        m.lseek(0, 4), m.heal()
    finally:
        m.close()

CASES = {
    "core": lambda: core("copy", os.O_RDWR),
    "ahead in the core": lambda: core("copy", os.O_RDWR, ahead=1 << 16),
    "private": lambda: core("copy", os.O_RDWR, private=True),
    "r": lambda: opened("file", "r"),
    "r+": lambda: opened("copy", "r+"),
    "ahead": lambda: opened("copy", "r+", ahead=1 << 16),
    "anonymous": lambda: use(yammap.anonymous(3000)),
    "handle": lambda: handle("file"),
}
case = CASES[KIND]
content = bytes(range(200)) * 20
for name in ("file", "copy"):
    with open(name, "wb") as file:
        file.write(content)
case(), case(), gc.collect()
gc.disable()
nth = failed = passed = 0
while passed < 100:     # in a row: some failures are recovered from
    nth += 1
    passed += 1
    _testcapi.set_nomemory(nth, nth + 1)
    try:
        case()
    except Exception:       # a MemoryError, or what NumPy makes of it
        passed, failed = 0, failed + 1
    finally:
        _testcapi.remove_mem_hooks()
gc.collect()
assert failed > 10, failed
with open("file", "rb") as file:
    assert file.read() == content
os._exit(0)     # CPython 3.11 has dropped references of its own by now (of KeyError)
"""


# From 3.12 on the interpreter itself crashes where it has no memory to make a function, as
# for each generator expression; so there the core is tried alone, which has none.
OUT_OF_MEMORY = ["core", "ahead in the core", "private"]
if sys.version_info < (3, 12):
    OUT_OF_MEMORY += ["r", "r+", "ahead", "anonymous", "handle"]


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_no_memory_at_any_allocation(child, kind):
    """It is a MemoryError, and neither a crash nor a byte lost."""
    pytest.importorskip("_testcapi")
    child(NO_MEMORY.replace("KIND", repr(kind)))
