"""Bus errors in the middle of a batch or a stream."""

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer


@pytest.mark.parametrize("threads", [1, 2])
def test_gather_from_a_file_that_was_cut_names_the_record(faulty, threads):
    faulty(f"""
        m = mapped(8)
        os.truncate("file", 5 * PAGE)
        offsets = np.array([4, 3, 0, 1, 2, 6, 7]) * PAGE
        out = np.full((7, 100), 7, np.uint8)
        error = bus_error(m.gather, offsets, 100, out, threads={threads})
        assert (error.errno, error.offset, error.access) == (errno.EFAULT, 6 * PAGE, "read")
        assert error.record == 5 and "in record 5 of the batch" in error.__notes__
        assert bytes(out[:, 0])[:5] == b"EDABC" and (out[5:] == 7).all()
        assert (m.gather(offsets[:5], 100)[:, 99] == out[:5, 0]).all()
        lengths = [1, 0, 1, 1, 1, 1, 1]
        error = bus_error(m.gather_ragged, offsets, lengths, threads={threads})
        assert error.record == 5
        assert m.faults() == []
    """)


@pytest.mark.parametrize("count", [8, 16, 17, 200])
def test_a_cut_behind_hot_records_names_the_record(faulty, count):
    """Their pages were in memory a moment ago, and are not looked up before the copy."""
    faulty(f"""
        m = mapped(8)
        offsets = np.arange({count}) % 5 * PAGE
        for _ in range(3):
            assert m.gather(offsets, 10).any()
            m.scatter(offsets, m.gather(offsets, 10))
        os.truncate("file", 2 * PAGE)
        error = bus_error(m.gather, offsets, 10)
        assert (error.record, error.offset, error.access) == (2, 2 * PAGE, "read")
        error = bus_error(m.scatter, offsets, np.zeros(({count}, 10), np.uint8))
        assert (error.record, error.offset, error.access) == (2, 2 * PAGE, "write")
        error = bus_error(m.gather_ragged, offsets, np.full({count}, 7))
        assert (error.record, error.offset) == (2, 2 * PAGE)
    """)


COUNTED = r"""
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int questions;

int mincore(void *start, size_t length, unsigned char *answers)
{
    questions++;
    return syscall(SYS_mincore, start, length, answers);
}

int getrusage(__rusage_who_t who, struct rusage *usage)
{
    questions++;
    return syscall(SYS_getrusage, who, usage);
}
"""


def test_small_batches_of_hot_pages_ask_the_kernel_nothing(faulty, tmp_path):
    """But when a tick begins, of which this takes a few at most."""
    faulty(
        """
        m = mapped(8)
        questions = ctypes.c_int.in_dll(ctypes.CDLL(None), "questions")
        offsets, lengths = np.arange(40) % 8 * PAGE, np.full(40, 9)
        asked = []
        for _ in range(1000):
            before = questions.value
            m.gather(offsets[:8], 64)
            m.gather(offsets, 64)
            m.gather_ragged(offsets, lengths)
            m.scatter(offsets[:1], np.full((1, 64), 65, np.uint8))
            asked.append(questions.value - before)
        assert asked[0] > 0
        assert asked.count(0) > 900, asked.count(0)
        """,
        LD_PRELOAD=str(lab.preload(COUNTED, tmp_path)),
    )


def test_a_record_across_the_cut_counts_exactly(faulty):
    faulty("""
        m = mapped(4)
        os.truncate("file", 2 * PAGE)
        error = bus_error(m.gather, [0, 2 * PAGE - 30], 100)
        assert (error.record, error.offset, error.count) == (1, 2 * PAGE, 30)
    """)


def test_scatter_to_a_file_that_was_cut_keeps_what_came_before(faulty):
    faulty("""
        m = mapped(4)
        os.truncate("file", 2 * PAGE)
        records = np.arange(1, 4, dtype=np.uint8).reshape(3, 1)
        error = bus_error(m.scatter, [5, 3 * PAGE, 6], records)
        assert (error.record, error.access, error.offset) == (1, "write", 3 * PAGE)
        assert content()[4:8] == b"A\\1AA" and len(content()) == 2 * PAGE
    """)


