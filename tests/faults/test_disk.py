"""The disk is full or bad: cases 13 to 24."""

import textwrap

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer


FILL = """
def fill(path):
    "Write there until not one block is left."
    size = MIB
    with open(path, "wb", buffering=0) as file:
        while size >= 512:
            try:
                file.write(b"f" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
"""


@pytest.fixture
def full(faulty):
    """Run source that can `fill` a disk."""
    return lambda source: faulty(FILL + textwrap.dedent(source))


@pytest.mark.usefixtures("small_tmpfs")
def test_13_a_hole_of_a_full_tmpfs_reads_as_zeros(full):
    full("""
        m = yammap.open("small/file", "w+", size=4 * MIB, preallocate=False)
        m.write_at(b"data", MIB)
        fill("small/filler")
        buffer = bytearray(b"x" * (4 * MIB))
        assert m.read_at(buffer, 0) == 4 * MIB
        assert buffer == bytes(MIB) + b"data" + bytes(3 * MIB - 4)
        assert m.pread(PAGE, 2 * MIB + 1) == bytes(PAGE)
        assert m.faults() == []
        m.close()
    """)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("write", [False, True])
def test_13_a_hole_of_a_full_tmpfs_is_populated(full, write):
    full(f"""
        m = yammap.open("small/file", "w+", size=4 * MIB, preallocate=False)
        m.write_at(b"data", 0)
        fill("small/filler")
        m.populate(0, PAGE, write={write})
        error = bus_error(m.populate, write={write})
        assert (error.errno, error.offset) == (errno.ENOSPC, PAGE), error
        assert error.access == ("write" if {write} else "read")
        assert m.faults() == []
        os.unlink("small/filler")
        m.populate(0, MIB // 2, write={write})
    """)


@pytest.mark.usefixtures("small_tmpfs")
def test_13_a_view_of_a_hole_of_a_full_tmpfs(full):
    full("""
        m = yammap.open("small/file", "w+", size=4 * MIB, preallocate=False)
        m.write_at(b"data", MIB)
        view = m.array()
        fill("small/filler")
        touched(lambda: view[2 * MIB])
        assert (m.faults()[0].offset, m.faults()[0].access) == (2 * MIB, "read")
        bus_error(m.sync)
        os.unlink("small/filler")
        assert m.heal() == 0
        m.write_at(b"more", 2 * MIB)
        assert view[2 * MIB :][:4].tobytes() == b"more"
        assert view[MIB :][:4].tobytes() == b"data"
    """)


@pytest.mark.usefixtures("small_tmpfs")
def test_14_a_write_that_does_not_begin_leaves_all_as_it_was(full):
    full("""
        m = yammap.open("small/file", "w+", size=MIB, preallocate=False)
        m.write_at(b"data", 0)
        fill("small/filler")
        before = content("small/file")
        error = bus_error(m.write_at, b"x" * PAGE, 10 * PAGE)
        assert (error.errno, error.count, error.offset) == (errno.ENOSPC, 0, 10 * PAGE)
        assert content("small/file") == before and m.size() == MIB
        os.unlink("small/filler")
        assert m.write_at(b"x" * PAGE, 10 * PAGE) == PAGE
        m.close()
    """)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("touched", [True, False])
def test_14_write_into_a_hole_of_a_full_disk(faulty, touched):
    faulty(f"""
        touched = {touched}
        m = yammap.open("small/file", "w+", size=4 << 20, preallocate=False)
        m.write_at(b"fits", 0 if touched else 2 << 20)
        error = bus_error(m.write_at, b"x" * (3 << 20), 5)
        assert error.errno == errno.ENOSPC and error.access == "write", error
        assert error.filename == "small/file"
        assert 0 < error.count < 1 << 20 and (error.count + 5) % PAGE == 0
        assert error.offset == error.count + 5
        assert m.pread(error.count, 5) == b"x" * error.count
    """)


@pytest.mark.usefixtures("small_tmpfs")
def test_the_position_follows_what_a_full_disk_has_taken(faulty):
    faulty("""
        m = yammap.open("small/file", "w+", size=4 << 20, preallocate=False)
        m.seek(5)
        error = bus_error(m.write, b"x" * (3 << 20))
        assert error.errno == errno.ENOSPC
        assert 0 < m.tell() == 5 + error.count
        assert m.pread(error.count, 5) == b"x" * error.count
    """)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("mode", ["w+", "a+"])
