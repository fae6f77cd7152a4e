"""How a region is mapped: its reserve, and the advice that it keeps."""

import mmap

import pytest

import yammap

PAGE = mmap.PAGESIZE
GIB = 1 << 30


@pytest.mark.parametrize(
    ("size", "options", "span"),
    [
        (PAGE, {}, PAGE + GIB),
        (GIB, {}, 4 * GIB),  # three times the size
        (1 << 40, {}, 2 << 40),  # and a tebibyte at most
        (PAGE, {"reserve": 0}, PAGE),
        (PAGE, {"reserve": 64 * PAGE}, 64 * PAGE),
        (PAGE, {"mode": "r"}, PAGE + GIB),  # others may append
        (PAGE, {"mode": "c"}, PAGE),
        (PAGE + 1, {"length": 1}, PAGE),
        (PAGE + 1, {"offset": PAGE, "reserve": 0}, PAGE),
    ],
)
def test_addresses_are_set_aside_for_growth(path, mapped_ranges, size, options, span):
    yammap.open(path, "w+", size=size, preallocate=False).close()
    with yammap.open(path, **{"mode": "r+", **options}):
        (one,) = mapped_ranges()
        start, end = (int(address, 16) for address in one.split("-"))
        assert end - start == span


def test_growth_into_the_reserve_keeps_the_addresses(path, mapped_ranges):
    with yammap.open(path, "w+", reserve=64 * PAGE) as m:
        before = mapped_ranges()
        m.resize(64 * PAGE)
        assert mapped_ranges() == before


@pytest.mark.no_sanitizer
def test_without_a_reserve_growth_maps_anew(child):
    # RLIMIT_AS leaves no room for the default reserve of 1 GiB.
    child("""
        import resource, yammap
        with open("/proc/self/statm") as pages:
            used = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (600 << 20), used + (600 << 20)))
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


def test_a_reserve_larger_than_the_address_space(path):
    for reserve in (2**63 - 1, 1 << 62, 1 << 47):
        with yammap.open(path, "w+", reserve=reserve) as m:
            m.write(b"fits")
            assert m.pread(4, 0) == b"fits"


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


@pytest.mark.parametrize(
    ("first", "second", "flags"),
    [
        ("RANDOM", "SEQUENTIAL", {"sr"}),
        ("SEQUENTIAL", "NORMAL", set()),
        ("RANDOM", "HUGEPAGE", {"rr", "hg"}),
        ("NOHUGEPAGE", "HUGEPAGE", {"hg"}),
    ],
)
def test_the_later_advice_of_a_kind_replaces_the_earlier(path, first, second, flags):
    with yammap.open(path, "w+", size=PAGE, reserve=PAGE) as m:
        for advice in (first, second):
            try:
                m.madvise(yammap.Advice[advice])
            except OSError:
                pytest.skip("a kernel without huge pages")
        m.resize(64 << 20)
        assert {"rr", "sr", "hg", "nh"} & {*vma_flags(address_of(m))} == flags
