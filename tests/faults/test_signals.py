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
