"""Batches that are read while the caller works on the ones before.

Knows the order of batches, and what begins one. It must not know what a batch copies.
"""

from __future__ import annotations

import contextlib
import operator
import threading
from collections import deque
from itertools import cycle, islice, repeat
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Batches", "Done", "buffers_for"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Item = TypeVar("_Item")
_END: Any = object()


class Begun(Protocol[_T_co]):
    """A batch under way."""

    def finish(self) -> _T_co: ...


class _Failed:
    """A batch that failed, or the end: its turn is when the caller asks for it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def finish(self) -> Any:
        raise self.error


class Done(Generic[_T]):
    """A batch that needed no reading."""

    def __init__(self, result: _T) -> None:
        self._result = result

    def finish(self) -> _T:
        return self._result


class Batches(Generic[_T]):
    """An iterator over batches, in order, of which the next ones are under way.

    It works in ``for`` and ``async for``, and threads may share it. `close` waits until the
    requests that are under way are done, which takes milliseconds; so does leaving a
    ``with`` block.
    """

    def __init__(
        self, begin: Callable[[_Item], Begun[_T]], items: Iterable[_Item], depth: int
    ) -> None:
        depth = operator.index(depth)
        if depth < 0:
            raise ValueError(f"depth must not be negative: {depth}")
        self._batches = _in_order(_begun(begin, iter(items)), depth)
        self._complete: deque[Begun[_T]] = deque()  # one at most
        self._lock = threading.RLock()  # a task that is cancelled leaves its thread behind

    def __iter__(self) -> Batches[_T]:
        return self

    def __next__(self) -> _T:
        while (batch := self._taken()) is None:
            self._read()
        return batch.finish()

    def __aiter__(self) -> Batches[_T]:
        return self

    async def __anext__(self) -> _T:
        import asyncio  # slow to import

        # A thread waits for the disk, since an event loop must not. When the task is
        # cancelled meanwhile, the batch is for whoever asks next.
        while (batch := self._taken()) is None:
            await asyncio.to_thread(self._read)
        try:
            return batch.finish()
        except StopIteration:
            raise StopAsyncIteration from None

    def _read(self) -> None:
        """Wait for the next batch, unless one is there that nobody has taken."""
        with self._lock:
            if not self._complete:
                self._complete.append(_completed(self._batches))

    def _taken(self) -> Begun[_T] | None:
        """Take a batch that is there; another thread may be faster."""
        with contextlib.suppress(IndexError):
            return self._complete.popleft()
        return None

    def close(self) -> None:
        """Ask for no more, and let go of the buffers."""
        with self._lock:
            self._batches.close()
            self._complete.clear()

    def __enter__(self) -> Batches[_T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _in_order(begun: Iterator[Begun[_T]], depth: int) -> Generator[_T]:
    """Yield each batch when it is complete, and have `depth` others under way meanwhile."""
    under_way = deque(islice(begun, depth + 1))
    while under_way:
        yield under_way.popleft().finish()
        under_way.extend(islice(begun, 1))


def _completed(batches: Iterator[_T]) -> Begun[_T]:
    """Return the next batch, or what comes in its place."""
    try:
        return Done(next(batches))
    except Exception as error:
        return _Failed(error)


def _begun(
    begin: Callable[[_Item], Begun[_T]], items: Iterator[_Item]
) -> Iterator[Begun[_T]]:
    while True:
        try:
            yield begin(next(items))
        except StopIteration:
            return
        except Exception as error:
            yield _Failed(error)


def buffers_for(
    out: Sequence[NDArray[Any]] | None, depth: int
) -> Iterator[NDArray[Any] | None]:
    """Return the caller's arrays in turn, for ever; None each time where there are none."""
    if out is None:
        return repeat(None)
    if len(out) <= depth:
        raise ValueError(
            f"out must have {depth + 1} arrays, for {depth} batches under way and the one "
            f"that the caller has, not {len(out)}"
        )
    return cycle(out)
