"""Which format a file of arrays has: the one place that knows them by their first bytes.

What a header says is read by the module of its format (`npy`). It must not know a mapping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from .npy import MAGIC, RAW, has_npy_name, layout_of_npy

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .._file.ndarrays import Shape
    from .array_layout import Layout
    from .npy import Readable

    Format = Literal["npy", "archive", "raw"]

__all__ = ["LONGEST", "described_layout", "recognise"]

_BEGINNINGS: dict[bytes, Format] = {
    MAGIC: "npy",
    b"PK\3\4": "archive",
    b"PK\5\6": "archive",  # an empty one (APPNOTE.TXT, 4.3.16)
}

LONGEST = max(map(len, _BEGINNINGS))  # bytes that `recognise` needs


def recognise(start: bytes) -> Format:
    """Return the format of a file, or of a part of one, that begins with these bytes.

    A name tells less: NumPy writes to files of any name, and a descriptor has no name.
    """
    for beginning, found in _BEGINNINGS.items():
        if start.startswith(beginning):
            return found
    return "raw"


def described_layout(
    file: Readable,
    path: Any,
    end: int,
    offset: int,
    dtype: DTypeLike | None,
    shape: Shape | None,
    order: Literal["C", "F"],
) -> Layout | None:
    """Return where the elements lie as the file itself says; None if it says nothing.

    Raises
    ------
    TypeError
        When the array holds Python objects.
    ValueError
        When the file says something else than an argument, it is damaged, its array goes
        beyond byte `end`, its name ends in ``.npy`` and it has no header, or it is an
        archive and `offset` is 0.
    """
    file.seek(0)  # in append mode the position is the end
    found = recognise(file.read(LONGEST))
    if found == "npy":
        if offset:
            raise ValueError(
                f"the header says where the array begins: leave out offset; {RAW}"
            )
        file.seek(0)
        return layout_of_npy(file, end, dtype, shape, order)
    if has_npy_name(path):
        raise ValueError(f"the name ends in .npy, and the file has no such header; {RAW}")
    if found == "archive" and not offset:
        raise ValueError(f"this is an archive: call open_npz() if it is a .npz; {RAW}")
    return None
