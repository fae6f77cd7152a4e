"""`MappedArray`: it is an array, it travels, it knows its file again, and it grows."""

import errno
import io
import operator
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import yammap
from yammap._arrays import file_identity
from yammap._arrays.file_identity import locate, reach

SHAPE = (6, 5, 4)
MIB = 1 << 20


@pytest.fixture
def cube(path):
    """An array in a file, at a bad alignment."""
    array = np.arange(120, dtype="<i4").reshape(SHAPE)
    path.write_bytes(b"abc" + array.tobytes() + b"xyz")
    return array


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
    assert repr(handle) == f"MappedArray({str(path)!r}, dtype('int32'), (4, 3, 2), 0)"
    apart = yammap.MappedArray(path, [("x", "<f4")], 3, 4, strides=(8,))
    assert repr(apart).endswith(", dtype([('x', '<f4')]), (3,), 4, strides=(8,))")


def test_fields_may_be_in_any_order(path):
    path.write_bytes(np.array([(1, 2)] * 3, "<i2, <i4").tobytes())
    fields = yammap.open_array(path, "<i2, <i4")[["f1", "f0"]]
    handle = yammap.MappedArray.of(fields)
    assert repr(fields.dtype) in repr(handle)
    tokens = {handle.__dask_tokenize__()}
    tokens.add(yammap.MappedArray(path, "<i2, <i4").__dask_tokenize__())
    assert len(tokens) == 2
    assert travelled(handle)[1].item() == (2, 1)


def test_it_never_changes(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    for name in ("dtype", "shape", "strides", "offset", "path", "mode", "colour"):
        with pytest.raises(AttributeError):
            setattr(handle, name, None)


KEYS = npst.basic_indices(SHAPE, allow_newaxis=True, allow_ellipsis=True) | (
    npst.integer_array_indices(SHAPE)
)


@settings(max_examples=200, deadline=None)
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
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3, "r+")
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


def test_strides_and_order(cube, path):
    column = yammap.MappedArray(path, "<i4", (6, 5), 3 + 4 * 3, strides=(80, 16))
    assert np.array_equal(column, cube[..., 3])
    backwards = yammap.MappedArray(path, "<i4", 120, 3 + 4 * 119, strides=(-4,))
    assert np.array_equal(backwards, cube.ravel()[::-1])
    repeated = yammap.MappedArray(path, "<i4", (7, 2), 3, strides=(0, 4))
    assert np.array_equal(repeated, np.broadcast_to([0, 1], (7, 2)))
    fortran = yammap.MappedArray(path, "<i4", SHAPE, 3, order="F")
    assert np.array_equal(fortran, cube.ravel().reshape(SHAPE, order="F"))


def test_a_small_integer_of_numpys_is_an_offset_like_any(path):
    offset = np.uint8(200)
    yammap.open_array(path, "u1", "w+", 100, offset)[:] = np.arange(100)
    assert path.stat().st_size == 300
    assert yammap.MappedArray(path, "u1", 100, offset)[99] == 99
    assert yammap.MappedArray(path, "u1", 100, offset, strides=(-2,))[99] == 0


def test_a_subarray_dtype_adds_dimensions(cube, path):
    for order in "CF":
        plain = np.ndarray((3, 2), "(4,5)<i4", cube.tobytes(), order=order)
        handle = yammap.MappedArray(path, "(4,5)<i4", (3, 2), 3, order=order)
        assert (handle.shape, handle.dtype) == (plain.shape, plain.dtype)
        assert np.array_equal(handle, plain)
        opened = yammap.open_array(path, "(4,5)<i4", shape=(3, 2), offset=3, order=order)
        assert np.array_equal(opened, plain)
    assert yammap.MappedArray(path, "(3,)u1").shape == (162, 3)
    apart = yammap.MappedArray(path, "(2,)<i4", (6, 5), 3, strides=(80, 16))
    assert np.array_equal(apart, cube[..., :2])


def test_what_is_empty(path):
    path.touch()
    handle = yammap.MappedArray(path, "f8", (0, 3))
    assert np.asarray(handle).shape == handle[:].shape == (0, 3)
    assert list(handle.stream(2)) == []
    assert handle.take([]).shape == (0, 3)
    assert travelled(handle).nbytes == 0


