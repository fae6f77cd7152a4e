# The loop that carries out a batch of many mappings without the GIL.
#
# Knows what plan.pxi does, and takes a guard for each run of records in one mapping, which
# costs a few nanoseconds. It must not know what the bytes mean.
#
# The reasons are in docs/design/file.md.

# As for one mapping, in plan.pxi, and in each record a guard and another page table.
cdef int64_t SLOW_PIECE = 400
cdef int64_t FAST_PIECE = 900


cdef struct Run:                # records of one mapping, one after the other
    Plan *plan
    int64_t end


cdef void copy_run(void *argument) noexcept nogil:
    """Copy a run, under the guard: a fault leaves `done` at its record."""
    cdef const Run *run = <const Run *> argument
    cdef Plan *r = run.plan
    cdef int64_t last = r.count - 1, i, later
    while r.done < run.end:
        i = r.done
        later = min(i + PREFETCHED, last)
        prefetch_record(<uintptr_t> address_of(r, later, r.index[later]), r.lengths[later])
        copy_record(r.buffer + r.starts[i], address_of(r, i, r.index[i]), r.lengths[i])
        r.done = i + 1


cdef int64_t end_of_pieces(const Plan *r, int64_t i) noexcept nogil:
    """Where a window ends: some records, or the records that have some bytes."""
    cdef int64_t end = min(r.count, i + WINDOW_RECORDS), size = 0
    while i < end and size < WINDOW_BYTES:
        size += r.lengths[i]
        i += 1
    return i


cdef bint are_cold(Plan *r, int64_t first, int64_t nanoseconds) noexcept nogil:
    """Whether the records from `first` took longer than from memory."""
    cdef int64_t size = 0, i
    for i in range(first, r.done):
        size += r.lengths[i]
    if r.cold:
        return nanoseconds > time_for(r.done - first, size, FAST_PIECE)
    return nanoseconds > time_for(r.done - first, size, SLOW_PIECE) \
        and has_waited(&r.faults)


cdef bint copy_pieces(Plan *r, PinnedMemory door) noexcept nogil:
    """Copy until the deadline, the end, or a record that memory cannot give: then False."""
    cdef int64_t now = rough_nanoseconds(), start, first
    cdef bint all_copied = True
    r.deadline = now + STRETCH
    has_waited(&r.faults)       # from now on
    while all_copied and r.done < r.count and now < r.deadline \
            and not (r.cold and r.may_queue):
        start, first = now, r.done
        all_copied = copy_runs(r, end_of_pieces(r, r.done), door)
        now = rough_nanoseconds()
        r.cold = are_cold(r, first, now - start)
    return all_copied


cdef bint copy_runs(Plan *r, int64_t end, PinnedMemory door) noexcept nogil:
    cdef Run run
    cdef const Memory *memory
    run.plan = r
    if r.cold:
        r.hinted = max(r.hinted, r.done)
        hint_until(r, end_of_pieces(r, end))
    while r.done < end:
        memory = &r.memory[r.which[r.done]]
        run.end = r.done + 1
        while run.end < end and r.which[run.end] == r.which[r.done]:
            run.end += 1
        r.ranges[0] = fault_range(memory.data, memory.length)
        if not memory.is_guarded or door.call(copy_run, &run, r.ranges) != NULL:
            return False
    return True


@cython.final
@cython.auto_pickle(False)
cdef class Many:
    """The mappings that a batch is from, and which of them each record is in."""
    cdef list pinned
    cdef Memory *memory         # of each
    cdef Py_buffer which, lengths
    cdef object numbers         # by which errors call records
    cdef object choice          # of all batches from these mappings

    def __dealloc__(self):
        PyBuffer_Release(&self.which)
        PyBuffer_Release(&self.lengths)
        free(self.memory)

    cdef int take(self, Plan *r, which, lengths) except -1:
        hold_integers(which, "which", &self.which)
        hold_integers(lengths, "lengths", &self.lengths)
        r.which = <const int64_t *> self.which.buf
        r.lengths = <const int64_t *> self.lengths.buf
        return 0

    cdef int hold(self, Plan *r, mappings) except -1:
        self.pinned = [pin(m, False) for m in mappings]
        self.memory = <Memory *> calloc(len(self.pinned), sizeof(Memory))
        if self.memory == NULL:
            raise MemoryError
        r.memory, r.may_queue = self.memory, True
        return 0

    cdef int renew(self) except -1:
        cdef PinnedMemory pinned
        cdef int64_t i
        for i in range(len(self.pinned)):
            pinned = self.pinned[i]
            pinned.renew()
            self.memory[i] = Memory(pinned.data, pinned.length, pinned.is_guarded())
        return 0

    cdef bint must_retry(self) except -1:
        cdef bint again = False
        for pinned in self.pinned:
            again |= (<PinnedMemory> pinned).must_retry()
        return again

    cdef Many of_part(self, Plan *r, int64_t first):
        """The same for a part of the records, which another thread copies."""
        cdef Many part = Many.__new__(Many)
        part.numbers, part.choice = self.numbers, self.choice
        part.hold(r, [(<PinnedMemory> each).mapping for each in self.pinned])
        r.which, r.lengths = r.which + first, r.lengths + first
        return part


make_private(Many)
