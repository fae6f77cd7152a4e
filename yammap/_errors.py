"""The exceptions that are yammap's own. Imports nothing."""

__all__ = ["BusError", "ShortRead"]


class BusError(OSError):
    """The kernel could not supply a mapped page, so the access failed.

    Elsewhere this is the signal SIGBUS and the end of the process. ``errno`` tells the
    cause: ``EFAULT`` when the file was cut short (the code a system call returns for
    the same access), ``ENOSPC`` when the disk is full, ``EIO`` when it is bad;
    ``filename`` tells the file and ``strerror`` the whole story. The mapping keeps the size
    it had; `Mapping.refresh` takes over that of the file.

    Only the copying methods raise it. A handler for SIGBUS that somebody installs after the
    first mapping, as ``faulthandler.enable`` does, displaces what makes them do so.

    Attributes
    ----------
    offset : int
        Position in the mapping, in bytes, of the first byte that could not be had.
    access : str
        ``"read"`` or ``"write"``.
    count : int
        Bytes at the start of the range that were copied before it.

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
