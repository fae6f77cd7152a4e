"""The README's example runs, and prints what it says."""

import re

from documents import ROOT

README = ROOT / "README.md"


def test_example(child):
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert child(example) == "999 7\n"


def test_there_are_exactly_two_commands():
    commands = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert [command.rpartition("bin/")[2] for command in commands] == [
        "yammap demo\n",
        "pytest\n",
    ]
