"""``yammap doctor``: what works here, what yammap does where something does not."""

from __future__ import annotations

import mmap
import os
import platform
import resource
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from .. import __version__
from . import probes
from .info import filesystem
from .probes import number_in, refusal
from .terminal import spelled_size

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["STATES", "Finding", "as_json", "examine", "system"]

State = Literal["ok", "limited", "missing", "unknown"]
STATES = get_args(State)

_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

# Linux's default for the bytes that it reads around a page that is missing.
_USUAL_READAHEAD = 128


@dataclass(frozen=True)
class Finding:
    """Something that a mapping can use."""

    name: str
    state: State
    found: str
    """What was found, in words."""
    so: str
    """What yammap therefore does; empty where it does nothing else."""
    fix: str | None = None
    """What would change it: a command, or a setting."""


def system() -> dict[str, str | int]:
    """Return what is named in every report."""
    return {
        "yammap": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "page size": mmap.PAGESIZE,
    }


def examine(path: str) -> list[Finding]:
    """Look at the kernel, at the filesystem of a file or directory, and at the limits.

    Raises
    ------
    OSError
        When there is no such file, or it cannot be read.
    """
    return [*_of_filesystem(path), *_of_kernel(), *_of_limits(), *_of_memory()]


def as_json(path: str, findings: list[Finding]) -> dict[str, Any]:
    """Return the report for `json.dumps`."""
    found = [asdict(finding) for finding in findings]
    return {"system": system(), "path": path, "findings": found}


def _tried(
    name: str, refused: str | None, yes: str, no: str, fix: str | None = None
) -> Finding:
    if refused is None:
        return Finding(name, "ok", "works", yes)
    return Finding(name, "missing", refused, no, fix)


# -- The filesystem


