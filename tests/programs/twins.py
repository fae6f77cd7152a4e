"""The same random calls on two things that must not differ: one of ours, and its model.

    python tests/programs/twins.py [--calls 1000000] [--seed 1] [mmap | file]

An `mmap.mmap` and a `yammap.compat.mmap` (`twins_mmap.py`), or an `io.FileIO` and a
`yammap.Mmap` (`twins_file.py`), each over a file of its own, get the same calls. What they
return or raise, the positions, the lengths and the bytes must be the same. A difference is
shown with the fewest calls that lead to it, and the exit status is 1.
"""

import argparse
import importlib
import os
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

from twins_arguments import SIZES, Acting, lines

EPISODE = 60
PAIRS = {"mmap": "twins_mmap", "file": "twins_file"}


class Difference(AssertionError):  # noqa: N818
    """The two are not the same."""


def outcome(twin, call):
    """Return what a call returns or raises."""
    Acting.on = twin.file
    try:
        return twin.call(*call)
    except Exception as error:
        return error


def agree(step, theirs, ours):
    if theirs != ours:
        raise Difference(f"{step}: then there are {shown(theirs)} and {shown(ours)}")


def run(pair, folder, kind, content, calls):
    """Let both do the calls; raise where they differ."""
    with ExitStack() as stack:
        theirs, ours = twins = [
            stack.enter_context(closing(pair.Twin(model, folder, kind, content)))
            for model in (True, False)
        ]
        for step, call in enumerate(calls):
            if pair.is_left_out(theirs, ours, *call):
                continue
            results = [outcome(twin, call) for twin in twins]
            closed = theirs.file.closed or ours.file.closed
            if not (closed or pair.is_same(call[0], *results)):
                raise Difference(f"{step}: {shown(results[0])} and {shown(results[1])}")
            if closed:
                agree(step, isinstance(results[1], Exception), True)
                break
            agree(step, theirs.place(), ours.place())
            if call[0] in pair.CHANGING and (step % 8 == 0 or theirs.is_small()):
                agree(step, theirs.content(), ours.content())
    agree("at the end", theirs.path.read_bytes(), ours.path.read_bytes())


def shown(thing):
    text = repr(thing)
    return text if len(text) < 300 else f"{text[:200]} ... {text[-90:]}"


def fewest(fails, calls):
    """Leave calls out, at first many at a time, as long as it still fails."""
    size = len(calls) // 2
    while size:
        start = 0
        while start < len(calls):
            fewer = calls[:start] + calls[start + size :]
            if fails(fewer):
                calls = fewer
            else:
                start += size
        size //= 2
    return calls


def episode(pair, folder, kind, seed):
    """Do some calls on one file, which the seed alone decides."""
    random = Random(seed)
    size = random.choice(SIZES)
    content = lines(random, size)
    calls = [pair.draw(random, size) for _ in range(EPISODE)]

    def failure(calls):
        try:
            run(pair, folder, kind, content, calls)
        except Difference as difference:
            return difference

    if failure(calls):
        calls = fewest(failure, calls)
        told = [f"{kind}, {size} bytes, seed {seed!r}: {failure(calls)}"]
        raise Difference("\n  ".join([*told, *map(shown, calls)]))


def compare(name, folder, kind, calls, seed):
    """Do that many calls on that kind of a pair, in folder."""
    pair = importlib.import_module(PAIRS[name])
    for number in range(-(-calls // EPISODE)):
        episode(pair, folder, kind, f"{seed} {kind} {number}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pair", nargs="?", choices=PAIRS, help="both, if it is not given")
    parser.add_argument("--calls", type=int, default=1_000_000, help="of each pair")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    # In memory, where flush() does not wait for a disk.
    roomy = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    for name in [options.pair] if options.pair else PAIRS:
        kinds = importlib.import_module(PAIRS[name]).KINDS
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=roomy) as folder:
            for kind in kinds:
                calls = options.calls // len(kinds)
                try:
                    compare(name, Path(folder), kind, calls, options.seed)
                except Difference as difference:
                    sys.exit(str(difference))
        print(f"{name}: {options.calls:,} calls, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
