# Copies between memory and a buffer. A bus error in a copy is a result, and kills nothing.
#
# Knows addresses, and which pages are hot. It must not know the file.
#
# The reasons are in docs/design/memory.md.

# Bytes to copy at a time, if not all of a range can be copied at once.
cdef int64_t CHUNK = 1 << 20

cdef inline const void *copy(char *memory, char *buffer, int64_t length, bint writing,
                             uint64_t now) noexcept nogil:
    """Copy one way or the other; returns the address that faulted, or NULL."""
    if not fault_in_force(now):
        return fault_carry(memory, buffer, length, writing)
    return copy_in_force(memory, buffer, length, writing)


cdef inline const void *copy_in_force(char *memory, char *buffer, int64_t length,
                                      bint writing) noexcept nogil:
    """As `copy`, for callers who know that the guard is in force."""
    if writing:
        return fault_copy(memory, buffer, length)
    return fault_copy(buffer, memory, length)


# The hot pages of the process. Touching them again does not wait for a disk, so a small
# copy of them keeps the GIL: releasing it would cost more than the copy. An entry has the
# page and the tick in which a copy touched it, in one word, so that threads without a GIL
# see both or neither. It is only a hint. Three things tell pages apart: the region's serial
# number, since addresses are reused; whether the copy stored to the page, since the first
# store to a page that was only read may wait for the filesystem; and the serial number 0
# for buffers of callers, which may be views of other files. The table covers 256 MiB: a
# table of 1024 entries missed small reads that were spread over that much. Where pages are
# larger than 4 KiB, an entry is of a part of one: a shift that is a constant costs less
# than the few misses.
cdef uint64_t touched_pages[65536]
cdef enum: PART = 12                # of an address, the bits within such a part
cdef int64_t MOST_HOT = 4096        # bytes, which lie in one or two pages
cdef uint64_t OF_BUFFERS = 0        # no region has this serial number
cdef uint64_t STORED = 0xd1b54a32d192ed03ULL


cdef inline int64_t left_of_part(const char *address) noexcept nogil:
    """How many bytes there are from an address to the end of its part of a page."""
    return (1 << PART) - <int64_t> (<uintptr_t> address & ((1 << PART) - 1))


cdef inline uint64_t page_key(uint64_t serial, uintptr_t page, bint writing) noexcept nogil:
    return page + serial + (STORED if writing else 0)


cdef inline bint touched(uint64_t key, uint64_t now) noexcept nogil:
    return get_word(&touched_pages[key % 65536]) == (key << 17 | now)


cdef inline bint were_touched(uint64_t serial, const char *address, int64_t length,
                              bint writing, uint64_t now) noexcept nogil:
    """Whether the bytes lie in one or two pages that a copy touched in this tick."""
    cdef uintptr_t first = <uintptr_t> address >> PART
    cdef uintptr_t last = (<uintptr_t> address + length - 1) >> PART
    if not 0 < length <= MOST_HOT or not touched(page_key(serial, first, writing), now):
        return False
    return first == last or touched(page_key(serial, last, writing), now)


cdef inline void set_touched(uint64_t serial, const char *address, int64_t length,
                             bint writing, uint64_t now) noexcept nogil:
    cdef uint64_t first = page_key(serial, <uintptr_t> address >> PART, writing)
    cdef uintptr_t end = (<uintptr_t> address + length - 1) >> PART
    cdef uint64_t last = page_key(serial, end, writing)
    if 0 < length <= MOST_HOT:
        set_word(&touched_pages[first % 65536], first << 17 | now)
        set_word(&touched_pages[last % 65536], last << 17 | now)


cdef inline bint is_hot(Region region, const char *address, int64_t length, bint writing,
                        uint64_t now) noexcept nogil:
    """Whether bytes of a mapping are, for a load or for a store."""
    return were_touched(get_word(&region.serial), address, length, writing, now)


