"""The source tree itself: lengths, directions, fields, heads and words, as it is written.

The rules, with their limits, are in tests/package/tidy/rules.py. What breaks one is mended;
what cannot be mended today stands in NOT_YET, and is taken out when it is.
"""

import re
from pathlib import Path

import pytest
import rules

ROOT = next(p for p in Path(__file__).parents if (p / "meson.build").exists())

# Subject of a complaint: the most there may be of it.
NOT_YET = {
    # All that a mapping offers is in it: 34 public methods and 8 properties, one call each.
    "class Mapping": 44,
}


@pytest.mark.parametrize("rule", rules.RULES)
def test_the_tree_is_tidy(rule):
    found = [
        f"{complaint} ({complaint.number}, and NOT_YET allows {allowed})"
        for complaint in rule(ROOT)
        if complaint.number > (allowed := NOT_YET.get(complaint.subject, 0))
    ]
    assert not found, "\n".join(["", *found])


def test_what_is_excused_still_has_to_be():
    needed = {complaint.subject for rule in rules.RULES for complaint in rule(ROOT)}
    assert not NOT_YET.keys() - needed, "take them out of NOT_YET"


def test_exceptions_to_the_rules_are_needed():
    shown = {complaint.text for complaint in rules.fields_elsewhere(ROOT, shown=())}
    assert all(any(f" of {kind}," in text for text in shown) for kind in rules.SHOWN)
    unguarded = rules.objects_without_a_guard(ROOT, settled=frozenset())
    fields = {complaint.text.split()[0] for complaint in unguarded}
    kinds = {field.partition(".")[0] for field in fields}
    assert not rules.SETTLED.keys() - fields - kinds, "take them out of SETTLED"
    untested = {complaint.place for complaint in rules.modules_without_a_test(ROOT, ())}
    assert all(any(name in place for place in untested) for name in rules.UNTESTED)
    for name in rules.FILES:
        assert (ROOT / name).read_text().count("\n") > rules.FILE_LINES


# -- Each rule complains of what it is for, and of nothing else.

EXAMPLES = (ROOT / "tests/package/tidy/examples.md").read_text().split("\n## ")[1:]


@pytest.fixture
def low_limits(monkeypatch):
    for name, limit in {
        "FUNCTION_LINES": 4,
        "TEST_LINES": 6,
        "FILE_LINES": 7,
        "METHODS": 3,
        "FILES": {"yammap/_core.pyx": 9},
    }.items():
        monkeypatch.setattr(rules, name, limit)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.split("\n")[0])
def test_each_rule_complains(tmp_path, low_limits, example):
    (tmp_path / "yammap").mkdir()
    for name, text in re.findall(r"^~~~ (\S+)\n(.*?)^~~~$", example, re.M | re.S):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    rule = getattr(rules, example.partition(":")[0])
    found = sorted(map(str, rule(tmp_path)))
    expected = sorted(re.findall(r"^- (.*)$", example, re.M))
    assert len(found) == len(expected), found
    for complaint, start in zip(found, expected, strict=True):
        assert complaint.startswith(start)


def test_there_is_an_example_for_each_rule():
    tried = {example.partition(":")[0] for example in EXAMPLES}
    assert tried == {rule.__name__ for rule in rules.RULES}
