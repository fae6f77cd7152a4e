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

# What cannot be read is found out file by file, and is no misuse.
_files = click.argument("files", nargs=-1, required=True, type=click.Path(readable=False))
_directory = click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Where the temporary files go. By default the system's place for them.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Work with memory-mapped files, and with what of them is in memory.

    The exit status is 0 when all was done, 1 when something was not, which standard
    error then names, and 2 when the command was not understood.

    \b
    Examples:
      yammap info tokens.bin               what is in memory, and on the disk
      yammap warm shards/*.bin             have it in memory before it is needed
      yammap evict tokens.bin              time a cold start
      yammap COMMAND --help                more about a command

    \b
    Completion, for the shell's startup file:
      eval "$(_YAMMAP_COMPLETE=bash_source yammap)"
      eval "$(_YAMMAP_COMPLETE=zsh_source yammap)"
      _YAMMAP_COMPLETE=fish_source yammap | source
    """


# -- Files


@commands.command()
@_files
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
def info(files: tuple[str, ...], as_json: bool) -> None:
    """Tell size, blocks, holes, filesystem and residency of FILES.

    No byte of them is read. The map shows which parts are in memory.

    \b
    Examples:
      yammap info tokens.bin
      yammap info --json *.bin | jq '.[] | [.path, .size, .allocated]'

    Sizes in JSON are in bytes. "residency" is null when the kernel does not tell: it tells
    a file's owner, and those who may write it.
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

    It takes no memory but the cache, which the kernel shrinks when others need it. What
    did not stay, as there is not room for all, is named, and the exit status 1.

    \b
    Examples:
      yammap warm tokens.bin
      yammap warm weights/*.safetensors && serve

    Progress is shown on a terminal only.
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
            raise OSError(errno.ENOMEM, f"only {stayed} stayed in memory")


@commands.command()
@_files
def evict(files: tuple[str, ...]) -> None:
    """Write FILES to the disk, and empty the page cache of them.

    No byte is lost: the next read comes from the disk. What stayed, since it is locked,
    mapped by another process or on a tmpfs, is named, and the exit status 1.

    \b
    Examples:
      yammap evict tokens.bin && time python train.py
      yammap evict old/*.log

    Progress is shown on a terminal only.
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
                untold = error  # the piece is evicted, as far as it can be
            progress.advance(task, length)
        if untold:
            raise untold
        if stayed:
            text = f"{spelled_size(stayed)} of {spelled_size(m.size())} stayed in memory"
            why = "locked, mapped by another process, or on a tmpfs"
            raise OSError(errno.EBUSY, f"{text}: {why}")


def _for_each(
    paths: Iterable[str],
    work: Callable[[str], _T],
    errors: Console,
    tell: Callable[[_T], object] = lambda _: None,
) -> bool:
    """Do the work on each file, those after one that failed too; return whether one did.

    What cannot be told of it, as standard output is full, is not the file's error.
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
    """Map a token file, and time it beside mmap and np.memmap.

    The tokens are those of the standard library's source. It takes some seconds and
    100 MB of disk, and leaves nothing behind.

    \b
    Examples:
      yammap demo
      yammap demo --directory /data        on the disk that is there
    """
    demonstration.run(directory)


def _names(_context: object, _parameter: object, start: str) -> list[str]:
    """Complete the name of a scenario, without importing what all of them need."""
    files = Path(__file__).parents[1].joinpath("_bench").glob("[!_]*.py")
    return [file.stem for file in files if file.stem.startswith(start)]


@commands.command()
@click.argument("scenarios", nargs=-1, shell_complete=_names)
@_directory
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    help="Sizes: 1 takes 8 GiB, 0.1 a tenth of it.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    help="When a contender gets no more rounds.",
)
@click.option("--json", "results_file", type=Path, help="File to write the results to.")
@click.option("--plots", type=Path, help="Directory to draw them into, as SVG.")
def bench(
    scenarios: tuple[str, ...],
    directory: str | None,
    scale: float,
    seconds: float,
    results_file: Path | None,
    plots: Path | None,
) -> None:
    """Race yammap against mmap, np.memmap, system calls and pyarrow on this disk.

    Without SCENARIOS all are run; a name that is none of them lists them. Cold ones need
    a filesystem that keeps its files in the page cache, which a tmpfs is not.

    \b
    Examples:
      yammap bench tokens --scale 0.1
      yammap bench --directory /data --json results.json --plots plots
    """
    from .._bench import _plots, _run

    unknown = set(scenarios).difference(_run.SCENARIOS)
    if unknown:
        known = ", ".join(_run.SCENARIOS)
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: there are {known}")
    # What cannot be written shall not be found out at the end.
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
    """Print what `yammap bench --json` wrote, as Markdown.

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
