"""What the scenarios work on: real text, large files, and each contender's way in."""

from __future__ import annotations

import mmap
import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from gc import collect
from pathlib import Path
from time import sleep
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import yammap
from yammap._cli.demo import Vocabulary, sources

__all__ = ["KIB", "MIB", "TOKEN", "Lab", "Store", "blocks", "open_store", "positions"]

KIB, MIB = 1 << 10, 1 << 20
TOKEN = np.dtype("<u2")
POPULATE_READ = 22  # madvise(2), Linux 5.14; `mmap` does not name it


def positions(
    number: int, count: int, span: int, size: int, step: int = 1
) -> NDArray[np.int64]:
    """Return the offsets, multiples of `step`, of a round's random records in `span`."""
    generator = np.random.default_rng(number)
    return generator.integers(0, (span - size) // step + 1, count) * step


def blocks(offsets: NDArray[np.int64], sizes: NDArray[np.int64] | int) -> float:
    """Return the bytes of the file's blocks that a record touches, in the mean."""
    last = (offsets + sizes - 1) // mmap.PAGESIZE
    return float((last - offsets // mmap.PAGESIZE + 1).mean()) * mmap.PAGESIZE


@dataclass(frozen=True)
class Store:
    """One file, as each of the contenders has it open.

    `random` is an `mmap` with MADV_RANDOM, which who knows of it takes for random access.
    """

    path: Path
    size: int
    m: yammap.Mmap
    mm: mmap.mmap
    random: mmap.mmap
    memmap: Any
    fd: int

    def evict(self) -> None:
        """Have the whole file out of memory, and see that it is."""
        # Pages that any process maps stay in the page cache, whatever it is told,
        for mapping in self.mm, self.random, self.memmap._mmap:
            mapping.madvise(mmap.MADV_DONTNEED)
        # and so do those that are still being read ahead for the one before.
        for _ in range(500):
            left = self.m.evict() / self.size  # as mincore(2) says
            if left < 0.01:
                return
            sleep(0.01)
        raise RuntimeError(f"{self.path}: {left:.1%} of it cannot be evicted")

    def warm(self, span: int) -> None:
        """Have the first bytes in memory, as read in sequence, and mapped by everybody."""
        self.evict()
        self.m.populate(0, span)
        for mapping in self.mm, self.random, self.memmap._mmap:
            mapping.madvise(POPULATE_READ, 0, span)
        # Of what a device wrote, a virtual machine's own tables know only after a touch.
        self.memmap[: span : mmap.PAGESIZE].sum()


@contextmanager
def open_store(path: Path, *, writable: bool = False) -> Iterator[Store]:
    """Open a file in every way there is."""
    mode: Literal["r", "r+"] = "r+" if writable else "r"
    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    with ExitStack() as stack:
        fd = stack.enter_context(open(path, f"{mode}b", buffering=0)).fileno()
        random = stack.enter_context(mmap.mmap(fd, 0, access=access))
        random.madvise(mmap.MADV_RANDOM)
        yield Store(
            path=path,
            size=path.stat().st_size,
            m=stack.enter_context(yammap.open(path, mode)),
            mm=stack.enter_context(mmap.mmap(fd, 0, access=access)),
            random=random,
            memmap=np.memmap(path, np.uint8, mode),
            fd=fd,
        )


class Lab:
    """A directory, and sizes: those of the report times `scale`."""

    def __init__(self, directory: Path, scale: float) -> None:
        self.directory = directory
        self.scale = scale
        self._stack = ExitStack()
        self._open = self._stack.enter_context(ExitStack())

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        collect()  # cycles of a race may still hold views, which keep an `mmap` open
        self._stack.close()

    def scaled(self, count: int, least: int = 1) -> int:
        """Return a count of the report in the scale of this run."""
        return max(least, int(count * self.scale))

    def sized(self, mebibytes: int) -> int:
        """Return a size of the report in the scale of this run, in bytes: whole MiB."""
        return self.scaled(mebibytes) * MIB

    @cached_property
    def texts(self) -> list[bytes]:
        """The source files of the standard library."""
        texts = sources(Path(sysconfig.get_path("stdlib")))
        return texts[: self.scaled(len(texts), 30)]

    @cached_property
    def tokens(self) -> NDArray[np.uint16]:
        """The tokens of that text."""
        vocabulary = Vocabulary(self.texts)
        return np.concatenate([vocabulary.encode(text) for text in self.texts])

    @cached_property
    def big(self) -> Store:
        """The large file, opened."""
        return self._open.enter_context(open_store(self._tokens_file))

    def open_anew(self) -> None:
        """Have the large file opened again: a file keeps the readahead of its opening."""
        if "big" in self.__dict__:
            self.big.evict()  # what an array still maps would stay in memory
            collect()
            self._open.close()
            del self.big

    @cached_property
    def _tokens_file(self) -> Path:
        """8 GiB of tokens: those of the standard library over and over again."""
        size = max(self.sized(8 * KIB), 16 * MIB)
        free = shutil.disk_usage(self.directory).free
        if free < size + size // 4:
            raise OSError(f"{self.directory}: {size} bytes are needed, {free} are free")
        path = self.directory / "big.bin"
        self._write(path, self.tokens.tobytes(), size)
        return path

    @cached_property
    def hot(self) -> Store:
        """256 MiB of random bytes, to be read and overwritten in memory."""
        path = self.directory / "hot.bin"
        size = self.sized(256)
        self._write(path, np.random.default_rng(0).bytes(size), size)
        store = self._stack.enter_context(open_store(path, writable=True))
        store.warm(size)
        return store

    def new(self) -> Path:
        """Return the path of a file that is not there."""
        path = self.directory / "new.bin"
        path.unlink(missing_ok=True)
        return path

    def _write(self, path: Path, data: bytes, size: int) -> None:
        # On the disk before anything is timed, so that no writeback comes in between.
        with open(path, "wb", buffering=0) as file:
            while file.tell() < size:
                file.write(data[: size - file.tell()])
            os.fsync(file.fileno())
