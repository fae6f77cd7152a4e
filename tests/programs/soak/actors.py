"""Those who use the files: each is one thread, and does step after step.

They do what a program does that shares mapped files with others who cut them: copy and
expect a `BusError`, touch views under `Mmap.guard`, `heal`, and open anew.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import sys
import threading
import time
import traceback
import zlib
from collections import Counter
from mmap import PAGESIZE
from typing import TYPE_CHECKING

import numpy as np
from ledger import File, Look, Writing

import yammap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stage import Stage

BLOCK = 128  # records that one writer has in each file
WRITERS = 3  # of a process: by copy, by view, and the forked child
ADVICE = (yammap.MADV_RANDOM, yammap.MADV_COLD, yammap.MADV_WILLNEED)
REFUSED = (OSError, ValueError)  # of a range that was cut, or by the kernel
ENTRY = struct.Struct("<16sIIII")  # in a log: mark, length, owner, number, checksum
MARK = b"one entry begins"


class Actor:
    """A thread with its own random numbers and counts."""

    def __init__(self, stage: Stage, slot: int = 0) -> None:
        self.stage, self.world, self.ledger = stage, stage.world, stage.ledger
        self.kind = type(self).__name__
        self.slot = (stage.process * WRITERS + slot) * BLOCK  # first record of its own
        seed = f"{self.world.seed}/{stage.process}/{stage.round}/{self.kind}/{slot}"
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.finished = False

    def step(self) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        """Let go of everything at the end of a round."""

    def run(self, going: Callable[[], bool]) -> None:
        """Do steps until it is over, whatever is raised, and however late."""
        while going():
            self.survive(self.steps, going)
        self.survive(self.leave)
        self.finished = True

    def survive(self, act: Callable[..., None], *arguments: object) -> None:
        """A view's `BusError` may arrive at any bytecode, even where another is handled."""
        try:
            try:
                act(*arguments)
            except yammap.BusError:
                self.counts["raised late"] += 1
            except Exception:
                self.mismatch(traceback.format_exc())
        except yammap.BusError:
            self.counts["raised late"] += 1

    def steps(self, going: Callable[[], bool]) -> None:
        while going():
            self.step()
            self.counts["operations"] += 1

    def mismatch(self, text: str) -> None:
        self.counts["mismatches"] += 1
        print(f"{self.kind}, round {self.stage.round}: {text}", file=sys.stderr, flush=True)

    def complain(self, look: Look, data: bytes) -> None:
        """Count what the ledger says against `data`, and print the first."""
        complaints = list(look.judge(data))
        if complaints:
            self.mismatch(f"{complaints[0]} ({len(complaints)} such)")

    def expect(self, truth: object, text: str) -> None:
        if not truth:
            self.mismatch(text)

    def options(self) -> dict[str, object]:
        """Return options for opening a mapping that must not change what it holds."""
        return {
            "reserve": self.random.choice([None, 0, 1 << 16, 1 << 24]),
            "preallocate": self.random.random() < 0.7,
            "on_fault": self.random.choice(["raise", "poison"]),
        }

    def heal(self, m: yammap.Mmap) -> None:
        """Give up what was stored into pages that no file is behind."""
        self.counts["view faults"] += sum(fault.length > 0 for fault in m.faults())
        m.heal(discard=True)

    def shared(self) -> tuple[File, yammap.Mmap]:
        """Return a file, and the mapping of it that all threads of the process use."""
        file = self.random.choice(self.world.files)
        return file, self.stage.mapping(file, self)

    @contextlib.contextmanager
    def poisoned(self, m: yammap.Mmap) -> Iterator[None]:
        """What one thread's view did to a mapping, or its being closed, all learn."""
        try:
            yield
        except (OSError, ValueError) as error:
            if m.faults() and not m.closed:
                self.stage.heal(m, self)
            elif not m.closed and "in a view" not in str(error):
                raise


