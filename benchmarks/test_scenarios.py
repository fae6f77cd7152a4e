"""Every scenario runs, and all contenders come to the same bytes.

It is a test, not a measurement, for which there is `yammap bench`; sizes are small.
"""

import json
import re
import signal

import pytest
from click.testing import CliRunner
from yammap._bench import _readahead
from yammap._bench._race import Contender, Measured, Race, row_of, run
from yammap._bench._report import cells
from yammap._bench._run import SCENARIOS

from yammap._cli import bench, commands


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, lab, benchmark):
    def once():
        return [run(race, budget=0) for race in SCENARIOS[name](lab)]

    races = benchmark.pedantic(once)
    benchmark.extra_info["races"] = races
    for race in races:
        for row in race["rows"]:
            assert row["ratio"][1] == row["seconds"][1] / row["yammap"]
        assert all(row["seconds"][0] > 0 and row["ratio"][0] > 0 for row in race["rows"])


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


def test_ratio_in_a_table_is_that_of_the_times_beside_it():
    theirs, ours = (535e-9, 2e-6, 9e-6), (138e-9, 1.02e-6, 1.1e-6)
    pairs = [(Measured(a), Measured(b)) for a, b in zip(theirs, ours, strict=True)]
    row = row_of(Contender("other", len), pairs, 1)
    race = {"axis": "", "size": None, "rows": [row]}
    ((_, time, yammap, _, ratio),) = cells(race)
    shown = float(ratio.split()[0])
    assert shown == pytest.approx(seconds(time) / seconds(yammap), abs=0.02)


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
