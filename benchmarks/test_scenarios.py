"""Every scenario runs, and all contenders come to the same bytes.

It is a test, not a measurement, for which there is `yammap bench`; sizes are small.
"""

import json
import re

import pytest
from click.testing import CliRunner
from yammap._bench._race import Contender, Race, run
from yammap._bench._run import SCENARIOS

from yammap._cli import bench, commands


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, lab, benchmark):
    def once():
        return [run(race, budget=0) for race in SCENARIOS[name](lab)]

    races = benchmark.pedantic(once)
    benchmark.extra_info["races"] = races
    for race in races:
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
    assert re.search(r"\| token windows, cold \| .* \| at least 20x \| ", document)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plots", "results.json"]


def test_contender_that_comes_to_other_bytes_is_reported():
    contenders = [Contender("yammap", bytes), Contender("other", lambda _: b"\2")]
    race = Race("race", contenders, lambda _: range(1, 9))
    with pytest.raises(RuntimeError, match="race: other came to other bytes"):
        run(race, budget=0)
