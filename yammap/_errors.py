"""The exceptions that are yammap's own, and what they tell of. Imports nothing of ours."""

from typing import NamedTuple

__all__ = ["BusError", "Fault", "NotContiguous", "ShortRead"]


class Fault(NamedTuple):
    """A place in a mapping where the kernel could not supply what a view touched.

    See Also
    --------
    yammap.Mmap.faults : Where they come from.
    """

    offset: int
    """Start of what has been replaced, in bytes from the start of the mapping."""
    length: int
    """Bytes that have been replaced from there, whole pages as far as the mapping goes."""
    access: str
    """``"read"`` or ``"write"``."""
    errno: int
    """``EFAULT`` past the end of the file, ``ENOSPC`` for want of room, ``EIO``, ..."""


class NotContiguous(BufferError, TypeError):
    """Data whose bytes lie in several pieces: a `BufferError`, as files and `mmap` raise.

    And a `TypeError`, as of everything else that is no buffer to copy from.
    """


class BusError(OSError):
    """The kernel could not supply a mapped page, so the access failed.

    Elsewhere this is the signal SIGBUS and the end of the process. ``errno`` tells the
    cause: ``EFAULT`` when the file was cut short (the code a system call returns for
    the same access), ``ENOSPC`` when the disk is full, ``EIO`` when it is bad;
    ``filename`` tells the file and ``strerror`` the whole story. The mapping keeps the size
    it had; `Mmap.refresh` takes over that of the file.

    A copying method raises it at once, and has changed nothing else. Where a *view* was
    touched, an array or memoryview, the page is replaced, and the exception is raised as
    early as Python can: in the thread that touched it, by its next call or loop edge
    (``on_fault="raise"``), and by every later method of the mapping until `Mmap.heal`.
    That call has been made when the exception comes, and may have used what the replaced
    page gave: ``b = a + 1; out.write(b)`` can write zeros that were made up, and raise
    then. It may also lie behind the ``try`` that was to catch the exception. Leaving
    `Mmap.guard` is a place where it is certain to come, or to have come: compute in it, and
    use the result behind it.

    Attributes
    ----------
    offset : int
        Position in the mapping, in bytes, of the first byte that could not be had.
    access : str
        ``"read"`` or ``"write"``.
    count : int
        Bytes at the start of the range that were copied before it.
    record : int or None
        Which record of a batch it was, of those that `Mmap.gather` and its like copy.

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
