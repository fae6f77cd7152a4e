"""Records of many lengths are what a list of arrays is, however they are asked for."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yammap

DTYPES = st.sampled_from(["u1", "<u2", ">i4", "f8", "i2,S3"]).map(np.dtype)
LENGTHS = st.lists(st.integers(0, 5), max_size=8)
GRID = np.arange(16, dtype="i4").reshape(4, 4)


@pytest.fixture
def pair(tmp_path):
    return tmp_path / "values", tmp_path / "offsets"


@pytest.fixture
def words(pair):
    """Four records, one of which is empty."""
    made = yammap.open_ragged(*pair, "u1", "w+")
    made.extend([b"one", b"", b"three", b"four"])
    return made


def content(lengths, dtype, row, seed=0):
    """Return records of some lengths, of random bytes."""
    generator = np.random.default_rng(seed)
    whole = [(n, *row) for n in lengths]
    return [
        np.frombuffer(generator.bytes(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(
            shape
        )
        for shape in whole
    ]


def same(one, other):
    """Tell whether arrays have the same bytes in the same shape."""
    return (one.dtype, one.shape, one.tobytes()) == (
        other.dtype,
        other.shape,
        other.tobytes(),
    )


def by_paths(folder, records, dtype, row):
    made = yammap.open_ragged(
        folder / "values", folder / "offsets", dtype, "w+", shape=(-1, *row)
    )
    made.append(records[0]) if records else None
    made.extend(records[1:])
    return made


def by_lengths_in_bytes(folder, records, dtype, row):
    """Write the records the other way round, and a header before everything."""
    starts = np.cumsum([0, *(r.nbytes for r in records[::-1])])[:-1][::-1]
    data = b"".join(r.tobytes() for r in records[::-1])
    (folder / "values").write_bytes(b"head" + data)
    index = starts.astype(">u8").tobytes()
    (folder / "index").write_bytes(
        index + np.array([len(r) for r in records], "<i4").tobytes()
    )
    count = len(records)
    lengths = yammap.MappedArray(folder / "index", "<i4", count, 8 * count)
    return yammap.open_ragged(
        yammap.MappedArray(folder / "values", dtype, (-1, *row), 4),
        yammap.MappedArray(folder / "index", ">u8", count),
        lengths=lengths,
        in_bytes=True,
    )


def over_files(folder, records, dtype, row):
    """Put the values into two files, wherever that cuts them."""
    whole = np.concatenate([np.empty((0, *row), dtype), *records]).astype(dtype)
    parts = []
    for i, part in enumerate((whole[: len(whole) // 2], whole[len(whole) // 2 :])):
        (folder / f"part-{i}").write_bytes(part.tobytes())
        parts.append(yammap.MappedArray(folder / f"part-{i}", dtype, part.shape))
    np.cumsum([0, *map(len, records)]).astype("<i8").tofile(folder / "offsets")
    return yammap.open_ragged(yammap.concatenate(parts), folder / "offsets")


@settings(max_examples=60)
@given(
    how=st.sampled_from([by_paths, by_lengths_in_bytes, over_files]),
    lengths=LENGTHS,
    dtype=DTYPES,
    row=st.sampled_from([(), (2,), (2, 3)]),
    data=st.data(),
)
def test_records_are_what_a_list_of_arrays_is(
    tmp_path_factory, how, lengths, dtype, row, data
):
    expected = content(lengths, dtype, row)
    records = how(tmp_path_factory.mktemp("ragged"), expected, dtype, row)
    records = data.draw(st.sampled_from([records, pickle.loads(pickle.dumps(records))]))
    count = len(expected)
    assert len(records) == count
    assert records.dtype == dtype
    assert records.lengths.tolist() == lengths
    assert all(map(same, records, expected))
    assert len([*records]) == count
    key = data.draw(st.slices(count))
    assert all(map(same, records[key], expected[key]))
    assert len(records[key]) == len(expected[key])
    if count:
        numbers = data.draw(st.lists(st.integers(-count, count - 1), max_size=12))
        chosen = [expected[i] for i in numbers]
        joined = np.concatenate([np.empty((0, *row), dtype), *chosen]).astype(dtype)
        bounds = np.cumsum([0, *map(len, chosen)])
        assert all(same(records[i], expected[i]) for i in numbers)
        past = records.take(numbers, cached=False)
        for values, found in records.take(numbers), past, *records.batches([numbers]):
            assert same(values, joined)
            assert found.tolist() == bounds.tolist()


def test_a_record_is_a_view(words):
    words[0][:] = list(b"two")
    words[2:][0][0] = ord("T")
    assert words.take([0, 2])[0].tobytes() == b"twoThree"
    assert words.values[:3].tobytes() == b"two"


@pytest.mark.parametrize("number", [4, -5, 1 << 70])
def test_a_record_that_does_not_exist(words, number):
    with pytest.raises(IndexError):
        words[number]
    with pytest.raises(IndexError):
        words.take([0, number])


def test_many_numbers_are_for_take(words):
    with pytest.raises(TypeError, match=r"take\(numbers\) copies records in any order"):
        words[[1, 2]]
    with pytest.raises(TypeError, match="indices must be integers"):
        words.take([0.5])


def test_batches_go_into_the_buffers_of_the_caller(words):
    out = [np.empty(16, np.uint8) for _ in range(2)]
    taken = [
        (values.base is buffer, values.tobytes(), bounds.tolist())
        for (values, bounds), buffer in zip(
            words.batches([[0, 2], [3]], depth=1, out=out), out, strict=True
        )
    ]
    assert taken == [(True, b"onethree", [0, 3, 8]), (True, b"four", [0, 4])]
    values, _ = words.take([3, 3], out[0][:8], threads=2)
    assert values.tobytes() == b"fourfour"
    with pytest.raises(ValueError, match=r"out must have shape \(8,\)"):
        words.take([3, 3], out[0])


def test_a_batch_that_fails_fails_in_its_turn(words):
    batches = words.batches([[0], [9]])
    assert next(batches)[0].tobytes() == b"one"
    with pytest.raises(IndexError):
        next(batches)


def test_iterating_keeps_what_it_began_with_and_maps_large_records_apart(pair):
    records = yammap.open_ragged(*pair, "<i4", "w+")
    records.extend(np.full(1 << 18, i) for i in range(12))
    seen = []
    for record in records:
        if len(records) < 14:
            records.append([7])
        seen.append((len(record), int(record[-1])))
    assert seen == [(1 << 18, i) for i in range(12)]
    assert not np.may_share_memory(records[0], next(iter(records)))


def test_what_others_append_is_seen_after_refresh(words, pair):
    reader = yammap.open_ragged(*pair)
    travelling = pickle.dumps(reader)
    assert words.append(b"five") == 4
    assert len(reader) == len(pickle.loads(travelling)) == 4
    assert reader.refresh() == len(reader) == 5
    assert reader[-1].tobytes() == b"five"
    late = pickle.loads(travelling)
    assert (late.refresh(), late[-1].tobytes()) == (5, b"five")


def test_views_stay_valid_while_the_files_grow(words):
    first = words[0]
    for _ in range(200):
        words.append(bytes(4096))
    assert first.tobytes() == b"one"
    assert len(words) == 204


def test_a_pickle_is_small(words):
    words.extend([b"x"] * 10_000)
    assert len(pickle.dumps(words)) < 2000


@pytest.mark.parametrize("record", [[[1]], 5])
def test_a_record_of_another_shape_is_refused(words, record):
    with pytest.raises(ValueError, match="only the first dimension"):
        words.append(record)
    assert len(words) == 4


def test_records_are_converted_as_in_an_assignment(pair):
    points = yammap.open_ragged(*pair, "<f4", "x+", shape=(-1, 2))
    points.append([[1, 2]])
    points.append([])
    points.append(np.ones((2, 2), "i8"))
    points.append(np.float32([[8, 9]]).tobytes() and np.float32([[8, 9]]))
    assert points.lengths.tolist() == [1, 0, 2, 1]
    assert points.take([3, 0])[0].tolist() == [[8, 9], [1, 2]]


@pytest.mark.parametrize("record", [GRID[::2], GRID[::-1], GRID.T, np.asfortranarray(GRID)])
def test_a_record_may_lie_apart_in_memory(pair, record):
    points = yammap.open_ragged(*pair, "<i4", "x+", shape=(-1, 4))
    points.append(record)
    points.extend([record])
    points.extend([record, record])
    assert [each.tolist() for each in points] == [record.tolist()] * 4


def test_a_generator_may_use_its_memory_again(words):
    def records():
        for number in range(3):
            memory[:] = number
            yield memory

    memory = np.zeros(2, np.uint8)
    words.extend(records())
    assert [each.tolist() for each in words[-3:]] == [[0, 0], [1, 1], [2, 2]]


def test_an_extend_that_fails_keeps_the_records_that_are_complete(words):
    def records():
        yield bytes(5 << 20)  # which is written when the next one comes
        yield b"never written, because the next is none"
        raise KeyError

    with pytest.raises(KeyError):
        words.extend(records())
    assert words.lengths.tolist() == [3, 0, 5, 4, 5 << 20]


def test_reading_does_not_append(words, pair):
    reader = yammap.open_ragged(*pair)
    with pytest.raises(io.UnsupportedOperation, match=r"need mode 'r\+'"):
        reader.append(b"x")
    with pytest.raises(ValueError, match="read-only"):
        reader[0][0] = 1


def test_records_by_handles_stay_as_they_are(words, pair):
    handles = yammap.MappedArray(pair[0]), yammap.MappedArray(pair[1], "<i8")
    fixed = yammap.open_ragged(*handles)
    assert fixed[2].tobytes() == b"three"
    for call in fixed.refresh, lambda: fixed.append(b"x"), lambda: fixed.extend([b"x"]):
        with pytest.raises(io.UnsupportedOperation, match="open them by their paths"):
            call()
    fixed.flush()


def test_what_it_is(words, pair):
    words.flush()
    assert (words.mode, words.dtype, len(words.values)) == ("r+", np.uint8, 12)
    shown = repr(words)
    assert shown.startswith("<RaggedArray records=4 values=<MappedArray path=")
    assert str(pair[1]) in shown


@pytest.mark.parametrize("ask", [lambda r: r[1], lambda r: r[:], lambda r: r.take([1])])
@pytest.mark.parametrize("offsets", [[0, 5, 3, 9], [0, 3, 99, 99], [0, -3, 0, 3]])
def test_offsets_that_lead_nowhere_are_named(tmp_path, ask, offsets):
    np.zeros(12, "u1").tofile(tmp_path / "values")
    np.array(offsets).tofile(tmp_path / "offsets")
    values = yammap.MappedArray(tmp_path / "values")
    records = yammap.open_ragged(values, tmp_path / "offsets")
    with pytest.raises(ValueError, match=r"record [01], .* rows from .* not in the values"):
        ask(records)


def test_a_file_that_is_cut_short_is_an_error_and_no_crash(words, pair):
    reader = yammap.open_ragged(*pair)
    pair[0].write_bytes(b"")
    with pytest.raises(yammap.BusError):
        reader.take([0])
