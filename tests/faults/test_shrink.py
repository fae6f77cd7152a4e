"""The file was cut short by somebody else: cases 1 to 12."""

import signal

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer


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


@pytest.mark.parametrize("cut", ["1", "100", "PAGE", "PAGE + 1", "2 * PAGE", "3 * PAGE"])
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


# -- Views


def test_05_a_view_read_past_the_end(faulty):
    faulty("""
        m = mapped()
        view = m.array()
        os.truncate("file", PAGE)
        read = []
        touched(lambda: read.append(view[2 * PAGE]))
        assert read in ([], [0])
        error = poisoned(m)
        assert f"the file shrank to {PAGE} bytes" in str(error)
        assert (error.errno, error.filename) == (errno.EFAULT, "file")
        assert (error.offset // PAGE, error.access) == (2, "read")
        [fault] = m.faults()
        assert fault.offset <= 2 * PAGE < fault.offset + fault.length
        assert (fault.access, fault.errno) == ("read", errno.EFAULT)
        assert view[:PAGE].tobytes() == b"A" * PAGE
        assert not view[PAGE:].any()
        assert os.stat("file").st_size == PAGE
    """)


def test_05_the_exception_tells_as_much_as_a_copys(faulty):
    faulty("""
        m = mapped()
        view = memoryview(m)
        os.truncate("file", PAGE)
        error = touched(bytes, view[2 * PAGE:])
        assert (error.errno, error.filename) == (errno.EFAULT, "file")
        assert (error.offset, error.access) == (2 * PAGE, "read")
    """)


@pytest.mark.parametrize(
    "operation",
    [
        "view.sum()",
        "view.copy()",
        "np.sort(view)",
        "bytes(memoryview(m2))",
        "memoryview(m2)[3 * PAGE]",
        "np.frombuffer(m2, 'u1').max()",
        "(ctypes.c_char * (4 * PAGE)).from_buffer(m2).raw",
        "np.ndarray(4 * PAGE, 'u1', buffer=m2).tolist()",
        "b'x' in memoryview(m2)",
        "re.search(b'x', memoryview(m2))",
        "int.from_bytes(memoryview(m2)[3 * PAGE:], 'big')",
    ],
)
def test_05_whatever_touches_the_view(faulty, operation):
    faulty(f"""
        m = m2 = mapped()
        view = m.array()
        operate = lambda: {operation}
        os.truncate("file", PAGE)
        touched(operate)
        bus_error(m.sync)
        assert m.faults()[0].access == "read"
    """)


def test_05_poison_raises_nothing_by_itself(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        assert view[3 * PAGE] == 0
        for _ in range(10**6):
            pass
        poisoned(m)
        assert m.heal() == 0
        assert m.pread(10, 0) == b"A" * 10
        assert m.refresh() == PAGE
    """)


def test_05_in_a_worker_thread(faulty):
    faulty("""
        m = mapped()
        view = m.array()
        os.truncate("file", PAGE)
        errors = []
        worker = threading.Thread(
            target=lambda: errors.append(touched(lambda: view[3 * PAGE])))
        worker.start()
        worker.join()
        assert len(errors) == 1
        for _ in range(10**6):      # and not in this one
            pass
        bus_error(m.sync)
    """)


def test_05_a_fault_that_was_reported_is_not_raised_again(faulty):
    faulty("""
        m = mapped()
        view = m.array()
        os.truncate("file", PAGE)
        for _ in range(50):
            os.truncate("file", PAGE)
            try:
                view[3 * PAGE]
                m.pread(1, 0)       # in C: nothing is raised on the way into it
            except yammap.BusError as error:    # and not the one that was to come
                assert "the file shrank" in str(error), error
            for _ in range(10**5):
                pass
            os.truncate("file", 4 * PAGE)
            m.heal()
    """)


def test_05_a_guard_and_the_end_of_a_block(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()

        def block(guard):
            with guard:
                assert view[3 * PAGE] in (0, ord("D"))

        block(m.guard())
        os.truncate("file", PAGE)
        error = bus_error(block, m.guard())
        assert error.offset // PAGE == 3
        bus_error(m.guard().__enter__)

        m = mapped(on_fault="poison")
        view = m.array()
        with m:
            os.truncate("file", PAGE)
            bus_error(block, m.guard())
            m.heal()
            view[3 * PAGE]
            assert bus_error(m.__exit__, None, None, None).offset // PAGE == 3
        assert m.closed and len(m.faults()) == 1
    """)


