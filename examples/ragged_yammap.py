"""Go through documents of different lengths in random order, each batch in one call.

Run as ``python ragged_yammap.py DIRECTORY``, which holds ``documents.bin``, the bytes of
all documents, and ``documents.idx``, where each starts and the last one ends (int64).
"""

import sys
import zlib
from pathlib import Path

import numpy as np

import yammap

BATCH, DOCUMENTS = 256, 15_000


def padded(values, bounds):
    lengths = np.diff(bounds)
    rows = np.zeros((len(lengths), lengths.max()), np.uint8)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = values
    return rows


def main(directory):
    digest = 0
    with (
        yammap.open(directory / "documents.bin") as documents,
        yammap.open(directory / "documents.idx", populate=True) as m,
    ):
        index = m.array("<i8")
        order = np.random.default_rng(0).permutation(len(index) - 1)[:DOCUMENTS]
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            starts = index[chosen]
            rows = padded(*documents.gather_ragged(starts, index[chosen + 1] - starts))
            digest = zlib.crc32(rows, digest)
    print(f"{len(order)} documents, digest {digest:08x}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
