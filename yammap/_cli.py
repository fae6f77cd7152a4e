"""The command line. What it needs beside NumPy comes with the extra ``cli``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point of the console script."""
    try:
        group = _group()
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f'yammap: the command line needs {error.name}: pip install "yammap[cli]"')
    group(prog_name="yammap")


def _group() -> click.Group:
    # Imported at the call, so that main can say what is missing.
    import click

    from . import __version__, _demo

    @click.group()
    @click.version_option(__version__)
    def group() -> None:
        """Work with memory-mapped files."""

    @group.command()
    @click.option(
        "--directory",
        type=click.Path(exists=True, file_okay=False, writable=True),
        help="Where the temporary files go. By default the system's place for them.",
    )
    def demo(directory: str | None) -> None:
        """Map a token file, and time it beside mmap and np.memmap.

        The tokens are those of the standard library's source. It takes some seconds
        and 100 MB of disk, and leaves nothing behind.
        """
        _demo.run(directory)

    return group
