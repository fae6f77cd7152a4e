"""What yammap, `mmap`, `np.memmap` and pyarrow do when a mapped file goes wrong, measured.

    python -P tests/faults/peers.py [CASE ...]

puts each of them through every case, in a process of its own, and prints a table of what
came of it: how the process ended, what it raised, whether the bytes were right. It needs
what the fault tests need, see README.md.
"""

import contextlib
import ctypes
import errno
import faulthandler
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.append(str(Path(__file__).parent))  # which -P leaves out

import lab
import pytest

PAGE = os.sysconf("SC_PAGESIZE")
MIB = 1 << 20
PAGES = 4
LETTERS = b"".join(bytes([65 + i]) * PAGE for i in range(PAGES))
SECONDS = 20  # then it hangs


# -- The peers: how each opens, reads by copy, gives a view, writes, grows, closes ...


class NotOffered(Exception):  # noqa: N818  an answer
    pass


class Peer(SimpleNamespace):
    def __getattr__(self, call):
        raise NotOffered(call)

    def view(self, m):
        """Bytes of the mapping itself, as an array."""
        return np.frombuffer(self.buffer(m), np.uint8)

    def store(self, view, offset, value):
        if not view.flags.writeable:
            raise NotOffered("writing through a view")
        view[offset] = value


def use_yammap():
    import yammap

    return Peer(
        open=lambda name: yammap.open(name, "r+"),
        create=yammap.create,
        atomic=yammap.atomic_create,
        without_descriptor=lambda name: yammap.open(name, keep_fd=False),
        copy=lambda m, offset, size: m.pread(size, offset),
        write=lambda m, offset, data: m.write_at(data, offset),
        buffer=lambda m: m,
        grow=lambda m, size: m.resize(size),
        refresh=lambda m: m.refresh(),
        sync=lambda m: m.sync(),
        close=lambda m: m.close(),
    )


def use_mmap():
    import mmap

    def create(name, size):
        with open(name, "wb") as file:
            file.truncate(size)
        return opened(name)

    def opened(name, **options):
        with open(name, "r+b") as file:
            return mmap.mmap(file.fileno(), 0, **options)

    def write(m, offset, data):
        m[offset : offset + len(data)] = data

    untracked = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    return Peer(
        open=opened,
        create=create,
        without_descriptor=lambda name: opened(name, **untracked),
        copy=lambda m, offset, size: m[offset : offset + size],
        write=write,
        buffer=lambda m: m,
        grow=lambda m, size: m.resize(size),
        refresh=lambda m: m.resize(m.size()),
        sync=lambda m: m.flush(),
        close=lambda m: m.close(),
    )


def use_memmap():
    def write(m, offset, data):
        m[offset : offset + len(data)] = np.frombuffer(data, np.uint8)

    return Peer(
        open=lambda name: np.memmap(name, np.uint8, "r+"),
        create=lambda name, size: np.memmap(name, np.uint8, "w+", shape=size),
        without_descriptor=lambda name: np.memmap(name, np.uint8, "r"),
        copy=lambda m, offset, size: m[offset : offset + size].tobytes(),
        write=write,
        buffer=lambda m: m,
        sync=lambda m: m.flush(),
    )


def use_pyarrow():
    import pyarrow

    def write(m, offset, data):
        m.seek(offset)
        m.write(data)

    def buffer(m):
        m.seek(0)
        return m.read_buffer()

    return Peer(
        open=lambda name: pyarrow.memory_map(name, "r+"),
        create=pyarrow.create_memory_map,
        without_descriptor=lambda name: pyarrow.memory_map(name, "r"),
        copy=lambda m, offset, size: m.read_at(size, offset),
        write=write,
        buffer=buffer,
        grow=lambda m, size: m.resize(size),
        sync=lambda m: m.flush(),
        close=lambda m: m.close(),
    )


PEERS = {
    "yammap": use_yammap,
    "mmap": use_mmap,
    "np.memmap": use_memmap,
    "pyarrow": use_pyarrow,
}


# -- What came of it


def described(error):
    if isinstance(error, NotOffered):
        return "not offered"
    code = errno.errorcode.get(getattr(error, "errno", None), "")
    return f"{type(error).__name__} {code}".strip()


def outcome(call, *args):
    """Return what the call does, or the name of the exception that came of it."""
    try:
        return call(*args)
    except Exception as error:
        return described(error)


def seen(data, expected):
    if bytes(data) == bytes(expected):
        return "right data"
    return "wrong data" if any(data) else "silent zeros"


def on_disk(name):
    """What is left of a file when the page cache has forgotten it."""
    with open(name, "rb") as file:
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def report(*, so_far):
    """What to say if the process does not live to say more."""
    print(so_far, end=" ", flush=True)


