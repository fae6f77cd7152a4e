"""System calls that fail, are interrupted or limited: cases 25 to 27."""

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
        os.setuid(65534)
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