class Reader(Actor):
    """Reads by copying, from mappings that others cut, grow and close."""

    def step(self) -> None:
        file, m = self.shared()
        count = self.random.choice([1, 1, 1, 3, 200])
        index = self.random.randrange(self.world.records - count + 1)
        with self.poisoned(m):
            self.read(file, m, index, count)

    def read(self, file: File, m: yammap.Mmap, index: int, count: int) -> None:
        look = self.ledger.look(file, index, count)
        end = (index + count) * file.stride
        for _ in range(100):
            if m.size() < end:
                m.refresh()
            data = self.copy(m, index * file.stride, count * file.stride)
            if m.size() >= end or os.stat(file.path).st_size < end:
                break  # else a refresh of another thread, begun before, has ended since
        self.complain(look, data)

    def copy(self, m: yammap.Mmap, offset: int, length: int) -> bytes:
        """Return the bytes up to the first that cannot be read."""
        buffer = bytearray(length)
        try:
            return buffer[: m.read_at(buffer, offset)]
        except yammap.ShortRead as short:
            return buffer[: short.count]
        except yammap.BusError as error:
            if "in a view" in str(error):  # another thread's, which may be healed by now
                raise
            self.counts["copy faults"] += 1
            return buffer[: error.count]


class Gatherer(Reader):
    """Reads in batches, and piece by piece where one of them is not to be had."""

    def copy(self, m: yammap.Mmap, offset: int, length: int) -> bytes:
        piece = self.random.choice([n for n in (16, 64, length) if length % n == 0])
        offsets = np.arange(offset, offset + length, piece)
        order = np.random.default_rng(self.random.getrandbits(32)).permutation(len(offsets))
        pieces = np.empty((len(offsets), piece), np.uint8)
        try:
            pieces[order] = m.gather(
                offsets[order], piece, threads=self.random.choice([1, 2])
            )
        except ValueError:  # the file ends before
            return super().copy(m, offset, length)
        except yammap.BusError as error:
            if "in a view" in str(error):  # another thread's, which may be healed by now
                raise
            return super().copy(m, offset, length)
        return pieces.tobytes()


class Writer(Reader):
    """Writes by copying, growing the file where it must, and reads its own again."""

    def step(self) -> None:
        file, m = self.shared()
        count = self.random.choice([1, 1, 2, BLOCK])
        index = self.slot + self.random.randrange(BLOCK - count + 1)
        with self.poisoned(m):
            self.write(file, m, index, count)
            self.read(file, m, index, count)

    def write(self, file: File, m: yammap.Mmap, index: int, count: int) -> None:
        writing = self.ledger.write(file, index, count)
        if not file.tells((index + count) * file.stride):
            m.refresh()
        known = m.size() == os.stat(file.path).st_size
        try:
            m.write_at(writing.data, index * file.stride)
        except yammap.BusError as error:
            if "in a view" in str(error):  # another thread's, which may be healed by now
                raise
            self.counts["copy faults"] += 1
            if count == 1 and error.count == 0:
                writing.undo()
            m.refresh()
        except OSError as error:
            self.counts[f"no room: {error.errno}"] += 1
            if count == 1 and known and m.size() == os.stat(file.path).st_size:
                writing.undo()  # else it may have overwritten what others appended
        else:
            writing.done()


