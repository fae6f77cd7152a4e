"""Ragged records in the stores that people keep them in: random batches of 256.

Each store has a process of its own: ``python -m yammap._bench.stores TASK``, as JSON. Those
whose package is not installed have no part in the races.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import yammap

from ._fresh import fresh
from ._lab import MIB, Lab
from ._meter import Meter
from ._race import Contender, Measured, Race
from ._readers import AS_GOOD, CACHING, with_words

RECORDS, BATCH, BATCHES = 200_000, 256, 32
LENGTHS = 100, 4001
WARMING = 4  # rounds that a process reads first where files are in memory

Indices = NDArray[np.int64]
Read = Callable[[Indices], Any]
Records = Iterable[memoryview]


class Kind(NamedTuple):
    """A store: the package that it needs, and how it is written and opened.

    One that knows of more than a batch gets all of them, and gives an iterator.
    """

    package: str
    write: Callable[[Path, Records, Indices], object]
    open: Callable[[Path], Read]
    all_at_once: bool = False


# -- yammap


def write_yammap(path: Path, records: Records, starts: Indices) -> None:
    """Write the bytes, and where each record begins."""
    with yammap.create(path / "values", int(starts[-1])) as m:
        for record in records:
            m.write(record)
    np.save(path / "starts.npy", starts)


def open_yammap(path: Path, **words: Any) -> Read:
    """Read a batch by one call, into memory that is used again."""
    m, starts = yammap.open(path / "values"), np.load(path / "starts.npy")
    lengths, buffer = np.diff(starts), np.ones(BATCH * LENGTHS[1], np.uint8)

    def read(indices: Indices) -> NDArray[np.uint8]:
        sizes = lengths[indices]
        out = buffer[: sizes.sum()]
        m.gather_ragged(starts[indices], sizes, out, **words)
        return out

    return read


def open_yammap_ahead(path: Path) -> Read:
    """Read the next batches while one is used, into memory that is used again."""
    m, starts = yammap.open(path / "values"), np.load(path / "starts.npy")
    lengths, out = np.diff(starts), list(np.ones((3, BATCH * LENGTHS[1]), np.uint8))

    def read(batches: Indices) -> Iterator[NDArray[np.uint8]]:
        for values, _ in m.batches_ragged(starts[batches], lengths[batches], out=out):
            yield values

    return read


# -- The others, each by the best that it has for many records


def write_array_record(path: Path, records: Records, _: Indices) -> None:
    """Write groups of one record, as its documents advise for random access."""
    array_record = import_module("array_record.python.array_record_module")

    writer = array_record.ArrayRecordWriter(str(path / "file"), "group_size:1")
    for record in records:
        writer.write(bytes(record))
    writer.close()


def open_array_record(path: Path) -> Read:
    """Read a batch by one call, which has threads of its own."""
    array_record = import_module("array_record.python.array_record_module")

    reader = array_record.ArrayRecordReader(
        str(path / "file"), options="readahead_buffer_size:0"
    )
    return lambda indices: reader.read(indices.tolist())


def write_lmdb(path: Path, records: Records, starts: Indices) -> None:
    """Write in the order of the keys."""
    lmdb = import_module("lmdb")

    room = 2 * int(starts[-1]) + 64 * MIB
    with (
        lmdb.open(str(path / "file"), map_size=room, subdir=False, lock=False) as store,
        store.begin(write=True) as transaction,
    ):
        for i, record in enumerate(records):
            transaction.put(i.to_bytes(4, "big"), record, append=True)


def open_lmdb(path: Path) -> Read:
    """Read a batch by one call, without readahead, as its documents advise."""
    lmdb = import_module("lmdb")

    store = lmdb.open(
        str(path / "file"), subdir=False, readonly=True, lock=False, readahead=False
    )

    def read(indices: Indices) -> list[bytes]:
        keys = [i.to_bytes(4, "big") for i in indices.tolist()]
        with store.begin() as transaction:
            found = dict(transaction.cursor().getmulti(keys))
        return [found[key] for key in keys]

    return read


def write_arrow(path: Path, records: Records, _: Indices) -> None:
    """Write one batch of one column, in the format for files."""
    pa = import_module("pyarrow")

    batch = pa.record_batch({"values": pa.array(list(records), pa.large_binary())})
    with pa.ipc.new_file(str(path / "file"), batch.schema) as writer:
        writer.write_batch(batch)


def open_arrow(path: Path) -> Read:
    """Take from the column, mapped."""
    pa = import_module("pyarrow")

    column = pa.ipc.open_file(pa.memory_map(str(path / "file"))).get_batch(0)["values"]

    def read(indices: Indices) -> NDArray[np.uint8]:
        taken = column.take(pa.array(indices))
        return np.frombuffer(taken.buffers()[2], np.uint8)

    return read


def write_mmap_ninja(path: Path, records: Records, _: Indices) -> None:
    """Write by its generator."""
    ragged = import_module("mmap_ninja.ragged")

    arrays = (np.frombuffer(record, np.uint8) for record in records)
    ragged.RaggedMmap.from_generator(str(path / "store"), arrays, batch_size=4096)


def open_mmap_ninja(path: Path) -> Read:
    """Take views of a batch, and copy them."""
    ragged = import_module("mmap_ninja.ragged")

    store = ragged.RaggedMmap(str(path / "store"))
    return lambda indices: np.concatenate(store[indices.tolist()])


def write_h5py(path: Path, records: Records, starts: Indices) -> None:
    """Write one dataset of all bytes: one of variable length is slower."""
    h5py = import_module("h5py")

    with h5py.File(path / "file", "w") as file:
        file["values"], file["starts"] = np.frombuffer(b"".join(records), np.uint8), starts


def open_h5py(path: Path) -> Read:
    """Read each record into its place."""
    h5py = import_module("h5py")

    file = h5py.File(path / "file", "r")
    values, starts = file["values"], file["starts"][:]

    def read(indices: Indices) -> NDArray[np.uint8]:
        first, last = starts[indices], starts[indices + 1]
        places = [0, *np.cumsum(last - first).tolist()]
        out = np.empty(places[-1], np.uint8)
        for begin, end, (i, j) in zip(
            first.tolist(), last.tolist(), pairwise(places), strict=True
        ):
            values.read_direct(out, np.s_[begin:end], np.s_[i:j])
        return out

    return read


def write_zarr(path: Path, records: Records, starts: Indices) -> None:
    """Write one array of all bytes, in chunks of 64 KiB that are not compressed."""
    zarr = import_module("zarr")

    values = np.frombuffer(b"".join(records), np.uint8)
    array = zarr.create_array(
        path / "store", shape=values.shape, dtype="u1", chunks=(1 << 16,), compressors=None
    )
    array[:] = values
    np.save(path / "starts.npy", starts)


def open_zarr(path: Path) -> Read:
    """Join slices."""
    zarr = import_module("zarr")

    array, starts = zarr.open_array(path / "store", mode="r"), np.load(path / "starts.npy")

    def read(indices: Indices) -> NDArray[Any]:
        parts = zip(starts[indices].tolist(), starts[indices + 1].tolist(), strict=True)
        return np.concatenate([array[begin:end] for begin, end in parts])

    return read


GATHER = "yammap: m.gather_ragged(offsets, lengths, out)"
KINDS = {
    **{
        with_words(GATHER, words): Kind(
            "yammap", write_yammap, partial(open_yammap, **words)
        )
        for words in CACHING
    },
    "yammap: m.batches_ragged(offsets, lengths, out=buffers)": Kind(
        "yammap", write_yammap, open_yammap_ahead, all_at_once=True
    ),
    "array_record: reader.read(indices)": Kind(
        "array_record", write_array_record, open_array_record
    ),
    "lmdb: cursor.getmulti(keys)": Kind("lmdb", write_lmdb, open_lmdb),
    "pyarrow IPC, mapped: column.take(indices)": Kind("pyarrow", write_arrow, open_arrow),
    "mmap_ninja: np.concatenate(store[indices])": Kind(
        "mmap_ninja", write_mmap_ninja, open_mmap_ninja
    ),
    "h5py: values.read_direct of each": Kind("h5py", write_h5py, open_h5py),
    "zarr: np.concatenate of slices": Kind("zarr", write_zarr, open_zarr),
}


# -- A process of its own


@dataclass(frozen=True)
class Task:
    """What a process is to do: read `batches` of a round, out of memory or in it."""

    kind: str
    folder: str
    records: int
    batches: int
    number: int
    warm: bool

    def path(self) -> Path:
        """Return the directory of the store."""
        return Path(self.folder, KINDS[self.kind].package)

    def indices(self, number: int) -> Indices:
        """Return the records of a round's batches, a row for each."""
        generator = np.random.default_rng(number)
        return generator.integers(0, self.records, (self.batches, BATCH))


