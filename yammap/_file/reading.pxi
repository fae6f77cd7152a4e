# Reading the cold records of a batch by a queue, many requests at a time, in any order.
#
# Knows the plan of a batch, a descriptor and a queue. It must not know a mapping.
#
# The reasons are in docs/design/queue.md.

# Requests to wait for at a time: one system call asks for as many and collects them. The
# queue has more under way meanwhile, so the disk never waits.
cdef unsigned AT_A_TIME = 16

# A record is read into the page cache in requests of at most this many bytes.
cdef int64_t MOST_BYTES = 1 << 20

# Records that are read in one way at least, before the other one may be better: changing it
# waits for all that is under way.
cdef int64_t LEAST_RECORDS = 2048


# A batch that is being read. Records are asked for in order, up to `end`; all before that
# are there as soon as nothing is under way.
cdef struct Reading:
    Plan *plan
    reuse *sample
    const Channel *channels     # of each mapping
    Way way                     # which the sample may speak against by now
    int64_t first               # the record at which it began,
    int64_t next                # the record to ask for, and
    int64_t start               # where in it
    int64_t end
    int64_t under_way
    int64_t blocks              # that disks were asked for by this thread
    int64_t requests, bytes_read, failures
    bint has_failed             # the record at `end`


cdef inline const Channel *channel_of(const Reading *r, int64_t i) noexcept nogil:
    return r.channels + (0 if r.plan.memory == NULL else r.plan.which[i])


cdef inline bint is_complete(const Reading *r) noexcept nogil:
    return r.under_way == 0 and r.next >= r.end


cdef inline void fail(Reading *r, int64_t record) noexcept nogil:
    """Read nothing from this record on: the caller will look why it cannot be read."""
    if record < r.end or not r.has_failed:
        r.end = min(r.end, record)
        r.has_failed = True


cdef bint ask(Queue q, Reading *r) noexcept nogil:
    """Add a request for what comes next; False when there is nothing more to ask for."""
    cdef Plan *plan = r.plan
    cdef int64_t offset, left
    while r.next < r.end:
        offset = offset_of(plan, r.next)
        if offset == -1:
            fail(r, r.next)
            return False
        left = length_of(plan, r.next) - r.start
        if left > 0:
            ask_for(q, r, channel_of(r, r.next).origin + offset + r.start, left)
            return True
        r.next, r.start = r.next + 1, 0
    return False


