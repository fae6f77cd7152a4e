"""The results as pictures, readable on light and dark: they have no background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from ._report import heading, picture_of, races_by_heading

__all__ = ["draw"]

GREY = "#808080"  # four to one in contrast, on white and on black
COLOURS = ("#2f81c7", "#d9822b", "#3f9e5a", "#b85fc4", "#c94f4f", "#8a7a3f")
STYLE: Any = {
    "svg.hashsalt": "yammap",  # the same picture is the same file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "axes.facecolor": "none",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"),
        GREY,
    ),
}


def ratios(races: list[dict[str, Any]], figure: Figure) -> None:
    """Draw the contenders with a target: what was reached, and asked (the tick)."""
    rows = [(race, row) for race in races for row in race["rows"] if row["reach"]]
    axes = figure.subplots()
    figure.set_size_inches(9, 0.8 + 0.26 * len(rows))
    for y, (_, row) in enumerate(rows):
        low, middle, high = row["ratio"]
        colour = COLOURS[0] if middle >= row["reach"] else COLOURS[4]
        axes.barh(y, middle - 1, left=1, color=colour, height=0.6)
        axes.plot((low, high), (y, y), color=GREY)
        axes.plot(row["reach"], y, "|", color=COLOURS[1], markersize=13, markeredgewidth=2)
    labels = [f"{heading(race)}  |  {row['what']}" for race, row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as the contender (the tick: what was to be reached)")


def curve(races: list[dict[str, Any]], figure: Figure) -> None:
    """Draw each contender's line: its memory where that was measured, else its rate."""
    axes = figure.subplots()
    figure.set_size_inches(6, 3.6)
    kind = next(iter(races[0]["rows"][0]["memory"]), None)
    for colour, rows in zip(
        COLOURS, zip(*(race["rows"] for race in races), strict=True), strict=False
    ):
        if kind:
            values = [max(row["memory"][kind], 1 << 12) / 2**20 for row in rows]
        else:
            values = [1 / row["seconds"] for row in rows]
        label = rows[0]["what"]
        axes.plot([race["x"] for race in races], values, "o-", color=colour, label=label)
    axes.set(xscale="log", yscale="log", xlabel=races[0]["axis"], title=heading(races[0]))
    axes.set_ylabel(f"{kind}, MiB" if kind else "records a second")
    axes.set_xticks([race["x"] for race in races], [f"{race['x']:,g}" for race in races])
    axes.minorticks_off()
    axes.grid(alpha=0.3, color=GREY)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the lines, not over them


def pictures(results: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield each picture with its name."""
    figure = Figure()
    ratios(results["races"], figure)
    yield "reach.svg", figure
    for shown, races in races_by_heading(results):
        if races[0]["axis"]:
            figure = Figure()
            curve(races, figure)
            yield picture_of(shown), figure


def draw(results: dict[str, Any], directory: Path) -> None:
    """Write all pictures as SVG."""
    directory.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        for name, figure in pictures(results):
            figure.savefig(
                directory / name,
                transparent=True,
                bbox_inches="tight",
                metadata={"Date": None},
            )
