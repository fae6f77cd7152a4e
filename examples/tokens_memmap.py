"""Train a bigram model on random windows of a token file: the loader of many a trainer.

Run as ``python tokens_memmap.py DIRECTORY``, which holds ``tokens.bin`` (uint16).
"""

import sys
from pathlib import Path

import numpy as np

VOCABULARY, BLOCK, BATCH, STEPS = 256, 1024, 64, 150


def batch(tokens, rng):
    starts = rng.integers(len(tokens) - BLOCK, size=BATCH)
    return np.stack([tokens[start : start + BLOCK + 1] for start in starts])


def main(directory):
    tokens = np.memmap(directory / "tokens.bin", "<u2", mode="r")
    rng = np.random.default_rng(0)
    counts = np.ones((VOCABULARY, VOCABULARY))
    for _ in range(STEPS):
        windows = batch(tokens, rng)
        np.add.at(counts, (windows[:, :-1], windows[:, 1:]), 1)
    chance = counts / counts.sum(axis=1, keepdims=True)
    windows = batch(tokens, rng)
    loss = -np.log(chance[windows[:, :-1], windows[:, 1:]]).mean()
    print(f"loss {loss:.6f} nats a token")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
