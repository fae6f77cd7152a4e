"""The core by offset: reads, writes, growth, windows, ranges, and what they refuse."""

import errno
import io
import mmap
import os
import resource

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.fixture
def m(path):
    with yammap.open(path, "w+") as m:
        m.write(bytes(range(256)) * 64)
        yield m


# -- read_at, pread


@pytest.mark.parametrize("length", [0, 1, 16, PAGE, 10_000])
@pytest.mark.parametrize("offset", [0, 1, 255, PAGE - 1, PAGE])
def test_read_at_and_pread_agree_with_the_file(m, path, offset, length):
    expected = path.read_bytes()[offset : offset + length]
    buffer = bytearray(length)
    for _ in range(2):  # the second time from pages known to be hot
        assert m.read_at(buffer, offset) == length
        assert buffer == expected
        assert m.pread(length, offset) == expected


def test_read_at_the_end_is_short(m):
    buffer = bytearray(b"-" * 10)
    with pytest.raises(yammap.ShortRead, match=r"10 bytes .* only 4") as error:
        m.read_at(buffer, 16380)
    assert error.value.count == 4
    assert buffer == b"\xfc\xfd\xfe\xff------"


@pytest.mark.parametrize("offset", [16384, 16385, 1 << 40, 2**63 - 1])
def test_reads_past_the_end(m, offset):
    assert m.pread(10, offset) == b""
    assert m.read_at(bytearray(), offset) == 0
    with pytest.raises(yammap.ShortRead) as error:
        m.read_at(bytearray(1), offset)
    assert error.value.count == 0


def test_pread_of_more_than_there_is_allocates_only_what_there_is(m):
    assert len(m.pread(2**62, 4)) == 16380


def test_read_at_takes_any_writable_buffer(m):
    whole = bytearray(8)
    m.read_at(memoryview(whole)[2:6], 1)
    assert whole == b"\0\0\1\2\3\4\0\0"


@pytest.mark.parametrize(
    "target", [b"read-only", "text", None, memoryview(bytearray(8))[::2]]
)
def test_read_at_refuses(m, target):
    with pytest.raises(TypeError, match=r"buffer|bytes-like"):
        m.read_at(target, 0)


def test_the_mapping_is_a_buffer_for_itself(m):
    m.write_at(memoryview(m)[0:100], 50)
    assert m.pread(100, 50) == bytes(range(100))


# -- write_at


@pytest.mark.parametrize("offset", [0, 100, 16380, 16384, 20_000, 3 * PAGE + 5])
def test_write_at_grows_to_exactly_what_is_needed(m, path, offset):
    model = bytearray(path.read_bytes())
    model.extend(bytes(max(0, offset + 10 - len(model))))
    model[offset : offset + 10] = b"0123456789"
    assert m.write_at(b"0123456789", offset) == 10
    assert m.size() == len(model)
    assert path.read_bytes() == model
    assert m.pread(len(model), 0) == model


def test_writing_nothing_does_not_grow(m):
    assert m.write_at(b"", 1 << 30) == 0
    assert m.size() == 16384


def test_write_at_takes_any_contiguous_buffer(m):
    m.write_at(memoryview(b"abcdef")[2:4], 0)
    assert m.pread(3, 0) == b"cd\2"
    with pytest.raises(TypeError, match="contiguous"):
        m.write_at(memoryview(b"abcdef")[::2], 0)


@pytest.mark.parametrize("offset", [0, 1, PAGE + 7])
@pytest.mark.parametrize("hot", [[], [0], [1 << 20, 5 << 20]])
def test_large_writes_into_pages_hot_and_cold(path, offset, hot):
    """Pages in memory are written by memory copies, others by system calls."""
    size = 6 << 20
    data = os.urandom(size)
    with yammap.create(path, size + 10_000) as m:
        for touched in hot:
            m.write_at(bytes(7), touched)
        assert m.write_at(data, offset) == size
        expected = bytes(offset) + data + bytes(10_000 - offset)
        assert m.pread(size + 10_000, 0) == expected
        assert m.write_at(data, 10_005) == size
        assert m.pread(size, 10_005) == data
        assert path.read_bytes()[10_005:] == data


