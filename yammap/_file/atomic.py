"""Files that appear under their name complete and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib  # here: a process that has dropped its rights may not find it later
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Unpack

from .._linux.calls import Descriptor
from .disk import sync_directory
from .mmap_file import Mmap
from .opening import Options, check_number, check_options, map_fd, require_path
from .signatures import formerly, shows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .opening import Path

__all__ = ["atomic_create"]


@formerly(("perm",), first="name", hint="write its options by name")
@shows(Options, Mmap.__init__)
@contextlib.contextmanager
def atomic_create(
    path: Path, size: int, *, perm: int | None = None, **options: Unpack[Options]
) -> Iterator[Mmap]:
    """Make a file that appears when it is complete and on the disk, or not at all.

    At the end of the block yammap syncs the bytes, gives the file its name, replacing a
    file of that name, and syncs the directory. When the block or a step before the last
    fails, no file appears, and an existing file stays. When the directory cannot be synced,
    the file is there, but may be gone after a power cut.

    Parameters
    ----------
    path : path-like
        Path of the file. A symbolic link stays: the file it leads to is replaced, just as
        `open` would overwrite that file.
    size : int
        Size of the file, in bytes; the block may change it.
    perm : int, optional
        Permission bits of the file, less the process's umask. By default the file takes
        those of the file it replaces, and its owner and group where the process may set
        them; a file that replaces none gets 0o666, less the umask.
    reserve, preallocate, populate, advice, on_fault : optional
        As for `Mmap`.
    keep_fd, engine, ahead, cached : optional
        As for `Mmap`; `keep_fd` cannot be false.

    Yields
    ------
    Mmap
        The mapping, writable; closed at the end of the block.

    Raises
    ------
    BusError
        When a view touched a page that the kernel could not supply.
    OSError
        When the file cannot be made, synced or named, or `path` names a directory or a
        device.
    ValueError
        When `size` is negative, or `keep_fd` false.

    Notes
    -----
    The file has no name until the end (``O_TMPFILE``, open(2)), so a killed process leaves
    nothing behind. The file has a hidden name only between the two last system calls,
    linkat(2) and rename(2). Where the filesystem cannot do that, or a sandbox refuses
    linkat(2) or has no ``/proc``, the file has a hidden name, ``.yammap-...``, from the
    beginning. When a killed process leaves such a file behind, the next `atomic_create` of
    the same file on the same host removes it.

    The new file does not take over other names (hard links), access control lists and
    extended attributes of the file it replaces. Where the process cannot keep the group,
    the new file's group gets the permissions of all others, and no more.

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
    require_path(path)
    check_number("size", size)
    check_options(None, options, Options, new=True)
    if not options.get("keep_fd", True):
        raise ValueError(
            "atomic_create names the file by its descriptor: leave out keep_fd=False"
        )
    draft = _Draft(*_destination(os.fsdecode(path)))
    try:
        with _errors_name(draft.path):
            draft.open(perm)
            m = map_fd(Descriptor(os.dup, draft.fd), os.fspath(path), size, {**options})
        with m:
            yield m
            m.sync()
        draft.publish()
    finally:
        draft.discard()
    sync_directory(draft.directory)


def _destination(name: str) -> tuple[str, os.stat_result | None]:
    """Return the final path, and the status of a file there; refuse other things there.

    The kernel follows the path first, since only the kernel refuses links that it does not
    trust (``fs.protected_symlinks``).
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
def _errors_name(path: str) -> Iterator[None]:
    """Let errors name the file that the caller asked for."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


class _Draft:
    """The file while it is written: without a name, or with a hidden one beside its place.

    Its descriptor holds a lock (flock(2)) before the file gets a hidden name, and until it
    gets the final one. So another process that finds a hidden name can tell a file that was
    left behind from one that is being written.
    """

    def __init__(self, path: str, old: os.stat_result | None) -> None:
        self.path, self.old = path, old
        self.directory, base = os.path.split(path)
        # With the host: on a network filesystem, a lock may hold on one host only.
        slot = hashlib.sha256(os.fsencode(f"{os.uname().nodename}/{base}")).hexdigest()[:16]
        self._names = [
            os.path.join(self.directory, f".yammap-{end}")
            for end in (slot, f"{slot}-{os.urandom(8).hex()}")
        ]
        self._opened: list[Descriptor] = []
        self._owner = os.getpid()

    @property
    def fd(self) -> int:
        return self._opened[-1].fd

    def open(self, perm: int | None) -> None:
        """Make the file, in a way that is known to let it get its name in the end."""
        old = self.old if perm is None else None
        self._perm = 0o666 if perm is None else perm
        if old is not None:
            self._perm = 0o600  # until the permissions of the old file are set
        if not self._try_unnamed():
            self._claim(lambda name: self._make(name, os.O_CREAT | os.O_EXCL))
        if old is not None:
            _copy_permissions(self.fd, old)

    def publish(self) -> None:
        """Put the file in its place, by two calls: linkat(2) cannot replace a file.

        A child that was forked inside the block leaves the file to its parent.
        """
        if os.getpid() != self._owner:
            return
        if os.fstat(self.fd).st_nlink == 0:
            self._claim(partial(_link, self.fd))
        os.replace(self._hidden, self.path)

    def discard(self) -> None:
        """Close the file, and remove the hidden name that it may still have."""
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
        except BlockingIOError:  # another process takes it for a left-over, and removes it
            raise FileExistsError(
                errno.EEXIST, "another process swept it away", path
            ) from None
        except OSError:
            pass  # without locks, no process sweeps

    def _try_unnamed(self) -> bool:
        """Make a file without a name; return whether that worked, and linkat(2) does too.

        To ask linkat(2), this links the file to the name of the directory, which exists:
        ``EEXIST`` then says that neither a sandbox nor a missing /proc is in the way.
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
        """Take the hidden name of the path, or a random one if that is in use."""
        for name in self._names:
            _remove_left_over(name)
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

    linkat(2) must follow a link in /proc, and os.link() asks it to only where it is given
    the descriptor of a directory.
    """
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    with Descriptor(os.open, "/proc/self/fd", flags) as descriptors:
        os.link(str(fd), name, src_dir_fd=descriptors, follow_symlinks=True)


def _remove_left_over(name: str) -> None:
    """Remove the file that a killed process left under a hidden name: it has no lock."""
    with contextlib.suppress(OSError):
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        with Descriptor(os.open, name, flags) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.lstat(name)):
                os.unlink(name)


def _copy_permissions(fd: int, old: os.stat_result) -> None:
    """Give a file the permissions of another, and its owner and group where allowed."""
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with contextlib.suppress(OSError):
            os.fchown(fd, owner, group)
    bits = stat.S_IMODE(old.st_mode) & 0o777
    if os.fstat(fd).st_gid != old.st_gid:
        bits = bits & ~0o070 | (bits & 0o007) << 3
    with contextlib.suppress(OSError):  # some filesystems have no modes
        os.fchmod(fd, bits)