def _of_filesystem(path: str) -> Iterator[Finding]:
    is_folder = os.path.isdir(path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield _place(fd)
        if not is_folder:
            yield from _reading(fd)
        yield from _writing(path if is_folder else os.path.dirname(path) or ".", is_folder)
        yield _readahead(fd)
    finally:
        os.close(fd)


def _place(fd: int) -> Finding:
    where = filesystem(fd)
    if where is None:
        return Finding("filesystem", "unknown", "not mounted, or no /proc", "")
    text = f"{where.type} ({where.source} on {where.mount})"
    return Finding("filesystem", "ok", text, "")


def _reading(fd: int) -> Iterator[Finding]:
    yield _tried(
        "mapping",
        refusal(lambda: mmap.mmap(fd, min(mmap.PAGESIZE, os.fstat(fd).st_size or 1),
                                  access=mmap.ACCESS_READ)),
        "files are mapped",
        "open(engine='auto') reads and writes by system call, without arrays and views",
    )  # fmt: skip
    yield _direct(fd)
    yield _tried(
        "cachestat(2)",
        refusal(partial(probes.cachestat, fd)),
        "resident() and evict() can check what mincore(2) reports",
        "resident() believes mincore(2), and does not work with engine='pread'",
        "Linux 6.5 has it; a sandbox must allow the call (number 451)",
    )


def _direct(fd: int) -> Finding:
    alignment = probes.direct_alignment(fd)
    refused = refusal(partial(probes.read_directly, fd))
    if refused is None and alignment:
        known = f"works; memory aligned to {alignment[0]} bytes, offsets to {alignment[1]}"
    else:
        known = refused or "works; the kernel does not tell its alignment"
    return Finding(
        "O_DIRECT",
        "missing" if refused else "ok",
        known,
        "rewrite() cannot look at the disk itself, and believes the kernel"
        if refused
        else "rewrite() compares with what the disk itself has",
    )


def _writing(folder: str, is_sample: bool) -> Iterator[Finding]:
    try:
        with probes.scratch_file(folder) as (fd, unnamed):
            if is_sample:
                yield from _reading(fd)
            yield from _growing(fd, unnamed)
    except OSError as error:
        why = f"no file can be made in {folder}: {error.strerror}"
        yield Finding("writing", "unknown", why, "files there can be read only")


def _growing(fd: int, unnamed: bool) -> Iterator[Finding]:
    yield _tried(
        "fallocate(2)",
        refusal(partial(probes.fallocate, fd)),
        "create() and growing allocate blocks, so that a full disk is an OSError at once",
        "growing writes zeros, which takes longer; allocate() and punch_hole() are refused",
    )
    yield _tried(
        "O_TMPFILE",
        None if unnamed else os.strerror(95),
        "atomic_create() writes a file without a name, which a killed process takes along",
        "atomic_create() writes a hidden file, which a killed process leaves behind",
    )
    yield _tried(
        "user.* attributes",
        refusal(lambda: os.setxattr(fd, "user.yammap.doctor", b"")),
        "open(ahead=) makes appends copies in memory",
        "open(ahead=) warns, and each append is a system call",
    )


def _readahead(fd: int) -> Finding:
    found = probes.readahead(fd)
    if found is None:
        text = "the device reports none, as on a tmpfs or a network filesystem"
        return Finding("readahead", "unknown", text, "")
    setting, kib = found
    text = f"{kib} KiB around each page that is missing"
    if kib <= _USUAL_READAHEAD:
        return Finding("readahead", "ok", text, "")
    return Finding(
        "readahead",
        "limited",
        text,
        "cold random reads of arrays read far too much: gather() and take() do not, nor "
        "arrays of open(advice='random')",
        f"echo {_USUAL_READAHEAD} | sudo tee {setting}",
    )


# -- The kernel


def _of_kernel() -> Iterator[Finding]:
    yield _tried(
        "memfd_create(2)",
        refusal(lambda: os.memfd_create("yammap-doctor")),
        "anonymous() works",
        "anonymous() is refused: use a file in /dev/shm",
    )
    yield _tried(
        "AIO: io_setup(2)",
        refusal(probes.io_setup),
        "without io_uring, batches read past the page cache by AIO",
        "without io_uring, batches read cold records through the page cache",
        "raise fs.aio-max-nr when fs.aio-nr has reached it; a sandbox must allow the call",
    )
    yield _tried(
        "io_uring_setup(2)",
        refusal(probes.io_uring),
        "batches read cold records by io_uring",
        "batches read cold records by AIO, or by hints and pread(2)",
        "sysctl kernel.io_uring_disabled=0; a sandbox must allow the call",
    )
    has_proc = os.path.exists("/proc/self/fd")
    yield _tried(
        "/proc",
        None if has_proc else "is not mounted",
        "errors name the limit behind them, and descriptors are opened anew",
        "errors name no limits, and open(ahead=) appends by system call",
        "mount -t proc proc /proc",
    )
    yield _huge_pages()


def _huge_pages() -> Finding:
    try:
        words = Path(_HUGE_PAGES).read_text(encoding="ascii")
    except OSError:
        return Finding("huge pages", "unknown", "the kernel does not tell", "")
    chosen = words.partition("[")[2].partition("]")[0]
    name, text = "huge pages", f"of anonymous mappings: {chosen}"
    if chosen in ("never", "deny"):
        so = "madvise('hugepage') of anonymous() does nothing"
        return Finding(name, "limited", text, so, f"echo advise | sudo tee {_HUGE_PAGES}")
    return Finding(name, "ok", text, "madvise('hugepage') works on anonymous()")


# -- Limits


_LIMITS = {
    "RLIMIT_AS": (
        "address space",
        "a growable mapping reserves less, and is mapped again when it outgrows that",
        "ulimit -v unlimited",
    ),
    "RLIMIT_MEMLOCK": ("locked memory", "lock() takes no more than that", "ulimit -l"),
    "RLIMIT_FSIZE": ("the size of a file", "growing beyond fails with EFBIG", "ulimit -f"),
}


def _of_limits() -> Iterator[Finding]:
    for limit, (what, so, fix) in _LIMITS.items():
        soft = resource.getrlimit(getattr(resource, limit))[0]
        if soft == resource.RLIM_INFINITY:
            yield Finding(limit, "ok", f"no limit of {what}", "")
        else:
            yield Finding(limit, "limited", f"{spelled_size(soft)} of {what}", so, fix)
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield Finding(
        "RLIMIT_NOFILE",
        "ok",
        f"{descriptors:,} descriptors",
        "a mapping keeps one or two; open(keep_fd=False) none",
    )
    count = number_in("/proc/sys/vm/max_map_count")
    yield Finding(
        "vm.max_map_count",
        "unknown" if count is None else "ok",
        "the kernel does not tell" if count is None else f"{count:,} mappings",
        "a mapping is one; so is each page that a fault replaced",
    )


# -- Memory


def _of_memory() -> Iterator[Finding]:
    free = _available()
    found = (
        "the kernel does not tell" if free is None else f"{spelled_size(free)} available"
    )
    so = "files up to that size stay in memory: for larger ones use stream() or gather()"
    yield Finding("memory", "ok" if free else "unknown", found, so)
    limit = probes.cgroup_memory()
    if limit is None:
        yield Finding("cgroup memory", "ok", "no limit is visible", "")
        return
    most, used = limit
    text = f"{spelled_size(most)} at most"
    if used is not None:
        text += f", {spelled_size(used)} used"
    so = "the page cache counts as well: what a larger file has there goes and comes again"
    fix = "raise memory.max of the cgroup (docker run --memory, resources.limits.memory)"
    yield Finding("cgroup memory", "limited", text, so, fix)


def _available() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next(
                int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail")
            )
    except (OSError, StopIteration):
        return None
