"""Other handlers, threads and processes: cases 34 to 42."""

import signal

import pytest

pytestmark = pytest.mark.no_sanitizer


FOREIGN = """
with open("other", "wb") as file:
    file.truncate(PAGE)
with open("other", "rb+") as file:
    other = mmap.mmap(file.fileno(), PAGE)
os.truncate("other", 0)
"""


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
        give_small_stacks()
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


# -- Handlers that come later


LATER = {
    "faulthandler": "faulthandler.enable(sys.stdout)",
    "python": "signal.signal(signal.SIGBUS, lambda *args: print('called'))",
    "ignore": "signal.signal(signal.SIGBUS, signal.SIG_IGN)",
    "default": "signal.signal(signal.SIGBUS, signal.SIG_DFL)",
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize(
    "look", ["next_tick(); m.view()", "m.resize(8 * PAGE)", "m.sync()", "mapped()"]
)
def test_34_37_a_later_handler_is_noticed(faulty, later, look):
    out = faulty(f"""
        m = mapped(name="first", on_fault="poison")
        view = m.array()
        {later}
        {look}
        os.truncate("first", PAGE)
        assert bus_error(m.pread, 1, 3 * PAGE).count == 0
        assert view[3 * PAGE] == 0
        assert len(m.faults()) == 1
        print("alive")
    """)
    assert out == "alive\n"


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_34_37_copies_notice_by_themselves(faulty, later):
    out = faulty(f"""
        import time
        m = mapped()
        {later}
        time.sleep(0.1)     # they look at least every 1/15 s
        m.pread(1, 0)
        os.truncate("file", PAGE)
        assert bus_error(m.pread, 1, 3 * PAGE).count == 0
        assert bus_error(m.write_at, b"x", 3 * PAGE).access == "write"
        print("alive")
    """)
    assert out == "alive\n"


def test_34_the_later_handler_still_gets_what_is_not_ours(faulty):
    out = faulty(
        FOREIGN
        + """
m = mapped()
faulthandler.enable(sys.stdout)
next_tick()
m.view()
os.truncate("file", 0)
bus_error(m.pread, 1, 0)
other[0]
""",
        -signal.SIGBUS,
    )
    assert "Fatal Python error: Bus error" in out


def test_34_displaced_twice_copies_go_by_system_calls(faulty):
    faulty("""
        m = mapped()
        faulthandler.enable(sys.stdout)
        next_tick()
        m.view()
        signal.signal(signal.SIGBUS, lambda *args: None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            next_tick()
            m.view()
        assert [warning.category for warning in caught] == [RuntimeWarning]
        warnings.simplefilter("ignore", RuntimeWarning)
        os.truncate("file", PAGE)
        error = bus_error(m.read_at, bytearray(PAGE), PAGE - 10)
        assert (error.count, error.offset, error.errno) == (10, PAGE, errno.EFAULT)
        error = bus_error(m.write_at, b"w" * PAGE, PAGE - 10)
        assert (error.count, error.offset) == (10, PAGE)
        assert content() == b"A" * (PAGE - 10) + b"w" * 10
        assert m.pread(20, PAGE - 20) == b"A" * 10 + b"w" * 10
        bus_error(m.find, b"D")
        m.append(b"more") if m.refresh() else None
        assert content()[-4:] == b"more"
    """)


TEST = """
import os
import pytest
import yammap

def test_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    m = yammap.open(path, "r+", on_fault="poison")
    view = m.array()
    os.truncate(path, 0)
    with pytest.raises(yammap.BusError):
        m.pread(1, 0)
    assert view[1 << 19] == 0
    with pytest.raises(yammap.BusError):
        m.sync()
"""


def test_34_under_pytest(faulty, tmp_path):
    (tmp_path / "test_it.py").write_text(TEST)
    out = faulty(
        """
        import pytest
        assert pytest.main(["-q", "-p", "no:cacheprovider", "test_it.py"]) == 0
    """,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert "1 passed" in out


def test_35_a_foreign_fault_kills_after_one_in_a_view(faulty):
    faulty(
        FOREIGN
        + """
m = mapped(on_fault="poison")
view = m.array()
os.truncate("file", 0)
assert view[0] == 0
other[0]
""",
        -signal.SIGBUS,
    )


def test_35_a_foreign_fault_next_to_ours_kills(faulty):
    # A mapping of the standard library where ours has been: it is ours no more.
    faulty(
        """
m = mapped(64)
start = m.array().ctypes.data
m.close()
del m
gc.collect()
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
fd = os.open("file", os.O_RDWR)
fixed = mmap.MAP_SHARED | 0x100000      # MAP_FIXED_NOREPLACE
arguments = map(ctypes.c_long, (start, 64 * PAGE, mmap.PROT_READ, fixed, fd, 0))
assert libc.mmap(*arguments) == start
os.truncate("file", 0)
ctypes.string_at(start, 1)
""",
        -signal.SIGBUS,
    )


def test_36_a_sent_signal_is_no_fault_of_a_view(faulty):
    out = faulty("""
        signal.signal(signal.SIGBUS, lambda *args: print("handled"))
        m = mapped()
        view = m.array()
        signal.raise_signal(signal.SIGBUS)
        signal.pthread_kill(threading.get_ident(), signal.SIGBUS)
        assert m.faults() == [] and m.size() == 4 * PAGE
    """)
    assert out == "handled\nhandled\n"


def test_38_a_copy_in_a_thread_that_blocks_the_signal(faulty):
    faulty("""
        m = mapped()
        os.truncate("file", PAGE)
        counts = []

        def fault():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            counts.append(bus_error(m.pread, 2 * PAGE, 10).count)
            counts.append(bus_error(m.write_at, bytes(2 * PAGE), PAGE - 5).count)

        [thread] = start(fault)
        thread.join()
        assert counts == [PAGE - 10, 5]
    """)


def test_38_a_view_in_a_thread_that_blocks_the_signal(faulty):
    # The kernel kills a process for a fault in a thread that blocks the signal for it.
    faulty(
        """
        m = mapped(on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)

        def fault():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])
            view[3 * PAGE]

        [thread] = start(fault)
        thread.join()
    """,
        -signal.SIGBUS,
    )


def test_38_blocked_elsewhere(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()
        m.pread(1, 0)
        blocked, done = threading.Event(), threading.Event()

        def block():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            assert m.pread(1, 0) == b"A" and view[0] == ord("A")
            blocked.set()
            done.wait()

        [thread] = start(block)
        blocked.wait()
        os.truncate("file", PAGE)
        bus_error(m.pread, 1, 3 * PAGE)
        assert view[3 * PAGE] == 0
        done.set()
        thread.join()
    """)


FORK = """
warnings.simplefilter("ignore", DeprecationWarning)     # of forking with threads


def forked(function):
    "Run it in a forked child, which must end well."
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.mark.parametrize("on_fault", ["raise", "poison"])
def test_39_a_forked_child_faults_while_a_thread_copies(faulty, on_fault):
    faulty(
        FORK
        + f"""
on_fault = {on_fault!r}
m = mapped(64, on_fault=on_fault)
bad = mapped(name="bad", on_fault=on_fault)
view = bad.array()
os.truncate("bad", PAGE)
done = threading.Event()


def copy():
    buffer = bytearray(64 * PAGE)
    while not done.is_set():
        m.read_at(buffer, 0)
        with contextlib.suppress(yammap.BusError):
            bad.pread(1, 3 * PAGE)


def fault():
    bus_error(bad.pread, 1, 3 * PAGE)
    if on_fault == "raise":
        touched(lambda: view[3 * PAGE])
    else:
        assert view[3 * PAGE] == 0
    bus_error(bad.sync)
    assert m.pread(PAGE, PAGE) == b"B" * PAGE
    assert bad.heal() == 0 and bad.size() == 4 * PAGE
    m.close()


threads = start(copy, copy)
for _ in range(20):
    forked(fault)
assert bad.faults() == []
done.set()
for t in threads: t.join()
fault()
"""
    )


def test_39_poison_is_each_processs_own(faulty):
    faulty(
        FORK
        + """
m = mapped(on_fault="poison")
view = m.array()
os.truncate("file", PAGE)
view[3 * PAGE] = 7

def child():
    bus_error(m.size)
    assert view[3 * PAGE] == 7
    m.heal(discard=True)
    assert view[0] == ord("A")

forked(child)
bus_error(m.size)
assert view[3 * PAGE] == 7
os.truncate("file", 4 * PAGE)
m.heal()
assert content()[3 * PAGE] == 7
"""
    )


def test_39_dontfork_reads_zeros_in_the_child(faulty):
    faulty(
        FORK
        + """
m = mapped()
view = m.array()
m.madvise(yammap.MADV_DONTFORK)

def child():
    assert not view.any()
    view[:] = 1
    m.close()

forked(child)
assert view.tobytes() == content() == letters(4)
m.madvise(yammap.MADV_DOFORK)

def child():
    assert view.tobytes() == letters(4)

forked(child)
"""
    )


IN_A_SUBINTERPRETER = """
import os, sys, warnings
warnings.simplefilter("ignore")
try:
    import yammap
except ImportError as error:
    assert "interpreter" in str(error) or "once per process" in str(error), error   # NumPy
else:
    m = yammap.open("file", "r+")
    os.truncate("file", os.sysconf("SC_PAGESIZE"))
    try:
        m.pread(1, 2 * os.sysconf("SC_PAGESIZE"))
    except yammap.BusError:
        m.close()
    else:
        raise AssertionError("no BusError")
"""


def test_40_subinterpreters(faulty, tmp_path):
    # They can use it, or are refused it in so many words.
    (tmp_path / "source.py").write_text(IN_A_SUBINTERPRETER)
    faulty("""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        source = open("source.py").read()
        for _ in range(2):
            m = mapped()
            one = interpreters.create()
            failure = interpreters.run_string(one, source)
            assert failure is None, failure
            interpreters.destroy(one)
            os.truncate("file", 0)
            bus_error(m.pread, 1, 0)
    """)


@pytest.mark.parametrize("on_fault", ["raise", "poison"])
def test_41_a_view_fault_on_a_small_thread_stack(faulty, on_fault):
    faulty(f"""
        give_small_stacks()
        m = mapped(on_fault={on_fault!r})
        view = m.array()
        os.truncate("file", 0)
        values = []

        def fault():
            with contextlib.suppress(yammap.BusError):
                values.append(view[3 * PAGE])
                for _ in range(10**7):
                    pass

        for t in start(*[fault] * 3):
            t.join()
        assert values == [0, 0, 0]
        bus_error(m.sync)
    """)


def test_42_a_bad_view_to_read_into(faulty):
    faulty("""
        m = mapped()
        view = memoryview(m)
        os.truncate("file", PAGE)
        with open("source", "wb") as file:
            file.write(b"s" * (4 * PAGE))
        fd = os.open("source", os.O_RDONLY)
        assert raised(OSError, os.readv, fd, [view[2 * PAGE :]]).errno == errno.EFAULT
        with open("source", "rb", buffering=0) as file:
            error = raised(OSError, file.readinto, view[2 * PAGE :])
        assert error.errno == errno.EFAULT
        assert os.preadv(fd, [view], 0) == PAGE     # as far as there is a file
        assert m.faults() == []
        m.sync(0, PAGE)
        assert content() == b"s" * PAGE
    """)


@pytest.mark.parametrize("length", ["1", "3 * PAGE"])
def test_34_faulthandler_enabled_after_and_a_fault_at_once(faulty, length):
    """Before we look again, so faulthandler has the signal: it prints, and repeats it."""
    out = faulty(f"""
        m = mapped()
        m.read_at(bytearray(1), 0)
        faulthandler.enable(sys.stdout)
        os.truncate("file", PAGE)
        error = bus_error(m.read_at, bytearray({length}), PAGE)
        assert (error.count, error.offset) == (0, PAGE), vars(error)
        assert bus_error(m.find, b"x", 2 * PAGE).errno == errno.EFAULT
        assert bus_error(m.gather, [0, 2 * PAGE], PAGE).record == 1
        os.truncate("file", 4 * PAGE)
        assert m.pread(1, PAGE) == bytes(1)
        print("alive")
    """)
    assert "Fatal Python error: Bus error" in out
    assert out.endswith("alive\n")


def test_36_a_signal_sent_to_a_thread_that_copies_kills_as_before(faulty):
    """Taken for a repeated one at first; but there was no fault."""
    faulty(
        """
        m = yammap.open("file", "w+", size=16 * MIB)
        buffer, ident = bytearray(16 * MIB), threading.get_ident()
        start(lambda: signal.pthread_kill(ident, signal.SIGBUS))
        while True:
            m.read_at(buffer, 0)
        """,
        -signal.SIGBUS,
    )


FORBID = """
import struct


def forbid(*calls):
    "Have the kernel answer EPERM to these system calls from now on (seccomp)."
    rules = [(0x20, 0, 0, 0)]
    for call in calls:
        rules += [(0x15, 0, 1, call), (0x06, 0, 0, 0x50000 | errno.EPERM)]
    rules.append((0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *r) for r in rules))
    program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code))
    prctl = ctypes.CDLL(None).prctl
    assert prctl(38, 1, 0, 0, 0) == 0 == prctl(22, 2, program, 0, 0)


PROCESS_VM = (310, 311) if os.uname().machine == "x86_64" else (270, 271)
"""


def test_38_private_changes_before_the_end_of_a_file_that_was_cut(faulty):
    # Memory is read by a pipe there, and what is read must not end in the page beyond.
    faulty(
        FORBID
        + """
m = mapped(mode="c")
m.write_at(b"0123456789", 2 * PAGE - 10)
os.truncate("file", 2 * PAGE)
forbid(*PROCESS_VM)
buffer = bytearray(PAGE)
errors = []


def read():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])
    errors.append(bus_error(m.read_at, buffer, 2 * PAGE - 10))


warnings.simplefilter("ignore", RuntimeWarning)
[thread] = start(read)
thread.join()
assert (errors[0].count, errors[0].offset) == (10, 2 * PAGE)
assert bytes(buffer[:10]) == b"0123456789", bytes(buffer[:10])
"""
    )


def test_05_of_two_views_that_are_gone_the_other_is_forgotten(faulty):
    """It was told with the first; else all later errors would name the one before."""
    faulty("""
        def bad(name):
            m = yammap.create(name, PAGE)
            array = m.array()
            os.truncate(name, 0)
            m.close()
            return array

        def one(name):
            array = bad(name)
            try:
                array[0]
                del array
                for _ in range(3):
                    pass
            except yammap.BusError as error:
                return error.filename

        arrays = [bad("first"), bad("second")]
        try:
            np.concatenate([arrays.pop(), arrays.pop()])
            for _ in range(3):
                pass
        except yammap.BusError as error:
            told = error.filename
        assert told in ("first", "second")
        assert [one(name) for name in ("third", "fourth")] == ["third", "fourth"]
    """)
