"""Which records two files have: by paths in every mode, and by handles."""

import numpy as np
import pytest

import yammap


@pytest.fixture
def pair(tmp_path):
    return tmp_path / "values", tmp_path / "offsets"


def write(pair, mode, record=b"one"):
    yammap.open_ragged(*pair, mode=mode).append(record)


def read(pair):
    return [record.tobytes() for record in yammap.open_ragged(*pair)]


def test_new_files_are_raw_and_say_all(pair):
    records = yammap.open_ragged(*pair, "<u2", "x+")
    assert len(records) == 0
    assert [path.stat().st_size for path in pair] == [0, 0]
    records.extend([[1, 2], [], [3]])
    assert np.fromfile(pair[0], "<u2").tolist() == [1, 2, 3]
    assert np.fromfile(pair[1], "<i8").tolist() == [0, 2, 2, 3]


def test_modes_are_those_of_files(pair):
    with pytest.raises(FileNotFoundError):
        write(pair, "r+")
    write(pair, "a+")
    write(pair, "a+b", b"two")
    write(pair, "r+", b"three")
    assert read(pair) == [b"one", b"two", b"three"]
    write(pair, "w+", b"new")
    assert read(pair) == [b"new"]


@pytest.mark.parametrize("there", [0, 1])
def test_no_file_is_made_where_one_exists(pair, there):
    pair[there].write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        write(pair, "x+")
    assert pair[there].read_bytes() == b"precious"
    assert not pair[1 - there].exists()


def test_files_that_others_wrote(pair):
    pair[0].write_bytes(b"onethree")
    np.array([0, 3, 3, 8]).tofile(pair[1])
    assert read(pair) == [b"one", b"", b"three"]
    np.array([3, 8]).tofile(pair[1])
    assert read(pair) == [b"three"]


def test_offsets_in_bytes_by_path(pair):
    np.arange(10, dtype="<u4").tofile(pair[0])
    np.array([0, 8, 40]).tofile(pair[1])
    records = yammap.open_ragged(*pair, "<u4", shape=(-1, 2), in_bytes=True)
    assert records[0].tolist() == [[0, 1]]
    assert records.lengths.tolist() == [1, 4]


def test_npy_files_by_their_handles(tmp_path):
    np.save(tmp_path / "values.npy", np.arange(12.0).reshape(6, 2))
    np.save(tmp_path / "offsets.npy", np.array([0, 1, 6], "<u4"))
    paths = tmp_path / "values.npy", tmp_path / "offsets.npy"
    records = yammap.open_ragged(*map(yammap.MappedArray, paths))
    assert records[0].tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="header"):
        yammap.open_ragged(*paths)


@pytest.fixture
def values(path):
    path.write_bytes(bytes(range(24)))
    return yammap.MappedArray(path)


@pytest.mark.parametrize(
    ("terms", "error", "text"),
    [
        ({"mode": "c"}, ValueError, "mode 'c' does not fit"),
        ({"mode": "w"}, ValueError, "write 'w\\+'"),
        ({"shape": 3}, ValueError, "first dimension of a record's shape is -1"),
        ({"shape": (-1, -1)}, ValueError, "the others are numbers"),
        ({"shape": ()}, ValueError, "not \\(\\)"),
        ({"in_bytes": True, "mode": "r+"}, ValueError, "for two paths"),
    ],
)
def test_terms_that_do_not_fit_paths(pair, terms, error, text):
    write(pair, "w+")
    with pytest.raises(error, match=text):
        yammap.open_ragged(*pair, **terms)
    assert read(pair) == [b"one"]


def test_terms_that_do_not_fit_handles(values):
    numbers = values.view("<i8")
    for terms in {"dtype": "u1"}, {"shape": (-1, 2)}:
        with pytest.raises(ValueError, match="leave these out"):
            yammap.open_ragged(values, numbers, **terms)
    with pytest.raises(ValueError, match="have a mode of their own"):
        yammap.open_ragged(values, numbers, mode="r+")
    with pytest.raises(ValueError, match="3 offsets need as many lengths, not 24"):
        yammap.open_ragged(values, numbers, lengths=values)


def test_numbers_that_are_no_offsets(values):
    with pytest.raises(TypeError, match="offsets must be integers, not float64"):
        yammap.open_ragged(values, values.view("f8"))
    with pytest.raises(TypeError, match="lengths must be a MappedArray, not 'ndarray'"):
        yammap.open_ragged(values, values, lengths=np.arange(24))
    with pytest.raises(ValueError, match=r"one dimension, not shape \(2, 12\)"):
        yammap.open_ragged(values, values.reshape(2, 12))


def test_values_whose_rows_are_apart(values):
    apart = values.reshape(4, 6).T
    with pytest.raises(ValueError, match="rows of the values must follow one another"):
        yammap.open_ragged(apart, values)
    columns = yammap.concatenate([values.reshape(4, 6)] * 2, axis=1)
    with pytest.raises(ValueError, match="rows of the values must follow one another"):
        yammap.open_ragged(columns, values)
