"""A file cut short, and the like, is an exception. Each case in a process of its own.

The numbers are those of the cases in docs/design.md.
"""

import signal
import subprocess
import textwrap

import pytest

pytestmark = pytest.mark.no_sanitizer

SETUP = """
import ctypes, errno, mmap, os, signal, sys, threading
import numpy as np
import yammap

PAGE = mmap.PAGESIZE

def mapped(pages=4, mode="r+"):
    with open("file", "wb") as file:
        file.write(b"".join(bytes([65 + i]) * PAGE for i in range(pages)))
    return yammap.open("file", mode)

def bus_error(call, *args):
    try:
        call(*args)
    except yammap.BusError as error:
        return error
    raise AssertionError("no BusError")
"""


@pytest.fixture
def faulty(child):
    def run(source, status=0):
        return child(SETUP + textwrap.dedent(source), status)

    return run


def test_01_read_past_a_shrunk_end(faulty):
    faulty("""
        m = mapped()
        os.truncate("file", PAGE)
        buffer = bytearray(100)
        error = bus_error(m.read_at, buffer, 2 * PAGE)
        assert error.errno == errno.EFAULT and error.filename == "file"
        assert f"the file shrank from {4 * PAGE} to {PAGE} bytes" in str(error)
        assert (error.offset, error.access, error.count) == (2 * PAGE, "read", 0)
        assert isinstance(error, OSError)
        assert buffer == bytes(100)
        error = bus_error(m.pread, 100, 3 * PAGE)
        assert error.count == 0
        assert m.pread(PAGE, 0) == b"A" * PAGE
        assert m.refresh() == PAGE
        assert m.pread(100, 2 * PAGE) == b""
    """)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_02_write_past_a_shrunk_end(faulty, mode):
    faulty(f"""
        m = mapped(mode={mode!r})
        os.truncate("file", PAGE)
        error = bus_error(m.write_at, b"x" * 100, 2 * PAGE)
        assert (error.offset, error.access, error.count) == (2 * PAGE, "write", 0)
        assert f"the file shrank from {{4 * PAGE}} to {{PAGE}} bytes" in str(error)
        assert os.stat("file").st_size == PAGE
        assert open("file", "rb").read() == b"A" * PAGE
        assert m.write_at(b"still", 0) == 5
    """)


@pytest.mark.parametrize("cut", [1, 100, 4096, 4097, 8192, 12288])
@pytest.mark.parametrize("start", [0, 50])
def test_03_copy_across_the_end_counts_exactly(faulty, cut, start):
    faulty(f"""
        cut, start = {cut}, {start}
        m = mapped()
        data = m.pread(4 * PAGE, 0)
        os.truncate("file", cut)
        buffer = bytearray(4 * PAGE - start)
        error = bus_error(m.read_at, buffer, start)
        good = max(0, cut - start)
        assert error.count == good, error.count
        assert error.offset == start + good, error.offset
        assert buffer[:good] == data[start:start + good]
        error = bus_error(m.write_at, b"w" * (4 * PAGE - start), start)
        assert error.count == good
        assert os.stat("file").st_size == cut
        assert open("file", "rb").read()[start:] == b"w" * good
    """)


def test_03_a_large_copy_across_the_end(faulty):
    faulty("""
        size = 64 << 20
        m = yammap.create("file", size)
        m.write_at(b"z" * size, 0)
        os.truncate("file", size - 12345)
        buffer = bytearray(size)
        error = bus_error(m.read_at, buffer, 0)
        assert error.count == size - 12345
        assert buffer[:error.count] == b"z" * error.count
        error = bus_error(m.write_at, b"w" * size, 0)
        assert (error.count, error.offset) == (size - 12345, size - 12345)
        assert os.stat("file").st_size == size - 12345
        assert m.pread(error.count, 0) == b"w" * error.count
    """)


