"""Scan a recording of many channels: offset, noise and largest deflection of each.

Run as ``python recording_memmap.py DIRECTORY``, which holds ``recording.bin``: samples of
64 channels, int16, one time after another.
"""

import sys
from pathlib import Path

import numpy as np

CHANNELS, CHUNK = 64, 1 << 15


def main(directory):
    recording = np.memmap(directory / "recording.bin", "<i2", mode="r").reshape(
        -1, CHANNELS
    )
    total, squares = np.zeros(CHANNELS), np.zeros(CHANNELS)
    peak = np.zeros(CHANNELS, np.int16)
    for first in range(0, len(recording), CHUNK):
        chunk = recording[first : first + CHUNK]
        samples = chunk.astype(np.float32)
        total += samples.sum(axis=0)
        squares += np.einsum("ij,ij->j", samples, samples)
        np.maximum(peak, chunk.max(axis=0), out=peak)
    mean = total / len(recording)
    noise = np.sqrt(squares / len(recording) - mean**2)
    print(f"offset {mean.mean():.4f}, noise {noise.mean():.3f}, peak {peak.max()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
