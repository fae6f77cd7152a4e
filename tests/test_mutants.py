"""What `mutants.py` takes out is there: else it would end, after minutes, in its middle."""

import importlib.util
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def load_mutants(monkeypatch):
    spec = importlib.util.spec_from_file_location("mutants", TESTS / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutants", module)  # for its dataclass
    spec.loader.exec_module(module)
    return module.MUTANTS


def test_each_guard_is_in_one_place_and_has_its_test(monkeypatch):
    mutants = load_mutants(monkeypatch)
    assert len(mutants) > 40
    for mutant in mutants:
        source = (TESTS.parent / "yammap" / mutant.file).read_text()
        assert source.count(mutant.old) == 1, (mutant.file, mutant.old)
        file, *names = mutant.test.split("::")
        assert f"def {names[-1].partition('[')[0]}(" in (TESTS / file).read_text()
