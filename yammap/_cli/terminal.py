"""What the command line prints: a file and its residency map, progress, errors."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column, Table
from rich.text import Text

from .._file.html import spelled_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Task

    from .doctor import Finding
    from .info import Array, Info, Residency
    from .segments import Listed

__all__ = [
    "bars",
    "complain",
    "console",
    "show",
    "show_findings",
    "show_line",
    "show_segments",
    "show_total",
    "spelled",
    "spelled_size",
]

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


# -- A file


def show(to: Console, info: Info) -> None:
    """Print the facts about a file."""
    to.print(Text(spelled(info.path), style="bold"), soft_wrap=True)
    for heading, text in _facts(info):
        to.print(f"  {heading:10}  {text}", soft_wrap=True)
    if info.residency and info.residency.resident:
        to.print()
        _draw(to, info.residency)


def show_total(to: Console, infos: list[Info]) -> None:
    """Print the sums over several files."""
    told = [info.residency for info in infos if info.residency]
    resident = sum(sum(residency.resident) for residency in told)
    covered = sum(residency.length for residency in told)
    facts = {
        "size": spelled_size(sum(info.size for info in infos)),
        "on disk": spelled_size(sum(info.allocated for info in infos)),
        "in memory": _share(resident, covered),
    }
    to.print(Text(f"total of {len(infos):,} files", style="bold"))
    for heading, text in facts.items():
        to.print(f"  {heading:10}  {text}", soft_wrap=True)


def show_line(to: Console, info: Info) -> None:
    """Print a file of a directory in one line."""
    known = info.residency
    share = f"{sum(known.resident) / max(known.length, 1):.0%}" if known else "?"
    arrays = ", ".join(map(_spelled_array, info.arrays))
    line = f"{spelled_size(info.size):>10} {share:>5}  {spelled(info.path)}  {arrays}"
    to.print(line.rstrip(), soft_wrap=True)


def _facts(info: Info) -> list[tuple[str, str]]:
    where = info.filesystem
    facts = [
        ("size", f"{spelled_size(info.size)} ({info.size:,})"),
        ("on disk", spelled_size(info.allocated)),
        ("holes", _holes(info)),
        ("filesystem", f"{where.type} ({where.source} on {where.mount})" if where else "-"),
        ("in memory", _in_memory(info)),
    ]
    facts += [("array", _spelled_array(array)) for array in info.arrays]
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
    covered = info.residency.length
    text = _share(sum(info.residency.resident), covered)
    return text if covered == info.size else f"{text} of {spelled_size(covered)}"


def _share(resident: int, size: int) -> str:
    return f"{spelled_size(resident)} ({resident / max(size, 1):.1%})"


def _spelled_array(array: Array) -> str:
    name = "" if array.name is None else f"{spelled(array.name)}: "
    order = "" if array.order == "C" else f", order {array.order}"
    packed = ", compressed" if array.compressed else ""
    return f"{name}{array.dtype} {array.shape}{order}{packed}"


def _draw(to: Console, residency: Residency) -> None:
    """Draw a character for each cell, and before each line its offset in the file.

    The number of cells in a line is a power of two, as is their size, so that lines start
    at round offsets.
    """
    shades = _ASCII_SHADES if to.options.ascii_only else _SHADES
    cell = residency.cell
    cells = "".join(
        _shade(shades, resident, min(cell, residency.length - number * cell))
        for number, resident in enumerate(residency.resident)
    )
    line = 1 << (max(to.width - _MARGIN, 1).bit_length() - 1)
    for first in range(0, len(cells), line):
        offset = spelled_size(residency.start + first * cell).rjust(_MARGIN - 2)
        to.print(Text.assemble(offset, "  ", (cells[first : first + line], "green")))
    legend = f"{shades[-1]} all  {shades[-2:0:-1]} some  {shades[0]} none"
    to.print(f"  of {spelled_size(cell)}: {legend}", style="dim")


def _shade(shades: str, resident: int, length: int) -> str:
    """Return a character; only an empty cell looks empty, and only a full one full."""
    return shades[resident and 1 + 3 * resident // length]


# -- Findings

_MARKS = {"ok": "ok", "limited": "!", "missing": "no", "unknown": "?"}
_STYLES = {"ok": "green", "limited": "yellow", "missing": "red", "unknown": "dim"}


def show_findings(to: Console, findings: list[Finding], *, fixes: bool) -> None:
    """Print what was found, what yammap does about it, and what would change it."""
    for finding in findings:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=2)
        table.add_column(overflow="fold")
        mark = Text(_MARKS[finding.state], style=_STYLES[finding.state])
        table.add_row(mark, Text(f"{finding.name}: {finding.found}"))
        if finding.so:
            table.add_row("", Text(finding.so, style="dim"))
        if fixes and finding.fix and finding.state != "ok":
            table.add_row("", Text(f"fix: {finding.fix}", style="cyan"))
        to.print(table)


# -- Segments

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def show_segments(to: Console, listed: list[Listed]) -> None:
    """Print a line for each."""
    to.print(f"{'size':>10} {'users':>6} {'age':>8}  name", style="dim")
    for one in listed:
        users = "?" if one.users is None else f"{len(one.users)}"
        facts = f"{spelled_size(one.size):>10} {users:>6} {_spelled_age(one.age):>8}"
        waiting = f"  (pickles on their way: {one.pickles})" if one.pickles else ""
        to.print(f"{facts}  {spelled(one.name)}{waiting}", soft_wrap=True)


def _spelled_age(seconds: float) -> str:
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


# -- Work on files


class _Rate(ProgressColumn):
    """The mean rate. That of rich is of the last half minute, and goes at the end."""

    def render(self, task: Task) -> Text:
        seconds = task.finished_time or task.elapsed
        return Text(f"{spelled_size(task.completed / seconds)}/s" if seconds else "")


@contextmanager
def bars(done: str) -> Iterator[Progress]:
    """Show progress bars on a terminal, and what is `done`; elsewhere, nothing.

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
    try:
        with progress if to.is_terminal else nullcontext():
            yield progress
    finally:
        if to.is_terminal and len(progress.tasks) > 1:
            size = spelled_size(sum(task.completed for task in progress.tasks))
            to.print(f"{done} {size} in {len(progress.tasks):,} files")


def complain(to: Console, path: str, error: OSError) -> None:
    """Print an error about a file, in one line."""
    to.print(f"yammap: {spelled(path)}: {error.strerror or error}", soft_wrap=True)
