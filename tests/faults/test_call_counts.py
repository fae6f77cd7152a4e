"""The system calls of opening, closing, appending and syncing: no others (strace(1))."""

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer

# One call has several names, by architecture and C library.
NAMES = {
    "newfstatat": "stat",
    "fstat": "stat",
    "fstat64": "stat",
    "statx": "stat",
    "openat": "open",
    "pwrite64": "pwrite",
}

GUARD = "rt_sigaction rt_sigprocmask "  # who has SIGBUS, and whether this thread blocks it
LET_GO = "close munmap"
ROUNDS = 9
CALLS = {
    # Is it a FIFO; the flags; size and kind; does it run ahead, and was that the size; on
    # overlayfs?
    "yammap.open('file', 'r').close()": (
        f"stat open fcntl stat fgetxattr stat {GUARD} fstatfs mmap {LET_GO}"
    ),
    "yammap.open('file', 'r', offset=8192, length=4096).close()": (
        f"stat open fcntl stat fgetxattr stat {GUARD} fstatfs mmap {LET_GO}"
    ),
    # It does not end where a page does, so it does not run ahead.
    "yammap.open('odd', 'r').close()": (
        f"stat open fcntl stat {GUARD} fstatfs mmap {LET_GO}"
    ),
    "yammap.open('file', 'r+').close()": (
        f"stat open fcntl stat fgetxattr stat {GUARD} mmap {LET_GO}"
    ),
    # Flags and status of the caller's descriptor are those of the one that is opened.
    "yammap.open(fd, 'r').close()": (
        f"fcntl stat open fgetxattr stat {GUARD} mmap {LET_GO}"
    ),
    "yammap.open(fd, 'r+').close()": (
        f"fcntl stat open fgetxattr stat {GUARD} mmap {LET_GO}"
    ),
    # It has its size before it is mapped.
    "yammap.anonymous(4096).close()": (
        f"memfd_create ftruncate fcntl stat fgetxattr stat {GUARD} mmap {LET_GO}"
    ),
    # The descriptor's offset tells where the record is.
    "lines.append(b'record')": "write lseek",
    "data.append(b'record')": "pwrite",
    # The path is asked for by an error only.
    "compat.mmap(fd, 0).close()": (f"fcntl stat open fgetxattr stat {GUARD} mmap {LET_GO}"),
    "data.sync()": f"{GUARD} msync stat",
    "drop_in.flush()": f"{GUARD} msync stat",
    "drop_in.flush(0, 4096)": f"{GUARD} msync stat",
}

SOURCE = """
import gc, os, yammap
from yammap import compat

for name, size in ("file", 1 << 16), ("odd", 1000), ("lines", 0), ("data", 0):
    with open(name, "wb") as file:
        file.write(bytes(size))
fd = os.open("file", os.O_RDWR)
lines, data = yammap.open("lines", "a+"), yammap.open("data", "r+")
drop_in = compat.mmap(fd, 0)
gc.disable()
for call in {calls}:
    code = compile(call, call, "eval")
    for _ in range({rounds}):
        os.path.lexists("/begin")
        eval(code)
        os.path.lexists("/end")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The calls of each line: the fewest, since now and then there is more to do.

    The first round makes what later ones use, and once in a tick each call looks who has
    SIGBUS.
    """
    directory = tmp_path_factory.mktemp("calls")
    program = directory / "program.py"
    program.write_text(SOURCE.format(calls=list(CALLS), rounds=ROUNDS))
    lab.trace(program, directory / "trace")
    seen, rounds = [], []
    for line in (directory / "trace").read_text().splitlines():
        name = line.split("(")[0].split()[-1]
        if '"/begin"' in line:
            seen = []
        elif '"/end"' in line:
            rounds.append(seen)
        else:
            seen.append(NAMES.get(name, name))
    groups = zip(*[iter(rounds)] * ROUNDS, strict=True)
    return {call: min(group, key=len) for call, group in zip(CALLS, groups, strict=True)}


@pytest.mark.parametrize("call", CALLS)
def test_no_other_system_calls_are_made(made, call):
    assert made[call] == CALLS[call].split()
