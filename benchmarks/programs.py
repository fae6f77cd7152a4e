"""Real programs, with `yammap.compat` in the place of `mmap`: those that are installed.

They are the extra `ecosystem`. SpikeInterface cannot be installed beside it, as it wants
zarr 2; what its `BinaryRecordingSegment.get_traces` does with `mmap` is written out.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from yammap import compat

from ._lab import MIB, Lab
from ._race import Contender, Race

TABLE = "Programs that use mmap"
NODES = (1 << 16) - 1  # of a complete tree of networks a.b.0.0/16

Job = Callable[[Sequence[Any]], object]


@contextmanager
def standing_in(package: str, module: ModuleType) -> Iterator[None]:
    """Have a module in the place of `mmap`, wherever a package's modules have that."""
    with ExitStack() as stack:
        for name, loaded in list(sys.modules.items()):
            found = getattr(loaded, "mmap", None)
            if name.partition(".")[0] == package and found in (mmap, mmap.mmap):
                given = module if found is mmap else module.mmap
                stack.enter_context(mock.patch.object(loaded, "mmap", given))
        yield


# -- What each does: open its files with a module for `mmap`, and return the job


def encoded(value: Any) -> bytes:
    """Return a value as MaxMind's format has it, if that is short."""
    if isinstance(value, dict):
        parts = (encoded(part) for pair in value.items() for part in pair)
        return bytes([7 << 5 | len(value)]) + b"".join(parts)
    if isinstance(value, str):
        return bytes([2 << 5 | len(value)]) + value.encode()
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(encoded, value))
    return bytes([6 << 5 | 4]) + int(value).to_bytes(4, "big")


def addresses(path: Path) -> None:
    """Write a database with a record for each network a.b.0.0/16."""
    record = encoded({"country": {"iso_code": "NZ", "geoname_id": 2186224}})
    tree = np.arange(1, 2 * NODES + 1, dtype=">u4")  # the children of each node
    leaves = np.arange(NODES + 1) * len(record)
    tree[NODES - 1 :] = NODES + 16 + leaves
    about = {
        "node_count": NODES,
        "record_size": 32,
        "ip_version": 4,
        "database_type": "Test",
        "languages": ["en"],
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "description": {"en": "Test"},
    }
    data = bytes(16) + record * (NODES + 1)
    path.write_bytes(tree.tobytes() + data + b"\xab\xcd\xefMaxMind.com" + encoded(about))


def maxminddb(lab: Lab, stack: ExitStack, module: ModuleType) -> Job:
    """Look addresses up, by the reader in Python."""
    reader = import_module("maxminddb.reader")
    path = lab.directory / "addresses.mmdb"
    addresses(path)
    with standing_in("maxminddb", module):
        database = stack.enter_context(reader.Reader(path, reader.MODE_MMAP))

    def job(work: Sequence[int]) -> None:
        for i in work:
            database.get(f"{i % 224}.{i % 199}.0.1")

    return job


def whoosh(lab: Lab, stack: ExitStack, module: ModuleType) -> Job:
    """Search an index of the standard library for words."""
    fields, index, query = (
        import_module(f"whoosh.{name}") for name in ("fields", "index", "query")
    )
    folder = lab.directory / f"index-{module.__name__}"
    folder.mkdir()
    schema = fields.Schema(number=fields.STORED, text=fields.TEXT)
    writer = index.create_in(folder, schema).writer()
    for i, text in enumerate(lab.texts[:200]):
        writer.add_document(number=i, text=text[:5000].decode("latin-1"))
    writer.commit()
    with standing_in("whoosh", module):
        searcher = stack.enter_context(index.open_dir(folder).searcher())
    words = [query.Term("text", word) for word in ("import", "class", "return", "none")]

    def job(work: Sequence[int]) -> None:
        for i in work:
            for hit in searcher.search(words[i % len(words)], limit=10):
                hit["number"]

    return job


def prometheus_client(lab: Lab, _: ExitStack, module: ModuleType) -> Job:
    """Count, in a file that other processes read."""
    values = import_module("prometheus_client.values")
    folder = lab.directory / f"counters-{module.__name__}"
    folder.mkdir()
    with (
        mock.patch.dict(os.environ, PROMETHEUS_MULTIPROC_DIR=str(folder)),
        standing_in("prometheus_client", module),
    ):
        kind = values.MultiProcessValue(lambda: 1)
        counters = [
            kind("counter", "hits", "hits_total", ("path",), (f"/{i}",), "")
            for i in range(100)
        ]

    def job(work: Sequence[int]) -> None:
        for i in work:
            counters[i % 100].inc(1)

    return job