@pytest.mark.parametrize("on_fault", ["raise", "poison"])
def test_05_what_is_used_behind_a_guard_was_not_made_up(faulty, on_fault):
    faulty(f"""
        m = mapped(128, on_fault={on_fault!r})
        a = m.array()
        file = np.empty_like(a)
        results = [
            lambda: a + 1, lambda: a.sum(), lambda: a[100 * PAGE], lambda: a.copy(),
            lambda: a[::PAGE].tolist(), lambda: bytes(memoryview(a)), lambda: np.sort(a),
            lambda: file.__setitem__(slice(None), a), lambda: a == 0,
        ]
        for compute in results:
            written = []
            def use():
                with m.guard():
                    result = compute()
                written.append(result)
            os.truncate("file", PAGE)
            bus_error(use)
            assert not written
            os.truncate("file", 128 * PAGE)
            m.heal()
            use()
            assert written
    """)


def test_05_a_result_may_be_used_by_one_call_before_the_exception(faulty):
    faulty("""
        m = mapped(128)
        a = m.array()
        os.truncate("file", PAGE)
        calls = []

        def use():
            b = a + 1
            calls.append(b)
            calls.append(b)

        bus_error(use)
        assert len(calls) <= 1
    """)


@pytest.mark.parametrize(
    "copy",
    ["m.read_at(out, 0)", "m.pread(len(a), 0)", "m[:]", "m.gather([0], len(a), out)"],
)
def test_05_a_copy_raises_before_it_is_used(faulty, copy):
    faulty(f"""
        m = mapped(128)
        a = m.array()
        out = np.zeros(len(a), np.uint8)
        os.truncate("file", PAGE)
        written = []

        def use():
            {copy}
            written.append(1)

        bus_error(use)
        assert not written
    """)


def test_05_a_guard_outlives_the_mapping(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()

        def block():
            with m.guard():
                m.close()
                os.truncate("file", PAGE)
                assert view[3 * PAGE] == 0

        bus_error(block)
    """)


def test_05_a_guard_of_an_array_alone(faulty):
    faulty("""
        mapped(8).close()
        array = yammap.open_array("file", on_fault="poison")
        other = yammap.open_array("file", on_fault="poison")
        with yammap.guard(array[5:].reshape(-1, 1)), yammap.guard(other):
            total = int(array.sum())
        os.truncate("file", PAGE)

        def block(part):
            with yammap.guard(part):
                return part[3 * PAGE]

        error = bus_error(block, array[5:])
        assert (error.offset, error.filename) == (3 * PAGE + 5, os.path.abspath("file"))
        bus_error(block, array[:4 * PAGE])
        with yammap.guard(other):       # has a mapping of its own, and touched nothing
            pass
        raised(KeyError, exec, "with yammap.guard(other): other[3 * PAGE], {}[1]",
               globals())
    """)


def test_05_a_guard_of_an_array_over_the_mapping_itself(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        array = np.ndarray(4 * PAGE, np.uint8, m)
        os.truncate("file", PAGE)

        def block():
            with yammap.guard(array):
                array[2 * PAGE]

        assert bus_error(block).offset == 2 * PAGE
        raised(TypeError, yammap.guard, m)
        raised(ValueError, yammap.guard, np.arange(3))
    """)


@pytest.mark.parametrize("keep", ["", "names.append(yammap.open_array('file'))"])
def test_05_a_view_that_is_gone_before_its_fault_is_told(faulty, keep):
    faulty(f"""
        mapped(4).close()
        names = []
        for i in range(40):
            os.truncate("file", 4 * PAGE)
            array = yammap.open_array("file")
            os.truncate("file", PAGE)

            def touch():
                global array
                x = array[2 * PAGE + i]
                del array       # frees the memory before the interpreter looks

            error = touched(touch)
            assert (error.offset, error.errno) == (2 * PAGE + i, errno.EFAULT)
            assert error.filename == os.path.abspath("file")
            assert "the file shrank" in str(error)
            os.truncate("file", 4 * PAGE)
            {keep}
    """)


