"""System calls that a container, systemd or gVisor refuses, each of them in turn.

Whatever is refused, a feature works in another way, or says which call it misses; and what
became slower or weaker is told.
"""

import os
import platform
import signal

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer

NUMBERS = {
    "x86_64": {
        "cachestat": 451,
        "fadvise64": 221,
        "fallocate": 285,
        "fchmod": 91,
        "fchown": 93,
        "fcntl": 72,
        "fgetxattr": 193,
        "flock": 73,
        "fremovexattr": 199,
        "fsetxattr": 190,
        "fstatfs": 138,
        "getrandom": 318,
        "getrusage": 98,
        "getxattr": 191,
        "linkat": 265,
        "madvise": 28,
        "memfd_create": 319,
        "mincore": 27,
        "mremap": 25,
        "pipe2": 293,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "sendfile": 40,
        "statx": 332,
        "sync_file_range": 277,
    },
    "aarch64": {
        "cachestat": 451,
        "fadvise64": 223,
        "fallocate": 47,
        "fchmod": 52,
        "fchown": 55,
        "fcntl": 25,
        "fgetxattr": 10,
        "flock": 32,
        "fremovexattr": 16,
        "fsetxattr": 7,
        "fstatfs": 44,
        "getrandom": 278,
        "getrusage": 165,
        "getxattr": 8,
        "linkat": 37,
        "madvise": 233,
        "memfd_create": 279,
        "mincore": 232,
        "mremap": 216,
        "pipe2": 59,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "sendfile": 71,
        "statx": 291,
        "sync_file_range": 84,
    },
}

# Made only where the guard is not in force; the last two tests refuse them.
WITHOUT_GUARD = {"pipe2", "process_vm_readv", "process_vm_writev"}

# Of calls of which a sandbox refuses some: the argument that tells, and its values.
SOME = {
    "fcntl": (1, (36, 37, 38)),  # F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
    "madvise": (2, (22, 23)),  # MADV_POPULATE_READ, MADV_POPULATE_WRITE
}

# Which features then say that they miss the call, and which calls `ahead=` warns of.
SAYS = {
    "cachestat": {"resident_by_pread"},
    "fallocate": {"allocate", "punch_hole"},
    "memfd_create": {"memory", "compat_memory"},
    "mincore": {"resident", "evict"},
}
WARNS = {"fallocate", "fcntl", "fgetxattr", "fsetxattr", "getrandom", "/proc"}

