"""The same random calls on an `io.FileIO` and on a mapping, while others use the file."""

import os

import pytest
import twins
import twins_file

import yammap


@pytest.mark.parametrize("kind", twins_file.KINDS)
def test_they_do_the_same(tmp_path, kind):
    twins.compare("file", tmp_path, kind, calls=900, seed="test")


class Forgetful(yammap.Mmap):
    """It does not read what others have appended."""

    def readline(self, size=-1, /):
        return super().readline(len(self) - self.tell()) if size == -1 else b""


def test_what_is_not_the_same_is_told_with_the_calls_that_show_it(tmp_path, monkeypatch):
    def opened(path, mode):
        return Forgetful(os.open(path, os.O_RDWR), path)

    monkeypatch.setattr(yammap, "open", opened)
    with pytest.raises(twins.Difference) as told:
        twins.compare("file", tmp_path, "r+", calls=6000, seed="test")
    first, *calls = str(told.value).splitlines()
    assert first.startswith("r+, ")
    assert 1 <= len(calls) <= 4