def object_format() -> Any:
    """Return how dulwich names objects."""
    return import_module("dulwich.object_format").DEFAULT_OBJECT_FORMAT


def pack(lab: Lab, name: str) -> tuple[Path, list[Any]]:
    """Return the path of a pack of the standard library, and the names in it."""
    objects, packs = import_module("dulwich.objects"), import_module("dulwich.pack")
    path, texts = lab.directory / name, dict.fromkeys(lab.texts[:500])
    blobs = [objects.Blob.from_string(text) for text in texts]
    packs.write_pack(str(path), [(blob, None) for blob in blobs], object_format())
    return path, [blob.id for blob in blobs]


def dulwich(lab: Lab, stack: ExitStack, module: ModuleType) -> Job:
    """Take objects out of a pack."""
    packs = import_module("dulwich.pack")
    path, names = pack(lab, f"objects-{module.__name__}")
    with standing_in("dulwich", module):
        opened = packs.Pack(str(path), object_format=object_format())
        stack.callback(opened.close)
        opened.get_raw(names[0])  # it maps when it is first asked

    def job(work: Sequence[int]) -> None:
        for i in work:
            opened.get_raw(names[i % len(names)])

    return job


def smmap(lab: Lab, stack: ExitStack, module: ModuleType) -> Job:
    """Slide a window of 64 KiB over a pack of dulwich's."""
    package = import_module("smmap")
    path, _ = pack(lab, f"windows-{module.__name__}")
    path = path.with_name(f"{path.name}.pack")
    kib = path.stat().st_size >> 10
    manager = package.SlidingWindowMapManager(window_size=64 << 10)
    buffer = package.SlidingWindowMapBuffer(manager.make_cursor(str(path)))
    stack.enter_context(buffer)

    def job(work: Sequence[int]) -> None:
        with standing_in("smmap", module):  # it maps a window when it needs one
            for i in work:
                start = i * 37 % kib << 10
                buffer[start : start + 512]

    return job


def spikeinterface(lab: Lab, stack: ExitStack, module: ModuleType) -> Job:
    """Map chunks of 0.1 s of a recording of 64 channels, as SpikeInterface does."""
    path = lab.directory / "recording.bin"
    path.write_bytes(np.random.default_rng(0).bytes(64 * MIB))
    file = stack.enter_context(path.open("rb"))
    frame, frames = 64 * 2, 3000

    def traces(first: int) -> np.ndarray[Any, np.dtype[np.int16]]:
        offset, start = divmod(first * frame, mmap.ALLOCATIONGRANULARITY)
        offset *= mmap.ALLOCATIONGRANULARITY
        mapping = module.mmap(
            file.fileno(), frames * frame + start, access=mmap.ACCESS_READ, offset=offset
        )
        return np.ndarray((frames, 64), np.int16, mapping, start)

    def job(work: Sequence[int]) -> None:
        last = 64 * MIB // frame - frames
        for i in work:
            traces(i * 7919 % last).mean(axis=0)

    return job


# The package and its distribution, what it does in an operation, and how many a round has.
PROGRAMS = (
    ("maxminddb", "maxminddb", "look an address up", maxminddb, 1000),
    ("whoosh", "whoosh-reloaded", "search for a word", whoosh, 40),
    ("prometheus_client", "prometheus-client", "count", prometheus_client, 2000),
    ("dulwich", "dulwich", "take an object out of a pack", dulwich, 200),
    ("smmap", "smmap", "slice 512 B of a pack of dulwich's", smmap, 1000),
    ("numpy", "numpy", "map and average a chunk as SpikeInterface", spikeinterface, 40),
)


def races(lab: Lab) -> Iterator[Race]:
    """Yield a race for each program that is installed."""
    for package, distribution, operation, program, most in PROGRAMS:
        if not find_spec(package):
            continue
        with ExitStack() as stack:
            contenders = [
                Contender("yammap.compat", program(lab, stack, compat)),
                Contender("mmap", program(lab, stack, mmap), reach=0.97),
            ]
            title = f"{distribution} {version(distribution)}: {operation}"
            yield race(title, contenders, range(lab.scaled(most, 5)))


def race(title: str, contenders: Sequence[Contender], work: range) -> Race:
    """Return a row of the table."""
    return Race(title, contenders, lambda _: work, rounds=41, table=TABLE)