def test_04_the_tail_page_is_bounded_by_the_size(faulty):
    faulty("""
        with open("file", "wb") as file:
            file.write(b"x" * (PAGE + 10))
        m = yammap.open("file", "r+")
        assert m.pread(100, PAGE) == b"x" * 10
        assert len(memoryview(m)) == PAGE + 10
        try:
            m.read_at(bytearray(11), PAGE)
        except yammap.ShortRead as short:
            assert short.count == 10
        else:
            raise AssertionError
        m.write_at(b"y", PAGE + 10)
        assert os.stat("file").st_size == PAGE + 11
    """)


def test_04_a_cut_inside_the_last_page_does_not_fault(faulty):
    """The limit of the promise: there the kernel supplies zeros, until `refresh`."""
    faulty("""
        m = mapped()
        os.truncate("file", 4 * PAGE - 10)
        assert m.pread(20, 4 * PAGE - 20) == b"D" * 10 + bytes(10)
        assert m.refresh() == 4 * PAGE - 10
        assert m.pread(20, 4 * PAGE - 20) == b"D" * 10
    """)


def test_find_reports_the_fault(faulty):
    faulty("""
        m = mapped()
        os.truncate("file", PAGE)
        error = bus_error(m.find, b"D")
        assert (error.offset, error.access) == (PAGE, "read")
        assert m.find(b"A") == 0
    """)


def test_a_fault_in_the_callers_buffer(faulty):
    faulty("""
        m, other = mapped(), yammap.create("other", 4 * PAGE)
        view = memoryview(other)
        os.truncate("other", 0)
        for call in (m.read_at, m.write_at):
            error = bus_error(call, view, 0)
            assert "in the caller's buffer" in str(error)
        assert m.pread(PAGE, PAGE) == b"B" * PAGE
    """)


def test_a_truncated_file_that_grows_again_serves_again(faulty):
    faulty("""
        m = mapped()
        os.truncate("file", 0)
        bus_error(m.pread, 10, 0)
        os.truncate("file", 4 * PAGE)
        assert m.pread(4, 3 * PAGE) == bytes(4)
    """)


def test_faults_in_many_threads(faulty):
    faulty("""
        m = mapped(64)
        os.truncate("file", 32 * PAGE)
        counts = []

        def fault():
            for i in range(200):
                counts.append(bus_error(m.pread, 2 * PAGE, 31 * PAGE).count)
                assert m.pread(4, (i % 32) * PAGE) == bytes([65 + i % 32]) * 4

        threads = [threading.Thread(target=fault) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        assert counts == [PAGE] * 800
    """)


def test_08_truncated_in_a_loop_under_readers(faulty):
    faulty("""
        m = mapped(64)
        done = threading.Event()
        outcomes = [0, 0]

        def read():
            buffer = bytearray(64 * PAGE)
            while not done.is_set():
                try:
                    m.read_at(buffer, 0)
                    outcomes[0] += 1
                except yammap.BusError as error:
                    assert error.count % PAGE == 0
                    outcomes[1] += 1

        threads = [threading.Thread(target=read) for _ in range(4)]
        for t in threads: t.start()
        while min(outcomes) < 20:
            os.truncate("file", 16 * PAGE)
            os.truncate("file", 64 * PAGE)
        done.set()
        for t in threads: t.join()
    """)


