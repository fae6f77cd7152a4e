"""Arrays by path, in one call, from raw, .npy and .npz files."""

from __future__ import annotations

import contextlib
import operator
import os
import struct
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

import numpy as np

from .._file.mmap_file import Mmap
from .._file.ndarrays import shape_of
from .._file.opening import NEW, Options, absolute, check_options, checked_mode
from .._file.opening import open as open_path
from .._file.signatures import formerly, shows
from .array_layout import contiguous
from .formats import described_layout
from .npy import has_npy_name, header_of_new, layout_of_npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipInfo

    from numpy.typing import DTypeLike, NDArray

    from .._file.ndarrays import Shape
    from .._file.opening import Mode, Path

__all__ = ["open_array", "open_npz"]

_Scalar = TypeVar("_Scalar", bound=np.generic)


@overload
def open_array(
    path: Path | int,
    dtype: type[_Scalar] | np.dtype[_Scalar],
    mode: Mode = "r",
    *,
    shape: Shape | None = None,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
    perm: int = 0o666,
    **options: Unpack[Options],
) -> NDArray[_Scalar]: ...
@overload
def open_array(
    path: Path | int,
    dtype: DTypeLike | None = None,
    mode: Mode = "r",
    *,
    shape: Shape | None = None,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
    perm: int = 0o666,
    **options: Unpack[Options],
) -> NDArray[Any]: ...
@formerly(("shape", "offset", "order"), hint="write its options by name")
@shows(Options, Mmap.__init__)
def open_array(
    path: Path | int,
    dtype: DTypeLike | None = None,
    mode: Mode = "r",
    *,
    shape: Shape | None = None,
    offset: int = 0,
    order: Literal["C", "F"] = "C",
    perm: int = 0o666,
    **options: Unpack[Options],
) -> NDArray[Any]:
    """Map a file and return it as a plain ndarray, in one call.

    A file in NumPy's format, whatever its name, has a header that describes the array. A
    new file gets a header if its path ends in ``.npy``. To map the bytes of such a file
    and ignore its header, write ``yammap.open(path).array(dtype, shape, offset)``.

    Parameters
    ----------
    path : path-like or int
        Path or descriptor of the file.
    dtype : dtype_like, optional
        Element type; by default numpy.uint8, or the type in the header. If the header
        gives only the item size, as for bfloat16, pass any type of that size.
    mode : str, default "r"
        As for `open`. ``"w+"`` and ``"x+"`` make a new file, which ends with the array.
    shape : int or tuple of int, optional
        Elements for each dimension; one may be -1, and is inferred from the file's size.
    offset : int, default 0
        Position of the first element in the file, in bytes.
    order : {"C", "F"}, default "C"
        Row-major or column-major.
    perm : int, default 0o666
        Permission bits of a new file, less the process's umask.
    reserve, preallocate, populate, advice, on_fault : optional
        As for `Mmap`.
    keep_fd, engine, ahead, cached : optional
        As for `Mmap`.

    Returns
    -------
    numpy.ndarray
        The array. The memory lives as long as the array, and no descriptor stays open.

    Raises
    ------
    OSError
        When the file cannot be opened or mapped.
    TypeError
        When `dtype` holds Python objects.
    ValueError
        When the array does not fit, or a new file has no full shape. For a ``.npy`` file,
        when it has no header, its array is cut off, `offset` is not 0, or its header
        contradicts `dtype`, `shape` or `order`. For an archive, as a ``.npz`` is, when
        `offset` is 0.

    Examples
    --------
    >>> import yammap
    >>> tokens = yammap.open_array("tokens.bin", "<u2", "w+", shape=1000)
    >>> tokens[:3] = 1, 2, 3
    >>> yammap.open_array("tokens.bin", "<u2")[:4]
    array([1, 2, 3, 0], dtype=uint16)

    >>> table = yammap.open_array("table.npy", "<f4", "w+", shape=(100, 3))
    >>> yammap.open_array("table.npy").shape
    (100, 3)
    """
    check_options(None, options, Options, new=False)
    if isinstance(offset, tuple):
        raise TypeError(
            f"offset must be an int, not {offset}: np.memmap takes the offset before the "
            f"shape; here write shape={offset}"
        )
    offset = operator.index(offset)
    if offset < 0:
        raise ValueError(f"offset must not be negative: {offset}")
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    if checked_mode(mode) in NEW:
        return _make(path, dtype, mode, shape, offset, order, perm, options)
    with open_path(path, mode, **options) as m:
        _name_from_root(m)
        with _errors_name(path):
            layout = described_layout(m, path, m.size(), offset, dtype, shape, order)
        if layout:
            return layout.over(m.view(), 0)
        return m.array(np.uint8 if dtype is None else dtype, shape, offset, order)


