"""Every Python example in the documents runs, in order, and prints what they say.

The shell commands of the README and the tutorial are run by `tests/programs/newcomer.py`,
which has an environment of its own for them.
"""

import doctest
import importlib.util
import re

import pytest
from documents import DOCUMENTS, ROOT, examples

import yammap

_IMPORT = re.compile(r"^(?:>>> )?(?:import|from) (\w+)", re.MULTILINE)


def needs(document):
    """Return the modules that its examples import."""
    sources = "".join(example.source for example in examples(document))
    return {*_IMPORT.findall(sources)}


def runnable():
    """Yield documents with examples; those on other libraries where these are installed."""
    for document in DOCUMENTS:
        if examples(document) and all(map(importlib.util.find_spec, needs(document))):
            yield pytest.param(document, id=str(document.relative_to(ROOT)))


def run_python(example, document, namespace, capsys):
    source = "\n" * example.line + example.source  # for the lines that tracebacks tell
    exec(compile(source, document, "exec"), namespace)
    printed = capsys.readouterr().out
    assert example.printed in (None, printed), f"{document}:{example.line}:\n{printed}"


def run_session(example, document, namespace, capsys):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    test = parser.get_doctest(
        example.source, namespace, document.name, str(document), example.line
    )
    failed = runner.run(test, clear_globs=False).failed
    assert failed == 0, capsys.readouterr().out
    namespace.update(test.globs)


RUNNERS = {"python": run_python, "pycon": run_session}


@pytest.mark.parametrize("document", list(runnable()))
def test_examples(document, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for example in examples(document):
        if run := RUNNERS.get(example.language):
            run(example, document, namespace, capsys)


def test_examples_are_found():
    languages = [example.language for example in examples(ROOT / "docs/tutorial.md")]
    assert {"sh", "python"} == {*languages}
    printed = [example.printed for example in examples(ROOT / "docs/tutorial.md")]
    assert sum(text is not None for text in printed) > 8


# -- The reference

CLASSES = (yammap.Mmap, yammap.MappedArray)


def public(cls):
    return {f"{cls.__name__}.{name}" for name in dir(cls) if not name.startswith("_")}


def test_reference_has_every_public_name():
    text = "".join(page.read_text() for page in ROOT.glob("docs/reference/*.rst"))
    listed = {*re.findall(r"^ +([\w.]+)$", text, re.MULTILINE)}
    listed |= {*re.findall(r"^\.\. (?:auto|py:)\w+:: ([\w.]+)", text, re.MULTILINE)}
    names = {*yammap.__all__}.union(*map(public, CLASSES))
    assert names - listed == set()


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
