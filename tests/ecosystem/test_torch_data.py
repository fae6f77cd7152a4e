"""Datasets for PyTorch: batches by `take`, in this process and in DataLoader's workers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import yammap

LENGTH = 64

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


@pytest.fixture
def windows(monkeypatch):
    """The module of the dataset: spawned workers have this path, too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import windows

    return windows


@pytest.fixture
def tokens(path):
    tokens = np.random.default_rng(0).integers(0, 1 << 16, 10_000).astype("<u2")
    tokens.tofile(path)
    return tokens


@pytest.mark.parametrize(
    ("workers", "context"), [(0, None), (2, "fork"), (2, "forkserver"), (2, "spawn")]
)
def test_batches_in_workers(windows, tokens, path, workers, context):
    data = windows.Windows(path, LENGTH)
    loader = DataLoader(
        data,
        batch_size=32,
        shuffle=True,
        collate_fn=torch.from_numpy,
        num_workers=workers,
        multiprocessing_context=context,
    )
    batches = list(loader)
    assert all(batch.shape[1:] == (LENGTH,) for batch in batches)
    found = torch.cat(batches).numpy()
    expected = np.lib.stride_tricks.sliding_window_view(tokens, LENGTH)
    assert len(found) == len(data)
    assert np.array_equal(
        found[np.lexsort(found.T[::-1])], expected[np.lexsort(expected.T[::-1])]
    )


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_stay_see_what_was_written_between_epochs(
    windows, tokens, path, context
):
    """They keep the file mapped, and the mapping shows its bytes as they are."""
    loader = DataLoader(
        windows.Windows(path, LENGTH),
        batch_size=1000,
        collate_fn=torch.from_numpy,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=context,
    )
    for value in (tokens, tokens[::-1]):
        with open(path, "r+b") as file:
            file.write(value.tobytes())
        expected = np.lib.stride_tricks.sliding_window_view(value, LENGTH)
        assert np.array_equal(torch.cat(list(loader)).numpy(), expected)


def test_a_tensor_over_the_file(tokens, path):
    """Without a copy; it lives as long as the tensor does, and a change is in the file."""
    handle = yammap.MappedArray(path, "<i2", mode="r+")
    tensor = torch.from_numpy(handle[:])
    del handle
    assert np.array_equal(tensor.numpy().view("<u2"), tokens)
    tensor[0] = -1
    assert np.fromfile(path, "<i2", 1) == -1


def test_an_array_that_was_a_tensor_travels(tokens, path):
    tensor = torch.from_numpy(yammap.open_array(path, "<i2", "r+"))
    with pytest.raises(ValueError, match="is not in a mapping of yammap"):
        yammap.MappedArray.of(tensor[5:].numpy())
