"""Offsets and lengths, as numbers: the one range check, at the edges of 64 bits."""

import pytest

import yammap


@pytest.fixture
def m():
    with yammap.anonymous(16384) as m:
        m.write(bytes(range(256)) * 64)
        yield m


@pytest.mark.parametrize("position", [0, 1, 16383, 16384, 2**62, 2**63 - 1])
def test_a_position_may_count_from_the_end(m, position):
    """As a slice's does, at any size: before the start is the start."""
    data = m[:]
    for start in (position, -position):
        assert m.find(b"\xfe\xff", start) == data.find(b"\xfe\xff", start)
        assert m.rfind(b"\0\1", 0, start) == data.rfind(b"\0\1", 0, start)


@pytest.mark.parametrize("offset", [16384, 16385, 1 << 40, 2**63 - 1])
def test_reads_past_the_end(m, offset):
    assert m.pread(10, offset) == b""
    assert m.read_at(bytearray(), offset) == 0
    with pytest.raises(yammap.ShortRead) as error:
        m.read_at(bytearray(1), offset)
    assert error.value.count == 0


def test_pread_of_more_than_there_is_allocates_only_what_there_is(m):
    assert len(m.pread(2**62, 4)) == 16380
