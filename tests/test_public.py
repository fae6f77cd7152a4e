"""The face: names, version, constants."""

import enum
import errno
import importlib.metadata
import io
import mmap
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import yammap

FUNCTIONS = {"anonymous", "atomic_create", "create", "open", "open_array", "open_file"}
CLASSES = {"BusError", "Fault", "MappedArray", "Mapping", "Mmap", "ShortRead"}
ENUMS = {"Advice", "MapFlag", "Prot", "Remap", "Sync", "Syscall", "Whence"}
PREFIXES = ("PROT_", "MAP_", "MREMAP_", "MADV_", "SEEK_", "MS_", "SYS_")


def test_public_names():
    constants = {name for name in yammap.__all__ if name.startswith(PREFIXES)}
    assert set(yammap.__all__) == FUNCTIONS | CLASSES | ENUMS | constants
    assert len(constants) > 60
    assert all(hasattr(yammap, name) for name in yammap.__all__)


def test_version_is_that_of_the_distribution():
    assert yammap.__version__ == importlib.metadata.version("yammap")


@pytest.mark.parametrize("module", [mmap, os])
def test_constants_agree_with_the_standard_library(module):
    shared = [n for n in yammap.__all__ if n.startswith(PREFIXES) and hasattr(module, n)]
    assert len(shared) > 3
    for name in shared:
        assert getattr(yammap, name) == getattr(module, name)


@pytest.mark.parametrize(
    ("name", "value"),
    # The kernel's ABI (asm-generic), where the standard library has no names for it.
    [
        ("MS_ASYNC", 1),
        ("MS_INVALIDATE", 2),
        ("MS_SYNC", 4),
        ("MREMAP_MAYMOVE", 1),
        ("MREMAP_FIXED", 2),
        ("MADV_POPULATE_READ", 22),
        ("MADV_COLLAPSE", 25),
    ],
)
def test_constants_have_the_kernels_values(name, value):
    assert getattr(yammap, name) == value


def test_constants_are_members_of_enums():
    assert yammap.MADV_RANDOM is yammap.Advice.RANDOM
    assert yammap.Prot(3) == yammap.PROT_READ | yammap.PROT_WRITE
    assert isinstance(yammap.Sync.SYNC, enum.IntFlag)
    assert pickle.loads(pickle.dumps(yammap.Whence.END)) is yammap.SEEK_END


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


def test_importing_loads_no_optional_package():
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import sys, yammap; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"click", "rich"} & set(done.stdout.split())


def test_the_uncompiled_source_tree_says_what_is_wrong(tmp_path):
    source = Path(__file__).parents[1] / "yammap"
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
