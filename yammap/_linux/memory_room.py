"""Whether memory is left: what the machine and the process's control groups still allow.

Imports nothing of ours.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["groups", "room_for_files", "shortage"]

_NO_LIMIT = 1 << 62


class _Version(NamedTuple):
    """How one version of control groups calls its files, and lines of ``memory.stat``."""

    limit: str
    usage: str
    caches: tuple[str, ...]


# Pages of files can be dropped; those of a tmpfs are not among them.
_V1 = _Version(
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_active_file", "total_inactive_file"),
)
_V2 = _Version("memory.max", "memory.current", ("active_file", "inactive_file"))


def shortage(size: int, proc: str = "/proc") -> str | None:
    """Say which limit leaves less memory than `size` bytes, or None if none does so.

    It counts what the kernel can drop from the page cache, and all free swap, as free. So
    what it refuses cannot work, and what it lets pass may still fail.
    """
    machine = _numbers(f"{proc}/meminfo", unit=1024)
    swap = machine.get("SwapFree", 0)
    left = machine.get("MemAvailable", size) + swap
    if left < size:
        return f"the machine has {left} bytes of memory left"
    found = (_shortage_in(*group, size - swap) for group in groups(proc))
    return next(filter(None, found), None)


def room_for_files(proc: str = "/proc") -> int:
    """Return the bytes that the page cache can have before it must drop pages."""
    machine = _numbers(f"{proc}/meminfo", unit=1024)
    found = (_left_in(*group, _NO_LIMIT) for group in groups(proc))
    return min([machine.get("MemAvailable", _NO_LIMIT), *(left for _, left in found)])


def groups(proc: str = "/proc") -> Iterator[tuple[str, _Version]]:
    """Yield the groups that may limit memory: the process's own, and those above it.

    In a container the path may be the host's; then only the group at the mount point, which
    is the container's, is found.
    """
    for version, mount, path in _memberships(proc):
        folder = os.path.normpath(f"{mount}/{path}")
        while folder.startswith(mount):
            yield folder, version
            folder = os.path.dirname(folder)


def _shortage_in(folder: str, version: _Version, size: int) -> str | None:
    limit, left = _left_in(folder, version, size)
    if left >= size:
        return None
    return f"{folder}/{version.limit} allows {limit} bytes, of which {left} are left"


def _left_in(folder: str, version: _Version, enough: int) -> tuple[int, int]:
    """Return the limit of a group, and how much it leaves; or that it leaves `enough`."""
    try:
        limit = int(_read(f"{folder}/{version.limit}"))
        left = limit - int(_read(f"{folder}/{version.usage}"))
    except ValueError:  # no such group in this container, or "max"
        return _NO_LIMIT, _NO_LIMIT
    if left < enough:  # else without the file that takes longest to read
        caches = _numbers(f"{folder}/memory.stat")
        left = max(0, left) + sum(caches.get(name, 0) for name in version.caches)
    return limit, left


def _memberships(proc: str) -> Iterator[tuple[_Version, str, str]]:
    """Yield version, mount point and path of the groups that the process is in."""
    mounts = dict(_mounts(proc))
    for line in _read(f"{proc}/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers and _V2 in mounts:
            yield _V2, mounts[_V2], path
        elif "memory" in controllers.split(",") and _V1 in mounts:
            yield _V1, mounts[_V1], path


def _mounts(proc: str) -> Iterator[tuple[_Version, str]]:
    for line in _read(f"{proc}/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2":
            yield _V2, before.split()[4]
        elif kind == "cgroup" and "memory" in options.split(","):
            yield _V1, before.split()[4]


def _numbers(path: str, unit: int = 1) -> dict[str, int]:
    rows = (line.replace(":", "").split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) * unit for row in rows if len(row) > 1}


def _read(path: str) -> str:
    """Return the text of a file of the kernel, or an empty one where there is none."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