def test_a_handle_compares_no_identities(path):
    """Nor does it compute: what is to be had is said, and nothing is overwritten."""
    np.arange(5).tofile(path)
    handle = yammap.MappedArray(path, np.int64, mode="r+")
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        with pytest.raises(TypeError, match=r"write handle\[\.\.\.\] [=!<>]=? x"):
            getattr(operator, name)(handle, 3)
    with pytest.raises(TypeError, match=r"handle\[\.\.\.\] > x"):
        3 < handle  # noqa: B015, SIM300
    with pytest.raises(TypeError, match=r"handle\[\.\.\.\] != x"):
        handle[handle != 3] = 0
    handle[handle[...] != 3] = 0
    assert handle[...].tolist() == [0, 0, 0, 3, 0]


@pytest.mark.parametrize(
    ("call", "way_out"),
    [
        (lambda h: h + 1, "handle[...] + x"),
        (lambda h: 1 - h, "x - handle[...]"),
        (lambda h: h @ h, "handle[...] @ x"),
        (lambda h: -h, "-handle[...]"),
        (abs, "abs(handle[...])"),
        (lambda h: divmod(7, h), "divmod(x, handle[...])"),
        (lambda h: operator.imul(h, 2), "handle[...] *= x"),
    ],
)
def test_operators_of_a_handle_say_what_to_write(path, call, way_out):
    path.write_bytes(bytes(8))
    with pytest.raises(TypeError) as error:
        call(yammap.MappedArray(path))
    assert str(error.value).endswith(f"write {way_out}")


