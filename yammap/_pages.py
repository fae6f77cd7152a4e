"""Which pages of a mapping are in memory, and how to have them there or not."""

from __future__ import annotations

from ._core import Mapping

__all__ = ["Pages"]


class Pages(Mapping):
    """The part of `Mmap` that knows the page cache."""

    __slots__ = ()
