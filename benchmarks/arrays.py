"""A sum under a memory limit, and a sample of a file: ``python benchmarks/arrays.py DIR``.

The file is four times as large as the limit, which is that of a cgroup (version 1, as root;
without one there is no limit). Each way has a process of its own, in turns, of which the
best counts, and begins with an empty page cache. Printed are the time, and the most that
was resident, the interpreter included.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

import yammap

SIZE = 2 << 30
LIMIT = SIZE // 4
GROUP = "/sys/fs/cgroup/memory/yammap-arrays"
TURNS = 3


def sum_of_handle(path):
    """Block by block."""
    return yammap.MappedArray(path, "<f8").sum()


def sum_of_memmap(path):
    """As a whole."""
    return np.memmap(path, "<f8", "r").sum()


def sample(path):
    """1 MiB of it."""
    return yammap.MappedArray(path, identity="sample")


def sha256(path):
    """All of it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


WAYS = {
    "handle.sum()": sum_of_handle,
    "np.memmap.sum()": sum_of_memmap,
    'identity="sample"': sample,
    "sha256 of all": sha256,
}


def measure(path, way):
    """Print the seconds and the most that was resident, in MiB."""
    if os.path.isdir(GROUP):
        with open(f"{GROUP}/cgroup.procs", "w") as processes:
            processes.write(str(os.getpid()))
    start = time.perf_counter()
    WAYS[way](path)
    seconds = time.perf_counter() - start
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if "VmHWM" in line)
    print(seconds, peak >> 10)


def limited():
    """Make the cgroup, and return whether there is one."""
    try:
        os.makedirs(GROUP, exist_ok=True)
        with open(f"{GROUP}/memory.limit_in_bytes", "w") as limit:
            limit.write(str(LIMIT))
    except OSError:
        return False
    return True


def turn(path, way):
    """Return what a process of its own measured, from the disk."""
    with yammap.open(path) as m:
        m.evict()
    command = [sys.executable, "-P", __file__, path, way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def main(directory):
    """Print a line for each way."""
    is_limited = limited()
    print(f"{SIZE >> 20} MiB; limit: {LIMIT >> 20 if is_limited else 'none'} MiB")
    try:
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            path = os.path.join(folder, "file")
            with yammap.create(path, SIZE) as m:
                m.array("<f8")[:] = np.arange(SIZE // 8) / 3
                m.sync()
            results = {way: [] for way in WAYS}
            for _ in range(TURNS):
                for way, found in results.items():
                    found.append(turn(path, way))
            for way, found in results.items():
                print(f"{way}: {min(found)[0]:.3f} s, {max(p for _, p in found)} MiB")
    finally:
        if is_limited:
            os.rmdir(GROUP)


if __name__ == "__main__":
    measure(*sys.argv[1:]) if len(sys.argv) == 3 else main(sys.argv[1])
