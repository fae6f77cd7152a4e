"""A file that appears under its name complete and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import operator
import os
import secrets
import stat
from typing import TYPE_CHECKING, Unpack

from ._core import Mapping
from ._disk import sync_directory
from ._open import Options, absolute, check_options, map_fd, open_fd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._file import Mmap
    from ._open import Path

__all__ = ["atomic_create"]


@contextlib.contextmanager
def atomic_create(
    name: Path, size: int, perm: int = 0o666, **options: Unpack[Options]
) -> Iterator[Mmap]:
    """Make a file that nobody sees before it is complete, and a power cut cannot halve.

    At the end of the block its bytes are synced, then it takes its name, in place of a
    file that may have had it, then the directory is synced. When the block or a step before
    the last fails, no file appears and one that was there stays. When the directory cannot
    be synced, the file is there, but perhaps not after a power cut.

    Parameters
    ----------
    name : path-like
        Path of the file.
    size : int
        Size of the file, in bytes; the block may change it.
    perm : int, default 0o666
        Permission bits of the file, less the process's umask.
    **options
        As of `create`; `keep_fd` cannot be false.

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
        When `size` is negative, or `keep_fd` false.

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
    >>> with yammap.open("model.bin") as m:
    ...     m.read()
    b'whole'
    """
    check_options(operator.index(size), options, Options, new=True)
    if not options.get("keep_fd", True):
        raise ValueError("keep_fd must be true: a file gets its name by its descriptor")
    path = absolute(os.fsdecode(name))
    _refuse_to_replace(path)
    directory = os.path.dirname(path)
    hidden = os.path.join(directory, f".yammap-{secrets.token_hex(8)}")
    with _named(path):
        fd = _open_unnamed(directory, hidden, perm)
        m = map_fd(fd, os.fspath(name), size, {**options})
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


def _refuse_to_replace(path: str) -> None:
    """Raise for a name that no file can take: in the end all its bytes would be lost."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Let errors name the file that was asked for."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def _open_unnamed(directory: str, hidden: str, perm: int) -> int:
    try:
        return open_fd(directory, os.O_RDWR | os.O_TMPFILE, perm)
    except OSError as error:
        # Linux before 3.11 calls the flag opening a directory for writing.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
    return open_fd(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, perm)


def _name(m: Mmap, hidden: str) -> None:
    """Give the file its hidden name, if it has none yet. linkat(2) cannot replace.

    What it is to follow is a link in /proc, and os.link() follows links only where it is
    given a directory.
    """
    fd = Mapping.fileno(m)
    if os.fstat(fd).st_nlink == 0:
        descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(str(fd), hidden, src_dir_fd=descriptors, follow_symlinks=True)
        finally:
            os.close(descriptors)
