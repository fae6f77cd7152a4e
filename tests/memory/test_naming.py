"""The path that errors tell of a file which is known by a descriptor."""

import errno
import os
from contextlib import closing

import pytest

import yammap
from yammap import compat

pytestmark = pytest.mark.no_sanitizer

MAPPED = """
import os, yammap
from yammap import compat
with open("file", "w+b") as file:
    file.truncate(2 * compat.PAGESIZE)
    m = compat.mmap(file.fileno(), 0{options})
view = memoryview(m)

def named():
    try:
        view[-1]
        for _ in range(10**8):
            pass
    except yammap.BusError as error:
        return error.filename
    raise AssertionError
"""


def test_it_is_asked_for_when_it_is_needed(path):
    """So it is where the file is then."""
    path.write_bytes(b"abc")
    with open(path, "rb") as file, compat.mmap(file.fileno(), 0, prot=1) as m:
        path.rename(path.with_name("renamed"))
        assert m.name == os.fspath(path.with_name("renamed"))
        path.with_name("renamed").rename(path)
        assert m.name == os.fspath(path.with_name("renamed"))


def test_of_a_closed_mapping_it_is_what_somebody_asked_for(path):
    path.write_bytes(b"abc")
    with open(path, "rb") as file:
        m, n = (compat.mmap(file.fileno(), 0, prot=1) for _ in range(2))
    assert m.name == os.fspath(path)
    m.close()
    n.close()
    assert (m.name, n.name) == (os.fspath(path), None)


@pytest.mark.parametrize("options", ["", ", trackfd=False"])
@pytest.mark.parametrize("close", ["", "m.close()", "del m"])
def test_a_view_names_the_file_of_a_closed_mapping(child, options, close):
    child(
        MAPPED.format(options=options)
        + f"""
{close}
os.truncate("file", compat.PAGESIZE)
assert named() == os.path.abspath("file"), named()
"""
    )


def test_an_error_that_is_told_late_names_the_file(child):
    """The memory is gone before the interpreter raises."""
    child(
        MAPPED.format(options="")
        + """
m.close()
os.truncate("file", compat.PAGESIZE)
try:
    view[-1]; del view
    for _ in range(10**8):
        pass
except yammap.BusError as error:
    assert error.filename == os.path.abspath("file"), error
else:
    raise AssertionError
"""
    )


def test_where_the_kernel_tells_none_it_is_the_number(path):
    path.write_bytes(b"abc")
    with open(path, "rb") as file, compat.mmap(file.fileno(), 0, prot=1) as m:
        fd = yammap.Mapping.fileno(m)
        os.close(fd)
        assert m.name == fd
        os.dup2(file.fileno(), fd)


def test_names_that_were_given_stay(path):
    path.write_bytes(b"abc")
    with open(path, "rb") as file, yammap.open(file.fileno(), "r") as m:
        assert m.name == file.fileno()
    with closing(yammap.Mapping(os.open(path, os.O_RDONLY), b"own")) as m:
        assert m.name == b"own"


def test_an_error_of_the_kernel_names_the_file(path):
    path.write_bytes(b"abc")
    with (
        open(path, "r+b") as file,
        compat.mmap(file.fileno(), 0) as m,
        pytest.raises(OSError, match="advice 12345") as raised,
    ):
        m.madvise(12345)
    assert (raised.value.errno, raised.value.filename) == (errno.EINVAL, os.fspath(path))
