"""Which mappings of arrays keep a descriptor: the latest, and those that callers have.

Knows descriptors of mappings. It must not know what they are of.
"""

from __future__ import annotations

import contextlib
import resource
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakSet, ref

from .._core import Mapping
from .._errors import BusError

if TYPE_CHECKING:
    from .._file.mmap_file import Mmap

__all__ = ["has", "keep", "lend"]

# In the order in which they came.
_lent: deque[ref[Mmap]] = deque()

_kept: WeakSet[Mmap] = WeakSet()

# Of the descriptors that a process may have, this part is for arrays.
_PART = 4


def lend(m: Mmap) -> Mmap:
    """Let a mapping keep its descriptor for now; the one that came first gives its up.

    An array is read and written without one. Whatever needs one maps the file again.
    """
    _lent.append(ref(m))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    while len(_lent) > max(1, limit // _PART):
        # Another thread took the last one, or it has faults, or has just been closed.
        with contextlib.suppress(IndexError, OSError, ValueError):
            first = _lent.popleft()()
            if first is not None and first not in _kept and has(first):
                first._drop_descriptor()
    return m


def keep(m: Mmap) -> Mmap:
    """Let a mapping keep its descriptor for good: a caller has it, and may need that."""
    _kept.add(m)
    return m


def has(m: Mmap) -> bool:
    """Tell whether a mapping has a descriptor; one that has faults keeps what it has."""
    with contextlib.suppress(BusError):
        try:
            Mapping.fileno(m)
        except ValueError:
            return m.closed
    return True
