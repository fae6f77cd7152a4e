"""Many records in one call, without the GIL.

Records lie anywhere in the mapping and one after the other in the buffer. The functions at
the end take what callers pass into a `Batch`, in the order in which errors are to come. It
holds the mapping and the buffers while the loops of plan.pxi copy.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, \
    PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINVAL
from libc.stdint cimport INT64_MAX, int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.unistd cimport getpid

from .._core cimport PinnedMemory, fault_range, make_private, pin
from .._linux.calls cimport *

import os

import numpy as np

from .._errors import BusError
from .._linux.memory_room import room_for_files
from .ndarrays import as_integers, require_writeable
from .threads import copy_in_threads

__all__ = [
    "begin_block",
    "begin_gather",
    "begin_gather_files",
    "begin_gather_ragged",
    "begin_take",
    "can_bypass_cache",
    "choose",
    "gather",
    "gather_files",
    "gather_ragged",
    "new_choice",
    "scatter",
    "statistics",
    "take_rows",
]


include "cold_pages.pxi"
include "plan.pxi"
include "arguments.pxi"
include "pieces.pxi"
include "queue.pxi"
include "tracers.pxi"
include "choice.pxi"
include "file_to_read.pxi"
include "channels.pxi"
include "reading.pxi"


cdef type ndarray = np.ndarray
cdef object empty = np.empty
cdef object INT64 = np.dtype(np.int64)
cdef object BYTE = np.dtype(np.uint8)


@cython.final
@cython.freelist(8)
@cython.no_gc_clear     # __dealloc__ waits for requests, which write into the buffers
@cython.auto_pickle(False)
cdef class Batch:
    """Records that are to be copied between a mapping, or many, and a buffer.

    Its `Plan` is what the loops need, which hold no Python object.
    """
    cdef PinnedMemory pinned
    cdef Many many              # of them, `pinned` the first; None: there is one
    cdef Batch whole            # which holds the buffers that this is a part of
    cdef Py_buffer index, buffer, starts
    cdef Plan records
    cdef int64_t given_rows     # -1: an index is a position, as far as the mapping goes
    cdef int64_t first          # the number that errors call the first record by
    cdef bint is_checked, is_stopped
    cdef bint is_hot            # as of `renew`
    cdef int cached             # as the caller wants it; -1: whatever is cheaper
    cdef object result          # what the caller gets
    cdef Files files            # while it is read by a queue,
    cdef Queue queue
    cdef Reading reading

    def __dealloc__(self):
        if self.queue is not None:
            self.leave_queue()
        PyBuffer_Release(&self.index)
        PyBuffer_Release(&self.buffer)
        PyBuffer_Release(&self.starts)

    # -- What it is made of

    cdef int take_index(self, values, str what) except -1:
        self.records.count = hold_integers(values, what, &self.index)
        self.records.index = <const int64_t *> self.index.buf
        self.records.step = 1
        self.given_rows = -1
        return 0

    cdef int hold(self, mapping, bint writing) except -1:
        self.records.writing = writing
        self.pinned = pin(mapping, writing)
        self.pinned.renew()
        self.records.may_queue = not writing    # as far as is known without a look
        return 0

    cdef int require_length(self, int64_t longest, number) except -1:
        """Refuse a record that is too long before there is memory for it."""
        if longest > self.pinned.length:
            raise ValueError(f"a record of {number} bytes is larger than "
                             f"{self.pinned.mapping.name!r}, which has "
                             f"{self.pinned.length} bytes")
        return 0

    cdef object take_lengths(self, values, Lengths *found):
        """Return where each record begins in the buffer, and where the last one ends."""
        cdef Py_buffer lengths
        found.count = hold_integers(values, "lengths", &lengths)
        try:
            starts = empty(found.count + 1, INT64)
            PyObject_GetBuffer(starts, &self.starts, PyBUF_WRITABLE)
            self.records.starts = <const int64_t *> self.starts.buf
            add_up_quickly(<const int64_t *> lengths.buf, <int64_t *> self.starts.buf,
                           found)
        finally:
            PyBuffer_Release(&lengths)
        return starts

    cdef int require_lengths(self, Lengths *found) except -1:
        cdef int64_t count = self.records.count
        self.require_length(found.longest, found.longest)
        if found.count != count:
            raise ValueError(f"{count} offsets need {count} lengths, not {found.count}")
        if found.least < 0:
            raise ValueError(f"lengths must not be negative: {found.least}")
        if found.total > INT64_MAX // 2:
            raise ValueError("the records need more memory than there can be: copy fewer a "
                             "call")
        return 0

    cdef int take_array(self, array, int flags) except -1:
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDES | flags)
        self.records.buffer = <char *> self.buffer.buf
        self.records.ranges[1] = fault_range(self.buffer.buf, self.buffer.len)
        return 0

    cdef object take_new(self, shape):
        out = empty(shape, BYTE)
        self.take_array(out, PyBUF_WRITABLE)
        return out

    cdef int take_fitting(self, out) except -1:
        self.take_out(out)
        self.require_size()
        return self.require_flat(out)

    cdef int take_out(self, out) except -1:
        if not isinstance(out, ndarray):
            require_writeable(out)
        try:
            return self.take_array(out, PyBUF_WRITABLE)
        except ValueError:
            require_writeable(out)
            raise

    cdef int require_size(self) except -1:
        cdef Plan *r = &self.records
        if not fill(r, self.buffer.len):
            size = r.count * <object> r.length if r.starts == NULL else r.starts[r.count]
            raise ValueError(f"out must have {size} bytes, not {self.buffer.len}")
        return 0

    cdef int require_flat(self, array) except -1:
        dtype = array.dtype
        if (dtype is not BYTE and dtype.hasobject) \
                or not PyBuffer_IsContiguous(&self.buffer, b"C"):
            raise TypeError(f"the array must be C-contiguous and hold no Python objects, "
                            f"not have strides {array.strides} and dtype {dtype}")
        return 0

    # -- Copying

    cdef int run(self, threads) except -1:
        if threads == 1:
            return self.copy_all()
        copy_in_threads(self.parts(threads))
        return 0

    cdef list parts(self, threads):
        cdef int64_t count = self.records.count, i
        cdef int64_t parts = max(1, min(not_negative(threads, "threads"), count))
        return [self.part(i * count // parts, (i + 1) * count // parts)
                for i in range(parts)]

    cdef Batch part(self, int64_t first, int64_t end):
        cdef Batch part = Batch.__new__(Batch)
        cdef Plan *r = &part.records
        part.whole, part.records = self, self.records
        if self.many is None:
            part.hold(self.pinned.mapping, r.writing)
        else:
            part.many = self.many.of_part(r, first)
            part.pinned = part.many.pinned[0]
        r.count = end - first
        r.index += first
        if r.starts == NULL:
            r.buffer += first * r.length
        else:
            r.starts += first
        part.given_rows, part.first, part.cached = self.given_rows, first, self.cached
        return part

    def check(self):
        """Raise if a record is not in the mapping as it is now.

        Raises
        ------
        IndexError
            When an index is not below the number of rows.
        ValueError
            When a record does not lie in the mapping, or the mapping is closed.
        """
        self.is_checked = False
        self.renew()

    cdef int renew(self) except -1:
        """Hold the mapping as it is now, in which all records lie."""
        cdef Py_ssize_t size = self.pinned.length
        if self.many is not None:
            self.many.renew()
            return self.require_inside()
        self.pinned.renew()
        self.take_over()
        self.is_hot = self.looks_hot()
        self.is_checked = self.is_checked and size == self.pinned.length
        if not self.is_checked and not (self.is_hot and spacing(&self.records) == 1):
            self.require_inside()
        return 0

    cdef int require_inside(self) except -1:
        cdef int64_t i
        with nogil:
            i = first_outside(&self.records)
        if i != -1:
            self.refuse(i)
        self.is_checked = True
        return 0

    cdef int take_over(self) except -1:
        """Take over what is held: the addresses, and how far they go."""
        cdef Plan *r = &self.records
        cdef int64_t size = self.pinned.length
        r.data = self.pinned.data
        r.ranges[0] = fault_range(r.data, size)
        r.rows = self.given_rows
        if r.rows == -1:
            r.rows = max(0, size - r.length + 1)
        elif r.rows and r.base + max(0, r.step * (r.rows - 1)) + r.length > size:
            raise ValueError(f"{r.rows} records from offset {r.base} are not all in "
                             f"{self.pinned.mapping.name!r} any more, which has {size} "
                             f"bytes")
        return 0

    cdef PinnedMemory pinned_of(self, int64_t i):
        """The mapping that a record is in."""
        if self.many is None:
            return self.pinned
        return self.many.pinned[self.records.which[i]]

    cdef int refuse(self, int64_t i) except -1:
        cdef Plan *r = &self.records
        cdef PinnedMemory pinned = self.pinned_of(i)
        if self.many is not None:
            raise ValueError(f"{r.lengths[i]} bytes at offset {r.index[i]} are not in "
                             f"{pinned.mapping.name!r}, which has {pinned.length} bytes")
        if self.given_rows != -1:
            raise IndexError(f"index {r.index[i]} is out of bounds for axis 0 with size "
                             f"{self.given_rows}")
        raise ValueError(f"record {self.first + i}, {length_of(r, i)} bytes at offset "
                         f"{r.index[i]}, is not in {self.pinned.mapping.name!r}, which has "
                         f"{self.pinned.length} bytes")

    cdef bint looks_hot(self) noexcept nogil:
        """Whether the records that are looked up are in the mapping and in hot pages."""
        cdef Plan *r = &self.records
        cdef int64_t i = 0, step = spacing(r), offset
        while i < r.count:
            offset = offset_of(r, i)
            if offset == -1 or not self.pinned.is_hot(offset, length_of(r, i)):
                return False
            i += step
        return True

    cdef void set_hot(self) noexcept nogil:
        cdef Plan *r = &self.records
        cdef int64_t i = 0, step = spacing(r), offset
        while i < r.count:
            offset = offset_of(r, i)
            if offset != -1:
                self.pinned.set_hot(offset, length_of(r, i))
            i += step

    def copy(self):
        """Copy all records.

        Raises
        ------
        BusError
            When the file was cut short, or the disk is full or bad. ``record`` tells which
            record it was; those before it are copied.
        IndexError, ValueError
            As `check`.
        """
        self.copy_all()

    cdef int copy_all(self) except -1:
        cdef Plan *r = &self.records
        try:
            while r.done < r.count and not self.is_stopped:
                self.renew()
                if r.cold and r.may_queue:
                    self.read_stretch()
                else:
                    self.copy_or_retry()
                PyErr_CheckSignals()
        finally:
            if self.queue is not None:
                self.leave_queue()
        return 0

    cdef int copy_or_retry(self) except -1:
        cdef Plan *r = &self.records
        cdef int64_t before = r.done
        cdef const void *fault = self.copy_stretch()
        if self.pinned.must_retry() if self.many is None else self.many.must_retry():
            r.done = before
        elif fault != NULL or (r.done < r.count and offset_of(r, r.done) == -1):
            self.copy_slowly(r.done)
        return 0

    def stop(self):
        """Have `copy`, which another thread is in, return soon, with records left."""
        self.is_stopped = True

    cdef const void *copy_stretch(self) noexcept:
        """Copy as long as it goes; returns an address where it could not.

        The GIL stays where giving it up would cost more than the copy, and no page can
        have to come from a disk. A store may wait for one that is being written back.
        """
        cdef Plan *r = &self.records
        cdef const void *fault
        if self.many is not None:
            return self.copy_stretch_of_many()
        if not self.pinned.is_guarded():
            r.cold = True       # a queue copies more than one at a time
            return r.buffer
        if self.is_hot and spacing(r) == 1 and size_of(r) <= FEW_BYTES and not r.writing:
            return self.pinned.call(copy_records, r, r.ranges)
        with nogil:
            r.cold = not self.is_hot and (r.cold or (r.done == 0 and looks_cold(r)))
            fault = self.pinned.call(copy_records, r, r.ranges)
            if fault == NULL and r.done == r.count and not self.is_hot:
                self.set_hot()
        return fault

    cdef const void *copy_stretch_of_many(self) noexcept:
        cdef Plan *r = &self.records
        cdef bint all_copied
        with nogil:
            r.cold = r.cold or (r.done == 0 and looks_cold(r))
            all_copied = copy_pieces(r, self.pinned)
        return NULL if all_copied else r.buffer

    # -- Cold records, by a queue

    cdef Batch begin(self, bint is_cold):
        """Ask for the first records now, if they are cold and a queue can read them."""
        cdef Plan *r = &self.records
        if r.count == 0:
            return self
        self.renew()
        if (self.is_hot and not is_cold) or not r.may_queue:
            return self
        is_cold |= self.many is None and not self.pinned.is_guarded()
        with nogil:
            r.cold = is_cold or looks_cold(r)
        if r.cold and self.enter_queue():
            with nogil:
                read_on(self.queue, &self.reading, 0, self.pinned)
        return self

    def finish(self):
        """Copy what is left of all records, and return what the caller gets.

        Raises
        ------
        BusError, IndexError, ValueError
            As `copy`.
        """
        self.copy_all()
        return self.result

    cdef int read_stretch(self) except -1:
        """Read for a while, unless the kernel allows no queue, or none any more."""
        cdef Reading *reading = &self.reading
        cdef int code
        if self.is_inherited():
            self.drop_queue()
        if self.queue is not None and is_complete(reading) \
                and reading.end <= self.records.done:
            self.go_on()
        if self.queue is None and not self.enter_queue():
            self.records.may_queue = False
            return 0
        with nogil:
            code = read_until(self.queue, reading, rough_nanoseconds() + STRETCH,
                              self.pinned)
        if code:
            self.drop_queue()
            self.records.may_queue = False
        elif is_complete(reading):
            self.records.done = reading.end
            if reading.has_failed:
                reading.failures += 1
                self.copy_slowly(reading.end)
                self.begin_reading()
        return 0

    cdef int go_on(self) except -1:
        """Go on where all that was asked for is there, the other way if that is better."""
        if is_worse(&self.reading):
            return self.leave_queue()
        self.begin_reading()
        return 0

    cdef bint enter_queue(self) except -1:
        cdef Way way
        self.files = Files.__new__(Files)
        pinned, choice = [self.pinned], None
        if self.many is not None:
            pinned, choice = self.many.pinned, self.many.choice
        if not self.files.begin(pinned, choice):
            return False
        way = self.files.way(self.cached, &self.records)
        self.queue = take_queue(way.past_cache)
        if self.queue is None and way.past_cache:
            way = INTO_CACHE
            self.queue = take_queue(way.past_cache)
        if self.queue is None:
            return False
        memset(&self.reading, 0, sizeof(Reading))
        self.reading.channels = self.files.as_channels(way)
        self.reading.plan, self.reading.way = &self.records, way
        self.reading.sample = &self.files.choice.sample
        self.reading.first = self.records.done
        self.begin_reading()
        return True

    cdef void begin_reading(self) noexcept:
        """Begin, or go on behind records that were copied in another way."""
        self.reading.next, self.reading.end = self.records.done, self.records.count
        self.reading.start, self.reading.has_failed = 0, False

    cdef int leave_queue(self) except -1:
        cdef int code = 0
        if not self.is_inherited():
            self.files.choice.count(&self.reading, self.queue.kind)
            with nogil:
                code = drain(self.queue, &self.reading, self.pinned)
            if code == 0:
                give_back(self.queue)
        self.drop_queue()
        return 0

    cdef bint is_inherited(self) noexcept:
        """Whether the parent of this process has it under way, which has forked since."""
        return self.queue is not None and self.queue.process != getpid()

    cdef void drop_queue(self) noexcept:
        """Nothing is under way after this: a queue that nobody took back is closed."""
        self.queue = None
        self.reading.under_way = 0

    # -- One record

    cdef int copy_slowly(self, int64_t i) except -1:
        """Copy one record where memory faults: by system call, or by an exception."""
        cdef Plan *r = &self.records
        cdef int64_t offset = offset_of(r, i), length = length_of(r, i)
        if offset == -1:
            self.refuse(i)
        try:
            if self.pinned_of(i).copy(r.buffer + start_of(r, i), offset, length,
                                      r.writing) == length:
                r.done = i + 1
        except BusError as error:
            error.record = self.first + i
            if self.many is not None:
                error.record = int(self.many.numbers[error.record])
            error.add_note(f"in record {error.record} of the batch")
            raise
        return 0


make_private(Batch)


# -- What callers pass

cdef Batch gathering(mapping, offsets, length, out, cached):
    cdef Batch batch = Batch.__new__(Batch)
    batch.cached = as_wanted(cached)
    batch.take_index(offsets, "offsets")
    batch.records.length = not_negative(length, "length")
    batch.hold(mapping, False)
    if batch.records.count:
        batch.require_length(batch.records.length, length)
    if out is None:
        out = batch.take_new((batch.records.count, length))
    else:
        batch.take_fitting(out)
    batch.result = out
    return batch


cdef Batch gathering_ragged(mapping, offsets, lengths, out, cached):
    cdef Batch batch = Batch.__new__(Batch)
    cdef Lengths found
    batch.cached = as_wanted(cached)
    batch.take_index(offsets, "offsets")
    starts = batch.take_lengths(lengths, &found)
    batch.hold(mapping, False)
    batch.require_lengths(&found)
    if out is None:
        out = batch.take_new(batch.records.starts[found.count])
    else:
        batch.take_fitting(out)
    batch.result = out, starts
    return batch


cdef Batch taking(mapping, index, out, place, cached):
    cdef Batch batch = Batch.__new__(Batch)
    cdef Plan *r = &batch.records
    batch.cached = as_wanted(cached)
    batch.take_index(index, "indices")
    batch.take_out(out)
    batch.require_flat(out)
    r.length = batch.buffer.len // max(1, r.count)
    batch.require_size()
    r.wrap, r.base, r.step = place
    batch.given_rows = r.wrap
    batch.hold(mapping, False)
    batch.result = out
    return batch


@cython.binding(True)
def gather(self, offsets, length, out=None, *, threads=1, cached=None):
    """Copy records of one length from the mapping: a method of `Records`."""
    cdef Batch batch = gathering(self, offsets, length, out, cached)
    batch.run(threads)
    return batch.result


@cython.binding(True)
def gather_ragged(self, offsets, lengths, out=None, *, threads=1, cached=None):
    """Copy records of many lengths from the mapping: a method of `Records`."""
    cdef Batch batch = gathering_ragged(self, offsets, lengths, out, cached)
    batch.run(threads)
    return batch.result


def take_rows(mapping, index, out, place, threads, cached):
    """Copy rows of an array, which is at a `Rows`; a negative index counts from its end."""
    taking(mapping, index, out, place, cached).run(threads)


def begin_gather(mapping, offsets, length, out, cached):
    """Begin what `gather` does; `Batch.finish` returns what it returns."""
    return gathering(mapping, offsets, length, out, cached).begin(False)


def begin_block(mapping, start, length, out):
    """Begin to read a block past the page cache, whatever is in it."""
    return gathering(mapping, start, length, out, False).begin(True)


def begin_gather_ragged(mapping, offsets, lengths, out, cached):
    """Begin what `gather_ragged` does; `Batch.finish` returns what it returns."""
    return gathering_ragged(mapping, offsets, lengths, out, cached).begin(False)


def begin_take(mapping, index, out, place, cached):
    """Begin what `take_rows` does; `Batch.finish` returns `out`."""
    return taking(mapping, index, out, place, cached).begin(False)


cdef Batch gathering_pieces(mappings, pieces, out, choice, cached):
    cdef Batch batch = Batch.__new__(Batch)
    cdef Many many = Many.__new__(Many)
    cdef Plan *r = &batch.records
    which, offsets, lengths, targets, many.numbers = pieces
    batch.cached = as_wanted(cached)
    r.count = hold_integers(offsets, "offsets", &batch.index)
    r.index = <const int64_t *> batch.index.buf
    hold_integers(targets, "targets", &batch.starts)
    r.starts = <const int64_t *> batch.starts.buf
    batch.take_out(out)
    many.take(r, which, lengths)
    many.hold(r, mappings)
    many.choice = choice
    batch.many, batch.pinned = many, many.pinned[0]
    batch.result = out
    return batch


def gather_files(mappings, pieces, out, choice, threads, cached):
    """Copy pieces of many mappings to their places in a buffer.

    `pieces` are five arrays of int64, in one dimension, as long as each other: of each
    piece the mapping's number, where it begins there, its bytes, where it begins in the
    buffer, and the record that errors name. Nobody else writes to them. `choice` is of
    `new_choice`.
    """
    gathering_pieces(mappings, pieces, out, choice, cached).run(threads)


def begin_gather_files(mappings, pieces, out, choice, cached):
    """Begin what `gather_files` does; `Batch.finish` returns `out`."""
    return gathering_pieces(mappings, pieces, out, choice, cached).begin(False)


def choose(mapping, cached):
    """Let `cached` hold for batches of the mapping that do not say so themselves."""
    cdef PinnedMemory pinned = pin(mapping, False)
    pinned.renew()
    file_to_read(pinned).choice.cached = as_wanted(cached)


def can_bypass_cache(mapping):
    """Whether the mapping's file can be read past the page cache."""
    cdef PinnedMemory pinned = pin(mapping, False)
    cdef FileToRead file
    pinned.renew()
    if not pinned.is_file_memory():
        return False
    file = file_to_read(pinned)
    return file.begin(pinned) and file.direct_fd != -1


def statistics(mapping):
    """Return what batches read beside the mapping, as `Records.statistics`."""
    cdef PinnedMemory pinned = pin(mapping, False)
    pinned.renew()
    cdef FileToRead file = pinned.kept()
    if file is None:
        file = FileToRead.__new__(FileToRead)
    return file.choice.told()


@cython.binding(True)
def scatter(self, offsets, records):
    """Copy records of one length into the mapping: a method of `Records`."""
    cdef Batch batch = Batch.__new__(Batch)
    batch.take_index(offsets, "offsets")
    if not isinstance(records, ndarray):
        raise TypeError(f"records must be an ndarray, not {type(records).__name__!r}")
    batch.take_array(records, PyBUF_SIMPLE)
    if batch.buffer.ndim == 0 or batch.buffer.shape[0] != batch.records.count:
        raise ValueError(f"records must have {batch.records.count} rows, one for each "
                         f"offset, not shape {records.shape}")
    batch.require_flat(records)
    batch.records.length = batch.buffer.len // max(1, batch.records.count)
    batch.hold(self, True)
    batch.run(1)
