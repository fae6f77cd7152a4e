"""Which file an array is in, by which path it travels, and whether it still is the same."""

import errno
import os
import pickle
import re

import numpy as np
import pytest

import yammap
from yammap._arrays import file_identity
from yammap._arrays.file_identity import find_source, locate

MIB = 1 << 20


def travelled(handle):
    return pickle.loads(pickle.dumps(handle))


def stale(call):
    with pytest.raises(OSError, match="not as it was when the array was made") as error:
        call()
    assert error.value.errno == errno.ESTALE
    return error.value


def test_another_file_is_noticed(cube, path):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    with yammap.atomic_create(path, 1000):
        pass
    for call in (lambda: handle[0], lambda: handle.take([0]), lambda: travelled(handle)[0]):
        error = stale(call)
        assert re.search(r"another file has its path, inode \d+ and not \d+", str(error))
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
    yammap.open_array(path, "u1", "w+", shape=MIB)
    handle = yammap.MappedArray(path)
    assert handle[0] == 0
    os.truncate(path, 4096)
    assert "cut from 1048576 bytes to 4096" in str(stale(lambda: handle[:]))


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


def test_a_file_may_grow(cube, path):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    with open(path, "ab") as file:
        file.write(bytes(100))
    assert np.array_equal(travelled(handle), cube)


def test_an_open_one_keeps_its_file(cube, path):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    assert handle[0, 0, 0] == 0
    with yammap.atomic_create(path, 1000):
        pass
    assert np.array_equal(handle, cube)


def test_it_arrives_where_the_file_is_not(cube, path):
    """A scheduler may unpickle it that cannot see the file."""
    pickled = pickle.dumps(yammap.MappedArray(path, "<i4", cube.shape, 3))
    path.unlink()
    assert pickle.loads(pickled).shape == cube.shape
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
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    pickled = pickle.dumps(handle)
    made_anew(path)
    for call in (lambda: handle[0], lambda: pickle.loads(pickled)[0]):
        assert "was given the same inode" in str(stale(call))
    assert not yammap.MappedArray(path, "<i4", cube.shape, 3)[...].any()  # the new one


def test_where_nothing_tells_when_a_file_was_made_it_is_known_by_its_inode(
    cube, path, monkeypatch
):
    known = pickle.dumps(yammap.MappedArray(path, "<i4", cube.shape, 3))
    monkeypatch.setattr(file_identity, "birth", lambda _: (0, 0, True))
    unknown = pickle.dumps(yammap.MappedArray(path, "<i4", cube.shape, 3))
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
    monkeypatch.setattr(file_identity, "birth", lambda _: (5, then, True))
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
    monkeypatch.setattr(file_identity, "birth", lambda _: (5, now, True))
    if then == now or 0 in (then, now):
        assert np.array_equal(handle, cube)
    else:
        assert "of another filesystem" in str(stale(lambda: handle[0]))


def test_what_is_written_to_a_file_makes_no_handle_stale(cube, path):
    sent = pickle.dumps(yammap.MappedArray(path, "<i4", cube.shape, 3))
    writer = yammap.MappedArray(path, "<i4", cube.shape, 3, "r+")
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
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
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


def test_a_pickle_is_another_when_the_file_was_written_to(cube, path):
    handle = yammap.MappedArray(path, "<i4", cube.shape, 3)
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


@pytest.mark.parametrize(
    "array",
    [np.arange(3), np.frombuffer(b"abc"[:], "u1"), np.arange(9).reshape(3, 3).T[1:]],
    ids=["own", "bytes", "view"],
)
def test_arrays_that_are_not_ours(array):
    with pytest.raises(ValueError, match="not in a mapping of yammap"):
        yammap.MappedArray.of(array)


def test_np_memmap_is_not_ours(path):
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match="not in a mapping of yammap"):
        yammap.MappedArray.of(np.memmap(path, mode="r"))
    with pytest.raises(TypeError, match="ndarray"):
        yammap.MappedArray.of([1, 2])


def test_a_file_without_its_name_travels_by_its_descriptor(cube, path):
    with yammap.open(path) as m:
        array = m.array("<i4", cube.shape, 3)
        path.unlink()
        path.write_bytes(bytes(1000))
        handle = yammap.MappedArray.of(array)
    assert handle.path.startswith(f"/proc/{os.getpid()}/fd/")
    assert np.array_equal(travelled(handle), cube)
    with pytest.raises(ValueError, match="no path leads to"):
        yammap.MappedArray.of(array)


def test_a_file_with_another_name_is_found_by_its_descriptor(cube, path):
    with yammap.open(path) as m:
        path.rename(path.with_name("renamed"))
        path.write_bytes(bytes(1000))
        handle = yammap.MappedArray.of(m.array("<i4", cube.shape, 3))
    assert handle.path == str(path.with_name("renamed"))
    assert np.array_equal(travelled(handle), cube)


@pytest.mark.parametrize("closing", [False, True])
def test_another_working_directory(cube, path, monkeypatch, closing):
    np.save(path.with_name("cube.npy"), cube)
    np.savez(path.with_name("cube.npz"), x=cube)
    monkeypatch.chdir(path.parent)
    opened = yammap.open_array("cube.npy"), yammap.open_npz("cube.npz")["x"]
    made = yammap.open_array("new.npy", "<i4", "w+", shape=cube.shape)
    made[...] = cube
    with yammap.open(path.name) as m:
        mapped = m.array("<i4", cube.shape, 3)
        monkeypatch.chdir("/")
        arrays = (*opened, made) if closing else (mapped,)
        handles = [yammap.MappedArray.of(array) for array in arrays]
    for handle in handles:
        assert handle.path.startswith(str(path.parent))
        assert np.array_equal(travelled(handle), cube)


