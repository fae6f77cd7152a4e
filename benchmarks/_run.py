"""All scenarios in one run: progress, the table, and the results as JSON has them."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from . import (
    _readahead,
    append,
    batches,
    calls,
    create,
    depth,
    growth,
    handles,
    limits,
    losses,
    programs,
    ragged,
    records,
    rows,
    scaling,
    scan,
    shards,
    shared,
    stall,
    stdlib,
    stores,
    tokens,
)
from ._lab import Lab
from ._race import Race, run
from ._report import races_by_heading, sheet

__all__ = ["SCENARIOS", "measure", "show"]

SCENARIOS: dict[str, Callable[[Lab], Iterator[Race]]] = {
    "tokens": tokens.races,
    "ragged": ragged.races,
    "rows": rows.races,
    "records": records.races,
    "depth": depth.races,
    "limits": limits.races,
    "batches": batches.races,
    "shards": shards.races,
    "stores": stores.races,
    "scan": scan.races,
    "append": append.races,
    "create": create.races,
    "stall": stall.races,
    "calls": calls.races,
    "stdlib": stdlib.races,
    "programs": programs.races,
    "handles": handles.races,
    "growth": growth.races,
    "shared": shared.races,
    "losses": losses.races,
    "scaling": scaling.races,
}


def measure(
    names: Sequence[str], directory: str | None, scale: float, budget: float
) -> dict[str, Any]:
    """Run scenarios in a temporary directory, and return what they came to."""
    races = []
    columns = (
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with (
        TemporaryDirectory(prefix="yammap-bench-", dir=directory) as folder,
        Lab(Path(folder), scale) as lab,
        _readahead.kept(Path(folder)) as own,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("", total=len(names))

        def tell(what: str) -> None:
            progress.update(task, description=what)

        for name in names:
            tell(name)
            for kib, race in races_of(name, lab, own):
                kept = {"scenario": name, "read_ahead_kb": kib}
                races.append(kept | run(race, budget, tell))
            progress.advance(task)
    return {
        **machine(),
        "scale": scale,
        "seconds": budget,
        "own_read_ahead_kb": own,
        "races": races,
    }


def races_of(name: str, lab: Lab, own: int | None) -> Iterator[tuple[int | None, Race]]:
    """Yield a scenario's races with Linux's readahead, then cold ones with the machine's.

    These are a few rounds, without targets.
    """
    kib = set_for(lab, _readahead.USUAL)
    again = False
    for race in SCENARIOS[name](lab):
        again |= race.cold
        yield kib, race
    if not again or own == kib or own is None:
        return
    kib = set_for(lab, own)
    for race in SCENARIOS[name](lab):
        if race.cold:
            contenders = [replace(way, reach=None) for way in race.contenders]
            few = min(race.rounds, 3)
            yield kib, replace(race, contenders=contenders, rounds=few, limits={})


def set_for(lab: Lab, kib: int) -> int | None:
    """Set the readahead for all files opened from now on, and return what holds."""
    found = _readahead.put(lab.directory, kib)
    lab.open_anew()
    return found


def machine() -> dict[str, str]:
    """Return what it ran on, and when."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", info)
    processor = model[1] if model else platform.machine()
    return {
        "machine": f"{processor}, {os.cpu_count()} cores, Linux {platform.release()}",
        "software": f"CPython {platform.python_version()}, NumPy {np.__version__}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def show(results: dict[str, Any]) -> None:
    """Print all tables."""
    # A pipe has no width but what COLUMNS happens to say.
    console = Console(width=None if sys.stdout.isatty() else 120)
    for shown, races in races_by_heading(results):
        header, rows = sheet(races)
        title = Text(shown, style="bold")
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
        for i, column in enumerate(header):
            table.add_column(column, justify="right" if i else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell.replace("`", "")) for cell in row))
        console.print(table)
    console.print("Ratios above 1 say that yammap is faster; in brackets, quartiles.")
