"""The programs of examples/: those for np.memmap and for yammap give the same result."""

import importlib.util

import pytest
from documents import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def comparison():
    spec = importlib.util.spec_from_file_location("compare", EXAMPLES / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(comparison, tmp_path_factory):
    directory = tmp_path_factory.mktemp("files")
    comparison.make(directory, 1 << 22)
    return directory


@pytest.mark.parametrize("program", ["tokens", "ragged", "recording"])
def test_same_result(comparison, files, program):
    before, after = (
        comparison.run(f"{program}_{peer}", files) for peer in comparison.PEERS
    )
    assert before.output == after.output != ""


def test_every_program_is_compared(comparison):
    scripts = {path.stem for path in EXAMPLES.glob("*_*.py")}
    assert scripts == {
        f"{p}_{peer}" for p in comparison.PROGRAMS for peer in comparison.PEERS
    }


def test_different_results_are_no_table(comparison):
    runs = [comparison.Run("one", 1.0, 10.0), comparison.Run("other", 1.0, 10.0)]
    with pytest.raises(AssertionError, match="'one' is not 'other'"):
        list(comparison.table([("tokens", runs)]))
