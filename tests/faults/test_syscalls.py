"""System calls that fail, are interrupted or limited: cases 25 to 27."""

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer

SCENARIO = """
import collections

MODEL = bytearray()
refused = collections.Counter()


def steps(m):
    "What is done, one step after another, and how the bytes look afterwards."
    def grown(size):
        return bytes(MODEL).ljust(size, bytes(1))

    yield m.size, grown
    yield lambda: m.append(b"a" * 5000), lambda size: MODEL + b"a" * 5000
    view = m.view(0, min(1000, m.size()))
    yield lambda: m.resize(9 * PAGE), lambda size: grown(9 * PAGE)
    yield lambda: m.refresh(), grown
    yield lambda: m.sync(), grown
    yield lambda: m.madvise(yammap.MADV_RANDOM), grown
    yield lambda: m.append(b"z" * (3 * MIB)), lambda size: MODEL + b"z" * (3 * MIB)
    if not m.appending:
        yield (lambda: m.write_at(b"w" * 100, 4 * MIB),
               lambda size: grown(4 * MIB) + b"w" * 100)
        yield (lambda: m.write_at(b"c" * (2 * MIB), 5000),
               lambda size: MODEL[:5000] + b"c" * (2 * MIB) + MODEL[5000 + 2 * MIB :])
        yield lambda: m.allocate(), grown
        yield (lambda: m.punch_hole(min(PAGE, m.size())),
               lambda size: MODEL[:PAGE].ljust(size, bytes(1)))
        assert view == MODEL[: len(view)]
    view.release()
    # It may be shorter, and there may be room behind it for so much, though not for more.
    yield lambda: m.resize(3 * PAGE), lambda size: grown(size)[: 3 * PAGE]
    yield lambda: m.sync(), grown


def scenario(mode, options, code):
    "Take all the steps; those that are refused must have changed nothing."
    try:
        m = yammap.open("scenario", mode, **options)
    except OSError as error:
        assert error.errno == code, error
        refused["open"] += 1
        return
    MODEL[:] = b""
    if mode == "a+":
        m.resize(0) if m.size() else None
    for number, (step, after) in enumerate(steps(m)):
        try:
            step()
        except OSError as error:
            assert error.errno == code, error
            assert error.filename == "scenario", error
            refused[number] += 1
        else:
            MODEL[:] = after(m.size())
        # A record that is in the file is appended, even where it cannot be mapped yet.
        assert m.size() == len(MODEL) or m.appending, (number, m.size(), len(MODEL))
        assert content("scenario") == MODEL, number
        assert m.pread(len(MODEL), 0) == MODEL[: m.size()], number
    m.close()


def sweep(name, mode, options, code, once):
    "Fail the first such call of the scenario, then the second, as long as there is one."
    for nth in range(1, 1000):
        with contextlib.suppress(FileNotFoundError):
            os.unlink("scenario")
        fds = descriptors()
        fail(name, nth, code, once)
        scenario(mode, options, code)
        made = fail()
        assert descriptors() == fds, nth
        assert maps(os.path.abspath("scenario")) == [], nth
        if made < nth:
            return nth - 1
    raise AssertionError("there is no end")


scenario("w+", {}, 0)
os.unlink("scenario")
assert not refused
"""


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(
    ("call", "code", "mode", "options"),
    [
        ("mmap", "ENOMEM", "w+", "reserve=0"),
        ("mmap", "ENOMEM", "a+", ""),
        ("mremap", "ENOMEM", "w+", "reserve=0"),
        ("ftruncate", "EIO", "w+", ""),
        ("ftruncate", "EIO", "w+", "preallocate=False"),
        ("fallocate", "ENOSPC", "w+", ""),
        ("fstat", "EIO", "w+", ""),
        ("fstat", "EIO", "a+", "reserve=0"),
        ("madvise", "EAGAIN", "w+", "reserve=0"),
        ("msync", "EIO", "w+", ""),
        ("pwrite", "EIO", "w+", ""),
        ("write", "EIO", "a+", ""),
    ],
)
def test_25_every_call_fails_once_and_for_good(failing, call, code, mode, options, once):
    failing(
        SCENARIO
        + f"""
maps_before = len(maps())
reached = sweep({call!r}, {mode!r}, dict({options}), errno.{code}, {once})
assert reached > 0, "no such call is made"
assert len(maps()) <= maps_before + 4
"""
    )


@pytest.mark.parametrize("call", ["ftruncate", "fallocate", "pwrite", "write", "msync"])
def test_26_interrupted_calls_are_made_again(failing, call):
    failing(
        SCENARIO
        + f"""
mode = "a+" if {call!r} == "write" else "w+"
for preallocate in (True, False):
    sweep({call!r}, mode, dict(preallocate=preallocate), errno.EINTR, True)
assert not refused, refused
"""
    )


def test_26_growing_under_a_profilers_timer_comes_to_an_end(faulty, small_tmpfs):
    # On tmpfs an interrupted fallocate(2) gives all back and begins anew.
    faulty("""
        assert os.system("mount -o remount,size=300m small") == 0
        ticks = []
        signal.signal(signal.SIGALRM, lambda *args: ticks.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        m = yammap.create("small/file", 256 * MIB)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert ticks
        assert m.size() == os.stat("small/file").st_size == 256 * MIB
    """)


