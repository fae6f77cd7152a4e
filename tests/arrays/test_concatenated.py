"""Many files as one array: NumPy's, wherever the seams are, and it travels."""

import errno
import os
import pickle
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import yammap

PAGE = os.sysconf("SC_PAGESIZE")


def made(folder, arrays, axis=0, order="C", mode="r+", offset=0):
    """Write arrays to files, and return them as one."""
    handles = []
    for i, array in enumerate(arrays):
        path = folder / f"part-{i}"
        path.write_bytes(b"h" * offset + array.tobytes(order))
        handles.append(
            yammap.MappedArray(path, array.dtype, array.shape, offset, mode, order=order)
        )
    return yammap.concatenate(handles, axis)


def content(lengths, rest, axis, dtype, seed=0):
    """Return parts of some lengths along an axis, of random bytes."""
    generator, parts = np.random.default_rng(seed), []
    for n in lengths:
        shape = (*rest[:axis], n, *rest[axis:])
        size = int(np.prod(shape)) * dtype.itemsize
        parts.append(np.frombuffer(generator.bytes(size), dtype).reshape(shape))
    return parts


def joined(parts, axis):
    """Return the parts as one array, in their own byte order."""
    shape = np.concatenate(parts, axis).shape
    return np.concatenate(parts, axis, out=np.empty(shape, parts[0].dtype))


@pytest.fixture
def three(tmp_path):
    """Parts of 4, 0 and 5 rows of two numbers, and the array that they are."""
    whole = np.arange(18).reshape(9, 2)
    return made(tmp_path, [whole[:4], whole[4:4], whole[4:]]), whole


DTYPES = st.sampled_from(["u1", "<i4", ">u4", "f8", "i2,S3", "M8[s]"]).map(np.dtype)
LENGTHS = st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any)


@st.composite
def cases(draw):
    axis = draw(st.integers(0, 1))
    lengths, rest = draw(LENGTHS), draw(st.sampled_from([(2,), (2, 3)]))
    shape = (*rest[:axis], sum(lengths), *rest[axis:])
    key = draw(
        npst.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
        | npst.integer_array_indices(shape)
        | npst.arrays(np.bool_, shape)
        | npst.arrays(np.bool_, shape[:1])
        | st.tuples(st.just(slice(None, None, -1)), npst.arrays(np.bool_, shape[1:2]))
        | st.tuples(
            npst.arrays(np.intp, 3, elements=st.integers(-shape[0], shape[0] - 1)),
            st.integers(0, shape[1] - 1),
        )
    )
    return lengths, rest, axis, key, draw(DTYPES), draw(st.sampled_from("CF"))


@settings(max_examples=300)
@given(case=cases())
def test_indexing_is_numpys(tmp_path_factory, case):
    lengths, rest, axis, key, dtype, order = case
    parts = content(lengths, rest, axis, dtype)
    whole = joined(parts, axis)
    c = made(tmp_path_factory.mktemp("index"), parts, axis, order, offset=3)
    assert (c.shape, c.dtype, c.ndim, c.size) == (
        whole.shape,
        whole.dtype,
        whole.ndim,
        whole.size,
    )
    found, expected = c[key], whole[key]
    assert np.shape(found) == np.shape(expected)
    assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()
    # As a source of itself, and as a target.
    value = whole[key][..., ::-1].copy() if np.ndim(expected) else expected
    c[key] = c[key][..., ::-1] if np.ndim(expected) else found
    whole[key] = value
    assert np.asarray(c).tobytes() == whole.tobytes()


@settings(max_examples=150)
@given(
    lengths=LENGTHS,
    dtype=DTYPES,
    axis=st.integers(0, 1),
    order=st.sampled_from("CF"),
    draws=st.data(),
)
def test_take_is_that_of_numpy(tmp_path_factory, lengths, dtype, axis, order, draws):
    parts = content(lengths, (3,), axis, dtype)
    whole = joined(parts, axis)
    c = made(tmp_path_factory.mktemp("take"), parts, axis, order)
    n = len(whole)
    shape = draws.draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5))
    index = draws.draw(npst.arrays("i8", shape, elements=st.integers(-n, n - 1)))
    expected = np.take(whole, index, axis=0)
    taken = c.take(index, threads=2)
    assert taken.shape == expected.shape
    assert taken.tobytes() == expected.tobytes()
    out = np.empty(expected.shape, dtype)
    assert c.take(index, out) is out
    assert out.tobytes() == expected.tobytes()
    starts = draws.draw(npst.arrays("i8", 3, elements=st.integers(0, n)))
    counts = [draws.draw(st.integers(0, n - start)) for start in starts.tolist()]
    if not axis:
        values, bounds = c.take_ragged(starts, counts)
        runs = [whole[a : a + k] for a, k in zip(starts, counts, strict=True)]
        assert values.tobytes() == b"".join(run.tobytes() for run in runs)
        assert np.diff(bounds).tolist() == counts


