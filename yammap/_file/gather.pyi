from typing import Any, final

from numpy.typing import NDArray
from typing_extensions import Buffer

from .._core import Mapping

__all__ = ["Batch"]

_Buffer = Buffer | NDArray[Any]

@final
class Batch:
    def __new__(
        cls,
        mapping: Mapping,
        index: _Buffer,
        buffer: _Buffer,
        *,
        length: int = 0,
        starts: _Buffer | None = None,
        base: int = 0,
        step: int = 1,
        rows: int | None = None,
        first: int = 0,
        writing: bool = False,
    ) -> Batch: ...
    def check(self) -> None: ...
    def copy(self) -> None: ...
    def stop(self) -> None: ...
