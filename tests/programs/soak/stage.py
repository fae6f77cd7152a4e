"""One process of the soak: its threads, its forked children, and what it leaves behind."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import itertools
import json
import os
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from actors import (
    BLOCK,
    WRITERS,
    Actor,
    Adviser,
    Appender,
    Driller,
    Gatherer,
    Orphan,
    Reader,
    Sizer,
    Streamer,
    Viewer,
    ViewWriter,
    Writer,
)
from ledger import File, Ledger

import yammap

ROUND = 15  # seconds until a process closes all and counts what is left
HANG = 90  # seconds after which a round is given up
READERS = (Reader, Reader, Gatherer, Viewer, Viewer, Streamer)
ACTORS = (*READERS, Orphan, Writer, ViewWriter, Sizer, Adviser, Appender, Driller)

# Without the GIL, CPython may leave any object locked in a child (docs/design/threads.md).
CAN_FORK = getattr(sys, "_is_gil_enabled", lambda: True)()


@dataclass(frozen=True)
class World:
    """What all processes know."""

    directory: Path
    files: list[File]
    processes: int
    seed: int

    @property
    def records(self) -> int:
        return BLOCK * WRITERS * self.processes

    def ledger(self) -> Ledger:
        return Ledger(self.directory / "ledger", len(self.files), self.records)


class Stage:
    """What the threads of one process share in one round."""

    def __init__(self, world: World, process: int, number: int) -> None:
        self.world, self.process, self.round = world, process, number
        self.ledger = world.ledger()
        self.mappings: dict[int, yammap.Mmap] = {}
        self.healed = 0  # what views showed while this changed says nothing

    def mapping(self, file: File, actor: Actor) -> yammap.Mmap:
        m = self.mappings.get(file.number)
        if m is None or m.closed:
            m = yammap.open(file.path, "r+", **actor.options())
            self.mappings[file.number] = m
            actor.counts["opened"] += 1
        return m

    def heal(self, m: yammap.Mmap, actor: Actor) -> None:
        self.healed += 1
        actor.counts["healed"] += 1
        with contextlib.suppress(ValueError):  # closed just now
            actor.heal(m)
        self.healed += 1

    def close(self, file: File, actor: Actor) -> None:
        m = self.mappings.pop(file.number, None)
        if m is not None:
            with contextlib.suppress(yammap.BusError):
                m.close()
            actor.counts["closed"] += 1


def play(stage: Stage) -> Counter[str]:
    """Let all threads run for a round, and fork meanwhile; return what they counted."""
    actors = [kind(stage, slot=kind is ViewWriter) for kind in ACTORS]
    end = time.monotonic() + ROUND
    threads = [
        threading.Thread(target=a.run, args=(lambda: time.monotonic() < end,))
        for a in actors
    ]
    for thread in threads:
        thread.start()
    forks = Counter()
    while time.monotonic() < end:
        if CAN_FORK:
            fork(stage, forks)
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    for file in stage.world.files:
        stage.close(file, actors[0])
    unfinished = sum(not a.finished for a in actors)
    return sum((a.counts for a in actors), forks + Counter(mismatches=unfinished))


def fork(stage: Stage, counts: Counter[str]) -> None:
    """Fork while the threads use the mappings; the child must get on with all of them."""
    pid = os.fork()
    if pid == 0:
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(HANG)
        status = 70
        try:
            status = bool(forked(stage))
        finally:
            os._exit(status)
    counts["forks"] += 1
    _, status = os.waitpid(pid, 0)
    if status:
        counts["mismatches"] += 1
        print(f"a forked child ended with {status}", file=sys.stderr, flush=True)


def forked(stage: Stage) -> int:
    """Read, write and fault as the parent does; return the mismatches."""
    actors = [Reader(stage), Writer(stage, 2), Driller(stage)]
    for actor in actors:
        steps = iter(range(10))
        actor.run(lambda steps=steps: next(steps, None) is not None)
    return sum(a.counts["mismatches"] for a in actors)


def usage() -> dict[str, int]:
    """Return what this process holds. Of memory: what it could not give back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "maps": len(Path("/proc/self/maps").read_text().splitlines()),
        "rss": int(status.partition("RssAnon:")[2].split()[0]),
    }


def work(world: World, process: int, first: int, end: float) -> None:
    """Be one process: round after round, each with a line in the report."""
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
    faulthandler.enable()  # before the first mapping, so that a crash tells where
    with open(world.directory / f"report-{os.getpid()}", "w") as report:
        for number in itertools.count(first):
            if time.monotonic() > end:
                return
            faulthandler.dump_traceback_later(ROUND + HANG, exit=True)
            counts = play(Stage(world, process, number))
            print(json.dumps({"counts": counts, "usage": usage()}), file=report, flush=True)
