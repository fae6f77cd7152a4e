"""The face: names, version, pickles."""

import contextlib
import enum
import errno
import importlib.metadata
import inspect
import io
import pickle
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import yammap

# What others build upon, a name a line. A line that goes is a break, and one that comes a
# promise: neither happens by accident. After a change that is meant:
#   python -P tests/package/test_public.py > tests/package/public_names.txt
PUBLIC_NAMES = Path(__file__).with_name("public_names.txt")

# How each of them is called, without annotations, likewise:
#   python -P tests/package/test_public.py signatures > tests/package/public_signatures.txt
PUBLIC_SIGNATURES = Path(__file__).with_name("public_signatures.txt")

# Names that classes have without our giving them, which depends on the Python.
BOOKKEEPING = {
    "__annotate_func__",
    "__annotations__",
    "__annotations_cache__",
    "__buffer__",  # of extension types, from 3.12 on
    "__classdictcell__",  # of named tuples, from 3.14 on
    "__dict__",
    "__firstlineno__",
    "__getnewargs__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__pyx_vtable__",
    "__release_buffer__",
    "__replace__",
    "__setstate__",
    "__slots__",
    "__static_attributes__",
    "__weakref__",
    *dir(object),
}


def public_modules():
    names = [m.name for m in pkgutil.walk_packages(yammap.__path__, "yammap.")]
    public = [name for name in names if "._" not in name]
    return [yammap, *map(importlib.import_module, public)]


def members(kind):
    """Return the names that a class of ours, and those of ours it derives from, define."""
    ours = (base for base in kind.__mro__ if base.__module__.startswith("yammap"))
    names = {name for base in ours for name in vars(base)} - BOOKKEEPING
    return {name for name in names if name.endswith("__") or not name.startswith("_")}


def public_names():
    """Return all public names, dotted: of modules, of what is in them, of its members."""
    names = set()
    for module in public_modules():
        names |= {module.__name__, *(f"{module.__name__}.{n}" for n in module.__all__)}
        for name in module.__all__:
            kind = getattr(module, name)
            # Members of enums are the constants, which are there by themselves.
            if isinstance(kind, type) and not issubclass(kind, enum.Enum):
                names |= {f"{module.__name__}.{name}.{m}" for m in members(kind)}
    return sorted(names)


def test_public_names():
    names = {*public_names()} - {"yammap.compat.mmap.set_name"}  # of Python 3.15
    assert sorted(names) == PUBLIC_NAMES.read_text().split()


def public_signatures():
    """Return each public name that is called, with its parameters and their defaults."""
    for name in public_names():
        thing = pkgutil.resolve_name(name)
        with contextlib.suppress(TypeError, ValueError):  # C says nothing of some
            if not is_pythons(thing):
                parameters = inspect.signature(thing).parameters.values()
                bare = [p.replace(annotation=p.empty) for p in parameters]
                yield f"{name}{inspect.Signature(bare)}"


def is_pythons(thing):
    """Whether how it is called is Python's business, as that of errors and enums is."""
    kind = thing if isinstance(thing, type) else type(thing)
    return issubclass(kind, BaseException | enum.Enum)


def is_same_everywhere(signature):
    """Whether it is what the list says: those of `mmap` are new in Python 3.14."""
    return sys.version_info < (3, 14) or not signature.startswith("yammap.compat.mmap.")


def test_public_signatures():
    expected = PUBLIC_SIGNATURES.read_text().splitlines()
    found = public_signatures()
    assert [*filter(is_same_everywhere, found)] == [*filter(is_same_everywhere, expected)]


def test_what_has_no_underscore_is_meant_to_be_public():
    names = {name for name in vars(yammap) if not name.startswith("_")}
    modules = {name for name in names if isinstance(getattr(yammap, name), ModuleType)}
    assert names - modules == set(yammap.__all__)


def test_version_is_that_of_the_distribution():
    assert yammap.__version__ == importlib.metadata.version("yammap")


def test_mmap_is_a_raw_file(path):
    assert issubclass(yammap.Mmap, io.RawIOBase)
    with yammap.open(path, "w+") as m:
        assert isinstance(m, io.IOBase)


