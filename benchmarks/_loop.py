"""A statement as its users write it, compiled into a loop as `timeit` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["loop"]


def loop(
    statement: str, names: Mapping[str, Any], variable: str = "_"
) -> Callable[[Any], object]:
    """Return a function that runs a statement for each operation, which is its `variable`.

    The names are its locals. It returns what the statement called `result`, if anything.
    """
    scope = {"result": None, **names}
    given = ", ".join(f"{name}={name}" for name in scope)
    head = f"def job(work, {given}):\n for {variable} in work:"
    exec(f"{head}\n  {statement}\n return result", scope)
    job: Callable[[Any], object] = scope["job"]
    return job
