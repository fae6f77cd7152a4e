"""Every scenario runs, and all contenders come to the same bytes.

It is a test, not a measurement, for which there is `yammap bench`; sizes are small.
"""

import itertools
import json
import mmap
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from yammap._bench import _readahead, limits, programs, stores
from yammap._bench._fresh import MEMORY, can_limit, limited
from yammap._bench._lab import Lab
from yammap._bench._meter import Meter
from yammap._bench._race import Contender, Measured, Race, run
from yammap._bench._report import races_by_heading, report, sheet
from yammap._bench._run import SCENARIOS, races_of, set_for

from yammap import compat
from yammap._cli.commands import bench, commands


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, lab, benchmark):
    def once():
        return [run(race, budget=0) for race in SCENARIOS[name](lab)]

    races = benchmark.pedantic(once)
    benchmark.extra_info["races"] = races
    for race in races:
        for row in race["rows"]:
            assert row["ratio"][1] == row["seconds"] / race["rows"][0]["seconds"]
            assert 0 < row["ratio"][0] <= row["ratio"][1] <= row["ratio"][2]


def invoke(*arguments):
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_completion_knows_all_scenarios():
    found = [item.value for item in bench.params[0].shell_complete(None, "")]
    assert sorted(found) == sorted(SCENARIOS)


def test_results_that_cannot_be_written_are_known_before(tmp_path):
    with pytest.raises(FileNotFoundError):
        invoke("bench", "scan", "--json", str(tmp_path / "missing" / "results.json"))


