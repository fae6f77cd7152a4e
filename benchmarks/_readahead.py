"""How far the kernel reads around a fault: `read_ahead_kb` of a directory's device."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["USUAL", "get", "kept", "put"]

USUAL = 128  # KiB, Linux's default


def setting(directory: Path, sys: Path = Path("/sys")) -> Path | None:
    """Return the file that holds the setting, None where there is no such file."""
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    # A partition has no queue of its own; its disk, the directory above, has.
    block = (sys / "dev/block" / number).resolve()
    for folder in block, block.parent:
        if (folder / "queue/read_ahead_kb").exists():
            return folder / "queue/read_ahead_kb"
    # NFS and FUSE are found by number; btrfs, which numbers its subvolumes, is not.
    shared = sys / "class/bdi" / number / "read_ahead_kb"
    return shared if shared.exists() else None


def get(directory: Path) -> int | None:
    """Return the KiB that are read around a fault, None where nothing tells."""
    file = setting(directory)
    return int(file.read_text(encoding="ascii")) if file else None


def put(directory: Path, kib: int) -> int | None:
    """Set the KiB where that is allowed, and return those that hold now.

    The kernel copies them into each file as it is opened; those open before keep theirs.
    """
    file = setting(directory)
    with suppress(OSError):  # not root, or /sys cannot be written
        if file:
            file.write_text(str(kib), encoding="ascii")
    return get(directory)


@contextmanager
def kept(directory: Path) -> Iterator[int | None]:
    """Give the setting, and put it back at the end, also after SIGTERM."""
    own = get(directory)

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield own
    finally:
        if own is not None:
            put(directory, own)
        signal.signal(signal.SIGTERM, before)
