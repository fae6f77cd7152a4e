"""What a piece of work takes of this process: wall time, processor time, device bytes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import TypedDict

__all__ = ["Meter", "Spent"]


class Spent(TypedDict):
    """Seconds by the clock, seconds of processors, and bytes that a device has read."""

    seconds: float
    processor: float
    read: float | None


def device_bytes() -> int | None:
    """Return the bytes that devices have read for this process, its threads included.

    None where the kernel does not count them.
    """
    with suppress(OSError):
        text = Path("/proc/self/io").read_text(encoding="ascii")
        return int(text.partition("read_bytes:")[2].split()[0])
    return None


class Meter:
    """It begins to count when it is made."""

    def __init__(self) -> None:
        self._read = device_bytes()
        self._processor = process_time()
        self._start = perf_counter()

    def spent(self) -> Spent:
        """Return what was taken since."""
        seconds = perf_counter() - self._start
        processor = process_time() - self._processor
        read = device_bytes()
        return {
            "seconds": seconds,
            "processor": processor,
            "read": None if read is None or self._read is None else read - self._read,
        }