def test_a_store_never_vanishes(three):
    c, whole = three
    inside, across = c[:2], c[3:6]
    inside[:] = -1
    assert c[1, 0] == -1
    for store in (lambda: across.fill(1), lambda: np.add(across, 1, out=across)):
        with pytest.raises(ValueError, match="read-only"):
            store()
    with pytest.raises(ValueError, match="read-only"):
        across[0] = 1
    c[:] = whole
    c[3:6] += 1
    c[::-3] *= 2
    c[[0, 8]] -= 5
    whole[3:6] += 1
    whole[::-3] *= 2
    whole[[0, 8]] -= 5
    assert np.array_equal(c, whole)


def test_what_is_computed_of_a_copy_is_a_plain_array(three):
    across = three[0][3:6]
    assert type(across + 1) is type(np.negative(across)) is np.ndarray
    assert isinstance(across.sum(), np.integer)
    assert type(pickle.loads(pickle.dumps(across))) is np.ndarray
    with pytest.raises(TypeError, match="same_kind"):
        across += 0.5


@pytest.mark.parametrize(
    "key", [9, -10, (0, 2), (0, 0, 0), 1.5, [9], np.ones(8, bool), (..., ...), ([0], "x")]
)
def test_bad_keys_are_numpys(three, key):
    c, whole = three
    with pytest.raises(IndexError):
        whole[key]
    with pytest.raises(IndexError):
        c[key]


def test_overlapping_assignments(three):
    c, whole = three
    c[1:] = c[:-1]
    whole[1:] = whole[:-1].copy()
    assert np.array_equal(c, whole)
    c[1:5] = c[:4]  # a view of the first file goes to both
    whole[1:5] = whole[:4].copy()
    assert np.array_equal(c, whole)


def test_fields(tmp_path):
    whole = np.array([(1, 2), (3, 4), (5, 6)], "i4,i8")
    c = made(tmp_path, [whole[:2], whole[2:]])
    assert c["f1"].tolist() == [2, 4, 6]
    c["f0"] = 7, 8, 9
    assert c[["f0"]].tolist() == [(7,), (8,), (9,)]


# -- It travels, and goes over the seams


def test_a_thousand_parts_in_a_small_pickle(tmp_path):
    (tmp_path / "long-name-of-a-directory").mkdir()
    paths = [tmp_path / f"long-name-of-a-directory/part-{i:05}.bin" for i in range(1000)]
    for i, path in enumerate(paths):
        path.write_bytes(np.full(3, i, "<i4").tobytes())
    c = yammap.concatenate(paths, dtype="<i4")
    pickled = pickle.dumps(c)
    assert len(pickled) < 64_000
    again = pickle.loads(pickled)
    assert np.array_equal(again, np.repeat(np.arange(1000), 3))
    assert again.__dask_tokenize__() == c.__dask_tokenize__()
    os.utime(paths[500], ns=(1, 1))
    assert pickle.dumps(c) != pickled
    del c, again  # else the file that is open is the one
    paths[7].unlink()
    np.zeros(3).tofile(paths[7])
    with pytest.raises(OSError, match="another file") as caught:
        pickle.loads(pickled)[21]
    assert caught.value.errno == errno.ESTALE


def test_stream_and_chunks_keep_to_the_seams(three):
    c, whole = three
    chunks = list(c.stream(3))
    assert [len(chunk) for chunk in chunks] == [3, 1, 3, 2]
    assert np.array_equal(np.concatenate(chunks), whole)
    assert c.suggest_chunks(48) == ((3, 1, 3, 2), (2,))
    with pytest.raises(ValueError, match="positive"):
        c.stream(0)


def test_flush_writes_all_files(three):
    c, _ = three
    c[:] = 7
    c.flush()
    refused = mock.patch.object(yammap.MappedArray, "flush", side_effect=OSError("bad"))
    with refused, pytest.raises(OSError, match="bad"):
        c.flush()


def test_a_cut_file_is_an_error_that_names_the_row(tmp_path):
    c = made(tmp_path, [np.arange(PAGE, dtype="<i8") for _ in range(3)])
    assert c[0] == 0
    c.take([PAGE, 2 * PAGE])
    os.truncate(tmp_path / "part-1", PAGE)
    with pytest.raises(yammap.BusError, match="shrank") as caught:
        c.take([0, 2 * PAGE, PAGE + PAGE // 2, 5])
    assert caught.value.record == 2


def test_few_descriptors_for_many_parts_and_views_that_last(child):
    child(
        """
        import os, resource
        import numpy as np, yammap
        from yammap._arrays import parts

        parts._MOST = 32
        for i in range(200):
            np.full(4, i).tofile(f"part-{i}")
        c = yammap.concatenate("part-*", dtype=int)
        first = c[:2]
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        before = len(os.listdir("/proc/self/fd"))
        rows = range(0, 800, 4)
        for _ in range(2):
            assert c.take(rows).tolist() == [*range(200)]
            assert [int(c[i]) for i in rows] == [*range(200)]
        assert len(os.listdir("/proc/self/fd")) <= before + 32
        with open("/proc/self/maps") as maps:
            assert sum("/part-" in line for line in maps) <= 33
        assert first.tolist() == [0, 0]
        others = [os.dup(0) for _ in range(20)]
        assert c.take(rows).tolist() == [*range(200)]
        """
    )
