"""``yammap`` and ``python -m yammap``: the command line, if its extras are installed."""

import contextlib
import io
import sys

__all__ = ["main"]

_EXTRAS = {"click": "cli", "rich": "cli", "matplotlib": "bench", "pyarrow": "bench"}


def main() -> None:
    """Run the command line; the entry point of the console script."""
    # Names and units that the terminal's encoding cannot express are printed escaped.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from ._cli.commands import commands

        commands(prog_name="yammap")
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        sys.exit(f'yammap: this command needs {error.name}: pip install "yammap[{extra}]"')
    except OSError as error:
        _give_up_full_output()
        sys.exit(f"yammap: {error}")


def _give_up_full_output() -> None:
    """Close an output that takes no more, for Python 3.14 to try no more at the end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            sys.stdout.close()


if __name__ == "__main__":
    main()
