# Appends that are a copy into memory: the file runs ahead, so it has that memory already.
#
# Appends by system call are in growing.pxi (`extend_at_end`).
#
# The reasons are in docs/design/mapping.md.

cdef int64_t append_hot(Mapping m, const char *source, int64_t length) noexcept:
    """Store a small record into pages that were made for it; -1 if it must wait.

    This keeps the GIL: releasing it would double the cost. The pages are in memory and
    written to all the time. If the kernel has written one to the disk meanwhile, the store
    waits until the filesystem lets it change again.

    This takes no mutex, which would cost as much as the copy: a thread that holds the mutex
    to change the size stops appends first, in a critical section, as this one is.
    """
    cdef int64_t start
    if length > PAGE or not fault_in_force(tick()):
        return -1
    with cython.critical_section(m.memory):
        start = m.memory.length()
        if start + length < m.memory.append_limit() and put(m, source, length):
            m.memory.grow_to(start + length)
        else:
            start = -1
    return start


cdef bint put(Mapping m, const char *source, int64_t length) noexcept nogil:
    """Store a record behind the end, and then the end; False if a page is missing.

    The caller holds the mutex, or is in the section, and publishes the record.
    """
    cdef fault_range ranges[2]
    cdef ahead_record record
    cdef char *end_of_file = m.memory.region.at(m.extent.end_of_trailer())
    record.target = m.memory.region.at(m.memory.length())
    record.source = source
    record.length = length
    record.end_of_data = &(<ahead_trailer *> end_of_file - 1).end
    record.end = m.extent.origin + m.memory.length() + length
    ranges[0] = fault_range(record.target, end_of_file - <char *> record.target)
    ranges[1] = fault_range(source, length)
    return (m.memory.has_no_new_patch()
            and fault_call(ahead_store, &record, ranges) == NULL
            and m.memory.has_no_new_patch())


cdef bint run_ahead(Mapping m, const char *source, int64_t offset, int64_t length,
                    int64_t *start) except -1:
    """Store the part of the range at `offset` (-1: the end) that lies past the end.

    Sets `start` to where the end was. False if the file must grow exactly: the range does
    not go on from its end, or the file cannot run ahead, since the disk is full or a page
    is missing. Then the caller grows the file by system call, or says why it cannot.
    """
    cdef Region next_region = m.memory.new_region()
    cdef int64_t inside, end, file_end = 0, changed = 0
    cdef int code = EAGAIN
    cdef bint stored = False, refused = False
    with m.mutex:
        m.memory.stop_appends()
        start[0] = m.memory.length()
        inside = 0 if offset == -1 else start[0] - offset
        end = start[0] + length - inside
        if (not m.memory.is_open() or not m.extent.step() or not 0 <= inside < length
                or not fault_in_force(tick())):
            return False
        with nogil:
            if m.extent.changed_by_others(m.memory.length()) == 0:
                code = step(m, end, next_region)
        refused = is_refused(code)
        if refused:
            with nogil:
                m.extent.stop_ahead(m.memory.length())    # it will be refused every time
        if code == 0:
            publish(m, next_region, start[0])
            stored = store_ahead(m, source + inside, length - inside)
        if not stored:
            with nogil:
                changed = m.extent.changed_by_others(m.memory.length())
            file_end = max(0, m.extent.size_left(m.memory.length()) + changed
                           - m.extent.origin)
    if changed < 0:
        raise_bus_error(EFAULT, m.name, file_end, 0, True,
                        m.extent.reason(EFAULT, file_end))
    stay_exact(m, code if refused else 0)
    return stored


cdef bint store_ahead(Mapping m, const char *source, int64_t length) noexcept:
    """Make pages, store a record, and let small ones follow without the mutex.

    The caller holds the mutex.
    """
    cdef int64_t end = m.memory.length() + length, start
    cdef bint stored
    with nogil:
        start = m.extent.write_pages(m.memory.length(), end)
        m.memory.populate(start, m.extent.populated)
        stored = put(m, source, length)
    if stored:
        m.memory.allow_appends(end, m.extent.populated)
    return stored


cdef int step(Mapping m, int64_t end, Region next_region) noexcept nogil:
    """Make the file long enough for data up to `end` and the trailer behind it.

    On a nearly full disk the step is small. The caller holds the mutex.
    """
    cdef int64_t least = m.extent.size_ahead(end)
    cdef int64_t size = least + round_up(m.extent.step())
    cdef int code
    if m.extent.has_size(least):
        return 0
    if not m.memory.mapped:
        return EOPNOTSUPP
    code = ensure_room(m, size - m.extent.origin, next_region)
    if code:
        return code
    code = m.extent.step_to(m.memory.length(), size)
    if code:
        code = m.extent.step_to(m.memory.length(), least)
    return code
