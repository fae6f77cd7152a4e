"""Ways to get an `Mmap`: by path and mode, by flags, new, in memory, again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import operator
import os
import stat
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

from .. import _core
from .._linux.calls import HARMLESS, Descriptor
from .._linux.flags import Advice
from .._linux.limits import limit_behind
from .mmap_file import Mmap

if TYPE_CHECKING:
    from collections.abc import Mapping


Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = [
    "NEW",
    "Options",
    "Path",
    "absolute",
    "anonymous",
    "check_options",
    "checked_mode",
    "create",
    "map_fd",
    "memory_fd",
    "open",
    "open_fd",
    "open_file",
    "reopen",
]


class Options(TypedDict, total=False):
    reserve: int | None
    preallocate: bool
    populate: bool
    advice: int | None
    on_fault: Literal["raise", "poison"]
    keep_fd: bool
    engine: Literal["mmap", "auto", "pread"]
    ahead: int


class _WindowOptions(Options, total=False):
    offset: int
    length: int | None


class _FileOptions(_WindowOptions, total=False):
    private: bool
    readonly: bool


_MODES = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w+": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "x+": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "a+": os.O_RDWR | os.O_CREAT | os.O_APPEND,
    "c": os.O_RDONLY,
}
NEW = {"w+", "x+"}

# The flags that a descriptor needs, for the modes that write to its file.
_NEEDED_FLAGS = {"r+": os.O_RDWR, "a+": os.O_RDWR | os.O_APPEND}


def open(
    file: Path | int,
    mode: str = "r",
    *,
    size: int | None = None,
    perm: int = 0o666,
    **options: Unpack[_WindowOptions],
) -> Mmap:
    """Map a file.

    Parameters
    ----------
    file : path-like or int
        Path, or a descriptor, which the mapping duplicates. The flags of the descriptor
        must fit the mode, and modes that make a new file need a path.
    mode : str, default "r"
        ``"r"`` read; ``"r+"`` read and write; ``"w+"`` the same on a new, empty file;
        ``"x+"`` the same, and the file must not exist; ``"a+"`` read, and write at the
        end only; ``"c"`` read, and write in memory only (copy on write). It may contain a
        ``"b"``, as in ``"rb+"``.
    size : int, optional
        With ``"w+"`` and ``"x+"``: the size of the new file, in bytes.
    perm : int, default 0o666
        Permission bits of a new file, less the process's umask.
    **options
        `offset`, `length`, `reserve`, `preallocate`, `populate`, `advice`, `on_fault`,
        `keep_fd`, `engine` and `ahead`, as for `Mmap`.

    Returns
    -------
    Mmap
        The mapped file, positioned at the start; in mode ``"a+"`` at the end, as other
        files are, since many writers ask `tell` whether the file is new.

    Raises
    ------
    OSError
        When the file cannot be opened or mapped; see ``errno`` and ``filename``.
    ValueError
        When the mode is unknown or does not fit the descriptor, or the window does not
        lie in the file.

    Examples
    --------
    >>> import yammap
    >>> with yammap.open("hello.txt", "w+") as m:
    ...     m.write(b"hello")
    5
    >>> with yammap.open("hello.txt") as m:
    ...     m.read()
    b'hello'
    """
    mode = checked_mode(mode)
    if size is not None and mode not in NEW:
        raise ValueError(
            f"size= needs mode 'w+' or 'x+', not {mode!r}: call resize() on a "
            f"file that exists"
        )
    check_options(size, options, _WindowOptions, new=mode in NEW)
    settings = {**options, "private": mode == "c", "readonly": mode == "r"}
    if hasattr(file, "fileno"):
        raise TypeError(
            f"file must be a path or a descriptor, not {file!r}: pass its fileno()"
        )
    if isinstance(file, int):
        m = map_fd(_own_descriptor(file, mode), file, None, settings)
    else:
        m = _map_path(file, _MODES[mode], perm, size, settings)
    if m.appending:
        m.seek(0, os.SEEK_END)
    return m


def open_file(
    name: Path,
    flags: int = os.O_RDONLY,
    perm: int = 0o666,
    **options: Unpack[_FileOptions],
) -> Mmap:
    """Map a file opened with the flags of open(2).

    Parameters
    ----------
    name : path-like
        Path of the file.
    flags : int, default os.O_RDONLY
        ``os.O_*`` flags. ``O_RDWR`` makes the mapping writable, with ``O_APPEND`` at the
        end only. ``O_CLOEXEC`` is always added.
    perm : int, default 0o666
        Permission bits of a new file, less the process's umask.
    **options
        `private`, `readonly`, `offset`, `length`, `reserve`, `preallocate`, `populate`,
        `advice`, `on_fault`, `keep_fd`, `engine` and `ahead`, as for `Mmap`.

    Returns
    -------
    Mmap
        The mapped file.

    Raises
    ------
    OSError
        When the file cannot be opened or mapped.
    ValueError
        When `flags` are write-only: a mapping must read.

    Examples
    --------
    >>> import os, yammap
    >>> with yammap.open_file("flags.bin", os.O_RDWR | os.O_CREAT) as m:
    ...     m.write(b"abc")
    3
    """
    check_options(None, options, _FileOptions, new=bool(flags & os.O_TRUNC))
    return _map_path(name, flags, perm, None, {**options})


def create(
    name: Path,
    size: int,
    flags: int = os.O_RDWR | os.O_CREAT,
    perm: int = 0o666,
    **options: Unpack[Options],
) -> Mmap:
    r"""Map a file of exactly `size` bytes, with disk blocks allocated for them.

    Parameters
    ----------
    name : path-like
        Path of the file. One that exists keeps its bytes up to `size`, unless `flags`
        have ``O_TRUNC``.
    size : int
        Size of the file, in bytes.
    flags : int, default os.O_RDWR | os.O_CREAT
        ``os.O_*`` flags.
    perm : int, default 0o666
        Permission bits of a new file, less the process's umask.
    **options
        `reserve`, `preallocate`, `populate`, `advice`, `on_fault`, `keep_fd`, `engine`
        and `ahead`, as for `Mmap`.

    Returns
    -------
    Mmap
        The mapped file.

    Raises
    ------
    OSError
        When the file cannot be opened or mapped, or the disk has no room for it.
    ValueError
        When `size` is negative, or `flags` do not allow writing.

    Examples
    --------
    >>> import yammap
    >>> with yammap.create("ten.bin", 10) as m:
    ...     m.read()
    b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
    """
    check_options(operator.index(size), options, Options, new=True)
    return _map_path(name, flags, perm, size, {**options})


def anonymous(size: int, name: str = "yammap", **options: Unpack[Options]) -> Mmap:
    """Map memory that has no file on any disk: a memfd, see memfd_create(2).

    It can do all that a file can: grow, be inherited by a fork, and be mapped by another
    process that gets its descriptor.

    Parameters
    ----------
    size : int
        Size in bytes; all zeros.
    name : str, default "yammap"
        What /proc calls it.
    **options
        `reserve`, `preallocate`, `populate`, `advice`, `on_fault`, `keep_fd`, `engine`
        and `ahead`, as for `Mmap`.

    Returns
    -------
    Mmap
        The mapped memory. It is freed with its last user.

    Raises
    ------
    OSError
        When there is not enough memory, or a sandbox refuses memfd_create(2).
    ValueError
        When `size` is negative.

    Examples
    --------
    >>> import yammap
    >>> yammap.anonymous(1 << 20).array("f8", (-1, 1024)).shape
    (128, 1024)
    """
    check_options(operator.index(size), options, Options, new=True)
    # The kernel hands out memory page by page, unlike the blocks of a file: allocating it
    # here would take pages that the caller may never touch.
    options.setdefault("preallocate", False)
    fd = memory_fd(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    return map_fd(fd, f"memfd:{name}", size, {**options})


def memory_fd(name: str, flags: int) -> Descriptor:
    try:
        return Descriptor(os.memfd_create, name, flags)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            error.strerror = (
                f"memfd_create(2) is refused: {error.strerror}; use a file in /dev/shm "
                f"instead, with yammap.open(path, 'w+')"
            )
        error.filename = f"memfd:{name}"
        raise


def reopen(m: Mmap, mode: str, **options: Unpack[_WindowOptions]) -> Mmap:
    """Map the file of `m` again, wherever its name leads to now."""
    settings = {**options, "private": mode == "c", "readonly": mode == "r"}
    return map_fd(_own_descriptor(_core.Mapping.fileno(m), mode), m.name, None, settings)


@overload
def absolute(path: str) -> str: ...
@overload
def absolute(path: bytes) -> bytes: ...
def absolute(path: Any) -> Any:
    """Return a path from the root that leads to the same file.

    `os.path.abspath` alone would drop ``link/..``, which leads to the parent of the
    directory behind the link.
    """
    if os.pardir not in os.fsdecode(path).split(os.sep):
        return os.path.abspath(path)
    directory, base = os.path.split(path)
    return os.path.join(os.path.realpath(directory), base)


def checked_mode(mode: str) -> str:
    """Return the mode without its ``b``, if it is a mode."""
    plain = mode.replace("b", "", 1) if isinstance(mode, str) else None
    if plain not in _MODES:
        raise ValueError(
            f"mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}"
        )
    return plain


def check_options(
    size: int | None, options: Mapping[str, Any], known: Any, *, new: bool
) -> None:
    """Refuse bad options before they make or empty a file."""
    if unknown := options.keys() - known.__optional_keys__:
        raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
    if new and (window := options.keys() & {"offset", "length"}):
        raise ValueError(
            f"a new file is mapped as a whole: leave out {' and '.join(sorted(window))}"
        )
    for name in ("size", "offset", "length", "reserve", "ahead"):
        number = size if name == "size" else options.get(name)
        if number is not None and not 0 <= operator.index(number) < 1 << 63:
            raise ValueError(f"{name} must be between 0 and 2**63 - 1, not {number}")
    if options.get("ahead") and not options.get("keep_fd", True):
        raise ValueError("ahead= needs the file's descriptor: leave out keep_fd=False")
    if options.get("advice") not in (None, Advice.DONTNEED, *HARMLESS):
        raise ValueError(
            f"advice {options['advice']!r} is unknown or discards data: pass a hint, as "
            f"yammap.MADV_RANDOM, or call discard() or punch_hole() later"
        )


def _own_descriptor(fd: int, mode: str) -> Descriptor:
    """Return a descriptor of our own, if the flags of `fd` fit the mode."""
    try:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    except OverflowError:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), fd) from None
    if mode in NEW:
        raise ValueError(
            f"mode {mode!r} makes a new file, and descriptor {fd} has one: use mode 'r+'"
        )
    needed = _NEEDED_FLAGS.get(mode)
    if needed is not None and flags & (os.O_ACCMODE | os.O_APPEND) != needed:
        without = "without" if mode == "r+" else "and"
        raise ValueError(
            f"mode {mode!r} needs os.O_RDWR {without} os.O_APPEND, and descriptor {fd} was "
            f"opened otherwise: open it so, or use mode 'r'"
        )
    return _own_description(fd, flags)


def _own_description(fd: int, flags: int) -> Descriptor:
    """Open the file again, so as not to share its owner's offset and write errors.

    The kernel reports an error of writing back once for each open file description. Where
    the kernel does not let us open the file again, a duplicate must do.
    """
    if stat.S_ISREG(os.fstat(fd).st_mode):
        kept = flags & (os.O_ACCMODE | os.O_APPEND)
        with contextlib.suppress(OSError):
            return Descriptor(os.open, f"/proc/self/fd/{fd}", kept | os.O_CLOEXEC)
    return Descriptor(os.dup, fd)


def _map_path(
    path: Path, flags: int, perm: int, size: int | None, options: dict[str, Any]
) -> Mmap:
    """Open a file and map it; remove a file that this made and could not map."""
    fd, is_new = _open_or_make(path, flags, perm)
    made = os.fstat(fd.fd)
    try:
        return map_fd(fd, os.fspath(path), size, options, flags)
    except BaseException:
        if is_new:
            _remove_if_empty(path, made)
        raise


def _open_or_make(path: Path, flags: int, perm: int) -> tuple[Descriptor, bool]:
    if not flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE:
        return open_fd(path, flags, perm), False
    try:
        return open_fd(path, flags | os.O_EXCL, perm), True
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return open_fd(path, flags, perm), False


def _remove_if_empty(path: Path, made: os.stat_result) -> None:
    """Unlink the file, unless another has its path now, or it has been written to."""
    with contextlib.suppress(OSError):
        now = os.lstat(path)
        if os.path.samestat(now, made) and now.st_size == 0:
            os.unlink(path)


def open_fd(path: Path, flags: int, perm: int) -> Descriptor:
    if flags & os.O_ACCMODE == os.O_WRONLY:
        raise ValueError(f"flags {flags:#o} only write: use os.O_RDWR, as mapping needs")
    _refuse_fifo(path)
    if flags & os.O_TRUNC:
        _refuse_while_running_ahead(path)
    try:
        return Descriptor(os.open, path, flags | os.O_CLOEXEC, perm)
    except OSError as error:
        error.strerror = f"{error.strerror}{limit_behind(error.errno or 0)}"
        raise


def _refuse_fifo(path: Path) -> None:
    """Refuse a FIFO, whose opening waits for the other end, perhaps for ever.

    ``O_NONBLOCK`` would avoid the wait too, but makes a file with a lease fail (fcntl(2)).
    """
    try:
        status = os.stat(path)
    except OSError:
        return
    if stat.S_ISFIFO(status.st_mode):
        raise OSError(
            errno.ENODEV, "a FIFO cannot be mapped: read it with open()", os.fspath(path)
        )


def _refuse_while_running_ahead(path: Path) -> None:
    """Raise if another mapping appends ahead, before ``O_TRUNC`` empties its file."""
    try:
        os.getxattr(path, "user.yammap.ahead")
    except OSError:
        return
    Mmap(Descriptor(os.open, path, os.O_RDWR | os.O_CLOEXEC), path).close()


def map_fd(
    fd: Descriptor,
    name: str | bytes | int,
    size: int | None,
    options: dict[str, Any],
    flags: int = 0,
) -> Mmap:
    """Map a descriptor, give a new file its size, and note the directory to sync."""
    keep_fd = size is None or options.pop("keep_fd", True)
    m = Mmap(fd, name, **options)
    try:
        if flags & os.O_CREAT and not isinstance(name, int):
            m._note_unsynced_directory(os.path.dirname(os.path.realpath(os.fsdecode(name))))
        if size is not None:
            _set_size(m, size, preallocate=options.get("preallocate", True))
        if not keep_fd:
            m._drop_descriptor()
    except BaseException:
        m.close()
        raise
    return m


def _set_size(m: Mmap, size: int, *, preallocate: bool) -> None:
    kept = min(m.size(), size)
    m.resize(size)
    if preallocate and kept and _has_holes(m):
        m.allocate(0, kept)


def _has_holes(m: Mmap) -> bool:
    status = os.fstat(_core.Mapping.fileno(m))
    return status.st_blocks * 512 < status.st_size