def joined(found: Any) -> bytes:
    """Return the bytes of a batch, which is a list of them or an array of them all."""
    return b"".join(found) if isinstance(found, list) else bytes(memoryview(found))


def measure(task: Task) -> dict[str, Any]:
    """Do a task, and return what it took; opening is not a part of it."""
    kind = KINDS[task.kind]
    read = kind.open(task.path())

    def last(number: int) -> Any:
        found, batches = None, task.indices(number)
        for values in read(batches) if kind.all_at_once else map(read, batches):
            found = values
        return found

    for number in range(1, 1 + WARMING * task.warm):
        last(task.number + number)
    meter = Meter()
    found = last(task.number)
    spent = meter.spent()
    return {**spent, "result": zlib.crc32(joined(found))}


# -- The races


@dataclass(frozen=True)
class Round(Sequence[Task]):
    """The task of a round, that counts as many operations as it reads records."""

    task: Task

    def __len__(self) -> int:
        return self.task.batches * BATCH

    def __getitem__(self, index: Any) -> Any:
        return self if isinstance(index, slice) else self.task


def record_bytes(starts: Indices) -> Records:
    """Yield the records: pieces of random bytes."""
    pool = memoryview(np.random.default_rng(1).bytes(16 * MIB))
    for begin, end in pairwise(starts.tolist()):
        place = begin % (len(pool) - LENGTHS[1])
        yield pool[place : place + end - begin]


