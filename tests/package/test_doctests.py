"""Every example in a docstring runs, and every public method has one or is plain io."""

import doctest

import pytest

import yammap
from yammap import compat
from yammap.compat import shared_memory


def classes_of(public):
    """Return the public class, and those of ours that it inherits methods from."""
    return [kind for kind in public.__mro__ if kind.__module__.startswith("yammap")]


def documented():
    """Yield names and objects: public ones, whatever file they are in."""
    for module in (yammap, compat, shared_memory):
        for name in module.__all__:
            public = getattr(module, name)
            for each in classes_of(public) if isinstance(public, type) else [public]:
                if not isinstance(each, int):  # a constant
                    name_of_it = each.__qualname__ if isinstance(each, type) else name
                    yield f"{module.__name__}.{name_of_it}", each


def examples():
    """Look into each object by itself: a public class says that it is in another module."""
    finder = doctest.DocTestFinder()
    for name, each in {"yammap": yammap.__doc__, **dict(documented())}.items():
        for test in finder.find(each, name, module=False, globs={}):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(examples()))
def test_docstring(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted > 0
    assert result.failed == 0


def test_methods_of_the_core_have_examples():
    public = {name for name in vars(yammap.Mapping) if not name.startswith("_")}
    without = {
        name for name in public if ">>>" not in getattr(yammap.Mapping, name).__doc__
    }
    properties = {
        "name",
        "origin",
        "growable",
        "appending",
        "engine",
        "private",
        "readonly",
        "closed",
    }
    assert without == properties


def test_methods_of_the_file_object_have_examples():
    public = {name for name in dir(yammap.Mmap) if not name.startswith("_")}
    public -= set(dir(yammap.Mapping))
    assert {n for n in public if ">>>" not in getattr(yammap.Mmap, n).__doc__} == {"mode"}