def test_records_in_the_last_page_of_a_file_that_grew_again(faulty):
    faulty("""
        m = mapped(4)
        for _ in range(50):
            os.truncate("file", PAGE)
            bus_error(m.gather, [0, 3 * PAGE], 10)
            os.truncate("file", 4 * PAGE)
            assert not m.gather([3 * PAGE], 10).any()
    """)


def test_a_buffer_that_is_a_view_of_a_cut_file(faulty):
    faulty("""
        source, target = mapped(4), mapped(4, name="other")
        out = target.array(shape=(2, 10), offset=2 * PAGE)
        os.truncate("other", PAGE)
        error = bus_error(source.gather, [0, PAGE], 10, out)
        assert "caller's buffer" in str(error) and error.record == 0
    """)


def test_a_poisoned_mapping_gives_no_records(faulty):
    faulty("""
        m = mapped(4, on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        assert view[3 * PAGE] == 0
        for call in (lambda: m.gather([0], 1), lambda: m.scatter([0], np.zeros((1, 1))),
                     lambda: next(m.stream(10))):
            bus_error(call)
        m.heal(discard=True)
        assert m.gather([5], 1)[0, 0] == ord("A")
    """)


def test_a_bad_sector_is_the_record_that_lies_on_it(faulty, tmp_path):
    with lab.fuse(tmp_path / "bad", "read 2"):
        faulty("""
            m = yammap.open("bad/file")
            error = bus_error(m.gather, [PAGE, 0, 3 * PAGE, 2 * PAGE + 5], 10)
            assert (error.errno, error.record, error.filename) == (errno.EIO, 3, "bad/file")
            stream = m.stream(PAGE, prefetch=0, cached=True)
            error = bus_error(lambda: [len(chunk) for chunk in stream])
            assert (error.errno, error.offset) == (errno.EIO, 2 * PAGE)
        """)


def test_a_stream_of_a_file_that_is_cut_ends_in_an_exception(faulty):
    faulty("""
        with open("file", "wb") as file:
            file.write(b"A" * 5 * MIB)
        m = yammap.open("file")
        stream = m.stream(MIB, prefetch=0)
        first = next(stream)
        os.truncate("file", 3 * MIB)
        kept = [bytes(chunk) for _, chunk in zip(range(1), stream)]
        error = bus_error(list, stream)
        assert error.offset == 3 * MIB, error.offset
        assert first[0] == ord("A") and len(kept[0]) == MIB
        assert m.pread(1, 0) == b"A"
    """)


def test_a_stream_gives_all_chunks_before_the_cut(faulty):
    faulty("""
        with open("file", "wb") as file:
            file.write(b"A" * 5 * MIB)
        m = yammap.open("file")
        stream = m.stream(PAGE)
        os.truncate("file", 3 * PAGE)
        assert [bytes(next(stream)) for _ in range(3)] == 3 * [b"A" * PAGE]
        assert bus_error(next, stream).offset == 3 * PAGE
    """)


def test_records_where_the_guard_is_not_in_force(faulty):
    """By system call, record by record: the handler of SIGBUS was displaced twice."""
    faulty("""
        m = mapped(4)
        warnings.simplefilter("ignore", RuntimeWarning)
        for _ in range(2):
            signal.signal(signal.SIGBUS, lambda *_: None)
            next_tick()
            m.view()
        assert m.gather([PAGE, 0], 2).tobytes() == b"BBAA"
        m.scatter([1], np.frombuffer(b"x", "S1"))
        os.truncate("file", PAGE)
        assert bus_error(m.gather, [1, 2 * PAGE], 1).record == 1
        assert m.pread(2, 0) == b"Ax"
    """)
