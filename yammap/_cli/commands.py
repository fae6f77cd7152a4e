"""The command line, on click. What it needs comes with the extras ``cli`` and ``bench``."""

from __future__ import annotations

import errno
import json
import re
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from .. import __version__
from .._file.opening import open as open_path
from . import demo as demonstration
from .doctor import as_json as findings_as_json
from .doctor import examine, system
from .info import (
    UNTOLD,
    counter,
    files_below,
    inspect,
    ranges_in_memory,
    ranges_of_data,
    select,
)
from .segments import removed, segments
from .terminal import (
    bars,
    complain,
    console,
    show,
    show_findings,
    show_line,
    show_segments,
    show_total,
    spelled,
    spelled_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from .._file.mmap_file import Mmap
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


_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}


def _size(_context: object, _parameter: object, value: str | None) -> int | None:
    """Return a number of bytes, as ``4096``, ``64k``, ``1.5G`` or ``2TiB``."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtpe]?)(?:i?b)?", value.lower())
    if not found:
        raise click.BadParameter(
            f"{value!r} is no size: write bytes, or a unit as in 64k or 1.5GiB"
        )
    return int(float(found[1]) * (1 << _UNITS[found[2]]))


def _ranged(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a range."""
    length = click.option(
        "--length", metavar="SIZE", callback=_size, help="Bytes from there; by default all."
    )
    offset = click.option(
        "--offset",
        metavar="SIZE",
        callback=_size,
        default="0",
        help="Where to start in each file, as 1GiB.",
    )
    return offset(length(command))


class _Commands(click.Group):
    """The commands, which end as shells expect, and leave a terminal as it was."""

    def invoke(self, context: click.Context) -> Any:
        for number in signal.SIGTERM, signal.SIGHUP:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _end)
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            _end(signal.SIGINT)


