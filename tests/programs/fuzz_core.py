"""Fuzz the core, guided by coverage.

    python tests/programs/fuzz_core.py [libFuzzer options]

Bytes are taken as a sequence of operations on a mapping of a memfd, which must do what
they do to a bytearray. An exception ends the run, as a crash does. Needs atheris. The C
code takes part when it is built so::

    CC=clang CFLAGS=-fsanitize=address,fuzzer-no-link pip install . \\
        -Csetup-args=-Db_lundef=false

and the program started with ``LD_PRELOAD`` naming the ``asan_with_fuzzer.so`` of atheris
and ``ASAN_OPTIONS=handle_sigbus=0:detect_leaks=0``.
"""

import mmap
import os
import sys

import atheris

with atheris.instrument_imports(include=["yammap"]):
    import yammap

PAGE = mmap.PAGESIZE
MOST = 5 * PAGE
DEFAULTS = ["-handle_bus=0", "-max_len=400", "-timeout=20"]


def page_end(size):
    return (size + PAGE - 1) // PAGE * PAGE


class Machine:
    """A mapping, and a bytearray that has what the file must have."""

    def __init__(self, choices):
        self.choices = choices
        self.file = bytearray(choices.ConsumeBytes(40))
        self.views = []
        fd = os.memfd_create("fuzz")
        os.pwrite(fd, self.file, 0)
        self.open(fd)

    def open(self, fd):
        reserve = self.pick([None, 0, 2 * PAGE])
        blocks = self.choices.ConsumeBool()
        self.m = yammap.Mmap(
            fd, "fuzz", reserve=reserve, preallocate=blocks, on_fault="poison"
        )

    def pick(self, things):
        return things[self.choices.ConsumeIntInRange(0, len(things) - 1)]

    def number(self, most=MOST):
        near = self.pick([0, PAGE, len(self.file), None])
        if near is None:
            return self.choices.ConsumeIntInRange(0, most)
        return min(most, max(0, near + self.choices.ConsumeIntInRange(-3, 3)))

    def bytes(self):
        return self.choices.ConsumeBytes(20) * self.pick([1, 1, 7, 300])

    def slice(self):
        ends = [None, self.number(), -self.number()]
        return slice(self.pick(ends), self.pick(ends), self.pick([None, 1, 3, -1, -PAGE]))

    def run(self):
        operations = [getattr(self, name) for name in dir(self) if name.startswith("do_")]
        while self.choices.remaining_bytes():
            self.pick(operations)()
            self.agree()
        self.views.clear()
        self.m.close()

    def agree(self):
        """What must hold after each operation."""
        assert self.m.size() == len(self.file)
        assert os.fstat(self.m.fileno()).st_size == len(self.file)
        assert self.m.pread(MOST * 2, 0) == self.file
        for offset, view in self.views:
            assert view == self.file[offset : offset + len(view)]

    def put(self, data, offset):
        if data:
            self.file.extend(bytes(max(0, offset - len(self.file))))
            self.file[offset : offset + len(data)] = data

    # -- Operations

    def do_read_at(self):
        offset, buffer = self.number(), bytearray(self.number())
        expected = self.file[offset : offset + len(buffer)]
        try:
            count = self.m.read_at(buffer, offset)
        except yammap.ShortRead as short:
            count = short.count
        assert count == len(expected)
        assert buffer[:count] == expected

    def do_write_at(self):
        data, offset = self.bytes(), self.number()
        assert self.m.write_at(data, offset) == len(data)
        self.put(data, offset)

    def do_write_a_view_of_itself(self):
        start, offset = self.number(len(self.file)), self.number(len(self.file))
        data = bytes(self.file[start : start + PAGE][: len(self.file) - offset])
        self.m.write_at(self.m.view(start, len(data)), offset)
        self.put(data, offset)

    def do_append(self):
        data = self.bytes()
        assert self.m.append(data) == len(self.file)
        self.file += data

    def do_find(self):
        needle, start = self.choices.ConsumeBytes(3), self.number()
        end = self.pick([None, self.number()])
        stop = len(self.file) if end is None else end
        assert self.m.find(needle, start, end) == self.file.find(needle, start, stop)
        assert self.m.rfind(needle, start, end) == self.file.rfind(needle, start, stop)

    def do_slice(self):
        key = self.slice()
        assert self.m[key] == self.file[key]

    def do_assign(self):
        key = self.slice()
        self.m[key] = self.file[key] = self.file[key][::-1]

    def do_move(self):
        dest, src = self.number(len(self.file)), self.number(len(self.file))
        count = min(self.number(), len(self.file) - max(dest, src))
        self.m.move(dest, src, count)
        self.put(bytes(self.file[src : src + count]), dest)

    def do_resize(self):
        size = self.number()
        try:
            self.m.resize(size)
        except BufferError:
            assert self.views
            assert size < len(self.file)
            return
        del self.file[size:]
        self.file.extend(bytes(size - len(self.file)))

    def do_punch_hole(self):
        offset = self.number(len(self.file))
        length = self.number(len(self.file) - offset)
        self.m.punch_hole(offset, length)
        self.file[offset : offset + length] = bytes(length)

    def do_nothing_to_the_bytes(self):
        offset = self.number(len(self.file))
        self.m.sync(offset)
        self.m.allocate(offset)
        self.m.madvise(self.pick([yammap.MADV_RANDOM, yammap.MADV_DONTNEED]), offset)
        assert len(self.m.resident()) == page_end(len(self.file)) // PAGE

    def do_view(self):
        offset = self.number(len(self.file))
        self.views.append((offset, self.m.view(offset)))

    def do_drop_views(self):
        self.views.clear()

    def do_lend(self):
        self.views.append((0, memoryview(self.m)))

    def do_reopen(self):
        fd = os.dup(self.m.fileno())
        self.m.close()
        for offset, view in self.views:
            assert view == self.file[offset : offset + len(view)]
        self.views.clear()
        self.open(fd)

    def do_cut(self):
        """Somebody else cuts the file, under copies and views."""
        size, before = self.number(len(self.file)), len(self.file)
        os.truncate(f"/proc/self/fd/{self.m.fileno()}", size)
        del self.file[size:]
        end = page_end(size)
        if end < before:
            self.fault_in_a_copy(size, self.number(before), before)
            self.fault_in_views(end)
        self.views.clear()
        assert self.m.refresh() == size

    def fault_in_a_copy(self, size, start, before):
        error = bus_error(self.m.pread, before - start, start)
        if start < before:
            assert (error.count, error.offset) == (max(0, size - start), max(size, start))

    def fault_in_views(self, end):
        cut = [v for offset, v in self.views if v.nbytes and offset + v.nbytes > end]
        assert all(view[-1] == 0 for view in cut)
        assert bool(self.m.faults()) == bool(cut)
        if cut:
            assert bus_error(self.m.size).offset >= end
        assert self.m.heal() == 0


def bus_error(call, *arguments):
    try:
        call(*arguments)
    except yammap.BusError as error:
        return error
    return None


def test_one_input(data):
    Machine(atheris.FuzzedDataProvider(data)).run()


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *DEFAULTS, *sys.argv[1:]], test_one_input)
    atheris.Fuzz()