def test_large_writes_in_memory_only(path):
    path.write_bytes(bytes(4 << 20))
    data = os.urandom(3 << 20)
    with yammap.open(path, "c") as m:
        m.madvise(yammap.MADV_PAGEOUT)
        m.write_at(data, 77)
        assert m.pread(3 << 20, 77) == data
    assert path.read_bytes() == bytes(4 << 20)


# -- Offsets: FAULTS 46


BAD_OFFSETS = [
    (-1, ValueError, "-1"),
    (-(2**63) - 1, ValueError, "negative"),
    (2**63, ValueError, "beyond the largest"),
    (10**30, ValueError, "beyond the largest"),
    (1.0, TypeError, "float"),
    ("1", TypeError, "str"),
    (None, TypeError, "None"),
]


@pytest.mark.parametrize(("offset", "kind", "text"), BAD_OFFSETS)
def test_46_bad_offsets(m, offset, kind, text):
    calls = [
        lambda: m.read_at(bytearray(1), offset),
        lambda: m.pread(1, offset),
        lambda: m.pread(offset, 0),
        lambda: m.write_at(b"x", offset),
        lambda: m.resize(offset),
        lambda: m.sync(offset),
        lambda: m.madvise(yammap.MADV_NORMAL, offset),
        lambda: m.view(offset),
        lambda: m.resident(offset),
        lambda: m.warm(offset),
        lambda: m.populate(offset),
        lambda: m.evict(offset),
    ]
    for call in calls:
        with pytest.raises(kind, match=text):
            call()
    assert m.size() == 16384


def test_46_offsets_that_overflow_when_added(m):
    for offset in (2**63 - 1, 2**62, 2**63 - PAGE):
        with pytest.raises(OSError, match=r"too large|allocate memory") as error:
            m.write_at(b"xy", offset)
        assert error.value.errno in (errno.EFBIG, errno.ENOMEM)
        assert error.value.filename == m.name
    with pytest.raises(OSError, match="File too large"):
        m.resize(2**63 - 1)
    assert m.size() == 16384


def test_46_a_file_too_large_for_any_address_space():
    fd = os.memfd_create("large")
    with yammap.Mmap(os.dup(fd), "large") as m:
        os.truncate(fd, 2**63 - 1)
        with pytest.raises(OSError, match="File too large: 'large'"):
            m.refresh()
        assert m.size() == 0
    with pytest.raises(OSError, match="File too large: 'large'"):
        yammap.Mmap(os.dup(fd), "large")
    with yammap.Mmap(fd, "large", offset=2**62 + 1, length=9) as m:
        assert m[:] == bytes(9)


INDEXED = {
    "read_at": lambda m, index: m.read_at(bytearray(1), index),
    "pread size": lambda m, index: m.pread(index, 0),
    "pread offset": lambda m, index: m.pread(1, index),
    "write_at": lambda m, index: m.write_at(b"x", index),
    "resize": lambda m, index: m.resize(index),
    "find": lambda m, index: m.find(b"x", 0, index),
    "view": lambda m, index: m.view(0, index),
    "sync": lambda m, index: m.sync(index),
}


@pytest.mark.parametrize("call", INDEXED.values(), ids=INDEXED)
def test_46_an_index_is_converted_before_the_mapping_is_read(m, call):
    class Closing:
        def __index__(self):
            m.close()
            return 0

    with pytest.raises(ValueError, match="closed"):
        call(m, Closing())


RANGES = [
    *["sync", "view", "resident", "lock", "unlock", "allocate", "punch_hole"],
    *["warm", "populate", "evict"],
]


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(
    ("offset", "length"), [(16385, 0), (0, 16385), (16384, 1), (1, 2**63 - 1)]
)
def test_46_ranges_outside(m, name, offset, length):
    with pytest.raises(
        ValueError, match=r"(not all in|past the end of) .*file.bin.*16384 bytes"
    ):
        getattr(m, name)(offset, length)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 0), (16384, 0), (16384, None), (1, 1), (4097, 777)],
)
def test_46_ranges_of_any_alignment(m, name, offset, length):
    getattr(m, name)(offset, length)


