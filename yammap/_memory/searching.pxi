# Searches for bytes in memory. Knows two ranges of addresses.
#
# The reasons are in docs/design/memory.md.

cdef struct Search:
    fault_range ranges[2]       # the hay, and the needle
    bint backwards
    const char *found


cdef void search(void *argument) noexcept nogil:
    cdef Search *s = <Search *> argument
    if s.backwards:
        s.found = find_last(s.ranges[0], s.ranges[1])
    else:
        s.found = <const char *> memmem(s.ranges[0].start, s.ranges[0].length,
                                        s.ranges[1].start, s.ranges[1].length)


cdef const char *find_last(fault_range hay, fault_range needle) noexcept nogil:
    """The last match, by searches forward: from ever further back, then by halves.

    Comparing at each place from the end on would be simpler, and take as much longer as
    the needle is long, where the bytes are all alike.
    """
    cdef const char *start = <const char *> hay.start
    cdef const char *match
    cdef const char *found = NULL
    cdef int64_t first = 0, middle, step = 64
    cdef int64_t last = <int64_t> hay.length - <int64_t> needle.length + 1   # exclusive
    while first < last:
        middle = max(0, last - step) if found == NULL else first + (last - first) // 2
        match = <const char *> memmem(start + middle, last - middle + needle.length - 1,
                                      needle.start, needle.length)
        if match == NULL:
            last = middle
            step *= 2
        else:
            found = match
            first = match - start + 1
    return found