def test_errors_are_picklable(path):
    error = yammap.BusError(errno.EIO, "text", "name")
    error.offset, error.access, error.count = 7, "write", 3
    again = pickle.loads(pickle.dumps(error))
    assert (again.errno, again.filename, again.offset, again.access, again.count) == (
        errno.EIO,
        "name",
        7,
        "write",
        3,
    )


@pytest.mark.parametrize("module", public_modules(), ids=lambda module: module.__name__)
def test_public_objects_name_the_module_they_are_imported_from(module):
    public = {name: getattr(module, name) for name in module.__all__}
    named = {
        name: value.__module__
        for name, value in public.items()
        if isinstance(value, type | FunctionType)
    }
    theirs = {"yammap.compat.error": "builtins"}  # OSError, as in mmap
    assert named == {
        name: theirs.get(f"{module.__name__}.{name}", module.__name__) for name in named
    }


# Made by 0.2.0.dev0, when pickles held the file that a class is in.
OLD_PICKLES = {
    yammap.BusError: b"\x80\x04\x95B\x00\x00\x00\x00\x00\x00\x00\x8c\x0eyammap._errors\x94"
    b"\x8c\x08BusError\x94\x93\x94K\x05\x8c\x04text\x94\x8c\x04name\x94\x87\x94R\x94}\x94"
    b"\x8c\x06offset\x94K\x07sb.",
    yammap.ShortRead: b"\x80\x04\x95(\x00\x00\x00\x00\x00\x00\x00\x8c\x0eyammap._errors\x94"
    b"\x8c\tShortRead\x94\x93\x94\x8c\x01x\x94\x85\x94R\x94.",
    yammap.Fault: b"\x80\x04\x95/\x00\x00\x00\x00\x00\x00\x00\x8c\x0eyammap._errors\x94"
    b"\x8c\x05Fault\x94\x93\x94(K\x00M\x00\x10\x8c\x04read\x94K\x05t\x94\x81\x94.",
    yammap.Advice: b'\x80\x04\x95"\x00\x00\x00\x00\x00\x00\x00\x8c\ryammap._flags\x94'
    b"\x8c\x06Advice\x94\x93\x94K\x01\x85\x94R\x94.",
    yammap.MappedArray: b"\x80\x04\x95\x8e\x00\x00\x00\x00\x00\x00\x00\x8c\x14"
    b"yammap._mapped_array\x94\x8c\x0bMappedArray\x94\x93\x94)\x81\x94(\x8c\r/tmp/pk/a.bin"
    b"\x94J!)!\x00K\x10\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02u2\x94\x89\x88"
    b"\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94b"
    b"K\x04K\x02\x86\x94K\x04K\x02\x86\x94K\x00\x8c\x01r\x94t\x94b.",
}


@pytest.mark.parametrize("kind", OLD_PICKLES, ids=lambda kind: kind.__name__)
def test_pickles_of_the_version_before_load(kind):
    again = pickle.loads(OLD_PICKLES[kind])
    assert type(again) is kind
    assert b"yammap._" not in pickle.dumps(again)


def test_importing_loads_no_optional_package():
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys, yammap; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"click", "rich", "dask"} & set(done.stdout.split())


def test_importing_leaves_slow_modules_to_those_who_use_them():
    """They took half the time of the import. NumPy may import them all the same."""
    code = "import numpy, sys; m = {*sys.modules}; import yammap; print(*{*sys.modules}-m)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    slow = {"zipfile", "concurrent.futures", "pathlib", "logging"}
    assert not slow & set(done.stdout.split())


def test_the_uncompiled_source_tree_says_what_is_wrong(tmp_path):
    source = Path(__file__).parents[2] / "yammap"
    tree = tmp_path / "yammap"
    tree.mkdir()
    for file in source.glob("*.py"):
        (tree / file.name).write_bytes(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import yammap"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "ImportError: yammap is not compiled here" in done.stderr
    assert "pip install ." in done.stderr


if __name__ == "__main__":
    signatures = "signatures" in sys.argv
    print(*(public_signatures() if signatures else public_names()), sep="\n")
