"""The results in words: what a reader gains, what is lost, the method, and all tables.

``docs/performance.md`` is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from statistics import geometric_mean
from typing import Any, NamedTuple

from ._readahead import USUAL

__all__ = [
    "Gain",
    "caption",
    "gains",
    "heading",
    "judged",
    "picture_of",
    "races_by_heading",
    "report",
    "sheet",
    "times",
    "told",
    "with_others",
]

Row = dict[str, Any]


class Gain(NamedTuple):
    """How many times as fast a job is as by the usual way, and by the fastest other one."""

    ratio: float
    job: str
    what: str
    least: float
    best: str


COLUMNS = ("what", "time", "rate", "time / yammap's")
# Of a cold race, an operation each: time of processors, and what the device has read.
COLD = ("what", "time", "processor", "read", "rate", "time / yammap's")
WORDS = {
    "what",
    "job",
    "instead of",
    "fastest other way",
    "work",
    "call",
    "against",
    "faster",
    "reached",
}
LOSS = 0.95
# Of a table with a mean: a call is slow that takes so many times the peer's time, unless
# it takes but so many seconds more.
SLOW, LITTLE = 1.5, 20e-9

HEAD = """\
# Performance

How many times as fast is yammap as the call that you would use without it? Above 1 yammap is
faster. Below 1, in bold, it is slower. Your disk, memory and kernel differ from these:
`yammap bench` runs the same races on your machine.

![Measured ratios for each job, the largest gain first and the losses last](plots/ratios.svg)

## What you gain
"""
GAINED = """
The first ratio is over the usual way to do the job, the second over the fastest other way that was
measured. Where interpreters differ, the least favourable one counts.

*From the disk* means that none of the file was in memory, on a disk with Linux's default
`read_ahead_kb` of 128. The larger that setting is, the more `np.memmap` and `mmap` read around each
record, and the larger the gain: the tables of cold races show both.

All figures are of {machine}, {software}, {date}. Those of a table are from one run.
"""
LOST = """
## Where yammap is slower

A line for each race in which another way was faster, with the fastest. What yammap does in
addition is the reason in most of them: it checks the range, guards the copy against a bus error,
and keeps the mapping right among threads.
"""
HOW = """\
## How it was measured

```sh
pip install '.[bench]'
yammap bench --scale {scale:g} --seconds {seconds:g} --json docs/performance.json
yammap report docs/performance.json --plots docs/plots > docs/performance.md
```

- **Compare ratios, not times.** All contenders of a race run in every round, in a new random
  order, so a machine that slows down slows all of them. Each round reads other places.
- **A time** is the median over the rounds. **A ratio** is the contender's median over yammap's. The
  quartiles of the rounds' own ratios follow in brackets.
- **Cold** means that the file was evicted before each turn, and that mincore(2) found less than a
  hundredth of it in memory. The host of a virtual machine may still cache it.
- **Warm** means that the file was in the page cache, read in sequence, mapped by every contender
  and touched.
- **`read_ahead_kb`** says how far the kernel reads around a page fault. Every race runs at Linux's
  default of 128 where that can be set, and targets are judged there. The title of a cold race
  names the value. A second table of at most three rounds shows this machine's own setting{own}.
- **processor** and **read** are of an operation, too, in cold tables: the time of processors, user
  and system, of all threads of the process, and the bytes that the device read for it, as
  /proc/self/io counts them, in the round that read most.