def installed() -> dict[str, Kind]:
    """Return all ways to read whose package is installed."""
    return {what: kind for what, kind in KINDS.items() if find_spec(kind.package)}


def write(folder: Path, count: int) -> None:
    """Write each store."""
    lengths = np.random.default_rng(0).integers(*LENGTHS, count)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for kind in {kind.package: kind for kind in installed().values()}.values():
        path = folder / kind.package
        path.mkdir()
        kind.write(path, record_bytes(starts), starts)


def files(folder: Path) -> list[Path]:
    """Return the files of all stores that have bytes."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]


def evict(folder: Path) -> None:
    """Have all stores on the disk, and out of memory."""
    for path in files(folder):
        with yammap.open(path) as m:
            m.evict()


def warm(folder: Path) -> None:
    """Have all stores in memory."""
    for path in files(folder):
        with yammap.open(path) as m:
            m.warm()


def contenders(reach: float) -> Iterator[Contender]:
    """Yield all ways, yammap's default first."""
    for what in installed():

        def job(task: Task, what: str = what) -> Measured:
            return fresh(__name__, json.dumps(asdict(replace(task, kind=what))))

        default = what == GATHER or KINDS[what].all_at_once
        own = None if default else AS_GOOD
        asked = own if what.startswith("yammap") else reach
        yield Contender(what, job, lambda work: work[0], reach=asked)


def work_of(task: Task, number: int) -> Round:
    """Return the work of a round."""
    return Round(replace(task, number=number))


def missing() -> str:
    """Name the packages that are not installed."""
    names = {KINDS[what].package for what in KINDS.keys() - installed()}
    return f" Not installed: {', '.join(sorted(names))}." if names else ""


def races(lab: Lab) -> Iterator[Race]:
    """Yield the race out of memory, and that in it."""
    folder, count = lab.directory / "stores", lab.scaled(RECORDS, 512)
    if not folder.exists():  # cold races come again at another readahead
        folder.mkdir()
        write(folder, count)
    task = Task(GATHER, str(folder), count, lab.scaled(BATCHES, 2), 0, False)
    for state, before, reach in ("cold", evict, 3.0), ("warm", warm, 2.0):
        yield Race(
            f"ragged records in stores, batches of {BATCH}, {state}",
            list(contenders(reach)),
            work=partial(work_of, replace(task, warm=state == "warm")),
            size=sum(LENGTHS) // 2,
            before=partial(before, folder),
            rounds=5,
            cold=state == "cold",
            note=f"{count:,} records of 100 - 4000 B, read by a new process for each "
            "contender and round, which has opened the store, and, where it is warm, read "
            f"{WARMING} rounds of other records." + missing(),
        )


if __name__ == "__main__":
    print(json.dumps(measure(Task(**json.loads(sys.argv[1])))))
