"""torch: tensors over a mapping, and models saved into one."""

import numpy as np
import pytest
import torch

import yammap

VALUES = np.arange(1000, dtype="<f4")

TENSORS = {
    "frombuffer": lambda m: torch.frombuffer(m, dtype=torch.float32),
    "frombuffer of a part": lambda m: torch.frombuffer(
        m, dtype=torch.float32, offset=400, count=100
    ),
    "from_numpy": lambda m: torch.from_numpy(m.array("<f4")),
    "from_dlpack": lambda m: torch.from_dlpack(m.array("<f4")),
    "asarray": lambda m: torch.asarray(m.array("<f4")),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_tensors_are_in_place(path, inside, tensor):
    VALUES.tofile(path)
    with yammap.open(path, "r+") as m:
        assert inside(tensor(m).numpy(), m)
        tensor(m).mul_(2)
    changed = np.fromfile(path, "<f4") != VALUES
    assert changed.sum() in (100, 999)


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_tensors_outlive_the_mapping(path, outlives, tensor):
    VALUES.tofile(path)
    outlives(tensor, torch.Tensor.tolist)


def test_private_changes(path):
    VALUES.tofile(path)
    with yammap.open(path, "c") as m:
        torch.frombuffer(m, dtype=torch.float32).zero_()
        assert not m.array().any()
    assert np.fromfile(path, "<f4").tolist() == VALUES.tolist()


def test_torch_warns_of_memory_that_cannot_be_written(path):
    VALUES.tofile(path)
    with yammap.open(path) as m:
        with pytest.warns(UserWarning, match="not writable"):
            torch.frombuffer(m, dtype=torch.float32)
        with pytest.warns(UserWarning, match="not writable"):
            torch.from_numpy(m.array("<f4"))


def model(bias):
    layers = torch.nn.Linear(20, 10), torch.nn.ReLU(), torch.nn.Linear(10, 2)
    made = torch.nn.Sequential(*layers)
    torch.nn.init.constant_(made[2].bias, bias)
    return made


def test_save_and_load(new):
    saved, loaded = model(1.0), model(2.0)
    torch.save(saved.state_dict(), new)
    new.seek(0)
    state = torch.load(new)
    new.close()
    loaded.load_state_dict(state)
    x = torch.ones(20)
    assert torch.equal(loaded(x), saved(x))


def test_the_format_that_writes_through_the_descriptor(new):
    saved = {"a": torch.arange(1000.0), "b": torch.ones(3)}
    torch.save(saved, new, _use_new_zipfile_serialization=False)
    new.seek(0)
    loaded = torch.load(new)
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_weights_in_place(path, inside):
    VALUES[:22].tofile(path)
    with yammap.open(path, "c") as m:
        weights = {
            "weight": torch.frombuffer(m, dtype=torch.float32, count=20).reshape(2, 10),
            "bias": torch.frombuffer(m, dtype=torch.float32, offset=80, count=2),
        }
        layer = torch.nn.Linear(10, 2, device="meta")
        layer.load_state_dict(weights, assign=True)
        assert inside(layer.weight.detach().numpy(), m)
    assert layer(torch.ones(10)).tolist() == [45 + 20, 145 + 21]


def test_a_closed_mapping(new):
    torch.save(torch.ones(3), new)
    new.close()
    with pytest.raises(ValueError, match="closed"):
        torch.load(new)