@pytest.mark.parametrize("call", ["mmap", "mremap", "pwrite", "fstat"])
def test_25_healing_that_fails_keeps_what_was_stored(failing, call):
    failing(f"""
        for nth in range(1, 100):
            m = mapped(on_fault="poison")
            view = m.array()
            os.truncate("file", PAGE)
            view[3 * PAGE] = 7
            os.truncate("file", 4 * PAGE)
            fail({call!r}, nth, errno.EIO)
            try:
                m.heal()
            except OSError as error:
                assert error.errno == errno.EIO, error
                fail()
                assert view[3 * PAGE] == 7 and m.faults()
                bus_error(m.sync)
                m.heal()
                made = nth
            else:
                made = fail()
            assert m.faults() == []
            assert content() == b"A" * PAGE + bytes(2 * PAGE) + b"\\7" + bytes(PAGE - 1)
            m.close()
            if made < nth:
                break
        else:
            raise AssertionError("there is no end")
    """)


def test_27_without_a_reserve_the_mapping_is_exact(faulty):
    faulty("""
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * PAGE
        limit = used + 256 * MIB
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        m = mapped()
        view = m.array()
        m.append(b"x" * MIB)
        assert view.tobytes() == letters(4)
        assert content() == letters(4) + b"x" * MIB
        error = raised(OSError, m.resize, 1 << 30)
        assert error.errno == errno.ENOMEM and error.filename == "file"
        assert "RLIMIT_AS" in str(error) and str(limit) in str(error), error
        assert m.size() == os.stat("file").st_size == 4 * PAGE + MIB
        assert m.pread(4 * PAGE, 0) == view.tobytes() == letters(4)
    """)


def test_27_mlockall_of_all_that_will_be_mapped(faulty):
    # Without privileges, since with them the limit counts for nothing.
    faulty("""
        with open("file", "wb") as file:
            file.write(letters(4))
        fd = os.open("file", os.O_RDWR)
        big = os.open("big", os.O_RDWR | os.O_CREAT)
        os.truncate("big", 64 * MIB)
        limit = 8 * MIB
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        become_nobody()
        MCL_FUTURE = 2
        assert ctypes.CDLL(None).mlockall(MCL_FUTURE) == 0
        m = yammap.open(fd, "r+")
        m.append(b"more")
        m.resize(5 * PAGE)
        assert m.pread(6, 4 * PAGE - 2) == b"DDmore"
        error = raised(OSError, yammap.open, big, "r+")
        assert error.errno == errno.EAGAIN, error
        assert "RLIMIT_MEMLOCK" in str(error) and str(limit) in str(error), error
    """)


def test_27_too_many_open_files_are_named(faulty):
    faulty("""
        m = mapped()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        kept = []
        def exhaust():
            while True:
                kept.append(yammap.open("file"))
        error = raised(OSError, exhaust)
        assert error.errno == errno.EMFILE and error.filename == "file"
        assert "RLIMIT_NOFILE" in str(error) and "64" in str(error), error
        assert m.pread(1, 0) == b"A"
        kept.pop().close()
        assert len(kept) > 20
    """)


EMPTY_MAPPED = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As ntfs3, which loses what is stored into a mapping that is older than its file's first
 * byte: such a mapping is remembered, until it is replaced. */
static void *stale;

long is_stale(void) { return stale != NULL; }

void *mmap(void *start, size_t length, int prot, int flags, int fd, off_t offset)
{
    void *result = (void *)syscall(SYS_mmap, start, length, prot, flags, fd, offset);
    struct stat status;
    int code = errno;

    if (start != NULL && start == stale)
        stale = NULL;
    if (fd != -1 && flags & MAP_SHARED && prot & PROT_WRITE && fstat(fd, &status) == 0
        && status.st_size == 0)
        stale = result;
    errno = code;
    return result;
}
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
"""


@pytest.fixture(scope="session")
def empty_mapped(tmp_path_factory):
    """A library that remembers a writable mapping of an empty file."""
    return str(lab.preload(EMPTY_MAPPED, tmp_path_factory.mktemp("empty_mapped")))


@pytest.mark.parametrize(
    "make",
    [
        "m = yammap.create('new', 10 * PAGE)",
        "m = yammap.open('new', 'w+', size=10 * PAGE)",
        "m = yammap.open('new', 'w+'); m.resize(10 * PAGE)",
        "m = yammap.open('new', 'w+', preallocate=False); m.resize(10 * PAGE)",
        "m = yammap.open('new', 'w+', reserve=0); m.append(bytes(10 * PAGE))",
        "m = yammap.open('new', 'w+'); m.write_at(b'x', 10 * PAGE - 1)",
        "m = yammap.open('new', 'w+', ahead=MIB); m.append(bytes(10 * PAGE))",
        "m = yammap.open('new', 'w+'); os.truncate('new', 10 * PAGE); m.refresh()",
        "a = yammap.open_array('new', 'u1', 'w+', shape=MIB); m = yammap.open('new', 'r+')",
    ],
)
def test_a_file_has_a_size_before_it_is_mapped_for_writing(faulty, empty_mapped, make):
    # The library stands for ntfs3, which the kernels that we have do not have.
    faulty(
        f"""
        {make}
        assert ctypes.CDLL(None).is_stale() == 0
        m.view()[5 * PAGE] = 7
        assert content("new")[5 * PAGE] == 7
        m.close()
        """,
        LD_PRELOAD=empty_mapped,
    )


def test_a_file_that_was_emptied_is_mapped_anew_when_it_grows(faulty):
    faulty("""
        m = mapped()
        m.madvise(yammap.MADV_RANDOM)
        m.resize(0)
        first = maps("file")
        m.resize(10 * PAGE)
        m.view()[5 * PAGE] = 7
        assert maps("file") == first and m.pread(1, 5 * PAGE) == b"\\7"
        os.unlink("file")
        m.close()
    """)
