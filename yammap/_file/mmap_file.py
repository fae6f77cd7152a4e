"""`Mmap`: a mapping as a file object, and as arrays."""

from __future__ import annotations

import contextlib
import io
import operator
from typing import TYPE_CHECKING, Any, Literal, NoReturn, SupportsIndex

import numpy as np

from .._errors import BusError
from .ndarrays import array_of
from .range_lock import Lockable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Buffer

    from .._linux.calls import Descriptor
    from .ndarrays import Shape

    _Buffer = Buffer | NDArray[Any]

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
    advice : int, optional
        A ``MADV_*`` constant for the whole mapping.
    on_fault : {"raise", "poison"}, default "raise"
        What a bus error in an array or view does. Every later method raises it; with
        ``"raise"``, the thread that touched the page gets a `BusError` at once as well.
    keep_fd : bool, default True
        Keep the descriptor. Without it the size is fixed.
    engine : {"mmap", "auto", "pread"}, default "mmap"
        ``"auto"`` uses pread(2) and pwrite(2) where the filesystem cannot be mapped, and
        ``"pread"`` always does. A file that is not mapped has no arrays and views.
    ahead : int, default 0
        Bytes by which appending makes the file longer at a time, so that `append` is a copy
        in memory and no system call. Until `sync` or `close` other programs see zeros at
        the end. 0 keeps the file's size exact.

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
        advice: int | None = None,
        on_fault: Literal["raise", "poison"] = "raise",
        keep_fd: bool = True,
        engine: Literal["mmap", "auto", "pread"] = "mmap",
        ahead: SupportsIndex = 0,
    ) -> None:
        super().__init__(
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
        try:
            self._prepare(populate, advice)
        except BaseException:
            self.close()
            raise

    def _prepare(self, populate: bool, advice: int | None) -> None:
        if advice is not None:
            self.madvise(advice)
        if populate:
            self.populate() if self.engine == "mmap" else self.warm()

    def __del__(self) -> None:
        """Close it, as `io.IOBase` does: a subclass may have a `close` of its own.

        There is no `ResourceWarning`: arrays keep a mapping alive after its last name, so
        a program may rightly never close it.
        """
        if not self.closed:
            with contextlib.suppress(BusError):  # the touching thread got it
                self.close()

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
        if faults := self.faults():
            return f"<{kind} name={self.name!r} mode={self.mode!r} faults={faults}>"
        return f"<{kind} name={self.name!r} mode={self.mode!r} size={len(self)}>"

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

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        r"""Read lines from the position on.

        Parameters
        ----------
        hint : int or None, default -1
            Stop after the line with which more than this many bytes have been read; no
            limit when negative, 0 or None.

        Returns
        -------
        list of bytes
            The lines, each with its ``b"\n"``.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.open("lines.txt", "w+") as m:
        ...     m.writelines([b"one\n", b"two"])
        ...     m.seek(0)
        ...     m.readlines()
        0
        [b'one\n', b'two']
        """
        lines, total = [], 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint < total:
                break
        return lines

    def __iter__(self) -> Self:
        len(self)
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def read_byte(self) -> int:
        """Read one byte at the position, and move it.

        Returns
        -------
        int
            The byte.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read. The position stays.
        ValueError
            When the position is at the end, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(3).read_byte()
        0
        """
        byte = self.read(1)
        if not byte:
            raise ValueError(f"no byte to read: {self.name!r} ends at {len(self)}")
        return byte[0]

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

    def write_byte(self, byte: SupportsIndex, /) -> None:
        """Write one byte at the position, and move it; the file grows where needed.

        Parameters
        ----------
        byte : int
            From 0 to 255.

        Raises
        ------
        BusError
            When the file was cut short, or the disk is full or bad.
        OSError
            When the file cannot grow.
        io.UnsupportedOperation
            When the mapping is read-only.
        TypeError
            When `byte` is no integer.
        ValueError
            When `byte` is out of range, a mapping of fixed size would have to grow, or the
            mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(0)
        >>> m.write_byte(65)
        >>> m[:]
        b'A'
        """
        self.write(bytes([operator.index(byte)]))

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
        view = self.view(offset)
        try:
            return array_of(view, dtype, shape, order)
        except ValueError as error:
            raise ValueError(f"{self.name!r}, from offset {offset}: {error}") from None


# A C extension type cannot inherit from it. Registration is all that the isinstance checks
# of the standard library and of pandas need.
io.RawIOBase.register(Mmap)