class Viewer(Actor):
    """Reads through arrays long after the file was cut, and mends the mapping then."""

    view: tuple[File, yammap.Mmap, np.ndarray] | None = None
    shares = False

    def leave(self) -> None:
        self.view = None

    def open(self) -> tuple[File, yammap.Mmap, np.ndarray]:
        """Make an array of a mapping, of its own or of the one that all share."""
        self.shares = self.random.random() < 0.3
        if self.shares:
            file, m = self.shared()
        else:
            file = self.random.choice(self.world.files)
            m = yammap.open(file.path, "r", **self.options())
        return file, m, m.array()

    def step(self) -> None:
        if self.view is None or self.view[1].closed or self.random.random() < 0.02:
            self.view = None
            try:
                self.view = self.open()
            except ValueError:
                return  # another thread has closed the shared one
        file, m, array = self.view
        with self.poisoned(m):
            if count := len(array) // file.stride:
                self.read(file, m, array, self.random.randrange(count))
            else:
                self.leave()

    def read(self, file: File, m: yammap.Mmap, array: np.ndarray, index: int) -> None:
        """Read a record, and believe it only if nothing of the mapping was replaced."""
        look, healed = self.ledger.look(file, index, 1), self.stage.healed
        try:
            with m.guard():
                data = array[file.range(index)].tobytes()
        except yammap.BusError:
            self.fault(file, m, look)
            return
        if healed == self.stage.healed and not m.closed:
            self.complain(look, data)

    def fault(self, file: File, m: yammap.Mmap, look: Look) -> None:
        if not m.faults():
            self.counts["raised late"] += 1
            return
        self.counts["views that faulted"] += 1
        if not self.shares:  # or it was another thread
            self.complain(look, b"")
        self.stage.heal(m, self)


class Streamer(Viewer):
    """Reads the chunks of a stream, some kept while others come and go."""

    def read(self, file: File, m: yammap.Mmap, array: np.ndarray, index: int) -> None:
        look, healed = self.ledger.look(file, index, 1), self.stage.healed
        where = file.range(index)
        chunk = self.random.choice([16, 64, file.stride])
        prefetch = self.random.choice([0, 1 << 16])
        try:
            with m.guard():
                length = where.stop - where.start
                views = m.stream(
                    chunk, offset=where.start, length=length, prefetch=prefetch
                )
                data = b"".join(list(views))
        except yammap.BusError:
            self.fault(file, m, look)
            return
        except ValueError:
            alive, _ = look.sure()
            # Else the mapping has seen a cut, after which the file may have grown again.
            if alive.all() and m.size() >= where.stop:
                raise
            return
        if healed == self.stage.healed and not m.closed:
            self.complain(look, data)


class Orphan(Actor):
    """Reads through arrays whose mapping is closed: what is raised is all it learns."""

    view: tuple[File, np.ndarray] | None = None

    def leave(self) -> None:
        self.view = None

    def step(self) -> None:
        if self.view is None or self.random.random() < 0.02:
            file = self.random.choice(self.world.files)
            self.view = file, yammap.open_array(file.path)
        file, array = self.view
        if count := len(array) // file.stride:
            self.read(file, array, self.random.randrange(count))
        else:
            self.leave()

    def read(self, file: File, array: np.ndarray, index: int) -> None:
        look = self.ledger.look(file, index, 1)
        try:
            data = array[file.range(index)].tobytes()
        except yammap.BusError:
            self.counts["views that faulted"] += 1
            self.complain(look, b"")
            self.leave()
        else:
            self.complain(look, data)


class ViewWriter(Viewer):
    """Writes through arrays; a record counts once the mapping says that nothing faulted."""

    def open(self) -> tuple[File, yammap.Mmap, np.ndarray]:
        file = self.random.choice(self.world.files)
        m = yammap.open(file.path, "r+", **self.options())
        return file, m, m.array()

    def read(self, file: File, m: yammap.Mmap, array: np.ndarray, index: int) -> None:
        """Write a record of its own instead."""
        index = self.slot + index % BLOCK
        if (index + 1) * file.stride > len(array):
            self.grow(file, m, index)
            return
        writing = self.ledger.write(file, index, 1)
        if not file.tells((index + 1) * file.stride):
            return
        try:
            with m.guard():
                array[file.range(index)] = np.frombuffer(writing.data, np.uint8)
        except yammap.BusError:
            if m.faults():
                self.counts["views that faulted"] += 1
                self.keep(m, writing)
        else:
            writing.done()

    def grow(self, file: File, m: yammap.Mmap, index: int) -> None:
        """Grow the file under the array, and look at all of it."""
        try:
            m.resize(max(m.refresh(), (index + 1) * file.stride))
        except OSError as error:
            if m.faults():
                raise
            self.counts[f"no room: {error.errno}"] += 1
        self.view = file, m, m.array()

    def keep(self, m: yammap.Mmap, writing: Writing) -> None:
        """Bring what was stored into replaced pages to the file, if that can be done."""
        try:
            m.heal()
        except OSError:
            self.expect(m.faults(), "healing failed and forgot what it was to do")
            self.heal(m)
            return
        self.counts["healed"] += 1
        writing.done()


