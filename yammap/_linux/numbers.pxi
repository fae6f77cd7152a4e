# Offsets, lengths and pages, as numbers. Knows how large a page is. It must not know what
# lies in one.
#
# The reasons are in docs/design/linux.md.

cdef int64_t PAGE = sysconf(_SC_PAGESIZE)


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
