"""A file cut short under indexing, slicing, searching and moving."""

import pytest

pytestmark = pytest.mark.no_sanitizer

# Of a file of four pages that was cut to two: the call, the offset that its error names, in
# pages and bytes, and the access.
CALLS = {
    "item": ("m[3 * PAGE]", 3, "read"),
    "negative item": ("m[-1]", (4, -1), "read"),
    "slice": ("m[PAGE : 3 * PAGE]", 2, "read"),
    "small slice": ("m[3 * PAGE : 3 * PAGE + 16]", 3, "read"),
    "slice with a step": ("m[PAGE::PAGE]", 2, "read"),
    "slice backwards": ("m[::-PAGE]", (4, -1), "read"),
    "set item": ("m.__setitem__(3 * PAGE, 1)", 3, "write"),
    "set slice": ("m.__setitem__(slice(3 * PAGE, None), bytes(PAGE))", 3, "write"),
    "set steps": ("m.__setitem__(slice(0, None, PAGE), b'abcd')", 2, "write"),
    "find": ("m.find(b'absent')", 2, "read"),
    "rfind": ("m.rfind(b'absent')", 2, "read"),
    "in": ("b'absent' in m", 2, "read"),
    "move from": ("m.move(0, 2 * PAGE, PAGE)", 2, "read"),
    "move to": ("m.move(2 * PAGE, 0, PAGE)", 2, "write"),
}


@pytest.mark.parametrize("call", CALLS)
def test_bus_error(faulty, call):
    expression, page, access = CALLS[call]
    pages, rest = page if isinstance(page, tuple) else (page, 0)
    faulty(f"""
        m = mapped()
        os.truncate("file", 2 * PAGE)
        error = bus_error(lambda: {expression})
        assert (error.offset, error.access) == ({pages} * PAGE + {rest}, {access!r}), (
            error.offset, error.access)
        assert f"file shrank from {{4 * PAGE}} to {{2 * PAGE}} bytes" in str(error)
        assert os.stat("file").st_size == 2 * PAGE
        assert m.refresh() == len(m) == 2 * PAGE
        m.close()
    """)


def test_found_before_the_cut(faulty):
    """What lies where the file still is needs nothing of the rest, from either end."""
    faulty("""
        m = mapped()
        os.truncate("file", 2 * PAGE)
        assert m.find(b"AB") == PAGE - 1
        assert m.rfind(b"AB", 0, 2 * PAGE) == PAGE - 1
    """)


def test_moved_before_the_fault(faulty):
    """Whole pieces, from the end that comes first."""
    faulty("""
        m = mapped(64)
        before = m[:]
        os.truncate("file", 40 * PAGE)
        error = bus_error(m.move, 0, 16 * PAGE, 48 * PAGE)
        assert (error.offset, error.count) == (40 * PAGE, 24 * PAGE)
        assert m[: 24 * PAGE] == before[16 * PAGE : 40 * PAGE]
        error = bus_error(m.move, 16 * PAGE, 0, 48 * PAGE)
        assert (error.access, error.count) == ("read", 0)
    """)


def test_a_hole_of_a_full_disk(faulty, small_tmpfs):
    """Reading goes on by system call; writing says that there is no room."""
    faulty("""
        m = yammap.create("small/holes", 8 * PAGE, preallocate=False)
        with open("small/filler", "wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(bytes(PAGE)):
                    pass
        assert m[3] == 0 and m[-1] == 0
        assert m[PAGE : 3 * PAGE] == bytes(2 * PAGE)
        assert m[::-PAGE] == bytes(8)
        assert m.rfind(b"x") == -1
        for key, value in ((5 * PAGE, 1), (slice(5 * PAGE, None, PAGE), b"xyz")):
            error = bus_error(m.__setitem__, key, value)
            assert error.errno == errno.ENOSPC and error.offset == 5 * PAGE
        assert bus_error(m.move, 5 * PAGE, 0, 10).errno == errno.ENOSPC
    """)


def test_without_the_guard(faulty):
    """A second handler that insists: everything goes by system call."""
    faulty("""
        m = mapped()
        signal.signal(signal.SIGBUS, lambda *_: None)
        m[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signal.signal(signal.SIGBUS, lambda *_: None)
            next_tick()
            m.view()
        m[0], m[1:4], m[4::PAGE] = 97, b"bcd", b"efgh"
        m.move(PAGE, 0, 5)
        assert m[: 6] == b"abcdeA" and m[4::PAGE] == b"eegh"
        assert m[PAGE : PAGE + 5] == b"abcde"
        assert m.rfind(b"abcd") == PAGE
        os.truncate("file", PAGE)
        assert bus_error(lambda: m[2 * PAGE]).offset == 2 * PAGE
        assert bus_error(m.rfind, b"abcd").access == "read"
    """)
