"""Batches that meet refused system calls, bad disks, limits and a file that is cut."""

import os
import platform
import textwrap
from contextlib import ExitStack

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer

CALLS = ("io_uring_setup", "io_uring_enter", "io_setup", "io_submit")
NUMBERS = {"x86_64": (425, 426, 206, 209), "aarch64": (425, 426, 0, 2)}


COLD = """
from yammap._file import gather

DATA = np.random.default_rng(0).integers(0, 256, 300 * PAGE + 77, np.uint8)
OFFSETS = np.random.default_rng(1).permutation(300 * PAGE - 700)[:500]
EXPECTED = np.stack([DATA[o : o + 700] for o in OFFSETS])


def written(name="file", **options):
    with open(name, "wb") as file:
        file.write(DATA)
        file.flush()
        os.fsync(file.fileno())
    return cold(yammap.open(name, "r+", **options))


def cold(m):
    m.evict()
    return m


def is_right(m, cached, **options):
    return (cold(m).gather(OFFSETS, 700, cached=cached, **options) == EXPECTED).all()


def engine(m):
    return m.statistics()["engine"]
"""


def refusing(code, *names):
    if platform.machine() not in NUMBERS:
        lab.missing("the numbers of this machine's system calls are not in the table")
    numbers = dict(zip(CALLS, NUMBERS[platform.machine()], strict=True))
    return "\n".join(f"refuse(errno.{code}, {numbers[name]})" for name in names)


