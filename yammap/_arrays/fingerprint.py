"""What the bytes of a file come to: of a sample of them, or of all.

Knows a mapping's bytes. It must not know what a file is compared with.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from .._file.opening import reopen
from .._linux.flags import Advice
from .blocks import BLOCK

if TYPE_CHECKING:
    from .._file.mmap_file import Mmap

__all__ = ["content", "sample"]

# Places, and bytes at each: a mebibyte in all, which a disk reads in milliseconds.
_PLACES = 256
_LENGTH = 4096


def sample(m: Mmap, size: int) -> bytes:
    """Return a digest of the ends of a file, and of places at even distances between.

    They are fixed, so a change that lies between two places is missed. All places are read
    in one batch.
    """
    digest = _begun(size)
    if size <= _PLACES * _LENGTH:
        digest.update(m.pread(size, 0))
    else:
        last = size - _LENGTH
        places = [last * i // (_PLACES - 1) for i in range(_PLACES)]
        digest.update(m.gather(places, _LENGTH).data)
    return digest.digest()


def content(m: Mmap, size: int) -> bytes:
    """Return a digest of all bytes. They do not stay in the process's memory."""
    digest = _begun(size)
    with reopen(m, "r") as own, own.guard():
        for start in range(0, size, BLOCK):
            block = min(BLOCK, size - start)
            own._populate(start, block, False)
            digest.update(own.view(start, block))
            own.madvise(Advice.DONTNEED, start, block)
    return digest.digest()


def _begun(size: int) -> hashlib._Hash:
    return hashlib.sha256(size.to_bytes(8, "little"))
