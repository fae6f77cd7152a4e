"""Many records in one call, without the GIL.

Records lie anywhere in the mapping and one after the other in the buffer. Two loops copy
them. The hot one asks the processor for records ahead of the copy. The cold one asks the
kernel: of two windows of records, one is on its way from the disk while the other is
copied, so that the disk has many requests at a time, where page faults give it one.

Which of them it is to be costs nothing while all is in memory. A few records are looked up
at first. From then on a hot block that took long asks whether pages were waited for, and a
cold window that took no longer than memory takes goes back. Asking mincore(2) of each
record would be exact, and as slow as copying it; and of a file that is somebody else's it
does not tell.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, \
    PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t, uintptr_t

from .._core cimport PinnedMemory, fault_range
from .._linux.calls cimport *

from .._errors import BusError

__all__ = ["Batch"]


cdef extern from "_file/record.h" nogil:
    void copy_record(char *target, const char *source, size_t length)
    void prefetch_record(uintptr_t address, size_t length)
    int64_t rough_nanoseconds()


cdef int64_t PAGE = sysconf(_SC_PAGESIZE)

# Records ahead that the processor is asked for. It takes some 100 ns to fetch one, and has
# room for about as many.
cdef int64_t PREFETCHED = 16

# The hot loop looks at the time after so much: until then, cold pages come one by one.
cdef int64_t BLOCK_BYTES = 1 << 17
cdef int64_t BLOCK_RECORDS = 1 << 12

# A disk queue holds about as many requests as a window has records.
cdef int64_t WINDOW_RECORDS = 256
cdef int64_t WINDOW_BYTES = 1 << 23

# Pages that the kernel reads for one hint at least, by default (VM_READAHEAD_PAGES).
cdef uintptr_t READAHEAD = (1 << 17) // PAGE

# Nanoseconds for a record, beside one for each two bytes. A block that takes longer may
# have waited for pages; a window that does not was in memory.
cdef int64_t SLOW_RECORD = 200
cdef int64_t FAST_RECORD = 700

# This many records are looked up at first.
cdef int64_t SAMPLES = 8

# Signals are looked for so often.
cdef int64_t STRETCH = 100_000_000


cdef struct Plan:
    fault_range ranges[2]       # the mapping's bytes, and the buffer's
    char *data
    char *buffer
    const int64_t *index        # of each record
    const int64_t *starts       # of each in the buffer, and the end; NULL: all are alike
    int64_t rows                # an index is below it, in size,
    int64_t wrap                # and one below zero counts from here
    int64_t base, step          # record 0, and from one index to the next, in bytes
    int64_t length
    int64_t count, done
    int64_t hinted              # the first record that the kernel was not asked for
    int64_t deadline
    int64_t faults              # major ones of this thread
    bint writing, cold


cdef inline int64_t start_of(const Plan *r, int64_t i) noexcept nogil:
    return i * r.length if r.starts == NULL else r.starts[i]


cdef inline int64_t length_of(const Plan *r, int64_t i) noexcept nogil:
    return r.length if r.starts == NULL else r.starts[i + 1] - r.starts[i]


cdef inline int64_t offset_of(const Plan *r, int64_t i) noexcept nogil:
    """Where record `i` is in the mapping; -1 when it is not.

    Asked again for each copy: the index is the caller's array, which another thread may
    change meanwhile.
    """
    cdef int64_t index = r.index[i], offset
    if index < 0:
        index += r.wrap
    if <uint64_t> index >= <uint64_t> r.rows:
        return -1
    offset = r.base + r.step * index
    if r.starts != NULL and length_of(r, i) > <int64_t> r.ranges[0].length - offset:
        return -1
    return offset


cdef int64_t first_outside(const Plan *r) noexcept nogil:
    cdef int64_t i
    if r.starts == NULL and not any_outside(r):
        return -1
    for i in range(r.count):
        if offset_of(r, i) == -1:
            return i
    return -1


cdef bint any_outside(const Plan *r) noexcept nogil:
    """Of records that are alike: without a way out of the loop, the fastest there is."""
    cdef const int64_t *index = r.index
    cdef int64_t wrap = r.wrap, i
    cdef uint64_t rows = r.rows
    cdef bint outside = False
    for i in range(r.count):
        outside |= <uint64_t> (index[i] + (wrap if index[i] < 0 else 0)) >= rows
    return outside


# -- Hot

cdef bint copy_alike(Plan *r, int64_t end) noexcept nogil:
    """Copy records of one length up to `end`; False when one is not in the mapping.

    All is held in variables, which a store into the buffer cannot change.
    """
    cdef const int64_t *index = r.index
    cdef char *data = r.data + r.base
    cdef char *buffer = r.buffer
    cdef int64_t length = r.length, step = r.step, wrap = r.wrap
    cdef int64_t last = r.count - 1, i, row
    cdef uint64_t rows = r.rows, stride = step
    cdef bint writing = r.writing
    for i in range(r.done, end):
        r.done = i      # a fault is of this one
        prefetch_record(<uintptr_t> data + stride * index[min(i + PREFETCHED, last)],
                        length)
        row = index[i]
        if row < 0:
            row += wrap
        if <uint64_t> row >= rows:
            return False
        if writing:
            copy_record(data + step * row, buffer + i * length, length)
        else:
            copy_record(buffer + i * length, data + step * row, length)
    r.done = end
    return True


cdef bint copy_ragged(Plan *r, int64_t end) noexcept nogil:
    cdef int64_t last = r.count - 1, i, offset, length
    cdef char *buffer
    for i in range(r.done, end):
        r.done = i
        length = length_of(r, i)
        prefetch_record(<uintptr_t> r.data + r.index[min(i + PREFETCHED, last)], length)
        offset = offset_of(r, i)
        if offset == -1:
            return False
        buffer = r.buffer + r.starts[i]
        if r.writing:
            copy_record(r.data + offset, buffer, length)
        else:
            copy_record(buffer, r.data + offset, length)
    r.done = end
    return True


cdef inline bint copy_until(Plan *r, int64_t end) noexcept nogil:
    return copy_alike(r, end) if r.starts == NULL else copy_ragged(r, end)


cdef int64_t end_of_run(const Plan *r, int64_t i, int64_t records,
                        int64_t bytes_) noexcept nogil:
    """Where `records` from `i`, or their `bytes_`, end, whichever is less; one at least."""
    cdef int64_t end = min(r.count, i + records), limit = start_of(r, i) + bytes_
    if r.starts == NULL:
        return end if r.length == 0 else min(end, max(i + 1, limit // r.length))
    while end > i + 1 and r.starts[end] > limit:
        end = i + (end - i) // 2
    return end


cdef bint has_waited(Plan *r) noexcept nogil:
    """Whether this thread has had a page read from the disk since it was asked last."""
    cdef resource_usage usage
    cdef int64_t before = r.faults
    if getrusage(RUSAGE_THREAD, &usage) == -1:
        return False
    r.faults = usage.ru_majflt
    return before != r.faults


cdef inline int64_t bytes_since(const Plan *r, int64_t i) noexcept nogil:
    return start_of(r, r.done) - start_of(r, i)


cdef bint copy_block(Plan *r, int64_t *now) noexcept nogil:
    cdef int64_t start = now[0], first = r.done, slow
    cdef bint all_inside = copy_until(r, end_of_run(r, first, BLOCK_RECORDS, BLOCK_BYTES))
    now[0] = rough_nanoseconds()
    slow = (r.done - first) * SLOW_RECORD + bytes_since(r, first) // 2
    r.cold = now[0] - start > slow and has_waited(r)
    return all_inside


# -- Cold

cdef int64_t hint(const Plan *r, int64_t i, int64_t hinted) noexcept nogil:
    """Ask the kernel for record `i`, and return the page up to which it was asked."""
    cdef int64_t offset = offset_of(r, i)
    cdef uintptr_t page = <uintptr_t> (r.data + offset) // PAGE
    cdef uintptr_t end = <uintptr_t> (r.data + offset + length_of(r, i) + PAGE - 1) // PAGE
    if offset == -1 or end == hinted:       # again the page of the record before
        return hinted
    while page < end:
        madvise(<void *> (page * PAGE), min(end - page, READAHEAD) * PAGE, MADV_WILLNEED)
        page += READAHEAD
    return end


cdef void hint_until(Plan *r, int64_t end) noexcept nogil:
    cdef int64_t i, page = 0
    for i in range(r.hinted, end):
        page = hint(r, i, page)
    r.hinted = max(r.hinted, end)


cdef int64_t end_of_window(const Plan *r, int64_t i) noexcept nogil:
    return i if i == r.count else end_of_run(r, i, WINDOW_RECORDS, WINDOW_BYTES)


cdef bint copy_window(Plan *r, int64_t *now) noexcept nogil:
    cdef int64_t start = now[0], first = r.done, fast
    cdef int64_t end = end_of_window(r, r.done)
    cdef bint all_inside
    r.hinted = max(r.hinted, r.done)
    hint_until(r, end_of_window(r, end))
    all_inside = copy_until(r, end)
    now[0] = rough_nanoseconds()
    fast = (r.done - first) * FAST_RECORD + bytes_since(r, first) // 2
    r.cold = now[0] - start > fast
    return all_inside


# -- Both

cdef bint is_resident(const Plan *r, int64_t i) noexcept nogil:
    cdef unsigned char first = 1
    cdef int64_t offset = offset_of(r, i)
    if offset != -1 and length_of(r, i) > 0:
        mincore(<void *> (<uintptr_t> (r.data + offset) // PAGE * PAGE), 1, &first)
    return first & 1


cdef bint looks_cold(const Plan *r) noexcept nogil:
    cdef int64_t samples = min(SAMPLES, (r.count - r.done + 15) // 16), i
    for i in range(samples):
        if not is_resident(r, r.done + i * ((r.count - r.done) // samples)):
            return True
    return False


cdef void copy_records(void *argument) noexcept nogil:
    """Copy until the deadline, under the guard: a fault leaves `done` where it was."""
    cdef Plan *r = <Plan *> argument
    cdef int64_t now = rough_nanoseconds()
    cdef bint all_inside = True
    r.deadline = now + STRETCH
    has_waited(r)       # from now on
    while all_inside and r.done < r.count and now < r.deadline:
        all_inside = copy_window(r, &now) if r.cold else copy_block(r, &now)


@cython.final
@cython.auto_pickle(False)
cdef class Batch:
    """Records of a mapping that are to be copied between it and a buffer.

    Parameters
    ----------
    mapping : Mapping
        Where the records lie.
    index : buffer of int64
        Which records, `count` of them.
    buffer : buffer
        C-contiguous; the records one after the other. Writable, unless `writing`.
    length : int, default 0
        Of each record, in bytes.
    starts : buffer of int64, optional
        Where each record begins in `buffer`, and where the last one ends, in bytes; then
        each has a length of its own. Not to be changed by anybody from then on.
    base, step : int, default 0 and 1
        Position of the record of index 0 in the mapping, and from one to the next, in
        bytes.
    rows : int, optional
        How many records there are, for an index that counts from the end when negative. By
        default an index is a position, as far as the mapping goes.
    first : int, default 0
        The number that errors call the first record by.
    writing : bool, default False
        Copy into the mapping.

    Raises
    ------
    io.UnsupportedOperation
        When `writing` to a mapping that is read-only or in append mode.
    ValueError
        When the sizes of the buffers do not agree.
    """
    cdef PinnedMemory pinned
    cdef Py_buffer index, buffer, starts
    cdef Plan records
    cdef int64_t given_rows, first
    cdef bint is_checked, is_stopped

    def __cinit__(self, mapping, index, buffer, *, int64_t length=0, starts=None,
                  int64_t base=0, int64_t step=1, rows=None, int64_t first=0,
                  bint writing=False):
        cdef Plan *r = &self.records
        self.pinned = mapping._hold(writing)
        PyObject_GetBuffer(index, &self.index, PyBUF_SIMPLE)
        PyObject_GetBuffer(buffer, &self.buffer,
                           PyBUF_SIMPLE if writing else PyBUF_WRITABLE)
        if starts is not None:
            PyObject_GetBuffer(starts, &self.starts, PyBUF_SIMPLE)
        r.count = self.index.len // sizeof(int64_t)
        r.index = <const int64_t *> self.index.buf
        r.starts = <const int64_t *> self.starts.buf
        r.buffer = <char *> self.buffer.buf
        r.length, r.base, r.step = length, base, step
        r.writing = writing
        self.first = first
        self.given_rows = -1 if rows is None else rows
        r.wrap = max(0, self.given_rows)
        self.require_room(starts is not None)

    def __dealloc__(self):
        PyBuffer_Release(&self.index)
        PyBuffer_Release(&self.buffer)
        PyBuffer_Release(&self.starts)

    cdef int require_room(self, bint ragged) except -1:
        cdef Plan *r = &self.records
        cdef int64_t needed = r.count * r.length
        if ragged:
            if self.starts.len // <Py_ssize_t> sizeof(int64_t) != r.count + 1:
                raise ValueError(f"{r.count} records need {r.count + 1} starts, not "
                                 f"{self.starts.len // sizeof(int64_t)}")
            needed = r.starts[r.count]
        if needed != self.buffer.len:
            raise ValueError(f"{r.count} records take {needed} bytes, and the buffer has "
                             f"{self.buffer.len}")
        return 0

    def check(self):
        """Raise if a record is not in the mapping as it is now.

        Raises
        ------
        IndexError
            When an index is not below `rows`.
        ValueError
            When a record does not lie in the mapping, or the mapping is closed.
        """
        self.is_checked = False
        self.renew()

    cdef int renew(self) except -1:
        """Hold the mapping as it is now, in which all records lie."""
        cdef Py_ssize_t size = self.pinned.length
        cdef int64_t i
        self.pinned.renew()
        self.take_over()
        if self.is_checked and size == self.pinned.length:
            return 0
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
        r.ranges[1] = fault_range(self.buffer.buf, self.buffer.len)
        r.rows = self.given_rows
        if r.rows == -1:
            r.rows = max(0, size - r.length + 1)
        elif r.rows and r.base + max(0, r.step * (r.rows - 1)) + r.length > size:
            raise ValueError(f"{r.rows} records from offset {r.base} are not all in "
                             f"{self.pinned.mapping.name!r} any more, which has {size} "
                             f"bytes")
        return 0

    cdef int refuse(self, int64_t i) except -1:
        cdef Plan *r = &self.records
        if self.given_rows != -1:
            raise IndexError(f"index {r.index[i]} is out of bounds for axis 0 with size "
                             f"{self.given_rows}")
        raise ValueError(f"record {self.first + i}, {length_of(r, i)} bytes at offset "
                         f"{r.index[i]}, is not in {self.pinned.mapping.name!r}, which has "
                         f"{self.pinned.length} bytes")

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
        cdef Plan *r = &self.records
        cdef int64_t before
        cdef const void *fault
        while r.done < r.count and not self.is_stopped:
            self.renew()
            before = r.done
            fault = self.copy_stretch()
            if self.pinned.must_retry():
                r.done = before
            elif fault != NULL or (r.done < r.count and offset_of(r, r.done) == -1):
                self.copy_slowly(r.done)
            PyErr_CheckSignals()

    def stop(self):
        """Have `copy`, which another thread is in, return soon, with records left."""
        self.is_stopped = True

    cdef const void *copy_stretch(self) noexcept:
        """Copy as long as it goes; returns an address where it could not."""
        cdef Plan *r = &self.records
        cdef const void *fault = r.buffer
        if self.pinned.is_guarded():
            with nogil:
                r.cold = r.cold or (r.done == 0 and looks_cold(r))
                fault = self.pinned.call(copy_records, r, r.ranges)
        return fault

    cdef int copy_slowly(self, int64_t i) except -1:
        """Copy one record where memory faults: by system call, or by an exception."""
        cdef Plan *r = &self.records
        cdef int64_t offset = offset_of(r, i), length = length_of(r, i)
        if offset == -1:
            self.refuse(i)
        try:
            if self.pinned.transfer(r.buffer + start_of(r, i), offset, length,
                                    r.writing) == length:
                r.done = i + 1
        except BusError as error:
            error.record = self.first + i
            error.add_note(f"in record {error.record} of the batch")
            raise
        return 0
