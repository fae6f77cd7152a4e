"""Work in a process of its own, with as much memory as it is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ._race import Measured

__all__ = ["MEMORY", "can_limit", "fresh", "limited"]

MEMORY = Path("/sys/fs/cgroup/memory")  # where cgroup v1 has its memory controller


def can_limit() -> bool:
    """Return whether this process may make memory cgroups of version 1."""
    known = (MEMORY / "memory.limit_in_bytes").exists()
    return known and os.access(MEMORY, os.W_OK) and os.geteuid() == 0


@contextmanager
def limited(size: int | None) -> Iterator[list[str]]:
    """Give the words before a command that let it have `size` bytes of memory.

    The page cache that the command fills is a part of them. None is no limit.
    """
    if size is None:
        yield []
        return
    group = MEMORY / f"yammap-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(size), encoding="ascii")
        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        yield ["sh", "-c", enter, "sh"]
    finally:
        group.rmdir()


def fresh(module: str, *arguments: str, limit: int | None = None) -> Measured:
    """Run a module of this package, which prints as JSON what it measured.

    It is in a process group of its own: Ctrl-C is for us, and we kill it then.
    """
    with limited(limit) as words:
        command = [*words, sys.executable, "-P", "-m", module, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, process_group=0)
    found = json.loads(done.stdout)
    return Measured(**{**found, "result": np.uint64(found["result"])})