FEATURES = """
import io, pickle
import yammap.compat
from yammap._cli.info import inspect


def grow():
    with yammap.open("grown", "w+") as m:
        m.write(b"first")
        view = m.view()
        assert m.append(b"x" * MIB) == 5
        m.resize(2 * MIB)
        m.write_at(b"last", 3 * MIB)
        assert m.pread(5, 0) == view == b"first"
        m.sync()
    assert content("grown") == (b"first" + b"x" * MIB).ljust(3 * MIB, bytes(1)) + b"last"
    assert 2 * MIB <= os.stat("grown").st_blocks * 512 < 3 * MIB


def grow_without_blocks():
    with yammap.open("thin", "w+", preallocate=False) as m:
        m.resize(MIB)
        m.append(b"end")
        m.write_at(b"far", 4 * MIB)
    assert content("thin") == bytes(MIB) + b"end" + bytes(3 * MIB - 3) + b"far"
    assert os.stat("thin").st_blocks * 512 < MIB


def create():
    yammap.create("made", 3 * PAGE + 1).close()
    assert content("made") == bytes(3 * PAGE + 1)
    assert os.stat("made").st_blocks * 512 > 3 * PAGE


def append():
    with yammap.open("log", "a+") as m:
        start = m.size()
        assert m.append(b"record") == start
        assert m.pread(6, start) == b"record"


def survive_a_cut():
    with mapped(on_fault="poison") as m:
        view = m.array()
        os.truncate("file", PAGE)
        assert bus_error(m.pread, 1, 2 * PAGE).errno == errno.EFAULT
        assert view[2 * PAGE] == 0
        assert bus_error(m.sync).errno == errno.EFAULT
        os.truncate("file", 4 * PAGE)
        m.heal()


def survive_a_full_disk():
    with open("small/sparse", "wb") as file:
        file.write(b"A" * PAGE)
        file.truncate(4 * PAGE)
    with contextlib.suppress(OSError), open("small/filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(PAGE))
    with yammap.open("small/sparse", "r+", on_fault="poison") as m:
        view = m.array()
        assert m.pread(PAGE + 1, 0) == b"A" * PAGE + bytes(1)
        view[PAGE] = view[3 * PAGE + 5] = 7
        assert view[PAGE] == view[3 * PAGE + 5] == 7
        assert bus_error(m.sync).errno == errno.ENOSPC
        os.unlink("small/filler")
        assert m.heal() == 2
    expected = b"A" * PAGE + b"\\7" + bytes(2 * PAGE + 4) + b"\\7"
    assert content("small/sparse") == expected.ljust(4 * PAGE, bytes(1))


def copy_on_write():
    mapped().close()
    with yammap.open("file", "c") as m:
        m[0:2] = b"ZZ"
        assert m.pread(3, 0) == b"ZZA" and m.view()[:3] == b"ZZA"
    assert content() == letters(4)


def without_a_descriptor():
    with mapped(keep_fd=False) as m:
        assert m.pread(2, PAGE - 1) == b"AB"


def by_descriptor():
    mapped().close()
    with open("file", "r+b") as file, yammap.open(file.fileno(), "r+") as m:
        m.append(b"more")
    assert content() == letters(4) + b"more"


def atomic_create():
    before = set(os.listdir())
    for data in (b"old", b"new!"):
        with yammap.atomic_create("whole", len(data)) as m:
            m.write_at(data, 0)
        assert content("whole") == data
    with contextlib.suppress(ZeroDivisionError), yammap.atomic_create("whole", 9):
        raise ZeroDivisionError
    assert content("whole") == b"new!"
    assert set(os.listdir()) - before == {"whole"}


def ahead():
    with yammap.open("running", "w+", ahead=MIB) as m:
        for i in range(3):
            assert m.append(b"record") == 6 * i
        assert m.read() == 3 * b"record"
    assert content("running") == 3 * b"record"


def memory():
    with yammap.anonymous(PAGE) as m:
        m.append(b"more")


def compat_memory():
    yammap.compat.mmap(-1, PAGE).close()


def allocate():
    mapped().allocate()


def punch_hole():
    m = mapped()
    m.punch_hole(0, PAGE)
    assert m.pread(PAGE, 0) == bytes(PAGE)


def resident():
    assert mapped().resident().all()


def resident_by_pread():
    assert mapped(engine="pread").resident().all()


def evict():
    with mapped() as m:
        assert m.evict() >= 0
        assert m.read() == letters(4)


def read_ahead():
    with mapped() as m:
        m.warm()
        m.populate()
        m.populate(write=True)
        m.madvise(yammap.MADV_WILLNEED)
        assert b"".join(map(bytes, m.stream(PAGE))) == letters(4)
        assert m.read() == letters(4)


def gather():
    with mapped() as m:
        offsets = np.arange(5000) % 4 * PAGE    # more than one block
        assert m.gather(offsets, 1).tobytes() == b"ABCD" * 1250


def synced():
    with mapped() as m:
        m.write_at(b"x", 0)
        m.sync(wait=False)
        m.sync()
        m.rewrite()
        m.write_at(b"y", 0)
        m.sync()


def move():
    with mapped() as m:
        m.move(0, PAGE, 2 * PAGE)
        assert m.find(b"C") == PAGE and m.rfind(b"B") == PAGE - 1


def arrays():
    np.save("a.npy", np.arange(5))
    assert yammap.open_array("a.npy").tolist() == [0, 1, 2, 3, 4]
    handle = pickle.loads(pickle.dumps(yammap.MappedArray("a.npy", mode="r+")))
    assert handle.take([3, 1]).tolist() == [3, 1]


def tell_of_it():
    mapped().close()
    assert inspect("file").size == 4 * PAGE


def limits():
    with mapped() as m:
        limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
        assert "RLIMIT_FSIZE" in str(raised(OSError, m.resize, 2 * MIB))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        assert raised(OSError, m.resize, 1 << 60).errno in (errno.EFBIG, errno.ENOMEM)


features = [f for f in (
    grow, grow_without_blocks, create, append, survive_a_cut, survive_a_full_disk,
    copy_on_write, without_a_descriptor, by_descriptor, atomic_create, ahead, memory,
    compat_memory, allocate, punch_hole, resident, resident_by_pread, evict, read_ahead,
    gather, synced, move, arrays, tell_of_it, limits)]


def tour(call):
    "Try all features; returns which said that they need the call, and which warned."
    said, warned = set(), set()
    for feature in features:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                feature()
            except OSError as error:
                if f"{call}(2) is refused" not in str(error):
                    raise
                said.add(feature.__name__)
        if caught:
            assert call in str(caught[0].message), caught[0].message
            warned.add(feature.__name__)
    return said, warned
"""


