"""`MappedArray`: it is an array, it travels, it spares memory, and it grows."""

import io
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import yammap

SHAPE = (6, 5, 4)
MIB = 1 << 20


def travelled(handle):
    return pickle.loads(pickle.dumps(handle))


# -- It is an array


def test_a_handle_is_an_array(path):
    array = np.arange(24, dtype="<i4").reshape(4, 3, 2)
    array.tofile(path)
    handle = yammap.MappedArray(path, "<i4", (-1, 3, 2))
    assert (handle.shape, handle.ndim, handle.size, handle.nbytes) == ((4, 3, 2), 3, 24, 96)
    assert (handle.dtype, len(handle), handle.mode) == (np.dtype("<i4"), 4, "r")
    assert (handle.strides, handle.offset, handle.path) == ((24, 8, 4), 0, str(path))
    assert np.array_equal(np.asarray(handle), array)
    assert np.array_equal(np.array(handle, "f8"), array)
    assert np.array_equal(handle[1:, ::2], array[1:, ::2])
    assert np.array_equal(list(handle), array)
    assert type(np.asarray(handle)) is np.ndarray
    copy = np.array(handle, copy=True)
    assert copy.flags.owndata
    assert copy.flags.writeable
    with pytest.raises(ValueError, match="copy"):
        handle.__array__("f8", copy=False)


def test_what_has_no_dimensions_has_no_rows(path):
    path.write_bytes(bytes(8))
    handle = yammap.MappedArray(path, "f8", ())
    assert handle[()] == 0
    for rows in (len, iter, lambda h: h.take([0]), lambda h: h.stream(1)):
        with pytest.raises(TypeError, match="no length"):
            rows(handle)


def test_its_repr_says_all(path):
    path.write_bytes(bytes(96))
    handle = yammap.MappedArray(path, "<i4", (-1, 3, 2))
    start = f"<MappedArray path={str(path)!r} dtype=int32 shape=(4, 3, 2) mode='r' "
    assert repr(handle) == f"{start}bytes=0:96 engine=None>"
    assert handle[0, 0, 0] == 0
    assert repr(handle) == f"{start}bytes=0:96 engine='mmap'>"
    apart = yammap.MappedArray(path, [("x", "<f4")], 3, 4, strides=(8,))
    told = "dtype=[('x', '<f4')] shape=(3,) strides=(8,) mode='r' bytes=4:24 "
    assert told in repr(apart)


def test_fields_may_be_in_any_order(path):
    path.write_bytes(np.array([(1, 2)] * 3, "<i2, <i4").tobytes())
    fields = yammap.open_array(path, "<i2, <i4")[["f1", "f0"]]
    handle = yammap.MappedArray.of(fields)
    assert str(fields.dtype) in repr(handle)
    tokens = {handle.__dask_tokenize__()}
    tokens.add(yammap.MappedArray(path, "<i2, <i4").__dask_tokenize__())
    assert len(tokens) == 2
    assert travelled(handle)[1].item() == (2, 1)


def test_it_never_changes(cube, path):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    for name in ("dtype", "shape", "strides", "offset", "path", "mode"):
        with pytest.raises(AttributeError):
            setattr(handle, name, None)
    if not hasattr(handle, "__dict__"):  # as NumPy's class of operators has before 1.25
        with pytest.raises(AttributeError):
            handle.colour = None


KEYS = npst.basic_indices(SHAPE, allow_newaxis=True, allow_ellipsis=True) | (
    npst.integer_array_indices(SHAPE)
)


@settings(max_examples=200)
@given(key=KEYS)
def test_indexing_is_numpys(tmp_path_factory, key):
    path = tmp_path_factory.mktemp("index") / "file"
    array = np.arange(120, dtype="<i4").reshape(SHAPE)
    array.tofile(path)
    handle = yammap.MappedArray(path, "<i4", SHAPE, mode="r+")
    found, expected = handle[key], array[key]
    assert type(found) is type(expected)
    assert np.array_equal(found, expected)
    handle[key] = array[key] = -1
    assert np.array_equal(handle, array)


