"""A drop-in for the standard library's `mmap`: ``from yammap import compat as mmap``.

Programs written for `mmap` run unchanged, and a file that is cut short under them raises
an exception instead of ending the process. The class is a `yammap.Mmap` with the arguments,
the behaviour and the errors of `mmap.mmap`, so it has arrays, `gather` and all the rest.

Knows the names, arguments and errors of the standard library's module. It must not know how
a mapping works, and has no features of its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .._linux import flags as _flags
from .._linux.flags import *  # noqa: F403

if not TYPE_CHECKING:  # names of one version or machine, such as MAP_32BIT
    from mmap import *  # noqa: F403

# After that, which has a class `mmap` as well.
from ._arguments import ACCESS_COPY, ACCESS_DEFAULT, ACCESS_READ, ACCESS_WRITE, PAGESIZE

if sys.version_info >= (3, 15):
    from ._python_3_15 import mmap
else:
    from ._mmap import mmap

__all__ = [
    "ACCESS_COPY",
    "ACCESS_DEFAULT",
    "ACCESS_READ",
    "ACCESS_WRITE",
    "ALLOCATIONGRANULARITY",
    "PAGESIZE",
    "error",
    "mmap",
]
__all__ += [n for n in _flags.__all__ if n.startswith(("MADV_", "MAP_", "MS_", "PROT_"))]

ALLOCATIONGRANULARITY = PAGESIZE
error = OSError

mmap.__module__ = __name__  # from where users import it