def test_05_close_closes_and_then_raises(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        assert view[3 * PAGE] == 0
        before = descriptors()
        bus_error(m.close)
        assert m.closed and descriptors() == before - 1
        m.close()
        raised(ValueError, m.size)
        assert view[PAGE - 1] == ord("A") and view[3 * PAGE] == 0
        assert len(m.faults()) == 1
    """)


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_06_a_view_write_past_the_end(faulty, mode):
    faulty(f"""
        m = mapped(mode={mode!r})
        view = m.array()
        os.truncate("file", PAGE)
        touched(store, view, 3 * PAGE + 5, 7)
        assert view[3 * PAGE + 5] == 7
        error = bus_error(m.sync)
        assert (error.access, error.errno) == ("write", errno.EFAULT)
        bus_error(m.sync)
        assert content() == b"A" * PAGE
        if m.mode == "r+":
            raised(OSError, m.heal)             # there is nowhere to write it
            assert view[3 * PAGE + 5] == 7
            bus_error(m.sync)
            m.heal(discard=True)
            assert m.faults() == []
            m.sync(0, PAGE)
            assert content() == b"A" * PAGE
    """)


def test_07_poison_stays_when_the_file_grows_again(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        view[3 * PAGE + 5] = 7
        os.truncate("file", 4 * PAGE)
        with open("file", "r+b") as file:
            file.seek(2 * PAGE)
            file.write(b"others")
            file.seek(3 * PAGE + 100)
            file.write(b"beside")
        poisoned(m)
        assert m.heal() > 0
        assert m.faults() == []
        expected = bytearray(b"A" * PAGE + bytes(3 * PAGE))
        expected[2 * PAGE : 2 * PAGE + 6] = b"others"
        expected[3 * PAGE + 5] = 7
        expected[3 * PAGE + 100 : 3 * PAGE + 106] = b"beside"
        assert content() == expected
        assert m.pread(4 * PAGE, 0) == view.tobytes() == expected
        view[2 * PAGE] = ord("O")           # it is the file's page again
        m.sync()
        assert content()[2 * PAGE :][:6] == b"Others"
        m.close()
    """)


def test_07_what_is_read_only_heals_too(faulty):
    faulty("""
        m = mapped(mode="r", on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        assert view[3 * PAGE] == 0
        bus_error(m.size)
        with open("file", "r+b") as file:
            file.write(letters(4))
        assert m.heal() == 0
        assert view.tobytes() == content() == letters(4)
    """)


def test_07_a_window_that_begins_inside_a_page(faulty):
    faulty("""
        m = mapped(8, offset=PAGE + 100, length=5 * PAGE, on_fault="poison")
        view = m.array()
        os.truncate("file", 3 * PAGE)
        view[4 * PAGE] = 7
        error = bus_error(m.tell)
        assert error.offset // PAGE == 4, error.offset
        [fault] = m.faults()
        assert fault.offset <= 4 * PAGE < fault.offset + fault.length
        assert fault.offset >= 0 and fault.offset + fault.length <= 5 * PAGE
        os.truncate("file", 8 * PAGE)
        m.heal()
        expected = bytearray(letters(3) + bytes(5 * PAGE))
        expected[5 * PAGE + 100] = 7
        assert content() == expected
    """)


def test_08_truncated_in_a_loop_under_views(faulty):
    faulty("""
        m = mapped(64, on_fault="poison")
        view = m.array()
        done = threading.Event()
        sums = []

        def read():
            while not done.is_set():
                sums.append(int(view.sum()))

        threads = start(*[read] * 4)
        healed = 0
        while healed < 50:
            os.truncate("file", 16 * PAGE)
            os.truncate("file", 64 * PAGE)
            if m.faults():
                bus_error(m.sync)
                m.heal()
                healed += 1
        done.set()
        for t in threads: t.join()
        m.heal()
        assert view[: 16 * PAGE].tobytes() == letters(16)
        m.close()
    """)


# The first copy out of a range begins at its end, as memmove may. The second, which is of
# what lies before the fault, meets another thread: before it begins, and when it is done.
MEETING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>

static void *(*real)(void *, const void *, size_t);
static uintptr_t start;
static size_t length;
static int number;
static sem_t begins, may_begin, is_done, may_end;

void meet_in(uintptr_t where, size_t count)
{
    sem_init(&begins, 0, 0), sem_init(&may_begin, 0, 0);
    sem_init(&is_done, 0, 0), sem_init(&may_end, 0, 0);
    start = where, length = count, number = 0;
}

void wait_for_begin(void) { sem_wait(&begins); }
void let_begin_and_wait(void) { sem_post(&may_begin), sem_wait(&is_done); }
void let_end(void) { sem_post(&may_end); }