@pytest.mark.parametrize("key", [6, (0, 0, 0, 0), "name", 1.5, slice("a"), (0, -6)])
def test_bad_indices_are_numpys(cube, path, key):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3, "r+")
    with pytest.raises((IndexError, TypeError)) as theirs:
        cube[key]
    with pytest.raises(theirs.type):
        handle[key]
    with pytest.raises(theirs.type):
        handle[key] = 0


def test_a_handle_writes(path):
    np.zeros(10).tofile(path)
    handle = yammap.MappedArray(path, "f8", (5, 2), mode="r+")
    handle[2] = 7, 8
    handle.flush()
    assert np.fromfile(path)[4:6].tolist() == [7, 8]
    with pytest.raises(ValueError, match="read-only"):
        yammap.MappedArray(path, "f8")[0] = 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"dtype": object}, TypeError),
        ({"dtype": "f8", "shape": 2, "strides": (8.0,)}, TypeError),
        ({"mode": "w+"}, ValueError),
        ({"offset": -1}, ValueError),
        ({"offset": 100}, ValueError),
        ({"dtype": "f8", "shape": 99}, ValueError),
        ({"dtype": "V7"}, ValueError),
        ({"order": "K"}, ValueError),
        ({"dtype": "f8", "strides": (8,)}, ValueError),
        ({"dtype": "f8", "shape": 2, "strides": (8, 8)}, ValueError),
        ({"dtype": "f8", "shape": 2, "strides": (8,), "order": "F"}, ValueError),
        ({"dtype": "f8", "shape": 2, "strides": (73,)}, ValueError),
        ({"dtype": "f8", "shape": 2, "strides": (-8,)}, ValueError),
        ({"dtype": "f8", "shape": 2, "strides": (1 << 70,)}, ValueError),
    ],
)
def test_bad_handles(path, options, error):
    path.write_bytes(bytes(80))
    with pytest.raises(error):
        yammap.MappedArray(path, **options)
    with pytest.raises(FileNotFoundError):
        yammap.MappedArray(path.with_name("absent"))


def test_what_is_empty(path):
    path.touch()
    handle = yammap.MappedArray(path, "f8", (0, 3))
    assert np.asarray(handle).shape == handle[:].shape == (0, 3)
    assert list(handle.stream(2)) == []
    assert handle.take([]).shape == (0, 3)
    assert travelled(handle).nbytes == 0


# -- It is opened once, when it is needed


def is_open(path):
    with os.scandir("/proc/self/fd") as descriptors:
        return str(path) in [os.readlink(each) for each in descriptors]


def test_a_handle_is_opened_when_it_is_needed_and_travels_by_path(path):
    np.arange(100_000, dtype="u2").tofile(path)
    handle = yammap.MappedArray(path, "u2", (-1, 10))
    assert not is_open(path)
    assert handle[5, 5] == 55
    assert is_open(path)
    pickled = pickle.dumps(handle)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    assert again.shape == (10_000, 10)
    assert again[5, 5] == 55
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert np.array_equal(pickle.loads(pickle.dumps(handle, protocol)), handle)


@pytest.mark.usefixtures("eager_switching")
def test_threads_that_come_first_together_share_one_mapping(path):
    path.write_bytes(bytes(1000))
    together = threading.Barrier(8)
    for _ in range(20):
        handle = yammap.MappedArray(path, mode="c")

        def first(_, handle=handle):
            together.wait()
            return handle.mapping

        with ThreadPoolExecutor(8) as pool:
            assert len(set(map(id, pool.map(first, range(8))))) == 1


def test_parts_of_one_file_share_its_mapping(path):
    np.arange(1000, dtype="<i4").tofile(path)
    array = yammap.open_array(path, "<i4", "r+")
    parts = [travelled(yammap.MappedArray.of(array[i : i + 1])) for i in range(1000)]
    assert [int(part[0]) for part in parts] == [*range(1000)]
    assert len({id(part.mapping) for part in parts}) == 1
    assert yammap.MappedArray.of(array, "r").mapping is not parts[0].mapping
    private = [yammap.MappedArray(path, mode="c") for _ in range(2)]
    assert private[0].mapping is not private[1].mapping
    parts[0].mapping.close()
    assert travelled(parts[0])[0] == 0


