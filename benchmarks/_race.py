"""How contenders are timed: all of them in every round, in an order drawn anew.

A machine's speed drifts, and it does so for all of a round. So all figures of a table are
of the same rounds: a time is the median of its contender's, a ratio is that of two medians,
and what it is divided by stands in the table. Pairs of a contender and yammap were tried:
each row had its own time of yammap's then, and the rows of a table contradicted each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from ._meter import Meter

__all__ = ["Contender", "Measured", "Race", "run"]

Progress = Callable[[str], object]

# The fields of a race that its results repeat.
KEPT = ("title", "size", "note", "why", "axis", "x", "cold", "table", "mean")


@dataclass(frozen=True)
class Measured:
    """What a job returns that was measured by somebody else than the clock around it.

    `processor` is the seconds of processors, user and system; `read` the bytes that the
    device read. None is unknown.
    """

    seconds: float
    result: object = None
    memory: Mapping[str, int] = field(default_factory=dict)
    processor: float | None = None
    read: float | None = None

    def over(self, count: int) -> Measured:
        """Return what one of `count` operations took, without the result."""
        processor, read = (
            None if value is None else value / count
            for value in (self.processor, self.read)
        )
        return Measured(self.seconds / count, None, self.memory, processor, read)


@dataclass(frozen=True)
class Contender:
    """A way to do the work, and how many times as fast as it yammap is to be.

    `form` makes of the work what `job` takes, such as a list for a loop; it is not timed.
    A slow one gets the first `most` operations only. `told` is what the report's first
    table says of the work, for the few that it names. Other targets: `frugal` is how many
    times yammap's processor time this one's is to be, and `within` how many seconds more
    than this one yammap may take.
    """

    what: str
    job: Callable[[Any], object]
    form: Callable[[Any], Any] = lambda work: work
    most: int | None = None
    reach: float | None = None
    told: str = ""
    frugal: float | None = None
    within: float | None = None


@dataclass(frozen=True)
class Race:
    """The same work for all contenders, of which yammap is the first.

    `work` gives the operations of a round by its number, `before` is done before each
    contender's turn. `limits` are yammap's own: the most "seconds" an operation may take
    in any round, the most bytes "read" by the device for it, or bytes of a kind of memory.
    `why` says why somebody is faster, where
    that is so, `note` all else. Races that differ in `x` alone make a curve.
    A `cold` one depends on how far the kernel reads around a fault. Races of one `table`
    are its rows: their contenders, yammap's ways and the peer at the end, are its columns.
    `mean` is how many times as fast as the peer each of the ways is to be, over all rows.
    """

    title: str
    contenders: Sequence[Contender]
    work: Callable[[int], Sequence[Any] | np.ndarray[Any, Any]]
    size: int | None = None
    before: Callable[[], object] = lambda: None
    rounds: int = 11
    limits: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    why: str = ""
    axis: str = ""
    x: float | None = None
    cold: bool = False
    table: str = ""
    mean: float | None = None

    def turn(self, contender: Contender, number: int) -> Measured:
        """Return what one operation took `contender` in a round."""
        work = self.work(number)[: contender.most]
        argument = contender.form(work)
        self.before()
        meter = Meter()
        result = contender.job(argument)
        spent = meter.spent()
        if not isinstance(result, Measured):
            result = Measured(**spent, result=result)
        return replace(result.over(len(work)), result=result.result)

    def round(self, number: int) -> list[Measured]:
        """Return what an operation took each contender, in the order they are listed."""
        order = np.random.default_rng(number).permutation(len(self.contenders))
        turns = {i: self.turn(self.contenders[i], number) for i in order.tolist()}
        return [replace(turns[i], result=None) for i in range(len(turns))]  # may be large


def run(race: Race, budget: float, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Return what a race came to, as JSON has it.

    It is over after all rounds, or after the one in which its contenders have had `budget`
    seconds each.
    """
    progress(race.title)
    require_same(race)
    end = perf_counter() + budget * len(race.contenders)
    rounds = [race.round(0)]
    while len(rounds) < race.rounds and perf_counter() < end:
        rounds.append(race.round(len(rounds)))
    kept = {key: getattr(race, key) for key in KEPT}
    return kept | {"limits": dict(race.limits), "rows": rows_of(race, rounds)}


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


def rows_of(race: Race, rounds: Sequence[Sequence[Measured]]) -> list[dict[str, Any]]:
    """Return the figures of each contender, all of the same rounds."""
    turns = list(zip(*rounds, strict=True))
    work = race.work(0)
    return [
        {
            "what": contender.what,
            "operations": len(work[: contender.most]),
            "rounds": len(rounds),
            "seconds": median(mine),
            "worst": max(turn.seconds for turn in mine),
            "ratio": ratio(mine, turns[0]),
            "processor": median_of("processor", mine),
            "read": most_of("read", mine),
            "reach": contender.reach,
            "frugal": contender.frugal,
            "within": contender.within,
            "told": contender.told,
            "memory": {
                kind: max(turn.memory[kind] for turn in mine) for kind in mine[0].memory
            },
        }
        for contender, mine in zip(race.contenders, turns, strict=True)
    ]


def median(turns: Sequence[Measured]) -> float:
    """Return the time in the middle."""
    return float(np.median([turn.seconds for turn in turns]))


def known(what: str, turns: Sequence[Measured]) -> list[float]:
    """Return the turns' values of a figure that may be unknown."""
    found = (getattr(turn, what) for turn in turns)
    return [value for value in found if value is not None]


def median_of(what: str, turns: Sequence[Measured]) -> float | None:
    """Return the value in the middle of a figure that may be unknown."""
    found = known(what, turns)
    return float(np.median(found)) if found else None


def most_of(what: str, turns: Sequence[Measured]) -> float | None:
    """Return the largest value of a figure that may be unknown."""
    return max(known(what, turns), default=None)


def ratio(theirs: Sequence[Measured], ours: Sequence[Measured]) -> list[float]:
    """Return how many times as fast yammap was: the medians, between two quartiles.

    The quartiles are those of the rounds' own ratios. Few rounds that differ much may have
    the ratio of the medians outside, which is then one end.
    """
    pairs = zip(theirs, ours, strict=True)
    found = [mine.seconds / other.seconds for mine, other in pairs]
    middle = median(theirs) / median(ours)
    low, high = np.quantile(found, (0.25, 0.75)).tolist()
    return [min(low, middle), middle, max(high, middle)]