def test_17_no_room_to_grow(faulty, mode):
    faulty(f"""
        m = yammap.open("small/file", {mode!r})
        m.append(b"kept" + bytes(996))
        for grow in (lambda: m.resize(4 << 20), lambda: m.append(b"x" * (2 << 20)),
                     lambda: m.appending or m.write_at(b"x" * (2 << 20), 4 << 20),
                     lambda: m.appending or m.write_at(b"x" * (2 << 20), 500)):
            try:
                assert grow() is True
            except OSError as error:
                assert error.errno == errno.ENOSPC and error.filename == "small/file"
            assert m.size() == os.stat("small/file").st_size == 1000
            assert m.pread(1000, 0) == b"kept" + bytes(996)
    """)


@pytest.mark.usefixtures("small_tmpfs")
def test_17_no_room_to_create(faulty):
    faulty("""
        try:
            yammap.create("small/file", 4 << 20)
        except OSError as error:
            assert error.errno == errno.ENOSPC and error.filename == "small/file"
        else:
            raise AssertionError
        assert os.listdir("small") == []
    """)


REFUSED = """
def free(directory):
    return os.statvfs(directory).f_bfree

def refused(grow):
    "Growth that fails for want of room, and takes no block."
    before = free("disk")
    for _ in range(2):
        assert raised(OSError, grow).errno == errno.ENOSPC
        assert free("disk") == before, (free("disk"), before)
"""


@pytest.fixture(params=["ext4", "ext2", "xfs", "btrfs"])
def disk(request, tmp_path):
    """Each keeps in its own way the blocks that it had before it was full."""
    size = {"xfs": 320, "btrfs": 112}.get(request.param, 16) * lab.MIB
    options = ("-q", "-m", "0") if request.param.startswith("ext") else ("-q",)
    with lab.loop(tmp_path / "disk", size, f"mkfs.{request.param}", *options) as directory:
        yield directory


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("mode", ["r+", "a+"])
def test_17_a_refused_growth_takes_no_block(faulty, mode):
    faulty(f"""
        {textwrap.indent(REFUSED, "        ").strip()}

        m = mapped(name="disk/file", mode={mode!r})
        m.append(b"kept")
        m.sync()
        before = content("disk/file")
        refused(lambda: m.resize(1 << 30))
        refused(lambda: m.append(bytes(400 * MIB)))
        if not m.appending:
            refused(lambda: m.write_at(bytes(400 * MIB), 1 << 30))
        assert m.size() == os.stat("disk/file").st_size == len(before)
        assert content("disk/file") == before
        m.append(b"more")
        assert content("disk/file") == before + b"more"
        m.close()
    """)


@pytest.mark.usefixtures("disk")
def test_17_a_refused_creation_takes_no_block_and_leaves_no_file(faulty):
    faulty(f"""
        {textwrap.indent(REFUSED, "        ").strip()}

        with open("disk/old", "wb") as file:
            file.write(b"old")
            os.fsync(file.fileno())
        names = sorted(os.listdir("disk"))
        refused(lambda: yammap.create("disk/file", 1 << 30))
        refused(lambda: yammap.open("disk/file", "w+", size=1 << 30))
        refused(lambda: yammap.open("disk/file", "x+", size=1 << 30))
        refused(lambda: yammap.open_array("disk/file", "u1", "w+", shape=1 << 30))
        refused(lambda: yammap.open_array("disk/file.npy", "u1", "w+", shape=1 << 30))
        refused(lambda: yammap.create("disk/old", 1 << 30, exist_ok=True))
        assert sorted(os.listdir("disk")) == names and content("disk/old") == b"old"
    """)


@pytest.mark.usefixtures("ext4")
def test_17_a_refused_step_ahead_takes_no_block(faulty):
    faulty(f"""
        {textwrap.indent(REFUSED, "        ").strip()}

        m = mapped(name="disk/file", ahead=64 * MIB)
        m.append(b"kept")
        m.sync()
        refused(lambda: m.append(bytes(32 * MIB)))
        m.close()
        assert content("disk/file") == letters(4) + b"kept"
    """)


