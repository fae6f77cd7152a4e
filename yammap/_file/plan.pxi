# The plan of a batch, and the loops that carry it out without the GIL.
#
# Knows addresses, numbers and the clock. It must not know a mapping, nor who holds what.
#
# The hot loop asks the processor for records ahead of the copy. The cold one asks the
# kernel: of two windows of records, one is on its way from the disk while the other is
# copied, so that the disk has many requests at a time, where page faults give it one.
#
# Which of them it is to be costs nothing while all is in memory. A few records are looked
# up at first. From then on a hot block that took long asks whether pages were waited for,
# and a cold window that took no longer than memory takes goes back. Asking mincore(2) of
# each record would be exact, and as slow as copying it; and of a file that is somebody
# else's it does not tell.
#
# The reasons are in docs/design/file.md.

# The hot loop looks at the time after so much: until then, cold pages come one by one.
cdef int64_t BLOCK_BYTES = 1 << 17
cdef int64_t BLOCK_RECORDS = 1 << 12

# Nanoseconds for a record, beside one for each two bytes. A block that takes longer may
# have waited for pages; a window that does not was in memory.
cdef int64_t SLOW_RECORD = 200
cdef int64_t FAST_RECORD = 700

# At most this many records are looked up among the hot pages: all, or one in several.
cdef int64_t FEW_RECORDS = 16

# As in single copies, no more bytes than this are copied with the GIL.
cdef int64_t FEW_BYTES = 4096


cdef struct Memory:             # of one of many mappings, as it is held
    char *data
    int64_t length
    bint is_guarded


cdef struct Plan:
    fault_range ranges[2]       # the mapping's bytes, and the buffer's
    char *data
    char *buffer
    const int64_t *index        # of each record
    const int64_t *starts       # of each in the buffer, and the end; NULL: all are alike
    const Memory *memory        # of many mappings; NULL: there is one, and no
    const int64_t *which        # mapping of each record,
    const int64_t *lengths      # nor bytes of each, which has its place anywhere
    int64_t rows                # an index is below it, in size,
    int64_t wrap                # and one below zero counts from here
    int64_t base, step          # record 0, and from one index to the next, in bytes
    int64_t length
    int64_t count, done
    int64_t hinted              # the first record that the kernel was not asked for
    int64_t deadline
    int64_t faults              # major ones of this thread
    bint writing, cold
    bint may_queue              # cold records are read by a queue


cdef inline int64_t start_of(const Plan *r, int64_t i) noexcept nogil:
    return i * r.length if r.starts == NULL else r.starts[i]


