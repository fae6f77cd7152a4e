"""What each operation asks first, and the errors that it raises then."""

import io

import pytest

import yammap


def test_a_bad_descriptor_is_not_a_closed_mapping():
    with pytest.raises(OSError, match="Bad file descriptor"):
        yammap.Mapping(-1, "none")


def test_append_mode_takes_nothing_else(path):
    path.write_bytes(b"log")
    with yammap.open(path, "a+") as m:
        for refused in (lambda: m.write_at(b"x", 0), m.punch_hole):
            with pytest.raises(io.UnsupportedOperation, match=r"file.bin.* append mode"):
                refused()
        assert m.readonly
        assert memoryview(m).readonly
        m.truncate(1)
        assert m[:] == b"l"


def test_resize_of_what_has_a_fixed_size(path):
    path.write_bytes(b"x" * 100)
    for options in ({"mode": "r+", "length": 50}, {"mode": "c"}):
        with yammap.open(path, **options) as m:
            with pytest.raises(ValueError, match="fixed size"):
                m.resize(10)
            with pytest.raises(ValueError, match="fixed size"):
                m.write_at(b"xy", m.size() - 1)
            with pytest.raises(ValueError, match="fixed size"):
                m.append(b"x")
            with pytest.raises(ValueError, match="fixed size"):
                m.refresh()
    assert path.read_bytes() == b"x" * 100


CALLS = {
    "read_at": lambda m: m.read_at(bytearray(1), 0),
    "view": lambda m: m.view(),
    "write_at": lambda m: m.write_at(b"x", 0),
    "append": lambda m: m.append(b"x"),
    "resize": lambda m: m.resize(5),
    "sync": lambda m: m.sync(),
    "lock": lambda m: m.lock(),
    "punch_hole": lambda m: m.punch_hole(0, 1),
    "refresh": lambda m: m.refresh(),
    "fileno": lambda m: m.fileno(),
}

# Options of opening, what is refused then, by which exception, and in which words.
REFUSED = [
    (
        {"mode": "r"},
        "write_at append punch_hole",
        io.UnsupportedOperation,
        "read-only",
    ),
    ({"mode": "a+"}, "write_at punch_hole", io.UnsupportedOperation, "append mode"),
    ({"mode": "c"}, "append resize refresh", ValueError, "fixed size"),
    ({"length": 5}, "append resize refresh", ValueError, "fixed size"),
    ({"engine": "pread"}, "lock", io.UnsupportedOperation, "engine is 'pread'"),
    ({"engine": "pread"}, "view", BufferError, "engine is 'pread'"),
    (
        {"keep_fd": False},
        "append resize punch_hole refresh fileno",
        io.UnsupportedOperation,
        r"let go of its descriptor \(keep_fd=False\)",
    ),
]


@pytest.mark.parametrize(("options", "names", "kind", "text"), REFUSED)
def test_an_operation_says_what_it_misses(path, options, names, kind, text):
    path.write_bytes(b"unchanged")
    with yammap.open(path, **{"mode": "r+", **options}) as m:
        for name in names.split():
            with pytest.raises(kind, match=text) as error:
                CALLS[name](m)
            assert "file.bin" in str(error.value)
    assert path.read_bytes() == b"unchanged"


@pytest.mark.parametrize("options", [{}, {"engine": "pread"}, {"keep_fd": False}])
def test_a_closed_mapping_says_so_first(path, options):
    path.write_bytes(b"unchanged")
    m = yammap.open(path, "r+", **options)
    m.close()
    for call in CALLS.values():
        with pytest.raises(ValueError, match=r"the mapping of .*file.bin.* is closed"):
            call(m)


def test_a_range_must_lie_inside(path):
    with yammap.open(path, "w+", size=100) as m:
        for offset, length, text in (
            (101, None, "offset 101 is past the end of .*file.bin.* \\(100 bytes\\)"),
            (100, 1, "1 bytes at offset 100 are not all in .*file.bin.*, which has 100"),
            (1, 2**63 - 1, f"{2**63 - 1} bytes at offset 1 are not all in"),
        ):
            with pytest.raises(ValueError, match=text):
                m.view(offset, length)
        assert len(m.view(100)) == len(m.view(100, 0)) == 0