class Sizer(Actor):
    """Cuts and grows the files: from outside, and by the mapping's own methods."""

    def step(self) -> None:
        mine = self.world.files[self.stage.process :: self.world.processes]
        if not mine:
            return
        file = self.random.choice(mine)
        index = self.random.randrange(self.world.records)
        act = self.random.choice([self.cut, self.resize, self.punch, self.lengthen])
        with yammap.open(file.path, "r+", **self.options()) as m:
            act(file, m, index)
        time.sleep(self.random.random() / 20)  # leave the others something to read

    def cut(self, file: File, m: yammap.Mmap, index: int) -> None:
        with self.ledger.cut(file, index):
            os.truncate(file.path, index * file.stride)
        self.counts["cuts"] += 1

    def resize(self, file: File, m: yammap.Mmap, index: int) -> None:
        if index * file.stride < m.size():
            with self.ledger.cut(file, index):
                m.resize(index * file.stride)
            self.counts["cuts"] += 1

    def punch(self, file: File, m: yammap.Mmap, index: int) -> None:
        count = min(self.random.randrange(1, 20), m.size() // file.stride - index)
        if count > 0:
            with self.ledger.cut(file, index, index + count):
                m.punch_hole(index * file.stride, count * file.stride)
            self.counts["holes"] += 1

    def lengthen(self, file: File, m: yammap.Mmap, index: int) -> None:
        """Growing cuts nothing, although others may have made the file longer by now."""
        before = m.size()
        try:
            m.resize(max(before, index * file.stride))
        except OSError as error:
            self.counts[f"no room: {error.errno}"] += 1
            self.expect(m.size() == before, "a growth that failed changed the size")
        self.counts["growths"] += 1


class Adviser(Actor):
    """Does to the shared mappings what changes no byte, and closes them now and then."""

    def step(self) -> None:
        file, m = self.shared()
        act = self.random.choice([self.sync, self.advise, self.lock, self.look_up])
        with self.poisoned(m):
            try:
                act(m, self.random.randrange(1 << 20))
            except REFUSED as error:
                if m.faults():
                    raise
                self.counts[f"refused: {type(error).__name__}"] += 1
        if self.random.random() < 0.05:
            self.stage.close(file, self)
        time.sleep(0.001)

    def sync(self, m: yammap.Mmap, offset: int) -> None:
        m.sync(offset, wait=self.random.random() < 0.1)

    def advise(self, m: yammap.Mmap, offset: int) -> None:
        m.madvise(self.random.choice(ADVICE), offset)

    def lock(self, m: yammap.Mmap, offset: int) -> None:
        m.lock(offset, 1 << 14)
        m.unlock(offset, 1 << 14)

    def look_up(self, m: yammap.Mmap, offset: int) -> None:
        m.resident(offset)
        m.find(b"nowhere", offset, offset + (1 << 14))


class Appender(Actor):
    """Appends to a log that all processes share, and reads it all before the next."""

    m: yammap.Mmap | None = None

    def step(self) -> None:
        name = self.world.directory / f"log-{int(time.monotonic()) // 5}"
        if self.m is None or self.m.name != str(name):
            self.leave()
            self.m = yammap.open(str(name), "a+", **self.options())
            self.owner, self.written = self.random.randrange(1 << 32), []
        data = self.random.randbytes(self.random.choice([0, 10, 100, 5000, 70_000]))
        entry = (
            ENTRY.pack(MARK, len(data), self.owner, len(self.written), zlib.crc32(data))
            + data
        )
        self.written.append((self.m.append(entry), len(data)))
        start, length = self.random.choice(self.written)
        self.expect(
            self.m.pread(length + ENTRY.size, start)[20:28]
            == struct.pack("<II", self.owner, self.sequence(start)),
            f"an appended record is not at {start} of {self.m.name}",
        )

    def sequence(self, start: int) -> int:
        return next(i for i, (at, _) in enumerate(self.written) if at == start)

    def leave(self) -> None:
        if self.m is not None:
            with self.m as m:
                self.expect(self.count(m) == len(self.written), f"{m.name} lost records")
            with contextlib.suppress(FileNotFoundError):
                number = int(m.name.rpartition("-")[2])
                os.unlink(self.world.directory / f"log-{number - 2}")
        self.m = None

    def count(self, m: yammap.Mmap) -> int:
        """Return how many entries are ours, which must be whole and in order.

        Those of others may be torn: somebody is writing them, or was killed doing so.
        """
        data, ours = m.pread(m.refresh(), 0), 0
        start = data.find(MARK)
        while 0 <= start <= len(data) - ENTRY.size:
            _, length, owner, number, checksum = ENTRY.unpack_from(data, start)
            body = data[start + ENTRY.size : start + ENTRY.size + length]
            if owner == self.owner:
                whole = len(body) == length and zlib.crc32(body) == checksum
                self.expect(whole and number == ours, f"{m.name} is torn at {start}")
                ours += 1
            start = data.find(MARK, start + ENTRY.size)
        return ours


class Driller(Actor):
    """Cuts files of its own under its own views: here all that must happen is known."""

    def step(self) -> None:
        path = self.world.directory / f"drill-{os.getpid()}-{threading.get_ident()}"
        self.raises = self.random.random() < 0.5
        self.pages = self.random.randrange(2, 40)
        self.left = self.random.randrange(self.pages)
        on_fault = "raise" if self.raises else "poison"
        try:
            m = yammap.create(path, self.pages * PAGESIZE, on_fault=on_fault)
            array = m.array()
            array[:] = 7
            os.truncate(path, self.left * PAGESIZE)
            self.drill(m, array)
        finally:
            path.unlink()

    def drill(self, m: yammap.Mmap, array: np.ndarray) -> None:
        at = self.random.randrange(self.left * PAGESIZE, self.pages * PAGESIZE)
        storing = self.random.random() < 0.5
        raised = self.touch(array, at, storing)
        self.expect(raised == self.raises, f"it is {raised} that a fault was raised")
        self.expect(self.reports(m), "a method after a fault raised nothing")
        ranges = [range(f.offset, f.offset + f.length) for f in m.faults()]
        self.expect(any(at in r for r in ranges), f"{at} is not in {ranges}")
        self.finish(m, array, at, storing)

    def touch(self, array: np.ndarray, at: int, storing: bool) -> bool:
        """Touch a byte that is not there; return whether a BusError came by itself."""
        try:
            if storing:
                array[at] = 1
            else:
                self.expect(array[at] == 0, "what is not there is not zero")
            until = time.monotonic() + (5 if self.raises else 0)
            while time.monotonic() < until:
                pass
        except yammap.BusError:
            self.counts["raised in the thread"] += 1
            return True
        return False

    def reports(self, m: yammap.Mmap) -> bool:
        method = self.random.choice(
            [m.size, m.sync, m.tell, m.refresh, lambda: m.pread(1, 0)]
        )
        try:
            method()
        except yammap.BusError as error:
            return error.filename == m.name
        return False

    def finish(self, m: yammap.Mmap, array: np.ndarray, at: int, storing: bool) -> None:
        """Mend it in one of the ways, and see that it is mended."""
        if self.random.random() < 0.5:
            os.truncate(m.name, self.pages * PAGESIZE)
            self.expect(m.heal() == storing, "heal() wrote back something else")
            self.expect(m.pread(1, at) == bytes([storing]), "a healed byte is lost")
        else:
            m.heal(discard=True)
        self.expect(m.faults() == [], "healed, and there are faults")
        m.close()
        self.expect((array[: self.left * PAGESIZE] == 7).all(), "other pages changed")