@pytest.mark.parametrize("code", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize(
    ("names", "past", "into"),
    [
        (["io_uring_setup"], "aio, past the page cache", "hints, into the page cache"),
        (["io_setup"], "io_uring, past the page cache", "io_uring, into the page cache"),
        (["io_uring_setup", "io_setup"], "hints, into the page cache", None),
    ],
)
def test_a_queue_that_is_refused(faulty, code, names, past, into):
    """The next kind reads instead; past the page cache only where one can."""
    faulty(
        COLD
        + f"""
m = written()
{refusing(code, *names)}
assert is_right(m, False) and engine(m) == {past!r}, engine(m)
assert is_right(m, True) and engine(m) == {into or past!r}, engine(m)
assert is_right(m, None, threads=3)
"""
    )


@pytest.mark.parametrize("code", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize(
    ("kind", "name"), [("io_uring", "io_uring_enter"), ("aio", "io_submit")]
)
@pytest.mark.parametrize("under_way", [False, True])
def test_a_queue_that_comes_to_be_refused(faulty, code, kind, name, under_way):
    """A program that gives up rights has made its queues before."""
    faulty(
        COLD
        + f"""
for other in {{"io_uring", "aio", "hints"}} - {{{kind!r}}}:
    gather.KINDS.pop(other)
m = written()
assert is_right(m, False) and engine(m).startswith({kind!r})
cold(m)
begun = [gather.begin_gather(m, OFFSETS, 700, None, False) for _ in range(3 * {under_way})]
{refusing(code, name)}
for _ in range(3):
    assert is_right(m, False)
assert all((batch.finish() == EXPECTED).all() for batch in begun)
"""
    )


def test_without_proc(faulty):
    if os.geteuid():
        lab.missing("only root can take /proc away")
    faulty(
        COLD
        + """
m = written()
lose_proc()
for cached in (True, False, None):
    assert is_right(m, cached)
assert engine(m) == "mmap"
"""
    )


def test_no_memory_may_be_locked(faulty):
    faulty(
        COLD
        + """
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
m = written()
become_nobody()     # root may lock what it wants
assert (m.gather(OFFSETS, 700, cached=False) == EXPECTED).all()
assert "past the page cache" in engine(m), engine(m)
"""
    )


FILESYSTEMS = {
    "ext4": lambda d: lab.loop_ext4(d),
    "btrfs": lambda d: lab.loop_btrfs(d),
    "xfs": lambda d: lab.loop(d, 300 * lab.MIB, "mkfs.xfs", "-q"),
    "tmpfs": lambda d: lab.tmpfs(d, 16 * lab.MIB),
    "overlay": lambda d: lab.overlay(d),
}


@pytest.mark.parametrize("filesystem", sorted(FILESYSTEMS))
def test_stores_are_seen_on_each_filesystem(faulty, tmp_path, filesystem):
    """Through views, by other descriptors, and while batches are under way."""
    with ExitStack() as stack:
        stack.enter_context(FILESYSTEMS[filesystem](tmp_path / "disk"))
        faulty(
            COLD
            + """
for kind in ("io_uring", "aio", "hints"):
    kinds = dict(gather.KINDS)
    for other in set(kinds) - {kind}:
        del gather.KINDS[other]
    m, data = written("disk/file"), DATA.copy()
    view = m.array()
    for turn in range(6):
        cached = (False, True, None)[turn % 3]
        cold(m)
        rows = np.random.default_rng(turn).permutation(len(OFFSETS))[:20]
        for row in rows:
            view[OFFSETS[row] + turn] = data[OFFSETS[row] + turn] = turn
        os.pwrite(m.fileno(), b"pwrite", int(OFFSETS[turn]))
        data[OFFSETS[turn] :][:6] = list(b"pwrite")
        expected = np.stack([data[o : o + 700] for o in OFFSETS])
        assert (m.gather(OFFSETS, 700, cached=cached) == expected).all(), (kind, cached)
        with m.batches([OFFSETS] * 3, 700, cached=cached) as batches:
            assert all((batch == expected).all() for batch in batches)
    del view
    m.close()
    gather.KINDS.clear()
    gather.KINDS.update(kinds)
"""
        )


@pytest.mark.parametrize("cached", [True, False, None])
def test_a_bad_page_names_its_record(faulty, tmp_path, cached):
    with lab.fuse(tmp_path / "bad", "read 5", pages=8):
        faulty(
            COLD
            + f"""
m = yammap.open("bad/file")
out = np.full((8, 300), 7, np.uint8)
for kind in ("io_uring", "aio", "hints"):
    kinds = dict(gather.KINDS)
    for other in set(kinds) - {{kind}}:
        del gather.KINDS[other]
    os.posix_fadvise(m.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    error = bus_error(m.gather, np.arange(8) * PAGE, 300, out, cached={cached})
    assert (error.errno, error.record, error.offset) == (errno.EIO, 5, 5 * PAGE), error
    assert bytes(out[:5, 299]) == b"ABCDE"
    gather.KINDS.clear()
    gather.KINDS.update(kinds)
"""
        )


CUTTER = """
    import os, random, sys
    fd, chance = os.open("file", os.O_RDWR), random.Random(int(sys.argv[1]))
    size = os.fstat(fd).st_size
    data = os.pread(fd, size, 0)
    print("ready", flush=True)
    while True:
        cut = chance.randrange(size)
        os.ftruncate(fd, cut)
        os.pwrite(fd, data[cut:], cut)
"""


@pytest.mark.parametrize("kind", ["io_uring", "aio", "hints"])
def test_a_file_that_is_cut_again_and_again(faulty, kind):
    """A batch is right, or its error names a record and all before that are right.

    The other process writes after each cut, so that a byte may also be 0 for a moment.
    """
    faulty(
        COLD
        + f"""
import subprocess
for other in {{"io_uring", "aio", "hints"}} - {{{kind!r}}}:
    gather.KINDS.pop(other)
m = written()
cutter = subprocess.Popen([sys.executable, "-c", {textwrap.dedent(CUTTER)!r}, "1"],
                          stdout=subprocess.PIPE)
cutter.stdout.readline()
out, faults = np.empty((500, 700), np.uint8), 0
try:
    for turn in range(70):
        cached = (False, True, None)[turn % 3]
        out[:] = 1
        os.posix_fadvise(m.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        end = 500
        try:
            m.gather(OFFSETS, 700, out, cached=cached)
        except yammap.BusError as error:
            end, faults = error.record, faults + 1
        assert ((out[:end] == EXPECTED[:end]) | (out[:end] == 0)).all()
        with contextlib.suppress(yammap.BusError), \\
                m.batches([OFFSETS] * 3, 700, cached=cached) as batches:
            for batch in batches:
                assert ((batch == EXPECTED) | (batch == 0)).all()
finally:
    cutter.kill()
    cutter.wait()
print(faults)
"""
    )


LOOKS = """
import os
import numpy as np
import yammap
from yammap._file import gather

gather.room_for_files = lambda: {room}
with open("file", "wb") as file:
    file.truncate({size})
with yammap.open("file", "{mode}") as m:
    for turn in range(2):
        m.evict()
        os.path.lexists("/begin")
        m.gather(np.arange(64) * {size} // 64, 100)
        os.path.lexists("/end")
"""


@pytest.mark.parametrize(
    ("mode", "size", "room", "looks"),
    [
        ("r", 1 << 25, 1 << 40, True),
        ("r", 1 << 25, 1 << 20, False),
        ("r", 1 << 20, 1 << 40, False),
        ("r+", 1 << 25, 1 << 40, False),
    ],
)
def test_tracers_are_looked_for_where_some_may_be(tmp_path, mode, size, room, looks):
    """Otherwise the kernel is asked about one page, which is cold."""
    program = tmp_path / "program.py"
    program.write_text(LOOKS.format(mode=mode, size=size, room=room))
    lab.trace(program, tmp_path / "trace")
    last = (tmp_path / "trace").read_text().rpartition('"/begin"')[2].partition('"/end"')[0]
    assert (last.count("mincore(") > 1) is looks
    assert "mincore(" in last