cdef void ask_for(Queue q, Reading *r, int64_t offset, int64_t left) noexcept nogil:
    cdef unsigned i
    cdef Place *place
    cdef const Channel *channel = channel_of(r, r.next)
    cdef char *target = r.plan.buffer + start_of(r.plan, r.next) + r.start
    q.free_count -= 1
    i = q.free_places[q.free_count]
    place = &q.places[i]
    place.reading, place.record, place.count, place.start = r, r.next, 1, r.start
    place.in_arena = is_unaligned(channel.align, offset, target, left)
    if place.in_arena:
        place.offset = offset // channel.align * channel.align
        place.lead = offset - place.offset
        place.length = min(left, ROOM - place.lead)
        queue_add(q.requests, i, channel.fd, place.offset, q.requests.arena + i * ROOM,
                  round_to(take_neighbours(r, place, offset) - place.offset, channel.align))
    else:
        place.length = min(left, MOST_BYTES)
        if channel.align:
            place.length = place.length // channel.align * channel.align
        queue_add(q.requests, i, channel.fd, offset, target, place.length)
        r.start += place.length
    reuse_read(r.sample, channel.salt + offset // PAGE)
    if channel.tracer_fd != -1:
        leave_tracer(channel.tracer_fd, offset, place.length)
    r.under_way += 1
    r.requests += 1


cdef inline bint is_unaligned(int64_t align, int64_t offset, const char *target,
                              int64_t left) noexcept nogil:
    """Whether what comes next has to be read into the arena, and copied from there."""
    return align and (left < align or offset % align != 0
                      or <uintptr_t> target % <uintptr_t> align != 0)


cdef inline int64_t round_to(int64_t length, int64_t align) noexcept nogil:
    return (length + align - 1) // align * align


cdef int64_t take_neighbours(Reading *r, Place *place, int64_t offset) noexcept nogil:
    """Let the request bring the records that come next, if they lie in it or behind it.

    So no block is read twice for records in order. Returns where the last one ends.
    """
    cdef int64_t end = offset + place.length, next_one
    cdef const Channel *channel = channel_of(r, r.next)
    r.start += place.length
    while place.start == 0 and r.start == length_of(r.plan, r.next):
        r.next, r.start = r.next + 1, 0
        if r.next == r.end:
            break
        next_one = offset_of(r.plan, r.next)
        if next_one == -1 or channel_of(r, r.next) != channel:
            break
        next_one += channel.origin
        if not (place.offset <= next_one <= round_to(end, channel.align)
                and next_one + length_of(r.plan, r.next) <= place.offset + ROOM):
            break
        r.start = length_of(r.plan, r.next)
        end = max(end, next_one + r.start)
        place.count += 1
    return end


cdef void keep_busy(Queue q, Reading *r) noexcept nogil:
    """Have as many requests under way as the queue takes."""
    while q.free_count and ask(q, r):
        pass


cdef void land(void *argument) noexcept nogil:
    cdef const fault_range *ranges = <const fault_range *> argument
    memcpy(<void *> ranges[1].start, ranges[0].start, ranges[1].length)


cdef bint put_bytes(PinnedMemory pinned, const char *source, char *target,
                    int64_t length) noexcept nogil:
    """Copy out of the arena; False where the caller's buffer is a view that faults."""
    cdef fault_range ranges[2]
    ranges[0], ranges[1] = fault_range(source, length), fault_range(target, length)
    return pinned.call(land, ranges, ranges) == NULL


cdef void put_away(Reading *r, const Place *place, const char *arena, int64_t count,
                   PinnedMemory pinned) noexcept nogil:
    """Copy each record that a request brought, of whose bytes it has read `count`.

    Where a record lies is asked again: another thread may have changed the index.
    """
    cdef const char *source = arena + place.lead
    cdef char *target = r.plan.buffer + start_of(r.plan, place.record) + place.start
    cdef int64_t length = place.length, i = place.record, offset, lead
    while source + length <= arena + count and put_bytes(pinned, source, target, length):
        i += 1
        if i == place.record + place.count:
            return
        offset = offset_of(r.plan, i)
        lead = offset + channel_of(r, i).origin - place.offset
        length = length_of(r.plan, i)
        source, target = arena + lead, r.plan.buffer + start_of(r.plan, i)
        if offset == -1 or lead < 0:
            break
    fail(r, i)


cdef void finish(Queue q, queue_result *result, PinnedMemory pinned) noexcept nogil:
    """Free the place of a request that is done, and put what it read where it belongs."""
    cdef Place place = q.places[result.slot]
    cdef Reading *r = place.reading
    r.under_way -= 1
    q.free_places[q.free_count] = result.slot
    q.free_count += 1
    r.bytes_read += max(0, result.bytes)
    if place.in_arena:
        put_away(r, &place, q.requests.arena + result.slot * ROOM, result.bytes, pinned)
    elif result.bytes < place.length:
        fail(r, place.record)       # an error, or the end of the file


cdef int read_on(Queue q, Reading *r, unsigned least, PinnedMemory pinned) noexcept nogil:
    """Ask for more, wait for some, and put them away; returns an errno value."""
    cdef int count, i
    keep_busy(q, r)
    count = queue_enter(q.requests, least)
    for i in range(count):
        finish(q, &q.requests.done[i], pinned)
    return -count if count < 0 else 0


cdef int read_until(Queue q, Reading *r, int64_t deadline,
                    PinnedMemory pinned) noexcept nogil:
    """Read until the batch is complete, or all that is asked for now if it is warm.

    A window is warm where no disk was asked, and it took no longer than memory takes. The
    time alone does not tell: a fast disk reads a tenth of a window meanwhile, and the hot
    loop would wait for each such page, and for all that the kernel reads around it.
    """
    cdef int64_t now = rough_nanoseconds(), before = now, first = r.next, fast
    cdef int64_t bytes_before = r.bytes_read
    cdef int code = 0
    has_read(&r.blocks)         # from now on
    while code == 0 and not is_complete(r) and now < deadline:
        code = read_on(q, r, AT_A_TIME, pinned)
        now = rough_nanoseconds()
        if r.next - first >= WINDOW_RECORDS:
            fast = time_for(r.next - first, r.bytes_read - bytes_before, FAST_RECORD)
            if not r.way.past_cache and not has_read(&r.blocks) and now - before <= fast:
                r.plan.cold = not stop_asking(r)
            elif is_worse(r):
                stop_asking(r)
            before, first, bytes_before = now, r.next, r.bytes_read
    return code


cdef bint stop_asking(Reading *r) noexcept nogil:
    """Let what comes next be copied in another way; False where nothing comes."""
    cdef int64_t end = r.next + (r.start > 0)
    if end >= r.end:
        return False
    r.end = end
    return True


cdef inline bint is_worse(const Reading *r) noexcept nogil:
    """Whether the sample speaks for the other way by now."""
    return r.way.follows_sample and r.next - r.first >= LEAST_RECORDS \
        and reuse_is_rare(r.sample) != r.way.past_cache


cdef int drain(Queue q, Reading *r, PinnedMemory pinned) noexcept nogil:
    """Wait for all that is under way: the caller's buffer may go after this."""
    cdef int code = 0
    r.end = min(r.end, r.next)
    while code == 0 and r.under_way:
        code = read_on(q, r, AT_A_TIME, pinned)
    return code
