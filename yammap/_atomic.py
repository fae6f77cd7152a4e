"""A file that appears under its name complete and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING, Unpack

from ._file import sync_directory
from ._open import create

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._file import Mmap
    from ._open import _Options, _Path

__all__ = ["atomic_create"]


@contextlib.contextmanager
def atomic_create(
    name: _Path, size: int, perm: int = 0o666, **options: Unpack[_Options]
) -> Iterator[Mmap]:
    """Make a file that nobody sees before it is complete, and a power cut cannot halve.

    At the end of the block its bytes are synced, then it takes its name, in place of a
    file that may have had it, then the directory is synced. When the block or any of that
    fails, no file appears and one that was there stays.

    Parameters
    ----------
    name : path-like
        Path of the file.
    size : int
        Size of the file, in bytes; the block may change it.
    perm : int, default 0o666
        Permission bits of the file, less the process's umask.
    **options
        As of `create`.

    Yields
    ------
    Mmap
        The mapping, writable; closed at the end of the block.

    Raises
    ------
    BusError
        When a view of it touched a page that was not to be had.
    OSError
        When the file cannot be made, synced or named.
    ValueError
        When `size` is negative.

    Notes
    -----
    The file has no name until the end (``O_TMPFILE``, open(2)), so a process that is killed
    leaves nothing. Where the filesystem cannot do that it has a hidden one beside `name`.

    Examples
    --------
    >>> import os, yammap
    >>> with yammap.atomic_create("model.bin", 5) as m:
    ...     m.write_at(b"whole", 0)
    ...     os.path.exists("model.bin")
    5
    False
    >>> open("model.bin", "rb").read()
    b'whole'
    """
    path = os.path.abspath(os.fspath(name))
    directory, base = os.path.split(path)
    hidden = os.path.join(directory, _hidden(base))
    m = _create_unnamed(directory, hidden, size, perm, options)
    try:
        with m:
            yield m
            m.sync()
            _name(m, hidden)
        os.replace(hidden, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(hidden)
        raise
    sync_directory(directory)


def _hidden(base: str | bytes) -> str | bytes:
    token = secrets.token_hex(8)
    return (
        f".{base}.{token}" if isinstance(base, str) else b".%b.%b" % (base, token.encode())
    )


def _create_unnamed(
    directory: str | bytes,
    hidden: str | bytes,
    size: int,
    perm: int,
    options: _Options,
) -> Mmap:
    try:
        return create(directory, size, os.O_RDWR | os.O_TMPFILE, perm, **options)
    except OSError as error:
        # Linux before 3.11 calls the flag opening a directory for writing.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
    return create(hidden, size, os.O_RDWR | os.O_CREAT | os.O_EXCL, perm, **options)


def _name(m: Mmap, hidden: str | bytes) -> None:
    """Give the file its hidden name, if it has none yet. linkat(2) cannot replace."""
    if not os.path.exists(hidden):
        os.link(f"/proc/self/fd/{m.fileno()}", hidden, follow_symlinks=True)
