"""Everything at once, for hours: ``python tests/programs/soak --minutes 60``.

Processes of many threads read, write, view, grow, cut, close and fork over a few files, on
a roomy filesystem and (as root) on one that is always full, and compare what they see with
a ledger of what must be there. One mismatch, one leak, or one process that died by itself,
and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ledger import File
from stage import ROUND, World, work

if TYPE_CHECKING:
    from collections.abc import Iterator


class Supervisor:
    """Keeps the processes running, kills one now and then, and adds up."""

    def __init__(self, world: World, minutes: float) -> None:
        self.world, self.random = world, random.Random(world.seed)
        self.context = multiprocessing.get_context("spawn")
        # One arena: with one for each of the threads that come and go, what glibc cannot
        # give back of them grows by some 150 MB an hour, and hides what we might lose.
        os.environ["MALLOC_ARENA_MAX"] = "1"
        self.end = time.monotonic() + 60 * minutes
        self.counts: Counter[str] = Counter()
        world.ledger().clear()
        for file in world.files:
            file.path.touch()

    def run(self) -> None:
        running = [self.start(i) for i in range(self.world.processes)]
        kill_at = self.next_kill()
        while any(p.is_alive() for p in running):
            time.sleep(0.2)
            for i, process in enumerate(running):
                if not process.is_alive() and self.died(process):
                    running[i] = self.start(i)
            if time.monotonic() > kill_at:
                i = self.random.randrange(self.world.processes)
                self.kill(running[i])
                running[i] = self.start(i)
                kill_at = self.next_kill()
        for process in running:
            self.died(process)

    def next_kill(self) -> float:
        return time.monotonic() + self.random.uniform(2, 6) * ROUND

    def start(self, process: int) -> multiprocessing.Process:
        self.counts["processes"] += 1
        first = 1000 * self.counts["processes"]
        child = self.context.Process(
            target=work, args=(self.world, process, first, self.end), daemon=True
        )
        child.start()
        return child

    def kill(self, process: multiprocessing.Process) -> None:
        """What was acknowledged must survive this, and nobody else may notice."""
        process.kill()
        process.join()
        self.counts["killed"] += 1

    def died(self, process: multiprocessing.Process) -> bool:
        if process.exitcode:
            self.counts["mismatches"] += 1
            print(f"a process ended with {process.exitcode}", file=sys.stderr, flush=True)
        return bool(process.exitcode) and time.monotonic() < self.end

    def growth(self) -> dict[str, int]:
        """Return how much more a process held at the end than after its second round."""
        worst = {"fds": 0, "maps": 0, "rss": 0}
        for path in self.world.directory.glob("report-*"):
            rounds = [json.loads(line) for line in path.read_text().splitlines()]
            for line in rounds:
                self.counts.update(line["counts"])
            for key in worst if len(rounds) > 2 else ():
                grown = rounds[-1]["usage"][key] - rounds[1]["usage"][key]
                worst[key] = max(worst[key], grown)
        return worst

    def report(self) -> int:
        """Print the table; return the exit status."""
        growth = self.growth()
        leaks = growth["fds"] > 0 or growth["maps"] > 50 or growth["rss"] > 10_000
        mismatches = self.counts.pop("mismatches", 0)
        rows = sorted(self.counts.items())
        rows += [(f"most growth of a process, {k}", v) for k, v in growth.items()]
        for name, value in [*rows, ("mismatches", mismatches)]:
            print(f"{name:36}{value:14,}")
        return int(bool(mismatches or leaks))


@contextlib.contextmanager
def full_disk(directory: Path) -> Iterator[Path | None]:
    """Mount a filesystem that is too small for its files, if we may."""
    small = directory / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", small]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield small
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def files(directory: Path, small: Path | None) -> list[File]:
    """Return the files: records as long as a page, and records across pages."""
    paths = [(directory, 4096), (directory, 5000), (directory, 9999)]
    paths += [(small, 4096), (small, 4096)] if small else []
    return [
        File(i, folder / f"records-{i}", stride, folder == directory)
        for i, (folder, stride) in enumerate(paths)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--directory", help="where to put the files, for a short time")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and unmount
    with (
        tempfile.TemporaryDirectory(dir=arguments.directory) as name,
        full_disk(Path(name)) as small,
    ):
        directory = Path(name)
        world = World(
            directory, files(directory, small), arguments.processes, arguments.seed
        )
        supervisor = Supervisor(world, arguments.minutes)
        supervisor.run()
        return supervisor.report()


if __name__ == "__main__":
    sys.exit(main())
