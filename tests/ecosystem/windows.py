"""A dataset for PyTorch. Workers that are spawned import it by its name."""

import numpy as np
from torch.utils.data import Dataset

import yammap


class Windows(Dataset):
    """All windows of a token file; a batch of them is one call."""

    def __init__(self, path, length):
        count = len(yammap.MappedArray(path, "<u2")) - length + 1
        self.windows = yammap.MappedArray(path, "<u2", (count, length), strides=(2, 2))

    def __len__(self):
        return len(self.windows)

    def __getitems__(self, indices):
        return self.windows.take(indices).astype(np.int64)