def test_methods_of_arrays_are_the_arrays(path):
    path.write_bytes(bytes(range(8)))
    handle = yammap.MappedArray(path)
    for name in ("sum", "T", "astype", "tolist"):
        with pytest.raises(AttributeError, match=rf"use handle\[\.\.\.\]\.{name}"):
            getattr(handle, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'colour'$"):
        handle.colour  # noqa: B018
    assert np.sum(handle) == handle[...].sum() == 28  # NumPy asks for the method first
    assert np.array_equal(np.add(handle, 1), np.arange(1, 9))


@pytest.mark.parametrize("left", [np.arange(5), np.array(3), np.int64(3), np.float32(3)])
def test_an_array_or_scalar_of_numpys_takes_a_handle_for_one(path, left):
    np.arange(5).tofile(path)
    handle, array = yammap.MappedArray(path, np.int64), np.arange(5)
    for name in ("eq", "ne", "lt", "add", "sub", "pow"):
        call = getattr(operator, name)
        assert np.array_equal(call(left, handle), call(left, array))


def test_what_asks_a_handle_for_equality_in_silence_is_told(path):
    @dataclass
    class Sample:
        data: yammap.MappedArray

    path.write_bytes(bytes(8))
    handle, other = (yammap.MappedArray(path) for _ in range(2))
    for call in (
        lambda: Sample(handle) == Sample(other),
        lambda: (handle,) == (other,),
        lambda: handle in [1, other],
        lambda: [other].index(handle),
        lambda: {handle},
    ):
        with pytest.raises(TypeError):
            call()


def test_contents_and_truth_are_those_of_the_array(path):
    path.write_bytes(b"\0\1\2")
    handle = yammap.MappedArray(path)
    assert 2 in handle
    assert 3 not in handle
    assert not yammap.MappedArray(path, shape=1)
    assert yammap.MappedArray(path, shape=1, offset=1)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(handle)


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


def test_a_longer_array_is_seen_through_an_open_mapping(path):
    np.arange(10.0).tofile(path)
    short = yammap.MappedArray(path, "f8")
    assert short[9] == 9
    with open(path, "ab") as file:
        file.write(np.arange(10.0).tobytes())
    longer = yammap.MappedArray(path, "f8")
    assert longer[19] == 9
    assert longer.mapping is short.mapping
    os.truncate(path, 100)
    assert "was cut from 160 bytes to 100" in str(stale(lambda: travelled(longer)[0]))


def test_a_relative_path_is_that_of_now(cube, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    handle = yammap.MappedArray(path.name, "<i4", SHAPE, 3)
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


# -- It knows its file again


def stale(call):
    with pytest.raises(OSError, match="not as the array was made of it") as error:
        call()
    assert error.value.errno == errno.ESTALE
    return error.value


def test_another_file_is_noticed(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    with yammap.atomic_create(path, 1000):
        pass
    for call in (lambda: handle[0], lambda: handle.take([0]), lambda: travelled(handle)[0]):
        error = stale(call)
        assert "another file has its path" in str(error)
        assert error.filename == str(path)


@pytest.mark.parametrize("kind", [os.fsdecode, os.fsencode])
def test_its_file_is_the_one_that_open_opens(tmp_path, monkeypatch, kind):
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    (tmp_path / "file").write_bytes(b"near")
    (tmp_path / "far" / "file").write_bytes(b"far")
    monkeypatch.chdir(tmp_path)
    handle = yammap.MappedArray(kind("link/../file"))
    assert np.asarray(handle).tobytes() == b"far"
    assert handle.path == kind(str(tmp_path / "far" / "file"))


def test_a_file_that_became_shorter_is_noticed(cube, path):
    handle = yammap.MappedArray(path, "<i4", 2, 3)
    os.truncate(path, 400)
    assert "it was cut from 486 bytes to 400" in str(stale(lambda: handle[0]))


def test_a_large_piece_of_a_file_that_became_shorter_meanwhile(path):
    yammap.open_array(path, "u1", "w+", MIB)
    handle = yammap.MappedArray(path)
    assert handle[0] == 0
    os.truncate(path, 4096)
    assert "cut from 1048576 bytes to 4096" in str(stale(lambda: handle[:]))


def test_a_file_may_grow(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    with open(path, "ab") as file:
        file.write(bytes(100))
    assert np.array_equal(travelled(handle), cube)


def test_an_open_one_keeps_its_file(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    assert handle[0, 0, 0] == 0
    with yammap.atomic_create(path, 1000):
        pass
    assert np.array_equal(handle, cube)


def test_it_arrives_where_the_file_is_not(cube, path):
    """A scheduler may unpickle it that cannot see the file."""
    pickled = pickle.dumps(yammap.MappedArray(path, "<i4", SHAPE, 3))
    path.unlink()
    assert pickle.loads(pickled).shape == SHAPE
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)[0]


def test_a_file_that_runs_ahead_ends_with_its_data(path):
    with yammap.open(path, "w+", ahead=1 << 16) as m:
        m.append(np.arange(10))
        assert yammap.MappedArray(path, np.int64).shape == (10,)


def made_anew(path):
    """Delete the file, and make it until it has the old inode, at another time."""

    def identity():
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_ino, file_identity.birth(file.fileno())[0]

    content, (inode, born) = path.read_bytes(), identity()
    for _ in range(100_000):
        path.unlink()
        path.write_bytes(bytes(len(content)))
        now = identity()
        if now[0] == inode and now[1] != born:
            return
    pytest.skip("this filesystem does not give an inode again, or tells no time of birth")


def test_another_file_of_the_same_inode_is_noticed(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    pickled = pickle.dumps(handle)
    made_anew(path)
    for call in (lambda: handle[0], lambda: pickle.loads(pickled)[0]):
        assert "since that is free" in str(stale(call))
    assert not yammap.MappedArray(path, "<i4", SHAPE, 3)[...].any()  # the new one


def test_where_nothing_tells_when_a_file_was_made_it_is_known_by_its_inode(
    cube, path, monkeypatch
):
    known = pickle.dumps(yammap.MappedArray(path, "<i4", SHAPE, 3))
    monkeypatch.setattr(file_identity, "birth", lambda _: (0, 0))
    unknown = pickle.dumps(yammap.MappedArray(path, "<i4", SHAPE, 3))
    assert np.array_equal(pickle.loads(known), cube)
    monkeypatch.undo()
    assert np.array_equal(pickle.loads(unknown), cube)
    with yammap.atomic_create(path, 1000):
        pass
    assert "inode" in str(stale(lambda: pickle.loads(unknown)[0]))


@pytest.mark.parametrize(("then", "now"), [(1, 2), (1, 1), (1, 0), (0, 1)])
def test_the_same_inode_of_another_filesystem_is_noticed(
    cube, path, monkeypatch, then, now
):
    monkeypatch.setattr(file_identity, "birth", lambda _: (5, then))
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    monkeypatch.setattr(file_identity, "birth", lambda _: (5, now))
    if then == now or 0 in (then, now):
        assert np.array_equal(handle, cube)
    else:
        assert "of another filesystem" in str(stale(lambda: handle[0]))


def test_what_is_written_to_a_file_makes_no_handle_stale(cube, path):
    sent = pickle.dumps(yammap.MappedArray(path, "<i4", SHAPE, 3))
    writer = yammap.MappedArray(path, "<i4", SHAPE, 3, "r+")
    writer[0] = 7
    writer.flush()
    with open(path, "ab") as file:
        file.write(bytes(100_000))
    os.utime(path, ns=(1, 1))
    path.chmod(0o600)
    path.rename(path.with_name("and back"))
    path.with_name("and back").rename(path)
    assert np.array_equal(pickle.loads(sent), writer)


def test_pickles_of_earlier_versions_are_read(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    path_of, inode, size, *layout = handle.__getstate__()[:7]
    earlier = yammap.MappedArray.__new__(yammap.MappedArray)
    earlier.__setstate__((path_of, inode, size, *layout, "r"))
    pickled = pickle.dumps(earlier)
    for each in (earlier, pickle.loads(pickled)):
        assert np.array_equal(each, cube)
    del earlier, each
    with yammap.atomic_create(path, 1000):
        pass
    assert "inode" in str(stale(lambda: pickle.loads(pickled)[0]))


# -- What caches know it by


def test_a_pickle_is_another_when_the_file_was_written_to(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    before = path.stat()
    seen = {pickle.dumps(handle), pickle.dumps(travelled(handle))}
    assert len(seen) == 1
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock has steps
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    seen.add(pickle.dumps(handle))  # though its time of change was set back
    os.utime(path, ns=(1, 1))
    seen.add(pickle.dumps(handle))
    assert len(seen) == 3
    assert {np.array_equal(pickle.loads(each), cube) for each in seen} == {True}


# -- The handle of an array


@settings(max_examples=200, deadline=None)
@given(draws=st.data(), axes=st.permutations(range(3)))
def test_slices_of_slices_travel(tmp_path_factory, draws, axes):
    path = tmp_path_factory.mktemp("of") / "file"
    array = np.arange(120, dtype="<i4").reshape(SHAPE)
    path.write_bytes(b"abc" + array.tobytes())
    piece = yammap.open_array(path, "<i4", shape=SHAPE, offset=3).transpose(axes)
    for _ in range(3):
        piece = piece[draws.draw(npst.basic_indices(piece.shape, allow_newaxis=True))]
        if not isinstance(piece, np.ndarray):
            return
    handle = travelled(yammap.MappedArray.of(piece))
    assert (handle.dtype, handle.shape, handle.mode) == (piece.dtype, piece.shape, "r")
    assert piece.size == 0 or handle.strides == piece.strides
    assert np.array_equal(handle, piece)


def over_the_mapping(m):
    return np.ndarray(120, "<i4", m, 3)


def from_a_view(m):
    return np.frombuffer(m.view(3, 480), "<i4")


def with_tricks(m):
    return np.lib.stride_tricks.as_strided(m.array("<i4", 120, 3), (60,), (8,))


def of_a_field(m):
    return m.array([("pad", "V3"), ("x", "<i4", 120)], 1)[0]["x"]


@pytest.mark.parametrize(
    "ways",
    [over_the_mapping, from_a_view, with_tricks, of_a_field],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("closing", [False, True])
def test_whatever_way_the_array_was_made(cube, path, ways, closing):
    m = yammap.open(path, "r+")
    array = ways(m)
    if closing:
        m.close()
    handle = travelled(yammap.MappedArray.of(array))
    assert handle.path == str(path)
    assert np.array_equal(handle, array)
    m.close()


def test_an_array_of_an_older_generation(path):
    path.write_bytes(bytes(range(100)))
    m = yammap.open(path, "r+", reserve=0)
    old = np.ndarray(50, np.uint8, m, 50)
    blocker = [yammap.open(path) for _ in range(3)]
    m.resize(1 << 30)
    handle = yammap.MappedArray.of(old)
    assert (handle.offset, handle.mode) == (50, "r+")
    assert np.array_equal(handle, np.arange(50, 100))
    m.close()
    assert np.array_equal(yammap.MappedArray.of(old), np.arange(50, 100))
    del blocker


def test_an_array_of_a_window_and_of_a_handle(cube, path):
    with yammap.open(path, offset=3 + 16) as m:
        assert yammap.MappedArray.of(m.array("<i4", 4)).offset == 19
    with yammap.open(path, offset=19, length=24) as m:
        handle = yammap.MappedArray(m, "<i4", (-1, 2), 8)
        assert np.array_equal(handle, m.array("<i4", (-1, 2), 8))
        for beyond in ({"shape": 7}, {"offset": 4, "shape": 2, "strides": (-8,)}):
            with pytest.raises(ValueError, match=r"24|lie in bytes"):
                yammap.MappedArray(m, "<i4", **beyond)
    piece = yammap.MappedArray(path, "<i4", SHAPE, 3)[2:4, ::-1]
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


@pytest.mark.parametrize(
    "array",
    [np.arange(3), np.frombuffer(b"abc"[:], "u1"), np.arange(9).reshape(3, 3).T[1:]],
    ids=["own", "bytes", "view"],
)
def test_arrays_that_are_not_ours(array):
    with pytest.raises(ValueError, match="not that of a file mapped by yammap"):
        yammap.MappedArray.of(array)


def test_np_memmap_is_not_ours(path):
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match="not that of a file mapped by yammap"):
        yammap.MappedArray.of(np.memmap(path, mode="r"))
    with pytest.raises(TypeError, match="ndarray"):
        yammap.MappedArray.of([1, 2])


def test_a_file_without_its_name_travels_by_its_descriptor(cube, path):
    with yammap.open(path) as m:
        array = m.array("<i4", SHAPE, 3)
        path.rename(path.with_name("renamed"))
        path.write_bytes(bytes(1000))
        handle = yammap.MappedArray.of(array)
    assert handle.path.startswith(f"/proc/{os.getpid()}/fd/")
    assert np.array_equal(travelled(handle), cube)
    with pytest.raises(ValueError, match="no path leads to"):
        yammap.MappedArray.of(array)


def test_a_descriptor_that_is_another_files_by_now(cube, path):
    with yammap.open(path) as m, open(__file__) as other:
        place = locate(m.array())
        path.unlink()
        assert reach(place, "r")[1].size() == 486
        with pytest.raises(ValueError, match="no path leads to"):
            reach(place._replace(fd=other.fileno()), "r")


def test_a_descriptor_has_no_name(cube, path):
    with open(path, "r+b") as file, yammap.open(file.fileno(), "r+") as m:
        handle = yammap.MappedArray.of(m.array("<i4", SHAPE, 3)[1])
    assert np.array_equal(travelled(handle), cube[1])


# -- Memory without a file


def test_anonymous_memory_travels(child):
    source = """
        import pickle, sys, yammap
        handle = pickle.loads(bytes.fromhex({!r}))
        handle[1] = handle[0] + 5
    """
    with yammap.anonymous(100) as m:
        m.write_at(b"\1\2", 8)
        handle = yammap.MappedArray(m, "u1", (5, 2), 8, "r+")
        window = yammap.MappedArray.of(m.array(offset=10))
    child(source.format(pickle.dumps(handle).hex()))
    assert handle[:2].tolist() == [[1, 2], [6, 7]]
    assert window[:2].tolist() == [6, 7]
    pickled = pickle.dumps(handle)
    del handle, window, m
    with pytest.raises(OSError, match="/proc/"):
        pickle.loads(pickled)[0]


def test_large_pieces_of_anonymous_memory_travel():
    with yammap.anonymous(4 * MIB) as m:
        handle = yammap.MappedArray(m, "u1", (4, -1), mode="r+")
    pieces = [yammap.MappedArray.of(handle[i : i + 2]) for i in (0, 2)]
    pieces[1][1] = 7
    assert travelled(pieces[1])[1, -1] == handle[3, 0] == 7


def test_a_mapping_with_a_path_travels_by_it(cube, path):
    for options in ({}, {"keep_fd": False}):
        with yammap.open(path, offset=3, **options) as m:
            handle = yammap.MappedArray(m, "<i4", SHAPE)
        assert (handle.path, handle.offset) == (str(path), 3)
        assert np.array_equal(handle, cube)
    with yammap.open(path, "c") as m, pytest.raises(ValueError, match="give its path"):
        yammap.MappedArray(m)


def test_an_array_of_which_the_end_is_cut_off(cube, path):
    array = yammap.open_array(path)
    os.truncate(path, 100)
    with pytest.raises(ValueError, match=r"ends at byte 486 of .*which has 100 by now"):
        yammap.MappedArray.of(array)
    assert yammap.MappedArray.of(array[:100]).shape == (100,)


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


# -- take and stream, where elements do not follow one another


@settings(max_examples=150, deadline=None)
@given(draws=st.data(), rows=st.integers(1, 9), axes=st.permutations(range(3)))
def test_rows_of_any_layout(tmp_path_factory, draws, rows, axes):
    path = tmp_path_factory.mktemp("rows") / "file"
    np.arange(120, dtype="<i4").tofile(path)
    array = yammap.open_array(path, "<i4", shape=SHAPE).transpose(axes)
    array = array[draws.draw(npst.basic_indices(array.shape, min_dims=1))]
    handle = yammap.MappedArray.of(array)
    pieces = list(handle.stream(rows))
    assert [len(piece) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
    assert np.array_equal(np.concatenate([array[:0], *pieces]), array)
    if len(array):
        elements = st.integers(-len(array), len(array) - 1)
        index = draws.draw(npst.arrays("i8", st.integers(0, 5), elements=elements))
        assert np.array_equal(handle.take(index), array[index])
    with pytest.raises(IndexError):
        handle.take([len(array)])


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
        with pytest.raises(ValueError, match="not all rows of its file"):
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
        os.pwrite = lambda *_: os._exit(3)
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
    with pytest.raises(ValueError, match="not all rows"):
        yammap.MappedArray(path, mode="r+").append([[1, 2, 3]])


def test_threads_append_one_after_the_other(tmp_path, monkeypatch):
    """The second finds a longer array, and so is refused: no row is written over."""
    np.save(tmp_path / "log.npy", np.zeros(0))
    handle = yammap.MappedArray(tmp_path / "log.npy", mode="r+")
    others, pwrite = [], os.pwrite

    def while_another_tries(*arguments):
        if not others:
            others.append(pool.submit(handle.append, [2]))
            assert not pool.submit(handle.mapping._serial.acquire, False).result()
        return pwrite(*arguments)

    monkeypatch.setattr(os, "pwrite", while_another_tries)
    with ThreadPoolExecutor(2) as pool:
        longer = handle.append([1])
        with pytest.raises(ValueError, match="not all rows"):
            others[0].result()
    assert np.load(tmp_path / "log.npy").tolist() == longer[:].tolist() == [1]


# -- Chunks and Dask's name for it


@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    nbytes=st.integers(1, 4000),
    draws=st.data(),
)
def test_chunks_lie_together(tmp_path_factory, shape, nbytes, draws):
    path = tmp_path_factory.mktemp("chunks") / "file"
    array = yammap.open_array(path, "<i2", "w+", shape=tuple(shape), preallocate=False)
    array = array.transpose(draws.draw(st.permutations(range(array.ndim))))
    chunk = yammap.MappedArray.of(array).suggest_chunks(nbytes)
    piece = array[tuple(slice(n) for n in chunk)]
    assert piece.shape == chunk
    assert len(yammap.MappedArray.of(piece)._layout.extent) == piece.nbytes
    assert piece.nbytes <= nbytes or piece.size == 1


def test_no_chunks_of_nothing(path):
    path.write_bytes(bytes(8))
    handle = yammap.MappedArray(path)
    assert handle.suggest_chunks() == (8,)
    with pytest.raises(ValueError, match="nbytes"):
        handle.suggest_chunks(0)


def test_the_token_is_of_the_file_and_not_of_its_bytes(cube, path):
    handle = yammap.MappedArray(path, "<i4", SHAPE, 3)
    token = handle.__dask_tokenize__()
    assert token == travelled(handle).__dask_tokenize__()
    assert not handle._opened
    os.utime(path, ns=(1, 1))
    tokens = {token, handle.__dask_tokenize__()}
    tokens.add(yammap.MappedArray(path, "<i4", SHAPE, 2).__dask_tokenize__())
    tokens.add(yammap.MappedArray(path, "<u4", SHAPE, 3).__dask_tokenize__())
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
    with pytest.raises(ValueError, match="another array begins at 144"):
        handle.append([1.0, 2.0])
    assert path.read_bytes() == before