void *memmove(void *target, const void *source, size_t count)
{
    if (real == NULL)
        real = (void *(*)(void *, const void *, size_t))dlsym(RTLD_NEXT, "memmove");
    if ((uintptr_t)source - start >= length || ++number > 2)
        return real(target, source, count);
    for (size_t i = count; number == 1 && i > 0; i--)
        ((volatile char *)target)[i - 1] = ((const volatile char *)source)[i - 1];
    if (number == 1)
        return target;
    sem_post(&begins), sem_wait(&may_begin);
    real(target, source, count);
    sem_post(&is_done), sem_wait(&may_end);
    return target;
}
"""


@pytest.fixture(scope="module")
def meeting(tmp_path_factory):
    return str(lab.preload(MEETING, tmp_path_factory.mktemp("meeting")))


def test_08_zeros_that_come_and_go_while_a_copy_faults_are_not_read(faulty, meeting):
    faulty(
        """
        m = mapped(8, mode="r", on_fault="poison")
        os.truncate("file", 32 * PAGE)
        m.refresh()
        view, copies = m.array(), ctypes.CDLL(None)
        os.truncate("file", 8 * PAGE)
        copies.meet_in(ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(32 * PAGE))

        def come_and_go():
            copies.wait_for_begin()
            assert view[8 * PAGE] == 0      # in the place of all that is behind the end
            copies.let_begin_and_wait()
            m.heal(discard=True)
            assert m.refresh() == 8 * PAGE
            copies.let_end()

        [thread] = start(come_and_go)
        try:
            count = m.read_at(bytearray(32 * PAGE), 0)
        except (yammap.ShortRead, yammap.BusError) as error:
            count = error.count
        thread.join()
        assert count == 8 * PAGE, count
        """,
        LD_PRELOAD=meeting,
    )


def test_09_two_threads_on_one_bad_page_lose_no_store(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()
        page = view.ctypes.data + 3 * PAGE
        rounds, half = 300, PAGE // 2
        barrier = threading.Barrier(3)

        def write(which):
            for _ in range(rounds):
                barrier.wait()
                ctypes.memset(page + which * half, 1 + which, half)    # without the GIL
                barrier.wait()

        threads = start(lambda: write(0), lambda: write(1))
        for _ in range(rounds):
            os.truncate("file", PAGE)
            barrier.wait()
            barrier.wait()
            stored = view[3 * PAGE:].tobytes()
            assert stored == bytes([1]) * half + bytes([2]) * half
            m.heal(discard=True)
        for t in threads: t.join()
    """)


def test_10_a_long_tail_is_one_fault(faulty):
    faulty("""
        m = yammap.open("file", "w+", size=1 << 30, preallocate=False, on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        first, end = view.ctypes.data, view.ctypes.data + view.nbytes

        def pieces():
            "Count the maps that the view lies in; others are of NumPy's own memory."
            ranges = (line.split()[0].split("-") for line in maps())
            return sum(int(a, 16) < end and int(b, 16) > first for a, b in ranges)

        before = pieces()
        assert view[PAGE] == 0      # touches one page; none of the tail is the file's then
        tail = view.ctypes.data + 2 * PAGE
        for line in maps(os.path.abspath("file")):
            start, stop = (int(word, 16) for word in line.split()[0].split("-"))
            assert not start <= tail < stop
        assert view[::PAGE].sum() == 0 and view[: 64 * MIB].sum() == 0
        assert len(m.faults()) == 1
        assert pieces() <= before + 3
        assert len(maps(os.path.abspath("file"))) <= 2
    """)


FULL_OF_MAPS = """
libc = ctypes.CDLL(None)
strip = mmap.mmap(-1, 140_000 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(strip))

def fill():
    "Cut the strip into pieces until the kernel refuses."
    for page in range(1, 140_000, 2):
        if libc.mprotect(ctypes.c_void_p(start + page * PAGE), PAGE, 0):
            return
    raise AssertionError("vm.max_map_count is larger than this")
"""


def test_11_too_many_maps_are_named(faulty):
    faulty(
        FULL_OF_MAPS
        + """
m = mapped()
mapped(name="other").close()
fill()
kept = []
try:
    while True:
        kept.append(yammap.open("other"))
except OSError as error:
    assert error.errno == errno.ENOMEM and "max_map_count" in str(error), error
    assert error.filename == "other"
assert len(kept) < 4
assert m.pread(1, 0) == b"A"
"""
    )