def soon():
    """Time for an exception that is raised in this thread from outside."""
    for _ in range(10**7):
        pass


# -- The cases: each returns what happened, or raises it

CASES = {}


def case(title, *disk):
    """Register a case; it runs in an empty directory, the disk mounted at ``disk``."""

    def register(function):
        function.title, function.disk = title, disk
        CASES[function.__name__] = function
        return function

    return register


def new_file(name="file", content=LETTERS):
    Path(name).write_bytes(content)
    return name


def shrunk(peer):
    m = peer.open(new_file())
    os.truncate("file", PAGE)
    return m


def read_copy(peer, m, page=2):
    part = slice(page * PAGE, (page + 1) * PAGE)
    return seen(peer.copy(m, part.start, PAGE), LETTERS[part])


def read_view(view, page=2):
    part = slice(page * PAGE, (page + 1) * PAGE)
    data = view[part].tobytes()
    soon()
    return seen(data, LETTERS[part])


def write_view(peer, view, offset=2 * PAGE):
    peer.store(view, offset, ord("!"))
    soon()
    return "data lost, no error"


@case("cut short, then read by copy")
def cut_read_copy(peer):
    return read_copy(peer, shrunk(peer))


@case("cut short, then written by copy")
def cut_write_copy(peer):
    m = shrunk(peer)
    peer.write(m, 2 * PAGE, b"data")
    return "data lost, no error"


@case("cut inside the last page, then read there by copy")
def cut_inside_read(peer):
    m = peer.open(new_file())
    os.truncate("file", len(LETTERS) - 100)
    return seen(peer.copy(m, len(LETTERS) - 50, 50), LETTERS[-50:])


@case("the same, written by copy and synced")
def cut_inside_write(peer):
    m = peer.open(new_file())
    os.truncate("file", len(LETTERS) - 100)
    peer.write(m, len(LETTERS) - 50, b"data")
    peer.sync(m)
    return "right data" if b"data" in on_disk("file") else "data lost, no error"


@case("cut short, then a view is read")
def cut_read_view(peer):
    m = peer.open(new_file())
    view = peer.view(m)
    os.truncate("file", PAGE)
    return read_view(view)


@case("cut short, then a view is written")
def cut_write_view(peer):
    m = peer.open(new_file())
    view = peer.view(m)
    os.truncate("file", PAGE)
    return write_view(peer, view)


@case("the same, the mapping being gone and another file open")
def cut_write_last_view(peer):
    m = peer.open(new_file())
    view = peer.view(m)
    del m
    with open(new_file("other", b"z" * len(LETTERS)), "rb"):
        os.truncate("file", PAGE)
        told = outcome(write_view, peer, view)
    if told == "not offered":
        return told
    return f"{told}; wrong data" if b"z" in view[2 * PAGE : 3 * PAGE].tobytes() else told


def cut_and_regrown(name):
    """Cut the file and let it grow again, over and over, as long as this process lives."""
    parent = os.getpid()
    if os.fork():
        return
    while os.getppid() == parent:
        os.truncate(name, PAGE)
        os.truncate(name, PAGES * PAGE)
    os._exit(0)


def four_readers(right):
    """Let four threads read until one has an exception, or data that was never there."""
    found, stop = set(), threading.Event()

    def read_on():
        while not stop.is_set() and right():
            pass
        return "" if stop.is_set() else "wrong data"

    def reader():
        found.add(outcome(read_on))
        stop.set()

    threads = [threading.Thread(target=reader) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return " or ".join(filter(None, sorted(found)))


@case("cut and regrown in a loop under four threads that read by copy")
def loop_copy(peer):
    m = peer.open(new_file())
    cut_and_regrown("file")
    return four_readers(lambda: peer.copy(m, 0, len(LETTERS))[:PAGE] == LETTERS[:PAGE])


@case("the same, reading views")
def loop_view(peer):
    m = peer.open(new_file())
    view = peer.view(m)
    cut_and_regrown("file")
    return four_readers(lambda: view.tobytes()[:PAGE] == LETTERS[:PAGE])


def fill(directory):
    """Write there until not one block is left."""
    size = MIB
    with open(f"{directory}/filler", "wb", buffering=0) as file:
        while size >= 512:
            try:
                file.write(b"f" * size)
            except OSError:
                size //= 2
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())


def full(peer):
    """Map a file of holes on a full disk."""
    new_file("disk/file", b"")
    os.truncate("disk/file", PAGES * PAGE)
    m = peer.open("disk/file")
    fill("disk")
    return m


@case("full tmpfs: a hole is read by copy", lab.tmpfs, MIB)
def full_read_copy(peer):
    return seen(peer.copy(full(peer), 2 * PAGE, 9), bytes(9))