# -- append


def test_append_tells_where(m, path):
    assert m.append(b"one") == 16384
    assert m.append(b"") == 16387
    assert m.append(b"two") == 16387
    assert path.read_bytes()[16384:] == b"onetwo"


def test_append_mode_sees_what_others_append(path):
    with yammap.open(path, "a+") as one, yammap.open(path, "a+") as two:
        assert one.append(b"one") == 0
        assert two.append(b"two") == 3
        assert one.size() == 3
        assert one.refresh() == 6
        assert one.read() == b"onetwo"
        assert one.append(b"") == 6


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


# -- resize


def test_resize(m, path):
    m.resize(20_000)
    assert m.size() == os.stat(path).st_size == 20_000
    assert m.pread(20_000, 16384) == bytes(20_000 - 16384)
    m.resize(0)
    m.resize(0)
    assert path.read_bytes() == b""
    m.resize(5)
    assert m.pread(9, 0) == bytes(5)


@pytest.mark.parametrize("size", [PAGE + 100, PAGE])
def test_bytes_cut_off_come_back_as_zeros(m, size):
    m.resize(size)
    m.resize(3 * PAGE)
    assert m.pread(3 * PAGE, size) == bytes(3 * PAGE - size)


@pytest.mark.parametrize("step", [1, PAGE, 1 << 20])
def test_growth_has_blocks(path, step):
    with yammap.open(path, "w+") as m:
        m.resize(step)
        m.sync()
        assert os.stat(path).st_blocks * 512 >= step


def test_blocks_ahead_of_growth_are_few(path):
    with yammap.open(path, "w+", size=1 << 20) as m:
        m.sync()
        assert os.stat(path).st_blocks * 512 < (1 << 20) + PAGE + 1
        for step in range(100):
            m.resize((1 << 20) + step * PAGE)
        m.sync()
        used = os.stat(path).st_blocks * 512
        assert m.size() <= used <= m.size() + (1 << 16) + PAGE
        m.resize(PAGE)
        assert os.stat(path).st_blocks * 512 <= 2 * PAGE


def test_growth_without_preallocation_is_sparse(path):
    with yammap.open(path, "w+", preallocate=False) as m:
        m.resize(1 << 30)
        assert os.stat(path).st_blocks * 512 < 1 << 20
        assert m.pread(4, 1 << 29) == bytes(4)


def test_sparse_growth_does_not_cut_what_another_appended(path):
    with yammap.open(path, "w+", preallocate=False) as m:
        path.write_bytes(b"x" * 1000)
        m.resize(500)
        assert os.stat(path).st_size == 1000


@pytest.mark.parametrize("use", ["write", "write_at"])
def test_a_gap_is_a_hole(path, use):
    with yammap.open(path, "w+") as m:
        m.write(b"start")
        if use == "write":
            m.seek(1 << 20)
            m.write(b"end")
        else:
            m.write_at(b"end", 1 << 20)
        m.sync()
        assert os.stat(path).st_blocks * 512 < 1 << 18
        assert m.pread(4, (1 << 20) - 1) == b"\0end"


def test_what_is_added_by_resizing_has_blocks_behind_a_hole_too(path):
    with yammap.open(path, "w+") as m:
        m.write_at(b"end", 1 << 20)
        m.resize(2 << 20)
        m.sync()
        assert 1 << 20 <= os.stat(path).st_blocks * 512 < 2 << 20


def test_failed_growth_changes_nothing(child):
    # RLIMIT_FSIZE stands for any failure in the middle: pwrite comes back short.
    child("""
        import errno, os, resource, yammap
        m = yammap.open("limited", "w+")
        m.write(b"kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        for grow in (lambda: m.write_at(b"x" * 200, 2), lambda: m.append(b"x" * 200),
                     lambda: m.resize(200), lambda: m.write_at(b"x", 150),
                     lambda: m.resize(1 << 20)):
            try:
                grow()
            except OSError as error:
                assert error.errno == errno.EFBIG, error
                assert error.filename == "limited"
            else:
                raise AssertionError
            assert m.size() == os.stat("limited").st_size == 4
            assert m.pread(10, 0) == b"kept"
        m.append(b"!")
        assert m.pread(10, 0) == b"kept!"
    """)


