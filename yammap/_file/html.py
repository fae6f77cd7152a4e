"""How a notebook shows a mapping, or an array in one.

Knows HTML. It touches no page, and must not know what a mapping is for.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .residency import residency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pages import Pages

__all__ = ["html_of", "spelled_size"]

# Parts of the bar: each is one question to the kernel, whatever the size of the file.
_CELLS = 64

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_CELL = (
    '<span title="{title}" style="display:inline-block;width:5px;height:12px;'
    "background:rgba(34,139,34,{share:.2f});border-top:1px solid gray;"
    'border-bottom:1px solid gray"></span>'
)


def html_of(title: str, facts: dict[str, object], m: Pages | None, span: range) -> str:
    """Return a table of facts, and a bar of what of a range of a mapping is in memory."""
    shown = {name: escape(str(fact)) for name, fact in facts.items()}
    if m is not None and (bar := "".join(_cells(m, span))):
        shown["in memory"] = bar
    rows = "".join(
        f'<tr><th style="text-align:left">{name}</th>'
        f'<td style="text-align:left">{fact}</td></tr>'
        for name, fact in shown.items()
    )
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _cells(m: Pages, span: range) -> Iterator[str]:
    """Yield the parts of the bar; none where the kernel does not tell."""
    try:
        for start, length, share in residency(m, span, _CELLS):
            title = f"{share:.0%} of {spelled_size(length)} at {start:,}"
            yield _CELL.format(title=title, share=share)
    except (OSError, ValueError):
        return


def spelled_size(count: float) -> str:
    """Return a number of bytes with a unit."""
    power = max(0, int(count).bit_length() - 1) // 10
    return f"{count / 1024**power:.{1 if power else 0}f} {_UNITS[power]}"
