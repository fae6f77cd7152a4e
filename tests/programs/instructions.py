"""What a call costs in instructions, which unlike its time is always the same.

``python -P tests/programs/instructions.py`` runs, under callgrind, each call that `yammap
bench stdlib` races, and some more. The interpreter's part is included. It exits with 1 when
a call takes a tenth more than ``instructions.json`` says; ``--write`` makes that file anew.
``--only TEXT`` takes the calls that have the text. It takes half a minute in all.
"""

import gc
import json
import os
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import geometric_mean
from tempfile import TemporaryDirectory

SLACK = 1.1
# What the interpreter takes differs from version to version.
PYTHON = (3, 11)
EXPECTED = Path(__file__).with_suffix(".json")
SEPARATOR = " | "

# Calls that nothing of the standard library does as well, or that other races are about.
MORE = (
    "m.read_at(buffer, 512)",
    "m.pread(64, 512)",
    "m.write_at(buffer, 512)",
    "m.append(buffer)",
    "ahead.append(buffer)",
    "end.append(buffer)",
    "m.gather(offsets, 64, out)",
    "elements[5]",
    "elements[5] = 7",
    "rows[5]",
    "rows[5] = row",
    "yammap.open(path, 'r', offset=131072, length=65536).close()",
    "yammap.open(fd, 'r', offset=131072, length=65536).close()",
    "yammap.open(fd, 'r').close()",
    "yammap.anonymous(4096).close()",
    "compat.mmap(fd, 0).close()",
)

# callgrind begins to count at getpgrp, and writes the count down at getppid.
BEGIN, END = "getpgrp", "getppid"
TURNS = 3


# -- What runs under callgrind


def more(folder):
    """Yield the calls of `MORE` as races without a peer."""
    import numpy as np
    from yammap._bench._loop import loop
    from yammap._bench._race import Contender, Race

    import yammap
    from yammap import compat

    out = np.ones((1, 64), np.uint8)
    names = {"offsets": np.array([512]), "out": out, "buffer": out.data.cast("B")}
    names |= {"yammap": yammap, "compat": compat, "path": f"{folder}/file"}
    with (
        yammap.create(f"{folder}/file", 1 << 20) as m,
        yammap.open(f"{folder}/ahead", "w+", ahead=1 << 24) as ahead,
        yammap.open(f"{folder}/end", "a+") as end,
    ):
        m.write_at(bytes(1 << 20), 0)
        names |= {"m": m, "ahead": ahead, "end": end, "fd": m.fileno()}
        elements = yammap.MappedArray(f"{folder}/file", "<f4", mode="r+")
        names |= {"elements": elements, "rows": elements.reshape(-1, 256)}
        names |= {"row": np.zeros(256, np.float32)}
        for call in MORE:
            job = loop(call, names)
            ours = Contender("yammap", job)
            yield Race(f"`{call}`", [ours], lambda _: range(1000), table="More calls")


def count(text):
    """Run each call between two marks, and print its name and the number of times."""
    from yammap._bench import stdlib
    from yammap._bench._lab import Lab

    gc.disable()  # a collection would be counted to the call that it interrupts
    with TemporaryDirectory() as folder, Lab(Path(folder), 0.5) as lab:
        for races in stdlib.races(lab), more(folder):
            for race in races:
                for contender in race.contenders:
                    name = SEPARATOR.join((race.table, race.title, contender.what))
                    if text in name:
                        print(name, run(race, contender), sep="\t", flush=True)


def run(race, contender):
    """Run a call as often as a round does, `TURNS` times, and return how often that is."""
    work = race.work(0)
    argument = contender.form(work)
    for turn in range(1 + TURNS):
        race.before()
        if turn:  # the first warms up
            getattr(os, BEGIN)()
        contender.job(argument)
        if turn:
            getattr(os, END)()
    return len(work)


# -- What looks at it


def instructions(text):
    """Return what each call takes, by its name."""
    with TemporaryDirectory() as folder:
        callgrind = ["valgrind", "--tool=callgrind", f"--zero-before={BEGIN}"]
        callgrind += [f"--dump-before={END}", f"--callgrind-out-file={folder}/out"]
        # The order of sets and the threads of BLAS, which spin, would differ each time.
        done = subprocess.run(
            [*callgrind, sys.executable, "-P", __file__, "--count", "--only", text],
            env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stderr)
        names = [line.split("\t") for line in done.stdout.splitlines()]
        return {
            name: round(least_of(Path(folder), i) / int(times))
            for i, (name, times) in enumerate(names)
        }


def least_of(folder, number):
    """Return the least of a call's turns: something that is done once may be in one."""
    files = (folder / f"out.{number * TURNS + turn}" for turn in range(1, 1 + TURNS))
    totals = (re.search(r"^totals: (\d+)", file.read_text(), re.M) for file in files)
    return min(int(total[1]) for total in totals)


def show(found, expected):
    """Print what was found, and return whether a call takes more than it may."""
    worse = False
    for name, each in found.items():
        limit = expected.get(name)
        told = "new" if limit is None else f"{limit:8} expected"
        if "yammap" in name.rpartition(SEPARATOR)[2] and each > (limit or each) * SLACK:
            told, worse = f"{told}, TOO MANY", True
        print(f"{each:8} instructions, {told}: {name}")
    return worse


def show_means(found):
    """Print how many times the instructions of `mmap` its calls take."""
    ratios = {}
    for name, each in found.items():
        call, _, what = name.rpartition(SEPARATOR)
        if (peer := found.get(f"{call}{SEPARATOR}mmap")) and what != "mmap":
            ratios.setdefault(what, []).append(each / peer)
    for what, values in ratios.items():
        print(f"{geometric_mean(values):8.2f} times those of mmap, in the mean: {what}")


def main():
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="take the calls that have this text")
    parser.add_argument("--write", action="store_true", help="expect what is found now")
    parser.add_argument("--count", action="store_true", help="be what callgrind runs")
    options = parser.parse_args()
    if options.count:
        count(options.only)
        return
    found = instructions(options.only)
    expected = json.loads(EXPECTED.read_text())
    worse = show(found, expected)
    show_means(found)
    if options.write:
        kept = expected if options.only else {}
        EXPECTED.write_text(json.dumps(kept | found, indent=1) + "\n")
    elif sys.version_info[:2] != PYTHON:
        print("other versions of Python take other numbers: nothing is judged")
    else:
        sys.exit(worse)


if __name__ == "__main__":
    main()
