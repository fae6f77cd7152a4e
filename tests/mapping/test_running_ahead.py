"""Appends that are a copy into memory, since the file is longer already (`ahead=`)."""

import os
import threading

import pytest

import yammap

PAGE = os.sysconf("SC_PAGESIZE")
AHEAD = 1 << 20

pytestmark = pytest.mark.usefixtures("can_run_ahead")


@pytest.fixture
def m(path):
    with yammap.open(path, "w+", ahead=AHEAD) as m:
        yield m


@pytest.mark.parametrize("length", [1, 64, PAGE - 24, PAGE, PAGE + 1, 3 * AHEAD])
@pytest.mark.parametrize("ahead", [1, PAGE, AHEAD])
def test_records_of_any_length_across_steps(path, length, ahead):
    records = [bytes([65 + i]) * length for i in range(20)]
    with yammap.open(path, "w+", ahead=ahead) as m:
        array = m.view()
        starts = [m.append(record) for record in records]
        assert m.pread(m.size(), 0) == b"".join(records)
        assert len(array) == 0
    assert starts == [i * length for i in range(20)]
    assert path.read_bytes() == b"".join(records)


def test_without_a_reserve_steps_map_the_file_anew(path):
    with yammap.open(path, "w+", size=PAGE, ahead=PAGE, reserve=0) as m:
        views = []
        for i in range(300):
            m.append(b"%08d" % i * 16)
            views.append(m.view(PAGE + 128 * i, 128))
        assert [bytes(v) for v in views] == [b"%08d" % i * 16 for i in range(300)]


def test_a_mapping_from_an_offset(path):
    path.write_bytes(b"x" * 5000)
    with yammap.open(path, "r+", offset=4321, ahead=PAGE) as m:
        for i in range(1000):
            assert m.append(b"%08d" % i) == 5000 - 4321 + 8 * i
    assert path.read_bytes() == b"x" * 5000 + b"".join(b"%08d" % i for i in range(1000))


def test_everything_else_that_changes_the_size(m, path):
    m.append(b"abc")
    assert m.write_at(b"XYZ", 2) == 3  # across the end: runs ahead as well
    assert path.stat().st_size > AHEAD
    assert (m.size(), m.refresh()) == (5, 5)
    m.write_at(b"far", 10)
    assert path.read_bytes() == b"abXYZ" + bytes(5) + b"far"
    m.append(b"!")
    m.resize(20)
    assert path.read_bytes() == b"abXYZ" + bytes(5) + b"far!" + bytes(6)
    m.append(b"!")
    assert m.truncate(4) == 4
    assert path.read_bytes() == b"abXY"
    m.seek(0, os.SEEK_END)
    m.writelines([b"one", b"two"])
    assert (m.tell(), m.size()) == (10, 10)
    assert m.seek(11) == 11
    assert m.read() == b""
    assert m.append(b"") == 10
    with pytest.raises(BufferError):
        view = m.view()
        m.resize(5)
    assert bytes(view) == b"abXYonetwo"


def test_a_source_that_is_a_view_of_the_mapping(m):
    m.append(b"again")
    for _ in range(3):
        m.append(m.view(0, 5))
    assert m.pread(99, 0) == b"again" * 4


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("r", {}),
        ("c", {}),
        ("a+", {}),
        ("r+", {"length": 1}),
        ("r+", {"keep_fd": False}),
        ("r+", {"engine": "pread"}),
    ],
)
def test_ahead_is_for_growable_writable_memory(path, mode, options):
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"ahead=.* needs .*: (open|leave out)"):
        yammap.open(path, mode, ahead=AHEAD, **options)
    with pytest.raises(ValueError, match="ahead"):
        yammap.open(path, "r+", ahead=-1)
    with pytest.raises(ValueError, match="ahead"):
        yammap.create(path, 0, ahead=AHEAD, keep_fd=False)
    assert path.read_bytes() == b"x"


def test_threads(path):
    threads = []
    with yammap.open(path, "w+", ahead=PAGE) as m:

        def run(name):
            for i in range(3000):
                start = m.append(b"%c%07d" % (name, i))
                assert m.pread(8, start) == b"%c%07d" % (name, i)
                if i % 500 == 0:
                    m.sync()

        threads = [threading.Thread(target=run, args=(name,)) for name in b"abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    data = path.read_bytes()
    records = sorted(data[i : i + 8] for i in range(0, len(data), 8))
    assert records == [b"%c%07d" % (name, i) for name in b"abcd" for i in range(3000)]


@pytest.mark.parametrize("length", [8, 2 * PAGE, AHEAD // 2, 2 * AHEAD])
@pytest.mark.parametrize("ahead", [PAGE, AHEAD])
def test_a_file_that_was_cut_is_a_bus_error(child, length, ahead):
    child(f"""
        import os, yammap
        m = yammap.open("log", "w+", size={PAGE}, ahead={ahead})
        m.append(b"x" * {PAGE})
        os.truncate("log", 5)
        for _ in range(2):
            try:
                m.append(b"y" * {length})
                raise AssertionError
            except yammap.BusError as error:
                assert "shrank" in str(error), error
        assert m.size() == {2 * PAGE}
        assert m.refresh() == 5
        assert m.append(b"z") == 5
        m.close()
        assert open("log", "rb").read() == bytes(5) + b"z"
    """)


@pytest.mark.usefixtures("can_run_ahead_in_memory")
def test_in_memory():
    with yammap.anonymous(4, ahead=AHEAD) as m:
        assert m.append(b"more") == 4
        m.sync()
        assert os.fstat(yammap.Mapping.fileno(m)).st_size == 8


def test_a_limit_of_the_file_size(child):
    child(f"""
        import resource, os, yammap
        limit = {AHEAD + PAGE // 2}
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with yammap.open("log", "w+", ahead={AHEAD}) as m:
            count = 0
            try:
                while True:
                    m.append(b"%064d" % count)
                    count += 1
            except OSError:
                pass
            assert m.size() == 64 * count == limit
        data = open("log", "rb").read()
        assert data == b"".join(b"%064d" % i for i in range(count))
    """)
