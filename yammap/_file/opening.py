"""Ways to get an `Mmap`: by path and mode, by flags, new, in memory, again."""

from __future__ import annotations

import contextlib
import errno
import io
import operator
import os
import stat
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    SupportsIndex,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

import numpy as np

from .. import _core
from .._linux.calls import ADVICE, HARMLESS, Descriptor, open_again
from .._linux.flags import Advice
from .._linux.limits import limit_behind
from .mmap_file import Mmap
from .signatures import formerly, shows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._linux.flags import AdviceName


_M = TypeVar("_M", bound=Mmap)

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

PlainMode = Literal["r", "r+", "w+", "x+", "a+", "c"]

# The spelling of `io.open`, with and without a ``b``.
Mode = Literal[
    "r", "rb", "r+", "rb+", "r+b", "w+", "wb+", "w+b", "x+", "xb+", "x+b",
    "a+", "ab+", "a+b", "c", "cb",
]  # fmt: skip

__all__ = [
    "NEW",
    "Mode",
    "Options",
    "Path",
    "PlainMode",
    "absolute",
    "anonymous",
    "check_number",
    "check_options",
    "checked_mode",
    "create",
    "map_fd",
    "mapped",
    "memory_fd",
    "open",
    "open_fd",
    "open_file",
    "reopen",
    "require_path",
]


class Options(TypedDict, total=False):
    reserve: int | None
    preallocate: bool
    populate: bool
    advice: int | AdviceName | None
    on_fault: Literal["raise", "poison"]
    keep_fd: bool
    engine: Literal["mmap", "auto", "pread"]
    ahead: int
    cached: bool | None


class _WindowOptions(Options, total=False):
    offset: int
    length: int | None


class _FileOptions(_WindowOptions, total=False):
    private: bool
    readonly: bool


_MODES: dict[PlainMode, int] = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w+": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "x+": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "a+": os.O_RDWR | os.O_CREAT | os.O_APPEND,
    "c": os.O_RDONLY,
}
NEW: set[PlainMode] = {"w+", "x+"}

# Each mode by all the ways to write it: with and without a ``b``.
_SPELLINGS: dict[str, PlainMode] = {
    mode[:i] + b + mode[i:]: mode
    for mode in _MODES
    for i in range(len(mode) + 1)
    for b in ("", "b")
}

_PATHS = (str, bytes, os.PathLike)
_NUMBERS = {"offset", "length", "reserve", "ahead"}

# What `advice` may be at opening, as a constant or by its name.
_HINTS = (None, Advice.DONTNEED, *HARMLESS)
_HINT_NAMES = [name for name, advice in ADVICE.items() if advice in _HINTS]

# What is meant by a mode that a file may have and a mapping may not.
_MEANT = {"w": "w+", "a": "a+", "x": "x+", "rw": "r+", "wr": "w+"}

# The flags that a descriptor needs, for the modes that write to its file.
_NEEDED_FLAGS = {"r+": os.O_RDWR, "a+": os.O_RDWR | os.O_APPEND}


