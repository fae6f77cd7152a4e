"""Cold records, read by each kind of queue that the kernel may allow."""

import gc
import os
import resource
import signal
import threading

import numpy as np
import pytest

import yammap
from yammap._file import gather

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 600 * PAGE + 1234
CACHED = [True, False, None]
LENGTHS = [1, 64, 512, 4096, 2050, 70000]


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory, data):
    """A file that tests read only."""
    path = tmp_path_factory.mktemp("written") / "file.bin"
    path.write_bytes(data)
    return path


@pytest.fixture(params=["io_uring", "aio", "hints"])
def kind(request, monkeypatch):
    """A kind of queue: the kernel allows no other."""
    for other in set(gather.KINDS) - {request.param}:
        monkeypatch.delitem(gather.KINDS, other)
    if request.param not in gather.KINDS:
        pytest.skip(f"the kernel refuses {request.param}")
    yield request.param
    gather.idle_queues[request.param].clear()


@pytest.fixture
def mapped(written, kind):
    with yammap.open(written) as m:
        yield m


@pytest.fixture
def changed(path, kind, data):
    """A mapping of a file that the test changes."""
    path.write_bytes(data)
    with yammap.open(path, "r+") as m:
        yield m


def make_cold(path):
    """Have no page of the file in memory."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold(m):
    m.evict()
    with open(m.name, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return m


def engine(kind, cached):
    """What reads cold records: kernel AIO reads past the page cache only, hints into it."""
    if cached is False and kind != "hints":
        return f"{kind}, past the page cache"
    return "mmap" if kind == "aio" else f"{kind}, into the page cache"


def offsets_of(length, count=300):
    return np.random.default_rng(length).integers(0, SIZE - length + 1, count)


def one_by_one(data, offsets, lengths):
    pieces = [data[o : o + n] for o, n in zip(offsets, lengths, strict=True)]
    return np.concatenate([np.empty(0, np.uint8), *pieces])


def at(start, size):
    """Memory whose address is `start` behind a page."""
    memory = np.full(size + 2 * PAGE, 7, np.uint8)
    first = -memory.ctypes.data % PAGE + start
    return memory[first : first + size]


# -- The bytes


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("length", LENGTHS)
def test_records_of_one_length(mapped, kind, data, length, cached):
    offsets = offsets_of(length, 60 if length > 5000 else 300)
    found = cold(mapped).gather(offsets, length, cached=cached)
    assert np.array_equal(found, [data[o : o + length] for o in offsets])
    assert mapped.statistics()["engine"] == engine(kind, cached)
    assert mapped.statistics()["fallbacks"] == 0


@pytest.mark.parametrize("cached", CACHED)
def test_ragged_records_of_which_some_are_empty(mapped, data, cached):
    lengths = np.random.default_rng(1).integers(0, 9000, 300)
    lengths[::7] = 0
    lengths[[0, -1]] = 0
    lengths[150] = 70000
    offsets = np.random.default_rng(2).integers(0, SIZE - lengths + 1)
    values, starts = cold(mapped).gather_ragged(offsets, lengths, cached=cached)
    assert np.array_equal(values, one_by_one(data, offsets, lengths))
    assert np.array_equal(np.diff(starts), lengths)


@pytest.mark.parametrize("cached", CACHED)
def test_records_that_are_all_empty(mapped, cached):
    assert cold(mapped).gather([0, SIZE], 0, cached=cached).shape == (2, 0)
    assert len(cold(mapped).gather_ragged([5, SIZE], [0, 0], cached=cached)[0]) == 0


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("length", [1, 1234, 1235, PAGE + 1234, 20000, 70000])
def test_records_that_end_where_the_file_ends(mapped, data, length, cached):
    """Which is no multiple of a block."""
    offsets = [SIZE - length, 0, SIZE - length]
    found = cold(mapped).gather(offsets, length, cached=cached)
    assert np.array_equal(found, [data[o : o + length] for o in offsets])
    assert mapped.statistics()["fallbacks"] == 0


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize(
    "offsets",
    [
        np.arange(0, 200 * 100, 100),  # in order: many in a block
        np.arange(0, 200 * 100, 100)[::-1],
        np.arange(0, 200 * 50, 50),  # which overlap
        np.full(200, 12345),
        np.repeat(offsets_of(100, 50), 4),
        np.tile(offsets_of(100, 50), 4),
        np.arange(0, 200 * 16250, 16250) % (SIZE - 100),  # across a place of the arena
    ],
)
def test_records_that_share_blocks(mapped, data, offsets, cached):
    expected = [data[o : o + 100] for o in offsets]
    assert np.array_equal(cold(mapped).gather(offsets, 100, cached=cached), expected)


def test_no_block_is_read_twice_for_records_in_order(written, data):
    with yammap.open(written) as m:
        found = cold(m).gather(np.arange(0, 4000 * 100, 100), 100, cached=False)
        assert found.tobytes() == data[: 4000 * 100].tobytes()
        if "past" in m.statistics()["engine"]:
            # A request of 16 KiB begins with the block in which the one before it ended:
            # 4 KiB where the kernel does not tell what a block is, before Linux 6.1.
            assert m.statistics()["bytes_read"] <= 4000 * 100 * 4 / 3


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("start", [0, 1, 512])
@pytest.mark.parametrize("length", [PAGE, 5 * PAGE, 17 * PAGE, 300])
def test_out_at_any_address(mapped, data, length, start, cached):
    """Records that lie at blocks, and are not copied where `out` does as well."""
    offsets = np.random.default_rng(3).permutation(500)[:100] * PAGE
    offsets = np.minimum(offsets, (SIZE - length) // PAGE * PAGE)
    out = at(start, 100 * length)
    before, behind = out.base[:PAGE].copy(), out.base[-PAGE + start + 1 :].copy()
    assert cold(mapped).gather(offsets, length, out, cached=cached) is out
    expected = [data[o : o + length] for o in offsets]
    assert np.array_equal(out.reshape(100, length), expected)
    assert (before == 7).all()
    assert (out.base[(out.ctypes.data - out.base.ctypes.data) + out.size :] == 7).all()
    assert (behind == 7).all()


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("threads", [2, 4])
def test_threads(mapped, data, threads, cached):
    offsets = offsets_of(1000, 900)
    found = cold(mapped).gather(offsets, 1000, threads=threads, cached=cached)
    assert np.array_equal(found, [data[o : o + 1000] for o in offsets])
    lengths = offsets % 1000
    values, _ = cold(mapped).gather_ragged(offsets, lengths, threads=threads, cached=cached)
    assert np.array_equal(values, one_by_one(data, offsets, lengths))


def test_rows_of_an_array_counted_from_its_end(written, kind, data):
    handle = yammap.MappedArray(written, dtype="u1", shape=(SIZE // 24, 3, 8), offset=2)
    rows = data[2 : 2 + SIZE // 24 * 24].reshape(-1, 3, 8)
    index = np.random.default_rng(4).integers(-len(rows), len(rows), 400)
    make_cold(written)
    assert np.array_equal(handle.take(index), rows[index])


@pytest.mark.parametrize("cached", CACHED)
def test_a_mapping_that_begins_inside_the_file(written, kind, data, cached):
    offsets = offsets_of(300)[:200] % (SIZE - 3 * PAGE - 777)
    with yammap.open(written, offset=3 * PAGE) as m:
        found = cold(m).gather(offsets, 700, cached=cached)
        assert m.statistics()["engine"] == engine(kind, cached)
    assert np.array_equal(found, [data[3 * PAGE + o :][:700] for o in offsets])


@pytest.mark.parametrize("cached", CACHED)
def test_the_engine_without_memory(written, kind, data, cached):
    with yammap.open(written, engine="pread") as m:
        make_cold(written)
        offsets = offsets_of(700)
        found = m.gather(offsets, 700, cached=cached)
        assert np.array_equal(found, [data[o : o + 700] for o in offsets])
        assert m.statistics()["engine"] == engine(kind, cached)
        with m.batches([offsets, offsets[:5]], 700, cached=cached) as batches:
            assert [len(batch) for batch in batches] == [300, 5]


@pytest.mark.parametrize("cached", CACHED)
def test_private_changes_are_seen(written, kind, data, cached):
    with yammap.open(written, "c") as m:
        cold(m)
        offsets = np.arange(0, 500 * PAGE, PAGE)
        expected = data[: 500 * PAGE].reshape(500, PAGE)[:, :500].copy()
        m.write_at(b"private", 3 * PAGE + 5)
        expected[3, 5:12] = list(b"private")
        assert np.array_equal(m.gather(offsets, 500, cached=cached), expected)
        with m.batches([offsets], 500, cached=cached) as batches:
            assert np.array_equal(next(batches), expected)
    assert written.read_bytes() == data.tobytes()


@pytest.mark.parametrize("cached", CACHED)
def test_stores_are_seen(changed, data, cached):
    """Also those that no thread has written to the disk."""
    mapped, view, offsets = changed, changed.array(), np.arange(0, 500 * PAGE, PAGE)
    expected = data[: 500 * PAGE].reshape(500, PAGE)[:, :5].copy()
    for turn in range(5):
        cold(mapped)
        rows = np.random.default_rng(turn).permutation(500)[:9]
        for row in rows:
            view[row * PAGE + turn % 5] = expected[row, turn % 5] = turn
        os.pwrite(mapped.fileno(), b"z", 499 * PAGE)
        expected[499, 0] = ord("z")
        assert np.array_equal(mapped.gather(offsets, 5, cached=cached), expected)


# -- Errors


@pytest.mark.parametrize("cached", CACHED)
def test_a_record_outside_is_refused_before_anything_is_copied(mapped, cached):
    out = np.full((300, 10), 7, np.uint8)
    offsets = offsets_of(10)
    offsets[299] = SIZE - 9
    with pytest.raises(ValueError, match="record 299, 10 bytes at offset"):
        cold(mapped).gather(offsets, 10, out, cached=cached)
    assert (out == 7).all()
    with pytest.raises(ValueError, match="out must have 10 bytes, not 9"):
        mapped.gather([0], 10, np.empty(9, np.uint8), cached=cached)


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("length", [300, PAGE, 70000])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_file_that_was_cut_names_the_record(changed, data, length, threads, cached):
    offsets = np.arange(0, 80 * PAGE, PAGE)
    offsets[70] = 400 * PAGE
    offsets[75] = 500 * PAGE
    out = np.zeros((80, length), np.uint8)
    m = cold(changed)
    os.truncate(m.name, 300 * PAGE + 5)
    with pytest.raises(yammap.BusError) as caught:
        m.gather(offsets, length, out, threads=threads, cached=cached)
    assert caught.value.record == 70
    assert caught.value.offset == 400 * PAGE
    first = 70 if threads == 1 else 53  # the parts of the other threads may be stopped
    assert np.array_equal(out[:first], [data[o : o + length] for o in offsets[:first]])


@pytest.mark.parametrize("cached", CACHED)
def test_a_record_across_the_cut_counts_exactly(changed, cached):
    m = cold(changed)
    os.truncate(m.name, 300 * PAGE + 5)
    with pytest.raises(yammap.BusError) as caught:
        m.gather([0, 290 * PAGE, 5], 70000, cached=cached)
    assert (caught.value.record, caught.value.count) == (1, 10 * PAGE + 5)


# -- What ends a batch early


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("cached", CACHED)
def test_nothing_is_written_into_a_buffer_after_an_interrupt(
    mapped, data, cached, monkeypatch
):
    """The disk may be reading into it when the handler raises."""
    # Which reads files of the kernel in Python: an interrupt could leave one open.
    monkeypatch.setattr(gather, "room_for_files", lambda: 1 << 40)

    armed = False  # else the handler may raise before the batch begins, or once more

    def interrupt(number, frame):
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    offsets = np.random.default_rng(5).integers(0, 500, 50_000) * PAGE
    out = at(0, 50_000 * PAGE // 8)
    offsets = offsets[: out.size // PAGE]
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(5):
            cold(mapped)
            interval = 0.0005 * (turn + 1)
            signal.setitimer(signal.ITIMER_REAL, interval, interval)
            with pytest.raises(Interrupt):
                armed = True
                while True:
                    mapped.gather(offsets, PAGE, out, cached=cached)
            signal.setitimer(signal.ITIMER_REAL, 0)
            out[:] = 9
            cold(mapped).gather(offsets[:200], PAGE, cached=cached)
            assert (out == 9).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("cached", CACHED)
def test_nothing_is_written_into_a_buffer_that_was_let_go(mapped, data, cached):
    offsets = offsets_of(PAGE) // PAGE * PAGE
    for _ in range(10):
        out = at(0, 300 * PAGE)
        begun = gather.begin_gather(cold(mapped), offsets, PAGE, out, cached)
        del begun
        out[:] = 9
        cold(mapped).gather(offsets, PAGE, cached=cached)
        assert (out == 9).all()


@pytest.mark.parametrize("cached", CACHED)
def test_a_mapping_closed_while_batches_are_under_way(written, kind, data, cached):
    m = yammap.open(written)
    batch = gather.begin_gather(cold(m), offsets_of(500), 500, None, cached)
    m.close()
    with pytest.raises(ValueError, match="closed"):
        batch.finish()


@pytest.mark.parametrize("cached", CACHED)
def test_a_mapping_closed_while_another_thread_gathers(written, kind, data, cached):
    m = yammap.open(written)
    offsets, begun, wrong = offsets_of(500), threading.Event(), []

    def gather_on():
        expected = np.stack([data[o : o + 500] for o in offsets])
        with pytest.raises(ValueError, match="closed"):
            while True:
                if not np.array_equal(m.gather(offsets, 500, cached=cached), expected):
                    wrong.append(1)
                begun.set()
                make_cold(written)

    thread = threading.Thread(target=gather_on)
    thread.start()
    begun.wait()
    m.close()
    thread.join()
    assert not wrong


@pytest.mark.parametrize("cached", CACHED)
def test_a_batch_outlives_the_thread_that_began_it(mapped, data, cached):
    offsets, batches = offsets_of(3000), []
    thread = threading.Thread(
        target=lambda: batches.append(
            gather.begin_gather(cold(mapped), offsets, 3000, None, cached)
        )
    )
    thread.start()
    thread.join()
    found = batches[0].finish()
    assert np.array_equal(found, [data[o : o + 3000] for o in offsets])


@pytest.mark.parametrize("cached", CACHED)
def test_a_child_gathers_and_its_parent_goes_on(mapped, data, cached):
    """The child inherits batches under way, of which it has neither ring nor arena."""
    offsets = offsets_of(PAGE) // PAGE * PAGE
    expected = np.stack([data[o : o + PAGE] for o in offsets])
    begun = [
        gather.begin_gather(cold(mapped), offsets, PAGE, None, cached) for _ in range(2)
    ]
    child = os.fork()
    if child == 0:
        fine = False
        try:
            fine = np.array_equal(begun[0].finish(), expected)
            del begun
            os.posix_fadvise(mapped.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            fine &= np.array_equal(mapped.gather(offsets, PAGE, cached=cached), expected)
        finally:
            os._exit(0 if fine else 1)
    found = [batch.finish() for batch in begun]
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(found, [expected] * 2)


EXIT = """
    import os, sys
    import numpy as np, yammap
    from yammap._file import gather
    for other in {{"io_uring", "aio", "hints"}} - {{"{kind}"}}:
        gather.KINDS.pop(other, None)
    m = yammap.open({path!r})
    offsets = np.random.default_rng(0).permutation(500)[:300] * 4096
    def cold():
        m.evict()
        os.posix_fadvise(m.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    cold()
    batches = m.batches([offsets] * 5, 5000, cached={cached})
    next(batches)
    cold()
    begun = gather.begin_gather(m, offsets, 5000, None, {cached})
    circle = [begun]
    circle.append(circle)
"""


@pytest.mark.parametrize("cached", CACHED)
@pytest.mark.parametrize("end", ["", "sys.exit()", "os._exit(0)", "batches.close()"])
def test_an_interpreter_exits_with_batches_under_way(written, kind, child, cached, end):
    source = EXIT.format(kind=kind, cached=cached, path=str(written))
    assert child(f"{source}\n    sys.stderr = sys.stdout\n    {end}\n") == ""


# -- What is left


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def kernel_contexts():
    """Rings and contexts are mapped."""
    with open("/proc/self/maps") as file:
        return sum("io_uring" in line or "[aio]" in line for line in file)


@pytest.mark.parametrize("cached", CACHED)
def test_nothing_leaks(mapped, cached):
    offsets = offsets_of(600, 20)

    def work():
        cold(mapped).gather(offsets, 600, cached=cached)
        cold(mapped).gather(offsets, 600, threads=2, cached=cached)
        with mapped.batches([offsets] * 3, 600, cached=cached) as batches:
            next(batches)
        with pytest.raises(ValueError, match="record 0"):
            next(mapped.batches([[SIZE]], 1, cached=cached))

    for _ in range(3):
        work()
    gc.collect()
    before = descriptors(), kernel_contexts()
    for _ in range(30):
        work()
    # Of the few queues that stay, threads may have made one more, of two maps.
    assert descriptors() <= before[0] + 4
    assert kernel_contexts() <= before[1] + 2 * 4


def test_closing_gives_the_descriptors_back(written, kind):
    before = descriptors()
    with yammap.open(written) as m:
        cold(m).gather(offsets_of(600), 600, cached=False)
    gather.idle_queues[kind].clear()
    del m
    assert descriptors() == before


def test_few_queues_stay(mapped, kind):
    offsets = offsets_of(600)
    begun = [
        gather.begin_gather(cold(mapped), offsets, 600, None, kind != "hints" and False)
        for _ in range(12)
    ]
    for batch in begun:
        batch.finish()
    assert len(gather.idle_queues[kind]) <= 4


def test_no_descriptor_can_be_made(written, kind, data):
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    offsets = offsets_of(600)
    with yammap.open(written) as m:
        cold(m)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            found = m.gather(offsets, 600, cached=False)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        assert np.array_equal(found, [data[o : o + 600] for o in offsets])


def test_many_queues_at_once(mapped, data):
    """More than the process has descriptors for: the last batches go another way."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    offsets = offsets_of(600, 40)
    expected = np.stack([data[o : o + 600] for o in offsets])
    cold(mapped).gather(offsets, 600, cached=False)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 12, hard))
    try:
        begun = []
        for _ in range(40):
            mapped.evict()
            os.posix_fadvise(mapped.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            begun.append(gather.begin_gather(mapped, offsets, 600, None, False))
        found = [batch.finish() for batch in begun]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    assert np.array_equal(found, [expected] * 40)
