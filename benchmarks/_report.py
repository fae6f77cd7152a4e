"""The results in words: tables, targets and losses, as ``docs/performance.md`` has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

__all__ = ["COLUMNS", "cells", "judged", "picture_of", "races_by_title", "report"]

Row = dict[str, Any]
COLUMNS = ("what", "time", "rate", "time / yammap's")
WORDS = {"what", "work", "against", "faster", "why", "reached"}
LOSS = 0.95

HEAD = """\
# Performance

Everything here was measured in one run, by

```sh
pip install '.[bench]'
yammap bench --json docs/performance.json --plots docs/plots
yammap report docs/performance.json > docs/performance.md
```

on {machine}, {software}, {date}.

Take the figures as ratios. A machine's speed drifts, so each round of a contender is run right
beside one of yammap's own, the two taking turns in going first, and its ratio is the median of
those pairs: the contender's time over yammap's, so above 1 yammap is faster, with the quartiles in
brackets. The distance from 1.00 of the row that is yammap itself is the noise. Rounds read at
other places each time. *Cold* means: the whole file evicted before each round, and mincore(2)
asked that less than a hundredth of it is in memory; the host of a virtual machine may still have
it in its own. *Warm* is in the page cache, as read in sequence, mapped by everybody, and
touched.
"""
SCALED = (
    "\n**Sizes are {scale:g} times those of the report: this run shows that it runs.**\n"
)


def scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """Return `value` to three digits, in the first unit that keeps it below 1000."""
    for factor, unit in units:
        if value * factor < 999.5:
            return f"{value * factor:.3g} {unit}"
    return f"{value * factor:.0f} {unit}"


def duration(seconds: float) -> str:
    """Return a time as text."""
    if seconds < 1e-9:
        return f"{seconds * 1e12:.0f} ps"
    return scaled(seconds, [(1e9, "ns"), (1e6, "us"), (1e3, "ms"), (1, "s")])


def memory(count: float) -> str:
    """Return a number of bytes as text."""
    return scaled(count, [(2.0**-10, "KiB"), (2.0**-20, "MiB"), (2.0**-30, "GiB")])


def rate(race: Row, row: Row) -> str:
    """Return bytes a second as text, nothing where none are moved."""
    if not race["size"]:
        return ""
    return scaled(race["size"] / row["seconds"][1], [(1e-6, "MB/s"), (1e-9, "GB/s")])


def spread(ratio: Sequence[float]) -> str:
    """Return a ratio and its quartiles as text."""
    low, middle, high = (f"{value:.2f}" for value in ratio)
    return f"{middle} ({low} - {high})"


def at(race: Row) -> str:
    """Return which point of a curve a race is."""
    return f"{race['x']:g}: " if race["axis"] else ""


def cells(race: Row) -> Iterator[tuple[str, ...]]:
    """Yield the contenders of a race as rows of `COLUMNS`, the fastest first."""
    for row in sorted(race["rows"], key=lambda row: row["seconds"][1]):
        held = [f"{kind} {memory(most)}" for kind, most in row["memory"].items()]
        figures = duration(row["seconds"][1]), "; ".join([rate(race, row), *held])
        yield at(race) + row["what"], *figures, spread(row["ratio"])


def judged(race: Row) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what was asked of yammap in a race: of whom, how much, what came, if enough."""
    for row in race["rows"]:
        if row["reach"]:
            met = row["ratio"][1] >= row["reach"]
            yield row["what"], f"at least {row['reach']:g}x", spread(row["ratio"]), met
    ours = race["rows"][0]
    for what, limit in race["limits"].items():
        worst, text = (
            (ours["worst"], duration)
            if what == "seconds"
            else (ours["memory"][what], memory)
        )
        yield f"yammap's own {what}", f"at most {text(limit)}", text(worst), worst <= limit


def races_by_title(results: Row) -> Iterator[tuple[str, list[Row]]]:
    """Yield each title with its race, or with the races that are the points of a curve."""
    for title, races in groupby(results["races"], lambda race: race["title"]):
        yield title, list(races)


def picture_of(title: str) -> str:
    """Return the name of a curve's picture."""
    return title.replace(" ", "-") + ".svg"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, its numbers to the right."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "".join("---|" if name in WORDS else "---:|" for name in header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def targets(results: Row) -> Iterator[str]:
    """Yield the table of what was to be reached."""
    rows = [
        (race["title"], f"`{what}`", asked, measured, "yes" if met else "**no**")
        for race in results["races"]
        for what, asked, measured, met in judged(race)
    ]
    yield from table(("work", "against", "asked", "measured", "reached"), rows)


def losses(results: Row) -> Iterator[str]:
    """Yield the table of those that were faster than yammap."""
    rows = [
        (race["title"], f"`{at(race)}{row['what']}`", spread(row["ratio"]), race["note"])
        for race in results["races"]
        for row in race["rows"]
        if row["ratio"][1] < LOSS and not row["what"].startswith("yammap")
    ]
    yield from table(("work", "faster", "time / yammap's", "why"), rows)


def report(results: Row) -> Iterator[str]:
    """Yield the lines of the document, which has the pictures in a folder beside it."""
    yield HEAD.format_map(results)
    if results["scale"] != 1:
        yield SCALED.format_map(results)
    yield from ("## What was to be reached", "", *targets(results), "")
    yield "![what was reached](plots/reach.svg)"
    yield from ("", "## Where yammap loses", "", *losses(results), "", "## All tables")
    for title, races in races_by_title(results):
        rows = [(f"`{what}`", *rest) for race in races for what, *rest in cells(race)]
        yield from ("", f"### {title[0].upper()}{title[1:]}", "")
        if races[0]["axis"]:
            yield from (f"![{title}](plots/{picture_of(title)})", "")
        yield from table(COLUMNS, rows)
        if races[0]["note"]:
            yield from ("", races[0]["note"])
