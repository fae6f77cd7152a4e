"""Locks on a range of a file, among processes and threads (fcntl(2), F_OFD_SETLK)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FIRST_BEYOND", "locked"]

# Every lock ends before this byte, even one to the end of the file. A mapping that appends
# ahead locks the bytes from here on, which no file has (_extent/ahead.c).
FIRST_BEYOND = (1 << 63) - 3

_LONGEST_PAUSE = 0.05


@contextlib.contextmanager
def locked(
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
                _set(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, span)


def _acquire(fd: int, kind: int, span: range, timeout: float | None) -> None:
    if timeout is None:
        _set(fd, fcntl.F_OFD_SETLKW, kind, span)
        return
    # The kernel waits for ever or until a signal, and signals belong to the program.
    deadline, pause = time.monotonic() + min(timeout, threading.TIMEOUT_MAX), 0.001
    while not _try(fd, kind, span):
        if (left := deadline - time.monotonic()) <= 0:
            raise TimeoutError(
                errno.ETIMEDOUT, f"another holder still has the lock after {timeout} s"
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _try(fd: int, kind: int, span: range) -> bool:
    try:
        _set(fd, fcntl.F_OFD_SETLK, kind, span)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True


def _set(fd: int, command: int, kind: int, span: range) -> None:
    fcntl.fcntl(
        fd, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, span.start, len(span), 0)
    )