def test_a_relative_path_is_that_of_now(cube, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    handle = yammap.MappedArray(path.name, "<i4", cube.shape, 3)
    monkeypatch.chdir("/")
    assert np.array_equal(travelled(handle), cube)


def test_changes_in_mode_c_stay_with_the_object(path):
    path.write_bytes(bytes(4 * MIB))
    handle = yammap.MappedArray(path, mode="c")
    whole = handle[:]
    whole[2 * MIB] = 1
    handle[:MIB] = np.ones(MIB, "u1")
    handle[[5]]
    assert handle[:][2 * MIB] == handle[0] == 1
    assert not np.asarray(travelled(handle)).any()
    assert path.read_bytes() == bytes(4 * MIB)


def test_a_file_beyond_memory_in_mode_c(path):
    """Only the pages that are changed take memory."""
    path.touch()
    os.truncate(path, 1 << 40)
    handle = yammap.MappedArray(path, mode="c")
    handle[1 << 39] = 7
    assert handle[(1 << 39) - 1 : (1 << 39) + 2].tolist() == [0, 7, 0]


# -- The handle of an array


def test_an_array_of_a_window_and_of_a_handle(cube, path):
    with yammap.open(path, offset=3 + 16) as m:
        assert yammap.MappedArray.of(m.array("<i4", 4)).offset == 19
    with yammap.open(path, offset=19, length=24) as m:
        handle = yammap.MappedArray(m, "<i4", (-1, 2), 8)
        assert np.array_equal(handle, m.array("<i4", (-1, 2), 8))
        for beyond in ({"shape": 7}, {"offset": 4, "shape": 2, "strides": (-8,)}):
            with pytest.raises(ValueError, match=r"24|lie in bytes"):
                yammap.MappedArray(m, "<i4", **beyond)
    piece = yammap.MappedArray(path, "<i4", cube.shape, 3)[2:4, ::-1]
    assert np.array_equal(yammap.MappedArray.of(piece), cube[2:4, ::-1])


def test_the_mode_is_what_the_array_allows(cube, path):
    writeable = yammap.open_array(path, mode="r+")
    handle = yammap.MappedArray.of(writeable)
    assert handle.mode == "r+"
    handle[:3] = 1
    assert path.read_bytes()[:3] == b"\1\1\1"
    assert yammap.MappedArray.of(writeable, "c").mode == "c"
    writeable.flags.writeable = False
    assert yammap.MappedArray.of(writeable).mode == "r"
    with pytest.raises(ValueError, match="mode must be"):
        yammap.MappedArray.of(writeable, "w+")


def test_changes_that_cannot_travel(cube, path):
    private = yammap.open_array(path, mode="c")
    private[:] = 0
    with pytest.raises(ValueError, match="copy-on-write"):
        yammap.MappedArray.of(private)
    assert yammap.MappedArray.of(private, "r")[:].tobytes() == path.read_bytes()


# -- Memory of the process


RSS = """
    import numpy as np, yammap

    def mapped():
        with open("/proc/self/status") as status:
            fields = dict(line.split(":") for line in status)
        return sum(int(fields[name].split()[0]) << 10 for name in ("RssFile", "RssShmem"))

    size, piece = 64 << 20, 4 << 20
    content = np.random.default_rng(0).integers(0, 1 << 60, size // 8)
    content.tofile("big")
    array = yammap.MappedArray("big", "<i8", (-1, 64), mode="r+")
    content, rows = content.reshape(-1, 64), piece // 512
    before = mapped()
"""


@pytest.mark.parametrize(
    "body",
    [
        "assert np.array_equal(array[i : i + rows], content[i : i + rows])",
        "assert np.array_equal(array[i : i + rows, 3], content[i : i + rows, 3])",
        "array[i : i + rows] = content[::-1][i : i + rows]",
        "assert np.array_equal(array[np.arange(i, i + rows)], content[i : i + rows])",
    ],
    ids=["slices", "columns", "writes", "copies"],
)
def test_large_pieces_do_not_stay_in_memory(child, body):
    child(
        f"""{RSS}
    for i in range(0, len(array), rows):
        {body}
        assert mapped() - before < 3 * piece, mapped() - before
    assert sorted(array[::2000, 0]) == sorted(np.fromfile("big").view("i8")[:: 2000 * 64])
    """
    )


def test_large_pieces_are_views_that_last(path):
    np.arange(MIB, dtype="<i4").tofile(path)
    handle = yammap.MappedArray(path, "<i4", (1024, 1024), mode="r+")
    piece = handle[1:1000:2, ::-1]
    piece[0, 0] = -1
    assert handle[1, 1023] == -1
    assert yammap.MappedArray.of(piece).offset == 4 * 2047
    assert not handle.mapping._descriptor_is_out
    del handle
    assert piece[1, 0] == 4 * 1024 - 1
    path.unlink()
    assert piece[499, 1023] == 999 * 1024


def test_large_pieces_do_not_tie_the_position_to_the_descriptor(path):
    path.write_bytes(bytes(2 * MIB))
    handle = yammap.MappedArray(path)
    assert len(handle[: MIB + 1]) == MIB + 1
    assert not handle.mapping._descriptor_is_out


def test_pieces_that_overlap_are_assigned_as_in_memory(path):
    content = np.arange(MIB, dtype="<i4").reshape(1024, 1024)
    content.tofile(path)
    handle = yammap.MappedArray(path, "<i4", content.shape, mode="r+")
    for target, source in [
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:], np.s_[::-1]),
        (np.s_[:, 5:], np.s_[:, :-5]),
        (np.s_[:], np.s_[:, ::-1]),
    ]:
        handle[target] = handle[source]
        content[target] = content[source]
        assert np.array_equal(handle, content)
    window = handle[:]
    handle[1:10] = window[0:9]
    content[1:10] = content[0:9]
    handle[10:] += 1
    content[10:] += 1
    assert np.array_equal(handle, content)
    (path.parent / "far" / "away").mkdir(parents=True)
    (path.parent / "link").symlink_to(path.parent / "far" / "away")
    linked = path.parent / "link/../.." / path.name
    for again in (
        yammap.MappedArray.of(handle[:-1]),
        memoryview(handle[:-1]),
        yammap.open_array(os.path.relpath(path), "<i4", shape=(1023, 1024)),
        yammap.open_array(linked, "<i4", shape=(1023, 1024)),
    ):
        handle[1:] = again
        content[1:] = content[:-1]
        assert np.array_equal(handle, content)


