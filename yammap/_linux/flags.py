"""The kernel's constants, as enums and under their own names.

The values come from the C headers (`constants.h`), so the enums are built here and
declared for type checkers in ``flags.pyi``.
"""

import enum
from collections.abc import Iterator
from typing import Any

from .calls import CONSTANTS


def _enum(base: Any, name: str, prefix: str) -> Any:
    members = {
        constant.removeprefix(prefix): value
        for constant, value in CONSTANTS.items()
        if constant.startswith(prefix)
    }
    return base(name, members, module="yammap")  # from where users import it


Prot = _enum(enum.IntFlag, "Prot", "PROT_")
MapFlag = _enum(enum.IntFlag, "MapFlag", "MAP_")
Remap = _enum(enum.IntFlag, "Remap", "MREMAP_")
Advice = _enum(enum.IntEnum, "Advice", "MADV_")
Whence = _enum(enum.IntEnum, "Whence", "SEEK_")
Sync = _enum(enum.IntFlag, "Sync", "MS_")
Syscall = _enum(enum.IntEnum, "Syscall", "SYS_")

_PREFIXES = {
    "PROT_": Prot,
    "MAP_": MapFlag,
    "MREMAP_": Remap,
    "MADV_": Advice,
    "SEEK_": Whence,
    "MS_": Sync,
    "SYS_": Syscall,
}


def _named_constants() -> Iterator[tuple[str, int]]:
    """Yield each constant with its C name and its value, a member of its enum."""
    for constant in CONSTANTS:
        prefix = constant[: constant.index("_") + 1]
        yield constant, _PREFIXES[prefix][constant.removeprefix(prefix)]


globals().update(_named_constants())

__all__ = ["Advice", "MapFlag", "Prot", "Remap", "Sync", "Syscall", "Whence", *CONSTANTS]