@case("full tmpfs: a hole is written by copy", lab.tmpfs, MIB)
def full_write_copy(peer):
    m = full(peer)
    peer.write(m, 2 * PAGE, b"data")
    return "data lost, no error"


@case("full tmpfs: a hole is written by view", lab.tmpfs, MIB)
def full_write_view(peer):
    m = full(peer)
    return write_view(peer, peer.view(m))


@case("full btrfs: a page is overwritten through a view", lab.loop_btrfs)
def full_overwrite_view(peer):
    m = peer.open(new_file("disk/file"))
    view = peer.view(m)
    os.sync()
    fill("disk")
    told = outcome(write_view, peer, view, 2 * PAGE)
    neighbours = seen(view[2 * PAGE + 1 :], LETTERS[2 * PAGE + 1 :])
    return told if told == "not offered" else f"{told}; around it {neighbours}"


@case("a file is made, larger than the disk", lab.tmpfs, MIB)
def create_too_large(peer):
    m = peer.create("disk/file", 4 * MIB)
    report(so_far="made, then")
    peer.write(m, 0, b"x" * (4 * MIB))
    return "data lost, no error"


@case("a file grows, larger than the disk", lab.tmpfs, MIB)
def grow_too_large(peer):
    m = peer.open(new_file("disk/file"))
    told = outcome(peer.grow, m, 4 * MIB)
    if told:
        kept = Path("disk/file").read_bytes()
        return f"{told}; {len(kept)} bytes, {seen(kept, LETTERS)}"
    report(so_far="grown, then")
    peer.write(m, 0, b"x" * (4 * MIB))
    return "data lost, no error"


@case("a bad page is read by copy", lab.fuse, "read 2")
def bad_read_copy(peer):
    return read_copy(peer, peer.open("disk/file"))


@case("a bad page is read by view", lab.fuse, "read 2")
def bad_read_view(peer):
    m = peer.open("disk/file")
    return read_view(peer.view(m))


@case("writing back fails: sync, three times", lab.thin_ext4)
def failed_sync(peer):
    m = peer.create("disk/file", 32 * MIB)
    for start in range(0, 16 * MIB, MIB):
        peer.write(m, start, b"x" * MIB)
    told = [outcome(peer.sync, m) or "no error" for _ in range(3)]
    del m
    lost = on_disk("disk/file")[: 16 * MIB] != b"x" * (16 * MIB)
    return ", ".join(told) + ("; data lost" if lost else "")


@case("killed while it replaces a file atomically: the old one is")
def atomic(peer):
    new_file(content=b"old")
    making = peer.atomic
    if not os.fork():
        with making("file", len(LETTERS)) as m:
            peer.write(m, 0, LETTERS[:PAGE])
            os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    return seen(Path("file").read_bytes(), b"old")


def closed_with(peer, make):
    """Close under a view and read that."""
    m = peer.open(new_file())
    view = make(peer.buffer(m))
    told = outcome(peer.close, m)
    return told or seen(view, LETTERS)


def grown_with(peer, make):
    """Grow under a view, and read and write through both."""
    m = peer.open(new_file())
    view = make(peer.buffer(m))
    if told := outcome(peer.grow, m, 64 * MIB):
        return told
    peer.write(m, PAGE, b"new")
    return seen(view, LETTERS[:PAGE] + b"new" + LETTERS[PAGE + 3 :])


@case("closed with a live memoryview, which is then read")
def close_memoryview(peer):
    return closed_with(peer, memoryview)


@case("closed with a live np.frombuffer")
def close_frombuffer(peer):
    return closed_with(peer, lambda buffer: np.frombuffer(buffer, np.uint8))


@case("closed with a live np.ndarray(buffer=)")
def close_ndarray(peer):
    return closed_with(peer, lambda buffer: np.ndarray(len(LETTERS), np.uint8, buffer))


@case("grown with a live memoryview, which is then read")
def grow_memoryview(peer):
    return grown_with(peer, memoryview)


@case("grown with a live np.ndarray(buffer=)")
def grow_ndarray(peer):
    return grown_with(peer, lambda buffer: np.ndarray(len(LETTERS), np.uint8, buffer))


@case("grown by another, then brought up to date with a live view")
def refreshed(peer):
    m = peer.open(new_file())
    view = peer.view(m)
    os.truncate("file", 2 * len(LETTERS))
    told = outcome(peer.refresh, m)
    if isinstance(told, str):
        return told
    seen_by_both = bytes(view) + bytes(peer.copy(m, len(LETTERS), 9))
    return seen(seen_by_both, LETTERS + bytes(9))


def displaced(peer, displace):
    """Map, have a view, let another handler of SIGBUS come, and cut the file."""
    m = peer.open(new_file())
    view = peer.view(m)
    displace()
    os.truncate("file", PAGE)
    return m, view