# -- take and stream

# But for bool, of which NumPy's scalars keep no other byte than 0 and 1.
DTYPES = (
    npst.scalar_dtypes().filter(lambda dtype: dtype.kind != "b")
    | st.just(np.dtype("i2,S3,(2,)f4"))
    | st.just(np.dtype(">u4"))
)
ROWS = npst.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=4)


@settings(max_examples=150)
@given(dtype=DTYPES, row=ROWS, rows=st.integers(1, 30), draws=st.data())
def test_take_is_that_of_numpy(tmp_path_factory, dtype, row, rows, draws):
    if dtype.itemsize == 0:
        dtype = np.dtype("S3")
    path = tmp_path_factory.mktemp("take") / "rows"
    content = np.random.default_rng(0).bytes(rows * int(np.prod(row)) * dtype.itemsize + 7)
    path.write_bytes(content)
    array = np.frombuffer(content, dtype, offset=7).reshape(rows, *row)
    handle = yammap.MappedArray(path, dtype, (rows, *row), offset=7)
    shape = draws.draw(npst.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5))
    kind = draws.draw(st.sampled_from(["i1", "i8", ">i4"]))
    indices = draws.draw(npst.arrays(kind, shape, elements=st.integers(-rows, rows - 1)))
    taken, expected = handle.take(indices), np.take(array, indices, axis=0)
    assert (taken.dtype, taken.shape) == (expected.dtype, expected.shape)
    assert taken.tobytes() == expected.tobytes()
    out = np.empty(expected.shape, dtype)
    assert handle.take(indices, out, threads=2) is out
    assert out.tobytes() == array[indices.reshape(-1)].tobytes()


