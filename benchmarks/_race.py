"""How contenders are timed: each of their rounds right beside one of yammap's.

A machine's speed drifts, and it does so for both of a pair, so a row shows one pair, the
one with the middle ratio. Its times divide to that ratio, which lies between the quartiles.
Medians of times were tried: they are of different rounds, and their ratio may lie outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

__all__ = ["Contender", "Measured", "Race", "run"]

Progress = Callable[[str], object]


@dataclass(frozen=True)
class Measured:
    """What a job returns that was measured by somebody else than the clock around it."""

    seconds: float
    result: object = None
    memory: Mapping[str, int] = field(default_factory=dict)


Pair = tuple[Measured, Measured]  # the contender's round, and yammap's beside it


@dataclass(frozen=True)
class Contender:
    """A way to do the work, and how many times as fast as it yammap is to be.

    `form` makes of the work what `job` takes, such as a list for a loop; it is not timed.
    A slow one gets the first `most` operations only.
    """

    what: str
    job: Callable[[Any], object]
    form: Callable[[Any], Any] = lambda work: work
    most: int | None = None
    reach: float | None = None


@dataclass(frozen=True)
class Race:
    """The same work for all contenders, of which yammap is the first.

    `work` gives the operations of a round by its number, `before` is done before each
    contender's turn. `limits` are yammap's own: the most "seconds" an operation may take
    in any round, or bytes of a kind of memory. Races that differ in `x` alone make a curve.
    A `cold` one depends on how far the kernel reads around a fault.
    """

    title: str
    contenders: Sequence[Contender]
    work: Callable[[int], Sequence[Any] | np.ndarray[Any, Any]]
    size: int | None = None
    before: Callable[[], object] = lambda: None
    rounds: int = 11
    limits: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    axis: str = ""
    x: float | None = None
    cold: bool = False

    def turn(self, contender: Contender, number: int) -> Measured:
        """Return what one operation took `contender` in a round."""
        work = self.work(number)[: contender.most]
        argument = contender.form(work)
        self.before()
        start = perf_counter()
        result = contender.job(argument)
        seconds = perf_counter() - start
        if not isinstance(result, Measured):
            result = Measured(seconds, result)
        return Measured(result.seconds / len(work), result.result, result.memory)

    def pair(self, contender: Contender, number: int) -> Pair:
        """Return the contender's round and yammap's; they take turns in going first."""
        ours = self.contenders[0]
        if number % 2:
            return self.turn(contender, number), self.turn(ours, number)
        mine = self.turn(ours, number)
        return self.turn(contender, number), mine


def run(race: Race, budget: float, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Return what a race came to, as JSON has it.

    A contender is done after all rounds, or after one when it has had `budget` seconds.
    """
    require_same(race)
    rows = []
    for contender in race.contenders:
        progress(f"{race.title}: {contender.what}")
        pairs = list(rounds(race, contender, budget))
        rows.append(row_of(contender, pairs, len(race.work(0)[: contender.most])))
    kept = ("title", "size", "note", "axis", "x", "cold")
    return {key: getattr(race, key) for key in kept} | {
        "limits": dict(race.limits),
        "rows": rows,
    }


def rounds(race: Race, contender: Contender, budget: float) -> Iterator[Pair]:
    """Yield the contender's pairs."""
    end = perf_counter() + budget
    for number in range(race.rounds):
        yield race.pair(contender, number)
        if perf_counter() > end:
            return


def require_same(race: Race) -> None:
    """Warm up, and see that all come to the same bytes, as far as each of them goes."""
    expected = race.turn(race.contenders[0], 0).result
    for contender in race.contenders[1:]:
        found = race.turn(contender, 0).result
        if found is not None and not begin_alike(found, expected):
            raise RuntimeError(f"{race.title}: {contender.what} came to other bytes")


def begin_alike(a: object, b: object) -> bool:
    """Return whether two arrays or buffers have the same bytes as far as both go."""
    first, second = as_bytes(a), as_bytes(b)
    common = min(len(first), len(second))
    return common > 0 and first[:common] == second[:common]


def as_bytes(result: object) -> bytes:
    """Return the first bytes of a result: it may be large, and is an array or a buffer."""
    return np.ascontiguousarray(result).reshape(-1).view(np.uint8)[: 1 << 20].tobytes()


def row_of(contender: Contender, pairs: Sequence[Pair], operations: int) -> dict[str, Any]:
    """Return the pair of a contender's middle ratio, and the most memory it took."""
    theirs = [mine for mine, _ in pairs]
    low, middle, high = quartiles(pairs)
    return {
        "what": contender.what,
        "operations": operations,
        "rounds": len(pairs),
        "seconds": middle[0].seconds,
        "yammap": middle[1].seconds,
        "worst": max(mine.seconds for mine in theirs),
        "ratio": [ratio(pair) for pair in (low, middle, high)],
        "reach": contender.reach,
        "memory": {
            kind: max(mine.memory[kind] for mine in theirs) for kind in theirs[0].memory
        },
    }


def ratio(pair: Pair) -> float:
    """Return how many times as fast as the contender yammap was."""
    theirs, ours = pair
    return theirs.seconds / ours.seconds


def quartiles(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs a quarter, half and three quarters up by ratio, the lower of two."""
    ordered = sorted(pairs, key=ratio)
    return [ordered[(len(ordered) * quarter - 1) // 4] for quarter in (1, 2, 3)]