def test_failed_append_changes_nothing(child):
    child("""
        import os, resource, yammap
        m = yammap.open("limited", "a+")
        m.write(b"kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            m.append(b"x" * 200)
        except OSError:
            pass
        else:
            raise AssertionError
        assert m.size() == os.stat("limited").st_size == 4
        assert m.append(b"!") == 4
    """)


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


# -- Sizes beyond 32 bits


@pytest.mark.parametrize("base", [1 << 32, (1 << 32) - 3, 5 << 30])
def test_beyond_4_gib(path, base):
    with yammap.open(path, "w+", preallocate=False) as m:
        m.write_at(b"far away", base)
        assert m.size() == base + 8
        assert m.pread(100, base) == b"far away"
        assert m.find(b"away", base - 10) == base + 4
        view = m.view(base + 4)
        m.write_at(b"AWAY", base + 4)
        assert bytes(view) == b"AWAY"
        m.sync(base, 8)
    with yammap.open(path, offset=base + 1) as m:
        assert m.read() == b"ar AWAY"


def test_a_sparse_file_of_8_tib(path):
    size = 8 << 40
    with yammap.open(path, "w+", size=size, preallocate=False) as m:
        m.write_at(b"last", size - 4)
        assert m.pread(8, size - 4) == b"last"
        m.append(b"!")
        assert m.size() == size + 1


# -- Windows


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


# -- refresh


def test_refresh_sees_growth_and_shrinking(m, path):
    with yammap.open(path) as reader:
        view = reader.view(0, 10)
        m.append(b"new")
        assert reader.size() == 16384
        assert reader.refresh() == 16387
        assert reader.pread(9, 16384) == b"new"
        m.resize(10)
        assert reader.refresh() == 10
        assert reader.read() == bytes(view)


# -- Pages


def test_sync_reaches_the_file(m, path):
    m.view()[100:103] = b"abc"
    m.sync(100, 3)
    m.sync(wait=False)
    m.flush()
    assert path.read_bytes()[99:104] == b"cabcg"


def test_copy_on_write_stays_in_memory(path):
    path.write_bytes(b"original")
    with yammap.open(path, "c") as m:
        m.write(b"ORI")
        m.array()[3:5] = 88
        assert m.pread(8, 0) == b"ORIXXnal"
        m.sync()
        for refused in (m.allocate, m.punch_hole):
            with pytest.raises(io.UnsupportedOperation, match="copy-on-write"):
                refused()
    assert path.read_bytes() == b"original"


