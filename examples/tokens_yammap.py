"""Train a bigram model on random windows of a token file, each batch in one call.

Run as ``python tokens_yammap.py DIRECTORY``, which holds ``tokens.bin`` (uint16).
"""

import sys
from pathlib import Path

import numpy as np

import yammap

VOCABULARY, BLOCK, BATCH, STEPS = 256, 1024, 64, 150
TOKEN = np.dtype("<u2")


def batch(m, rng):
    starts = rng.integers(m.size() // TOKEN.itemsize - BLOCK, size=BATCH)
    windows = m.gather(starts * TOKEN.itemsize, (BLOCK + 1) * TOKEN.itemsize)
    return windows.view(TOKEN)


def main(directory):
    rng = np.random.default_rng(0)
    counts = np.ones((VOCABULARY, VOCABULARY))
    with yammap.open(directory / "tokens.bin") as m:
        for _ in range(STEPS):
            windows = batch(m, rng)
            np.add.at(counts, (windows[:, :-1], windows[:, 1:]), 1)
        chance = counts / counts.sum(axis=1, keepdims=True)
        windows = batch(m, rng)
    loss = -np.log(chance[windows[:, :-1], windows[:, 1:]]).mean()
    print(f"loss {loss:.6f} nats a token")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