@pytest.mark.parametrize("index", [5, -6, 2**40])
def test_take_has_numpys_bounds_errors(path, index):
    array = np.arange(10, dtype="u2").reshape(5, 2)
    array.tofile(path)
    handle = yammap.MappedArray(path, "u2", (5, 2))
    with pytest.raises(IndexError) as theirs:
        np.take(array, [0, index], axis=0)
    with pytest.raises(IndexError) as ours:
        handle.take([0, index])
    assert str(ours.value) == str(theirs.value)
    with pytest.raises(IndexError):
        handle.take([0, index], threads=2)


def test_what_take_refuses(path):
    np.arange(6.0).tofile(path)
    handle = yammap.MappedArray(path, "f8", (3, 2))
    with pytest.raises(TypeError, match="integers"):
        handle.take([0.5])
    for out in (np.zeros((1, 3)), np.zeros((1, 2), "f4")):
        with pytest.raises(ValueError, match="out must have shape"):
            handle.take([0], out)
    unwritable = np.frombuffer(bytes(32)).reshape(2, 2)
    for out, reason in [
        ([[0.0, 0.0]], "not 'list'"),
        (unwritable, "is read-only"),
        (np.zeros((2, 4))[:, ::2], "C-contiguous"),
    ]:
        with pytest.raises(TypeError, match=reason):
            handle.take([0, 1], out)
    with pytest.raises(TypeError, match="length"):
        yammap.MappedArray(path, "f8", ()).take([0])
    assert handle.take([False, True]).tolist() == [[0, 1], [2, 3]]


def test_rows_are_streamed(path):
    array = np.arange(3000, dtype="u2").reshape(-1, 3)
    array.tofile(path)
    handle = yammap.MappedArray(path, "u2", (-1, 3))
    pieces = list(handle.stream(300))
    assert [piece.shape for piece in pieces] == [(300, 3)] * 3 + [(100, 3)]
    assert np.array_equal(np.concatenate(pieces), array)
    assert np.array_equal(np.concatenate(list(handle.stream(10**9))), array)
    assert [p.shape for p in yammap.MappedArray(path, "u2", (5, 0)).stream(2)] == [
        (2, 0),
        (2, 0),
        (1, 0),
    ]
    assert list(yammap.MappedArray(path, "u2", (0, 3)).stream(2)) == []
    assert [p.shape for p in handle.stream(np.uint8(250))] == [(250, 3)] * 4
    with pytest.raises(ValueError, match="rows"):
        handle.stream(0)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(4, 0), (0, 4), (4, 0, 3), (4, 3), (4,), (0,)])
def test_take_is_numpys_for_all_shapes_and_integers(path, shape, order):
    path.write_bytes(np.arange(12.0).tobytes())
    handle = yammap.MappedArray(path, "f8", shape, order=order)
    array = np.arange(float(handle.size)).reshape(shape, order=order)
    rows = [[1, 0], [], 1, [[0, -1], [1, 0]], np.array([1], "u8"), [True, False]]
    for index in rows if shape[0] else [[], np.array([], "u8")]:
        plain = np.asarray(index).astype(np.intp)
        found, expected = handle.take(index), np.take(array, plain, axis=0)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert np.array_equal(found, expected)
    for index in (4, [-5], [2**63], 2**63, [-(2**63)], [2**64], [-(2**70)]):
        with pytest.raises(IndexError):
            handle.take(index)
    for index in ([1.0], ["a"], [None]):
        with pytest.raises(TypeError, match="integers"):
            handle.take(index)


@pytest.mark.parametrize("step", [1, -1])
def test_rows_that_were_cut_off(path, step):
    np.arange(100.0).tofile(path)
    handle = yammap.MappedArray.of(yammap.open_array(path, "f8", "r+")[::step])
    handle.mapping.resize(400)
    with pytest.raises(ValueError, match="not all in"):
        handle.take([0, 99])


# -- append