cdef inline void set_hot(Region region, const char *address, int64_t length, bint writing,
                         uint64_t now) noexcept nogil:
    set_touched(get_word(&region.serial), address, length, writing, now)


cdef inline bint is_buffer_hot(const char *buffer, int64_t length, bint storing,
                               uint64_t now) noexcept nogil:
    """Whether bytes of a caller are, for a load or for a store."""
    return were_touched(OF_BUFFERS, buffer, length, storing, now)


cdef inline void set_buffer_hot(const char *buffer, int64_t length, bint storing,
                                uint64_t now) noexcept nogil:
    set_touched(OF_BUFFERS, buffer, length, storing, now)


cdef inline const void *call_on(Region region, void (*function)(void *) noexcept nogil,
                                void *argument, const fault_range *ranges,
                                bint writing) noexcept:
    """Call a function on memory and a buffer, with the GIL where both are hot.

    Returns as fault_call().
    """
    cdef uint64_t now = tick()
    cdef const char *memory = <const char *> ranges[0].start
    cdef const char *buffer = <const char *> ranges[1].start
    cdef int64_t length = ranges[0].length
    cdef const void *fault
    if (is_hot(region, memory, length, writing, now)
            and is_buffer_hot(buffer, ranges[1].length, False, now)):
        return fault_call(function, argument, ranges)
    with nogil:
        fault = fault_call(function, argument, ranges)
    if fault == NULL:
        set_hot(region, memory, length, writing, now)
        set_buffer_hot(buffer, ranges[1].length, False, now)
    return fault


cdef inline bint copy_hot_line(Region region, char *memory, int64_t length, uint64_t now,
                               Line *line) noexcept:
    """Copy up to a newline, with the GIL; False where there is none, or no hot page."""
    if not is_hot(region, memory, length, False, now):
        return False
    line.ranges[0] = fault_range(memory, length)
    line.ranges[1] = fault_range(line.copied, length)
    return fault_call(copy_line, line, line.ranges) == NULL and line.count != 0


cdef void warm_up(Region region, PageRange pages) noexcept nogil:
    """Touch pages that small copies will want next, which then keep the GIL.

    A page that faults stays as it is: the copy that wants it finds out why.
    """
    cdef uint64_t now = tick()
    cdef fault_range ranges[2]
    cdef size_t i
    ranges[0] = ranges[1] = fault_range(pages.start, pages.length)
    if fault_in_force(now) and fault_call(look_at_pages, ranges, ranges) == NULL:
        for i in range(pages.length // PAGE):
            set_hot(region, pages.start + i * PAGE, 1, False, now)


cdef inline bint covers(const char *start, int64_t length,
                        const void *address) noexcept nogil:
    """Whether `address` is that of one of these bytes, or lies in their first page."""
    cdef uintptr_t page = <uintptr_t> start // PAGE * PAGE
    return page <= <uintptr_t> address < <uintptr_t> start + length


cdef inline int64_t copy_far(char *memory, char *buffer, int64_t length, bint writing,
                             uint64_t now, const void **fault) noexcept nogil:
    """Copy up to the first fault; returns how far, and puts its address into `fault`."""
    fault[0] = copy(memory, buffer, length, writing, now)
    if fault[0] == NULL:
        return length
    return copy_before(memory, buffer, length, writing, fault)


cdef int64_t copy_before(char *memory, char *buffer, int64_t length, bint writing,
                         const void **fault) noexcept nogil:
    """Copy the bytes before the first page that faults; `fault` is an address that faulted.

    Piece by piece, since memmove goes in any order: if the end of a long range is gone, the
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
    """All is held in variables, which a store into bytes cannot change."""
    cdef const Strided *s = <const Strided *> argument
    cdef char *memory = s.memory
    cdef char *buffer = s.buffer
    cdef Py_ssize_t step = s.step, i
    if s.writing:
        for i in range(s.count):
            memory[i * step] = buffer[i]
    else:
        for i in range(s.count):
            buffer[i] = memory[i * step]
