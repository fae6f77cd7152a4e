# Offsets, lengths and pages, as numbers. Knows how large a page is. It must not know what a
# page holds.
#
# The reasons are in docs/design/linux.md.

cdef int64_t PAGE = sysconf(_SC_PAGESIZE)


# -- Words that threads share without a lock.

cdef extern from "_linux/words.h" nogil:
    uint64_t get_word "relaxed_load"(const uint64_t *word)
    void set_word "relaxed_store"(uint64_t *word, uint64_t value)
    uint64_t add_word "relaxed_add"(uint64_t *word, uint64_t value)
    unsigned long get_total "relaxed_load"(const unsigned long *total)
    void set_total "relaxed_store"(unsigned long *total, unsigned long value)
    int get_number "relaxed_load"(const int *number)
    void set_number "relaxed_store"(int *number, int value)
    size_t get_span "relaxed_load"(const size_t *span)
    void set_span "relaxed_store"(size_t *span, size_t value)
    ctypedef struct relaxed_offset:
        pass
    int64_t get_offset "relaxed_offset_load"(const relaxed_offset *offset)
    void set_offset "relaxed_offset_store"(relaxed_offset *offset, int64_t value)
    ctypedef struct ordered_size:
        pass
    Py_ssize_t get_ordered "ordered_load"(const ordered_size *size)
    void set_ordered "ordered_store"(ordered_size *size, Py_ssize_t value)


# -- The one range check.

cdef inline Py_ssize_t clip(int64_t offset, int64_t length, int64_t size) noexcept nogil:
    """How many of the `length` bytes from `offset` lie before `size`."""
    if offset >= size:
        return 0
    return size - offset if length > size - offset else length


cdef inline int64_t from_start(int64_t position, int64_t size) noexcept nogil:
    """A position that may count from the end, as in a slice."""
    return max(0, position + size) if position < 0 else position


cdef inline int64_t round_up(int64_t length) noexcept nogil:
    return (length + PAGE - 1) & -PAGE
