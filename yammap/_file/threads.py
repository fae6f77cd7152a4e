"""The parts of a batch, copied at the same time."""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gather import Batch

__all__ = ["copy_in_threads"]


class Copy:
    """One part's copy, and what it raised.

    Not a pool of concurrent.futures: whoever imports that while another thread forks may
    find its lock released by the fork, which did not acquire it. Nor a `threading.Thread`:
    a signal handler that raises in its `start` leaves a thread that nobody waits for.
    """

    def __init__(self, part: Batch[Any]) -> None:
        self.part = part
        self.errors: list[BaseException] = []
        self._under_way = allocate_lock()
        self._under_way.acquire()

    def run(self) -> None:
        try:
            self.part.copy()
        except BaseException as error:
            # The traceback has this thread, which would keep the memory pinned.
            self.errors.append(error.with_traceback(None))
        finally:
            self._under_way.release()

    def wait(self) -> None:
        with self._under_way:
            pass

    def finish(self) -> None:
        """Wait for the end, and raise what the copy raised."""
        self.wait()
        while self.errors:
            raise self.errors.pop()


def copy_in_threads(parts: list[Batch[Any]]) -> None:
    """Copy each part in a thread of its own, after checking that all are in the mapping."""
    for part in parts:
        part.check()
    copies = [Copy(part) for part in parts]
    calls = [copy.run for copy in copies]
    started: list[int] = []
    try:
        # No signal handler runs in this one call, so that all that were started are known.
        started.extend(map(start_new_thread, calls, repeat(())))
        for copy in copies:
            copy.finish()
    except BaseException:
        for part in parts:  # below we wait for all; only we see Ctrl-C
            part.stop()
        raise
    finally:
        for copy in islice(copies, len(started)):
            copy.wait()