def handle_in_python():
    signal.signal(signal.SIGBUS, lambda *_: None)


@case("`faulthandler.enable()` after mapping, 0.1 s later a fault by copy")
def faulthandler_copy(peer):
    m, _ = displaced(peer, faulthandler.enable)
    time.sleep(0.1)
    return read_copy(peer, m)


@case("the same, at once")
def faulthandler_copy_at_once(peer):
    m, _ = displaced(peer, faulthandler.enable)
    return read_copy(peer, m)


@case("the same, by a view made 0.1 s after it")
def faulthandler_new_view(peer):
    m, _ = displaced(peer, faulthandler.enable)
    time.sleep(0.1)
    return read_view(peer.view(m))


@case("the same, by a view made before it, without a call since")
def faulthandler_old_view(peer):
    _, view = displaced(peer, faulthandler.enable)
    return read_view(view)


@case("`signal.signal(SIGBUS, ...)` after mapping, 0.1 s later a fault by copy")
def handler_copy(peer):
    m, _ = displaced(peer, handle_in_python)
    time.sleep(0.1)
    return read_copy(peer, m)


@case("the same, by a view made before it, without a call since")
def handler_old_view(peer):
    _, view = displaced(peer, handle_in_python)
    return read_view(view)


@case("an empty file")
def empty(peer):
    m = peer.open(new_file(content=b""))
    return "maps" if peer.copy(m, 0, 9) == b"" else "wrong data"


@case("200 mappings with 64 descriptors")
def descriptors(peer):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    new_file()
    kept = [peer.without_descriptor("file") for _ in range(200)]
    return seen(b"".join(peer.copy(m, 0, 1) for m in kept), b"A" * 200)


def naming(limit, call):
    """Map until there is an exception, and tell whether it names the limit."""
    try:
        kept = [call() for _ in range(100)]
    except Exception as error:
        return described(error) + (", names it" if limit in str(error) else "")
    return f"{len(kept)} mapped"


@case("`vm.max_map_count` is reached")
def too_many_maps(peer):
    new_file()
    peer.open("file")  # what it imports and sets up is not what is measured
    libc, many = ctypes.CDLL(None), 140_000 * PAGE
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        *[ctypes.c_int] * 3,
        ctypes.c_long,
    ]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = libc.mmap(None, many, 3, 0x22, -1, 0)
    for page in range(1, 140_000, 2):
        if libc.mprotect(start + page * PAGE, PAGE, 0):
            break
    return naming("max_map_count", lambda: peer.open("file"))


@case("`RLIMIT_AS` is reached")
def too_much_memory(peer):
    new_file()
    os.truncate("file", 64 * MIB)
    peer.open("file")
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    return naming("RLIMIT_AS", lambda: peer.open("file"))


@case("forks while a thread copies, 100 times")
def forked(peer):
    m = peer.open(new_file())

    def copy_on():
        while True:
            peer.copy(m, 0, len(LETTERS))

    threading.Thread(target=copy_on, daemon=True).start()
    for _ in range(100):
        child = os.fork()
        if not child:
            signal.alarm(SECONDS // 2)
            os._exit(bytes(peer.view(m)) != peer.copy(m, 0, len(LETTERS)))
        if ended := os.waitpid(child, 0)[1]:
            return f"child: {ending(os.waitstatus_to_exitcode(ended))}"
    return "right data"


# -- Measuring


def ending(status):
    if status == -signal.SIGALRM:
        return "hangs"
    return f"dies ({signal.Signals(-status).name})" if status < 0 else f"exit {status}"


def measured(name, peer):
    """Run one case with one peer in a process of its own, and say what happened."""
    make, *options = CASES[name].disk or (contextlib.nullcontext,)
    command = [sys.executable, "-P", Path(__file__).resolve(), "--one", name, peer]
    with tempfile.TemporaryDirectory() as directory:
        try:
            with make(Path(directory, "disk"), *options):
                done = subprocess.run(
                    command, cwd=directory, capture_output=True, text=True
                )
        except pytest.skip.Exception as reason:
            return f"not tried: {reason}"
    return done.stdout + (ending(done.returncode) if done.returncode else "")


def one(name, peer):
    """Be the process that may die."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    print(outcome(CASES[name], PEERS[peer]()), end="")


def table(names):
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("yammap", "numpy", "pyarrow")
    )
    print(f"Linux {platform.release()}, CPython {platform.python_version()}, {packages}\n")
    print("| case |", " | ".join(PEERS), "|")
    print("|---" * (1 + len(PEERS)) + "|")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = [[pool.submit(measured, name, peer) for peer in PEERS] for name in names]
        for name, row in zip(names, rows, strict=True):
            cells = [CASES[name].title, *(cell.result() for cell in row)]
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        table(sys.argv[1:] or list(CASES))