@pytest.mark.usefixtures("ext4")
def test_17_holes_that_cannot_be_filled_stay_holes(faulty):
    faulty(f"""
        {textwrap.indent(REFUSED, "        ").strip()}

        m = yammap.open("disk/file", "w+", size=1 << 30, preallocate=False)
        m.write_at(b"data", 1 << 20)
        m.sync()
        refused(m.allocate)
        m.allocate(0, MIB)
        assert m.pread(4, 1 << 20) == b"data"
        m.close()
    """)


def test_18_zeros_for_which_there_is_no_room_are_taken_away_again(faulty, bad):
    bad.fail("room 6")
    faulty("""
        m = yammap.open("bad/file", "r+")
        before = content("bad/file")
        assert raised(OSError, m.resize, 16 * PAGE).errno == errno.ENOSPC
        assert m.size() == os.stat("bad/file").st_size == 4 * PAGE
        assert content("bad/file") == before
        m.resize(6 * PAGE)
        assert content("bad/file") == before + bytes(2 * PAGE)
        m.close()
    """)


NO_FALLOCATE = """
#include <errno.h>
#include <sys/types.h>
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    (void)fd, (void)mode, (void)offset, (void)length;
    errno = EOPNOTSUPP;
    return -1;
}
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
"""


@pytest.fixture(scope="session")
def no_fallocate(tmp_path_factory):
    """A library that makes every filesystem one without fallocate(2)."""
    return str(lab.preload(NO_FALLOCATE, tmp_path_factory.mktemp("no_fallocate")))


def test_18_a_filesystem_without_fallocate_gets_zeros_written(faulty, no_fallocate):
    faulty(
        """
        for mode in ("w+", "a+"):
            name = f"file {mode}"
            m = yammap.open(name, mode)
            m.append(b"m" * 10)
            with open(name, "ab") as file:
                file.write(b"o" * 20)
            m.resize(1 << 20)
            m.sync()
            data = open(name, "rb").read()
            assert data == b"m" * 10 + b"o" * 20 + bytes((1 << 20) - 30)
            assert os.stat(name).st_blocks * 512 >= 1 << 20
            assert m.pread(40, 0) == data[:40]
            try:
                m.allocate()
            except OSError as error:
                assert error.errno == errno.EOPNOTSUPP
            else:
                raise AssertionError("fallocate(2) is there")
    """,
        LD_PRELOAD=no_fallocate,
    )


