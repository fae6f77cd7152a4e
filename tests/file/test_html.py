"""How a notebook shows mappings and handles: facts, and a bar of what is in memory."""

import mmap
import os
import pickle
import re

import numpy as np
import pytest

import yammap
from yammap._file import html

PAGE = mmap.PAGESIZE


def shares(text):
    return [float(share) for share in re.findall(r"rgba\(34,139,34,([\d.]+)\)", text)]


def test_a_mapping_shows_its_facts_and_its_memory():
    with yammap.anonymous(4 * PAGE, "<b>") as m:
        m.write_at(b"x", PAGE)
        text = m._repr_html_()
        assert "memfd:&lt;b&gt;" in text
        assert f"({4 * PAGE:,} bytes)" in text
        assert shares(text) in ([], [0, 1, 0, 0])  # none where there is no cachestat(2)
        assert m.resident().sum() == 1
    assert m._repr_html_() == f"<code>{html.escape(repr(m))}</code>"


def test_huge_files_take_no_longer(tmp_path):
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(8 << 40)
    with yammap.open(path) as m:
        text = m._repr_html_()
        assert "8.0 TiB" in text
        assert len(shares(text)) in (0, 64)


def test_what_the_kernel_does_not_tell_is_left_out(path, monkeypatch):
    def refuse(self, start, count):
        raise PermissionError(1, "hidden", self.name)

    path.write_bytes(b"x" * PAGE)
    with yammap.open(path) as m:
        monkeypatch.setattr(yammap.Mmap, "_cachestat", refuse)
        assert "in memory" not in m._repr_html_()


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_files(path, size):
    path.write_bytes(bytes(size))
    with yammap.open(path) as m:
        assert "<table>" in m._repr_html_()


def test_a_handle_shows_its_array_and_maps_nothing(path):
    np.zeros((4, PAGE), "u1").tofile(path)
    handle = yammap.MappedArray(path, "<f4", (-1, 16), offset=PAGE)
    text = handle._repr_html_()
    assert os.fspath(path) in text
    assert f'<td style="text-align:left">{handle.shape}</td>' in text
    assert "float32" in text
    assert f"from {PAGE:,} on" in text
    assert shares(text) == []
    assert handle[0, 0] == 0
    assert shares(handle._repr_html_()) in ([], [1.0] * 3)


def test_a_handle_is_shown_without_its_file(path):
    path.write_bytes(bytes(64))
    text = pickle.dumps(yammap.MappedArray(path))
    path.unlink()
    assert "(64,)" in pickle.loads(text)._repr_html_()
