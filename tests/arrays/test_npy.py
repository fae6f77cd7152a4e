"""Files of NumPy's own formats: .npy read, made and mapped in place, and .npz mapped."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as npst

import yammap
from yammap._arrays.npy import _said_plainly

RECORD = np.dtype([("x", "<f4"), ("name", "S3"), ("at", "<u2", (2, 2))])


@pytest.fixture
def npy(tmp_path):
    return tmp_path / "array.npy"


def same(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()
    assert not isinstance(found, np.memmap)


# -- Reading

DTYPES = npst.scalar_dtypes() | npst.array_dtypes(allow_subarrays=True)


@pytest.mark.filterwarnings("ignore:Stored array in format")
@settings(max_examples=200)
@given(array=npst.arrays(DTYPES, npst.array_shapes(min_dims=0, min_side=0), fill=None))
def test_what_numpy_saves(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("npy") / "array.npy"
    np.save(path, array)
    if array.dtype.itemsize == 0:
        with pytest.raises(ValueError, match="no size"):
            yammap.open_array(path)
        return
    for found in (yammap.open_array(path), yammap.MappedArray(path)[...]):
        same(np.asarray(found), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<i4", ">f8", RECORD, [("größe", "<f4"), ("é\\", "u1")]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_versions(npy, version, dtype, order):
    array = np.zeros((4, 3), dtype, order)
    array.ravel(order="K").view("u1")[:] = np.arange(array.nbytes)
    with open(npy, "wb") as file:
        np.lib.format.write_array(file, array, version)
    found = yammap.open_array(npy)
    same(found, array)
    assert found.strides == array.strides
    same(yammap.MappedArray(npy)[1:], array[1:])


def test_a_name_that_only_version_3_has(npy):
    array = np.array([(1, 2)], [("数据", "<i4"), ("\N{SNOWMAN}", "<i8")])
    with pytest.warns(UserWarning, match=r"\(3, 0\)|3.0"):
        np.save(npy, array)
    same(yammap.open_array(npy), array)
    log = yammap.MappedArray(npy, mode="r+").append(array)
    assert np.load(npy).tolist() == log[:].tolist() == [(1, 2)] * 2


def test_many_names_that_only_version_3_has(npy):
    """What is said by escapes may be longer than NumPy allows a header to be."""
    array = np.zeros(2, [(f"列☃{i}", "<f8") for i in range(450)])
    with pytest.warns(UserWarning, match=r"3.0"):
        np.save(npy, array)
    assert np.load(npy).dtype == yammap.open_array(npy).dtype == array.dtype
    array = np.zeros(2, [(f"列{i:04}", "<f8") for i in range(600)])
    with pytest.warns(UserWarning, match=r"3.0"):
        np.save(npy, array)
    for load in (np.load, yammap.open_array):
        with pytest.raises(ValueError, match="is large"):
            load(npy)


def test_it_is_mapped_and_not_read(npy):
    np.save(npy, np.zeros(5, RECORD))
    yammap.open_array(npy, mode="r+")["x"] = 7
    assert np.load(npy)["x"].tolist() == [7] * 5
    private = yammap.open_array(npy, mode="c")
    private["x"] = 8
    assert np.load(npy)["x"].tolist() == [7] * 5
    assert yammap.open_array(npy).flags.aligned
    assert not yammap.open_array(npy).flags.writeable


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "<f4"},
        {"shape": (4, 3)},
        {"shape": (-1, 3)},
        {"order": "F"},
        {"dtype": np.float32, "shape": [4, -1]},
    ],
)
def test_what_agrees_with_the_header(npy, options):
    array = np.arange(12, dtype="<f4").reshape((4, 3), order="F")
    np.save(npy, array)
    same(yammap.open_array(npy, **options), array)
    same(yammap.MappedArray(npy, **options)[:], array)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "<f8"},
        {"dtype": ">f4"},
        {"dtype": "u1"},
        {"shape": 12},
        {"shape": (4, 3, 1)},
        {"shape": (3, -1)},
        {"order": "F"},
        {"offset": 128},
    ],
)
def test_what_does_not(npy, options):
    np.save(npy, np.zeros((4, 3), "<f4"))
    for call in (yammap.open_array, yammap.MappedArray):
        with pytest.raises(ValueError, match=r"header") as error:
            call(npy, **options)
        assert str(npy) in str(error.value)
    with pytest.raises(ValueError, match="header"):
        yammap.MappedArray(npy, strides=(12, 4))


def test_bytes_are_of_the_type_that_the_caller_says(npy):
    """NumPy saves types that it does not know, as bfloat16, as so many bytes."""
    halves = np.arange(6, dtype="<u2").reshape(2, 3)
    np.save(npy, halves.view("V2"))
    same(yammap.open_array(npy, "<u2"), halves)
    same(yammap.open_array(npy), halves.view("V2"))
    longer = yammap.MappedArray(npy, "<u2", mode="r+").append([[6, 7, 8]])
    same(longer[2], np.array([6, 7, 8], "<u2"))
    same(np.load(npy), longer[:].view("V2"))
    with pytest.raises(ValueError, match="the header says"):
        yammap.open_array(npy, "<u4")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:7],
        lambda data: data[:60],
        lambda data: data[:-1],
        lambda data: b"\x93NUMPX" + data[6:],
        lambda data: data[:6] + b"\4\0" + data[8:],
        lambda data: data[:6] + b"\3\0" + data[8:10],
        lambda data: data[:6] + b"\3\0\4\0\0\0\xff\xff\xff\xff",
        lambda data: data.replace(b"shape", b"shope"),
        lambda data: data.replace(b"}", b" "),
        lambda data: data.replace(b"(3,)", b"(4,)"),
        lambda data: data.replace(b"(3,)", b"((3,"),
        lambda data: data.replace(b"<f8", b"<08"),
    ],
)
def test_damaged_files(npy, damage):
    np.save(npy, np.zeros(3))
    npy.write_bytes(damage(npy.read_bytes()))
    for call in (yammap.open_array, yammap.MappedArray):
        with pytest.raises(ValueError, match=r"npy file|in \.npy|there are") as error:
            call(npy)
        assert str(npy) in str(error.value)


def test_python_objects_are_refused(npy):
    np.save(npy, np.array([{}]), allow_pickle=True)
    for call in (yammap.open_array, yammap.MappedArray):
        with pytest.raises(TypeError, match="Python objects"):
            call(npy)


def test_the_first_bytes_decide(tmp_path):
    path = tmp_path / "array.bin"
    with open(path, "wb") as file:
        np.save(file, np.arange(3.0))
    for name in (path, str(path), bytes(path)):
        for call in (yammap.open_array, yammap.MappedArray):
            same(call(name)[:], np.arange(3.0))
            same(call(name, "f8")[:], np.arange(3.0))
            with pytest.raises(ValueError, match=r"header says .*yammap\.open\(path\)"):
                call(name, "f4")
    with open(path, "r+b") as file:
        same(yammap.open_array(file.fileno(), mode="r+"), np.arange(3.0))
    same(yammap.open_array(path, mode="a+"), np.arange(3.0))


def test_bytes_as_they_are_of_a_file_with_a_header(npy):
    np.save(npy, np.arange(3, dtype="<i4"))
    with pytest.raises(
        ValueError, match=r"leave out offset; .* yammap\.open\(path\)\.array"
    ):
        yammap.open_array(npy, "<i4", offset=128)
    raw = yammap.open(npy).array("<i4", 3, 128)
    handle = yammap.MappedArray.of(raw)
    assert raw.tolist() == handle[:].tolist() == [0, 1, 2]
    assert yammap.open(npy).array().tobytes() == npy.read_bytes()


def test_a_file_of_another_name_grows_with_its_header(tmp_path):
    path = tmp_path / "log.dat"
    with open(path, "wb") as file:
        np.save(file, np.zeros((2, 3)))
    log = yammap.MappedArray(path, mode="r+").append([[1, 2, 3]])
    log.flush()
    same(np.load(path), log[:])


@pytest.mark.parametrize("content", [b"", b"raw data, and none of NumPy's"])
def test_a_name_that_promises_too_much_is_refused(npy, content):
    npy.write_bytes(content)
    for call in (yammap.open_array, yammap.MappedArray):
        with pytest.raises(
            ValueError, match=r"has no such header; .*yammap\.open"
        ) as error:
            call(npy, "u1")
        assert str(npy) in str(error.value)
    assert yammap.open(npy).array().tobytes() == content


@pytest.mark.parametrize("name", ["pair.npz", "archive"])
@pytest.mark.parametrize("arrays", [{}, {"x": np.arange(3)}])
def test_an_archive_is_no_array(tmp_path, name, arrays):
    path = tmp_path / name
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    for call in (yammap.open_array, yammap.MappedArray):
        for dtype in (None, "u1"):
            with pytest.raises(ValueError, match=r"archive: call open_npz.*yammap\.open"):
                call(path, dtype)
        assert len(call(path, offset=1)) == path.stat().st_size - 1
    with open(path, "rb") as file, pytest.raises(ValueError, match="open_npz"):
        yammap.open_array(file.fileno())
    assert len(yammap.open_npz(path)) == len(arrays)


# -- Making


@pytest.mark.parametrize("shape", [(), 7, (0,), (0, 3), (2, 3, 4), (10**6, 1)])
@pytest.mark.parametrize("dtype", [None, "<f8", RECORD, "(2,)<i2", [("数", "<i4")]])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_what_numpy_loads(npy, shape, dtype, order):
    made = yammap.open_array(npy, dtype, "w+", shape=shape, order=order)
    expected = np.zeros(shape, np.dtype(dtype or "u1"), order)
    same(np.load(npy), expected)
    if made.size:
        assert made.strides == expected.strides
        made.reshape(-1, order="A").view("u1")[-1] = 1
        assert np.array_equal(np.load(npy), made)
    assert npy.stat().st_size == np.load(npy, mmap_mode="r").nbytes + len(header(npy))
    with pytest.raises(FileExistsError):
        yammap.open_array(npy, dtype, "x+", shape=shape)


def header(path):
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
        return path.read_bytes()[: file.tell() + length]


def test_a_new_file_is_as_numpy_would_have_it(npy, tmp_path):
    yammap.open_array(npy, "<f8", "w+", shape=(3, 4))[:] = 1
    np.save(tmp_path / "numpys.npy", np.ones((3, 4)))
    ours, theirs = npy.read_bytes(), (tmp_path / "numpys.npy").read_bytes()
    assert len(ours) == len(theirs)
    assert ours[128:] == theirs[128:]


@pytest.mark.parametrize(
    ("dtype", "options", "error"),
    [
        ("f8", {}, ValueError),
        ("f8", {"shape": (3, -1)}, ValueError),
        ("O", {"shape": 3}, TypeError),
        ("S0", {"shape": 3}, ValueError),
        ("f8", {"shape": 3, "offset": 8}, ValueError),
    ],
)
def test_a_refused_file_is_not_made(npy, dtype, options, error):
    with pytest.raises(error):
        yammap.open_array(npy, dtype, "w+", **options)
    assert not npy.exists()


# -- .npz


@pytest.fixture
def arrays():
    return {
        "x": np.arange(1000, dtype="<f8"),
        "records": np.zeros((3, 2), RECORD),
        "fortran": np.arange(12, dtype=">i4").reshape((3, 4), order="F"),
        "empty": np.zeros((0, 3)),
        "scalar": np.array(5),
    }


@pytest.fixture
def npz(tmp_path, arrays):
    np.savez(tmp_path / "arrays.npz", **arrays)
    return tmp_path / "arrays.npz"


def test_members_are_mapped_in_place(npz, arrays):
    found = yammap.open_npz(npz)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        same(found[name], array)
        assert array.size == 0 or found[name].strides == array.strides
        assert not found[name].flags.owndata
    x = yammap.MappedArray.of(found["x"])
    assert npz.read_bytes()[x.offset :].startswith(arrays["x"].tobytes())
    assert found["x"].sum() == arrays["x"].sum()  # at whatever address
    assert not found["x"].flags.writeable


def test_changes_to_members_stay_in_memory(npz):
    before = npz.read_bytes()
    found = yammap.open_npz(npz, "c")
    found["x"][:] = 0
    assert npz.read_bytes() == before
    with pytest.raises(ValueError, match="checksum"):
        yammap.open_npz(npz, "r+")


def test_compressed_members_are_refused(tmp_path, arrays):
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    with pytest.raises(ValueError, match=r"small.npz/x.npy' is compressed.*numpy.load"):
        yammap.open_npz(tmp_path / "small.npz")


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def test_members_that_are_no_arrays(npz):
    archive(npz, text=b"not an array")
    with pytest.raises(ValueError, match=r"arrays.npz/text'.*cannot read the header"):
        yammap.open_npz(npz)
    archive(npz, objects=saved(np.array([{}])))
    with pytest.raises(TypeError, match="Python objects"):
        yammap.open_npz(npz)


def test_a_member_does_not_reach_into_the_next(npz):
    """A header that promises more than its member has would show another's bytes."""
    archive(npz, x=saved(np.zeros(9)).replace(b"(9,)", b"(99,)"), y=saved(np.ones(999)))
    with pytest.raises(ValueError, match=r"arrays.npz/x': the array needs bytes"):
        yammap.open_npz(npz)