@pytest.mark.parametrize(
    "advice", ["NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "DONTNEED"]
)
def test_madvise(m, advice):
    data = m.pread(16384, 0)
    m.madvise(yammap.Advice[advice])
    m.madvise(yammap.Advice[advice], 4097, 5)
    assert m.pread(16384, 0) == data


@pytest.mark.parametrize("advice", ["FREE", "REMOVE", "HWPOISON"])
def test_madvise_refuses_to_destroy(m, advice):
    with pytest.raises(ValueError, match="destroys data"):
        m.madvise(yammap.Advice[advice])


def test_madvise_refuses_to_drop_private_changes(path):
    path.write_bytes(b"x" * PAGE)
    with yammap.open(path, "c") as m:
        m.write(b"mine")
        with pytest.raises(ValueError, match="destroys data"):
            m.madvise(yammap.MADV_DONTNEED)
        assert m.pread(4, 0) == b"mine"


def test_wipe_on_fork_is_for_anonymous_memory():
    m = yammap.anonymous(PAGE)
    with pytest.raises(OSError) as error:  # noqa: PT011
        m.madvise(yammap.MADV_WIPEONFORK)
    assert error.value.errno == errno.EINVAL


def test_madvise_unknown(m):
    # 24 and 102 drop private changes and make the next access a segmentation fault.
    for number in (12345, -1, 24, 102):
        with pytest.raises(
            ValueError, match=f"advice {number} is unknown, or destroys data"
        ):
            m.madvise(number)


def test_madvise_that_the_kernel_refuses(m):
    with pytest.raises(OSError, match="Invalid argument") as error:
        m.madvise(yammap.MADV_MERGEABLE, 0, 0) or m.madvise(yammap.MADV_COLLAPSE, 0, 1)
    assert (error.value.errno, error.value.filename) == (errno.EINVAL, m.name)


def vma_flags(address):
    """The VmFlags line of the mapping at an address."""
    inside = False
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            first, _, rest = line.partition("-")
            if rest and not line.startswith(" ") and ":" not in first:
                inside = int(first, 16) <= address < int(rest.split()[0], 16)
            elif inside and line.startswith("VmFlags:"):
                return line.split()[1:]
    raise AssertionError("no such mapping")


def address_of(m):
    return m.array().__array_interface__["data"][0]


def test_advice_holds_for_what_the_mapping_grows_by(path):
    with yammap.open(path, "w+", size=PAGE, reserve=PAGE, advice=yammap.MADV_RANDOM) as m:
        assert "rr" in vma_flags(address_of(m))
        m.resize(64 << 20)
        assert "rr" in vma_flags(address_of(m))
        assert "rr" in vma_flags(address_of(m) + (64 << 20) - 1)


def test_populate(path):
    path.write_bytes(b"x" * (64 * PAGE))
    with yammap.open(path, populate=True) as m:
        assert m.resident().tolist() == [True] * 64
    with yammap.open(path.with_name("empty"), "w+", populate=True) as m:
        assert m.resident().size == 0


@pytest.mark.no_sanitizer
def test_lock_and_its_limit(child):
    child("""
        import errno, os, resource, yammap
        m = yammap.anonymous(1 << 20)
        m.lock(5, 10)
        m.unlock()
        os.setuid(65534)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        try:
            m.lock()
        except OSError as error:
            assert error.errno in (errno.ENOMEM, errno.EPERM), error
        else:
            raise AssertionError
    """)


def test_punch_hole_and_allocate(m, path):
    m.append(b"x" * (8 << 20))
    m.sync()
    full = os.stat(path).st_blocks
    m.punch_hole(2 << 20, 4 << 20)
    assert os.stat(path).st_blocks < full  # before reading, which allocates on tmpfs
    assert m.find(b"\0" * (4 << 20), 16384) == 2 << 20
    assert m.pread(3, (2 << 20) - 2) == b"xx\0"
    m.allocate()
    assert os.stat(path).st_blocks >= full
    assert m.size() == 16384 + (8 << 20)


# -- find


@pytest.mark.parametrize(
    ("sub", "start", "end"),
    [
        (b"\x05\x06", 0, None),
        (b"\x05\x06", 6, None),
        (b"\xff\x00", 0, 256),
        (b"\xff\x00", 0, 257),
        (b"", 5, None),
        (b"", 16384, None),
        (b"", 16385, None),
        (b"absent", 0, None),
        (b"\x01", 5, 2),
        (b"\x01", 16000, 10**9),
        (b"\x01", -300, -40),
        (b"\x01", -(10**30), 10**30),
    ],
)
def test_find_agrees_with_bytes(m, sub, start, end):
    data = m.pread(16384, 0)
    assert m.find(sub, start, end) == data.find(sub, start, end)
    assert m.rfind(sub, start, end) == data.rfind(sub, start, end)


# -- Limits


@pytest.mark.no_sanitizer
def test_without_a_reserve_growth_maps_anew(child):
    # RLIMIT_AS leaves no room for the default reserve of 1 GiB.
    child("""
        import resource, yammap
        resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))
        m = yammap.open("exact", "w+")
        m.write(b"start")
        view = m.view()
        for size in range(1 << 20, 20 << 20, 1 << 20):
            m.resize(size)
            m.write_at(b"end", size - 3)
            assert m.pread(3, size - 3) == b"end"
        view[:] = b"START"
        assert m.pread(5, 0) == b"START"
    """)


def test_a_reserve_that_cannot_be_had(path):
    for reserve in (2**63 - 1, 1 << 62, 1 << 47):
        with yammap.open(path, "w+", reserve=reserve) as m:
            m.write(b"fits")
            assert m.pread(4, 0) == b"fits"


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
