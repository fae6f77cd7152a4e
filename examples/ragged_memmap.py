"""Go through documents of different lengths in random order, in padded batches.

Run as ``python ragged_memmap.py DIRECTORY``, which holds ``documents.bin``, the bytes of
all documents, and ``documents.idx``, where each starts and the last one ends (int64).
"""

import sys
import zlib
from pathlib import Path

import numpy as np

BATCH, DOCUMENTS = 256, 15_000


def padded(documents):
    rows = np.zeros((len(documents), max(map(len, documents))), np.uint8)
    for row, document in zip(rows, documents, strict=True):
        row[: len(document)] = document
    return rows


def main(directory):
    values = np.memmap(directory / "documents.bin", np.uint8, mode="r")
    index = np.memmap(directory / "documents.idx", "<i8", mode="r")
    order = np.random.default_rng(0).permutation(len(index) - 1)[:DOCUMENTS]
    digest = 0
    for first in range(0, len(order), BATCH):
        chosen = order[first : first + BATCH]
        rows = padded([values[index[i] : index[i + 1]] for i in chosen])
        digest = zlib.crc32(rows, digest)
    print(f"{len(order)} documents, digest {digest:08x}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
