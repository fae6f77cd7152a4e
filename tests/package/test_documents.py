"""Every Python example in the documents runs, in order, and prints what they say.

The shell commands of the README and the tutorial are run by `tests/programs/newcomer.py`,
which has an environment of its own for them.
"""

import doctest
import importlib.util
import json
import re
from itertools import takewhile
from xml.etree import ElementTree

import pytest
from documents import DOCUMENTS, ROOT, examples

import yammap

_IMPORT = re.compile(r"^(?:>>> )?(?:import|from) (\w+)", re.MULTILINE)


def is_runnable(example):
    """Whether the modules that it imports are installed."""
    return all(map(importlib.util.find_spec, _IMPORT.findall(example.source)))


def runnable():
    """Yield documents with their examples, up to the first on a library that is missing."""
    for document in DOCUMENTS:
        found = [*takewhile(is_runnable, examples(document))]
        if any(example.language in RUNNERS for example in found):
            yield pytest.param(document, found, id=str(document.relative_to(ROOT)))


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
@pytest.mark.parametrize(("document", "found"), list(runnable()))
def test_examples(document, found, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for example in found:
        if run := RUNNERS.get(example.language):
            run(example, document, namespace, capsys)


def test_examples_are_found():
    languages = [example.language for example in examples(ROOT / "docs/tutorial.md")]
    assert {"sh", "python"} == {*languages}
    printed = [example.printed for example in examples(ROOT / "docs/tutorial.md")]
    assert sum(text is not None for text in printed) > 8


def code_of(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("docs/notebooks/*.ipynb")))
def test_a_notebook_prints_what_it_shows(notebook, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for cell in code_of(notebook):
        exec("".join(cell["source"]), namespace)
        texts = ("".join(output.get("text", "")) for output in cell["outputs"])
        assert capsys.readouterr().out == "".join(texts)
    namespace["plt"].close("all")


PICTURES = [*ROOT.glob("docs/pictures/*.svg"), ROOT / "docs/plots/ratios.svg"]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_small_has_a_title_and_reads_on_light_and_dark(picture):
    text = picture.read_text()
    root = ElementTree.fromstring(text)
    assert root.find("{http://www.w3.org/2000/svg}title").text
    assert re.search(r"prefers-color-scheme: ?dark", text)
    assert '<rect class="card"' in text  # the background that goes with the words
    assert len(text) < 10_000


# -- The reference

CLASSES = (yammap.Mmap, yammap.MappedArray, yammap.RaggedArray)


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
