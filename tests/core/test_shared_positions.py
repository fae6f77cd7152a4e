"""One position, many threads: each record is moved once and whole, whatever goes on."""

import itertools
import os
import re
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import yammap
from yammap import compat

pytestmark = pytest.mark.usefixtures("eager_switching")

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGESIZE")
THREADS = 4


def mapped(path):
    """Map all of a file as the standard library does."""
    with open(path, "r+b") as file:
        return compat.mmap(file.fileno(), 0)


def with_descriptor(path):
    m = yammap.open(path, "r+")
    m.fileno()  # from then on the position is the descriptor's offset
    return m


KINDS = {
    "Mmap": lambda path: yammap.open(path, "r+"),
    "compat": mapped,
    "pread": lambda path: yammap.open(path, "r+", engine="pread"),
    "descriptor": with_descriptor,
}
ALL = pytest.mark.parametrize("kind", KINDS)
WITH_PAGES = pytest.mark.parametrize("kind", ["Mmap", "compat"])


def together(*functions):
    """Run each in a thread of its own, all started at once; raise what one raises."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        function()

    with ThreadPoolExecutor(len(functions)) as pool:
        for done in [pool.submit(run, function) for function in functions]:
            done.result()


def until(threads, function):
    """Run `function` again and again until all the other functions are through."""
    left = [None] * len(threads)

    def counted(thread):
        try:
            thread()
        finally:
            left.pop()

    def repeat():
        while left:
            function()

    together(*(lambda thread=thread: counted(thread) for thread in threads), repeat)


def record(number, size):
    return (b"%07d|" % number * (size // 8 + 1))[:size]


def reader(seen, read):
    """Return a function that reads to the end, and keeps what it gets in `seen`."""

    def read_all():
        while some := read():
            seen.append(some)

    return read_all


def into(m, size):
    buffer = bytearray(size)
    return bytes(buffer[: m.readinto(buffer)])


# -- Reading


@ALL
@pytest.mark.parametrize("size", [8, 255, 4096, 5000])
def test_each_record_is_read_once(path, kind, size):
    """And the position never lies within one."""
    records = [record(i, size) for i in range(3000)]
    path.write_bytes(b"".join(records))
    seen = []
    with KINDS[kind](path) as m:

        def look():
            assert m.tell() % size == 0

        until(THREADS * [reader(seen, lambda: m.read(size))], look)
        assert m.tell() == len(m)
    assert sorted(seen) == records


LENGTHS = [1, 2, 60, 60, 60, 255, 256, 257, 4095, 4096, 4097, 9000]


def numbered_lines(count):
    lengths = itertools.cycle(LENGTHS)
    return [b"%06d%s\n" % (i, b"x" * next(lengths)) for i in range(count)]


@ALL
@pytest.mark.parametrize("name", ["readline", "next"])
def test_each_line_is_read_once(path, kind, name):
    if (kind, name) == ("compat", "next"):
        pytest.skip("iterating gives single bytes")
    lines = numbered_lines(3000)
    path.write_bytes(b"".join(lines))
    seen = []
    with KINDS[kind](path) as m:
        read = m.readline if name == "readline" else lambda: next(m, b"")
        together(*THREADS * [reader(seen, read)])
        assert m.tell() == len(m)
    assert sorted(seen) == lines


@ALL
def test_each_line_is_read_once_in_whatever_way(path, kind):
    lines = [record(i, 63) + b"\n" for i in range(8000)]
    path.write_bytes(b"".join(lines))
    seen = []
    with KINDS[kind](path) as m:
        ways = [m.readline, lambda: m.read(64), lambda: into(m, 64)]
        if kind != "compat":
            ways += [lambda: next(m, b""), lambda: m.readline(64)]
            ways += [lambda: b"".join(m.readlines(63))]
        together(*(reader(seen, way) for way in ways))
        assert m.tell() == len(m)
    assert sorted(seen) == lines


@ALL
def test_each_byte_is_read_once(path, kind):
    content = bytes(range(256)) * 60
    path.write_bytes(content)
    seen = []

    def read():
        with pytest.raises(ValueError, match="byte"):
            while True:
                seen.append(m.read_byte())

    with KINDS[kind](path) as m:
        together(*THREADS * [read])
        assert m.tell() == len(m)
    assert Counter(seen) == Counter(content)


@WITH_PAGES
def test_each_line_is_read_once_from_pages_that_come_and_go(path, kind):
    lines = numbered_lines(1500)
    path.write_bytes(b"".join(lines))
    seen = []
    with KINDS[kind](path) as m:
        until(THREADS * [reader(seen, m.readline)], m.evict)
        assert m.tell() == len(m)
    assert sorted(seen) == lines


# -- Writing

SIZES = [8, 9, 100, 300, 4095, 4096, 4097, 10_000]
GROWING = {
    "w+": lambda path, size: yammap.open(path, "w+"),
    "a+": lambda path, size: yammap.open(path, "a+"),
    "small reserve": lambda path, size: yammap.open(path, "w+", reserve=0),
    "ahead": lambda path, size: yammap.open(path, "w+", ahead=1 << 16),
    "pread": lambda path, size: yammap.open(path, "w+", engine="pread"),
}


def sized(path, size):
    path.write_bytes(bytes(size))
    return mapped(path)


WRITTEN = pytest.mark.parametrize(
    "make", [*GROWING.values(), sized], ids=[*GROWING, "compat"]
)


def records_of(thread, count):
    """Return records that tell whose they are, which, and by the next where they end."""
    letter = b"%c" % (ord("a") + thread)
    sizes = itertools.cycle(SIZES[thread:] + SIZES[:thread])
    return [b"%c%04d" % (65 + thread, i) + letter * next(sizes) for i in range(count)]


def taken_apart(data):
    records = re.findall(rb"[A-Z]\d{4}[a-z]+", data)
    assert b"".join(records) == data
    return sorted(records)


def write_all(m, records):
    for each in records:
        assert m.write(each) == len(each)


@WRITTEN
def test_each_record_is_written_once(path, make):
    parts = [records_of(thread, 400) for thread in range(THREADS)]
    records = sorted(itertools.chain(*parts))
    total = sum(map(len, records))
    with make(path, total) as m:
        together(*(lambda part=part: write_all(m, part) for part in parts))
        assert m.tell() == len(m) == total
    assert taken_apart(path.read_bytes()) == records


@WRITTEN
@pytest.mark.parametrize("evicting", [False, True])
def test_each_line_is_written_once(path, make, evicting):
    """From one call for many, too; and through pages that come and go."""
    parts = [records_of(thread, 200) for thread in range(THREADS)]
    records = sorted(itertools.chain(*parts))
    total = sum(map(len, records))
    with make(path, total) as m:
        writers = [lambda part=part: m.writelines(part) for part in parts]
        until(writers, m.evict) if evicting else together(*writers)
        assert m.tell() == len(m) == total
    assert taken_apart(path.read_bytes()) == records


@WRITTEN
def test_each_byte_is_written_once(path, make):
    def write(byte):
        for _ in range(3000):
            m.write_byte(byte)

    with make(path, 3000 * THREADS) as m:
        together(*(lambda byte=byte: write(byte) for byte in range(THREADS)))
        assert m.tell() == 3000 * THREADS
    assert Counter(path.read_bytes()) == dict.fromkeys(range(THREADS), 3000)


def test_what_does_not_fit_is_not_written_at_all(path):
    """The end of a mapping of fixed size, to which all come."""
    written, refused, total = [], set(), 400_000

    def write(records):
        for each in records:
            try:
                m.write(each)
            except ValueError as error:
                refused.add(str(error))
            else:
                written.append(each)

    with sized(path, total) as m:
        parts = [records_of(thread, 200) for thread in range(THREADS)]
        together(*(lambda part=part: write(part) for part in parts))
        assert m.tell() == sum(map(len, written)) <= total
        data = m[: m.tell()]
        assert m[m.tell() :] == bytes(total - m.tell())
    assert taken_apart(data) == sorted(written)
    assert refused == {"data out of range"}


def test_a_write_is_where_the_position_was_and_nowhere_else(path):
    """The first write makes its page hot, and the next one the last page of the file."""
    path.write_bytes(bytes(8 * PAGE))
    places = itertools.cycle(range(0, 4 * PAGE, 100))
    for i in range(300):
        records = [record(3 * i + n, 50) for n in range(3)]
        with yammap.open(path, "r+") as m:
            until(
                [lambda m=m, records=records: m.writelines(records)],
                lambda m=m: m.seek(next(places)),
            )
            data = m[:]
        assert max(map(data.count, records)) <= 1


@ALL
def test_readers_and_writers_take_turns(path, kind):
    """Each moves the position behind what nobody else reads or writes."""
    count, size = 2000, 64
    records = [record(i, size) for i in range(THREADS * count)]
    path.write_bytes(b"".join(records))
    seen = []

    def read():
        seen.extend(m.read(size) for _ in range(count))

    def write():
        for _ in range(count):
            m.write(b"w" * size)

    with KINDS[kind](path) as m:
        together(read, write, read, write)
        assert m.tell() == len(m) == len(records) * size
    data = path.read_bytes()
    left = Counter(data[i : i + size] for i in range(0, len(data), size))
    assert left.pop(b"w" * size) == 2 * count
    assert left == Counter(seen)


# -- A handler of a signal, which runs in the thread that is reading


@pytest.fixture
def alarms():
    """Have a function called by a handler, every few moments, until the end."""
    before = signal.getsignal(signal.SIGALRM)

    def alarms(function):
        signal.signal(signal.SIGALRM, lambda number, frame: function())
        signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)

    yield alarms
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@ALL
@pytest.mark.parametrize("size", [64, 5000])
def test_a_handler_reads_from_the_file_that_its_thread_reads(path, kind, size, alarms):
    records = [record(i, size) for i in range(2000)]
    path.write_bytes(b"".join(records))
    seen, by_handler = [], []

    def handle():
        if not m.closed and (some := m.read(size)):
            seen.append(some)
            by_handler.append(some)

    with KINDS[kind](path) as m:
        m.seek(0, os.SEEK_END)  # where a handler finds nothing
        alarms(handle)
        other = reader(seen, lambda: m.read(size))
        while len(by_handler) < 20:
            seen.clear()
            m.seek(0)
            with ThreadPoolExecutor(1) as pool:
                done = pool.submit(other)
                other()
                done.result()
            assert m.tell() == len(m)
            assert sorted(seen) == records


@pytest.mark.parametrize("make", [yammap.anonymous, lambda size: compat.mmap(-1, size)])
def test_a_handler_moves_the_position_inside_a_search(make, alarms):
    """The line is the one that began where the position was, and the end counts."""
    size, start = 64 * MIB, 2
    moved, line = False, b""

    def handle():
        nonlocal moved
        if not m.closed and m.tell() == start:
            moved = m.seek(5)

    with make(size) as m:
        m[:] = b"x" * size
        alarms(handle)
        while not (moved and len(line) == size - start):
            moved = False
            m.seek(start)
            line = m.readline()
            assert len(line) in (size - start, size - 5)  # it came before
            assert m.tell() == size


# -- Another process


@pytest.mark.parametrize("kind", ["yammap.open(path, 'r+')", "mapped(path)"])
def test_a_child_uses_what_a_thread_of_its_parent_was_reading(child, kind):
    child(f"""
        import os, signal, threading, warnings
        import yammap
        from yammap import compat

        warnings.simplefilter("ignore")  # of forking with threads, which is meant here
        size, path = 8 << 20, "file"
        with open(path, "wb") as file:
            file.write(b"0123456789abcde\\n" * (size // 16))

        def mapped(path):
            with open(path, "r+b") as file:
                return compat.mmap(file.fileno(), 0)

        def use():
            signal.alarm(60)  # instead of waiting for a thread that is not there
            assert m.tell() in (0, size)
            m.seek(5)
            assert m.readline() == b"56789abcde\\n"
            assert len(m.read()) == size - 16
            m.seek(16)
            m.write(b"ABC")
            assert m.tell() == 19

        m, stop, reads = {kind}, threading.Event(), []

        def read():
            while not stop.is_set():
                m.seek(0)
                reads.append(len(m.read()))

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(30):
            while not reads:
                pass
            if (pid := os.fork()) == 0:
                status = 1
                try:
                    use()
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        reader.join()
        assert set(reads) == {{size}}
        assert m.tell() == size
        """)