@formerly(first="file", hint="for an array write open_array(path, dtype, mode, shape=...)")
@shows(_WindowOptions, Mmap.__init__)
def open(
    path: Path | int,
    mode: Mode = "r",
    *,
    size: int | None = None,
    perm: int = 0o666,
    **options: Unpack[_WindowOptions],
) -> Mmap:
    """Map a file.

    Parameters
    ----------
    path : path-like or int
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
    offset, length : int, optional
        Window into the file, in bytes, at any alignment. Without `length` the window goes
        to the end of the file and grows with the file.
    reserve : int, optional
        Address space, in bytes, to set aside for growth.
    preallocate : bool, default True
        Allocate disk blocks when the file grows.
    populate : bool, default False
        Load all of it into memory and the page tables; with the engine ``"pread"``, into
        the page cache.
    advice : int or str, optional
        A ``MADV_*`` constant for the whole mapping, or its name, as ``"random"``.
    on_fault : {"raise", "poison"}, default "raise"
        What happens after a bus error in an array or view. Every later method raises it.
        With ``"raise"``, Python also raises `BusError` in the thread that touched the page.
    keep_fd : bool, default True
        Keep the descriptor. Without it the size is fixed.
    engine : {"mmap", "auto", "pread"}, default "mmap"
        ``"auto"`` uses pread(2) and pwrite(2) where the filesystem cannot be mapped, and
        ``"pread"`` always does. A file that is not mapped has no arrays and views.
    ahead : int, default 0
        Bytes by which appending makes the file longer at a time, so that `Mmap.append` is a
        copy in memory and no system call. Until `Mmap.sync` or `Mmap.close` other programs
        see zeros at the end. 0 keeps the file's size exact.
    cached : bool, optional
        Whether records that batches read from the disk stay in the page cache, for calls
        that do not pass `cached` themselves, see `Mmap.gather`.

    Returns
    -------
    Mmap
        The mapped file, positioned at the start. In mode ``"a+"`` it is positioned at the
        end, as other files are: many writers call `tell` to see whether the file is new.

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
    plain = checked_mode(mode)
    if size is not None and plain not in NEW:
        raise ValueError(
            f"size= needs mode 'w+' or 'x+', not {plain!r}: call resize() on a "
            f"file that exists"
        )
    check_options(size, options, _WindowOptions, new=plain in NEW)
    settings = {**options, "private": plain == "c", "readonly": plain == "r"}
    if isinstance(path, int):
        m = map_fd(_own_descriptor(path, plain), path, None, settings)
    else:
        require_path(path)
        m = _map_path(path, _MODES[plain], perm, size, settings)
    if plain == "a+":
        m.seek(0, os.SEEK_END)
    return m


@formerly(first="name", hint="write its options by name")
@shows(_FileOptions, Mmap.__init__)
def open_file(
    path: Path,
    flags: int = os.O_RDONLY,
    perm: int = 0o666,
    **options: Unpack[_FileOptions],
) -> Mmap:
    """Map a file opened with the flags of open(2).

    Parameters
    ----------
    path : path-like
        Path of the file.
    flags : int, default os.O_RDONLY
        ``os.O_*`` flags. ``O_RDWR`` makes the mapping writable, with ``O_APPEND`` at the
        end only. ``O_CLOEXEC`` is always added.
    perm : int, default 0o666
        Permission bits of a new file, less the process's umask.
    private, readonly : bool, default False
        Copy on write; read only, as for `Mmap`.
    offset, length : int, optional
        Window into the file, in bytes, as for `Mmap`.
    reserve, preallocate, populate, advice, on_fault : optional
        As for `Mmap`.
    keep_fd, engine, ahead, cached : optional
        As for `Mmap`.

    Returns
    -------
    Mmap
        The mapped file.

    Raises
    ------
    OSError
        When the file cannot be opened or mapped.
    ValueError
        When `flags` are write-only: a mapping must be able to read.

    Examples
    --------
    >>> import os, yammap
    >>> with yammap.open_file("flags.bin", os.O_RDWR | os.O_CREAT) as m:
    ...     m.write(b"abc")
    3
    """
    check_options(None, options, _FileOptions, new=bool(flags & os.O_TRUNC))
    require_path(path)
    return _map_path(path, flags, perm, None, {**options})


@formerly(first="name", hint="write its options by name")
@shows(Options, Mmap.__init__)
def create(
    path: Path,
    size: int,
    flags: int = os.O_RDWR | os.O_CREAT | os.O_EXCL,
    perm: int = 0o666,
    *,
    exist_ok: bool = False,
    **options: Unpack[Options],
) -> Mmap:
    r"""Map a file of exactly `size` bytes, with disk blocks allocated for them.

    Parameters
    ----------
    path : path-like
        Path of the file.
    size : int
        Size of the file, in bytes.
    flags : int, default os.O_RDWR | os.O_CREAT | os.O_EXCL
        ``os.O_*`` flags. Without ``O_EXCL`` a file that exists is cut or lengthened to
        `size`; with ``O_TRUNC`` it loses its bytes first.
    perm : int, default 0o666
        Permission bits of a new file, less the process's umask.
    exist_ok : bool, default False
        Cut or lengthen a file that exists, as without ``O_EXCL``.
    reserve, preallocate, populate, advice, on_fault : optional
        As for `Mmap`.
    keep_fd, engine, ahead, cached : optional
        As for `Mmap`.

    Returns
    -------
    Mmap
        The mapped file.

    Raises
    ------
    FileExistsError
        When the file exists, and neither `exist_ok` nor `flags` allow that.
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
    check_number("size", size)
    check_options(None, options, Options, new=True)
    require_path(path)
    if exist_ok:
        flags &= ~os.O_EXCL
    try:
        return _map_path(path, flags, perm, size, {**options})
    except FileExistsError as error:
        error.strerror = (
            f"{error.strerror}: to cut or lengthen it to {size} bytes, pass exist_ok=True, "
            f"or flags= without os.O_EXCL"
        )
        raise


