"""The command line, on click. What it needs comes with the extras ``cli`` and ``bench``."""

from __future__ import annotations

import errno
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from .. import __version__
from .._file.opening import open as open_path
from . import demo as demonstration
from .info import UNTOLD, inspect, residency
from .terminal import bars, complain, console, show, spelled, spelled_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console
    from rich.progress import Progress

    from .info import Info

__all__ = ["commands"]

_T = TypeVar("_T")

# Bytes evicted between two steps of the progress bar. Each waits for the disk.
_PIECE = 64 << 20

# click must not check the files: that one cannot be read is an error of that file alone.
_files = click.argument("files", nargs=-1, required=True, type=click.Path(readable=False))
_directory = click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Directory for temporary files; by default, the system's.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Inspect files, load them into memory or drop them from it, and measure yammap.

    The exit status is 0 when the command succeeded, 1 when something failed (standard
    error says what), and 2 when the command line was wrong.

    \b
    Examples:
      yammap info tokens.bin               show what is in memory, and on the disk
      yammap warm shards/*.bin             load files before a program needs them
      yammap evict tokens.bin              drop a file, to time a cold start
      yammap COMMAND --help                show more about a command

    \b
    Completion, for the shell's startup file:
      eval "$(_YAMMAP_COMPLETE=bash_source yammap)"
      eval "$(_YAMMAP_COMPLETE=zsh_source yammap)"
      _YAMMAP_COMPLETE=fish_source yammap | source
    """


# -- Files


@commands.command()
@_files
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON list, with an object for each file.",
)
def info(files: tuple[str, ...], as_json: bool) -> None:
    """Show size, blocks, holes, filesystem and residency of FILES.

    The map shows which parts are in memory. The command reads no byte of the files.

    \b
    Examples:
      yammap info tokens.bin
      yammap info --json *.bin | jq '.[] | [.path, .size, .allocated]'

    Sizes in JSON are in bytes. "residency" is null when the kernel does not tell: it tells
    a file's owner, and users who may write to the file.
    """
    found: list[Info] = []
    out = console()

    def tell(one: Info) -> None:
        found.append(one)
        if as_json:
            return
        if len(found) > 1:
            out.print()
        show(out, one)

    failed = _for_each(files, inspect, console(stderr=True), tell)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
    sys.exit(failed)


@commands.command()
@_files
def warm(files: tuple[str, ...]) -> None:
    """Read FILES into the page cache.

    This takes no memory but the cache, which the kernel shrinks when programs need memory.
    When memory has no room for a whole file, the command says so, and its exit status is 1.

    \b
    Examples:
      yammap warm tokens.bin
      yammap warm weights/*.safetensors && serve

    The command shows its progress on a terminal only.
    """
    with bars() as progress:
        sys.exit(_for_each(files, partial(_warm, progress), progress.console))


def _warm(progress: Progress, path: str) -> None:
    with open_path(path, engine="auto") as m:
        task = progress.add_task(spelled(path), total=m.size())
        m.warm(progress=lambda done, _: progress.update(task, completed=done))
        found = residency(m)
        if found and sum(found.resident) < m.size():
            stayed = f"{spelled_size(sum(found.resident))} of {spelled_size(m.size())}"
            raise OSError(
                errno.ENOMEM, f"only {stayed} stayed in memory, which has no room for more"
            )


@commands.command()
@_files
def evict(files: tuple[str, ...]) -> None:
    """Write FILES to the disk, and drop them from the page cache.

    No byte is lost: the next read comes from the disk. When bytes stay in memory, because
    they are locked, mapped by another process or on a tmpfs, the command says so, and its
    exit status is 1.

    \b
    Examples:
      yammap evict tokens.bin && time python train.py
      yammap evict old/*.log

    The command shows its progress on a terminal only.
    """
    with bars() as progress:
        sys.exit(_for_each(files, partial(_evict, progress), progress.console))


def _evict(progress: Progress, path: str) -> None:
    with open_path(path, engine="auto") as m:
        task = progress.add_task(spelled(path), total=m.size())
        stayed, untold = 0, None
        for offset in range(0, m.size(), _PIECE):
            length = min(_PIECE, m.size() - offset)
            try:
                stayed += m.evict(offset, length)
            except OSError as error:
                if error.errno not in UNTOLD:
                    raise
                untold = error  # the piece is evicted as far as possible
            progress.advance(task, length)
        if untold:
            raise untold
        if stayed:
            text = f"{spelled_size(stayed)} of {spelled_size(m.size())} stayed in memory"
            why = "they are locked, mapped by another process, or on a tmpfs"
            raise OSError(errno.EBUSY, f"{text}: {why}")


def _for_each(
    paths: Iterable[str],
    work: Callable[[str], _T],
    errors: Console,
    tell: Callable[[_T], object] = lambda _: None,
) -> bool:
    """Do the work on each file, and go on after a failure; return whether one failed.

    An error of `tell`, as when standard output is full, is not the file's error.
    """
    failed = False
    for path in paths:
        try:
            result = work(path)
        except OSError as error:
            complain(errors, path, error)
            failed = True
        else:
            tell(result)
    return failed


# -- Speed


@commands.command()
@_directory
def demo(directory: str | None) -> None:
    """Make a token file, and time yammap beside mmap and np.memmap.

    The tokens come from the source of Python's standard library. The demo takes some
    seconds and 100 MB of disk, and removes its files.

    \b
    Examples:
      yammap demo
      yammap demo --directory /data        use the disk of /data
    """
    demonstration.run(directory)


def _names(_context: object, _parameter: object, start: str) -> list[str]:
    """Complete the name of a scenario, without importing the scenarios."""
    files = Path(__file__).parents[1].joinpath("_bench").glob("[!_]*.py")
    return [file.stem for file in files if file.stem.startswith(start)]


@commands.command()
@click.argument("scenarios", nargs=-1, shell_complete=_names)
@_directory
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Scale of the files: 1 takes 8 GiB of disk, 0.1 a tenth of that.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    help="Start no further round of a contender after this many seconds.",
)
@click.option("--json", "results_file", type=Path, help="Write the results to this file.")
@click.option("--plots", type=Path, help="Draw the results into this directory, as SVG.")
def bench(
    scenarios: tuple[str, ...],
    directory: str | None,
    scale: float,
    seconds: float,
    results_file: Path | None,
    plots: Path | None,
) -> None:
    """Race yammap against mmap, np.memmap, system calls and pyarrow on this disk.

    Without SCENARIOS it runs all; an unknown name lists them. Cold scenarios need a
    filesystem on a disk, and not a tmpfs.

    \b
    Examples:
      yammap bench tokens --scale 0.1
      yammap bench --directory /data --json results.json --plots plots
    """
    from .._bench import _plots, _run

    unknown = set(scenarios).difference(_run.SCENARIOS)
    if unknown:
        known = ", ".join(_run.SCENARIOS)
        raise click.BadParameter(
            f"no scenario {', '.join(sorted(unknown))}: choose from {known}"
        )
    # A file that cannot be written is an error now, and not at the end.
    if results_file:
        results_file.touch()
    if plots:
        plots.mkdir(parents=True, exist_ok=True)
    results = _run.measure(scenarios or list(_run.SCENARIOS), directory, scale, seconds)
    _run.show(results)
    if results_file:
        results_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if plots:
        _plots.draw(results, plots)


@commands.command()
@click.argument("results_file", type=click.Path(exists=True, path_type=Path))
def report(results_file: Path) -> None:
    """Print the results of `yammap bench --json` as Markdown.

    \b
    Examples:
      yammap report results.json > performance.md
    """
    from .._bench import _report

    try:
        results = json.loads(results_file.read_text(encoding="utf-8"))
        lines = list(_report.report(results))
    except (ValueError, TypeError, LookupError) as error:
        reason = f"{results_file} is not what `yammap bench --json` writes: {error!r}"
        raise click.ClickException(reason) from None
    click.echo("\n".join(lines))
