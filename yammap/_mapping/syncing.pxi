# Syncing bytes to the disk. A sync that failed stays failed.
#
# The reasons are in docs/design/mapping.md.

cdef int sync_mapping(Mapping m, object offset, object length, bint wait) except -1:
    cdef int64_t start, count
    cdef Region region = select(m, offset, length, &start, &count)
    cdef PageRange pages = region.pages(start, count)
    cdef int code
    warn_unless_guarded()
    if m.memory.is_private():
        return 0
    if wait and m.extent.step():
        make_exact_now(m)
    if wait and count and m.memory.mapped:
        with nogil:
            code = sync_pages(pages)
        region.renew()      # the next store to a page waits for the filesystem
    elif m.extent.has_descriptor() or not wait:
        code = sync_file_of(m, start, count, wait)
    else:
        code = 0    # an empty mapping without a descriptor
    if wait and m.extent.watches_errors():
        with m.mutex:
            if m.memory.is_open():
                with nogil:
                    code = m.extent.sync_watched(code)
    if not m.memory.has_no_new_patch():
        m.memory.look_for_patches()     # the kernel did not write a patch
    raise_sync_failure(m, code)
    return require_file(m, start, count)


cdef int sync_file_of(Mapping m, int64_t start, int64_t count, bint wait) except? -1:
    """Sync by the descriptor; returns an errno value."""
    cdef int code = CLOSED
    require_descriptor(m)
    with m.mutex:
        if m.memory.is_open():
            with nogil:
                code = m.extent.sync(start, count, wait)
    return code


cdef int make_exact_now(Mapping m) except -1:
    cdef int code = CLOSED
    with m.mutex:
        m.memory.stop_appends()
        if m.memory.is_open():
            with nogil:
                code = m.extent.make_exact(m.memory.length())
    return check(m, code)


cdef int require_file(Mapping m, int64_t start, int64_t count) except -1:
    """Raise if the file has become shorter: bytes past its end were not written."""
    cdef int64_t end
    with m.mutex:
        end = m.extent.end_now()
    if end != -1 and end < start + count:
        raise_bus_error(EFAULT, m.name, end, 0, True, m.extent.reason(EFAULT, end))
    return 0


cdef int raise_sync_failure(Mapping m, int code) except -1:
    """Raise the first failure of a sync, which may be this one."""
    cdef int first = m.extent.first_sync_failure(code)
    if first:
        reason = strerror(first).decode()
        raise OSError(first, f"{reason}: bytes written before may not be "
                      f"on the disk; rewrite() tries again", m.name)
    return check(m, code)


cdef int rewrite_pages(Mapping m, object offset, object length) except -1:
    """Mark pages as changed, and sync; after a success for all, syncing works again."""
    cdef int64_t start, count
    cdef Region region = select(m, offset, length, &start, &count)
    cdef PageRange pages = region.pages(start, count)
    cdef fault_range ranges[2]
    cdef const void *fault
    require_positional(m)
    require_memory(m)
    require_descriptor(m)
    if not warn_unless_guarded():
        raise UnsupportedOperation("without the guard this could kill the process")
    if m.memory.is_private() or count == 0:
        return 0
    ranges[0] = ranges[1] = fault_range(pages.start, pages.length)
    with nogil:
        fault = fault_call(touch_pages, ranges, ranges)
    if fault != NULL:
        raise_bus_error(EFAULT, m.name, region.offset_of(fault), 0, True,
                        "the page cannot be written")
    if start == 0 and count == m.memory.length():
        forgive_sync_failure(m)
    m.sync(start, count)
    return 0


cdef int forgive_sync_failure(Mapping m) except -1:
    with m.mutex:
        if m.memory.is_open():
            with nogil:
                m.extent.sync_watched(0)
        m.extent.forget_sync_failure()
    return 0
