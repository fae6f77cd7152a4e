"""A file that appears under its name complete and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import operator
import os
import secrets
import stat
from functools import partial
from typing import TYPE_CHECKING, Unpack

from .._linux.calls import Descriptor
from .disk import sync_directory
from .opening import Options, check_options, map_fd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .mmap_file import Mmap
    from .opening import Path

__all__ = ["atomic_create"]


@contextlib.contextmanager
def atomic_create(
    name: Path, size: int, perm: int | None = None, **options: Unpack[Options]
) -> Iterator[Mmap]:
    """Make a file that nobody sees before it is complete, and a power cut cannot halve.

    At the end of the block its bytes are synced, then it takes its name, in place of a
    file that may have had it, then the directory is synced. When the block or a step before
    the last fails, no file appears and one that was there stays. When the directory cannot
    be synced, the file is there, but perhaps not after a power cut.

    Parameters
    ----------
    name : path-like
        Path of the file. A symbolic link stays, and the file that it leads to is replaced,
        as `open` would overwrite that file.
    size : int
        Size of the file, in bytes; the block may change it.
    perm : int, optional
        Permission bits of the file, less the process's umask. By default they are those of
        the file that is replaced, whose owner and group are kept as well where the process
        may set them; 0o666, less the umask, if there is none.
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
        When the file cannot be made, synced or named, or `name` is that of a directory or
        a device.
    ValueError
        When `size` is negative, or `keep_fd` false.

    Notes
    -----
    The file has no name until the end (``O_TMPFILE``, open(2)), so a process that is killed
    leaves nothing; only between its two last system calls, linkat(2) and rename(2), has it
    a hidden name. Where the filesystem cannot do that, or the sandbox refuses linkat(2) or
    has no ``/proc``, it has a hidden name, ``.yammap-...``, from the beginning. What a
    killed process leaves under such a name, the next `atomic_create` of the same file on
    the same host takes away.

    Of the file that is replaced, other names (hard links), access control lists and
    extended attributes are not carried over. Where its group cannot be kept, the new
    file's group may do what all others may, and no more.

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
        raise ValueError(
            "atomic_create names the file by its descriptor: leave out keep_fd=False"
        )
    draft = _Draft(*_destination(os.fsdecode(name)))
    try:
        with _named(draft.path):
            draft.open(perm)
            m = map_fd(Descriptor(os.dup, draft.fd), os.fspath(name), size, {**options})
        with m:
            yield m
            m.sync()
        draft.publish()
    finally:
        draft.discard()
    sync_directory(draft.directory)


def _destination(name: str) -> tuple[str, os.stat_result | None]:
    """Return where the file is to be, and what is there; refuse what no file can replace.

    The kernel looks first, for it alone refuses links that are not to be trusted
    (``fs.protected_symlinks``).
    """
    try:
        old = os.stat(name)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(old.st_mode) else errno.EINVAL
        raise OSError(
            code, "only a regular file can be replaced: choose another name", name
        )
    if old is None and not os.path.basename(name):
        raise FileNotFoundError(errno.ENOENT, "this path has no file name at its end", name)
    return os.path.realpath(name), old


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Let errors name the file that was asked for."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


class _Draft:
    """The file while it is written: without a name, or with a hidden one beside its place.

    Its descriptor holds a lock (flock(2)) from before it has a name until it has its own.
    So who finds a hidden name can tell what was left from what is being written.
    """

    def __init__(self, path: str, old: os.stat_result | None) -> None:
        self.path, self.old = path, old
        self.directory, base = os.path.split(path)
        # Of the host too: on a network filesystem a lock may count on one host alone.
        slot = hashlib.sha256(os.fsencode(f"{os.uname().nodename}/{base}")).hexdigest()[:16]
        self._names = [
            os.path.join(self.directory, f".yammap-{end}")
            for end in (slot, f"{slot}-{secrets.token_hex(8)}")
        ]
        self._opened: list[Descriptor] = []
        self._owner = os.getpid()

    @property
    def fd(self) -> int:
        return self._opened[-1].fd

    def open(self, perm: int | None) -> None:
        """Make the file, in a way of which it is known that it can get its name."""
        old = self.old if perm is None else None
        self._perm = 0o666 if perm is None else perm
        if old is not None:
            self._perm = 0o600  # nobody opens it who may not in the end
        if not self._open_unnamed():
            self._claim(lambda name: self._make(name, os.O_CREAT | os.O_EXCL))
        if old is not None:
            _take_after(self.fd, old)

    def publish(self) -> None:
        """Put the file in its place. linkat(2) cannot replace, so it takes two calls.

        A process that was forked off inside the block leaves the file to its parent.
        """
        if os.getpid() != self._owner:
            return
        if os.fstat(self.fd).st_nlink == 0:
            self._claim(partial(_link, self.fd))
        os.replace(self._hidden, self.path)

    def discard(self) -> None:
        """Let go of the file, and of the hidden name that it may still have."""
        for opened in self._opened:
            with opened as fd:
                for name in self._names if os.getpid() == self._owner else ():
                    with contextlib.suppress(FileNotFoundError):
                        if os.path.samestat(os.lstat(name), os.fstat(fd)):
                            os.unlink(name)

    def _make(self, path: str, flags: int) -> None:
        flags |= os.O_RDWR | os.O_CLOEXEC
        self._opened.append(Descriptor(os.open, path, flags, self._perm))
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody takes it for one that was left, and removes it
            raise FileExistsError(
                errno.EEXIST, "another process swept it away", path
            ) from None
        except OSError:
            pass  # where there are no locks, nothing is swept

    def _open_unnamed(self) -> bool:
        """Return whether there is a file without a name, and it could be given one.

        That asks linkat(2) for the name of the directory, which is there: so it refuses in
        the end, if it is not refused itself, and finds what is to be linked in /proc.
        """
        try:
            self._make(self.directory, os.O_TMPFILE)
            _link(self.fd, self.directory)
        except FileExistsError:
            return True
        except OSError:
            return False
        return False

    def _claim(self, take: Callable[[str], None]) -> None:
        """Take the hidden name that belongs to the path, or a free one if it is in use."""
        for name in self._names:
            _sweep(name)
            with contextlib.suppress(FileExistsError):
                self._hidden = name
                take(name)
                if os.fstat(self.fd).st_nlink:  # not swept before it was locked
                    return
        raise FileExistsError(
            errno.EEXIST, "other processes use its hidden names: try again", self.path
        )


def _link(fd: int, name: str) -> None:
    """Give an open file a name.

    What linkat(2) is to follow is a link in /proc, and os.link() follows links only where
    it is given a directory.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    with Descriptor(os.open, "/proc/self/fd", flags) as descriptors:
        os.link(str(fd), name, src_dir_fd=descriptors, follow_symlinks=True)


def _sweep(name: str) -> None:
    """Remove what a killed process has left under a hidden name: nobody locks it now."""
    with contextlib.suppress(OSError):
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        with Descriptor(os.open, name, flags) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.lstat(name)):
                os.unlink(name)


def _take_after(fd: int, old: os.stat_result) -> None:
    """Give a file the permission bits of another, and its owner and group where we may."""
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with contextlib.suppress(OSError):
            os.fchown(fd, owner, group)
    bits = stat.S_IMODE(old.st_mode) & 0o777
    if os.fstat(fd).st_gid != old.st_gid:
        bits = bits & ~0o070 | (bits & 0o007) << 3
    with contextlib.suppress(OSError):  # a filesystem without modes has none to keep
        os.fchmod(fd, bits)