def test_11_a_view_fault_among_too_many_maps(faulty):
    # Some are kept for this. When they are used up it is a bus error as anywhere, no loop.
    out = faulty(
        FULL_OF_MAPS
        + """
mappings = [mapped(64, name=f"file{i}", on_fault="poison") for i in range(40)]
views = [m.array() for m in mappings]
kept = []

def fill_up():
    fill()
    with contextlib.suppress(OSError):
        while len(kept) < 1000:
            kept.append(mmap.mmap(-1, PAGE, prot=len(kept) % 2))

for i, view in enumerate(views):
    os.truncate(f"file{i}", 32 * PAGE)
    fill_up()
    assert view[40 * PAGE] == 0
    assert len(mappings[i].faults()) == 1
    os.write(1, b"survived ")
""",
        -signal.SIGBUS,
    )
    assert out.startswith("survived ")


def test_12_the_file_was_replaced_not_changed(faulty):
    faulty("""
        m = mapped()
        view = m.array()
        with open("new", "wb") as file:
            file.write(b"new")
        os.replace("new", "file")
        assert view.tobytes() == letters(4)
        view[3 * PAGE] = 7
        m.write_at(b"old", 0)
        m.sync()
        os.unlink("file")
        assert m.refresh() == 4 * PAGE
        assert view[:3].tobytes() == b"old" and view[3 * PAGE] == 7
        m.close()
        assert m.faults() == []
    """)


def test_a_file_that_a_writer_has_copied_up(faulty, tmp_path):
    with lab.overlay(tmp_path / "layers", file=b"old" * 2000):
        faulty("""
            m = yammap.open("layers/file")
            before = m.view()
            assert m.pread(3, 0) == b"old"
            with open("layers/file", "r+b") as file:
                file.write(b"new" * 4000)
            assert m.refresh() == 12000
            assert m.read() == m.pread(12000, 0) == b"new" * 4000
            assert bytes(m.view()) == b"new" * 4000
            assert bytes(before) == b"old" * 2000
            with open("layers/file", "r+b") as file:
                file.seek(5)
                file.write(b"later")
            assert m.pread(5, 5) == b"later"
            before.release()
            m.close()
        """)


def test_an_overlay_tells_what_is_in_memory_by_its_mapping_only(faulty, tmp_path):
    with lab.overlay(tmp_path / "layers", file=b"old" * 2000):
        faulty("""
            m = yammap.open("layers/file")
            m.warm()
            assert m.resident().tolist() == [True, True]
            with yammap.open("layers/file", engine="pread") as m:
                error = raised(OSError, m.resident)
                assert error.errno == errno.ENOSYS and "cachestat" in str(error), error
        """)


def test_a_copy_up_is_looked_for_until_it_could_be_mapped(faulty, tmp_path):
    with lab.overlay(tmp_path / "layers", file=b"old" * 2000):
        faulty("""
            m = yammap.open("layers/file")
            with open("layers/file", "r+b") as file:
                file.write(b"new")
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * PAGE
            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (used, hard))
            error = raised(OSError, m.refresh)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            assert error.errno == errno.ENOMEM
            m.refresh()
            assert m.pread(6, 0) == b"newold"
        """)


def test_a_patch_outlives_the_growth_of_a_file_that_was_empty(faulty):
    """A view may get one while another thread makes the file longer."""
    faulty("""
        m = yammap.create("file", 64 * MIB, on_fault="poison")
        view = m.view()
        os.truncate("file", 0)
        m.refresh()

        def grow():
            with contextlib.suppress(yammap.BusError):
                m.write_at(b"x" * (64 * MIB), 0)

        [thread] = start(grow)
        while os.stat("file").st_size == 0:
            pass
        last = 64 * MIB - 1
        view[last] = 7
        thread.join()
        if m.faults():
            assert m.heal() == 1
            assert view[last] == 7
        os.truncate("file", 0)
        view[last]
        assert m.faults()
    """)


@pytest.mark.parametrize("shrunk", [False, True])
def test_30_dontfork_is_of_all_that_has_the_file_behind_it(faulty, shrunk):
    """Also of healed pages. Behind a tail that was cut the child has its own zeros."""
    faulty(f"""
        m = yammap.create("file", 8 * PAGE, on_fault="poison")
        array = np.ndarray(8 * PAGE, np.uint8, buffer=m)
        array[:] = 1
        if {shrunk}:
            m.resize(PAGE)
        m.madvise(yammap.MADV_DONTFORK)
        if not {shrunk}:
            os.truncate("file", 2 * PAGE)
            array[7 * PAGE]
            os.truncate("file", 8 * PAGE)
            m.heal()
        warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            os._exit(int(array.sum()))
        assert os.waitpid(pid, 0)[1] == 0
    """)