"""
OTHERS = """
Tables of calls name the interpreter. Those on {software} come from separate runs of the same
scenarios with that interpreter.
"""
REFUSED = "\n**`read_ahead_kb` could not be set to 128 here; titles tell what it was.**\n"
SCALED = (
    "\n**Sizes are {scale:g} times the full ones: the large file has {scale:g} x 8 GiB.**\n"
)


def scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """Return `value` to three digits, in the first unit that keeps it below 1000."""
    for factor, unit in units:
        if value * factor < 999.5:
            return f"{value * factor:.3g} {unit}"
    return f"{value * factor:.0f} {unit}"


def duration(seconds: float) -> str:
    """Return a time as text."""
    if seconds < 1e-9:
        return f"{seconds * 1e12:.0f} ps"
    return scaled(seconds, [(1e9, "ns"), (1e6, "us"), (1e3, "ms"), (1, "s")])


def memory(count: float) -> str:
    """Return a number of bytes as text."""
    units = (1, "B"), (2.0**-10, "KiB"), (2.0**-20, "MiB"), (2.0**-30, "GiB")
    return scaled(count, units)


def rate(race: Row, row: Row) -> str:
    """Return bytes a second as text, nothing where none are moved."""
    if not race["size"]:
        return ""
    return scaled(race["size"] / row["seconds"], [(1e-6, "MB/s"), (1e-9, "GB/s")])


def spread(row: Row) -> str:
    """Return a ratio and its quartiles as text; one round has none."""
    low, middle, high = (f"{value:.2f}" for value in row["ratio"])
    return f"{middle} ({low} - {high})" if row["rounds"] > 1 else f"{middle} (one round)"


def times(ratio: float) -> str:
    """Return a ratio alone as text."""
    return f"{ratio:.2f}x" if ratio < 10 else f"{ratio:.0f}x"


def at(race: Row) -> str:
    """Return which point of a curve a race is."""
    return f"{race['x']:g}: " if race["axis"] else ""


def columns(races: Sequence[Row]) -> tuple[str, ...]:
    """Return the header of races that have a row a contender.

    Results of earlier versions know nothing of processors.
    """
    rows = (row for race in races for row in race["rows"] if race["cold"])
    return COLD if any(row.get("processor") is not None for row in rows) else COLUMNS


def cells(race: Row, header: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the contenders of a race as rows under `header`, the fastest first."""
    for row in sorted(race["rows"], key=lambda row: row["seconds"]):
        held = [f"{kind} {memory(most)}" for kind, most in row["memory"].items()]
        processor, read = row.get("processor"), row.get("read")
        found = {
            "what": f"`{at(race)}{row['what']}`",
            "time": duration(row["seconds"]),
            "processor": "" if processor is None else duration(processor),
            "read": "" if read is None else memory(read),
            "rate": "; ".join(filter(None, [rate(race, row), *held])),
            "time / yammap's": spread(row),
        }
        yield tuple(found[column] for column in header)


def gains(races: Sequence[Row], way: int) -> list[float]:
    """Return how many times as fast as the peer one of yammap's ways is in each race."""
    return [race["rows"][-1]["seconds"] / race["rows"][way]["seconds"] for race in races]


