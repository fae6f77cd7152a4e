"""Fixtures: a path to play with, and a child process to die in our place."""

import os
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.bin"


@pytest.fixture
def eager_switching():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def child(tmp_path):
    """Run Python source in a process of its own; returns its exit status and output.

    It must exit with `status`: 0, or minus the number of the signal that killed it.
    """

    def run(source, status=0, **environment):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", textwrap.dedent(source)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return run
