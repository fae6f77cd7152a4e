"""yammap: the memory-mapped file for Python on Linux.

>>> import yammap
>>> m = yammap.open("data.bin", "w+", size=1 << 20)
>>> tokens = m.array("<u2")     # a plain ndarray over the file, no copy
>>> m.append(b"more")           # grows under the live array
1048576
>>> m.close()                   # safe as well: the array stays valid
"""

import sys as _sys
from importlib.util import find_spec as _find_spec

if _find_spec("yammap._core") is None:
    raise ImportError(
        f"yammap is not compiled here: {__path__[0]} is its source tree, which Python "
        "found before any installed yammap. Start Python elsewhere, or with -P; if yammap "
        "is not installed, install it: pip install ."
    )

from ._arrays import file_identity as _file_identity
from ._arrays import mapped_array as _mapped_array
from ._arrays.concatenated import ConcatenatedArray
from ._arrays.file_identity import guard
from ._arrays.joining import concatenate
from ._arrays.mapped_array import MappedArray
from ._arrays.open_array import open_array, open_npz
from ._arrays.open_ragged import open_ragged
from ._arrays.ragged_array import RaggedArray
from ._core import Mapping
from ._errors import BusError, Fault, ShortRead
from ._file.atomic import atomic_create
from ._file.mmap_file import Mmap
from ._file.opening import anonymous, create, open, open_file
from ._file.shared import Segment, shared
from ._linux import flags as _flags
from ._linux.flags import *  # noqa: F403

__version__ = "0.2.0.dev0"

__all__ = [
    "BusError",
    "ConcatenatedArray",
    "Fault",
    "MappedArray",
    "Mapping",
    "Mmap",
    "RaggedArray",
    "Segment",
    "ShortRead",
    "anonymous",
    "atomic_create",
    "concatenate",
    "create",
    "guard",
    "open",
    "open_array",
    "open_file",
    "open_npz",
    "open_ragged",
    "shared",
]
__all__ += _flags.__all__


def _publish(names: list[str]) -> None:
    """Give public objects the module that users import them from.

    Tracebacks, pickles and ``help`` then say ``yammap.BusError``, and a file of the package
    can move without breaking a pickle. `Mapping` names itself, since the type of an
    extension module cannot be changed from here; so do the enums.
    """
    for name in names:
        if (public := globals()[name]) is not Mapping:
            public.__module__ = __name__


_publish(__all__[: -len(_flags.__all__)])

# Pickles made by 0.1 and 0.2.0.dev0 name the files that these were in.
_sys.modules |= {
    f"{__name__}._flags": _flags,
    f"{__name__}._mapped_array": _mapped_array,
    f"{__name__}._source": _file_identity,
}