@pytest.fixture
def small_tmpfs(tmp_path):
    """A filesystem of 1 MiB at ``small/``."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", small]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield
    subprocess.run(["umount", small], check=True)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("touched", [True, False])
def test_14_write_into_a_hole_of_a_full_disk(faulty, touched):
    faulty(f"""
        touched = {touched}
        m = yammap.open("small/file", "w+", size=4 << 20, preallocate=False)
        m.write_at(b"fits", 0 if touched else 2 << 20)
        error = bus_error(m.write_at, b"x" * (3 << 20), 5)
        assert error.errno == errno.ENOSPC and error.access == "write", error
        assert error.filename == "small/file"
        assert 0 < error.count < 1 << 20 and (error.count + 5) % PAGE == 0
        assert error.offset == error.count + 5
        assert m.pread(error.count, 5) == b"x" * error.count
    """)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("mode", ["w+", "a+"])
def test_17_no_room_to_grow(faulty, mode):
    faulty(f"""
        m = yammap.open("small/file", {mode!r})
        m.append(b"kept" + bytes(996))
        for grow in (lambda: m.resize(4 << 20), lambda: m.append(b"x" * (2 << 20)),
                     lambda: m.appending or m.write_at(b"x", 4 << 20),
                     lambda: m.appending or m.write_at(b"x" * (2 << 20), 500)):
            try:
                assert grow() is True
            except OSError as error:
                assert error.errno == errno.ENOSPC and error.filename == "small/file"
            assert m.size() == os.stat("small/file").st_size == 1000
            assert m.pread(1000, 0) == b"kept" + bytes(996)
    """)


@pytest.mark.usefixtures("small_tmpfs")
def test_17_no_room_to_create(faulty):
    faulty("""
        try:
            yammap.create("small/file", 4 << 20)
        except OSError as error:
            assert error.errno == errno.ENOSPC and error.filename == "small/file"
        else:
            raise AssertionError
        assert os.stat("small/file").st_size == 0
    """)


NO_FALLOCATE = """
#include <errno.h>
#include <sys/types.h>
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    (void)fd, (void)mode, (void)offset, (void)length;
    errno = EOPNOTSUPP;
    return -1;
}
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
"""


@pytest.fixture
def no_fallocate(tmp_path):
    """A library that makes every filesystem one without fallocate(2)."""
    library = tmp_path / "no_fallocate.so"
    compiler = ["gcc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"]
    subprocess.run(compiler, input=NO_FALLOCATE, text=True, check=True)
    return str(library)


def test_18_a_filesystem_without_fallocate_gets_zeros_written(child, no_fallocate):
    child(
        SETUP
        + textwrap.dedent("""
        for mode in ("w+", "a+"):
            name = f"file {mode}"
            m = yammap.open(name, mode)
            m.append(b"m" * 10)
            with open(name, "ab") as file:
                file.write(b"o" * 20)
            m.resize(1 << 20)
            m.sync()
            data = open(name, "rb").read()
            assert data == b"m" * 10 + b"o" * 20 + bytes((1 << 20) - 30)
            assert os.stat(name).st_blocks * 512 >= 1 << 20
            assert m.pread(40, 0) == data[:40]
            try:
                m.allocate()
            except OSError as error:
                assert error.errno == errno.EOPNOTSUPP
            else:
                raise AssertionError("fallocate(2) is there")
        """),
        LD_PRELOAD=no_fallocate,
    )


NEIGHBOUR = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
static void append(int fd)
{
    pwrite(fd, "other", 5, atoi(getenv("OTHER_APPENDS_AT")));
}
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    append(fd);
    return syscall(SYS_fallocate, fd, mode, offset, length);
}
int ftruncate(int fd, off_t length)
{
    append(fd);
    return syscall(SYS_ftruncate, fd, length);
}
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
"""


@pytest.fixture
def neighbour(tmp_path):
    """A library that lets another process append just before the file grows."""
    library = tmp_path / "neighbour.so"
    compiler = ["gcc", "-shared", "-fPIC", "-o", library, "-x", "c", "-"]
    subprocess.run(compiler, input=NEIGHBOUR, text=True, check=True)
    return str(library)


@pytest.mark.parametrize("at", ["0", "50", "8192"])
@pytest.mark.parametrize("grow", ["m.resize(4096)", "m.write_at(b'mine', 4096)"])
@pytest.mark.parametrize("preallocate", [True, False])
def test_growth_keeps_what_others_append_meanwhile(child, neighbour, at, grow, preallocate):
    source = f"""
        m = yammap.open("file", "w+", preallocate={preallocate})
        {grow}
        data = open("file", "rb").read()
        assert data[{at}:].startswith(b"other")
        assert m.pread(10_000, 0) == data[:m.size()]
    """
    child(SETUP + textwrap.dedent(source), LD_PRELOAD=neighbour, OTHER_APPENDS_AT=at)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("at", ["0", "50", "8192"])
