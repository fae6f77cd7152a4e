# A mapping as a sequence of bytes: items, slices, searches, moves.
#
# The reasons are in docs/design/mapping.md.

# Searched at once, before signals are looked at: where every page is a hole that must be
# mapped, a search takes 4 s a GiB.
cdef int64_t PIECE = 1 << 24


cdef int set_item(Mapping m, object key, object value) except -1:
    cdef Py_ssize_t index
    cdef unsigned char byte
    if not PyIndex_Check(key):
        return set_slice(m, key, value)
    index = PyNumber_AsSsize_t(key, <void *> IndexError)
    require_mutable(m)
    say_index_first(m, index)
    byte = as_byte(value)
    if copy_hot(m, <char *> &byte, offset_of(m, index), 1, True, False):
        return 0        # the byte is no caller's buffer
    while transfer(m, <char *> &byte, offset_of(m, index), 1, True, 0) == 0:
        pass
    return 0


cdef int say_index_first(Mapping m, Py_ssize_t index) except -1:
    """Refuse a wrong index before any other mistake, as `mmap` before Python 3.14."""
    if PY_VERSION_HEX < 0x030E0000:
        offset_of(m, index)
    return 0


cdef int set_slice(Mapping m, object key, object value) except -1:
    cdef Py_ssize_t first, last, step, start, stop, count
    cdef Py_buffer source
    unpack(key, &first, &last, &step)
    get_source(value, &source)
    try:
        require_mutable(m)
        while True:
            start, stop = first, last
            count = PySlice_AdjustIndices(m.memory.length(), &start, &stop, step)
            if source.len != count:
                raise IndexError(f"mmap slice assignment is wrong size: {source.len} "
                                 f"bytes for {count} of {m.name!r}")
            if step == 1 and copy_hot(m, <char *> source.buf, start, count, True,
                                      may_be_mapped(&source)):
                return 0
            if transfer_slice(m, <char *> source.buf, start, step, count, True):
                return 0
    finally:
        PyBuffer_Release(&source)


cdef inline int require_mutable(Mapping m) except -1:
    """With the error of `mmap` and `memoryview`, where methods say it as files do."""
    if m.memory.is_open() and m.memory.is_writable():
        return 0        # what else there is to refuse, the copy finds
    m.memory.require_open()
    if not m.memory.is_writable():
        raise TypeError("mmap can't modify a readonly memory map. Open "
                        f"{m.name!r} for writing")
    return 0


cdef inline int64_t offset_of(Mapping m, Py_ssize_t index) except -1:
    cdef Py_ssize_t size = m.memory.length()
    cdef int64_t offset = index + size if index < 0 else index
    if 0 <= offset < size:
        return offset
    return refuse_index(m, index, size)


cdef int refuse_index(Mapping m, Py_ssize_t index, Py_ssize_t size) except -1:
    m.memory.require_open()
    raise IndexError(f"mmap index out of range: {index} of {m.name!r}, which has "
                     f"{size} bytes")


cdef bint transfer_slice(Mapping m, char *buffer, Py_ssize_t start, Py_ssize_t step,
                         Py_ssize_t count, bint writing) except -1:
    """Copy one way or the other; False when a truncation of ours overtook it."""
    cdef Py_ssize_t truncations = m.memory.truncations()
    if step != 1:
        return transfer_strided(m, buffer, start, step, count, writing)
    if writing:
        return (store_inside(m, buffer, start, count)
                and truncations == m.memory.truncations())
    return transfer(m, buffer, start, count, False, 0) == count


cdef bint transfer_strided(Mapping m, char *buffer, Py_ssize_t start, Py_ssize_t step,
                           Py_ssize_t count, bint writing) except -1:
    """Copy bytes `step` apart in one loop; one by one where that is not possible.

    That goes on where only memory refuses, and else knows the byte and the cause.
    """
    cdef Snapshot s
    cdef Region region = m.memory.enter(&s)
    cdef Py_ssize_t i, last
    cdef const void *fault
    cdef Strided what
    if count == 0:
        return True
    last = start + (count - 1) * step
    if max(start, last) >= s.length:
        return False
    what.ranges[0] = fault_range(region.at(min(start, last)), abs(last - start) + 1)
    what.ranges[1] = fault_range(buffer, count)
    what.memory, what.buffer = region.at(start), buffer
    what.step, what.count, what.writing = step, count, writing
    if m.memory.is_guarded():
        fault = call_on(region, copy_strided, &what, what.ranges, writing)
        if m.memory.must_retry(region, &s):
            return False
        if fault == NULL:
            return True
    for i in range(count):
        if transfer(m, buffer + i, start + i * step, 1, writing, 0) == 0:
            return False
    return True