@pytest.mark.parametrize("name", ["log.bin", "log.npy"])
def test_append_returns_the_longer_array(tmp_path, name):
    path = tmp_path / name
    first = np.arange(6, dtype="<f4").reshape(2, 3)
    yammap.open_array(path, "<f4", "w+", shape=(2, 3))[:] = first
    dtype = None if path.suffix == ".npy" else "<f4"
    handle = yammap.MappedArray(path, dtype, (2, 3), mode="r+")
    view = handle[:]
    longer = handle.append([[7, 8, 9]]).append(np.zeros((0, 3))).append(np.ones((2, 3)))
    assert (handle.shape, longer.shape) == ((2, 3), (5, 3))
    expected = np.concatenate([first, [[7, 8, 9]], np.ones((2, 3))])
    assert np.array_equal(longer, expected)
    assert np.array_equal(travelled(longer), expected)
    assert np.array_equal(travelled(handle), first)
    assert longer.mapping is handle.mapping
    longer[0] = 5
    longer.flush()
    assert view[0].tolist() == [5, 5, 5]
    found = np.fromfile(path, "<f4").reshape(5, 3) if dtype else np.load(path)
    assert np.array_equal(found[1:], expected[1:])


@pytest.mark.parametrize(
    ("rows", "options"),
    [(1, {"order": "F"}), (1, {"strides": (-8, 8)}), (0, {"strides": (-8, 8)})],
)
def test_rows_that_are_added_to_one_or_none_follow_one_another(path, rows, options):
    first = np.arange(3.0 * rows).reshape(rows, 3)
    path.write_bytes(first.tobytes())
    handle = yammap.MappedArray(path, "f8", (rows, 3), mode="r+", **options)
    longer = handle.append([[7, 8, 9], [10, 11, 12]])
    assert np.array_equal(longer, [*first, [7, 8, 9], [10, 11, 12]])


@pytest.mark.parametrize("name", ["log.bin", "log.npy"])
def test_append_to_what_is_not_all_of_the_file(tmp_path, name):
    path = tmp_path / name
    array = yammap.open_array(path, "<f4", "w+", shape=(4, 3))
    whole = yammap.MappedArray.of(array)
    whole.append(np.ones((1, 3)))
    before = path.read_bytes()
    for part in (whole, yammap.MappedArray.of(array[1:]), yammap.MappedArray.of(array[:2])):
        with pytest.raises(ValueError, match="needs an array of the whole file"):
            part.append([[1, 2, 3]])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "error"),
    [([1, 2, 3], ValueError), ([[1, 2]], ValueError), ([["x"] * 3], ValueError)],
)
def test_append_refuses_other_shapes(path, rows, error):
    handle = yammap.MappedArray.of(yammap.open_array(path, "<f4", "w+", shape=(4, 3)))
    with pytest.raises(error):
        handle.append(rows)
    assert path.stat().st_size == 48


def test_append_needs_a_mode_and_a_dimension(path):
    path.write_bytes(bytes(8))
    with pytest.raises(io.UnsupportedOperation, match="'r'"):
        yammap.MappedArray(path).append([1])
    with pytest.raises(TypeError, match="no length"):
        yammap.MappedArray(path, "f8", (), mode="r+").append([1.0])


def test_a_process_killed_while_appending_leaves_the_old_array(tmp_path, child):
    path = tmp_path / "log.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    child(
        """
        import os, yammap
        yammap.Mmap._write_by_call = lambda *_: os._exit(3)
        yammap.MappedArray("log.npy", mode="r+").append([[1, 1, 1], [2, 2, 2]])
        """,
        status=3,
    )
    assert path.stat().st_size == 128 + 4 * 24
    assert np.array_equal(np.load(path), np.arange(6.0).reshape(2, 3))
    log = yammap.MappedArray(path, mode="r+").append([[3, 3, 3]])
    assert np.array_equal(np.load(path), log)
    assert log[2].tolist() == [3, 3, 3]


def test_a_header_without_room_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "old.npy"
    text = b"{'descr':'|u1','fortran_order':False,'shape':(9,)}\n"
    path.write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(9))
    assert np.load(path).shape == (9,)
    handle = yammap.MappedArray(path, mode="r+")
    with pytest.raises(ValueError, match="no room"):
        handle.append([1])
    assert path.stat().st_size == 10 + len(text) + 9


def test_column_major_files_do_not_grow(tmp_path):
    path = tmp_path / "fortran.npy"
    np.save(path, np.zeros((2, 3), order="F"))
    with pytest.raises(ValueError, match="needs an array of the whole file"):
        yammap.MappedArray(path, mode="r+").append([[1, 2, 3]])


