"""The results in words: tables, targets and losses, as ``docs/performance.md`` has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ._readahead import USUAL

__all__ = [
    "COLUMNS",
    "cells",
    "heading",
    "judged",
    "picture_of",
    "races_by_heading",
    "report",
]

Row = dict[str, Any]
COLUMNS = ("what", "time", "yammap's", "rate", "time / yammap's")
WORDS = {"what", "work", "against", "faster", "why", "reached"}
LOSS = 0.95

HEAD = """\
# Performance

Everything here was measured in one run, by

```sh
pip install '.[bench]'
yammap bench --scale {scale:g} --seconds {seconds:g} --json docs/performance.json --plots docs/plots
yammap report docs/performance.json > docs/performance.md
```

on {machine}, {software}, {date}.

Take the figures as ratios. A machine's speed drifts, so each round of a contender is run right
beside one of yammap's own, the two taking turns in going first. The ratio of such a pair is the
contender's time over yammap's, so above 1 yammap is faster. A row shows one pair, that of the
middle ratio (the lower of two): the contender's time, yammap's in the round beside it, and the
first over the second, with the quartiles of all pairs' ratios in brackets. The distance from 1.00
of the row that is yammap itself is the noise. Rounds read at other places each time. *Cold* means:
the whole file evicted before each round, and mincore(2) asked that less than a hundredth of it is
in memory; the host of a virtual machine may still have it in its own. *Warm* is in the page cache,
as read in sequence, mapped by everybody, and touched.

A cold race depends on `read_ahead_kb`, how far the kernel reads around a fault: the farther, the
slower all that let it fault at random. So every race, warm ones too, is run at Linux's default of
128, where that can be set; the title of a cold one says what it was, and targets are judged there.
Each cold table is followed by one of three rounds at most at the setting of this machine{own}.
"""
REFUSED = "\n**`read_ahead_kb` could not be set to 128 here; titles tell what it was.**\n"
SCALED = (
    "\n**Sizes are {scale:g} times the full ones: the large file has {scale:g} x 8 GiB.**\n"
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
    return scaled(race["size"] / row["seconds"], [(1e-6, "MB/s"), (1e-9, "GB/s")])


def spread(ratio: Sequence[float]) -> str:
    """Return a ratio and its quartiles as text."""
    low, middle, high = (f"{value:.2f}" for value in ratio)
    return f"{middle} ({low} - {high})"


def at(race: Row) -> str:
    """Return which point of a curve a race is."""
    return f"{race['x']:g}: " if race["axis"] else ""


def cells(race: Row) -> Iterator[tuple[str, ...]]:
    """Yield the contenders of a race as rows of `COLUMNS`, the fastest first."""
    for row in sorted(race["rows"], key=lambda row: row["seconds"]):
        held = [f"{kind} {memory(most)}" for kind, most in row["memory"].items()]
        times = duration(row["seconds"]), duration(row["yammap"])
        figures = *times, "; ".join([rate(race, row), *held])
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


def races_by_heading(results: Row) -> Iterator[tuple[str, list[Row]]]:
    """Yield each heading with its race, or with the races that are the points of a curve.

    A race at the machine's own readahead follows that at Linux's, wherever it was run.
    """
    titles = [race["title"] for race in results["races"]]
    ordered = sorted(results["races"], key=lambda race: titles.index(race["title"]))
    for shown, races in groupby(ordered, heading):
        yield shown, list(races)


def heading(race: Row) -> str:
    """Return a race's title, with the readahead that a cold one had."""
    kib = race["read_ahead_kb"]
    known = "unknown" if kib is None else kib
    return f"{race['title']}, read_ahead_kb {known}" if race["cold"] else race["title"]


def picture_of(shown: str) -> str:
    """Return the name of a curve's picture, by its heading."""
    return shown.replace(",", "").replace(" ", "-") + ".svg"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, its numbers to the right."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "".join("---|" if name in WORDS else "---:|" for name in header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def asked(results: Row) -> list[Row]:
    """Return the first race of each title and point, which was to run at Linux's default."""
    first: dict[tuple[str, float | None], Row] = {}
    for race in results["races"]:
        first.setdefault((race["title"], race["x"]), race)
    return list(first.values())


def targets(results: Row) -> Iterator[str]:
    """Yield the table of what was to be reached."""
    rows = [
        (heading(race), f"`{what}`", asked, measured, "yes" if met else "**no**")
        for race in results["races"]
        for what, asked, measured, met in judged(race)
    ]
    yield from table(("work", "against", "asked", "measured", "reached"), rows)


def losses(results: Row) -> Iterator[str]:
    """Yield the table of those that were faster than yammap."""
    rows = [
        (heading(race), f"`{at(race)}{row['what']}`", spread(row["ratio"]), race["note"])
        for race in results["races"]
        for row in race["rows"]
        if row["ratio"][1] < LOSS and not row["what"].startswith("yammap")
    ]
    yield from table(("work", "faster", "time / yammap's", "why"), rows)


def report(results: Row) -> Iterator[str]:
    """Yield the lines of the document, which has the pictures in a folder beside it."""
    own = results["own_read_ahead_kb"]
    told = "" if own is None else f", {own}"
    yield HEAD.format_map({**results, "own": told})
    if any(race["cold"] and race["read_ahead_kb"] != USUAL for race in asked(results)):
        yield REFUSED
    if results["scale"] != 1:
        yield SCALED.format_map(results)
    yield from ("## What was to be reached", "", *targets(results), "")
    yield "![what was reached](plots/reach.svg)"
    yield from ("", "## Where yammap loses", "", *losses(results), "", "## All tables")
    for shown, races in races_by_heading(results):
        rows = [(f"`{what}`", *rest) for race in races for what, *rest in cells(race)]
        yield from ("", f"### {shown[0].upper()}{shown[1:]}", "")
        if races[0]["axis"]:
            yield from (f"![{shown}](plots/{picture_of(shown)})", "")
        yield from table(COLUMNS, rows)
        if races[0]["note"]:
            yield from ("", races[0]["note"])