def compared(races: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table that has a column for each contender, the peer first."""
    ways = range(len(races[0]["rows"]) - 1)
    for race in races:
        *ours, peer = (row["seconds"] for row in race["rows"])
        pairs = ((duration(mine), f"{peer / mine:.2f}") for mine in ours)
        yield race["title"], duration(peer), *(cell for pair in pairs for cell in pair)
    if races[0]["mean"]:
        means = (f"{geometric_mean(gains(races, way)):.2f}" for way in ways)
        yield "geometric mean", "", *(cell for mean in means for cell in ("", mean))


def sheet(races: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the rows of what is under one heading."""
    if not races[0]["table"]:
        header = columns(races)
        return header, [row for race in races for row in cells(race, header)]
    *ours, peer = (row["what"] for row in races[0]["rows"])
    pairs = ((what, f"{peer} / {what}") for what in ours)
    header = "call", peer, *(cell for pair in pairs for cell in pair)
    return header, list(compared(races))


def judged(race: Row) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what was asked of yammap in a race: of whom, how much, what came, if enough."""
    for row in race["rows"]:
        if row["reach"]:
            asked, found = f"at least {row['reach']:.3g}x", spread(row)
            yield f"`{row['what']}`", asked, found, row["ratio"][1] >= row["reach"]
    ours = race["rows"][0]
    for row in race["rows"]:
        yield from judged_beside(ours, row)
    for what, limit in race["limits"].items():
        worst, text = own(ours, what)
        met = worst <= limit
        yield f"yammap's own {what}", f"at most {text(limit)}", text(worst), met


def judged_beside(ours: Row, row: Row) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what was asked beside a contender, other than to be faster by a factor."""
    if row.get("frugal") and ours["processor"]:
        found = row["processor"] / ours["processor"]
        asked = f"of the processor at least {row['frugal']:.3g}x"
        yield f"`{row['what']}`", asked, times(found), found >= row["frugal"]
    if row.get("within"):
        more = ours["seconds"] - row["seconds"]
        text = duration(more) if more > 0 else f"{duration(-more)} less"
        asked = f"at most {duration(row['within'])} more"
        yield f"`{row['what']}`", asked, text, more <= row["within"]


def own(ours: Row, what: str) -> tuple[float, Callable[[float], str]]:
    """Return what is limited of yammap's own, and how it is written."""
    if what == "seconds":
        return ours["worst"], duration
    # The kernel may not count what a device reads; nothing was too much then.
    found = ours["read"] or 0 if what == "read" else ours["memory"][what]
    return found, memory


def judged_together(races: Sequence[Row]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield what was asked of each of yammap's ways over all the races of a table."""
    reach = races[0]["mean"]
    for way, row in enumerate(races[0]["rows"][:-1] if reach else ()):
        mean = geometric_mean(gains(races, way))
        yield f"`{row['what']}`", f"mean at least {reach:g}x", f"{mean:.2f}", mean >= reach
        slow = [race["title"] for race in races if is_slow(race, way)]
        asked = f"no call over {SLOW:g} times the time, and {duration(LITTLE)} more"
        yield f"`{row['what']}`", asked, ", ".join(slow) or "none", not slow


def is_slow(race: Row, way: int) -> bool:
    """Return whether a call takes too much more than the peer's."""
    ours, theirs = race["rows"][way]["seconds"], race["rows"][-1]["seconds"]
    return bool(ours > SLOW * theirs and ours > theirs + LITTLE)


def races_by_heading(results: Row) -> Iterator[tuple[str, list[Row]]]:
    """Yield each heading with its races: one, the points of a curve, or rows of a table.

    A race at the machine's own readahead follows that at Linux's, wherever it was run.
    """
    shown = [race["table"] or race["title"] for race in results["races"]]
    ordered = sorted(
        results["races"], key=lambda race: shown.index(race["table"] or race["title"])
    )
    for title, races in groupby(ordered, lambda race: race["table"] or heading(race)):
        yield title, list(races)


def heading(race: Row) -> str:
    """Return a race's title, with the readahead that a cold one had."""
    kib = race["read_ahead_kb"]
    known = "unknown" if kib is None else kib
    return f"{race['title']}, read_ahead_kb {known}" if race["cold"] else race["title"]


def picture_of(shown: str) -> str:
    """Return the name of a picture, by its heading."""
    return shown.replace(",", "").replace(" ", "-") + ".svg"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, its numbers to the right."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "".join("---|" if name in WORDS else "---:|" for name in header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def asked(results: Row) -> list[Row]:
    """Return the first race of each title and point, which was to run at Linux's default."""
    first: dict[tuple[str, str, float | None], Row] = {}
    for race in results["races"]:
        first.setdefault((race["table"], race["title"], race["x"]), race)
    return list(first.values())


def told(results: Row) -> list[Gain]:
    """Return what a reader asks first, in the order of the races.

    Where a job was measured beside several others, or by several interpreters, the least
    favourable figure stands.
    """
    found: dict[str, Gain] = {}
    for gain in (*told_of_races(results), *told_of_tables(results)):
        found[gain.job] = min(gain, found.get(gain.job, gain))
    return list(found.values())


def told_of_races(results: Row) -> Iterator[Gain]:
    """Yield each contender that has words for the job, and the fastest of its race."""
    for race in asked(results):
        others = [
            (row["ratio"][1], row["what"])
            for row in race["rows"]
            if not row["what"].startswith("yammap")
        ]
        for row in race["rows"]:
            if row["told"]:
                own = row["ratio"][1], row["what"]
                least, best = min(others, default=own)
                yield Gain(own[0], row["told"], own[1], least, best)


def told_of_tables(results: Row) -> Iterator[Gain]:
    """Yield the mean over all calls of a table, for each of yammap's ways."""
    for shown, races in races_by_heading(results):
        if races[0]["mean"]:
            *ours, peer = (row["what"] for row in races[0]["rows"])
            name = races[0].get("of", shown)
            for way, what in enumerate(ours):
                job = f"{name[0].lower()}{name[1:]}, on average, by {what}"
                mean = geometric_mean(gains(races, way))
                yield Gain(mean, job, peer, mean, peer)


def caption(results: Row) -> str:
    """Return where and when the results were measured."""
    return "Measured on {machine}, {software}, {date}.".format_map(results)


def marked(ratio: float) -> str:
    """Return a ratio alone as text, in bold where it is a loss."""
    return times(ratio) if ratio >= 1 else f"**{times(ratio)}**"


def jobs(results: Row) -> Iterator[str]:
    """Yield the table of what a reader asks first."""
    rows = [
        (job, f"`{what}`", marked(ratio), f"`{best}`", marked(least))
        for ratio, job, what, least, best in told(results)
    ]
    header = "job", "instead of", "times as fast", "fastest other way", "times as fast"
    yield from table(header, rows)


def targets(results: Row) -> Iterator[str]:
    """Yield the table of what was to be reached."""
    rows = []
    for shown, races in races_by_heading(results):
        found = [(heading(race), *verdict) for race in races for verdict in judged(race)]
        found += [(shown, *verdict) for verdict in judged_together(races)]
        rows += [(*row, "yes" if met else "**no**") for *row, met in found]
    yield from table(("work", "against", "asked", "measured", "reached"), rows)


def lost(results: Row) -> list[tuple[Row, Row]]:
    """Return the contenders that were faster than yammap, each with its race.

    A table with a mean is of all calls, whoever was faster, and tells it itself.
    """
    return [
        (race, row)
        for race in asked(results)
        for row in race["rows"]
        if row["ratio"][1] < LOSS
        and not row["what"].startswith("yammap")
        and not race["mean"]
    ]


def reasons(results: Row) -> list[str]:
    """Return why yammap was slower, each reason once."""
    return list(dict.fromkeys(race["why"] for race, _ in lost(results) if race["why"]))


def parties(race: Row, row: Row) -> tuple[str, str]:
    """Return the work, and what was faster at it; a title with two calls names both."""
    ours, beside, theirs = race["title"].partition(" beside ")
    if beside:
        return ours, theirs
    return heading(race), f"`{at(race)}{row['what']}`"


def losses(results: Row) -> Iterator[str]:
    """Yield the table of the races that somebody else won, and the reasons that it counts."""
    why = reasons(results)
    number = {"": "", **{note: str(i) for i, note in enumerate(why, 1)}}
    worst: dict[str, tuple[Row, Row]] = {}
    for race, row in lost(results):
        _, other = worst.setdefault(heading(race), (race, row))
        if row["ratio"][1] < other["ratio"][1]:
            worst[heading(race)] = race, row
    rows = [
        (*parties(race, row), spread(row), number[race["why"]])
        for race, row in worst.values()
    ]
    yield from table(("work", "faster", "time / yammap's", "reason"), rows)
    yield ""
    yield from (f"{i}. {note}" for i, note in enumerate(why, 1))


def all_tables(results: Row) -> Iterator[str]:
    """Yield every table under its heading; a reason that was given is only referred to."""
    why, given = reasons(results), {""}
    for shown, races in races_by_heading(results):
        yield from ("", f"### {shown[0].upper()}{shown[1:]}", "")
        if races[0]["axis"] or races[0]["table"]:
            yield from (f"![{shown}](plots/{picture_of(shown)})", "")
        yield from table(*sheet(races))
        note, reason = races[0]["note"], races[0]["why"]
        if note not in given:
            yield from ("", note)
        given.add(note)
        if reason in why:
            number = why.index(reason) + 1
            yield from (
                "",
                f"Why others are faster: [reason {number}](#where-yammap-is-slower).",
            )


def with_others(results: Row, others: Sequence[Row]) -> Row:
    """Return results with the tables that other interpreters came to, each named so."""
    races = []
    for run in results, *others:
        python = run["software"].partition(",")[0]
        for race in run["races"]:
            if race["table"] and others:
                named = f"{race['table']}, {python}"
                races.append({**race, "table": named, "of": race["table"]})
            elif run is results:
                races.append(race)
    return {**results, "races": races}


def report(results: Row, others: Sequence[Row] = ()) -> Iterator[str]:
    """Yield the lines of the document, which has the pictures in a folder beside it."""
    merged = with_others(results, others)
    yield HEAD
    yield from jobs(merged)
    yield GAINED.format_map(results)
    if any(race["cold"] and race["read_ahead_kb"] != USUAL for race in asked(results)):
        yield REFUSED
    if results["scale"] != 1:
        yield SCALED.format_map(results)
    yield LOST
    yield from (*losses(results), "")
    own = results["own_read_ahead_kb"]
    yield HOW.format_map({**results, "own": "" if own is None else f", {own}"})
    if others:
        names = " and on ".join(run["software"] for run in others)
        yield OTHERS.format(software=names)
    yield from ("## Targets", "", "What the project asks of itself.", "")
    yield from (*targets(merged), "", "## All tables")
    yield from all_tables(merged)
