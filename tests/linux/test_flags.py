"""The constants: values of the kernel, names of the manual pages."""

import enum
import mmap
import os
import pickle

import pytest

import yammap

PREFIXES = ("PROT_", "MAP_", "MREMAP_", "MADV_", "SEEK_", "MS_", "SYS_")


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