def test_command_writes_table_json_plots_and_report(tmp_path):
    file, plots = tmp_path / "results.json", tmp_path / "plots"
    sizes = "--scale", "0.001", "--seconds", "0", "--directory", str(tmp_path)
    output = invoke(
        "bench",
        "tokens",
        "scan",
        "growth",
        *sizes,
        "--json",
        str(file),
        "--plots",
        str(plots),
    )
    assert "token windows, cold" in output
    assert "np.memmap: out[i] = a[j:k]" in output
    assert {race["scenario"] for race in json.loads(file.read_text())["races"]} == {
        "tokens",
        "scan",
        "growth",
    }
    assert "<svg" in (plots / "ratios.svg").read_text()
    document = invoke("report", str(file))
    assert re.search(
        r"\| token windows, cold, read_ahead_kb \w+ \| .* \| at least 20x \| ", document
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plots", "results.json"]


def test_contender_that_comes_to_other_bytes_is_reported():
    contenders = [Contender("yammap", bytes), Contender("other", lambda _: b"\2")]
    race = Race("race", contenders, lambda _: range(1, 9))
    with pytest.raises(RuntimeError, match="race: other came to other bytes"):
        run(race, budget=0)


UNITS = {"ps": 1e-12, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}


def seconds(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


def race_of(*times, **terms):
    """Return a race whose contenders take these times: each a list, gone round for ever."""

    def contender(what, mine):
        turns = itertools.cycle(mine)
        return Contender(what, lambda work: Measured(next(turns) * len(work)))

    names = ["yammap", *(f"other {i}" for i in range(1, len(times)))]
    contenders = [contender(*pair) for pair in zip(names, times, strict=True)]
    return Race("race", contenders, lambda _: range(3), **terms)


def results_of(*races, budget=60, software="CPython 3.11.7, NumPy 2"):
    """Return results as `measure` does."""
    kept = {"read_ahead_kb": 128}
    machine = {"machine": "machine", "software": software, "date": "today"}
    terms = {"scale": 1, "seconds": 1, "own_read_ahead_kb": None}
    return machine | terms | {"races": [kept | run(race, budget) for race in races]}


def figures(race):
    """Return the times and the ratio of each row of a race's table, by contender."""
    _, rows = sheet([race])
    return {
        what: (seconds(time), [float(n) for n in re.findall(r"[\d.]+", ratio)])
        for what, time, _, ratio in rows
    }


@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 7, 11])
def test_ratios_in_a_table_are_those_of_the_times_in_it(rounds):
    generator = np.random.default_rng(rounds)
    for _ in range(50):
        # Whatever a machine's speed does, and more: no two turns are alike.
        times = generator.uniform(1e-7, 1e-5, (4, rounds + 1)).tolist()
        found = figures(run(race_of(*times, rounds=rounds), budget=60))
        ours = found["`yammap`"][0]
        assert len(found) == 4
        for time, (ratio, *quartiles) in found.values():
            # Three digits of each time, and two decimals of the ratio.
            assert abs(ratio - time / ours) <= 0.011 * ratio + 0.006
            assert sorted([ratio, *quartiles])[len(quartiles) // 2] == ratio
            assert len(quartiles) == (2 if rounds > 1 else 0)


def test_figures_of_a_table_are_of_the_same_rounds():
    # A turn that warms up, and three rounds: 2, 4 and 9 times as fast, 8 by the medians.
    race = run(race_of([9, 1, 2, 1], [9, 2, 8, 9], rounds=3), budget=60)
    assert [row["seconds"] for row in race["rows"]] == [1, 8]
    assert race["rows"][1]["ratio"] == [3, 8, 8]
    assert [row["rounds"] for row in race["rows"]] == [3, 3]


def test_all_contenders_have_as_many_rounds_however_slow_one_is():
    race = run(race_of([1e-9], [1e-9], [5.0], rounds=5), budget=0)
    assert [row["rounds"] for row in race["rows"]] == [1, 1, 1]


def calls_of(*pairs, **terms):
    """Return the races of a table of calls, of which yammap has one way."""
    return [race_of(*([time] for time in pair), table="calls", **terms) for pair in pairs]


def test_a_table_of_calls_has_a_column_a_contender_and_the_geometric_mean():
    races = results_of(*calls_of((1e-6, 2e-6), (1e-6, 0.5e-6), mean=1.0))["races"]
    header, rows = sheet(races)
    assert header == ("call", "other 1", "yammap", "other 1 / yammap")
    assert rows == [
        ("race", "2 us", "1 us", "2.00"),
        ("race", "500 ns", "1 us", "0.50"),
        ("geometric mean", "", "", "1.00"),
    ]


def test_a_call_is_slow_by_its_ratio_unless_it_takes_next_to_nothing():
    for ours, verdict in (74e-9, "yes"), (76e-9, "**no**"):
        document = list(report(results_of(*calls_of((ours, 50e-9), mean=1.0))))
        (line,) = (line for line in document if "no call over" in line)
        assert line.endswith(f"| {verdict} |")
    quick = results_of(*calls_of((25e-9, 10e-9), mean=1.0))
    (line,) = (line for line in report(quick) if "no call over" in line)
    assert "| none | yes |" in line


def test_calls_of_other_interpreters_have_tables_of_their_own():
    ours = results_of(*calls_of((1e-6, 2e-6), mean=1.0), race_of([1e-6], [1e-6]))
    others = results_of(
        *calls_of((1e-6, 3e-6), mean=1.0), software="CPython 3.13.0, NumPy 2"
    )
    document = list(report(ours, [others]))
    headings = [line for line in document if line.startswith("### ")]
    assert headings == [
        "### Calls, CPython 3.11.7",
        "### Race",
        "### Calls, CPython 3.13.0",
    ]
    # Of what a reader asks first, the least favourable interpreter counts.
    assert [line for line in document if "on average" in line] == [
        "| calls, on average, by yammap | `other 1` | 2.00x | `other 1` | 2.00x |"
    ]


def test_a_report_of_two_interpreters_has_all_the_pictures_that_it_shows(tmp_path):
    files = []
    for version in "3.11.7", "3.13.0":
        file = tmp_path / f"{version}.json"
        races = calls_of((1e-6, 2e-6), mean=1.0)
        results = results_of(*races, software=f"CPython {version}, NumPy 2")
        file.write_text(json.dumps(results))
        files.append(str(file))
    document = invoke("report", *files, "--plots", str(tmp_path / "plots"))
    shown = re.findall(r"\(plots/(.*)\)", document)
    assert len(shown) == 3
    assert sorted(shown) == sorted(path.name for path in (tmp_path / "plots").iterdir())


def test_a_cold_table_has_the_time_of_processors_and_the_bytes_of_the_device():
    turn = Measured(3e-6, processor=2e-6, read=12288)
    contenders = [Contender("yammap", lambda _: turn), Contender("other", lambda _: turn)]
    race = Race("race", contenders, lambda _: range(3), size=4096, cold=True)
    header, rows = sheet([run(race, budget=0) | {"read_ahead_kb": 128}])
    assert header == ("what", "time", "processor", "read", "rate", "time / yammap's")
    assert rows[0][1:5] == ("1 us", "667 ns", "4 KiB", "4.1 GB/s")


def verdicts(*contenders, **terms):
    """Return what a report says was asked beside these, what came, and whether it did."""
    race = Race("race", contenders, lambda _: range(1), **terms)
    lines = [line.strip("| ").split(" | ") for line in report(results_of(race))]
    return [line[2:] for line in lines if line[0] == "race" and len(line) == 5]


@pytest.mark.parametrize(("theirs", "verdict"), [(2.6e-6, "yes"), (2.4e-6, "**no**")])
def test_a_report_says_whether_less_of_the_processor_was_taken(theirs, verdict):
    ours = Contender("yammap", lambda _: Measured(1, processor=2e-6))
    other = Contender("a", lambda _: Measured(1, processor=theirs), frugal=1.25)
    asked, _, met = verdicts(ours, other)[0]
    assert (asked, met) == ("of the processor at least 1.25x", verdict)


@pytest.mark.parametrize(("ours", "verdict"), [(0.004, "yes"), (0.0061, "**no**")])
def test_a_report_says_whether_yammap_took_little_more_than_another(ours, verdict):
    contenders = (
        Contender("yammap", lambda _: Measured(ours)),
        Contender("a", lambda _: Measured(0.001), within=5e-3),
    )
    assert verdicts(*contenders)[0] == [
        "at most 5 ms more",
        f"{1000 * ours - 1:.3g} ms",
        verdict,
    ]


@pytest.mark.parametrize(("read", "verdict"), [(4100, "yes"), (9000, "**no**")])
def test_a_report_says_whether_the_device_read_too_much(read, verdict):
    ours = Contender("yammap", lambda _: Measured(1, read=read))
    assert verdicts(ours, limits={"read": 8192})[0][0::2] == ["at most 8 KiB", verdict]


def test_a_meter_counts_what_the_device_reads(tmp_path):
    if _readahead.get(tmp_path) is None:
        pytest.skip("not on a disk")
    with Lab(tmp_path, 0.001) as lab:
        store = lab.big
        store.evict()
        meter = Meter()
        os.preadv(store.fd, [bytearray(1 << 20)], 0)
        read = meter.spent()["read"]
        assert read is None or read >= 1 << 20


@pytest.mark.skipif(not can_limit(), reason="needs root and memory cgroups of version 1")
def test_a_limited_process_has_no_more_memory_and_leaves_no_cgroup():
    def taken(mebibytes):
        code = f"bytearray({mebibytes} << 20).count(1)"
        with limited(64 << 20) as words:
            command = [*words, sys.executable, "-S", "-c", code]
            return subprocess.run(command, check=False).returncode

    assert taken(16) == 0
    assert taken(128) == -signal.SIGKILL
    assert not [*MEMORY.glob(f"yammap-bench-{os.getpid()}")]


@pytest.mark.parametrize(
    "code",
    [
        "from yammap._bench._fresh import fresh; fresh('interrupting')",
        "import os, signal\nfrom yammap._bench.shared import started\n"
        "with started(1) as pool: pool.apply(os.killpg, (0, signal.SIGINT))",
    ],
    ids=["fresh", "pool"],
)
def test_ctrl_c_ends_processes_without_a_word_of_theirs(code, tmp_path):
    interrupt = "os.killpg(os.getpgid(os.getppid()), signal.SIGINT)"
    module = f"import os, signal\n{interrupt}\nsignal.pause()\n"
    (tmp_path / "interrupting.py").write_text(module)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=False,
        start_new_session=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("Traceback") == 1, done.stderr


def test_a_law_repeats_records_and_stays_in_the_file():
    terms = {"way": "", "path": "", "span": 1 << 30, "size": 4096, "batch": 64}
    tasks = {
        law: limits.Task(**terms, count=5000, law=law, number=3)
        for law in ("uniform", "Zipf")
    }
    for task in tasks.values():
        offsets = task.offsets()
        assert offsets.min() >= 0
        assert offsets.max() + task.size <= task.span
        assert not (offsets % task.size).any()
    assert tasks["Zipf"].needed() < 0.7 * tasks["uniform"].needed()


def test_the_extra_brings_all_stores():
    missing = {kind.package for kind in stores.KINDS.values()}
    missing -= {kind.package for kind in stores.installed().values()}
    assert missing <= {"array_record"}  # which has no wheels but for x86_64


def test_a_reason_is_given_once():
    races = [race_of([2.0], [1.0], why="Because."), race_of([3.0], [1.0], why="Because.")]
    races = [Race(**{**vars(race), "title": str(i)}) for i, race in enumerate(races)]
    document = list(report(results_of(*races)))
    assert [line for line in document if "Because." in line] == ["1. Because."]
    assert (
        document.count("Why others are faster: [reason 1](#where-yammap-is-slower).") == 2
    )


def test_a_cold_table_is_followed_by_that_at_the_readahead_of_the_machine():
    kept = {"axis": "", "x": None, "note": "", "why": "", "table": "", "rows": []}
    titles = [("a", True, 128), ("b", False, 128), ("a", True, 8192), ("b", True, 8192)]
    races = [
        kept | {"title": title, "cold": cold, "read_ahead_kb": kib}
        for title, cold, kib in titles
    ]
    found = [shown for shown, _ in races_by_heading({"races": races})]
    expected = "a, read_ahead_kb 128", "a, read_ahead_kb 8192", "b", "b, read_ahead_kb 8192"
    assert found == list(expected)


def test_each_program_maps_by_what_stands_in_for_mmap(tmp_path, monkeypatch):
    made = []

    class Counted(compat.mmap):
        def __new__(cls, *arguments, **options):
            made.append(cls)
            return super().__new__(cls, *arguments, **options)

    monkeypatch.setattr(compat, "mmap", Counted)
    with Lab(tmp_path, 0.001) as lab:
        for race in programs.races(lab):
            race.turn(race.contenders[0], 0)
            assert made, race.title
            made.clear()
            race.turn(race.contenders[1], 0)
            assert not made, race.title


@pytest.fixture
def readahead(tmp_path):
    """Give a way to set the readahead of a directory, which is put back."""
    with _readahead.kept(tmp_path):
        if _readahead.put(tmp_path, 256) != 256:
            pytest.skip("read_ahead_kb cannot be set here")
        yield


@pytest.mark.usefixtures("readahead")
def test_every_mapping_reads_as_far_around_a_fault_as_was_set_last(tmp_path):
    with Lab(tmp_path, 0.001) as lab:
        for kib in 64, 256, 64:
            assert set_for(lab, kib) == kib
            store, middle = lab.big, lab.big.size // 2
            views = store.mm, store.memmap, store.m.array("u1")
            for view in views:
                store.evict()
                assert view[middle] is not None
                assert store.m.resident().sum() * mmap.PAGESIZE == kib << 10
            del view, views


@pytest.mark.usefixtures("readahead")
def test_every_cold_race_is_run_again_at_the_readahead_of_the_machine(tmp_path):
    with Lab(tmp_path, 0.001) as lab:
        found = [
            (race.title, race.x, kib)
            for kib, race in races_of("scaling", lab, 256)
            if race.cold
        ]
    usual, own = (
        [point[:2] for point in found if point[2] == kib] for kib in (_readahead.USUAL, 256)
    )
    assert usual == own != []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_readahead_is_put_back_after_a_signal(number, tmp_path):
    own = _readahead.get(tmp_path)

    def interrupted():
        with _readahead.kept(tmp_path):
            _readahead.put(tmp_path, 256)
            signal.raise_signal(number)

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        interrupted()
    assert _readahead.get(tmp_path) == own