def _end(number: int, _frame: object = None) -> NoReturn:
    sys.exit(128 + number)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Inspect files, load them into memory or drop them from it, and measure yammap.

    The exit status is 0 when the command succeeded, 1 when something failed (standard
    error says what), 2 when the command line was wrong, and 130 after Ctrl-C.

    \b
    Examples:
      yammap info tokens.bin               show what is in memory, and on the disk
      yammap warm shards/*.bin             load files before a program needs them
      yammap evict tokens.bin              drop a file, to time a cold start
      yammap doctor /data                  show what works on that disk
      yammap shared --clean                remove shared memory that nobody uses
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
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=1.0,
    metavar="[SECONDS]",
    help="Show it again each second, or each SECONDS, until Ctrl-C.",
)
@_ranged
def info(
    files: tuple[str, ...],
    as_json: bool,
    watch: float | None,
    offset: int,
    length: int | None,
) -> None:
    """Show size, holes, arrays, filesystem and residency of FILES.

    The map shows which parts are in memory. Of a directory, the command lists the files
    below it. It reads no byte but the headers of .npy and .npz files.

    \b
    Examples:
      yammap info tokens.bin
      yammap info /data/shards             a line for each file, and the total
      yammap info --offset 1G --length 64M tokens.bin
      yammap info tokens.bin --watch       see it fill and empty
      yammap info --json *.bin | jq '.[] | [.path, .size, .allocated]'

    Sizes in JSON are in bytes. "residency" is null when the kernel does not tell: it tells
    a file's owner, and users who may write to the file.
    """
    if as_json and watch:
        raise click.UsageError("--json and --watch do not go together")
    work = partial(inspect, offset=offset, length=length)
    if as_json:
        found: list[Info] = []
        failed = _for_each(files, work, console(stderr=True), found.append)
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        sys.exit(failed)
    out = console()
    failed = _tell(files, work, out)
    while watch:
        time.sleep(watch)
        out.clear()
        failed = _tell(files, work, out)
    sys.exit(failed)


def _tell(files: Iterable[str], work: Callable[[str], Info], out: Console) -> bool:
    """Print files in full, those of directories in a line, and the total of several."""
    found: list[Info] = []
    listed = False

    def tell(one: Info) -> None:
        nonlocal listed
        if one.path not in files:
            show_line(out, one)
        else:
            if found:
                out.print()
            show(out, one)
        listed |= one.path not in files
        found.append(one)

    failed = _for_each(files, work, console(stderr=True), tell)
    if len(found) > 1 or listed:
        out.print()
        show_total(out, found)
    return failed


@commands.command()
@_files
@_ranged
def warm(files: tuple[str, ...], offset: int, length: int | None) -> None:
    """Read FILES, or those below directories, into the page cache.

    Holes are left out, since they need no disk. This takes no memory but the cache, which
    the kernel shrinks when programs need memory. When memory has no room for a whole file,
    the command says so, and its exit status is 1.

    \b
    Examples:
      yammap warm tokens.bin
      yammap warm weights/*.safetensors && serve
      yammap warm --length 1GiB tokens.bin

    The command shows its progress, and the total, on a terminal only.
    """
    with bars("warmed") as progress:
        work = partial(_warm, progress, offset, length)
        sys.exit(_for_each(files, work, progress.console))


def _warm(progress: Progress, offset: int, length: int | None, path: str) -> None:
    with open_path(path, engine="auto") as m:
        ranges = list(ranges_of_data(m, *select(m.size(), offset, length)))
        total = sum(count for _, count in ranges)
        task = progress.add_task(spelled(path), total=total)
        done = 0
        for start, count in ranges:
            tell = partial(_advance, progress, task, done)
            done += m.warm(start, count, progress=tell)
        resident = _resident(m, ranges)
        if resident is not None and resident < total:
            stayed = f"{spelled_size(resident)} of {spelled_size(total)}"
            raise OSError(
                errno.ENOMEM, f"only {stayed} stayed in memory, which has no room for more"
            )


def _advance(progress: Progress, task: TaskID, before: int, done: int, _: int) -> None:
    progress.update(task, completed=before + done)


def _resident(m: Mmap, ranges: Iterable[tuple[int, int]]) -> int | None:
    """Return the bytes of ranges that are in memory; None when the kernel does not tell."""
    try:
        with counter(m) as bytes_at:
            return sum(bytes_at(start, count) for start, count in ranges)
    except OSError as error:
        if error.errno in UNTOLD:
            return None
        raise


@commands.command()
@_files
@_ranged
def evict(files: tuple[str, ...], offset: int, length: int | None) -> None:
    """Write FILES, or those below directories, to the disk, and drop them from memory.

    No byte is lost: the next read comes from the disk. When bytes stay in memory, because
    they are locked, mapped by another process or on a tmpfs, the command says so, and its
    exit status is 1.

    \b
    Examples:
      yammap evict tokens.bin && time python train.py
      yammap evict old/*.log

    The command shows its progress, and the total, on a terminal only.
    """
    with bars("evicted") as progress:
        work = partial(_evict, progress, offset, length)
        sys.exit(_for_each(files, work, progress.console))


def _evict(progress: Progress, offset: int, length: int | None, path: str) -> None:
    with open_path(path, engine="auto") as m:
        start, count = select(m.size(), offset, length)
        task = progress.add_task(spelled(path), total=count)
        stayed, untold = 0, None
        for at, piece in _pieces(m, start, count):
            try:
                stayed += m.evict(at, piece)
            except OSError as error:
                if error.errno not in UNTOLD:
                    raise
                untold = error  # the piece is evicted as far as possible
            progress.update(task, completed=at + piece - start)
        progress.update(task, completed=count)
        if untold:
            raise untold
        if stayed:
            text = f"{spelled_size(stayed)} of {spelled_size(count)} stayed in memory"
            why = "they are locked, mapped by another process, or on a tmpfs"
            raise OSError(errno.EBUSY, f"{text}: {why}")


def _pieces(m: Mmap, start: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the pieces of a range that are in memory; all if the kernel does not tell."""
    try:
        with counter(m) as bytes_at:
            yield from ranges_in_memory(bytes_at, start, count, _PIECE)
    except OSError as error:
        if error.errno not in UNTOLD:
            raise
        for at in range(start, start + count, _PIECE):
            yield at, min(_PIECE, start + count - at)


def _for_each(
    paths: Iterable[str],
    work: Callable[[str], _T],
    errors: Console,
    tell: Callable[[_T], object] = lambda _: None,
) -> bool:
    """Do the work on each file, and go on after a failure; return whether one failed.

    An error of `tell`, as when standard output is full, is not the file's error.
    """
    failed: list[str] = []

    def fail(path: str, error: OSError) -> None:
        complain(errors, path, error)
        failed.append(path)

    for path in _expanded(paths, fail):
        try:
            result = work(path)
        except OSError as error:
            fail(path, error)
        else:
            tell(result)
    return bool(failed)


def _expanded(paths: Iterable[str], fail: Callable[[str, OSError], None]) -> Iterator[str]:
    for path in paths:
        try:
            yield from files_below(path)
        except OSError as error:  # of a directory
            fail(error.filename, error)


@commands.command()
@click.argument("path", default=".", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--fix", "fixes", is_flag=True, help="Show what would change what is found.")
def doctor(path: str, as_json: bool, fixes: bool) -> None:
    """Show what the kernel, the filesystem of PATH and the limits allow here.

    PATH is a file, which is only read, or a directory, in which the command makes a file of
    a page and removes it. It says what yammap does where something is missing, and changes
    no setting: --fix only shows what would.

    \b
    Examples:
      yammap doctor
      yammap doctor /data --fix
      yammap doctor --json | jq '.findings[] | select(.state != "ok")'
    """
    try:
        findings = examine(path)
    except OSError as error:
        complain(console(stderr=True), path, error)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(findings_as_json(path, findings), indent=1))
        return
    out = console()
    out.print(", ".join(f"{name} {value}" for name, value in system().items()))
    out.print()
    show_findings(out, findings, fixes=fixes)
    if not fixes and any(found.fix and found.state != "ok" for found in findings):
        out.print("\n--fix shows what would change this.", style="dim")


@commands.command()
@click.argument("directory", default="/dev/shm", type=click.Path())  # noqa: S108
@click.option("--clean", is_flag=True, help="Remove segments without users; list these.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON list, with an object for each segment.",
)
def shared(directory: str, clean: bool, as_json: bool) -> None:
    """List the shared memory that `yammap.shared` has made.

    It is in DIRECTORY, by default /dev/shm. A line has size, users, age and name. Users are
    processes; "?" are those that the kernel does not show. Memory goes with its last user.
    If that one was killed, it stays until the next call of `yammap.shared` or --clean.
    Pickles that nobody has loaded keep it for ten minutes, and --clean leaves it.

    \b
    Examples:
      yammap shared
      yammap shared --clean                remove what killed programs have left
      yammap shared --json | jq '.[] | [.name, .size, .users]'

    Sizes in JSON are in bytes, ages in seconds; "users" has process ids, or is null.
    """
    try:
        listed = (removed if clean else segments)(directory)
    except OSError as error:
        complain(console(stderr=True), directory, error)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in listed], indent=1))
    else:
        show_segments(console(), listed)


# -- Speed


@commands.command()
@_directory
@click.option("--yes", "-y", is_flag=True, help="Do not ask before files are written.")
def demo(directory: str | None, yes: bool) -> None:
    """Make a token file, and time yammap beside mmap and np.memmap.

    The tokens come from the source of Python's standard library. The demo takes some
    seconds and 100 MB of disk, or what there is, and removes its files. On a terminal it
    asks before it begins.

    \b
    Examples:
      yammap demo
      yammap demo --directory /data        use the disk of /data
    """
    if yes or not sys.stdin.isatty():
        demonstration.run(directory)
    else:
        demonstration.run(directory, lambda what: click.confirm(f"{what} Go on?", True))


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
    show_default=True,
    help="Scale of the files: 1 takes 8 GiB of disk, 0.1 a tenth of that.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
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
    chosen = scenarios or tuple(_run.SCENARIOS)
    where = directory or tempfile.gettempdir()
    click.echo(
        f"{len(chosen)} scenarios in {where}: up to {10 * scale:.2g} GiB of disk, and some "
        f"{seconds:g} s for each contender of a race",
        err=True,
    )
    results = _run.measure(chosen, directory, scale, seconds)
    _run.show(results)
    if results_file:
        results_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if plots:
        _plots.draw(results, plots)


@commands.command()
@click.argument("results_file", type=click.Path(exists=True, path_type=Path))
@click.argument("others", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--plots", type=Path, help="Draw the results into this directory, as SVG.")
def report(results_file: Path, others: tuple[Path, ...], plots: Path | None) -> None:
    """Print the results of `yammap bench --json` as Markdown.

    The calls that OTHERS have, results of other interpreters, get tables of their own.

    \b
    Examples:
      yammap report results.json > performance.md
      yammap report results.json results-3.13.json --plots plots > performance.md
    """
    from .._bench import _report

    files = results_file, *others
    try:
        results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        lines = list(_report.report(results[0], results[1:]))
        merged = _report.with_others(results[0], results[1:])
    except (ValueError, TypeError, LookupError) as error:
        names = " or ".join(map(str, files))
        reason = f"{names} is not what `yammap bench --json` writes: {error!r}"
        raise click.ClickException(reason) from None
    if plots:
        from .._bench import _plots  # needs matplotlib, and the text does not

        _plots.draw(merged, plots)
    click.echo("\n".join(lines))
