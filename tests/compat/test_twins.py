"""The same random calls on an `mmap.mmap` and on a mapping of `compat`."""

import pytest
import twins
import twins_mmap

from yammap import compat


@pytest.mark.parametrize("kind", twins_mmap.KINDS)
def test_they_do_the_same(tmp_path, kind):
    twins.compare("mmap", tmp_path, kind, calls=1200, seed="test")


class Late(compat.mmap):
    """Its position is wrong behind the first page."""

    def seek(self, *arguments):
        position = super().seek(*arguments)
        return super().seek(position - (position > compat.PAGESIZE))


def test_what_is_not_the_same_is_told_with_the_call_that_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(compat, "mmap", Late)
    with pytest.raises(twins.Difference) as told:
        twins.compare("mmap", tmp_path, "default", calls=6000, seed="test")
    first, *calls = str(told.value).splitlines()
    assert "default, 65536 bytes, seed 'test default" in first
    assert len(calls) == 1
    assert calls[0].startswith("  ('seek")
