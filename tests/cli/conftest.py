"""Fixtures: commands run here or in a process, and files for them."""

import mmap
import os
import subprocess
import sys

import pytest

import yammap

PAGE = mmap.PAGESIZE


@pytest.fixture(scope="session")
def python():
    """Run the interpreter on a command line, and return what became of it."""

    def python(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-P", "-W", "error", *arguments],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
            timeout=120,
        )

    python.executable = sys.executable
    return python


@pytest.fixture
def run(capsys):
    """Run a command here; returns its exit status, and what it printed where."""
    from yammap._cli.commands import commands  # needs the extra `cli`

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            commands([os.fsdecode(a) for a in arguments], prog_name="yammap")
        return int(end.value.code), *capsys.readouterr()

    return run


@pytest.fixture
def memory():
    """Memory of 8 pages by a path, of which the second and third are there."""
    with yammap.anonymous(8 * PAGE) as m:
        m.write_at(b"x" * 2 * PAGE, PAGE)
        yield f"/proc/self/fd/{m.fileno()}"


@pytest.fixture
def written(path):
    path.write_bytes(b"x" * 100_000)
    return path
