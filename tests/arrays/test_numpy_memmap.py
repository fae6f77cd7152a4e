"""NumPy's own tests of `np.memmap` on handles, and why some are not for them."""

import importlib.util
import os

import numpy as np
import pytest

import yammap

SUITE = "numpy._core.tests.test_memmap"

if not hasattr(np, "_core") or not importlib.util.find_spec("numpy._core.tests"):
    pytest.skip("this NumPy came without its tests", allow_module_level=True)

# Tests that ask for something else than a handle gives, and what that is.
OTHERWISE = {
    "test_getitem": "a slice is a plain ndarray, and not of the handle's class",
    "test_memmap_subclass": "likewise, for subclasses",
    "test_slicing_keeps_references": "the attribute _mmap of np.memmap is called mapping",
    "test_view": "a view of a handle is a handle, which has no base",
    "test_filename": "a slice is a plain ndarray, without a file name",
    "test_path": "likewise",
    "test_empty_array": "an empty file has an empty array, also in mode 'r'",
}


class Memmap(yammap.MappedArray):
    """A handle that is made as an np.memmap is: of a path or file, in any mode."""

    __slots__ = ("_asked",)

    def __init__(self, file, dtype=np.uint8, mode="r+", offset=0, shape=None, order="C"):
        self._asked = file, mode
        if hasattr(file, "flush"):
            file.flush()
        name = path_or_descriptor(file)
        if mode == "w+":
            size = offset + int(np.prod(shape)) * np.dtype(dtype).itemsize
            yammap.open(name, "w+", size=size).close()
        elif shape is not None and os.stat(name).st_size < 48:
            os.truncate(name, 48)
        if isinstance(name, int):
            name = yammap.open(name, mode)
        if isinstance(shape, list):
            shape = tuple(shape)
        kept = "r+" if mode == "w+" else mode
        super().__init__(name, dtype, shape, offset, kept, order=order)

    @property
    def mode(self):
        return self._asked[1]

    @property
    def filename(self):
        return path_or_descriptor(self._asked[0])


def path_or_descriptor(file):
    return file if isinstance(file, os.PathLike) else getattr(file, "name", file)


def suite():
    spec = importlib.util.find_spec(SUITE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.memmap = Memmap
    return module


class TestMemmap(suite().TestMemmap):
    """They run as they are."""


for _name, _reason in OTHERWISE.items():
    _test = getattr(TestMemmap, _name)
    _mark = pytest.mark.xfail(reason=_reason, strict=True)

    def _marked(self, *arguments, _test=_test, **fixtures):
        return _test(self, *arguments, **fixtures)

    _marked.__wrapped__ = _test
    setattr(TestMemmap, _name, _mark(_marked))
