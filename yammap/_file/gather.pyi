from collections.abc import Sequence
from typing import Any, Generic, SupportsIndex, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import Mapping

__all__ = [
    "begin_block",
    "begin_gather",
    "begin_gather_files",
    "begin_gather_ragged",
    "begin_take",
    "can_bypass_cache",
    "choose",
    "gather",
    "gather_files",
    "gather_ragged",
    "new_choice",
    "scatter",
    "statistics",
    "take_rows",
]

_Array = NDArray[Any]
_Place = tuple[int, int, int]  # rows, the offset of the first, bytes from each to the next
_Numbers = NDArray[np.int64]
_Pieces = tuple[_Numbers, _Numbers, _Numbers, _Numbers, _Numbers]
_T = TypeVar("_T", covariant=True)

@final
class Batch(Generic[_T]):
    def finish(self) -> _T: ...
    def check(self) -> None: ...
    def copy(self) -> None: ...
    def stop(self) -> None: ...

def gather(
    self: Mapping,
    offsets: ArrayLike,
    length: SupportsIndex,
    out: _Array | None = ...,
    *,
    threads: int = ...,
    cached: bool | None = ...,
) -> _Array: ...
def gather_ragged(
    self: Mapping,
    offsets: ArrayLike,
    lengths: ArrayLike,
    out: _Array | None = ...,
    *,
    threads: int = ...,
    cached: bool | None = ...,
) -> tuple[_Array, NDArray[np.int64]]: ...
def scatter(self: Mapping, offsets: ArrayLike, records: _Array) -> None: ...
def take_rows(
    mapping: Mapping,
    index: NDArray[np.int64],
    out: _Array,
    place: _Place,
    threads: int,
    cached: bool | None,
) -> None: ...
def begin_gather(
    mapping: Mapping,
    offsets: ArrayLike,
    length: SupportsIndex,
    out: _Array | None,
    cached: bool | None,
) -> Batch[_Array]: ...
def begin_gather_ragged(
    mapping: Mapping,
    offsets: ArrayLike,
    lengths: ArrayLike,
    out: _Array | None,
    cached: bool | None,
) -> Batch[tuple[_Array, NDArray[np.int64]]]: ...
def begin_take(
    mapping: Mapping,
    index: NDArray[np.int64],
    out: _Array,
    place: _Place,
    cached: bool | None,
) -> Batch[_Array]: ...
def begin_block(
    mapping: Mapping, start: ArrayLike, length: int, out: _Array
) -> Batch[_Array]: ...

@final
class Choice:
    def told(self) -> dict[str, str | int]: ...

def new_choice() -> Choice: ...
def gather_files(
    mappings: Sequence[Mapping],
    pieces: _Pieces,
    out: _Array,
    choice: Choice,
    threads: int,
    cached: bool | None,
) -> None: ...
def begin_gather_files(
    mappings: Sequence[Mapping],
    pieces: _Pieces,
    out: _Array,
    choice: Choice,
    cached: bool | None,
) -> Batch[_Array]: ...
def choose(mapping: Mapping, cached: bool) -> None: ...
def can_bypass_cache(mapping: Mapping) -> bool: ...
def statistics(mapping: Mapping) -> dict[str, str | int]: ...
