"""Many records that are alike, in few bytes: column by column.

A pickle of a thousand files says what they have in common once. Knows plain values only.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np

__all__ = ["pack", "unpack"]

Packed = tuple[Any, ...]


def pack(values: list[Any]) -> Packed:
    """Return values, of which there is one at least, so that their pickle is small.

    Integers take as many bytes as their differences need, names what they do not share,
    and tuples are taken apart.
    """
    first = values[0]
    if all(type(value) is type(first) and value == first for value in values):
        return "same", len(values), first
    if all(type(value) is int for value in values):
        return _pack_integers(values)
    if all(isinstance(value, str) for value in values):
        return "names", zlib.compress(b"\0".join(map(os.fsencode, values)))
    if all(isinstance(value, tuple) and len(value) == len(first) for value in values):
        return "tuples", [pack(list(column)) for column in zip(*values, strict=True)]
    return "values", values


def _pack_integers(values: list[int]) -> Packed:
    least = min(values)
    if max(values) - least >= 1 << 64:
        return "values", values
    over = np.array([value - least for value in values], np.uint64)
    narrow = over.astype(np.min_scalar_type(over.max()))
    return "integers", least, narrow.dtype.str, narrow.tobytes()


def unpack(packed: Packed) -> list[Any]:
    """Return the values that `pack` was given."""
    kind, *rest = packed
    if kind == "same":
        return [rest[1]] * int(rest[0])
    if kind == "integers":
        least, dtype, data = rest
        return [least + over for over in np.frombuffer(data, dtype).tolist()]
    if kind == "names":
        return [os.fsdecode(name) for name in zlib.decompress(rest[0]).split(b"\0")]
    if kind == "tuples":
        return list(zip(*map(unpack, rest[0]), strict=True))
    return list(rest[0])
