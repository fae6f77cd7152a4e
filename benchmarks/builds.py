"""What a change costs: ``python benchmarks/builds.py OLD/bin/python NEW/bin/python``.

Two interpreters, each with its own build of yammap, take turns, so that what else the
machine does hits both; the best of all turns counts. Buffers begin at a page: where malloc
puts them, which differs by build, is worth a tenth at 4 KiB. ``os.preadv`` tells the noise.
"""

import json
import subprocess
import sys

TURNS = 14
CHILD = """
import json, mmap, os, tempfile, timeit, yammap
with tempfile.TemporaryDirectory() as folder:
    m = yammap.create(f"{folder}/file", 1 << 20)
    m.write_at(os.urandom(1 << 20), 0)
    best = {}
    for size in (16, 4096):
        buffer = memoryview(mmap.mmap(-1, 4096))[:size]
        names = dict(m=m, os=os, fd=m.fileno(), size=size, buffer=buffer)
        names["buffers"] = [names["buffer"]]
        for call in ("m.read_at(buffer, 512)", "m.pread(size, 512)",
                     "m.write_at(buffer, 512)", "os.preadv(fd, buffers, 512)"):
            times = timeit.repeat(call, globals=names, number=60_000, repeat=9)
            best[f"{size} B: {call}"] = min(times) / 60_000 * 1e9
    print(json.dumps(best))
"""


def turn(python):
    command = [python, "-P", "-c", CHILD]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main(before, after):
    turns = [(turn(before), turn(after)) for _ in range(TURNS)]
    print("| call | before, ns | after, ns | ratio |\n|---|---|---|---|")
    for call in turns[0][0]:
        old, new = (min(pair[i][call] for pair in turns) for i in (0, 1))
        print(f"| `{call}` | {old:.1f} | {new:.1f} | {new / old:.2f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
