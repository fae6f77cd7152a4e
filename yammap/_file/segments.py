"""Segments: files that processes share by name, who uses them, and when they go.

Knows names, links and locks, and no mapping.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from .._linux.calls import Descriptor
from .range_lock import exclusive_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "HANDED_ON_FOR",
    "HeldPath",
    "Place",
    "attach",
    "clean",
    "found",
    "make",
    "name_of",
    "sweep",
]

# Seconds for which a pickle keeps a segment that nobody has loaded it for.
HANDED_ON_FOR = 600

_PREFIX, _TICKET = "yammap-", ".yammap-ticket-"
_LONGEST = 200  # bytes; a ticket has 41 more, and file systems allow 255

# On a regular file, this bit does nothing. It says that the file was made here.
_MARK = stat.S_ISVTX

_TO_LOCK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# The byte that unlink() locks. It is the last that there is, and so in no range of anybody.
_UNLINKING = (1 << 63) - 1

# A sweep may take one part in this many of the time.
_SWEEPS = 100


class Place(NamedTuple):
    """Where a segment is, and what links lead to it.

    Its path is for users. A ticket, which is hidden, stands for a pickle on its way.
    """

    directory: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.directory}/{_PREFIX}{self.name}"

    def new_ticket(self) -> str:
        deadline = _now() + HANDED_ON_FOR
        return f"{self.directory}/{_TICKET}{deadline:08x}-{os.urandom(8).hex()}-{self.name}"

    def tickets(self) -> Iterator[str]:
        for entry in os.listdir(self.directory):
            if entry.startswith(_TICKET) and _parts(entry)[1] == self.name:
                yield f"{self.directory}/{entry}"

    def require_name(self) -> Place:
        """Refuse a name that leads elsewhere, or leaves no room for that of a ticket."""
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a segment must be a str, not {self.name!r}")
        if not self.name or "/" in self.name:
            raise ValueError(
                f"the name of a segment is no path: write 'tokens', and not {self.name!r} "
                f"(directory= says where it is)"
            )
        if "\0" in self.name or len(os.fsencode(self.name)) > _LONGEST:
            raise ValueError(
                f"the name of a segment has at most {_LONGEST} bytes, and none is 0: "
                f"choose another than {self.name!r}"
            )
        return self


def name_of(path: str) -> str:
    return os.path.basename(path).removeprefix(_PREFIX)


class Use:
    """A process's use of a segment: a shared lock (flock(2)) on the open file.

    The kernel drops it with the last process that has the open file. So a child that was
    forked uses the segment as well, and nobody has to notice that a process died.
    """

    __slots__ = ("__weakref__", "_forked", "_lock", "place")

    def __init__(self, place: Place, fd: Descriptor) -> None:
        """Begin with the open file of a mapping, on which the lock is."""
        self.place, self._forked = place, False
        self._lock = Descriptor(os.dup, fd.fd)
        _end_uses_when_workers_end()

    @property
    def fd(self) -> int:
        return self._lock.fd

    def __del__(self) -> None:
        self.end()

    def end(self) -> None:
        """Stop using the segment, and remove it if nobody else uses it.

        What a forked child has as well is only closed: the lock is that of both.
        """
        if self._lock.fd == -1:
            return
        with self._lock as fd:
            if not self._forked:
                _remove_if_last(self.place, fd)
        if self._forked:
            remove_if_unused(self.place)

    def move_lock(self) -> None:
        """Give the lock an open file that the mapping has not, since that will be forked.

        Else the mapping would keep the lock in one of both processes while it is there.
        """
        if self._forked or self._lock.fd == -1:
            return
        self._forked = True
        with contextlib.suppress(OSError):  # without /proc the next sweep removes it
            own = Descriptor(os.open, f"/proc/self/fd/{self.fd}", _TO_LOCK & ~os.O_NOFOLLOW)
            fcntl.flock(own.fd, fcntl.LOCK_SH)
            with self._lock as fd:
                fcntl.flock(fd, fcntl.LOCK_UN)
            self._lock = own

    def hand_on(self) -> tuple[str, str, int, str]:
        """Let the segment wait for whoever loads a pickle; returns what to pickle."""
        ticket = self.place.new_ticket()
        try:
            os.link(self.place.path, ticket)
        except PermissionError:  # of another user, who has to keep it
            ticket = ""
        except FileNotFoundError:
            raise self._unlinked() from None
        if ticket and not _leads_to(ticket, os.fstat(self.fd)):
            os.unlink(ticket)
            raise self._unlinked()
        return *self.place, os.fstat(self.fd).st_ino, ticket

    def unlink(self) -> None:
        """Remove the names of the segment; its users go on, and nobody can attach."""
        status = os.fstat(self.fd)
        # Without the lock, another could unlink it meanwhile, and a third make a new one.
        with exclusive_lock(self.fd, _UNLINKING):
            if not _leads_to(self.place.path, status):
                raise self._unlinked()
            _remove_names(self.place, os.fstat(self.fd))

    def _unlinked(self) -> FileNotFoundError:
        return FileNotFoundError(
            errno.ENOENT, "unlink() has removed the name of this segment", self.place.path
        )


class HeldPath(str):
    """The path of a segment: whoever holds this object uses the segment.

    A mapping, an array over it and a handle all keep the path by which their file was
    opened. So none of them needs to know that the file is shared.
    """

    __slots__ = ("use",)
    refers_to_no_mapping = True
    use: Use

    def __new__(cls, use: Use) -> HeldPath:
        path = super().__new__(cls, use.place.path)
        path.use = use
        return path

    def __reduce__(self) -> tuple[Callable[..., HeldPath], tuple[str, str, int, str]]:
        return receive, self.use.hand_on()

    def __copy__(self) -> HeldPath:
        return self

    def __deepcopy__(self, memo: object) -> HeldPath:
        return self


# By device and inode: many handles of a segment in a process share a descriptor.
_uses: WeakValueDictionary[tuple[int, int], Use] = WeakValueDictionary()

# When the next sweep of a directory is due.
_due: dict[str, float] = {}


def make(
    place: Place, perm: int, fill: Callable[[int], None]
) -> tuple[Descriptor, HeldPath]:
    """Make a segment, and let `fill` give it its size, which nobody sees before.

    Raises
    ------
    FileExistsError
        When a segment or another file has the name.
    OSError
        When it cannot be made, or as `fill` raises; then nothing is left.
    """
    while True:
        fd = _make_empty(place, perm)
        status = os.fstat(fd.fd)
        try:
            fcntl.flock(fd.fd, fcntl.LOCK_EX)
            fill(fd.fd)
            fcntl.flock(fd.fd, fcntl.LOCK_SH)  # lets others attach
        except BaseException:
            if _leads_to(place.path, status):
                os.unlink(place.path)
            with fd:  # now: a traceback may keep it, and so the memory, for long
                raise
        if _leads_to(place.path, status):  # no sweep came before a lock
            return fd, HeldPath(_use_of(place, fd, status))


def _make_empty(place: Place, perm: int) -> Descriptor:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            return Descriptor(os.open, place.path, flags, perm | _MARK)
        except FileExistsError:
            if not remove_if_unused(place):
                raise _exists(place) from None


def _exists(place: Place) -> FileExistsError:
    reason = "a file of this name exists, which is no segment: choose another name"
    with contextlib.suppress(OSError):
        if os.lstat(place.path).st_mode & _MARK:
            reason = "a segment of this name exists: leave out create=True to attach to it"
    return FileExistsError(errno.EEXIST, reason, place.path)


def attach(place: Place, flags: int) -> tuple[Descriptor, HeldPath, int]:
    """Open a segment, and use it from now on; its size is the last that is returned.

    Raises
    ------
    FileNotFoundError
        When there is no segment of that name.
    PermissionError
        When it belongs to another user, who did not allow that.
    """
    while True:
        fd = _open(place, flags)
        status = os.fstat(fd.fd)
        use = _uses.get((status.st_dev, status.st_ino))
        if use is not None and use.fd != -1:
            return fd, HeldPath(use), status.st_size
        fcntl.flock(fd.fd, fcntl.LOCK_SH)  # waits while it is being made or removed
        status = os.fstat(fd.fd)
        if _leads_to(place.path, status):
            break
    if not _is_marked(status) or not status.st_size:
        raise _absent(place, "the file of this name is no segment: map it by yammap.open()")
    return fd, HeldPath(_use_of(place, fd, status)), status.st_size


def _absent(place: Place, reason: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, reason, place.path)


def _is_marked(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_mode & _MARK != 0


def _open(place: Place, flags: int) -> Descriptor:
    try:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return Descriptor(os.open, place.path, flags)
    except FileNotFoundError:
        raise _absent(
            place, "there is no segment of this name: create=True makes one"
        ) from None
    except PermissionError as error:
        owner = os.lstat(place.path).st_uid
        error.strerror = f"the segment belongs to user {owner}, who has not allowed this"
        raise


def receive(directory: str, name: str, inode: int, ticket: str) -> HeldPath:
    """Use the segment that a pickle is about, and take its ticket back."""
    place = Place(directory, name)
    try:
        fd, path, _ = attach(place, os.O_RDONLY)
        with fd:
            found = os.fstat(fd.fd).st_ino
    except FileNotFoundError:
        found = None
    finally:
        _unlink(ticket)
    if found != inode:
        raise _absent(
            place,
            f"the segment is gone: nobody has used it for {HANDED_ON_FOR} s since it was "
            f"pickled, or it was unlinked",
        )
    return path


def _use_of(place: Place, fd: Descriptor, status: os.stat_result) -> Use:
    _uses[status.st_dev, status.st_ino] = use = Use(place, fd)
    return use


# -- Removing


def remove_if_unused(place: Place) -> bool:
    """Remove a segment that no process uses and no pickle waits for; tell if it is gone.

    The exclusive lock shows that nobody uses it, and keeps others from beginning to: they
    wait for the lock, and then look whether its path still leads to the file.
    """
    try:
        with Descriptor(os.open, place.path, _TO_LOCK) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _remove_unless_awaited(place, os.fstat(fd))
    except FileNotFoundError:
        return True
    except OSError:  # it is in use, or another user's
        return False


def _remove_if_last(place: Place, fd: int) -> None:
    """Remove a segment if the lock of an open file is the only one; it is gone then."""
    with contextlib.suppress(OSError):  # it is in use, or another user's
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_unless_awaited(place, os.fstat(fd))


def _remove_unless_awaited(place: Place, status: os.stat_result) -> bool:
    if not _is_marked(status) or status.st_uid != os.geteuid():
        return False
    if status.st_nlink > 1 and any(
        not _has_expired(ticket) and _leads_to(ticket, status) for ticket in place.tickets()
    ):
        return False
    _remove_names(place, status)
    return True


def _remove_names(place: Place, status: os.stat_result) -> None:
    tickets = place.tickets() if status.st_nlink > 1 else ()
    for name in (*tickets, place.path):
        if _leads_to(name, status):
            os.unlink(name)


def sweep(directory: str) -> None:
    """Clean a directory, unless that has just been done: it may take 1 % of the time."""
    start = time.monotonic()
    if start >= _due.get(directory, 0):
        clean(directory)
        took = time.monotonic() - start
        _due[directory] = start + _SWEEPS * took


def clean(directory: str) -> list[str]:
    """Remove the segments in a directory that nobody uses; returns their names."""
    entries = os.listdir(directory)
    for entry in entries:
        if entry.startswith(_TICKET) and _has_expired(entry):
            _unlink(f"{directory}/{entry}")
    places = (Place(directory, name_of(e)) for e in entries if e.startswith(_PREFIX))
    return [place.name for place in places if remove_if_unused(place)]


def found(directory: str) -> Iterator[tuple[Place, os.stat_result]]:
    """Yield the segments in a directory, those of other users as well."""
    for entry in sorted(os.listdir(directory)):
        if entry.startswith(_PREFIX):
            place = Place(directory, name_of(entry))
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(place.path)
                if _is_marked(status):
                    yield place, status


def _has_expired(ticket: str) -> bool:
    """Whether its time is over, or lies before the last start of the machine."""
    deadline = _parts(os.path.basename(ticket))[0]
    return not 0 <= deadline - _now() <= HANDED_ON_FOR


def _parts(ticket: str) -> tuple[int, str]:
    """Return deadline and name of the segment that a ticket is for."""
    try:
        deadline, _, name = ticket.removeprefix(_TICKET).split("-", 2)
        return int(deadline, 16), name
    except ValueError:
        return 0, ""


def _now() -> int:
    """Seconds since the machine was started, the time that it slept included."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


def _leads_to(path: str, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), status)
    except OSError:
        return False


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):  # it is gone, or another user's
        os.unlink(path)


# -- When the process forks, or ends


def _move_locks() -> None:
    for use in list(_uses.values()):
        use.move_lock()


os.register_at_fork(before=_move_locks)


def end_all() -> None:
    """End all uses of this process. Arrays stay valid until it has ended."""
    for use in list(_uses.values()):
        use.end()


_prepared_for: int | None = None


@atexit.register
def _end_at_exit() -> None:
    """End all uses, unless multiprocessing will: its queues may not have pickled all yet.

    Functions at exit run in the reverse order of their registration, so that this one comes
    before the one of multiprocessing, which was imported earlier.
    """
    if _prepared_for != os.getpid():
        end_all()


def _end_uses_when_workers_end() -> None:
    """Let workers of multiprocessing end their uses: they leave by os._exit()."""
    global _prepared_for
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _prepared_for != os.getpid():
        if _prepared_for is None:
            util.register_after_fork(_uses, _prepare)
        _prepare()
        _prepared_for = os.getpid()


def _prepare(_uses: object = None) -> None:
    util = sys.modules["multiprocessing.util"]
    util.Finalize(None, end_all, exitpriority=-100)
