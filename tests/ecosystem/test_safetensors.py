"""safetensors: its files are read in place by offset, and by itself from bytes."""

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

import yammap

TENSORS = {"a": torch.arange(600.0).reshape(20, 30), "b": torch.ones(7, dtype=torch.int64)}


@pytest.fixture
def m(path):
    safetensors.torch.save_file(TENSORS, path)
    with yammap.open(path, "c") as m:
        yield m


def test_from_bytes(m):
    loaded = safetensors.torch.load(m.read())
    assert all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)
    loaded = safetensors.numpy.load(m.pread(m.size(), 0))
    np.testing.assert_array_equal(loaded["a"], TENSORS["a"].numpy())


def test_into_a_mapping(new):
    new.write(safetensors.torch.save(TENSORS))
    loaded = safetensors.torch.load_file(new.name)
    assert all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)


DTYPES = {"F32": "<f4", "I64": "<i8"}


def tensors_of(m):
    start = 8 + int.from_bytes(m.pread(8, 0), "little")
    header = json.loads(m.pread(start - 8, 8))
    return {
        name: m.array(
            DTYPES[of["dtype"]], tuple(of["shape"]), start + of["data_offsets"][0]
        )
        for name, of in header.items()
        if name != "__metadata__"
    }


def test_in_place(m, inside, outlives):
    tensors = tensors_of(m)
    assert tensors.keys() == TENSORS.keys()
    for name, array in tensors.items():
        assert inside(array, m)
        assert torch.equal(torch.from_numpy(array), TENSORS[name])
    outlives(lambda m: tensors_of(m)["a"], np.ndarray.tolist)