cdef inline int64_t spacing(const Plan *r) noexcept nogil:
    """From one record that is looked up among the hot pages to the next; 1: all are."""
    return max(1, (r.count + FEW_RECORDS - 1) // FEW_RECORDS)


cdef inline int64_t size_of(const Plan *r) noexcept nogil:
    return start_of(r, r.count) - start_of(r, 0)


cdef inline bint fill(const Plan *r, int64_t size) noexcept nogil:
    """Whether the records take `size` bytes, which their product may overflow."""
    if r.starts != NULL or r.count == 0:
        return start_of(r, r.count) == size
    return size // r.count == r.length and size % r.count == 0


cdef inline int64_t length_of(const Plan *r, int64_t i) noexcept nogil:
    if r.starts == NULL:
        return r.length
    return r.starts[i + 1] - r.starts[i] if r.lengths == NULL else r.lengths[i]


cdef inline int64_t offset_of(const Plan *r, int64_t i) noexcept nogil:
    """Where record `i` is in the mapping; -1 when it is not.

    Asked again for each copy: the index is the caller's array, which another thread may
    change meanwhile.
    """
    cdef int64_t index = r.index[i], offset
    if r.memory != NULL:
        return index if is_inside(r, i) else -1
    if index < 0:
        index += r.wrap
    if <uint64_t> index >= <uint64_t> r.rows:
        return -1
    offset = r.base + r.step * index
    if r.starts != NULL and length_of(r, i) > <int64_t> r.ranges[0].length - offset:
        return -1
    return offset


cdef inline bint is_inside(const Plan *r, int64_t i) noexcept nogil:
    """Whether a record is in its one of many mappings, and its place in the buffer."""
    cdef int64_t length = r.lengths[i]
    return length >= 0 and r.index[i] >= 0 and r.starts[i] >= 0 \
        and r.index[i] <= r.memory[r.which[i]].length - length \
        and r.starts[i] <= <int64_t> r.ranges[1].length - length


cdef inline char *address_of(const Plan *r, int64_t i, int64_t offset) noexcept nogil:
    return offset + (r.data if r.memory == NULL else r.memory[r.which[i]].data)


cdef inline bint has_memory(const Plan *r, int64_t i) noexcept nogil:
    return r.memory == NULL or r.memory[r.which[i]].is_guarded


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
    """As `copy_alike`, records of many lengths, which nobody writes into a mapping."""
    cdef const int64_t *index = r.index
    cdef const int64_t *starts = r.starts
    cdef char *data = r.data
    cdef char *buffer = r.buffer
    cdef int64_t size = r.ranges[0].length, last = r.count - 1, i, offset, length
    for i in range(r.done, end):
        r.done = i
        length = starts[i + 1] - starts[i]
        prefetch_record(<uintptr_t> data + index[min(i + PREFETCHED, last)], length)
        offset = index[i]
        if offset < 0 or length > size - offset:
            return False
        copy_record(buffer + starts[i], data + offset, length)
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


cdef inline int64_t bytes_since(const Plan *r, int64_t i) noexcept nogil:
    return start_of(r, r.done) - start_of(r, i)


cdef int64_t end_of_block(const Plan *r) noexcept nogil:
    return end_of_run(r, r.done, BLOCK_RECORDS, BLOCK_BYTES)


cdef bint copy_block(Plan *r, int64_t *now) noexcept nogil:
    cdef int64_t start = now[0], first = r.done, slow
    cdef bint all_inside = copy_until(r, end_of_block(r))
    now[0] = rough_nanoseconds()
    slow = time_for(r.done - first, bytes_since(r, first), SLOW_RECORD)
    r.cold = r.done < r.count and now[0] - start > slow and has_waited(&r.faults)
    return all_inside


# -- Cold

cdef void hint_until(Plan *r, int64_t end) noexcept nogil:
    cdef int64_t i, offset
    cdef uintptr_t asked = 0
    for i in range(r.hinted, end):
        offset = offset_of(r, i)
        if offset != -1 and has_memory(r, i):
            asked = ask_for_pages(<uintptr_t> address_of(r, i, offset), length_of(r, i),
                                  asked)
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
    fast = time_for(r.done - first, bytes_since(r, first), FAST_RECORD)
    r.cold = now[0] - start > fast
    return all_inside


# -- Both

cdef bint looks_cold(const Plan *r) noexcept nogil:
    cdef int64_t samples = min(SAMPLES, (r.count - r.done + 15) // 16), i, record, offset
    for i in range(samples):
        record = r.done + i * ((r.count - r.done) // samples)
        offset = offset_of(r, record)
        if offset != -1 and length_of(r, record) > 0 and has_memory(r, record) \
                and not is_resident(<uintptr_t> address_of(r, record, offset)):
            return True
    return False


cdef void copy_records(void *argument) noexcept nogil:
    """Copy until the deadline, under the guard: a fault leaves `done` where it was."""
    cdef Plan *r = <Plan *> argument
    cdef int64_t now
    cdef bint all_inside = True
    if not r.cold and end_of_block(r) == r.count:
        copy_until(r, r.count)      # nothing comes after it that its time could tell about
        return
    now = rough_nanoseconds()
    r.deadline = now + STRETCH
    has_waited(&r.faults)           # from now on
    while all_inside and r.done < r.count and now < r.deadline \
            and not (r.cold and r.may_queue):
        all_inside = copy_window(r, &now) if r.cold else copy_block(r, &now)
