"""What is acknowledged is there after a power cut, and odd input: cases 43 to 49."""

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import lab
import pytest

import yammap

pytestmark = pytest.mark.no_sanitizer

PAGE = os.sysconf("SC_PAGESIZE")


class Cuts:
    """Snapshots of a disk, each with what it must hold."""

    def __init__(self, disk):
        self.disk = disk
        self.taken = []

    def cut(self, **files):
        to = self.disk.with_name(f"cut{len(self.taken)}")
        lab.snapshot(self.disk, to)
        self.taken.append((to, files))

    def check(self):
        """See each snapshot come up with those files; None is one that is not there."""
        for snapshot, files in self.taken:
            with lab.restarted(snapshot) as root:
                for name, data in files.items():
                    path = root / name
                    assert (path.read_bytes() if path.exists() else None) == data, snapshot


@pytest.fixture(params=[lab.loop_ext4, lab.loop_btrfs], ids=["ext4", "btrfs"])
def cuts(request, tmp_path):
    """A disk whose power is cut; the snapshots are checked at the end."""
    with request.param(tmp_path / "disk") as disk:
        cuts = Cuts(disk)
        yield cuts
    cuts.check()


def change(m, rng):
    """Do one thing of those that change the file."""
    data = rng.randbytes(rng.randrange(1, 3 * PAGE))
    changes = ["append", "resize"] + (
        ["write_at", "view", "cut"] if not m.appending else []
    )
    match rng.choice(changes):
        case "append":
            m.append(data)
        case "resize":
            m.resize(m.size() + len(data))
        case "write_at":
            m.write_at(data, rng.randrange(m.size()))
        case "view":
            with m.view(0, min(len(data), m.size())) as view:
                view[:] = data[: len(view)]
        case "cut":
            m.resize(max(1, m.size() - len(data)))


@pytest.mark.parametrize("mode", ["w+", "a+"])
def test_43_what_sync_acknowledged_survives_a_power_cut(cuts, mode):
    rng = random.Random(43)
    with yammap.open(cuts.disk / "file", mode) as m:
        m.append(b"begin")
        for _ in range(6):
            for _ in range(4):
                change(m, rng)
            m.sync()
            cuts.cut(file=m.pread(m.size(), 0))


def test_43_a_range_that_was_synced_survives(tmp_path, ext4):
    with yammap.create(ext4 / "file", 100 * PAGE) as m:
        m.sync()
        view = m.array()
        view[50 * PAGE : 52 * PAGE] = 7
        m.sync(50 * PAGE + 10, PAGE)
        lab.snapshot(ext4, tmp_path / "after")
    with lab.restarted(tmp_path / "after") as root:
        data = (root / "file").read_bytes()
    assert len(data) == 100 * PAGE
    assert data[50 * PAGE : 52 * PAGE] == b"\7" * (2 * PAGE)


def test_43_healed_and_rewritten_bytes_survive(faulty, tmp_path, ext4):
    faulty("""
        m = mapped(name="disk/file", on_fault="poison")
        m.sync()
        view = m.array()
        os.truncate("disk/file", PAGE)
        view[3 * PAGE] = 7
        os.truncate("disk/file", 4 * PAGE)
        m.heal()
        m.write_at(b"rewritten", 0)
        m.rewrite(0, 9)
        m.sync()
    """)
    lab.snapshot(ext4, tmp_path / "after")
    with lab.restarted(tmp_path / "after") as root:
        data = (root / "file").read_bytes()
    assert data == b"rewritten".ljust(PAGE, b"A") + bytes(2 * PAGE) + b"\7".ljust(
        PAGE, b"\0"
    )


def test_44_a_new_files_name_is_synced_with_it(cuts):
    with yammap.open(cuts.disk / "opened", "x+") as m:
        m.append(b"opened")
        m.sync()
        cuts.cut(opened=b"opened")
    with yammap.create(cuts.disk / "created", 7) as m:
        m.write_at(b"created", 0)
        m.sync()
        cuts.cut(opened=b"opened", created=b"created")


def test_44_a_file_made_atomically_is_there_whole_or_not_at_all(cuts):
    path = cuts.disk / "file"
    with yammap.atomic_create(path, 5) as m:
        m.write_at(b"first", 0)
        m.sync()
        assert not path.exists()
        cuts.cut(file=None)
    cuts.cut(file=b"first")
    with pytest.raises(ZeroDivisionError), yammap.atomic_create(path, 6) as m:
        m.write_at(b"failed", 0)
        m.sync()
        raise ZeroDivisionError
    assert path.read_bytes() == b"first"
    with yammap.atomic_create(path, 6) as m:
        m.array()[:] = list(b"second")
        cuts.cut(file=b"first")
    assert path.read_bytes() == b"second"
    cuts.cut(file=b"second")