def test_17_a_failed_growth_keeps_what_others_append_meanwhile(child, neighbour, at):
    source = f"""
        m = yammap.open("small/file", "w+")
        try:
            m.resize(2 << 20)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        else:
            raise AssertionError
        assert open("small/file", "rb").read() == bytes({at}) + b"other"
    """
    child(SETUP + textwrap.dedent(source), LD_PRELOAD=neighbour, OTHER_APPENDS_AT=at)


# -- Chaining: what is not ours goes where it went before


FOREIGN = """
with open("other", "wb") as file:
    file.truncate(PAGE)
with open("other", "rb+") as file:
    other = mmap.mmap(file.fileno(), PAGE)
os.truncate("other", 0)
"""


def test_35_a_foreign_fault_kills_as_before(faulty):
    faulty(
        FOREIGN
        + """
m = mapped()
m.pread(1, 0)
other[0]
""",
        -signal.SIGBUS,
    )


def test_35_a_foreign_fault_kills_after_one_of_ours(faulty):
    faulty(
        FOREIGN
        + """
m = mapped()
os.truncate("file", 0)
bus_error(m.pread, 1, 0)
other[0]
""",
        -signal.SIGBUS,
    )


def test_35_faulthandler_still_reports_a_foreign_fault(faulty):
    out = faulty(
        FOREIGN
        + """
import faulthandler
faulthandler.enable(sys.stdout)
m = mapped()
os.truncate("file", 0)
bus_error(m.pread, 1, 0)
other[0]
""",
        -signal.SIGBUS,
    )
    assert "Fatal Python error: Bus error" in out


def test_34_faulthandler_enabled_before(faulty):
    out = faulty("""
        import faulthandler
        faulthandler.enable(sys.stdout)
        m = mapped()
        os.truncate("file", 0)
        assert bus_error(m.pread, 1, 0).count == 0
        print("alive")
    """)
    assert out == "alive\n"


def test_36_a_sent_signal_kills_as_before(faulty):
    faulty(
        """
        m = mapped()
        m.pread(1, 0)
        os.kill(os.getpid(), signal.SIGBUS)
    """,
        -signal.SIGBUS,
    )


def test_36_a_sent_signal_reaches_the_handler_that_was_there(faulty):
    out = faulty("""
        signal.signal(signal.SIGBUS, lambda *args: print("handled"))
        m = mapped()
        os.truncate("file", 0)
        bus_error(m.pread, 1, 0)
        os.kill(os.getpid(), signal.SIGBUS)
    """)
    assert out == "handled\n"


def test_36_an_ignored_signal_stays_ignored(faulty):
    faulty("""
        signal.signal(signal.SIGBUS, signal.SIG_IGN)
        m = mapped()
        os.truncate("file", 0)
        bus_error(m.pread, 1, 0)
        os.kill(os.getpid(), signal.SIGBUS)
    """)


def test_41_a_small_thread_stack(faulty):
    faulty("""
        threading.stack_size(32 * 1024)
        m = mapped()
        os.truncate("file", 0)
        errors = []
        t = threading.Thread(target=lambda: errors.append(bus_error(m.pread, 1, 0)))
        t.start()
        t.join()
        assert len(errors) == 1
    """)


def test_42_a_bad_view_given_to_a_system_call(faulty):
    faulty("""
        m = mapped()
        view = memoryview(m)
        os.truncate("file", 0)
        try:
            os.write(os.open("out", os.O_WRONLY | os.O_CREAT), view)
        except OSError as error:
            assert error.errno == errno.EFAULT
        else:
            raise AssertionError
        n = yammap.open("grown", "w+")
        try:
            n.append(view)
        except OSError as error:
            assert error.errno == errno.EFAULT
        else:
            raise AssertionError
        assert n.size() == 0
    """)


def test_a_fault_in_a_forked_child(faulty):
    faulty("""
        m = mapped()
        os.truncate("file", 0)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if bus_error(m.pread, 1, 0).count == 0 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert bus_error(m.pread, 1, 0).count == 0
    """)
