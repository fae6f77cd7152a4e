# Copies between memory and a buffer, of which a bus error is a result and not the end.
#
# Knows addresses, and which pages were touched a moment ago. It must not know the file.
#
# The reasons are in docs/design/memory.md.

# Copied at a time where not all of a range can be.
cdef int64_t CHUNK = 1 << 20

cdef inline const void *copy(char *memory, char *buffer, int64_t length, bint writing,
                             uint64_t now) noexcept nogil:
    """Copy one way or the other; returns the address that faulted, or NULL."""
    if not fault_in_force(now):
        return fault_carry(memory, buffer, length, writing)
    if writing:
        return fault_copy(memory, buffer, length)
    return fault_copy(buffer, memory, length)


# Pages that were touched a moment ago, process-wide. Reading them again cannot wait for a
# disk, so a small read among them keeps the GIL: giving it up would cost more than the
# copy. An entry is the page, told apart by its region's serial number since addresses are
# reused, and the tick it was touched in, in one word, so that threads without a GIL see
# both or neither; it is only a hint. The table covers 256 MiB: with 1024 entries, small
# reads all over that much missed it.
cdef uint64_t touched_pages[65536]


cdef inline uint64_t page_key(Region region, const char *address) noexcept nogil:
    return (<uintptr_t> address >> 12) + region.serial * 0x9e3779b97f4a7c15ULL


cdef inline bint touched(uint64_t key, uint64_t now) noexcept nogil:
    return touched_pages[key % 65536] == (key << 17 | now)


cdef inline bint is_hot(Region region, const char *address, int64_t length,
                        uint64_t now) noexcept nogil:
    """Whether the bytes lie in one or two pages touched in this tick."""
    cdef uint64_t first = page_key(region, address), last
    if length > 4096 or length == 0:
        return False
    last = page_key(region, address + length - 1)
    return touched(first, now) and (first == last or touched(last, now))


cdef inline void set_hot(Region region, const char *address, int64_t length,
                         uint64_t now) noexcept nogil:
    cdef uint64_t first = page_key(region, address), last
    if 0 < length <= 4096:
        last = page_key(region, address + length - 1)
        touched_pages[first % 65536] = first << 17 | now
        touched_pages[last % 65536] = last << 17 | now


cdef inline bint covers(const char *start, int64_t length,
                        const void *address) noexcept nogil:
    """Whether a fault at `address` is one of these bytes, or of their first page."""
    cdef uintptr_t page = <uintptr_t> start // PAGE * PAGE
    return page <= <uintptr_t> address < <uintptr_t> start + length


cdef inline int64_t copy_far(char *memory, char *buffer, int64_t length, bint writing,
                             uint64_t now, const void **fault) noexcept nogil:
    """Copy as far as memory goes; returns how far, and why not further in `fault`."""
    fault[0] = copy(memory, buffer, length, writing, now)
    if fault[0] == NULL:
        return length
    return copy_before(memory, buffer, length, writing, fault)


cdef int64_t copy_before(char *memory, char *buffer, int64_t length, bint writing,
                         const void **fault) noexcept nogil:
    """Copy what lies before the first page that faults, where `fault` is one that did.

    Piece by piece, since memmove goes in any order: of a long range whose end is gone, the
    last page may fault first, then the one before it.
    """
    cdef const void *found = fault[0]
    cdef int64_t copied = 0, piece = length
    while True:
        if found == NULL:
            copied += piece
        else:
            fault[0] = found
            if not covers(memory + copied, piece, found):
                return copied
            length = max(copied, <int64_t> (<uintptr_t> found & -PAGE) - <int64_t> memory)
        if copied == length:
            return copied
        piece = min(CHUNK, length - copied)
        found = copy(memory + copied, buffer + copied, piece, writing, tick())


cdef str CALLER = "in the caller's buffer"


cdef struct Strided:
    fault_range ranges[2]       # the memory, and the buffer
    char *memory                # of the first byte, which may be the highest
    char *buffer
    Py_ssize_t step, count
    bint writing


cdef void copy_strided(void *argument) noexcept nogil:
    cdef Strided *s = <Strided *> argument
    cdef Py_ssize_t i
    for i in range(s.count):
        if s.writing:
            s.memory[i * s.step] = s.buffer[i]
        else:
            s.buffer[i] = s.memory[i * s.step]