def refusal(call, code):
    """Return source that has the call refused."""
    if call == "/proc":
        return "lose_proc()"
    if platform.machine() not in NUMBERS:
        lab.missing("the numbers of this machine's system calls are not in the table")
    number = NUMBERS[platform.machine()][call]
    answer = "None" if code is None else f"errno.{code}"
    return f"refuse({answer}, {number}, *{SOME.get(call, ())!r})"


@pytest.mark.parametrize("code", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("call", sorted({*NUMBERS["x86_64"], "/proc"}))
def test_a_call_that_is_refused_is_missed_by_what_says_so_alone(
    faulty, small_tmpfs, call, code
):
    if call == "/proc" and os.geteuid():
        lab.missing("only root can take /proc away")
    faulty(
        FEATURES
        + f"""
{refusal(call, code)}
said, warned = tour({call!r})
assert said == {SAYS.get(call, set())!r}, said
assert warned == { ({"ahead"} if call in WARNS else set())!r}, warned
"""
    )


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("call", sorted(NUMBERS["x86_64"].keys() - WITHOUT_GUARD))
def test_each_call_in_the_table_is_made(faulty, call):
    """The kernel kills the process at the first one."""
    faulty(FEATURES + f"{refusal(call, None)}\ntour({call!r})", status=-signal.SIGSYS)


def refusing(code, *names):
    """Return source that has these calls refused."""
    numbers = NUMBERS[platform.machine()]
    return "; ".join(f"refuse(errno.{code}, {numbers[name]})" for name in names)


def test_a_lock_that_is_refused_though_nobody_has_one(faulty):
    """As on NFS under flock(2); no file runs ahead then, and none waits for ever."""
    faulty(f"""
        setlk = 37
        refuse(errno.EAGAIN, {NUMBERS[platform.machine()]["fcntl"]}, 1, [setlk])
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            m = yammap.open("log", "w+", ahead=MIB)
        assert os.strerror(errno.ENOLCK) in str(told[0].message)
        m.append(b"record")
        assert content("log") == b"record"
    """)


def test_sparse_growth_without_fallocate_keeps_what_another_appended(faulty):
    """As on exFAT."""
    faulty(f"""
        m = yammap.open("log", "w+", preallocate=False)
        {refusing("EOPNOTSUPP", "fallocate")}
        with open("log", "ab") as file:
            file.write(b"x" * 1000)
        m.resize(500)
        assert content("log") == b"x" * 1000
        m.resize(2000)
        assert content("log") == b"x" * 1000 + bytes(1000)
    """)


@pytest.mark.parametrize("code", ["EPERM", "ENOSYS"])
def test_private_changes_are_read_where_the_thread_blocks_the_signal(faulty, code):
    """Then the kernel copies, through a pipe. What the file has is not what was changed."""
    faulty(f"""
        m = mapped(4, mode="c")
        m[:PAGE] = b"x" * PAGE
        {refusing(code, "process_vm_readv", "process_vm_writev")}
        warnings.simplefilter("ignore")
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGBUS])
        fresh = yammap.open("file", "c")
        fresh[5:8] = b"new"
        assert fresh.pread(5, 4) == b"AnewA"
        assert m.pread(PAGE + 1, 0) == b"x" * PAGE + b"B"
        assert m[PAGE - 2 : PAGE + 2] == b"xxBB"
        assert m.find(b"xB") == PAGE - 1
        assert m.gather([0, PAGE], 2).tobytes() == b"xxBB"
        os.truncate("file", PAGE)
        assert "shrank" in str(bus_error(m.pread, 1, 2 * PAGE))
        without = yammap.open("file", keep_fd=False)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))     # no pipe can be made
        assert bus_error(m.pread, 1, 0).errno == errno.EMFILE
        assert bus_error(without.pread, 1, 0).errno == errno.EMFILE
    """)


@pytest.mark.usefixtures("small_tmpfs")
@pytest.mark.parametrize("code", ["EPERM", "ENOSYS"])
def test_a_bad_page_of_a_view_without_descriptor_is_one_page(faulty, code):
    """Where nobody can be asked whether a page is readable, it is not past the end."""
    faulty(f"""
        with open("small/file", "wb") as file:
            file.truncate(8 * PAGE)
            for page in (0, 1, 3, 4, 5, 6, 7):
                os.pwrite(file.fileno(), bytes([65 + page]) * PAGE, page * PAGE)
        m = yammap.open("small/file", "r+", keep_fd=False, on_fault="poison")
        view = m.array()
        with contextlib.suppress(OSError), open("small/filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(PAGE))
        {refusing(code, "process_vm_readv", "pipe2")}
        assert view[2 * PAGE] == 0
        assert bytes(view[3 * PAGE :: PAGE]) == b"DEFGH"
        assert [fault.length for fault in m.faults()] == [PAGE]
    """)
