"""Types of what Python sees of the kernel."""

from collections.abc import Callable
from typing import Any, Final, Self, final

__all__ = ["CONSTANTS", "HARMLESS", "Descriptor"]

CONSTANTS: Final[dict[str, int]]
HARMLESS: Final[set[int]]

@final
class Descriptor:
    def __new__(cls, call: Callable[..., int], *arguments: Any) -> Self: ...
    @property
    def fd(self) -> int: ...
    def __enter__(self) -> int: ...
    def __exit__(self, *error: object) -> None: ...
