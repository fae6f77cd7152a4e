"""The one chart of what yammap gains and loses, drawn as SVG by hand.

It brings its own background, and both change with the reader's colour scheme. So it reads
on light and on dark pages, also where the page and the browser disagree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from html import escape

from ._report import Gain

__all__ = ["chart"]

LEFT, SPAN, WIDTH, STEP, TOP = 370, 280, 820, 22, 54
ENDS = 0.18, 20.0
TICKS = 0.25, 0.5, 1, 2, 4, 8, 16
STYLE = """\
.card{fill:#fff}.t{fill:#1f2328}.s{fill:#57606a;font-size:12px}
.grid{stroke:#d0d7de}.one{stroke:#57606a}.more{fill:#2f6fae}.less{fill:#c2571a}
.dot{fill:#fff;stroke:#1f2328;stroke-width:1.5}
@media(prefers-color-scheme:dark){
.card{fill:#14181e}.t{fill:#e6edf3}.s{fill:#a3adb8}
.grid{stroke:#30363d}.one{stroke:#a3adb8}.more{fill:#4c96d7}.less{fill:#e58648}
.dot{fill:#14181e;stroke:#e6edf3}}"""


def place(ratio: float) -> float:
    """Return where a ratio is on the axis, which is logarithmic."""
    low, high = map(math.log, ENDS)
    inside = min(max(ratio, ENDS[0]), ENDS[1])
    return LEFT + SPAN * (math.log(inside) - low) / (high - low)


def text(x: float, y: float, words: str, kind: str = "t", anchor: str = "start") -> str:
    """Return a line of text."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:g}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def axis(bottom: float) -> Iterator[str]:
    """Yield the lines of the grid, and what they stand for."""
    for tick in TICKS:
        x, kind = place(tick), "one" if tick == 1 else "grid"
        yield f'<path class="{kind}" d="M{x:.1f} {TOP - 12}V{bottom}"/>'
        yield text(x, TOP - 18, f"{tick:g}x", "s", "middle")


def bar(y: float, gain: Gain) -> Iterator[str]:
    """Yield one job: words, a bar from 1 to the ratio, a dot at the fastest other way."""
    start, end = sorted((place(1), place(gain.ratio)))
    kind = "more" if gain.ratio >= 1 else "less"
    yield text(LEFT - 10, y + 4, gain.job, "t", "end")
    yield (
        f'<rect class="{kind}" x="{start:.1f}" y="{y - 6:g}" '
        f'width="{max(end - start, 1.5):.1f}" height="13"/>'
    )
    yield f'<circle class="dot" cx="{place(gain.least):.1f}" cy="{y + 0.5:g}" r="3.5"/>'
    peer = re.match(r"[\w.]+", gain.what)
    beside = f"{gain.ratio:.2g}x  {peer[0] if peer else gain.what}"
    yield text(LEFT + SPAN + 12, y + 4, beside)


def chart(gains: Sequence[Gain], caption: str) -> str:
    """Return the chart, the largest gain first, and losses last."""
    ordered = sorted(gains, reverse=True)
    bottom = TOP + STEP * len(ordered) - 4
    bars = (
        line for i, gain in enumerate(ordered) for line in bar(TOP + STEP * i + 6, gain)
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 54}" '
        'role="img" aria-labelledby="title" font-size="13" '
        "font-family=\"system-ui, -apple-system, 'DejaVu Sans', sans-serif\">",
        f'<title id="title">{escape(caption)}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="card" width="{WIDTH}" height="{bottom + 54}" rx="8"/>',
        text(LEFT - 10, TOP - 18, "job", "s", "end"),
        text(LEFT + SPAN + 12, TOP - 18, "times as fast as", "s"),
        *axis(bottom),
        *bars,
        text(20, bottom + 22, "Dot: beside the fastest other way that was measured.", "s"),
        text(20, bottom + 40, caption, "s"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
