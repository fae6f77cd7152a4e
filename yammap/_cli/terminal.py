"""What the command line prints: a file and its residency map, progress, errors."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Task

    from .info import Info, Residency

__all__ = ["bars", "complain", "console", "show", "spelled", "spelled_size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

# For a cell: from nothing in memory to all of it.
_SHADES = "·░▒▓█"
_ASCII_SHADES = ".-+*#"

# Columns that a line of the map needs for its offset and the spaces around that.
_MARGIN = len("  1023.0 KiB  ")


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints text as it is: a file may be called "[bold].bin"."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def spelled(path: str) -> str:
    """Return a path that can be printed: names may have newlines, escapes, or no UTF-8."""
    return path if path.isprintable() else ascii(path)


def spelled_size(count: float) -> str:
    """Return a number of bytes with a unit."""
    power = max(0, int(count).bit_length() - 1) // 10
    return f"{count / 1024**power:.{1 if power else 0}f} {_UNITS[power]}"


# -- A file


def show(to: Console, info: Info) -> None:
    """Print the facts about a file."""
    to.print(Text(spelled(info.path), style="bold"), soft_wrap=True)
    for heading, text in _facts(info):
        to.print(f"  {heading:10}  {text}", soft_wrap=True)
    if info.residency and info.residency.resident:
        to.print()
        _draw(to, info.residency, info.size)


def _facts(info: Info) -> list[tuple[str, str]]:
    where = info.filesystem
    facts = [
        ("size", f"{spelled_size(info.size)} ({info.size:,})"),
        ("on disk", spelled_size(info.allocated)),
        ("holes", _holes(info)),
        ("filesystem", f"{where.type} ({where.source} on {where.mount})" if where else "-"),
        ("in memory", _in_memory(info)),
    ]
    if info.engine == "pread":
        facts.append(("access", "by system calls, because it cannot be mapped"))
    return facts


def _holes(info: Info) -> str:
    if not info.holes:
        return "none"
    return f"{spelled_size(info.bytes_in_holes)} in {info.holes:,}"


def _in_memory(info: Info) -> str:
    if info.residency is None:
        return "unknown: the kernel tells the file's owner, and users who may write to it"
    resident = sum(info.residency.resident)
    return f"{spelled_size(resident)} ({resident / max(info.size, 1):.1%})"


def _draw(to: Console, residency: Residency, size: int) -> None:
    """Draw a character for each cell, and before each line its offset in the file.

    The number of cells in a line is a power of two, as is their size, so that lines start
    at round offsets.
    """
    shades = _ASCII_SHADES if to.options.ascii_only else _SHADES
    cell = residency.cell
    cells = "".join(
        _shade(shades, resident, min(cell, size - number * cell))
        for number, resident in enumerate(residency.resident)
    )
    line = 1 << (max(to.width - _MARGIN, 1).bit_length() - 1)
    for first in range(0, len(cells), line):
        offset = spelled_size(first * cell).rjust(_MARGIN - 2)
        to.print(Text.assemble(offset, "  ", (cells[first : first + line], "green")))
    legend = f"{shades[-1]} all  {shades[-2:0:-1]} some  {shades[0]} none"
    to.print(f"  of {spelled_size(cell)}: {legend}", style="dim")


def _shade(shades: str, resident: int, length: int) -> str:
    """Return a character; only an empty cell looks empty, and only a full one full."""
    return shades[resident and 1 + 3 * resident // length]


# -- Work on files


class _Rate(ProgressColumn):
    """The mean rate. That of rich is of the last half minute, and goes at the end."""

    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed
        return Text(f"{spelled_size(task.completed / seconds)}/s" if seconds else "")


@contextmanager
def bars() -> Iterator[Progress]:
    """Show progress bars on a terminal; elsewhere, no news is good news.

    Elsewhere they are never started: before rich 14.3, a disabled one prints a blank line.
    """
    to = console(stderr=True)
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(to.width - 30, 1))
    progress = Progress(
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True)),
        _Rate(table_column=Column(no_wrap=True, justify="right", min_width=12)),
        console=to,
    )
    with progress if to.is_terminal else nullcontext():
        yield progress


def complain(to: Console, path: str, error: OSError) -> None:
    """Print an error about a file, in one line."""
    to.print(f"yammap: {spelled(path)}: {error.strerror or error}", soft_wrap=True)
