"""Many records in one call, and the whole file in chunks."""

from __future__ import annotations

from ._pages import Pages

__all__ = ["Records"]


class Records(Pages):
    """The part of `Mmap` that moves many records at once."""

    __slots__ = ()
