"""Many records at once: gather and scatter against NumPy doing it one by one."""

import io
import os
import signal
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yammap
from yammap._file import ndarrays

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 20 * PAGE + 123

INTEGERS = [np.dtype(kind + str(size)) for kind in "iu" for size in (1, 2, 4, 8)]


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture
def mapped(path, data):
    path.write_bytes(data)
    with yammap.open(path, "r+") as m:
        yield m


def one_by_one(data, offsets, lengths):
    pieces = [data[o : o + n] for o, n in zip(offsets, lengths, strict=True)]
    return np.concatenate([np.empty(0, np.uint8), *pieces])


# -- gather


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("order", [">", "<"])
def test_gather_takes_any_integers(mapped, data, dtype, order):
    offsets = np.array([0, 100, 7, 7, 33], dtype.newbyteorder(order))
    expected = [data[o : o + 5] for o in offsets.tolist()]
    assert np.array_equal(mapped.gather(offsets, 5), expected)
    assert np.array_equal(mapped.gather(offsets[::-1], 5), expected[::-1])
    assert np.array_equal(mapped.gather(offsets.tolist(), 5), expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
@settings(max_examples=50)
@given(
    offsets=st.lists(st.integers(0, SIZE - 300), max_size=400),
    length=st.integers(0, 300),
)
def test_gather_and_ragged_agree(threads, data, offsets, length):
    m = yammap.anonymous(SIZE)
    m.write_at(data, 0)
    records = m.gather(offsets, length, threads=threads)
    values, starts = m.gather_ragged(offsets, [length] * len(offsets), threads=threads)
    assert records.shape == (len(offsets), length)
    assert records.dtype == np.uint8
    assert records.tobytes() == values.tobytes()
    assert starts.tolist() == [length * i for i in range(len(offsets) + 1)]
    assert np.array_equal(values, one_by_one(data, offsets, [length] * len(offsets)))


@pytest.mark.parametrize("threads", [1, 3])
@settings(max_examples=50)
@given(records=st.lists(st.tuples(st.integers(0, SIZE - 5000), st.integers(0, 5000))))
def test_ragged_records(threads, data, records):
    m = yammap.anonymous(SIZE)
    m.write_at(data, 0)
    offsets, lengths = [r[0] for r in records], [r[1] for r in records]
    values, starts = m.gather_ragged(offsets, lengths, threads=threads)
    assert np.array_equal(values, one_by_one(data, offsets, lengths))
    assert np.array_equal(np.diff(starts), lengths)
    assert starts[0] == 0


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 4), np.uint8),
        np.zeros(12, "S1"),
        np.zeros((3, 2), "<u2"),
        np.zeros(3, "i4,"),
        np.zeros((3, 4), np.uint8).view(np.matrix),  # which no reshaping makes flat
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_gather_into_any_contiguous_array(mapped, data, out, threads):
    expected = b"".join(data[o : o + 4].tobytes() for o in (9, 0, 5000))
    out[...] = 0
    assert mapped.gather([9, 0, 5000], 4, out, threads=threads) is out
    assert out.tobytes() == expected
    same, _ = mapped.gather_ragged([9, 0, 5000], [4, 4, 4], out, threads=threads)
    assert same is out


def test_gather_into_the_mapping_itself(mapped, data):
    target = mapped.array(shape=(3, 8), offset=PAGE)
    mapped.gather([0, PAGE + 4, 100], 8, target)
    assert target[0].tobytes() == data[:8].tobytes()
    assert target[2].tobytes() == data[100:108].tobytes()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [-1, SIZE - 9, SIZE, 2**62, -(2**63), 2**63 - 1])
def test_a_record_outside_is_refused_before_anything_is_copied(mapped, bad, threads):
    out = np.full((4, 10), 7, np.uint8)
    with pytest.raises(ValueError, match=rf"record 3, 10 bytes at offset {bad}, is not in"):
        mapped.gather([0, 1, SIZE - 10, bad], 10, out, threads=threads)
    with pytest.raises(ValueError, match=rf"record 3, 10 bytes at offset {bad}, is not in"):
        mapped.gather_ragged([0, 1, 2, bad], [10] * 4, out, threads=threads)
    assert (out == 7).all()


@pytest.mark.parametrize(
    ("offsets", "length", "out", "error"),
    [
        ([1.5], 1, None, TypeError),
        (["a"], 1, None, TypeError),
        ([True], 1, None, TypeError),
        ([2**70], 1, None, ValueError),
        ([2**63], 1, None, ValueError),
        (3, 1, None, ValueError),
        ([[1]], 1, None, ValueError),
        ([0], -1, None, ValueError),
        ([0], 1.0, None, TypeError),
        ([0], 2, np.zeros(3, np.uint8), ValueError),
        ([0], 2, np.zeros(4, np.uint8)[::2], TypeError),
        ([0], 2, bytearray(2), TypeError),
        ([0], 2, np.frombuffer(b"ab", np.uint8), TypeError),
        ([0], 8, np.zeros(1, object), TypeError),
    ],
)
def test_bad_arguments_of_gather(mapped, offsets, length, out, error):
    with pytest.raises(error):
        mapped.gather(offsets, length, out)