# -- How a file is known again

WAYS = ("file", "sample", "content", "size", None)


def known(handle, path):
    """Whether a handle that travelled takes what is at the path for its file."""
    try:
        found = travelled(handle)[0] is not None
    except OSError as error:
        found = (error.errno, error.filename) != (errno.ESTALE, str(path))
    return found


def replaced(path, content):
    other = path.with_name("other")
    other.write_bytes(content)
    os.replace(other, path)


def changed_at(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_each_policy_knows_its_file(path, size):
    content = np.random.default_rng(0).bytes(size)
    path.write_bytes(content)
    handles = {way: yammap.MappedArray(path, shape=9, identity=way) for way in WAYS}
    assert [handle.identity for handle in handles.values()] == [*WAYS]

    def who_knows():
        return {way for way, handle in handles.items() if known(handle, path)}

    assert who_knows() == {*WAYS}
    with open(path, "ab") as file:
        file.write(bytes(10))
    assert who_knows() == {*WAYS}
    replaced(path, content)
    assert who_knows() == {"sample", "content", "size", None}
    for place in (0, size - 1):
        replaced(path, changed_at(content, place))
        assert who_knows() == {"size", None}
    replaced(path, content[:-1])
    assert who_knows() == {None}


def test_a_sample_misses_what_lies_between_its_places(path):
    content = bytes(3 * MIB)
    path.write_bytes(content)
    handles = [yammap.MappedArray(path, identity=way) for way in ("sample", "content")]
    replaced(path, changed_at(content, 5000))
    assert [known(handle, path) for handle in handles] == [True, False]


def test_what_is_known_by_content_is_not_written(path):
    path.write_bytes(bytes(10))
    for way in ("sample", "content"):
        with pytest.raises(ValueError, match="pass 'file', 'size' or None"):
            yammap.MappedArray(path, mode="r+", identity=way)
        private = yammap.MappedArray(path, mode="c", identity=way)
        private[0] = 7
        assert known(private, path)
    with pytest.raises(ValueError, match="identity must be one of 'file', 'sample'"):
        yammap.MappedArray(path, identity="inode")
    array = yammap.open_array(path, mode="r+")
    assert yammap.MappedArray.of(array, "r", identity="sample").identity == "sample"
    with pytest.raises(ValueError, match="mode 'r\\+'"):
        yammap.MappedArray.of(array, identity="sample")


def test_what_anything_will_do_for_must_still_be_there(path):
    path.write_bytes(bytes(100))
    sent = pickle.dumps(yammap.MappedArray(path, identity=None))
    path.write_bytes(bytes(50))
    with pytest.raises(ValueError, match="not all in"):
        pickle.loads(sent)[0]


def test_layouts_keep_how_the_file_is_known(path):
    path.write_bytes(bytes(8))
    handle = yammap.MappedArray(path, identity="sample")
    assert (
        handle.reshape(2, 4).T.identity == travelled(handle.view("i2")).identity == "sample"
    )


@pytest.mark.parametrize(
    ("born", "written"), [(0, False), (0, True), (5, True), (6, False)]
)
def test_where_inodes_are_made_up_another_one_will_do(path, monkeypatch, born, written):
    """If the file was made at the same time or, where that is unknown, is as it was."""
    path.write_bytes(bytes(100))
    monkeypatch.setattr(file_identity, "birth", lambda _: (min(born, 5), 0, False))
    sent = pickle.dumps(yammap.MappedArray(path))
    times = path.stat().st_mtime_ns + written
    replaced(path, bytes(100))
    os.utime(path, ns=(times, times))
    monkeypatch.setattr(file_identity, "birth", lambda _: (born, 0, False))
    if born == 5 or (born == 0 and not written):
        assert pickle.loads(sent)[0] == 0
    else:
        stale(lambda: pickle.loads(sent)[0])


def test_memory_of_a_worker_that_is_gone(child):
    """Its error says how long such memory can be reached, and what to do instead."""
    sent = child(
        """
        import pickle, yammap
        m = yammap.anonymous(100)
        print(pickle.dumps(yammap.MappedArray(m)).hex())
        """
    )
    with pytest.raises(FileNotFoundError, match=r"lives in process \d+.*/dev/shm") as error:
        pickle.loads(bytes.fromhex(sent))[0]
    assert error.value.filename.startswith("/proc/")


def test_a_descriptor_that_is_another_files_by_now(cube, path):
    with yammap.open(path) as m, open(__file__) as other:
        place = locate(m.array())
        path.unlink()
        assert find_source(place, "r", "file")[1].size() == 486
        with pytest.raises(ValueError, match="no path leads to"):
            find_source(place._replace(fd=other.fileno()), "r", "file")


def test_a_descriptor_has_no_name(cube, path):
    with open(path, "r+b") as file, yammap.open(file.fileno(), "r+") as m:
        handle = yammap.MappedArray.of(m.array("<i4", cube.shape, 3)[1])
    assert np.array_equal(travelled(handle), cube[1])


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
            handle = yammap.MappedArray(m, "<i4", cube.shape)
        assert (handle.path, handle.offset) == (str(path), 3)
        assert np.array_equal(handle, cube)
    with yammap.open(path, "c") as m, pytest.raises(ValueError, match="pass its path"):
        yammap.MappedArray(m)


def test_an_array_of_which_the_end_is_cut_off(cube, path):
    array = yammap.open_array(path)
    os.truncate(path, 100)
    with pytest.raises(ValueError, match=r"ends at byte 486 of .*which has 100 bytes now"):
        yammap.MappedArray.of(array)
    assert yammap.MappedArray.of(array[:100]).shape == (100,)
