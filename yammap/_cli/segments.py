"""``yammap shared``: the segments of a directory, and which processes use them."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core import birth
from .._file.segments import clean, found
from .._linux.calls import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Listed", "removed", "segments"]


@dataclass(frozen=True)
class Listed:
    """A segment; `users` is None where it has some that the kernel does not show."""

    name: str
    path: str
    size: int
    owner: int
    users: list[int] | None
    pickles: int
    age: float


def segments(directory: str) -> list[Listed]:
    """Return what a directory has."""
    places = list(found(directory))
    by_file = _users({os.path.basename(place.path) for place, _ in places})
    locked = _locked()
    listed = []
    for place, status in places:
        users = sorted(by_file.get((status.st_dev, status.st_ino), ()))
        device = os.major(status.st_dev), os.minor(status.st_dev)
        is_used = (*device, status.st_ino) in locked
        listed.append(
            Listed(
                name=place.name,
                path=place.path,
                size=status.st_size,
                owner=status.st_uid,
                users=users if users or not is_used else None,
                pickles=status.st_nlink - 1,
                age=_age(place.path, status),
            )
        )
    return listed


def removed(directory: str) -> list[Listed]:
    """Remove the segments that nobody uses, and return these."""
    listed = segments(directory)
    names = set(clean(directory))
    return [one for one in listed if one.name in names]


def _users(names: set[str]) -> dict[tuple[int, int], set[int]]:
    """Return the processes that have locks on files of these names, by device and inode."""
    users: dict[tuple[int, int], set[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                for file in _locked_by(entry, names):
                    users.setdefault(file, set()).add(int(entry))
    return users


def _locked_by(process: str, names: set[str]) -> Iterator[tuple[int, int]]:
    for fd in os.listdir(f"/proc/{process}/fd"):
        path = f"/proc/{process}/fd/{fd}"
        with contextlib.suppress(OSError):  # it has been closed
            if os.path.basename(os.readlink(path)) in names:
                with open(f"/proc/{process}/fdinfo/{fd}") as file:
                    if "FLOCK" in file.read():
                        status = os.stat(path)
                        yield status.st_dev, status.st_ino


def _locked() -> set[tuple[int, int, int]]:
    """Return the files that are locked, whoever has the locks: device and inode."""
    try:
        with open("/proc/locks") as file:
            lines = re.findall(r": FLOCK .* (\w+):(\w+):(\d+) ", file.read())
    except OSError:
        return set()
    return {(int(major, 16), int(minor, 16), int(inode)) for major, minor, inode in lines}


def _age(path: str, status: os.stat_result) -> float:
    """Return seconds since the file was made, or written to if that is not known."""
    made = status.st_mtime
    with contextlib.suppress(OSError), Descriptor(os.open, path, os.O_PATH) as fd:
        made = birth(fd)[0] / 1e6 or made
    return max(0.0, time.time() - made)