@shows(Options, Mmap.__init__, preallocate=False)
def anonymous(size: int, name: str = "yammap", **options: Unpack[Options]) -> Mmap:
    """Map memory that has no file on any disk: a memfd, see memfd_create(2).

    It can do all that a file can: grow, be inherited by a fork, and be mapped by another
    process that gets its descriptor.

    Parameters
    ----------
    size : int
        Size in bytes; all zeros.
    name : str, default "yammap"
        The name that /proc shows for the memory.
    reserve : int, optional
        Address space to set aside for growth, as for `Mmap`.
    preallocate : bool, default False
        Take the memory now, and not page by page as it is used.
    populate, advice, on_fault, keep_fd, engine, ahead, cached : optional
        As for `Mmap`.

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
    check_number("size", size)
    check_options(None, options, Options, new=True)
    fd = memory_fd(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if options.get("preallocate", False):
        return map_fd(fd, f"memfd:{name}", size, {**options})
    # The kernel hands out memory page by page, unlike the blocks of a file: allocating it
    # here would take pages that the caller may never touch. And since nobody else has the
    # file yet, it gets its size before it is mapped: an empty one is mapped twice.
    _lengthen(fd, size, f"memfd:{name}")
    return map_fd(fd, f"memfd:{name}", None, {**options, "preallocate": False})


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


def _lengthen(fd: Descriptor, size: int, name: str) -> None:
    try:
        os.ftruncate(fd.fd, size)
    except OSError as error:
        error.strerror = f"{error.strerror}{limit_behind(error.errno or 0)}"
        error.filename = name
        raise


@overload
def absolute(path: str) -> str: ...
@overload
def absolute(path: bytes) -> bytes: ...
def absolute(path: Any) -> Any:
    """Return a path from the root that leads to the same file; itself, if it is one.

    `os.path.abspath` alone would drop ``link/..``, which leads to the parent of the
    directory behind the link. And it would return another object for a `HeldPath`.
    """
    if os.pardir not in os.fsdecode(path).split(os.sep):
        full = os.path.abspath(path)
        return path if full == path else full
    directory, base = os.path.split(path)
    return os.path.join(os.path.realpath(directory), base)


def checked_mode(mode: str) -> PlainMode:
    """Return the mode without its ``b``, if it is a mode."""
    plain = _SPELLINGS.get(mode) if isinstance(mode, str) else None
    if plain is None:
        known = ", ".join(map(repr, _MODES))
        raise ValueError(f"mode must be one of {known}, not {mode!r}{_advice_on(mode)}")
    return plain


def _advice_on(mode: object) -> str:
    """Return what to write instead of a mode that is none, after a colon."""
    text = mode if isinstance(mode, str) else ""
    if meant := _MEANT.get(text.replace("b", "")):
        return f": a mapping must also read, so write {meant!r}"
    if (plain := text.replace("t", "")) in _SPELLINGS and plain != text:
        return (
            f": a mapping is of bytes, so write {plain!r} and wrap it in io.TextIOWrapper"
        )
    if isinstance(mode, type | np.dtype) or text[-1:].isdigit():
        return ": a dtype is for yammap.open_array(path, dtype, mode)"
    if isinstance(mode, int | tuple):
        return f": if that is the shape, write shape={mode!r}"
    return ""


def require_path(path: object) -> None:
    """Raise for what is no path, and say what to write instead."""
    if isinstance(path, _PATHS):
        return
    if path is None:
        instead = ": for memory without a file write yammap.anonymous(size)"
    elif isinstance(path, io.BytesIO):
        instead = ": its bytes are in memory already, use getbuffer()"
    elif hasattr(path, "fileno"):
        instead = ": pass its fileno() to yammap.open"
    elif isinstance(path, int):
        instead = ": yammap.open(descriptor, mode) maps an open file"
    else:
        instead = ""
    raise TypeError(f"path must be str, bytes or path-like, not {path!r}{instead}")


def check_options(
    size: int | None, options: Mapping[str, Any], known: Any, *, new: bool
) -> None:
    """Refuse bad options before they make or empty a file."""
    if size is not None:
        check_number("size", size)
    for name in options:  # items() crashes CPython 3.11 where it has no memory for a pair
        if name not in known.__optional_keys__:
            unknown = sorted(options.keys() - known.__optional_keys__)
            instead = ""
            if not {"dtype", "shape"}.isdisjoint(unknown):
                instead = ": for an array write yammap.open_array(path, dtype, mode)"
            raise TypeError(f"unexpected keyword arguments: {', '.join(unknown)}{instead}")
        if name in _NUMBERS and options[name] is not None:
            check_number(name, options[name])
    if new and (window := options.keys() & {"offset", "length"}):
        raise ValueError(
            f"a new file is mapped as a whole: leave out {' and '.join(sorted(window))}"
        )
    if options.get("ahead") and not options.get("keep_fd", True):
        raise ValueError("ahead= needs the file's descriptor: leave out keep_fd=False")
    if (advice := options.get("advice")) not in _HINTS and advice not in _HINT_NAMES:
        raise ValueError(
            f"advice {advice!r} is unknown or discards data: pass a hint such as 'random', "
            f"or call discard() or punch_hole() later"
        )


def check_number(name: str, number: SupportsIndex) -> None:
    if type(number) is not int and not hasattr(number, "__index__"):  # the usual is fast
        raise TypeError(f"{name} must be an int, a number of bytes, not {number!r}")
    if not 0 <= operator.index(number) < 1 << 63:
        raise ValueError(f"{name} must be between 0 and 2**63 - 1, not {number}")


def _own_descriptor(fd: int, mode: str) -> Descriptor:
    """Return a descriptor of our own, if the flags of `fd` fit the mode."""
    try:
        own = open_again(fd)
    except OverflowError:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), fd) from None
    if mode in NEW:
        raise ValueError(
            f"mode {mode!r} makes a new file, and descriptor {fd} has one: use mode 'r+'"
        )
    needed = _NEEDED_FLAGS.get(mode)
    if needed is not None and own.flags != needed:
        without = "without" if mode == "r+" else "and"
        raise ValueError(
            f"mode {mode!r} needs os.O_RDWR {without} os.O_APPEND, and descriptor {fd} was "
            f"opened otherwise: open it with these flags, or use 'r'"
        )
    return own


def _map_path(
    path: Path, flags: int, perm: int, size: int | None, options: dict[str, Any]
) -> Mmap:
    """Open a file and map it; remove a file that this made and could not map."""
    fd, is_new = _open_or_make(path, flags, perm)
    made = os.fstat(fd.fd) if is_new else None
    try:
        return map_fd(fd, os.fspath(path), size, options, flags)
    except BaseException:
        if made is not None:
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
    m = mapped(fd, name, options, Mmap)
    if size is None and not flags & os.O_CREAT:
        return m
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


def mapped(fd: Descriptor, name: Any, options: dict[str, Any], kind: type[_M]) -> _M:
    """``kind(fd, name, **options)``, in two thirds of its time."""
    populate, advice = options.pop("populate", False), options.pop("advice", None)
    cached = options.pop("cached", None)
    m = kind.__new__(kind)
    _core.map_descriptor(m, fd, name, **options)
    if populate or advice is not None or cached is not None:
        m._prepare(populate, advice, cached)
    return m


def _set_size(m: Mmap, size: int, *, preallocate: bool) -> None:
    kept = min(m.size(), size)
    m.resize(size)
    if preallocate and kept and _has_holes(m):
        m.allocate(0, kept)


def _has_holes(m: Mmap) -> bool:
    status = os.fstat(_core.Mapping.fileno(m))
    return status.st_blocks * 512 < status.st_size
