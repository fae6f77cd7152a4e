# Pages that may have to come from the disk: asking for them, and learning that they did.
#
# Knows addresses and the clock. It must not know what is copied, nor from which mapping.
#
# The reasons are in docs/design/file.md.

cdef extern from "_file/record.h" nogil:
    void copy_record(char *target, const char *source, size_t length)
    void prefetch_record(uintptr_t address, size_t length)
    int64_t rough_nanoseconds()


cdef int64_t PAGE = sysconf(_SC_PAGESIZE)

# Records ahead that the processor is asked for. It takes some 100 ns to fetch one, and has
# room for about as many.
cdef int64_t PREFETCHED = 16

# A disk queue holds about as many requests as a window has records.
cdef int64_t WINDOW_RECORDS = 256
cdef int64_t WINDOW_BYTES = 1 << 23

# Pages that the kernel reads for one hint at least, by default (VM_READAHEAD_PAGES).
cdef uintptr_t READAHEAD = (1 << 17) // PAGE

# This many records are looked up at first.
cdef int64_t SAMPLES = 8

# Signals are looked for so often.
cdef int64_t STRETCH = 100_000_000


cdef inline uintptr_t ask_for_pages(uintptr_t start, int64_t length,
                                    uintptr_t asked) noexcept nogil:
    """Ask the kernel for the pages of a record, and return the page up to which it was.

    `asked` is what the call for the record before returned: it may be the same page.
    """
    cdef uintptr_t page = start // PAGE, end = (start + length + PAGE - 1) // PAGE
    while end != asked and page < end:
        madvise(<void *> (page * PAGE), min(end - page, READAHEAD) * PAGE, MADV_WILLNEED)
        page += READAHEAD
    return end


cdef inline bint is_resident(uintptr_t address) noexcept nogil:
    """Whether the page there is in memory; it is where the kernel does not tell."""
    cdef unsigned char page = 1
    mincore(<void *> (address // PAGE * PAGE), 1, &page)
    return page & 1


cdef inline bint has_waited(int64_t *faults) noexcept nogil:
    """Whether this thread has had a page read from the disk since it was asked last."""
    cdef resource_usage usage
    cdef int64_t before = faults[0]
    if getrusage(RUSAGE_THREAD, &usage) == -1:
        return False
    faults[0] = usage.ru_majflt
    return before != faults[0]


cdef inline bint has_read(int64_t *blocks) noexcept nogil:
    """Whether a disk was asked for anything by this thread since it was asked last."""
    cdef resource_usage usage
    cdef int64_t before = blocks[0]
    if getrusage(RUSAGE_THREAD, &usage) == -1:
        return False
    blocks[0] = usage.ru_inblock
    return before != blocks[0]


cdef inline int64_t time_for(int64_t records, int64_t bytes_, int64_t each) noexcept nogil:
    """Nanoseconds for records: `each` for one, and one for each two bytes."""
    return records * each + bytes_ // 2
