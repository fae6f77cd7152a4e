"""Every scenario runs, and all contenders come to the same bytes.

It is a test, not a measurement, for which there is `yammap bench`; sizes are small.
"""

import json
import mmap
import re
import signal

import numpy as np
import pytest
from click.testing import CliRunner
from yammap._bench import _readahead
from yammap._bench._lab import Lab
from yammap._bench._race import Contender, Measured, Race, row_of, run
from yammap._bench._report import cells, races_by_heading
from yammap._bench._run import SCENARIOS, races_of, set_for

from yammap._cli.commands import bench, commands


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, lab, benchmark):
    def once():
        return [run(race, budget=0) for race in SCENARIOS[name](lab)]

    races = benchmark.pedantic(once)
    benchmark.extra_info["races"] = races
    for race in races:
        for row in race["rows"]:
            assert row["ratio"][1] == row["seconds"] / row["yammap"]
            assert row["ratio"][0] > 0


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
    assert "<svg" in (plots / "reach.svg").read_text()
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


def shown(row):
    """Return the times and the ratio of a table's row, and the ratio's quartiles."""
    race = {"axis": "", "size": None, "rows": [row]}
    ((_, time, yammap, _, ratio),) = cells(race)
    return seconds(time), seconds(yammap), [float(n) for n in re.findall(r"[\d.]+", ratio)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 11])
def test_ratio_in_a_table_is_that_of_the_times_beside_it(count):
    generator = np.random.default_rng(count)
    for _ in range(200):
        times = generator.uniform(1e-7, 1e-5, (count, 2)).tolist()
        pairs = [(Measured(theirs), Measured(ours)) for theirs, ours in times]
        time, yammap, (ratio, low, high) = shown(row_of(Contender("other", len), pairs, 1))
        # Three digits of each time, and two decimals of the ratio.
        assert abs(ratio - time / yammap) <= 0.011 * ratio + 0.006
        assert low <= ratio <= high


def test_of_an_even_number_of_pairs_the_one_that_flatters_less_is_shown():
    pairs = [(Measured(theirs), Measured(1.0)) for theirs in (4.0, 1.0, 3.0, 2.0)]
    row = row_of(Contender("other", len), pairs, 1)
    assert (row["seconds"], row["yammap"], row["ratio"]) == (2.0, 1.0, [1.0, 2.0, 3.0])


def test_a_cold_table_is_followed_by_that_at_the_readahead_of_the_machine():
    kept = {"axis": "", "x": None, "note": "", "rows": []}
    titles = [("a", True, 128), ("b", False, 128), ("a", True, 8192), ("b", True, 8192)]
    races = [
        kept | {"title": title, "cold": cold, "read_ahead_kb": kib}
        for title, cold, kib in titles
    ]
    found = [shown for shown, _ in races_by_heading({"races": races})]
    expected = "a, read_ahead_kb 128", "a, read_ahead_kb 8192", "b", "b, read_ahead_kb 8192"
    assert found == list(expected)


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
