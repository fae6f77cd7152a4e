"""`concatenate`: which files make one array, and whether they fit together."""

import numpy as np
import pytest

import yammap


def test_a_pattern_is_sorted_by_value(tmp_path):
    for i in range(12):
        np.save(tmp_path / f"part-{i}.npy", [i])
    c = yammap.concatenate(tmp_path / "part-*.npy")
    assert c[...].tolist() == list(range(12))
    with pytest.raises(FileNotFoundError, match="no file matches"):
        yammap.concatenate(tmp_path / "other-*")


def test_headers_of_raw_files_and_flattening(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"head" + np.arange(4, dtype="<u2").tobytes())
    paths = [tmp_path / name for name in "ab"]
    c = yammap.concatenate(paths, dtype="<u2", offset=4)
    assert c[...].tolist() == [0, 1, 2, 3] * 2
    assert len(yammap.concatenate([c, paths[0]], dtype="<u2", offset=4).parts) == 3
    array = yammap.open_array(paths[0], "<u2", offset=4)
    assert yammap.concatenate([array[::-1], array])[:6].tolist() == [3, 2, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("shapes", "axis", "match"),
    [
        ([], 0, "no part"),
        ([(2, 3), (2, 4)], 0, "only dimension 0"),
        ([(2, 3), (2,)], 0, "only dimension 0"),
        ([()], 0, "out of bounds"),
        ([(2,)], 1, "out of bounds"),
    ],
)
def test_parts_that_do_not_fit(tmp_path, shapes, axis, match):
    with pytest.raises(ValueError, match=match):
        arrays = [np.zeros(shape) for shape in shapes]
        for i, array in enumerate(arrays):
            np.save(tmp_path / f"{i}.npy", array)
        yammap.concatenate([tmp_path / f"{i}.npy" for i in range(len(arrays))], axis)


def test_parts_of_other_types_and_modes(tmp_path):
    a = yammap.MappedArray(yammap.anonymous(8), "<i4")
    with pytest.raises(ValueError, match="has dtype"):
        yammap.concatenate([a, yammap.MappedArray(yammap.anonymous(8), "<i8")])
    b = yammap.MappedArray(yammap.anonymous(8), "<i4", mode="r+")
    with pytest.raises(ValueError, match="pass mode="):
        yammap.concatenate([a, b])
    with pytest.raises(ValueError, match="mode must be"):
        yammap.concatenate([a], mode="w")


def test_memory_without_a_path_is_kept():
    handles = [yammap.MappedArray(yammap.anonymous(4), mode="r+") for _ in range(2)]
    c = yammap.concatenate(handles)
    del handles
    c[3:5] = 1, 2
    assert c[...].tolist() == [0, 0, 0, 1, 2, 0, 0, 0]
