"""The exceptions of yammap, the faults they report, and the words for their causes.

Imports nothing of ours. `_memory/reports.pxi` raises a `BusError`, and makes its text.
"""

import errno
import os
from typing import NamedTuple

__all__ = ["BusError", "Fault", "NotContiguous", "ShortRead"]


def cause_of(code: int, shrank: str | None) -> str:
    """Return the cause of a bus error in words.

    ``EFAULT`` says only that there is no page. So `shrank` says how the file was cut, in
    the sizes the caller knows: an extent knows the former one, a handler of signals does
    not. None says that the file is not known to be shorter than it was.
    """
    if code != errno.EFAULT:
        return os.strerror(code)
    if shrank is None:
        return "the kernel cannot supply the page"
    return f"the file shrank{shrank}"


class Fault(NamedTuple):
    """A place in a mapping where the kernel could not supply what a view touched.

    See Also
    --------
    yammap.Mmap.faults : The method that returns them.
    """

    offset: int
    """Start of the pages that were replaced, in bytes from the start of the mapping."""
    length: int
    """Bytes that were replaced from there: whole pages, up to the end of the mapping."""
    access: str
    """``"read"`` or ``"write"``."""
    errno: int
    """``EFAULT`` past the end of the file, ``ENOSPC`` on a full disk, ``EIO``, ..."""


class NotContiguous(BufferError, TypeError):
    """Data whose bytes lie in several pieces.

    It is a `BufferError`, as files and `mmap` raise, and a `TypeError`, as for every other
    object that is no buffer to copy from.
    """


class BusError(OSError):
    """The kernel could not supply a mapped page, so the access failed.

    Without yammap, the kernel sends SIGBUS, which ends the process. ``errno`` tells the
    cause: ``EFAULT`` when the file was cut short (the code a system call returns for
    the same access), ``ENOSPC`` when the disk is full, ``EIO`` when it is bad;
    ``filename`` names the file, and ``strerror`` explains the cause in words. The mapping
    keeps its size; `Mmap.refresh` gives it the size of the file.

    A copying method raises it at once, and has changed nothing else. When a thread touches
    such a page of a *view*, an array or memoryview, yammap replaces the page and raises the
    exception as early as Python can: in that thread, when its next call returns or its loop
    goes round (``on_fault="raise"``), and by every later method of the mapping until
    `Mmap.heal`. Python makes that call before it raises, so the call may use what the
    replaced page held: ``b = a + 1; out.write(b)`` can write zeros that no file ever had,
    and raise afterwards. The call may also come after the ``try`` that should catch the
    exception.
    The exception is certain to have come when `Mmap.guard` is left: compute inside that
    block, and use the result after it.

    Attributes
    ----------
    offset : int
        Position in the mapping, in bytes, of the first byte that failed.
    access : str
        ``"read"`` or ``"write"``.
    count : int
        Bytes at the start of the range that were copied before the fault.
    record : int or None
        The number of the record, in a batch that `Mmap.gather` or a similar method copied.

    Examples
    --------
    >>> import os, yammap
    >>> with yammap.create("cut.bin", 8192) as m:
    ...     os.truncate("cut.bin", 4096)
    ...     try:
    ...         m.pread(2048, 3072)
    ...     except yammap.BusError as error:
    ...         print(error.offset, error.access, error.count)
    4096 read 1024
    """

    offset: int = 0
    access: str = "read"
    count: int = 0
    record: int | None = None


class ShortRead(EOFError):
    """The mapping ended before the buffer was full.

    Attributes
    ----------
    count : int
        Bytes that were read into the start of the buffer.

    Examples
    --------
    >>> import yammap
    >>> with yammap.anonymous(10) as m:
    ...     try:
    ...         m.read_at(bytearray(8), 6)
    ...     except yammap.ShortRead as short:
    ...         print(short.count)
    4
    """

    count: int = 0
