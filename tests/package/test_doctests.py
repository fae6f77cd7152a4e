"""Every example in a docstring runs, and every public method has one or is plain io."""

import doctest
import importlib

import pytest

import yammap

MODULES = [
    "yammap",
    "yammap._file.atomic",
    "yammap._core",
    "yammap._errors",
    "yammap._file.mmap_file",
    "yammap._file.gather",
    "yammap._arrays.mapped_array",
    "yammap._file.opening",
    "yammap._arrays.open_array",
    "yammap._file.pages",
    "yammap._file.records",
    "yammap.compat",
]


def examples():
    finder = doctest.DocTestFinder()
    for name in MODULES:
        for test in finder.find(importlib.import_module(name), name):
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
    public = {name for name in vars(yammap.Mmap) if not name.startswith("_")}
    assert {n for n in public if ">>>" not in getattr(yammap.Mmap, n).__doc__} == {"mode"}
