"""The manual page, made of what ``--help`` says.

After a change of the commands: python -P tests/programs/manual.py > docs/yammap.1
"""

import click

from yammap._cli.commands import commands

WIDTH = 76


def manual():
    """Return the page in roff."""
    lines = ['.TH YAMMAP 1 "" yammap "User Commands"', ".SH NAME"]
    lines += ["yammap \\- inspect memory-mapped files, and measure them", ".SH SYNOPSIS"]
    lines += [".B yammap", "COMMAND [OPTIONS] [ARGUMENTS]", ".SH DESCRIPTION"]
    lines += block(commands, "yammap")
    lines.append(".SH COMMANDS")
    for name, command in sorted(commands.commands.items()):
        lines += [f".SS {name}", *block(command, f"yammap {name}")]
    lines += [".SH SEE ALSO", ".BR mmap (2),", ".BR madvise (2),", ".BR mincore (2)"]
    return "\n".join(lines) + "\n"


def block(command, name):
    """Return the help of a command as lines that roff leaves alone."""
    names = ["-h", "--help"]
    with click.Context(
        command, info_name=name, terminal_width=WIDTH, help_option_names=names
    ) as context:
        text = command.get_help(context)
    return [".nf", *map(escaped, text.splitlines()), ".fi"]


def escaped(line):
    line = line.rstrip().replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    print(manual(), end="")
