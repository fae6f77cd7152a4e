"""Close a mapping while others call all that it has: ``close_races.py --rounds 100000``.

One thread opens a mapping, lets a view of it fault, heals it now and then, and closes it.
Others call every public method and property meanwhile, which are found by introspection: a
new method joins by itself, and one with a new kind of argument fails until `PLAUSIBLE` has
a value for it. A call may do its work, or be refused for a reason that `REFUSALS` names.
Any other exception ends the program, and so does a crash.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import itertools
import mmap as stdlib
import os
import random
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import yammap
from yammap import compat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = stdlib.PAGESIZE
SIZE = 4 * PAGE
THREADS = 3

# What a call may say: the mapping is closed or was cut, or a view has met a missing page;
# views are alive; the range is not there any more.
REFUSALS = (ValueError, OSError, BufferError, EOFError, IndexError)

OFFSETS = np.array([0, 64, PAGE, 3 * PAGE])

KINDS = {"Mmap": yammap.Mmap, "compat": compat.mmap}

# By the name of a parameter that has no default.
PLAUSIBLE: dict[str, Callable[[], Any]] = {
    "advice": lambda: yammap.MADV_RANDOM,
    "buffer": lambda: bytearray(64),
    "byte": lambda: 7,
    "chunk": lambda: PAGE,
    "count": lambda: 64,
    "data": lambda: b"x" * 64,
    "dest": lambda: 0,
    "length": lambda: 64,
    "lengths": lambda: np.full(len(OFFSETS), 64),
    "lines": lambda: [b"one\n", b"two\n"],
    "name": lambda: "name",
    "newsize": lambda: random.choice([SIZE, SIZE + PAGE]),
    "offset": lambda: random.choice([0, 100, PAGE, 3 * PAGE]),
    "offsets": lambda: OFFSETS,
    "option": lambda: yammap.MADV_NORMAL,
    "pos": lambda: random.choice([0, 100, PAGE]),
    "records": lambda: np.ones((len(OFFSETS), 64), np.uint8),
    "size": lambda: random.choice([SIZE, SIZE - 100, SIZE + PAGE]),
    "src": lambda: PAGE,
    "sub": lambda: b"absent",
    "whence": lambda: yammap.SEEK_DATA,
}

# What has no name to call it by, or waits for ever.
SPECIAL: dict[str, Callable[[Any], Any]] = {
    "len(m)": len,
    "m[100]": lambda m: m[100],
    "m[:64]": lambda m: m[:64],
    "m[::3]": lambda m: m[::3],
    "m[100] = 7": lambda m: m.__setitem__(100, 7),
    "m[:4] = b'abcd'": lambda m: m.__setitem__(slice(4), b"abcd"),
    "b'x' in m": lambda m: b"x" in m,
    "memoryview(m)": memoryview,
    "array('u2', 8, 64)": lambda m: m.array("u2", 8, 64),
    "iter(m)": iter,
    "repr(m)": repr,
    "file_lock": lambda m: m.file_lock(timeout=0),
}


def calls_of(kind: type) -> dict[str, Callable[[Any], Any]]:
    """Return all that can be asked of an object of a class, by its name."""
    found = dict(SPECIAL)
    for name in dir(kind):
        if not name.startswith("_") and name not in found:
            found[name] = call_of(kind, name)
    return found


def call_of(kind: type, name: str) -> Callable[[Any], Any]:
    member = inspect.getattr_static(kind, name)
    if not callable(getattr(kind, name)) or isinstance(member, property):
        return lambda m: getattr(m, name)
    parameters = list(inspect.signature(getattr(kind, name)).parameters.values())[1:]
    values = [
        PLAUSIBLE[p.name]
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return lambda m: getattr(m, name)(*(value() for value in values))


def use(result: Any) -> None:
    """Use what a call returned, as its caller would."""
    if isinstance(result, memoryview | np.ndarray):
        bytes(result[:1])
    elif isinstance(result, tuple):
        deep = [use(part) for part in result]
        assert deep
    elif hasattr(result, "__enter__") and not isinstance(result, compat.mmap | yammap.Mmap):
        with result:
            pass
    elif hasattr(result, "__next__"):
        for part in itertools.islice(result, 2):
            bytes(part)


class Races:
    """Rounds of one mapping each, among threads that use whichever is there."""

    def __init__(self, folder: Path, kind: str, seed: int) -> None:
        self.path = folder / kind
        self.kind = kind
        self.random = random.Random(seed)
        self.calls = list(calls_of(KINDS[kind]).items())
        self.done = threading.Event()
        self.failures: list[str] = []
        self.counts: list[Counter[str]] = [Counter() for _ in range(THREADS + 1)]

    def open(self) -> Any:
        self.path.write_bytes(b"first\nsecond\n" * (SIZE // 13) + bytes(SIZE % 13))
        if self.kind == "compat":
            with self.path.open("r+b") as file:
                return compat.mmap(file.fileno(), 0)
        ahead = self.random.choice([0, 1 << 16])
        keep_fd = ahead > 0 or self.random.random() < 0.9
        return yammap.open(self.path, "r+", on_fault="poison", ahead=ahead, keep_fd=keep_fd)

    def run(self, rounds: int) -> None:
        self.mapping = self.open()
        threads = [
            threading.Thread(target=self.call_all, args=(i,)) for i in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(rounds):
                if self.done.is_set():
                    break
                self.round()
        finally:
            self.done.set()
            for thread in threads:
                thread.join()

    def round(self) -> None:
        """Use up the mapping that is there, and put the next one in its place."""
        m = self.mapping
        steps: list[Callable[[Any], Any]] = [yammap.Mmap.size] * self.random.randrange(100)
        if self.kind != "compat" and self.random.random() < 0.3:
            steps += [self.fault, yammap.Mmap.faults]
            steps += [lambda m: m.heal(discard=True)] * self.random.randrange(2)
        for step in [*steps, yammap.Mmap.close, yammap.Mmap.faults]:
            self.attempt(m, "the one that closes", step, self.counts[-1])
        self.mapping = self.open()

    def fault(self, m: Any) -> None:
        array = m.array()
        os.truncate(self.path, PAGE)
        int(array[2 * PAGE])

    def call_all(self, number: int) -> None:
        order = self.calls.copy()
        random.Random(number).shuffle(order)
        for name, call in itertools.cycle(order):
            if self.done.is_set():
                return
            self.attempt(self.mapping, name, call, self.counts[number])

    def attempt(
        self, m: Any, name: str, call: Callable[[Any], Any], counts: Counter[str]
    ) -> None:
        try:
            use(call(m))
            counts["done"] += 1
        except REFUSALS as refusal:
            counts[type(refusal).__name__] += 1
        except BaseException as failure:
            self.failures.append(f"{name}: {failure!r}")
            self.done.set()


@contextlib.contextmanager
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # syncs fast
    with tempfile.TemporaryDirectory(dir=memory) as folder, eager_switching():
        for kind in KINDS:
            races = Races(Path(folder), kind, options.seed)
            races.run(options.rounds)
            counts = dict(sum(races.counts, Counter()))
            print(kind, counts, *races.failures, sep="\n  ")
            if races.failures:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
