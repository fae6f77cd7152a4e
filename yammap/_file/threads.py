"""The parts of a batch, copied at the same time."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gather import Batch

__all__ = ["copy_in_threads"]


class Copy(Thread):
    """One part's copy, and what it raised.

    Not a pool of concurrent.futures: whoever imports that while another thread forks may
    find its lock released by the fork, which did not acquire it.
    """

    def __init__(self, part: Batch[Any]) -> None:
        super().__init__()
        self.part = part
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            self.part.copy()
        except BaseException as error:
            # The traceback has this thread, which would keep the memory pinned.
            self.errors.append(error.with_traceback(None))

    def finish(self) -> None:
        """Wait for the end, and raise what the copy raised."""
        self.join()
        while self.errors:
            raise self.errors.pop()


def copy_in_threads(parts: list[Batch[Any]]) -> None:
    """Copy each part in a thread of its own, after checking that all are in the mapping."""
    for part in parts:
        part.check()
    started: list[Copy] = []
    try:
        for part in parts:
            copy = Copy(part)
            copy.start()
            started.append(copy)
        for copy in started:
            copy.finish()
    except BaseException:
        for part in parts:  # below we wait for all; only we see Ctrl-C
            part.stop()
        raise
    finally:
        for copy in started:
            copy.join()
