"""The parts of a batch, copied at the same time."""

from __future__ import annotations

from collections import deque
from operator import methodcaller
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gather import Batch

__all__ = ["copy_in_threads"]


def copy_in_threads(parts: list[Batch[Any]]) -> None:
    """Copy each part in a thread of its own, after checking that all are in the mapping."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    for part in parts:
        part.check()
    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            deque(pool.map(methodcaller("copy"), parts), maxlen=0)
        except BaseException:
            for part in parts:  # leaving the pool waits for all; only we see Ctrl-C
                part.stop()
            raise
