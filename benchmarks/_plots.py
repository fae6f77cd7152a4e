"""The results as pictures, readable on light and dark: they have no background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._chart import chart
from ._report import caption, gains, heading, picture_of, races_by_heading, told

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


def dots(races: list[dict[str, Any]], figure: Figure) -> None:
    """Draw the rows of a table: how many times as fast as the peer each of the ways is."""
    axes = figure.subplots()
    lines = 1 + races[0]["title"].count(" beside ")
    figure.set_size_inches(5, 0.9 + (0.15 + 0.13 * lines) * len(races))
    *ours, peer = races[0]["rows"]
    for way, (colour, row) in enumerate(zip(COLOURS, ours, strict=False)):
        values = gains(races, way)
        axes.plot(values, range(len(races)), "o", color=colour, label=row["what"])
    shown = (race["title"].replace("`", "") for race in races)
    labels = [title.replace(" beside ", "\nbeside ") for title in shown]
    axes.set_yticks(range(len(races)), labels)
    axes.grid(alpha=0.3, color=GREY, axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    finish(axes, len(races), f"times as fast as {peer['what']}")


def finish(axes: Axes, rows: int, label: str) -> None:
    """Let rows go down from the first one, along an axis of ratios around 1."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlabel(label)


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
    """Yield each picture of a table with its name."""
    for shown, races in races_by_heading(results):
        draw_it = curve if races[0]["axis"] else dots if races[0]["table"] else None
        if draw_it:
            figure = Figure()
            draw_it(races, figure)
            yield picture_of(shown), figure


def draw(results: dict[str, Any], directory: Path) -> None:
    """Write all pictures as SVG."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ratios.svg").write_text(chart(told(results), caption(results)))
    with rc_context(STYLE):
        for name, figure in pictures(results):
            figure.savefig(
                directory / name,
                transparent=True,
                bbox_inches="tight",
                metadata={"Date": None},
            )
