"""What an index of a `MappedArray` costs beside `np.memmap`, and other calls on arrays.

A contender is the statement its users write; the loop around it is in all times. `i:j` are
the rows of an operation, and what is called `result` must be the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import yammap

from ._lab import KIB, Lab, Store, positions
from ._loop import loop
from ._race import Contender, Race
from ._readers import listed

KIND = np.dtype("<f4")
WIDTH = KIB // KIND.itemsize  # elements of a row
SPAN = 1 << 10  # rows that are used: they stay in the processor's caches

# What it is, yammap's statement, that of the peer, and how many times as fast as it yammap
# is to be. `h` is a handle of elements, `a` their np.memmap, `h2` and `a2` are of rows.
INDEX = (
    ("a scalar", "result = h[i]", "result = a[i]", 1),
    ("a row", "result = h2[i]", "result = a2[i]", 1),
    ("an element of a row", "result = h2[i, 3]", "result = a2[i, 3]", 1),
    ("a slice of elements", "result = h[i:j]", "result = a[i:j]", 1),
    ("a slice of rows", "result = h2[i:j]", "result = a2[i:j]", 1),
    ("a column of a slice", "result = h2[i:j, 3]", "result = a2[i:j, 3]", None),
    ("a mask", "result = h2[mask]", "result = a2[mask]", 1),
    ("64 rows", "result = h2[r64]", "result = a2[r64]", 1),
)
TAKE = (
    ("64 rows taken", "result = h2.take(r64)", "result = np.take(a2, r64, 0)", 1),
    ("64 rows taken, fancy", "result = h2.take(r64)", "result = a2[r64]", 1),
    ("8 rows taken", "result = h2.take(r8)", "result = np.take(a2, r8, 0)", 1),
    ("8 rows taken, fancy", "result = h2.take(r8)", "result = a2[r8]", 1),
)
MADE = (
    (
        "an array of the mapping",
        "result = m.array(kind, 16, 4 * i)",
        "result = np.frombuffer(mm, kind, 16, 4 * i)",
        1 / 1.2,
    ),
    ("a view of the mapping", "result = m.view(i, 64)", "result = bytes_[i : i + 64]", 1),
)
OPENED = (
    (
        "a .npy file mapped",
        "result = yammap.open_array(npy)",
        "result = np.load(npy, mmap_mode='r')",
        1,
    ),
)
ASSIGNED = (
    ("a scalar assigned", "h[i] = 7", "a[i] = 7", 1 / 1.2),
    ("a row assigned", "h2[i] = row", "a2[i] = row", 1),
)


# How many operations a round has, of which.
WORKS = (1000, INDEX), (500, TAKE), (1000, MADE), (50, OPENED), (1000, ASSIGNED)


def names_of(store: Store, lab: Lab) -> dict[str, Any]:
    """Return what the statements speak of."""
    shape = store.size // KIB, WIDTH
    rows = np.random.default_rng(0).integers(0, SPAN, 64)
    mask = np.zeros(shape[0], bool)
    mask[rows] = True
    npy = lab.directory / "handles.npy"
    np.save(npy, np.zeros(shape, KIND))
    return {
        "h": yammap.MappedArray(store.path, KIND, mode="r+"),
        "h2": yammap.MappedArray(store.path, KIND, shape, mode="r+"),
        "a": np.memmap(store.path, KIND, "r+"),
        "a2": np.memmap(store.path, KIND, "r+", shape=shape),
        "m": store.m,
        "mm": store.mm,
        "bytes_": store.memmap,
        "r64": rows,
        "r8": rows[:8].copy(),
        "mask": mask,
        "row": np.zeros(WIDTH, KIND),
        "kind": KIND,
        "npy": npy,
        "np": np,
        "yammap": yammap,
    }


def operations(_: int, count: int) -> NDArray[np.int64]:
    """Return the rows of each operation: where they begin and end."""
    starts = positions(0, count, SPAN, 8)
    return np.stack([starts, starts + 8], axis=1)


def races(lab: Lab) -> Iterator[Race]:
    """Yield a race for each index; those that write over the file come last."""
    names = names_of(lab.hot, lab)
    for number, ways in WORKS:
        count = lab.scaled(number, 10)
        for title, ours, theirs, reach in ways:
            contenders = [
                Contender(f"yammap: {ours}", loop(ours, names, "i, j"), listed),
                Contender(
                    f"NumPy: {theirs}", loop(theirs, names, "i, j"), listed, reach=reach
                ),
            ]
            yield Race(title, contenders, partial(operations, count=count), rounds=51)
