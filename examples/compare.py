"""Run each program as it was for np.memmap and as it is for yammap, side by side.

Run as ``python -P examples/compare.py [--directory DIRECTORY] [--gigabytes N]``. The files
are made from this Python's standard library and a random generator, and are not in memory
when a program starts. Prints a table in Markdown: the time and the most memory of a whole
process, its imports included.
"""

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import yammap

HERE = Path(__file__).parent
PROGRAMS = ("tokens", "ragged", "recording")
PEERS = ("memmap", "yammap")


class Run(NamedTuple):
    """What a process printed, how long it took, and its largest resident set."""

    output: str
    seconds: float
    peak_mib: float


def text():
    """Return the source of the standard library, as bytes of one file after another."""
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return [np.fromfile(source, np.uint8) for source in sources]


def fill(m, piece):
    """Repeat an array's bytes up to the end of the mapping."""
    data = piece.view(np.uint8).reshape(-1)
    for offset in range(0, m.size(), data.size):
        m.write_at(data[: m.size() - offset], offset)


def make_tokens(directory, size):
    with yammap.create(directory / "tokens.bin", size) as m:
        fill(m, np.concatenate(text()).astype("<u2"))


def make_ragged(directory, size):
    lines = np.concatenate(text())
    ends = np.flatnonzero(lines == ord("\n"))[9::10] + 1  # ten lines are a document
    lines = lines[: ends[-1]]
    copies = max(1, size // lines.size)
    with yammap.create(directory / "documents.bin", copies * lines.size) as m:
        fill(m, lines)
    starts = np.arange(copies)[:, None] * lines.size
    index = np.concatenate([[0], (starts + ends).reshape(-1)])
    index.astype("<i8").tofile(directory / "documents.idx")


def make_recording(directory, size):
    rng = np.random.default_rng(0)
    piece = rng.normal(3, 20, (1 << 15, 64)).astype("<i2")
    with yammap.create(directory / "recording.bin", size // 128 * 128) as m:
        fill(m, piece)


def make(directory, size):
    """Make the files of all programs, each about `size` bytes, and write them out."""
    for maker in (make_tokens, make_ragged, make_recording):
        maker(directory, size)
    for path in directory.iterdir():
        with yammap.open(path, "r+") as m:
            m.sync()


def forget(directory):
    """Have none of the files in the page cache."""
    for path in directory.iterdir():
        with yammap.open(path) as m:
            m.evict()


# Not by wait4(2): its figure starts with the memory of who started the process.
LAUNCHER = """
import pathlib, re, runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
print(re.search(r"VmHWM:\\s*(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""


def run(program, directory):
    """Run a program in a process of its own."""
    start = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-P", "-c", LAUNCHER, HERE / f"{program}.py", directory],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    output, peak = process.stdout.splitlines()
    return Run(output, seconds, int(peak) / 1024)


def compare(directory):
    """Yield each program's name and its runs, that of np.memmap first."""
    for program in PROGRAMS:
        runs = []
        for peer in PEERS:
            forget(directory)
            runs.append(run(f"{program}_{peer}", directory))
        yield program, runs


def table(comparisons):
    """Return a table in Markdown, a line at a time."""
    yield "| program | result, the same of both | np.memmap | yammap | faster |"
    yield "|---|---|---|---|---|"
    for program, (before, after) in comparisons:
        if before.output != after.output:
            raise AssertionError(f"{program}: {before.output!r} is not {after.output!r}")
        cells = (f"{r.seconds:.1f} s, {r.peak_mib:.0f} MiB" for r in (before, after))
        ratio = before.seconds / after.seconds
        yield f"| {program} | {before.output} | {' | '.join(cells)} | {ratio:.1f}x |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", type=Path, help="where to make the files")
    parser.add_argument("--gigabytes", type=float, default=4, help="size of each program's")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(dir=arguments.directory))
    try:
        make(directory, int(arguments.gigabytes * 2**30))
        for line in table(compare(directory)):
            print(line, flush=True)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
