"""How long a checkpoint takes to load, by the guide's ways and by safetensors itself.

``python tests/programs/checkpoints.py [DIRECTORY]`` writes a file of 512 MiB there and
prints a table: each tensor is loaded and summed up, the least of five turns.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable

import safetensors.torch
import torch
from documents import ROOT, examples

import yammap

TURNS = 5
Tensors = dict[str, torch.Tensor]

guide: dict[str, Callable[..., Tensors]] = {}
exec(examples(ROOT / "docs/howto/checkpoints.md")[0].source, guide)


def by_copy(path: str) -> Tensors:
    return guide["load_checkpoint"](path)


def in_place(path: str) -> Tensors:
    with yammap.open(path, "c") as m:
        start, header = guide["read_header"](m)
        data = torch.frombuffer(m, dtype=torch.uint8, offset=start)
        return guide["tensors_in"](data, header)


def by_pread(path: str) -> Tensors:
    return safetensors.torch.load_file(path, backend="pread")


WAYS = {
    "`load_checkpoint`": by_copy,
    '`load_file(path, backend="pread")`': by_pread,
    "in place": in_place,
    "`load_file(path)`": safetensors.torch.load_file,
}


def seconds(load: Callable[[str], Tensors], path: str, *, cold: bool) -> float:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        if cold:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.read(1 << 24):
                pass
    start = time.perf_counter()
    for tensor in load(path).values():
        tensor.sum().item()
    return time.perf_counter() - start


def main(directory: str) -> None:
    torch.set_num_threads(1)
    path = os.path.join(directory, "model.safetensors")
    layers = {f"layer.{i}": torch.ones(2048, 2048) for i in range(32)}
    safetensors.torch.save_file(layers, path)
    del layers
    print("| | in the page cache, ms | from the disk, ms |\n|---|---:|---:|")
    turns = [
        [
            [seconds(load, path, cold=cold) for cold in (False, True)]
            for load in WAYS.values()
        ]
        for _ in range(TURNS)
    ]
    for name, times in zip(WAYS, zip(*turns, strict=True), strict=True):
        warm, cold = (round(1000 * min(each)) for each in zip(*times, strict=True))
        print(f"| {name} | {warm} | {cold} |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as made:
        main(made)