cdef int64_t search_for(Mapping m, object sub, object start, object end,
                        bint backwards) except -2:
    cdef Py_buffer needle
    cdef int64_t first = PyNumber_AsSsize_t(start, NULL)
    cdef int64_t last = INT64_MAX if end is None else PyNumber_AsSsize_t(end, NULL)
    get_source(sub, &needle)
    try:
        return search_from(m, &needle, first, last, backwards)
    finally:
        PyBuffer_Release(&needle)


cdef int64_t search_from(Mapping m, Py_buffer *needle, int64_t start, int64_t end,
                         bint backwards) except -2:
    """Search piece by piece, which overlap by the needle, with signals in between."""
    cdef Snapshot s
    cdef Region region
    cdef int64_t overlap = max(needle.len - 1, 0)
    cdef int64_t large = max(PIECE, 2 * needle.len), most = max(MOST_HOT, 2 * needle.len)
    cdef int64_t first, last, at, length
    cdef Search what
    cdef const void *fault
    what.ranges[1] = fault_range(needle.buf, needle.len)
    what.backwards = backwards
    m.memory.enter(&s)
    first, last = from_start(start, s.length), from_start(end, s.length)
    while True:
        region = m.memory.enter(&s)
        last = min(last, s.length)
        if first > last:
            return -1
        if not m.memory.is_guarded():
            return search_copies(m, &what, first, last)
        length = min(last - first, most)
        most = large        # the first piece is small, and may be hot
        at = last - length if backwards else first
        what.ranges[0] = fault_range(region.at(at), length)
        fault = call_on(region, search, &what, what.ranges, False)
        if m.memory.must_retry(region, &s):
            continue
        if fault != NULL:
            if not covers(region.at(at), length, fault):
                raise_bus_error(EFAULT, m.name, at, 0, False, CALLER)
            return search_copies(m, &what, first, last)
        if what.found != NULL:
            return region.offset_of(what.found)
        if length == last - first:
            return -1
        if backwards:
            last = at + overlap
        else:
            first = at + length - overlap
        PyErr_CheckSignals()


cdef int64_t search_copies(Mapping m, Search *what, int64_t first, int64_t last) except -2:
    """Search copies, which overlap by the needle, where memory cannot be searched."""
    cdef int64_t overlap = what.ranges[1].length
    cdef int64_t length = max(CHUNK, 2 * overlap)
    cdef int64_t start, count
    piece = PyBytes_FromStringAndSize(NULL, length)
    cdef char *copied = PyBytes_AS_STRING(piece)
    while True:
        start = max(first, last - length) if what.backwards else first
        count = transfer(m, copied, start, min(length, last - start), False, 0)
        what.ranges[0] = fault_range(copied, count)
        with nogil:
            search(what)
        if what.found != NULL:
            return start + (what.found - copied)
        if (start == first) if what.backwards else (count < length):
            return -1
        if what.backwards:
            last = start + overlap
        else:
            first = start + length - overlap
        PyErr_CheckSignals()


cdef int move_pieces(Mapping m, int64_t target, int64_t source, int64_t length) except -1:
    """By way of a buffer, so that bytes and faults are those of ordinary copies.

    A memmove inside the mapping is not to be repeated after a fault or a truncation:
    it has changed its own source.
    """
    cdef char piece[4096]       # a thread's stack may be small
    cdef int64_t done = 0, count, start
    cdef bint backwards = target > source
    while done < length:
        count = min(length - done, <int64_t> sizeof(piece))
        start = length - done - count if backwards else done
        try:
            if (transfer(m, piece, source + start, count, False, 0) < count
                    or transfer(m, piece, target + start, count, True, 0) < count):
                raise ValueError(f"{m.name!r} was cut to {m.memory.length()} bytes, of "
                                 f"which {length} were to be moved")
        except BusError as error:
            error.count = done
            raise
        done += count
    return 0
