"""What `mutants.py` takes out is there: else it would end, after minutes, in its middle."""

from mutants import MUTANTS, ROOT


def test_each_protection_is_in_one_place_and_has_its_test():
    assert len(MUTANTS) > 40
    for mutant in MUTANTS:
        source = (ROOT / "yammap" / mutant.file).read_text()
        assert source.count(mutant.old) == 1, (mutant.file, mutant.old)
        file, *names = mutant.test.split("::")
        test = (ROOT / "tests" / file).read_text()
        assert f"def {names[-1].partition('[')[0]}(" in test
