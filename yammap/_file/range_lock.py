"""Locks on a range of a file, among processes and threads (fcntl(2), F_OFD_SETLK)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import operator
import os
import struct
import threading
import time
from typing import TYPE_CHECKING

from .._linux.calls import Descriptor
from .durability import Durable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import SupportsIndex

__all__ = ["FIRST_BEYOND", "Lockable", "exclusive_lock"]

# Every lock ends before this byte, even one to the end of the file. A mapping that appends
# ahead locks the bytes from here on, which no file has (_extent/ahead.c).
FIRST_BEYOND = (1 << 63) - 3

_LONGEST_PAUSE = 0.05


class Lockable(Durable):
    """The part of `Mmap` that takes turns with other processes and threads."""

    __slots__ = ()

    @contextlib.contextmanager
    def file_lock(
        self,
        exclusive: bool = True,
        offset: SupportsIndex = 0,
        length: SupportsIndex | None = None,
        timeout: float | None = None,
    ) -> Iterator[None]:
        """Hold a lock on the file, or on a range of it, in a ``with`` statement.

        Other processes, threads and mappings that ask for a lock on the same bytes wait
        until the block ends, unless both locks are shared. The lock stops nobody from
        reading and writing without one.

        Parameters
        ----------
        exclusive : bool, default True
            A lock for one holder; otherwise one that is shared with other shared locks.
        offset : int, default 0
            Position of the first byte, in bytes. The range may lie past the end.
        length : int, optional
            Number of bytes; by default all, also those the file will grow by.
        timeout : float, optional
            Seconds to wait, 0 for not at all; by default without a limit. Python handles
            signals meanwhile, and a handler may raise.

        Yields
        ------
        None
            Inside the block, the caller holds the lock.

        Raises
        ------
        OSError
            When the filesystem has no locks, or no /proc is mounted.
        io.UnsupportedOperation
            When `exclusive` is true and the mapping cannot write to the file.
        TimeoutError
            When another holder still has the lock after `timeout`.
        ValueError
            When the range is empty, it or `timeout` is negative, or the mapping is closed
            or has not kept its descriptor.

        Notes
        -----
        Each block opens a file description of its own for the lock (``F_OFD_SETLK``). So,
        unlike a lock by ``fcntl.lockf``, the lock stays when the process closes another
        descriptor of the file. A block inside a block waits for itself, as with a
        ``threading.Lock``, unless both locks are shared. The lock and locks by
        ``fcntl.lockf`` exclude each other; ``fcntl.flock`` is another kind of lock.

        A child that is forked inside the block shares the lock. The lock ends when the
        process that took it leaves the block, or when all these processes have ended.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> m = yammap.open("counter.bin", "w+", size=8)
        >>> counter = m.array(np.int64)
        >>> with m.file_lock():
        ...     counter[0] += 1
        >>> m.close()
        """
        start, count = operator.index(offset), FIRST_BEYOND
        if length is not None:
            count = operator.index(length)
        if start < 0 or count < 1 or (timeout is not None and not timeout >= 0):
            raise ValueError(
                f"offset and timeout must be 0 or more, and length 1 or more, not "
                f"{offset}, {timeout} and {length}: without a length all is locked"
            )
        start += self.origin
        span = range(start, min(start + count, FIRST_BEYOND))
        if not span:
            raise ValueError(f"offset {offset} is beyond the last byte that can be locked")
        own = self._open_for_lock(os.O_RDWR if exclusive else os.O_RDONLY)
        with own as fd, _locked(fd, self.name, exclusive, span, timeout):
            yield

    def _open_for_lock(self, access: int) -> Descriptor:
        try:
            return Descriptor(self._open_again, access)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
        raise io.UnsupportedOperation(
            f"an exclusive lock needs a file opened for writing, and {self.name!r} is "
            f"open for reading: use mode 'r+', or pass exclusive=False"
        )


@contextlib.contextmanager
def exclusive_lock(fd: int, byte: int) -> Iterator[None]:
    """Hold a lock on one byte of an open file, by a file description of its own."""
    flags = os.O_RDWR | os.O_CLOEXEC
    with Descriptor(os.open, f"/proc/self/fd/{fd}", flags) as own:
        _set_lock(own, fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, range(byte, byte + 1))
        yield


@contextlib.contextmanager
def _locked(
    fd: int, name: object, exclusive: bool, span: range, timeout: float | None
) -> Iterator[None]:
    """Hold a lock on bytes. `fd` stands for the holder: closing it also releases the lock.

    A child that was forked inside the block shares the descriptor. It only closes it, and
    the lock stays with the process that took it.

    Raises
    ------
    OSError
        When the filesystem has no locks.
    TimeoutError
        When another holder still has a conflicting lock.
    """
    owner = os.getpid()
    try:
        try:
            _acquire(fd, fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, span, timeout)
        except OSError as error:
            error.filename = name
            raise
        yield
    finally:
        if os.getpid() == owner:
            with contextlib.suppress(OSError):  # closing releases it as well
                _set_lock(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, span)


def _acquire(fd: int, kind: int, span: range, timeout: float | None) -> None:
    if timeout is None:
        _set_lock(fd, fcntl.F_OFD_SETLKW, kind, span)
        return
    # The kernel waits for ever or until a signal, and signals belong to the program.
    deadline, pause = time.monotonic() + min(timeout, threading.TIMEOUT_MAX), 0.001
    while not _try_acquire(fd, kind, span):
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError(
                errno.ETIMEDOUT, f"another holder still has the lock after {timeout} s"
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _try_acquire(fd: int, kind: int, span: range) -> bool:
    try:
        _set_lock(fd, fcntl.F_OFD_SETLK, kind, span)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _set_lock(fd: int, command: int, kind: int, span: range) -> None:
    fcntl.fcntl(
        fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, span.start, len(span), 0)
    )
