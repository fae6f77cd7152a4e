"""What a mapping is of: a window of its file, and no descriptor that is lost."""

import mmap
import os
import resource

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE, PAGE + 1])
@pytest.mark.parametrize("length", [None, 0, 1, 5000])
def test_window(m, path, offset, length):
    data = path.read_bytes()[offset:]
    data = data if length is None else data[:length]
    with yammap.open(path, "r+", offset=offset, length=length) as window:
        assert window.origin == offset
        assert window.size() == len(data)
        assert window.read() == data
        assert bytes(memoryview(window)) == data
        if data:
            window.write_at(b"W", len(data) - 1)
            window.sync()
            assert m.pread(1, offset + len(data) - 1) == b"W"


def test_an_open_window_grows_with_the_file(m, path):
    with yammap.open(path, "r+", offset=16000) as window:
        window.append(b"more")
        assert window.size() == 388
        assert os.stat(path).st_size == 16388
        window.resize(100)
        assert os.stat(path).st_size == 16100


@pytest.mark.parametrize(
    ("window", "text"),
    [
        ({"offset": 16385}, "offset 16385 is past the end"),
        ({"offset": 16000, "length": 385}, "length 385 at offset 16000"),
        ({"length": 2**63}, "length must be between"),
        ({"offset": -1}, "offset must be between"),
    ],
)
def test_window_outside(m, path, window, text):
    with pytest.raises(ValueError, match=text):
        yammap.open(path, **window)


def test_descriptors_are_not_leaked(path):
    def count():
        return len(os.listdir("/proc/self/fd"))

    path.write_bytes(b"x")
    before = count()
    for _ in range(50):
        yammap.open(path, "r+").close()
        yammap.open_array(path)
        with pytest.raises(ValueError, match="past the end"):
            yammap.open(path, offset=2)
        with pytest.raises(OSError, match="directory"):
            yammap.open(path.parent)
        with pytest.raises(TypeError):
            yammap.create(path, "ten")
    assert count() == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > before