def _make(
    path: Any,
    dtype: DTypeLike | None,
    mode: Mode,
    shape: Shape | None,
    offset: int,
    order: Literal["C", "F"],
    perm: int,
    options: Options,
) -> NDArray[Any]:
    kind = np.dtype(np.uint8 if dtype is None else dtype)
    full = shape_of(None, kind, shape)
    start, layout = b"", contiguous(kind, full, offset, order)
    if has_npy_name(path):
        if offset:
            raise ValueError(
                f"{path!r} gets a header that says where the array begins: leave out offset"
            )
        start, layout = header_of_new(kind, full, order)
    size = layout.offset + layout.nbytes
    with open_path(path, mode, size=size, perm=perm, **options) as m:
        _name_from_root(m)
        m.write_at(start, 0)
        return layout.over(m.view(), 0)


def _name_from_root(m: Mmap) -> None:
    """Let the array be found again after a change of the working directory."""
    if not isinstance(m.name, int):
        m.name = absolute(m.name)


def open_npz(path: Path, mode: Literal["r", "c"] = "r") -> dict[str, NDArray[Any]]:
    """Map the arrays of a .npz file that is not compressed, without a copy.

    NumPy does not align the members of such a file, so elements may begin at any byte.
    Where that matters, ``np.require(array, requirements="A")`` copies an unaligned array.

    Parameters
    ----------
    path : path-like
        Path of a file written by `numpy.savez`.
    mode : {"r", "c"}, default "r"
        Read; or copy on write.

    Returns
    -------
    dict of str to numpy.ndarray
        The arrays by the names that `numpy.savez` was given. Each keeps the memory of the
        whole file, and no descriptor stays open.

    Raises
    ------
    OSError
        When the file cannot be opened or mapped.
    TypeError
        When an array holds Python objects.
    ValueError
        When a member is compressed or encrypted, or NumPy cannot read its header; or in
        another mode, since writing to a member would break its checksum.
    zipfile.BadZipFile
        When the file is no archive.

    Examples
    --------
    >>> import numpy as np, yammap
    >>> np.savez("pair.npz", x=np.arange(3), y=np.eye(2))
    >>> pair = yammap.open_npz("pair.npz")
    >>> pair["x"], pair["y"].shape
    (array([0, 1, 2]), (2, 2))
    """
    from zipfile import BadZipFile, ZipFile  # which takes longer to import than yammap

    if mode not in ("r", "c"):
        raise ValueError(
            f"mode must be 'r' or 'c', not {mode!r}: writing would break the checksums"
        )
    with open_path(path, mode) as m:
        _name_from_root(m)
        with _errors_name(m.name), _errors_name(m.name, BadZipFile), ZipFile(m) as archive:
            members = archive.infolist()
        return {
            member.filename.removesuffix(".npy"): _member(m, member) for member in members
        }


def _member(m: Mmap, member: ZipInfo) -> NDArray[Any]:
    from zipfile import ZIP_STORED

    name = f"{os.fsdecode(m.name)}/{member.filename}"
    if member.compress_type != ZIP_STORED or member.flag_bits & 1:
        raise ValueError(
            f"{name!r} is compressed or encrypted, and cannot be mapped: write it with "
            f"numpy.savez(), or read it with numpy.load()"
        )
    start = _data_of(m, member)
    with _errors_name(name):
        m.seek(start)
        return layout_of_npy(m, start + member.file_size).over(m.view(), 0)


def _data_of(m: Mmap, member: ZipInfo) -> int:
    """Return where a member's bytes begin.

    They follow the local header. Its extra field may have another length than the one in
    the directory, and `zipfile` shows only the latter (APPNOTE.TXT, 4.3.7).
    """
    from zipfile import BadZipFile

    local = m.pread(30, member.header_offset)
    if len(local) < 30 or not local.startswith(b"PK\3\4"):
        raise BadZipFile(
            f"{m.name!r} is damaged: {member.filename!r} is not where its directory says"
        )
    name_length, extra_length = struct.unpack("<HH", local[26:])
    return int(member.header_offset + 30 + name_length + extra_length)


@contextlib.contextmanager
def _errors_name(name: object, kind: type[Exception] = ValueError) -> Iterator[None]:
    """Let errors of a kind name the file."""
    try:
        yield
    except kind as error:
        raise kind(f"{name!r}: {error}") from None