def test_threads_append_one_after_the_other(tmp_path, monkeypatch):
    """The second finds a longer array, and so is refused: no row is written over."""
    np.save(tmp_path / "log.npy", np.zeros(0))
    handle = yammap.MappedArray(tmp_path / "log.npy", mode="r+")
    others, write = [], yammap.Mmap._write_by_call

    def while_another_tries(*arguments):
        if not others:
            others.append(pool.submit(handle.append, [2]))
            assert handle.mapping._turn.takers
        return write(*arguments)

    monkeypatch.setattr(yammap.Mmap, "_write_by_call", while_another_tries)
    with ThreadPoolExecutor(2) as pool:
        longer = handle.append([1])
        with pytest.raises(ValueError, match="needs an array of the whole file"):
            others[0].result()
    assert np.load(tmp_path / "log.npy").tolist() == longer[:].tolist() == [1]


# -- Chunks and Dask's name for it


def test_no_chunks_of_nothing(path):
    path.write_bytes(bytes(8))
    handle = yammap.MappedArray(path)
    assert handle.suggest_chunks() == (8,)
    with pytest.raises(ValueError, match="nbytes"):
        handle.suggest_chunks(0)


def test_the_token_is_of_the_file_and_not_of_its_bytes(cube, path):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    token = handle.__dask_tokenize__()
    assert token == travelled(handle).__dask_tokenize__()
    assert not handle._opened
    os.utime(path, ns=(1, 1))
    tokens = {token, handle.__dask_tokenize__()}
    tokens.add(yammap.MappedArray(path, "<i4", cube.shape, 2).__dask_tokenize__())
    tokens.add(yammap.MappedArray(path, "<u4", cube.shape, 3).__dask_tokenize__())
    assert len(tokens) == 4


@pytest.mark.parametrize(
    "name", ["same", "linked", "link", "renamed", "descriptor", "memory"]
)
def test_a_view_of_the_file_is_assigned_as_in_memory_by_whatever_name(
    tmp_path, monkeypatch, name
):
    """NumPy sees by addresses what overlaps, and a file has other ones in each mapping."""
    monkeypatch.chdir(tmp_path)
    np.arange(10).tofile("same")
    if name == "memory":
        m = yammap.anonymous(80)
        view = m.array(int)
        view[:] = range(10)
        handle = yammap.MappedArray.of(view)
    else:
        if name == "linked":
            os.link("same", "linked")
        if name == "link":
            os.symlink("same", "link")
        opened = {"descriptor": os.open("same", os.O_RDWR), "renamed": "same"}.get(
            name, name
        )
        view = yammap.open_array(opened, int, "r+")
        if name == "renamed":
            os.rename("same", name)
        handle = yammap.MappedArray(name if name == "renamed" else "same", int, mode="r+")
    handle[...] = view[::-1]
    assert handle[...].tolist() == [*range(9, -1, -1)]


def test_rows_are_taken_into_the_file_they_come_from(path):
    np.arange(8.0).tofile(path)
    handle = yammap.MappedArray(path, "f8", (-1, 2), mode="r+")
    assert handle.take([1, 0], out=handle[0:2]).tolist() == [[2, 3], [0, 1]]
    assert handle[:2].tolist() == [[2, 3], [0, 1]]


def test_rows_are_taken_into_their_own_indices(path):
    np.arange(4)[::-1].tofile(path)
    handle = yammap.MappedArray(path, int)
    indices = np.array([3, 2, 1, 0])
    assert handle.take(indices, out=indices) is indices
    assert indices.tolist() == [0, 1, 2, 3]


def test_appending_spares_an_array_behind_it(path):
    """NumPy saves many into one file; and those are no rows of a killed append."""
    with open(path, "wb") as file:
        np.save(file, np.zeros(2))
        np.save(file, np.arange(3.0))
    before = path.read_bytes()
    handle = yammap.MappedArray(path, mode="r+")
    with pytest.raises(ValueError, match="another array begins where it ends, at 144"):
        handle.append([1.0, 2.0])
    assert path.read_bytes() == before
