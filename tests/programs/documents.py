"""The examples of a document: its fenced blocks, and what they are to print."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCUMENTS", "ROOT", "Example", "examples"]

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]

_FENCE = re.compile(
    r"^```(sh|python|pycon)\n(?P<source>.*?)^```\n(?:\s*^```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


class Example(NamedTuple):
    """A block of shell commands, of Python, or of a Python session (``pycon``)."""

    language: str
    source: str
    printed: str | None
    """What the block prints, where a block of text follows it."""
    line: int
    """Lines of the document before the block's first."""


def examples(document: Path) -> list[Example]:
    """Return the blocks of a document that are to be run, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Example(
            fence[1], fence["source"], fence["printed"], text[: fence.start(2)].count("\n")
        )
        for fence in _FENCE.finditer(text)
    ]
