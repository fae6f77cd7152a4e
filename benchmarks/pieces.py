"""What pieces of a large array cost: ``python benchmarks/pieces.py DIRECTORY``.

A file of 2 GiB, all of it in the page cache, is summed up in pieces; each way of getting
them in a process of its own. Printed are the best time of three, and the most that was
resident, the interpreter included.
"""

import os
import subprocess
import sys
import tempfile
import time

import numpy as np

import yammap

SIZE = 2 << 30
PIECES = (1 << 20, 16 << 20, 128 << 20)


def own(array, rows):
    """A mapping for each piece, as `MappedArray` makes it."""
    return (array[i : i + rows] for i in range(0, len(array), rows))


def one(array, rows):
    """Views of one mapping."""
    whole = np.asarray(array)
    return (whole[i : i + rows] for i in range(0, len(array), rows))


def copied(array, rows):
    """Copies of them."""
    return (piece.copy() for piece in one(array, rows))


def pread(array, rows):
    """Copies by system call."""
    with open(array.path, "rb", buffering=0) as file:
        for _ in range(0, len(array), rows):
            piece = np.empty(rows, array.dtype)
            file.readinto(piece)
            yield piece


WAYS = {
    "own mapping": own,
    "copied from the mapping": copied,
    "copied by pread": pread,
    "one mapping": one,
}


def measure(path, way, piece):
    """Print the best time and the most that was resident, in seconds and MiB."""
    best = np.inf
    for _ in range(3):
        array = yammap.MappedArray(path, "<u8")
        start = time.perf_counter()
        for each in WAYS[way](array, piece // 8):
            each.sum()
        best = min(best, time.perf_counter() - start)
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if "VmHWM" in line)
    print(f"{best:.2f} s, {peak >> 10} MiB")


def main(directory):
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        path = os.path.join(folder, "file")
        with yammap.create(path, SIZE) as m:
            m.array("<u8")[:] = np.arange(SIZE // 8)
        print(f"| pieces of | {' | '.join(WAYS)} |\n|---{'|---' * len(WAYS)}|")
        for piece in PIECES:
            results = [run(path, way, str(piece)) for way in WAYS]
            print(f"| {piece >> 20} MiB | {' | '.join(results)} |", flush=True)


def run(path, way, piece):
    command = [sys.executable, "-P", __file__, path, way, piece]
    return subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))
