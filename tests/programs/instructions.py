"""What a call costs in instructions, which unlike its time is always the same.

``python -P tests/programs/instructions.py`` counts, under callgrind, loops of this many
calls of each kind, and once more with twice as many of one kind: the difference is what
those took, the interpreter's part included. Exits with 1 when a call takes a tenth more
than it did.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

CALLS = 2000
SLACK = 1.1
# Instructions of each call. What the interpreter takes differs from version to version.
PYTHON = (3, 11)
EXPECTED = {
    "m.read_at(buffer, 512)": 947,
    "m.pread(64, 512)": 979,
    "m.write_at(buffer, 512)": 1607,
    "m.append(buffer)": 1821,
    "ahead.append(buffer)": 974,
    "m.gather(offsets, 64, out)": 17194,
}
PROGRAM = """
import sys, tempfile
import numpy as np
import yammap

out = np.ones((1, 64), np.uint8)
offsets, buffer = np.array([512]), out.data.cast("B")
with tempfile.TemporaryDirectory() as folder:
    m = yammap.create(f"{folder}/file", 1 << 20)
    m.write_at(bytes(1 << 20), 0)
    ahead = yammap.open(f"{folder}/ahead", "w+", ahead=1 << 24)
    given = "m=m, ahead=ahead, offsets=offsets, out=out, buffer=buffer"
    for call, times in zip(sys.argv[1::2], sys.argv[2::2]):
        exec(f"def loop({given}):\\n for _ in range({times}): {call}")
        loop()
"""


def instructions(doubled):
    """Return what all calls take together, with twice as many of one kind."""
    callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    times = {call: str(CALLS * (1 + (call == doubled))) for call in EXPECTED}
    arguments = [part for pair in times.items() for part in pair]
    # The order of sets and the threads of BLAS, which spin, would differ from run to run.
    done = subprocess.run(
        [*callgrind, sys.executable, "-P", "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def main():
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        base, *totals = pool.map(instructions, [None, *EXPECTED])
    judged, worse = sys.version_info[:2] == PYTHON, False
    for (call, expected), total in zip(EXPECTED.items(), totals, strict=True):
        each = (total - base) / CALLS
        worse |= each > expected * SLACK
        print(f"{call:28}{each:8.0f} instructions, {expected} expected")
    if not judged:
        print("other versions of Python take other numbers: nothing is judged")
    sys.exit(int(judged and worse))


if __name__ == "__main__":
    main()