def test_an_archive_behind_something_else(npz, arrays):
    npz.write_bytes(b"#!/bin/sh\n" + npz.read_bytes())
    same(yammap.open_npz(npz)["x"], arrays["x"])


def test_an_archive_of_nothing(npz):
    np.savez(npz)
    assert yammap.open_npz(npz) == {}


def test_no_archive(npz):
    npz.write_bytes(npz.read_bytes().replace(b"PK\3\4", b"PK\7\7"))
    with pytest.raises(zipfile.BadZipFile, match="is not where"):
        yammap.open_npz(npz)
    npz.write_bytes(b"")
    with pytest.raises(zipfile.BadZipFile, match=r"arrays.npz"):
        yammap.open_npz(npz)


# -- Headers that need no parser of Python


@given(array=npst.arrays(npst.scalar_dtypes(), npst.array_shapes(min_dims=0, min_side=0)))
def test_a_plain_header_says_what_numpy_reads(array):
    file = io.BytesIO()
    np.save(file, array)
    file.seek(10)
    text = file.read(int.from_bytes(file.getvalue()[8:10], "little"))
    file.seek(8)
    found, expected = _said_plainly(text), np.lib.format.read_array_header_1_0(file)
    assert found in (expected, None)
    assert found is not None or array.dtype.kind in "mM" or array.dtype.itemsize == 0


