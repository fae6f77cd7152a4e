# Pages that are always left in the page cache, to see whether anybody comes back for them.
#
# Knows the plan of a batch, addresses, files and the page cache. It must not know a queue.
#
# The reasons are in docs/design/queue.md.

cdef extern from "_file/reuse.h" nogil:
    struct reuse_share:
        pass
    struct reuse:
        reuse_share share
    void reuse_begin(reuse *r, uint64_t cache_pages)
    void reuse_read(reuse *r, uint64_t page)
    bint reuse_is_rare(const reuse *r)
    int64_t TRACER_GROUP
    void reuse_count(reuse_share *s, bint found, unsigned long_ago)
    bint reuse_found(const reuse_share *s, unsigned enough, unsigned parts)
    uint64_t reuse_hash(uint64_t page)
    int64_t tracer_of(int64_t group)
    int64_t tracer_among(int64_t first, int64_t last)


# For each batch, at most this many are looked up among its first records, and as many
# anywhere in the mapping. Of the latter, fewer tell nothing.
cdef int64_t MOST_LOOKED_UP = 16
cdef int64_t MOST_RECORDS = 1024
cdef unsigned ENOUGH = 64

# Half of the counts are forgotten then.
cdef unsigned LONG_AGO = 256


cdef struct Tracers:
    reuse_share wanted          # of those among the records of batches
    reuse_share anywhere        # of those in all of the mapping
    uint64_t random


cdef inline bint are_wanted(const Tracers *t) noexcept nogil:
    """Whether records are read again, or much of the file is in memory or about to be."""
    return reuse_found(&t.wanted, 1, 4) or reuse_found(&t.anywhere, ENOUGH, 8)


cdef void look_for_tracers(Tracers *t, const Plan *r, const Channel *channels,
                           int64_t mappings) noexcept nogil:
    cdef int64_t i
    look_among_records(t, r, channels)
    for i in range(MOST_LOOKED_UP):
        t.random += 1
        look_anywhere(t, r, channels, reuse_hash(t.random), mappings)


cdef void look_among_records(Tracers *t, const Plan *r,
                             const Channel *channels) noexcept nogil:
    cdef int64_t i, end = min(r.count, r.done + MOST_RECORDS), offset, page, looked_up = 0
    cdef int64_t origin
    for i in range(r.done, end):
        offset = offset_of(r, i)
        if offset == -1 or length_of(r, i) == 0:
            continue
        origin = channels[0 if r.memory == NULL else r.which[i]].origin
        page = tracer_among((origin + offset) // PAGE,
                            (origin + offset + length_of(r, i) - 1) // PAGE)
        if page != -1:
            look_up(&t.wanted, held(r, i), page * PAGE - origin)
            looked_up += 1
            if looked_up == MOST_LOOKED_UP:
                break


cdef void look_anywhere(Tracers *t, const Plan *r, const Channel *channels, uint64_t random,
                        int64_t mappings) noexcept nogil:
    cdef int64_t which = random % mappings
    cdef int64_t origin = channels[which].origin
    cdef fault_range memory = r.ranges[0]
    cdef int64_t groups, group
    if r.memory != NULL:
        memory = fault_range(r.memory[which].data, r.memory[which].length)
    groups = <int64_t> memory.length // (TRACER_GROUP * PAGE)
    if groups:
        group = origin // PAGE // TRACER_GROUP + <int64_t> (random // mappings % groups)
        look_up(&t.anywhere, memory, tracer_of(group) * PAGE - origin)


cdef inline fault_range held(const Plan *r, int64_t i) noexcept nogil:
    """The memory that a record is in."""
    if r.memory == NULL:
        return r.ranges[0]
    return fault_range(r.memory[r.which[i]].data, r.memory[r.which[i]].length)


cdef inline void look_up(reuse_share *share, fault_range memory,
                         int64_t offset) noexcept nogil:
    """Whether the page there is in the page cache, if it is in the mapping."""
    if 0 <= offset < <int64_t> memory.length:
        reuse_count(share, is_resident(<uintptr_t> memory.start + offset), LONG_AGO)


cdef inline void leave_tracer(int fd, int64_t offset, int64_t length) noexcept nogil:
    """Have the kernel read the tracer in this part of a file, if there is one."""
    cdef int64_t page = tracer_among(offset // PAGE, (offset + length - 1) // PAGE)
    if page != -1:
        posix_fadvise(fd, page * PAGE, PAGE, POSIX_FADV_WILLNEED)