def test_44_a_directory_that_cannot_be_synced(failing):
    # All these filesystems sync a new name with its file, so the call itself is watched.
    failing("""
        os.mkdir("new")
        m = yammap.create("new/file", PAGE)
        fail("fsync", 1, errno.EIO, once=False)
        assert raised(OSError, m.sync).errno == errno.EIO
        raised(OSError, m.sync)
        assert fail("fsync") >= 1
        with yammap.atomic_create("new/atomic", PAGE) as m:
            m.write_at(b"data", 0)
        assert fail() >= 1
        assert sorted(os.listdir("new")) == ["atomic", "file"]
    """)


@pytest.mark.parametrize("failure", ["bus", "sync", "full"])
def test_44_nothing_appears_when_it_fails(failing, small_tmpfs, failure):
    failing(f"""
        failure = {failure!r}
        with open("small/file", "wb") as file:
            file.write(b"old")

        def make():
            size = 2 * MIB if failure == "full" else 4 * PAGE
            with yammap.atomic_create("small/file", size, on_fault="poison") as m:
                m.write_at(b"new", 0)
                if failure == "bus":
                    view = m.array()
                    os.truncate(f"/proc/self/fd/{{m.fileno()}}", 0)
                    view[3 * PAGE] = 7
                elif failure == "sync":
                    fail("msync", 1, errno.EIO, once=False)

        mapped(name="first").close()
        before = descriptors()
        raised(OSError, make)
        assert content("small/file") == b"old"
        assert os.listdir("small") == ["file"]
        assert descriptors() == before
    """)


def killed(tmp_path, source, lines):
    """Run source, kill it with -9 after so many lines of output, and return those."""
    command = [sys.executable, "-P", "-u", "-c", textwrap.dedent(source)]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as child:
        seen = [int(child.stdout.readline()) for _ in range(lines)]
        child.kill()
        seen += [int(line) for line in child.stdout.read().split()[:-1]]
    assert child.returncode == -9
    return seen


RECORD = 1000


