"""Print the results of the benchmarks as Markdown.

Usage, from the root of the repository::

    pytest benchmarks/ --benchmark-json=results.json
    python benchmarks/report.py results.json
"""

import json
import sys
from dataclasses import dataclass
from operator import itemgetter


@dataclass(frozen=True)
class Target:
    """What yammap is to reach against `peer`, in all groups that begin with `group`.

    `faster` asks for a speed of at least that many times the peer's, `slower` for a time
    of at most that many times the peer's.
    """

    group: str
    peer: str
    faster: float | None = None
    slower: float | None = None

    def matches(self, row):
        """Return whether `row` is what the target speaks of."""
        return row["what"] == self.peer and row["group"].startswith(self.group)

    def judge(self, row):
        """Return what was asked, what was measured, and whether it is enough."""
        low, middle, high = row["ratio"]
        if self.faster:
            asked, met = f"at least {self.faster:g}x faster", middle >= self.faster
            measured = spread(low, middle, high)
        else:
            asked, met = f"at most {self.slower:g}x the time", 1 / middle <= self.slower
            measured = spread(1 / high, 1 / middle, 1 / low)
        return asked, measured, "yes" if met else "**no**"


TARGETS = [
    Target("read into a buffer, 1000 x 16 B", "mmap: buf[:] = mm[a:b]", faster=1.5),
    Target("read into a buffer, 1000 x 16 B", "os.preadv(fd, [buf], a)", faster=8),
    Target("read as bytes", "mmap: mm[a:b]", slower=1.1),
    Target("read into a buffer, 256 MiB", "memcpy: buf[:] = memory[a:b]", slower=1.05),
    Target("read as bytes, 256 MiB", "memcpy: memory[a:b].tobytes()", slower=1.05),
    Target("write a new file", "mmap: ftruncate, mm[:] = data", faster=1.2),
    Target("grow", "mmap: mm.resize(n), no array", slower=1.5),
    Target("grow", "mmap: ftruncate, a new mmap, a new array", faster=2),
]


def spread(low, middle, high):
    """Return a ratio and its quartiles as text."""
    return f"{middle:.2f}x ({low:.2f} - {high:.2f})"


def rows_of(results):
    """Yield what the tables need of each benchmark."""
    for benchmark in results["benchmarks"]:
        info = benchmark["extra_info"]
        seconds = benchmark["stats"]["median"] / info["operations"]
        yield {"group": benchmark["group"], "seconds": seconds, **info}


def table(header, rows):
    """Yield the lines of a Markdown table; all columns but the first are numbers."""
    yield "| " + " | ".join(header) + " |"
    yield "|---|" + "---:|" * (len(header) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def reach(rows):
    """Yield the table of targets."""
    pairs = [(target, row) for target in TARGETS for row in rows if target.matches(row)]
    cells = [
        (f"{row['group']}, against `{row['what']}`", *target.judge(row))
        for target, row in pairs
    ]
    yield from table(("what", "asked", "measured", "reached"), cells)


def scaled(value, units):
    """Return `value` to three digits, in the first unit that keeps it below 1000."""
    for factor, unit in units:
        if value * factor < 1000:
            return f"{value * factor:.3g} {unit}"
    return f"{value * factor:.0f} {unit}"


def duration(seconds):
    """Return a time as text."""
    return scaled(seconds, [(1e9, "ns"), (1e6, "us"), (1e3, "ms")])


def throughput(row):
    """Return bytes a second as text, nothing where none are moved."""
    if row["size"] is None:
        return ""
    return scaled(row["size"] / row["seconds"], [(1e-6, "MB/s"), (1e-9, "GB/s")])


def group_table(rows):
    """Yield the table of one group, the fastest first."""
    cells = [
        (f"`{r['what']}`", duration(r["seconds"]), throughput(r), f"{r['ratio'][1]:.2f}")
        for r in sorted(rows, key=itemgetter("seconds"))
    ]
    yield from table(("what", "time", "throughput", "time / yammap's"), cells)


def machine(results):
    """Return one line that tells what the benchmarks ran on."""
    info = results["machine_info"]
    cpu = info["cpu"]
    return (
        f"{cpu.get('brand_raw', 'unknown processor')}, {cpu['count']} cores, "
        f"{info['system']} {info['release']}, {info['python_implementation']} "
        f"{info['python_version']}, {results['datetime'][:10]}"
    )


def report(results):
    """Yield all lines of the report."""
    rows = list(rows_of(results))
    yield machine(results)
    yield from ("", "### Reach", "", *reach(rows))
    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        yield from ("", f"### {group[0].upper()}{group[1:]}", "", *group_table(members))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as results_file:
        print(*report(json.load(results_file)), sep="\n")
