# Writes: what lies past the end grows the file, what lies inside goes the faster way.
#
# The reasons are in docs/design/mapping.md.

cdef int store(Mapping m, char *source, int64_t offset, int64_t length) except -1:
    cdef int64_t inside
    cdef Py_ssize_t truncations
    while True:
        truncations = m.memory.truncations()
        inside = length
        if clip(offset, length, m.memory.length()) < length:
            inside = extend(m, source, offset, length)
        if (store_inside(m, source, offset, inside)
                and truncations == m.memory.truncations()):
            return 0


cdef inline bint overwrite_hot(Mapping m, Py_buffer *source, int64_t offset) except -1:
    """Write to hot pages inside the mapping; False where more is to be asked first."""
    return (m.memory.is_writable() and not m.extent.appending
            and copy_hot(m, <char *> source.buf, offset, source.len, True,
                         may_be_mapped(source)))


cdef bint store_inside(Mapping m, char *source, int64_t offset, int64_t length) except -1:
    """Write piece by piece, each the faster way; False when a truncation overtook it."""
    cdef Snapshot s
    cdef Region region
    cdef int64_t done = 0, end
    if copy_hot(m, source, offset, length, True, True):
        return True
    region = m.memory.enter(&s)
    if not m.memory.mapped:
        return transfer(m, source, offset, length, True, 0) == length
    while done < length:
        end = end_of_hot(m, region, source, offset, done, length)
        if end == done and store_cold(m, source, offset, done):
            done += CHUNK
            continue
        end = max(end, min(done + CHUNK, length))
        if transfer(m, source, offset, end, True, done) < end:
            return False
        done = end
    return True


cdef bint store_hot(Mapping m, char *source, int64_t offset, int64_t length) except -1:
    """As `copy_hot`, where others may have cut the file: what is behind a cut is no write.

    A file that still has its last page was not cut before that; inside the last page, only
    a system call tells. So the last page has to be hot as well, and is touched for the next
    time if it is not: before anything is stored, since that gives up the GIL.
    """
    cdef Snapshot s
    cdef Region region = m.memory.enter(&s)
    cdef int64_t last = s.length - 1
    cdef uint64_t now
    cdef char byte
    if length > MOST_HOT or clip(offset, length + PAGE, last) < length + PAGE:
        return False
    now = tick()
    if not (is_hot(region, region.at(offset), length, True, now)
            and is_buffer_hot(source, length, False, now) and fault_in_force(now)):
        return False
    if not is_hot(region, region.at(last), 1, False, now):
        with nogil:
            warm_up(region, region.pages(last, 1))
        return False
    return (copy_in_force(region.at(offset), source, length, True) == NULL
            and copy_in_force(region.at(last), &byte, 1, False) == NULL
            and m.memory.is_undisturbed(&s))


cdef int64_t end_of_hot(Mapping m, Region region, const char *source, int64_t offset,
                        int64_t done, int64_t length) noexcept nogil:
    """How far to write in one memmove: up to the next large piece not in memory.

    As far as can be, since from some megabytes on memmove goes round the caches. All
    of it where the source is a view of the very bytes, which pieces would overwrite
    before they are read.
    """
    cdef const char *memory = region.at(offset)
    cdef unsigned char first = 1
    if m.memory.is_private() or (source < memory + length and memory < source + length):
        return length
    while length - done >= CHUNK:
        mincore(region.pages(offset + done, 1).start, 1, &first)
        if not first & 1:
            return done
        done += CHUNK
    return length


cdef bint store_cold(Mapping m, char *source, int64_t offset, int64_t done) except -1:
    """Write a piece that is not in memory by pwrite(2); False where it cannot be.

    Memory takes a page fault for each such page, the system call none. The mutex
    keeps out truncations, after which the call would extend the file again; other
    writers the kernel keeps out itself. What the call refuses, memory may take: it
    is tried next, and its fault reported.
    """
    cdef int64_t start = offset + done
    cdef bint written = False
    with m.mutex:
        if m.memory.is_open() and clip(start, CHUNK, m.memory.length()) == CHUNK:
            with nogil:
                written = m.extent.write_whole(source + done, start, CHUNK)
    return written