@pytest.mark.parametrize("mode", ["w+", "a+"])
def test_45_killed_at_any_point(tmp_path, mode):
    rng = random.Random(45)
    for _ in range(4):
        acknowledged = killed(
            tmp_path,
            f"""
            import yammap
            m = yammap.open("file", {mode!r})
            m.resize(0)
            for i in range(10**9):
                m.append(i.to_bytes(8, "big") * {RECORD // 8})
                print(i)
            """,
            rng.randrange(1, 300),
        )
        data = (tmp_path / "file").read_bytes()
        expected = b"".join(i.to_bytes(8, "big") * (RECORD // 8) for i in acknowledged)
        assert data.startswith(expected)
        assert len(data) <= len(expected) + 100 * RECORD
        with yammap.open(tmp_path / "file", "r+") as m:
            assert m.read() == data


def test_45_killed_while_making_a_file_atomically(tmp_path):
    rng = random.Random(45)
    for _ in range(6):
        acknowledged = killed(
            tmp_path,
            """
            import yammap
            for i in range(256):
                with yammap.atomic_create("file", 1 << 18) as m:
                    m.write_at(bytes([i]) * (1 << 18), 0)
                print(i)
            """,
            rng.randrange(1, 20),
        )
        data = (tmp_path / "file").read_bytes()
        assert data == data[:1] * (1 << 18)
        assert acknowledged[-1] <= data[0] <= acknowledged[-1] + 2


# -- Input: tests/mapping/test_arguments.py has most of 46, tests/file/test_opening.py of 47


@pytest.mark.parametrize("method", ["rewrite", "sync"])
@pytest.mark.parametrize(
    "arguments", [(-1,), (1 << 63,), (0, -1), (0, 11), (11,), (10, 1), (1, (1 << 63) - 1)]
)
def test_46_ranges_of_what_goes_to_the_disk(tmp_path, method, arguments):
    with (
        yammap.create(tmp_path / "file", 10) as m,
        pytest.raises(ValueError, match=r"offset|length"),
    ):
        getattr(m, method)(*arguments)


def test_47_a_block_device_is_refused():
    if not Path("/dev/loop0").is_block_device():
        lab.missing("there is no block device to try")
    if not os.access("/dev/loop0", os.R_OK):
        lab.missing("only root may read a block device")
    with pytest.raises(OSError, match="only regular files") as error:
        yammap.open("/dev/loop0")
    assert error.value.filename == "/dev/loop0"


@pytest.mark.parametrize("make", ["atomic_create", "create"])
def test_47_making_files_where_none_can_be(tmp_path, make):
    (tmp_path / "plain").touch()
    for path in (tmp_path, tmp_path / "missing" / "file", tmp_path / "plain" / "file"):
        with pytest.raises(OSError, match=str(path)), getattr(yammap, make)(path, 10):
            pass
    assert os.listdir(tmp_path) == ["plain"]


MACHINE = """
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, \\
    run_state_machine_as_test

PAGES = 8
NUMBERS = st.integers(0, PAGES - 1)
VALUES = st.integers(1, 255)


class FaultyViews(RuleBasedStateMachine):
    "A view of a file that others cut and grow, beside what must be seen."

    def __init__(self):
        super().__init__()
        self.m = mapped(PAGES, on_fault="poison")
        self.view = self.m.array()
        self.file = bytearray(letters(PAGES))
        self.lost = {}      # stores into replaced pages

    def replaced(self, page):
        return any(fault.offset <= page * PAGE < fault.offset + fault.length
                   for fault in self.m.faults())

    def seen(self, page):
        "What the view shows of a page, the replaced ones at what was stored there."
        start = page * PAGE
        if not self.replaced(page) and start < len(self.file):
            return self.file[start : start + PAGE]
        shown = bytearray(PAGE)
        for offset, value in self.lost.items():
            if offset // PAGE == page:
                shown[offset % PAGE] = value
        return shown

    @rule(pages=st.integers(0, PAGES))
    def others_set_the_size(self, pages):
        os.truncate("file", pages * PAGE)
        del self.file[pages * PAGE :]
        self.file.extend(bytes(pages * PAGE - len(self.file)))

    @rule(page=NUMBERS, value=VALUES)
    def others_write(self, page, value):
        if page * PAGE < len(self.file):
            with open("file", "r+b") as file:
                file.seek(page * PAGE)
                file.write(bytes([value]))
            self.file[page * PAGE] = value

    @rule(page=NUMBERS)
    def load(self, page):
        data = self.view[page * PAGE : (page + 1) * PAGE].tobytes()
        assert data == self.seen(page)

    @rule(page=NUMBERS, where=st.integers(1, PAGE - 1), value=VALUES)
    def store(self, page, where, value):
        offset = page * PAGE + where
        self.view[offset] = value
        if self.replaced(page):
            self.lost[offset] = value
        else:
            self.file[offset] = value

    @rule(page=NUMBERS)
    def copy(self, page):
        try:
            data = self.m.pread(PAGE, page * PAGE)
        except yammap.BusError:
            assert self.m.faults() or page * PAGE >= len(self.file)
        else:
            assert not self.m.faults() and data == self.seen(page)

    @rule()
    def sync(self):
        if self.m.faults():
            bus_error(self.m.sync)

    @rule()
    def heal(self):
        if all(offset < len(self.file) for offset in self.lost):
            self.m.heal()
            for offset, value in self.lost.items():
                self.file[offset] = value
            self.lost = {}
            assert self.m.faults() == []
        else:
            raised(OSError, self.m.heal)
            assert self.m.faults()

    @rule()
    def discard(self):
        self.m.heal(discard=True)
        self.lost = {}
        self.file[:] = content()
        assert self.m.faults() == []

    @invariant()
    def agrees(self):
        data = content()
        assert len(data) == len(self.file)
        if data != self.file:   # a heal() that failed may have written some back
            assert all(data[i] in (self.file[i], self.lost.get(i))
                       for i in range(len(data)))
            self.file[:] = data

    def teardown(self):
        with contextlib.suppress(yammap.BusError):
            self.m.close()


run_state_machine_as_test(FaultyViews, settings=settings(
    max_examples=150, stateful_step_count=30, deadline=None, derandomize=True,
    database=None))
"""


def test_48_any_sequence_of_faults_and_repairs(faulty):
    faulty(MACHINE)


def test_49_huge_pages_are_refused(faulty):
    with lab.huge_pages(2):
        faulty("""
            mapped(name="first").close()
            fd = os.memfd_create("huge", os.MFD_HUGETLB)
            os.ftruncate(fd, 2 * MIB)
            before = descriptors()
            for mode in ("r", "r+", "c"):
                error = raised(OSError, yammap.open, fd, mode)
                assert error.errno == errno.EOPNOTSUPP and "hugetlbfs" in str(error)
            assert descriptors() == before and maps("memfd:huge") == []
        """)


def test_49_sealed_memory(faulty):
    faulty("""
        import fcntl

        def sealed(seals):
            fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
            os.write(fd, letters(4))
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            return fd

        fixed = sealed(fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        m = yammap.open(fixed, "r+")
        view = m.view()
        for change in (lambda: m.resize(8 * PAGE), lambda: m.append(b"x"),
                       lambda: m.write_at(b"x", 8 * PAGE)):
            assert raised(OSError, change).errno == errno.EPERM
            assert m.size() == os.fstat(fixed).st_size == 4 * PAGE
        view.release()
        assert raised(OSError, m.resize, PAGE).errno == errno.EPERM
        assert m.size() == 4 * PAGE and m.pread(4 * PAGE, 0) == letters(4)
        m.write_at(b"written", 0)
        assert m.pread(7, 0) == b"written"
        m.close()

        constant = sealed(fcntl.F_SEAL_WRITE)
        assert raised(OSError, yammap.open, constant, "r+").errno == errno.EPERM
        with yammap.open(constant) as m:
            assert m.read() == letters(4) and m.readonly
        with yammap.open(constant, "c") as m:
            m.write_at(b"mine", 0)
            assert os.pread(constant, 4, 0) == b"AAAA"
    """)
