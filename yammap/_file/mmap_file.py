"""`Mmap`: a mapping as a file object, and as arrays."""

from __future__ import annotations

import contextlib
import io
import operator
from html import escape
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    SupportsIndex,
    TypeVar,
    overload,
)

import numpy as np
from numpy import frombuffer

from .._core import map_descriptor
from .._errors import BusError
from .gather import choose
from .html import html_of, spelled_size
from .ndarrays import array_of
from .range_lock import Lockable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Buffer

    from .._linux.calls import Descriptor
    from .._linux.flags import AdviceName
    from .ndarrays import Shape

    _Buffer = Buffer | NDArray[Any]

_Scalar = TypeVar("_Scalar", bound=np.generic)

__all__ = ["Mmap"]


class Mmap(Lockable):
    r"""A memory-mapped file: a file object, a buffer, and the source of arrays.

    `yammap.open`, `yammap.open_file`, `yammap.create` and `yammap.anonymous` make one.
    It has all of `io.RawIOBase`, works in a ``with`` statement, and may be used by many
    threads: positions, growth and closing are serialised, copies run in parallel.

    It is a sequence of bytes as well: ``len(m)``, ``m[i]``, ``m[a:b:c]``, ``in``, `find`,
    `rfind`, `move`, and assignment, which never changes the length. But iterating gives
    lines, as for files; for a large file call `readlines` and not ``list(m)``, which first
    makes room for ``len(m)`` items. And ``m == data`` tells whether both are the same
    object, as for files and `mmap.mmap`: compare ``m[:] == data``.

    Parameters
    ----------
    fd : int
        Descriptor of a regular file or memfd, open for reading. The mapping owns it
        from the call on, and allows what its flags allow: reading, writing or appending.
    name : object
        The name for the file in errors and in `name`, usually its path.
    private : bool, default False
        Copy on write: changes stay in memory and never reach the file.
    readonly : bool, default False
        Read only, even when the descriptor allows more.
    offset, length : int, optional
        Window into the file, in bytes, at any alignment. Without `length` it goes to the
        end of the file and grows with it.
    reserve : int, optional
        Address space, in bytes, to set aside for growth.
    preallocate : bool, default True
        Allocate disk blocks when the file grows.
    populate : bool, default False
        Load all of it into memory and the page tables, see `populate`; with the engine
        ``"pread"``, into the page cache, see `warm`.
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
        Bytes by which appending makes the file longer at a time, so that `append` is a copy
        in memory and no system call. Until `sync` or `close` other programs see zeros at
        the end. 0 keeps the file's size exact.
    cached : bool, optional
        Whether records that batches read from the disk stay in the page cache, for calls
        that do not pass `cached` themselves, see `gather`.

    Raises
    ------
    OSError
        When a system call fails, or the file is not a regular one; ``EBUSY`` when another
        mapping with `ahead` appends to it.
    ValueError
        When the window does not lie in the file, or `ahead` is given for a mapping that
        cannot write anywhere and grow.

    Warns
    -----
    RuntimeWarning
        When the file cannot run `ahead`, as on NFS or without ``/proc``: each append is a
        system call then.

    See Also
    --------
    yammap.open : By path and mode, the usual way.

    Examples
    --------
    >>> import yammap
    >>> with yammap.open("notes.txt", "w+") as m:
    ...     m.write(b"first line\nsecond line\n")
    ...     m.seek(0)
    ...     list(m)
    23
    0
    [b'first line\n', b'second line\n']
    """

    __slots__ = ()

    def __init__(
        self,
        fd: int | Descriptor,
        name: Any,
        *,
        private: bool = False,
        readonly: bool = False,
        offset: int = 0,
        length: int | None = None,
        reserve: int | None = None,
        preallocate: bool = True,
        populate: bool = False,
        advice: int | AdviceName | None = None,
        on_fault: Literal["raise", "poison"] = "raise",
        keep_fd: bool = True,
        engine: Literal["mmap", "auto", "pread"] = "mmap",
        ahead: SupportsIndex = 0,
        cached: bool | None = None,
    ) -> None:
        map_descriptor(
            self,
            fd,
            name,
            private=private,
            readonly=readonly,
            offset=offset,
            length=length,
            reserve=reserve,
            preallocate=preallocate,
            on_fault=on_fault,
            keep_fd=keep_fd,
            engine=engine,
            ahead=ahead,
        )
        self._prepare(populate, advice, cached)

    def _prepare(
        self, populate: bool, advice: int | AdviceName | None, cached: bool | None
    ) -> None:
        try:
            if cached is not None:
                choose(self, cached)
            if advice is not None:
                self.madvise(advice)
            if populate:
                self.populate() if self.engine == "mmap" else self.warm()
        except BaseException:
            self.close()
            raise

    # -- Which kind of file this is

    @property
    def name(self) -> Any:
        """object: the name in errors: the path or descriptor that the file was opened by.

        A program may set it, as it may set the name of an `io.FileIO`.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(10)
        >>> m.name = "scratch"
        >>> m
        <Mmap name='scratch' mode='rb+' size=10>
        """
        return super().name

    @name.setter
    def name(self, name: Any) -> None:
        self._rename(name)

    @property
    def mode(self) -> str:
        """str: the mode as `io.FileIO` spells it: ``"rb"``, ``"rb+"`` or ``"ab+"``."""
        if self.appending:
            return "ab+"
        return "rb" if self.readonly else "rb+"

    def readable(self) -> bool:
        """Tell whether `read` is possible.

        Returns
        -------
        bool
            Always True.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(1).readable()
        True
        """
        len(self)
        return True

    def writable(self) -> bool:
        """Tell whether `write` is possible.

        Returns
        -------
        bool
            False when the mapping is read-only.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(1).writable()
        True
        """
        len(self)
        return self.appending or not self.readonly

    def seekable(self) -> bool:
        """Tell whether `seek` is possible.

        Returns
        -------
        bool
            Always True.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(1).seekable()
        True
        """
        len(self)
        return True

    def isatty(self) -> bool:
        """Tell whether this is a terminal.

        Returns
        -------
        bool
            Always False.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(1).isatty()
        False
        """
        len(self)
        return False

    def __repr__(self) -> str:
        kind = type(self).__name__
        if self.closed:
            return f"<{kind} name={self.name!r} closed>"
        parts = [f"{kind} name={self.name!r} mode={self._shown_mode!r}"]
        if faults := self.faults():
            parts.append(f"faults={faults}")
        else:
            parts.append(f"size={len(self)}")
        if self.origin:
            parts.append(f"offset={self.origin}")
        if self.engine != "mmap":
            parts.append(f"engine={self.engine!r}")
        return f"<{' '.join(parts)}>"

    def _repr_html_(self) -> str:
        """Show it in a notebook, without touching a page."""
        if self.closed or self.faults():
            return f"<code>{escape(repr(self))}</code>"
        facts = {
            "file": self.name,
            "mode": self._shown_mode,
            "size": f"{spelled_size(len(self))} ({len(self):,} bytes)",
            "offset": f"{self.origin:,}",
            "engine": self.engine,
        }
        return html_of(type(self).__name__, facts, self, range(len(self)))

    @property
    def _shown_mode(self) -> str:
        return "c" if self.private else self.mode

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {self!r}: pickle its path, or a yammap.MappedArray")

    def __enter__(self) -> Self:
        if self.closed:
            len(self)  # raises; a bus error is raised at the end of the block
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except BusError:
            if error is None:  # else the block raised it already, or because of it
                raise

    # -- Reading

    def readall(self) -> bytes:
        r"""Read all bytes from the position to the end, and move it.

        Returns
        -------
        bytes
            The bytes; empty at the end.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read. The position stays.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(3).readall()
        b'\x00\x00\x00'
        """
        return self.read()

    def __contains__(self, item: object) -> bool:
        """Tell whether a byte, as an int, or several bytes are there, as `bytes` do."""
        with contextlib.suppress(
            TypeError
        ):  # an array has `__index__`, and it may raise this
            item = bytes([operator.index(item)])  # type: ignore[arg-type]
        return self.find(item) != -1  # type: ignore[arg-type]  # raises for other types

    def __bool__(self) -> bool:
        """Return True, as all file objects do, and unlike other sequences.

        A program that writes ``if file:`` asks whether there is a file, and not for its
        length or whether it is open.
        """
        return True

    # -- Writing

    def writelines(self, lines: Iterable[_Buffer], /) -> None:
        """Write each of an iterable of buffers.

        Parameters
        ----------
        lines : iterable of buffer
            The buffers to `write`, with nothing between them.

        Raises
        ------
        OSError
            As `write` does; the lines before are written.
        TypeError
            When an item is not a buffer.
        ValueError
            When the mapping is closed, or of fixed size and would have to grow.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(0)
        >>> m.writelines([b"one ", b"line"])
        >>> m.size()
        8
        """
        len(self)  # raises when closed, if there is no line to write
        for line in lines:
            self.write(line)

    # -- Arrays

    @overload
    def array(
        self,
        *,
        shape: Shape | None = None,
        offset: int = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[np.uint8]: ...
    @overload
    def array(
        self,
        dtype: type[_Scalar] | np.dtype[_Scalar],
        shape: Shape | None = None,
        offset: int = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[_Scalar]: ...
    @overload
    def array(
        self,
        dtype: DTypeLike,
        shape: Shape | None = None,
        offset: int = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[Any]: ...
    def array(
        self,
        dtype: DTypeLike = np.uint8,
        shape: Shape | None = None,
        offset: int = 0,
        order: Literal["C", "F"] = "C",
    ) -> NDArray[Any]:
        r"""Return a part of the mapping as a plain ndarray, without a copy.

        The array outlives `close` and any growth. While it lives, the mapping cannot become
        smaller.

        Parameters
        ----------
        dtype : dtype_like, default numpy.uint8
            Element type; structured types are fine, object types are not.
        shape : int or tuple of int, optional
            Elements for each dimension. One of them may be -1, and is inferred; by default
            there is one dimension, with all elements up to the end.
        offset : int, default 0
            Position of the first element, in bytes; any alignment.
        order : {"C", "F"}, default "C"
            Row-major or column-major.

        Returns
        -------
        numpy.ndarray
            Writeable when the mapping is.

        Raises
        ------
        TypeError
            When `dtype` holds Python objects.
        ValueError
            When the array does not fit, an inferred dimension does not come out even,
            or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(24)
        >>> a = m.array("<i4", (-1, 2))
        >>> a[1] = 7, 8
        >>> a
        array([[0, 0],
               [7, 8],
               [0, 0]], dtype=int32)
        >>> m.pread(4, 8)
        b'\x07\x00\x00\x00'
        """
        if type(shape) is int and shape >= 0 and order == "C":
            try:
                array: NDArray[Any] = frombuffer(self._exported, dtype, shape, offset)
                return array
            except (OverflowError, TypeError, ValueError):
                pass  # which are raised again in words that say what to do
        return self._array(dtype, shape, offset, order)

    def _array(
        self,
        dtype: DTypeLike,
        shape: Shape | None,
        offset: SupportsIndex,
        order: Literal["C", "F"],
    ) -> NDArray[Any]:
        view = self.view(offset)
        try:
            return array_of(view, dtype, shape, order)
        except ValueError as error:
            raise ValueError(f"{self.name!r}, from offset {offset}: {error}") from None


# A C extension type cannot inherit from it. Registration is all that the isinstance checks
# of the standard library and of pandas need.
io.RawIOBase.register(Mmap)
