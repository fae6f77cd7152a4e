"""The command line. What it needs comes with the extras ``cli`` and ``bench``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["group", "main"]

_EXTRAS = {"click": "cli", "rich": "cli", "matplotlib": "bench", "pyarrow": "bench"}


def main() -> None:
    """Run the command line; the entry point of the console script."""
    try:
        group()(prog_name="yammap")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        sys.exit(f'yammap: this command needs {error.name}: pip install "yammap[{extra}]"')


def group() -> click.Group:
    """Return the command line."""
    # Imported at the call, so that main can say what is missing.
    import click

    from . import __version__, _demo

    @click.group()
    @click.version_option(__version__)
    def commands() -> None:
        """Work with memory-mapped files."""

    directory = click.option(
        "--directory",
        type=click.Path(exists=True, file_okay=False, writable=True),
        help="Where the temporary files go. By default the system's place for them.",
    )

    @commands.command()
    @directory
    def demo(directory: str | None) -> None:
        """Map a token file, and time it beside mmap and np.memmap.

        The tokens are those of the standard library's source. It takes some seconds
        and 100 MB of disk, and leaves nothing behind.
        """
        _demo.run(directory)

    @commands.command()
    @click.argument("scenarios", nargs=-1)
    @directory
    @click.option("--scale", default=1.0, help="Sizes: 1 takes 8 GiB, 0.1 a tenth of it.")
    @click.option("--seconds", default=10.0, help="When a contender gets no more rounds.")
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

        SCENARIOS are names of files in benchmarks/, without ".py"; all by default. Cold
        ones need a filesystem that keeps its files in the page cache, which a tmpfs is not.
        """
        from ._bench import _plots, _run

        unknown = set(scenarios).difference(_run.SCENARIOS)
        if unknown:
            known = ", ".join(_run.SCENARIOS)
            raise click.BadParameter(f"{', '.join(sorted(unknown))}: there are {known}")
        results = _run.measure(scenarios or list(_run.SCENARIOS), directory, scale, seconds)
        _run.show(results)
        if results_file:
            results_file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if plots:
            _plots.draw(results, plots)

    @commands.command()
    @click.argument("results_file", type=click.Path(exists=True, path_type=Path))
    def report(results_file: Path) -> None:
        """Print what `yammap bench --json` wrote, as Markdown."""
        from ._bench import _report

        results = json.loads(results_file.read_text(encoding="utf-8"))
        click.echo("\n".join(_report.report(results)))

    return commands
