"""The header of a .npy file, which NumPy reads and writes (`numpy.lib.format`).

Knows the bytes of a header, and returns a `Layout`. It must not know a mapping.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.lib import format as npy

from .._file.ndarrays import as_tuple, require_elements
from .array_layout import Layout, contiguous, require_inside

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    from .._file.ndarrays import Shape

    _Said = tuple[tuple[int, ...], bool, np.dtype[Any]]

__all__ = [
    "MAGIC",
    "RAW",
    "Header",
    "has_npy_name",
    "header_of_new",
    "layout_of_npy",
    "read_header",
]

MAGIC: bytes = npy.MAGIC_PREFIX
RAW = "for the bytes as they are, write yammap.open(path).array(dtype, shape, offset)"

# Numbers and texts: what has fields, times or Python objects is left to NumPy.
_PLAIN = re.compile(
    rb"\{'descr': '([<>|][biufcSUV](?:0|[1-9]\d{0,9}))', 'fortran_order': (True|False), "
    rb"'shape': \(((?:0|[1-9]\d{0,18})(?:,|(?:, (?:0|[1-9]\d{0,18}))+)|)\), \} *\n"
)

# The longest header that NumPy takes from an untrusted file.
_MOST_LETTERS = 10_000


class Readable(Protocol):
    """A file to read a header from: an `Mmap` is one, and so are Python's own files."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...

    def tell(self) -> int: ...


class Header(NamedTuple):
    """What a header says, and where it lies."""

    layout: Layout
    order: Literal["C", "F"]
    text: range  # where its text lies in the file, in bytes
    encoding: Literal["latin1", "utf8"]

    def layout_of(self, dtype: np.dtype[Any]) -> Layout:
        """Return the layout, with `dtype` where the header gives only the item size.

        Headers do so for types that NumPy does not know, such as bfloat16.
        """
        said = self.layout.dtype
        is_named = said.kind != "V" or said.names is not None
        if is_named or said.itemsize != dtype.itemsize:
            return self.layout
        return self.layout._replace(dtype=dtype)

    def of_shape(self, shape: tuple[int, ...]) -> bytes:
        """Return a text of the same length for another shape, to replace the old text.

        Raises
        ------
        ValueError
            When the text is too long. NumPy leaves room for 21 digits of the dimension that
            grows.
        """
        described = {
            "descr": npy.dtype_to_descr(self.layout.dtype),
            "fortran_order": self.order == "F",
            "shape": shape,
        }
        text = repr(described).encode(self.encoding)
        if len(text) >= len(self.text):
            raise ValueError(
                f"the header of {len(self.text)} bytes has no room for {shape}: write a "
                f"new file with numpy.save()"
            )
        return text.ljust(len(self.text) - 1) + b"\n"


def has_npy_name(path: Any) -> bool:
    """Tell whether a path (no descriptor) ends in ``.npy``, so a new file gets a header."""
    return not isinstance(path, int) and os.fsencode(path).endswith(b".npy")


def read_header(file: Readable) -> Header:
    """Read the header of version 1.0, 2.0 or 3.0 that begins at the file's position.

    Raises
    ------
    ValueError
        When there is none.
    """
    first = file.tell()
    version, text = _text_of_header(file)
    said = _said_plainly(text) if version == (1, 0) else None
    if said is None:
        file.seek(first)
        said = _said_to_numpy(file)
    shape, fortran, dtype = said
    order: Literal["C", "F"] = "F" if fortran else "C"
    end = file.tell()
    encoding: Literal["latin1", "utf8"] = "utf8" if version == (3, 0) else "latin1"
    layout = contiguous(dtype, shape, end, order)
    return Header(layout, order, range(end - len(text), end), encoding)


def _text_of_header(file: Readable) -> tuple[tuple[int, int], bytes]:
    """Return the version and the text; none of either where the file is damaged."""
    start = file.read(len(MAGIC) + 2)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 2:
        return (0, 0), b""
    version = start[-2], start[-1]
    length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    text = file.read(length)
    return version, text if len(text) == length else b""


def _said_plainly(text: bytes) -> _Said | None:
    """Read a header as NumPy writes it for plain dtypes; None for any other.

    NumPy goes by the parser of Python, which takes longer than all else of mapping a file.
    """
    found = _PLAIN.fullmatch(text)
    if found is None or len(text) > _MOST_LETTERS:
        return None
    descr, fortran, numbers = found.groups()
    shape = tuple(int(n) for n in numbers.split(b",") if n)
    with contextlib.suppress(TypeError, ValueError):  # there is no such type
        return shape, fortran == b"True", np.dtype(descr.decode())
    return None


def _said_to_numpy(file: Readable) -> _Said:
    try:
        return _READERS[npy.read_magic(file)](file)
    except (KeyError, SyntaxError, TokenError, ValueError) as error:
        raise ValueError(
            f"NumPy cannot read the header of this .npy file: {error}"
        ) from None


def _read_array_header_3_0(file: Any) -> _Said:
    """Read it as version 2.0, which differs in its encoding only.

    NumPy has no public function for version 3.0, and escapes mean the same in both.
    """
    length = int.from_bytes(file.read(4), "little")
    text = file.read(length).decode("utf8")
    escaped = text.encode("ascii", "backslashreplace")
    most = _MOST_LETTERS + len(escaped) - len(text)
    header = io.BytesIO(len(escaped).to_bytes(4, "little") + escaped)
    return npy.read_array_header_2_0(header, max_header_size=most)


_READERS: dict[tuple[int, int], Callable[[Any], _Said]] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    (3, 0): _read_array_header_3_0,
}


def header_of_new(
    dtype: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]
) -> tuple[bytes, Layout]:
    """Return the first bytes of a new file, and where its elements go.

    NumPy writes an array of these rows with no row, and so chooses the version. Then this
    replaces the shape in the header.
    """
    wanted = contiguous(dtype, shape, 0, order)
    file = io.BytesIO()
    npy.write_array(file, np.empty((0,) * bool(shape) + wanted.shape[1:], wanted.dtype))
    file.seek(0)
    header = read_header(file)._replace(order=order)
    start = file.getvalue()[: header.text.start]
    return start + header.of_shape(wanted.shape), wanted._replace(offset=header.text.stop)


def layout_of_npy(
    file: Readable,
    end: int,
    dtype: DTypeLike | None = None,
    shape: Shape | None = None,
    order: Literal["C", "F"] = "C",
) -> Layout:
    """Return where the elements lie of the array that begins at the file's position.

    Raises
    ------
    TypeError
        When the array holds Python objects.
    ValueError
        When there is no array, it goes beyond byte `end`, or its header contradicts an
        argument. Order ``"C"`` contradicts nothing, since it is the default.
    """
    header = read_header(file)
    kind = np.dtype(header.layout.dtype if dtype is None else dtype)
    found = header.layout_of(kind.base)
    given = found.shape if shape is None else (*as_tuple(shape), *kind.shape)
    same_shape = len(given) == len(found.shape) and all(
        n in (-1, m) for n, m in zip(given, found.shape, strict=True)
    )
    if kind.base != found.dtype or not same_shape or order not in ("C", header.order):
        raise ValueError(
            f"the header says shape {found.shape}, dtype {found.dtype} and order "
            f"{header.order!r}, not {given}, {kind.base} and {order!r}: leave these out; "
            f"{RAW}"
        )
    require_elements(found.dtype)
    if any(n < 0 for n in found.shape):
        raise ValueError(f"the header says shape {found.shape}, which no array has")
    return require_inside(found, end)