PLAIN = "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(3,)", "(3)"),
        ("(3,)", "(03,)"),
        pytest.param(
            "(3,)",
            "(-3,)",
            marks=pytest.mark.skipif(
                np.lib.NumpyVersion(np.__version__) < "1.25.0", reason="NumPy reads it then"
            ),
        ),
        ("(3,)", "3"),
        ("<f8", "<f3"),
        ("<f8", "<f08"),
        ("<f8", "<M8"),
        ("<f8", "|O8"),
        ("<f8", "|O"),
        ("'<f8'", "[('a', '<f8')]"),
        ("False", "0"),
        ("False", "Maybe"),
        ("'descr': '<f8', ", ""),
        (", }", ", 'more': 1}"),
    ],
)
def test_other_headers_are_left_to_numpy(npy, old, new):
    assert _said_plainly(PLAIN.encode() + b"  \n") is not None
    text = PLAIN.replace(old, new).encode() + b"  \n"
    assert _said_plainly(text) is None
    data = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(24)
    npy.write_bytes(data)
    try:
        expected = np.load(npy)
    except (ValueError, TypeError):
        with pytest.raises((ValueError, TypeError)):
            yammap.open_array(npy)
    else:
        same(yammap.open_array(npy), expected)


@pytest.mark.parametrize("cut", [0, 5, 7, 9, 11, 60, 127])
def test_a_header_that_is_cut_off(npy, cut):
    np.save(npy, np.zeros(0))
    text = npy.read_bytes()[:cut]
    npy.write_bytes(text[:-1] + b"\n" if cut == 127 else text)
    with pytest.raises(ValueError, match=r"header"):
        yammap.open_array(npy)