NEIGHBOUR = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
static void append(int fd)
{
    pwrite(fd, "other", 5, atoi(getenv("OTHER_APPENDS_AT")));
}
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    append(fd);
    return syscall(SYS_fallocate, fd, mode, offset, length);
}
int fstatfs(int fd, void *system)
{
    append(fd);
    return syscall(SYS_fstatfs, fd, system);
}
int ftruncate(int fd, off_t length)
{
    append(fd);
    return syscall(SYS_ftruncate, fd, length);
}
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int fstatfs64(int, void *) __attribute__((alias("fstatfs")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
"""


@pytest.fixture(scope="session")
def neighbour(tmp_path_factory):
    """A library that lets another process append just before the file grows."""
    return str(lab.preload(NEIGHBOUR, tmp_path_factory.mktemp("neighbour")))


@pytest.mark.parametrize("at", ["0", "50", "8192"])
@pytest.mark.parametrize(
    ("grow", "preallocate"),
    [
        ("m.resize(4096)", True),
        ("m.resize(4096)", False),
        ("m.write_at(b'mine', 4096)", True),  # without blocks it is one system call
    ],
)
def test_growth_keeps_what_others_append_meanwhile(
    faulty, neighbour, at, grow, preallocate
):
    source = f"""
        m = yammap.open("file", "w+", preallocate={preallocate})
        {grow}
        data = open("file", "rb").read()
        assert data[{at}:].startswith(b"other")
        assert m.pread(10_000, 0) == data[:m.size()]
    """
    faulty(source, LD_PRELOAD=neighbour, OTHER_APPENDS_AT=at)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("at", ["0", "50", "8192"])
@pytest.mark.parametrize("grow", ["m.resize(2 * MIB)", "m.write_at(b'm' * 2 * MIB, 9)"])
def test_17_a_failed_growth_keeps_what_others_append_meanwhile(faulty, neighbour, at, grow):
    source = f"""
        m = yammap.open("small/file", "w+")
        try:
            {grow}
        except OSError as error:
            assert error.errno == errno.ENOSPC
        else:
            raise AssertionError
        assert open("small/file", "rb").read() == bytes({at}) + b"other"
    """
    faulty(source, LD_PRELOAD=neighbour, OTHER_APPENDS_AT=at)


# -- Views of a full disk


def test_15_overwriting_through_a_view_of_a_full_btrfs(full, btrfs):
    full("""
        m = mapped(name="disk/file")
        m.sync()
        view = m.array()
        fill("disk/filler")
        touched(store, view, PAGE + 10, ord("!"))
        expected = bytearray(letters(4))
        expected[PAGE + 10] = ord("!")
        assert view.tobytes() == expected
        error = poisoned(m)
        assert (error.errno, error.access) == (errno.ENOSPC, "write")
        assert error.offset // PAGE == 1 and error.filename == "disk/file"
        [fault] = m.faults()
        assert fault == yammap.Fault(PAGE, PAGE, "write", errno.ENOSPC)
        assert content("disk/file") == letters(4)
    """)


@pytest.mark.parametrize("touch", ["int(a[0])", "a.__setitem__(0, 7)"])
def test_16_healing_keeps_what_others_wrote_meanwhile(faulty, small_tmpfs, touch):
    faulty(f"""
        m = yammap.open("small/file", "w+", size=9 * PAGE, preallocate=False)
        a = m.array("u1", PAGE)
        with open("small/fill", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(PAGE)):
                pass
        touched(lambda: {touch})
        assert m.faults()[0].errno == errno.ENOSPC
        stored = bytes(a)
        os.unlink("small/fill")
        with open("small/file", "rb+") as file:
            file.seek(100)
            file.write(b"other")
        assert m.heal() == int(stored[0] != 0)
        assert bytes(a) == stored[:100] + b"other" + stored[105:]
        assert m.pread(PAGE, 0) == bytes(a)
    """)


def test_16_healing_when_there_is_room_again(full, btrfs):
    full("""
        m = mapped(name="disk/file", on_fault="poison")
        m.sync()
        view = m.array()
        fill("disk/filler")
        view[PAGE + 10] = view[3 * PAGE] = ord("!")
        raised(OSError, m.heal)
        assert view[PAGE + 10] == view[3 * PAGE] == ord("!")
        poisoned(m)
        os.unlink("disk/filler")
        os.sync()
        assert m.heal() > 0 and m.faults() == []
        expected = bytearray(letters(4))
        expected[PAGE + 10] = expected[3 * PAGE] = ord("!")
        assert content("disk/file") == view.tobytes() == expected
        view[0] = ord("?")
        m.sync()
        m.close()
        del view
        expected[0] = ord("?")
        assert on_disk("disk/file") == expected
    """)


def test_16_giving_up_what_cannot_be_written(full, btrfs):
    full("""
        m = mapped(name="disk/file", on_fault="poison")
        m.sync()
        view = m.array()
        fill("disk/filler")
        view[PAGE + 10] = ord("!")
        assert m.heal(discard=True) == 0
        assert m.faults() == [] and view.tobytes() == letters(4)
        m.close()
    """)


@pytest.mark.usefixtures("small_tmpfs")
def test_16_what_another_wrote_meanwhile_is_kept(full):
    full("""
        m = yammap.open("small/file", "w+", size=4 * MIB, preallocate=False,
                        on_fault="poison")
        view = m.array()
        fill("small/filler")
        view[2 * MIB : 2 * MIB + 4] = list(b"mine")
        assert m.faults()[0].errno == errno.ENOSPC
        os.unlink("small/filler")
        with open("small/file", "r+b") as file:
            file.seek(2 * MIB + PAGE)
            file.write(b"theirs")
        m.heal()
        assert view[2 * MIB :][:4].tobytes() == b"mine"
        assert content("small/file")[2 * MIB + PAGE :][:6] == b"theirs"
        assert content("small/file")[2 * MIB :][:5] == b"mine\\0"
    """)


# -- I/O errors: a FUSE filesystem of ours refuses pages


def test_19_one_bad_page(faulty, bad):
    bad.fail("read 2")
    faulty("""
        m = yammap.open("bad/file", "r+")
        for call, offset, count in (
            (lambda: m.pread(10, 2 * PAGE + 5), 2 * PAGE + 5, 0),
            (lambda: m.read_at(bytearray(4 * PAGE), 0), 2 * PAGE, 2 * PAGE),
            (lambda: m.read_at(bytearray(PAGE), PAGE + 100), 2 * PAGE, PAGE - 100),
        ):
            error = bus_error(call)
            assert (error.errno, error.filename) == (errno.EIO, "bad/file")
            assert (error.offset, error.count) == (offset, count), error.offset
            assert error.access == "read"
        assert bus_error(m.find, b"D").errno == errno.EIO
        assert m.pread(2 * PAGE, 0) == letters(2)
        assert m.pread(PAGE, 3 * PAGE) == b"D" * PAGE
        assert m.faults() == []
        m.close()
    """)


# Another thread can run, and let go of a page that is held, only without the GIL.
LET_GO = """
sys.setswitchinterval(1000)
start, released = threading.Event(), []

def let_go():
    start.wait()
    released.append(True)   # before the page: its reader may run at once
    open("bad.fails", "w").close()

def hold(page):
    with open("bad.fails", "w") as fails:
        fails.write(f"hold {page}")
    start.set()

other = threading.Thread(target=let_go)
other.start()
m = yammap.create("hot", 4096)
disk = yammap.open("bad/file", "r+")
disk.madvise("random")      # a page is read alone
"""


@pytest.mark.parametrize("call", ["m.readinto(target)", "m.read_at(target, 0)"])
def test_the_gil_is_not_held_while_a_buffer_is_read_from_a_disk(faulty, bad, call):
    faulty(
        f"{LET_GO}target = disk.view(2 * PAGE, 16)\n"
        f"m.write_at(b'hot', 0)\n"
        f"for buffer in bytearray(16), bytearray(16):\n"
        f"    m.read_at(buffer, 0)\n"
        f"hold(2)\n"
        f"{call}\n"
        f"assert released\n"
        f"other.join()\n"
        f"assert disk.pread(4, 2 * PAGE) == b'hot\\0'\n"
    )


def test_the_gil_is_not_held_while_a_page_is_tried_once_more(faulty, bad):
    """A page that could not be read is not hot."""
    bad.fail("read 2")
    faulty(
        LET_GO
        + """
raised(yammap.BusError, disk.pread, 16, 2 * PAGE)
hold(2)
assert disk.pread(1, 2 * PAGE) == b"C"
assert released
other.join()
"""
    )


def test_19_one_bad_page_is_warmed_and_populated(faulty, bad):
    bad.fail("read 2")
    faulty("""
        for options in ({}, {"engine": "pread"}, {"keep_fd": False}):
            m = yammap.open("bad/file", "r+", **options)
            calls = [m.warm]
            if m.engine == "mmap":
                calls += [m.populate, lambda: m.populate(write=True)]
            for call in calls:
                error = bus_error(call)
                assert (error.errno, error.offset) == (errno.EIO, 2 * PAGE), error
            assert m.warm(0, 2 * PAGE) == 2 * PAGE
            assert m.faults() == []
    """)


def test_20_a_bad_page_in_a_view(faulty, bad):
    bad.fail("read 2")
    faulty("""
        m = yammap.open("bad/file", "r+")
        view = m.array()
        touched(lambda: view[2 * PAGE + 7])
        assert m.faults() == [yammap.Fault(2 * PAGE, PAGE, "read", errno.EIO)]
        error = poisoned(m)
        assert (error.errno, error.offset) == (errno.EIO, 2 * PAGE + 7)
        assert not view[2 * PAGE : 3 * PAGE].any()
        assert view[: 2 * PAGE].tobytes() == letters(2) and view[3 * PAGE] == ord("D")
        open("bad.fails", "w").close()
        m.heal()
        assert view.tobytes() == letters(4)
        m.close()
    """)


# -- Writing back: the kernel tells a failure once, and then no more


THIN = """
def make_room():
    assert os.system("mount -o remount,size=64m thin.store") == 0


def failed():
    "A mapping whose sync fails for want of room."
    m = yammap.create("thin/file", 32 * MIB)
    m.array()[: 16 * MIB] = ord("x")
    return m
"""


@pytest.fixture
def thinly(faulty, thin):
    """Run source with a disk that cannot hold what was promised."""
    return lambda source, **environment: faulty(
        THIN + textwrap.dedent(source), **environment
    )


def test_21_a_failed_sync_stays_failed(thinly):
    thinly("""
        m = failed()
        errors = [raised(OSError, m.sync) for _ in range(5)]
        assert {error.errno for error in errors} == {errno.ENOSPC}
        assert errors[0].filename == "thin/file"
        assert raised(OSError, m.flush).errno == errno.ENOSPC
        assert raised(OSError, m.sync, 0, 10).errno == errno.ENOSPC
        assert m.pread(10, 0) == b"x" * 10
    """)


def test_21_what_rewriting_acknowledges_is_on_the_disk(thinly):
    # An ext4 that failed to mark blocks as written does not try again, and fsync(2) is
    # content: then the bytes are in memory only, and rewriting may fail but not lie.
    thinly("""
        m = failed()
        raised(OSError, m.sync)
        raised(OSError, m.rewrite)
        raised(OSError, m.sync)
        make_room()
        try:
            m.rewrite()
        except OSError:
            raised(OSError, m.sync)
        else:
            m.sync()
            m.close()
            assert on_disk("thin/file") == b"x" * (16 * MIB) + bytes(16 * MIB)
    """)


def test_22_fsync_fails(faulty, bad):
    bad.fail("fsync")
    faulty("""
        m = yammap.open("bad/file", "r+")
        m.write_at(b"data", 0)
        assert raised(OSError, m.sync).errno == errno.EIO
        open("bad.fails", "w").close()
        assert raised(OSError, m.sync).errno == errno.EIO
        m.rewrite()
        m.sync()
        assert m.pread(5, 0) == b"dataA"
        m.close()
    """)


def test_22_one_page_cannot_be_written_back(faulty, bad):
    bad.fail("write 2")
    faulty("""
        m = yammap.open("bad/file", "r+")
        view = m.array()
        view[2 * PAGE] = view[0] = ord("!")
        assert raised(OSError, m.sync).errno == errno.EIO
        assert raised(OSError, m.sync).errno == errno.EIO
        assert view[2 * PAGE] == ord("!")
        open("bad.fails", "w").close()
        m.rewrite()
        m.sync()
        m.close()
        del view
        data = on_disk("bad/file")
        assert data[0] == data[2 * PAGE] == ord("!")
    """)


@pytest.mark.parametrize("who", ["os.fsync(other)", "os.sync()", "raised(OSError, n.sync)"])
def test_23_somebody_else_takes_the_error_first(thinly, who):
    thinly(f"""
        m = failed()
        other = os.open("thin/file", os.O_RDWR)
        n = yammap.open("thin/file", "r+")
        with contextlib.suppress(OSError):
            {who}
        for _ in range(3):
            raised(OSError, m.sync)
    """)


@pytest.mark.parametrize("first", ["child", "owner of the descriptor"])
def test_23_whoever_shares_the_descriptor_takes_the_error(thinly, first):
    thinly(f"""
        m = failed()
        if {first!r} == "child":
            child = os.fork()
            if child == 0:
                for _ in range(3):
                    with contextlib.suppress(OSError):
                        m.sync()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        else:
            fd = m.fileno()
            for _ in range(3):
                with contextlib.suppress(OSError):
                    os.fsync(fd)
        for _ in range(3):
            raised(OSError, m.sync)
    """)


def test_23_the_parent_takes_nothing_from_its_child(thinly):
    thinly("""
        m = failed()
        (up, watching), (down, go) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.write(watching, b"x")
            os.read(down, 1)
            raised(OSError, m.sync)
            raised(OSError, m.sync)
            os._exit(0)
        os.read(up, 1)      # the child has a descriptor of its own by now
        for _ in range(3):
            with contextlib.suppress(OSError):
                m.sync()
        os.write(go, b"x")
        assert os.waitpid(child, 0)[1] == 0
    """)


LATE = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
int fallocate(int fd, int mode, off_t offset, off_t length)
{
    (void)fd, (void)mode, (void)offset, (void)length;
    errno = EOPNOTSUPP;
    return -1;
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t offset)
{
    int code = 0, once;

    for (once = 0; once < 4; once++)
        if (syscall(SYS_fdatasync, fd))
            code = errno;
    if (code == 0)
        return syscall(SYS_pwrite64, fd, data, count, offset);
    errno = code;
    return -1;
}
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
"""


def test_23_the_next_write_takes_the_error_as_on_nfs(thinly, tmp_path):
    # The library stands for NFS, which the kernels that we have do not have.
    late = str(lab.preload(LATE, tmp_path))
    source = """
        m = yammap.open("thin/file", "w+")
        def fill():
            for _ in range(64):
                m.append(b"x" * MIB)
        raised(OSError, fill)
        for _ in range(3):
            raised(OSError, m.sync)
    """
    thinly(source, LD_PRELOAD=late)


def test_24_the_limit_of_file_sizes(faulty):
    faulty("""
        m = yammap.open("file", "w+")
        m.write(b"kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
        for grow in (
            lambda: m.resize(2 * MIB),
            lambda: m.write_at(b"x", 2 * MIB),
            lambda: m.append(b"x" * (2 * MIB)),
            lambda: yammap.create("other", 2 * MIB),
        ):
            error = raised(OSError, grow)
            assert error.errno == errno.EFBIG, error
            assert "RLIMIT_FSIZE" in str(error) and str(MIB) in str(error), error
            assert m.size() == os.stat("file").st_size == 4
            assert m.pread(10, 0) == b"kept"
        m.resize(MIB)
        m.write_at(b"end", MIB - 3)
        assert content()[-3:] == b"end"
        m.close()
    """)


def test_24_a_page_is_kept_although_files_may_not_be_that_long(full, btrfs):
    full("""
        m = yammap.create("disk/file", 16 * PAGE, on_fault="poison")
        view = m.array()
        view[:] = 7
        m.sync()
        fill("disk/filler")
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))
        view[::PAGE] = 8
        assert view[1::PAGE].tolist() == [7] * 16
        assert {fault.errno for fault in m.faults()} == {errno.ENOSPC}
        os.unlink("disk/filler")
        os.sync()
        assert m.heal() == 16
        m.close()
        data = content("disk/file")
        assert data[::PAGE] == bytes([8]) * 16 and data[1::PAGE] == bytes([7]) * 16
    """)


def test_a_filesystem_that_cannot_be_mapped(faulty, bad):
    bad.fail("mmap")
    faulty("""
        error = raised(OSError, yammap.open, "bad/file", "r+")
        assert error.errno == errno.ENODEV and "engine='auto'" in str(error), error
        with yammap.open("bad/file", "r+", engine="auto") as m:
            assert m.engine == "pread"
            assert m.pread(2, PAGE - 1) == b"AB"
            m.write_at(b"new", PAGE)
            m.sync()
        assert content("bad/file")[PAGE:][:4] == b"newB"
    """)


def test_a_filesystem_that_refuses_shared_maps_only(failing):
    """As 9p without a cache does."""
    failing("""
        mapped().close()
        fail("mmap", 1, errno.EINVAL)
        error = raised(OSError, yammap.open, "file", "r+")
        assert error.errno == errno.EINVAL and "engine='auto'" in str(error), error
        fail("mmap", 1, errno.EINVAL)
        with yammap.open("file", "r+", engine="auto") as m:
            assert m.engine == "pread"
    """)


def test_appends_that_run_ahead_fill_a_disk_to_the_end(faulty, small_tmpfs):
    faulty("""
        m = yammap.open("small/log", "w+", ahead=MIB // 2)
        view, count = m.view(), 0
        def fill():
            global count
            while True:
                assert m.append(b"%064d" % count) == 64 * count
                count += 1
        error = raised(OSError, fill)
        assert error.errno == errno.ENOSPC and not isinstance(error, yammap.BusError)
        assert m.size() == 64 * count == os.stat("small/log").st_size
        assert m.size() > MIB - 2 * PAGE, m.size()
        assert m.pread(m.size(), 0) == b"".join(b"%064d" % i for i in range(count))
        view = None
        m.truncate(64)
        assert m.append(b"again") == 64
        m.close()
        assert content("small/log") == b"%064d" % 0 + b"again"
    """)
