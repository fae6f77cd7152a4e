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
    """Find the last match by searches forward: from ever further back, then by halves.

    It would be simpler to compare at each place from the end, but where all bytes are
    alike, each comparison would take as long as the needle is.
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


cdef struct Line:
    fault_range ranges[2]       # where to look, and where to copy the line to
    char *copied
    size_t count                # 0: there is no end of a line


cdef void copy_line(void *argument) noexcept nogil:
    """Search and copy in one: two guarded calls would take half as long again."""
    cdef Line *line = <Line *> argument
    cdef const char *start = <const char *> line.ranges[0].start
    cdef const char *newline = <const char *> memchr(start, b"\n", line.ranges[0].length)
    if newline != NULL:
        line.count = newline + 1 - start
        memcpy(line.copied, start, line.count)
