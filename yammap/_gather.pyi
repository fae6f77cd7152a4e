from typing import final

from typing_extensions import Buffer

from ._core import Mapping

__all__ = ["Batch"]

@final
class Batch:
    def __new__(
        cls,
        mapping: Mapping,
        index: Buffer,
        buffer: Buffer,
        *,
        length: int = 0,
        starts: Buffer | None = None,
        base: int = 0,
        step: int = 1,
        rows: int | None = None,
        first: int = 0,
        writing: bool = False,
    ) -> Batch: ...
    def check(self) -> None: ...
    def copy(self) -> None: ...
