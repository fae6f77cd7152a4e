# How a mapping gets another size: address space first, then the file, then the length.
#
# A function that changes the size holds the mutex, and has stopped the appends that take
# none. `extend` is for a write past the end and for `resize`, and `extend_at_end` for an
# append. Both lengthen the file by `Extent.lengthen`. Appends that run ahead of the data
# are in running_ahead.pxi.
#
# The reasons are in docs/design/mapping.md.

cdef int ensure_room(Mapping m, int64_t length, Region next_region) noexcept nogil:
    """Have address space for `length` bytes; map the file into `next_region` if needed.

    The caller holds the mutex.
    """
    cdef int code = m.memory.make_room(length)
    if code != NO_REGION or next_region is None:
        return code
    return map_file(m, next_region, length)


cdef int publish(Mapping m, Region next_region, int64_t length) except -1:
    """Make `length` the size, in `next_region` if the file is mapped there.

    The caller holds the mutex.
    """
    cdef bint was_empty = m.extent.remember_size(length, m.memory.length())
    return m.memory.publish(next_region, length, was_empty)


cdef Py_ssize_t extend(Mapping m, const char *source, int64_t offset,
                       int64_t length) except -1:
    """Write the part of the range past the end; returns how many bytes lie before it."""
    cdef Region next_region = m.memory.new_region()
    cdef int64_t inside
    cdef int code = CLOSED
    require_growable(m)
    if offset > MOST_SIZE or clip(m.extent.origin + offset, length, MOST_SIZE) < length:
        check(m, EFBIG)
    if m.extent.step() and run_ahead(m, source, offset, length, &inside):
        return inside - offset
    with m.mutex:
        m.memory.stop_appends()
        inside = clip(offset, length, m.memory.length())
        if m.memory.is_open():
            with nogil:
                code = (m.extent.make_exact(m.memory.length())
                        or ensure_room(m, offset + length, next_region))
                if code == 0:
                    code = m.extent.lengthen(source + inside, m.memory.length(),
                                             offset + inside, length - inside)
            if code == 0:
                publish(m, next_region, max(m.memory.length(), offset + length))
    check(m, code)
    return inside


cdef int64_t extend_at_end(Mapping m, const char *source, int64_t length) except? -1:
    cdef Region next_region = None
    cdef int64_t start
    cdef int code = NO_REGION
    require_growable(m)
    if m.extent.step() and run_ahead(m, source, -1, length, &start):
        return start
    while code == NO_REGION:
        code = extend_exactly(m, source, length, &start, next_region)
        if code == NO_REGION:
            next_region = m.memory.new_region()
    check(m, code)
    if m.extent.appending and start + length > m.memory.length():
        follow_record(m)
    return start


cdef int extend_exactly(Mapping m, const char *source, int64_t length, int64_t *start,
                        Region next_region) except? -1:
    """Append by system call; returns an errno value."""
    cdef int64_t end
    cdef int code = CLOSED
    with m.mutex:
        m.memory.stop_appends()
        start[0] = m.memory.length()
        end = start[0] + length
        if m.memory.is_open():
            with nogil:
                if m.extent.appending:
                    code = append_record(m, source, length, start, &end, next_region)
                else:
                    code = (m.extent.make_exact(m.memory.length())
                            or ensure_room(m, end, next_region))
                    if code == 0:
                        code = m.extent.lengthen(source, start[0], start[0], length)
            if code == 0:
                publish(m, next_region, max(m.memory.length(), end))
    return code


cdef int append_record(Mapping m, const char *source, int64_t length, int64_t *start,
                       int64_t *end, Region next_region) noexcept nogil:
    """Append with O_APPEND; NO_REGION, before that, if it is to be done with a new region.

    Others may have appended so much that the new end has no room all the same. Then the
    end stays where it is, for `follow_record`. The caller holds the mutex.
    """
    cdef int code
    if next_region is None and m.memory.make_room(end[0]) == NO_REGION:
        return NO_REGION
    code = m.extent.append_record(source, length, m.memory.length(), start, end)
    if code == 0 and end[0] > m.memory.length() and ensure_room(m, end[0], next_region):
        end[0] = m.memory.length()
    return code


cdef int follow_record(Mapping m) except -1:
    """Publish a record that is in the file, behind what others have appended.

    So nothing may fail: if the new end cannot be mapped, `refresh` says so later.
    """
    try:
        take_over_size(m)
    except (MemoryError, OSError, ValueError):      # another thread has closed it
        pass
    return 0


cdef bint shrink(Mapping m, int64_t length) except -1:
    """Cut the file; False if another thread has cut it further, and it must grow now."""
    cdef Region next_region = m.memory.new_region()
    cdef Py_ssize_t exports = 0
    cdef int code = CLOSED
    with m.mutex:
        m.memory.stop_appends()
        if m.memory.is_open():
            if length > m.memory.length():
                return False
            with nogil:
                code = m.extent.make_exact(m.memory.length())
            if code == 0:
                code = cut(m, length, next_region, &exports)
    if exports:
        one = exports == 1
        raise BufferError(f"{m.name!r} cannot become smaller: {exports} of its views "
                          f"{'is alive: drop it' if one else 'are alive: drop them'}")
    check(m, code)
    return True


cdef int cut(Mapping m, int64_t length, Region next_region, Py_ssize_t *exports) except -1:
    """Shorten the file, unless there are `exports`; returns an errno value.

    If the region has uncounted holders, the mapping first gets another one and leaves this
    one to them, since its tail will have no file behind it. The caller holds the mutex.
    """
    cdef Region former = m.memory.region
    cdef Py_ssize_t old = m.memory.length()
    cdef int code = 0
    if former.may_be_held_uncounted():
        with nogil:
            code = map_file(m, next_region, old)
        if code:
            return code
    exports[0] = m.memory.announce_truncation(length, next_region.is_mapped())
    if exports[0]:
        return 0
    with nogil:
        code = m.extent.shorten(length)
    publish(m, next_region, old if code else length)
    m.memory.zero_tails(former, m.memory.length())
    return code


cdef int64_t take_over_size(Mapping m) except -1:
    """Publish the size that the file has now; map a file anew that may be another one."""
    cdef Region next_region = m.memory.new_region()
    cdef int64_t end = 0, changed = 0
    cdef int code = CLOSED
    with m.mutex:
        m.memory.stop_appends()
        if m.memory.is_open():
            with nogil:
                code = m.extent.end_of_data(m.memory.length(), &end)
                if code == 0:
                    end = max(0, end - m.extent.origin)
                    changed = m.extent.time_of_change()
                    if changed != m.extent.changed:
                        code = map_file(m, next_region, end)
                    else:
                        code = ensure_room(m, end, next_region)
            if code == 0:
                m.extent.remember_change(changed)
                publish(m, next_region, end)
    check(m, code)
    return end


cdef int change_blocks(Mapping m, int mode, object offset, object length) except -1:
    cdef int64_t start, count
    cdef int code = CLOSED
    select(m, offset, length, &start, &count)
    require_descriptor(m)
    if m.memory.is_private():
        raise UnsupportedOperation(f"{m.name!r} is mapped copy-on-write")
    if count == 0:
        return 0
    with m.mutex:
        if m.extent.has_descriptor():
            with nogil:
                code = m.extent.require_room_inside(count) if mode == 0 else 0
                code = code or m.extent.change_blocks(mode, start, count)
    return check_call(m, code, "fallocate(2)")