@pytest.mark.parametrize("lengths", [[1], [1, -1], [2**62, 2**62], [[1, 1]]])
def test_bad_lengths(mapped, lengths):
    with pytest.raises(ValueError, match=r"length|longer|shape"):
        mapped.gather_ragged([0, 0], lengths)


def test_an_unaligned_index(mapped, data):
    """As a table of offsets in a file often is; loading from it is for memcpy() only."""
    index = np.frombuffer(b"?" + np.arange(100).tobytes(), np.int64, offset=1)
    assert np.array_equal(mapped.gather(index, 1).ravel(), data[:100])
    assert ndarrays.as_integers(index, "offsets").flags.aligned


@pytest.fixture
def ctrl_c():
    """Have it raise, which it does not in a job that was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_a_gather(path):
    path.write_bytes(b"x")
    out = np.zeros(3_000_000, np.uint8)
    main = threading.main_thread().ident

    def interrupt():
        while not out[0]:
            pass
        signal.pthread_kill(main, signal.SIGINT)

    with yammap.open(path, engine="pread") as m:
        thread = threading.Thread(target=interrupt, daemon=True)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            m.gather(np.zeros(len(out), np.int64), 1, out)
        thread.join()
    assert not out[-1]


@pytest.mark.parametrize("length", [SIZE + 1, 2**50, 2**62])
def test_records_longer_than_the_mapping_take_no_memory(mapped, length):
    with pytest.raises(ValueError, match=f"a record of {length} bytes is larger"):
        mapped.gather([0], length)
    with pytest.raises(ValueError, match=f"a record of {length} bytes is larger"):
        mapped.gather_ragged([0, 0], [1, length])


def test_nothing_to_gather(mapped):
    assert mapped.gather([], 100).shape == (0, 100)
    assert mapped.gather([0, SIZE], 0).shape == (2, 0)
    values, starts = mapped.gather_ragged([], [])
    assert values.shape == (0,)
    assert starts.tolist() == [0]
    with pytest.raises(ValueError, match="threads"):
        mapped.gather([0], 1, threads=-1)


def test_a_closed_mapping(path, data):
    path.write_bytes(data)
    m = yammap.open(path)
    m.close()
    for call in (
        lambda: m.gather([0], 1),
        lambda: m.stream(1),
        lambda: m.scatter([], np.empty(0)),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


@pytest.mark.parametrize(
    "options", [{"engine": "pread"}, {"keep_fd": False}, {"offset": 3}]
)
def test_gather_of_every_kind_of_mapping(path, data, options):
    path.write_bytes(data)
    first = options.get("offset", 0)
    with yammap.open(path, **options) as m:
        offsets = [0, 5000, SIZE - 100 - first]
        expected = np.stack([data[first + o : first + o + 100] for o in offsets])
        assert np.array_equal(m.gather(offsets, 100), expected)
        assert np.array_equal(m.gather_ragged(offsets, [100] * 3)[0], expected.reshape(-1))


# -- threads, growth and truncation


# -- scatter


@settings(max_examples=50)
@given(
    offsets=st.lists(st.integers(0, 1000), max_size=60),
    length=st.integers(0, 100),
    threads=st.just(1),
)
def test_scatter_is_the_twin_of_gather(offsets, length, threads):
    records = np.random.default_rng(0).integers(0, 256, (len(offsets), length), np.uint8)
    m = yammap.anonymous(1100)
    expected = np.zeros(1100, np.uint8)
    for offset, record in zip(offsets, records, strict=True):
        expected[offset : offset + length] = record
    m.scatter(offsets, records)
    assert m.pread(1100, 0) == expected.tobytes()


def test_scatter_reaches_the_file_and_live_views(mapped, path, data):
    view = mapped.array()
    mapped.scatter([8, 0], np.array([1, 2], "<u8"))
    assert view[8] == 1
    assert path.read_bytes()[:16] == (2).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert path.read_bytes()[16:] == data[16:].tobytes()


def test_what_scatter_refuses(mapped, path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="record 1"):
        mapped.scatter([0, SIZE], np.zeros((2, 1), np.uint8))
    with pytest.raises(ValueError, match="2 rows, one for each offset"):
        mapped.scatter([0, 1], np.zeros((3, 1), np.uint8))
    with pytest.raises(TypeError, match="array"):
        mapped.scatter([0], b"a")
    with pytest.raises(TypeError, match="contiguous"):
        mapped.scatter([0, 1], np.zeros((2, 4), np.uint8)[:, ::2])
    for mode in ("r", "a+"):
        with yammap.open(path, mode) as m, pytest.raises(io.UnsupportedOperation):
            m.scatter([0], np.zeros((1, 1), np.uint8))
    assert path.read_bytes() == before


def test_scatter_into_a_private_mapping_stays_in_memory(path, data):
    path.write_bytes(data)
    with yammap.open(path, "c") as m:
        m.scatter([5], np.array([[1, 2, 3]], np.uint8))
        assert m.pread(3, 5) == b"\1\2\3"
    assert path.read_bytes() == data.tobytes()


# -- stream
