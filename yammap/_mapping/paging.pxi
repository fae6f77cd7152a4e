# Pages of a mapping: advice, bringing pages into memory, asking for them, dropping them.
#
# The reasons are in docs/design/mapping.md.

cdef int advise(Mapping m, int advice, object offset, object length) except -1:
    cdef int64_t start, count
    cdef int code = 0
    cdef Region region = select(m, offset, length, &start, &count)
    cdef PageRange pages = region.pages(start, count)
    if advice not in HARMLESS and not (advice == MADV_DONTNEED
                                       and not m.memory.is_private()):
        raise ValueError(f"advice {advice} is unknown, or destroys data")
    if not m.memory.mapped:
        return advise_file(m, advice, start, count)
    if advice == MADV_DONTFORK or advice == MADV_DOFORK:
        return advise_fork(m, advice, start == 0 and count == m.memory.length())
    if ((is_lasting(advice) or is_lasting_for_pages(advice))
            and start == 0 and length is None):
        return advise_whole(m, advice)
    if pages.length:
        with nogil:
            code = code_of(madvise(pages.start, pages.length, advice))
    region.renew()      # its pages may be gone from memory
    return check_call(m, code, "madvise(2)")


cdef int advise_whole(Mapping m, int advice) except -1:
    """Advise the reserve, too.

    Under the mutex, since a truncation unmaps a part of the reserve, and other memory may
    be mapped there then.
    """
    cdef int code = CLOSED
    with m.mutex:
        if m.memory.is_open():
            with nogil:
                code = m.memory.advise_all(advice)
            m.memory.region.renew()
    return check(m, code)


cdef int advise_file(Mapping m, int advice, int64_t start, int64_t count) except -1:
    cdef int code = CLOSED
    if advice > POSIX_FADV_DONTNEED:
        require_memory(m)
    with m.mutex:
        if m.memory.is_open():
            with nogil:
                code = m.extent.advise(advice, start, count)
    return check(m, code)


cdef int advise_fork(Mapping m, int advice, bint whole) except -1:
    """Of all regions, and those to come.

    The kernel unmaps the addresses in the child, where views and regions still have
    them; so zeros are put there at once (_sigbus/patch.c): nothing is unmapped twice.
    """
    cdef int code = CLOSED
    if not whole:
        raise ValueError("MADV_DONTFORK and MADV_DOFORK are for the whole mapping")
    with m.mutex:
        if m.memory.is_open():
            code = m.memory.advise_fork(advice)
    return check(m, code)


cdef int hint(Mapping m, object offset, object length) except -1:
    """Have the kernel read a range from the disk, without waiting for it.

    In pieces: of a longer range the kernel reads only as much as its readahead.
    """
    cdef int64_t start, count
    cdef Region region = select(m, offset, length, &start, &count)
    cdef PageRange pages = region.pages(start, count)
    cdef int code = 0
    require_memory(m)
    if count:
        with nogil:
            code = hint_pages(pages)
    return check(m, code)


cdef int drop(Mapping m, object offset, object length, bint write) except -1:
    """Drop the whole pages in a range from memory and from the page cache.

    No byte is lost. Pages stay that are dirty, locked, mapped by others, or part of a large
    folio that is not all in the range. With `write`, the kernel writes dirty pages first,
    also those of other mappings and descriptors, which our msync(2) may not write.
    """
    cdef int64_t start, count
    cdef int64_t lead = m.extent.origin % PAGE, first, last
    cdef int code = CLOSED
    select(m, offset, length, &start, &count)
    first = round_up(lead + start)
    last = lead + start + count
    if start == 0:
        first = 0       # a page that only the mapping's own edge cuts is whole
    last = round_up(last) if start + count == m.memory.length() else last // PAGE * PAGE
    with m.mutex:
        if m.memory.is_open():
            m.memory.drop(first, last, not m.extent.has_descriptor())
            with nogil:
                code = m.extent.drop_page_cache(m.extent.origin - lead + first,
                                                last - first, write)
    if write:
        raise_sync_failure(m, code)
    return check(m, code)


cdef Py_ssize_t send(Mapping m, int64_t offset, int64_t length, int sink) except -1:
    """Send bytes to the descriptor `sink`, which brings them into the page cache.

    Returns how many were sent; 0 if sendfile(2) cannot read them, and a copy tells why.
    POSIX_FADV_WILLNEED would not be faster, and would make small pages: only reading in
    sequence makes folios that fill a huge page.
    """
    cdef Py_ssize_t sent = 0
    with m.mutex:
        if m.extent.has_descriptor():
            with nogil:
                sent = m.extent.send(offset, length, sink)
    return max(sent, 0)


cdef bint is_in_memory(Mapping m) except -1:
    """Whether the file is on a tmpfs, of which there is nothing to read."""
    with m.mutex:
        return m.extent.is_on(TMPFS_MAGIC)


cdef object residency(Mapping m, object offset, object length):
    """Return one byte a page: 1 if it is in memory, as mincore(2) says, else 0."""
    cdef int64_t start, count
    cdef Region region = select(m, offset, length, &start, &count)
    cdef PageRange pages = region.pages(start, count)
    cdef size_t i, size = pages.length // PAGE if count else 0
    cdef int code
    require_memory(m)
    result = PyByteArray_FromStringAndSize(NULL, size)
    cdef unsigned char *vector = <unsigned char *> PyByteArray_AS_STRING(result)
    with nogil:
        code = code_of(mincore(pages.start, size * PAGE, vector))
        for i in range(size):
            vector[i] &= 1
    check_call(m, code, "mincore(2)")
    return result


cdef object count_cached(Mapping m, object offset, object length):
    """How many pages of a range are in the page cache, as cachestat(2) says."""
    cdef int64_t start, count
    cdef uint64_t cached = 0
    cdef int code = CLOSED
    select(m, offset, length, &start, &count)
    require_descriptor(m)
    if count == 0:
        return 0        # to cachestat(2) it would mean all to the end
    with m.mutex:
        if m.memory.is_open():
            with nogil:
                code = m.extent.count_cached(start, count, &cached)
    check_call(m, code, "cachestat(2)")
    return cached


cdef int populate(Mapping m, int64_t offset, int64_t length, bint write) except -1:
    """Make page table entries for a range; raise a BusError if a page is missing."""
    cdef Snapshot s
    cdef int64_t count = length
    cdef Region region = m.memory.enter(&s)
    cdef PageRange pages = region.pages(offset, length)
    cdef int code = 0
    fit(m, offset, &count, s.length)
    require_memory(m)
    if write:
        require(m, PROT_WRITE)
    with nogil:
        code = code_of(madvise(pages.start, pages.length,
                               MADV_POPULATE_WRITE if write else MADV_POPULATE_READ))
    # Linux before 5.14 lacks this advice, and sandboxes refuse it.
    if code == EFAULT or code == EINVAL or is_refused(code):
        code = find_fault(m, region, &s, pages, offset, write)
    return check(m, code)


cdef int find_fault(Mapping m, Region region, Snapshot *s, PageRange pages, int64_t start,
                    bint write) except -1:
    """Touch pages until one faults: madvise(2) does not say which page it was."""
    cdef fault_range ranges[2]
    cdef const void *fault
    cdef int64_t end = -1
    cdef int code = EFAULT
    cdef char byte
    ranges[0] = ranges[1] = fault_range(pages.start, pages.length)
    if not warn_unless_guarded():
        return EFAULT
    with nogil:
        fault = fault_call(touch_pages if write else look_at_pages, ranges, ranges)
    if fault == NULL:
        return 0        # they are there by now
    start = max(start, region.offset_of(fault))
    if move_by_call(m, s, <char *> fault, &byte, start, 1, False, &end, &code):
        code = ENOSPC   # the file has the byte, but there is no room for the page
    if code == EAGAIN:
        return 0        # a truncation of ours took it
    raise_bus_error(code, m.name, start, 0, write, m.extent.reason(code, end))


cdef int discard_changes(Mapping m, object offset, object length) except -1:
    """Throw away what was stored into a copy-on-write range."""
    cdef int64_t start, count, first, last
    cdef Region region = select(m, offset, length, &start, &count)
    cdef int64_t lead = m.extent.origin % PAGE
    cdef int code = 0
    if not m.memory.is_private():
        raise UnsupportedOperation(f"{m.name!r} is not mapped copy-on-write, and "
                                   f"has no changes of its own")
    first = round_up(lead + start) - lead
    last = (lead + start + count) // PAGE * PAGE - lead
    if start + count == m.memory.length():
        last = round_up(lead + start + count) - lead
    restore(m, start, min(first, start + count))
    restore(m, max(start, max(first, last)), start + count)
    if last > first:
        with nogil:
            code = code_of(madvise(region.at(first), last - first, MADV_DONTNEED))
    region.renew()
    return check(m, code)


cdef Py_ssize_t restore(Mapping m, int64_t start, int64_t end) except -1:
    """Overwrite less than a page of memory with the file's bytes."""
    cdef Py_ssize_t count = 0
    cdef int code = CLOSED
    if start >= end:
        return 0
    require_descriptor(m)
    require_file(m, start, end - start)
    original = PyBytes_FromStringAndSize(NULL, end - start)
    cdef char *buffer = PyBytes_AS_STRING(original)
    with m.mutex:
        if m.memory.is_open():
            with nogil:
                count = m.extent.read_bytes(buffer, start, end - start)
                code = code_of(count)
    check(m, code)
    return transfer(m, buffer, start, count, True, 0)


cdef int lock_pages(Mapping m, object offset, object length, bint locking) except -1:
    cdef int64_t start, count
    cdef Region region = select(m, offset, length, &start, &count)
    cdef PageRange pages = region.pages(start, count)
    cdef int code = 0
    require_memory(m)
    if count:
        with nogil:
            code = code_of(mlock(pages.start, pages.length) if locking
                           else munlock(pages.start, pages.length))
    return check(m, code, locking)


@cython.auto_pickle(False)
cdef class Paged(Mapping):
    """A mapping whose pages the layers above ask for, and give back."""

    def _range(self, offset, length):
        """The start and the number of bytes of a method's arguments, validated."""
        cdef int64_t start, count
        select(self, offset, length, &start, &count)
        return start, count

    def _require_memory(self, *, bint write=False):
        """Raise where there are no pages to use, or none to write to."""
        require_memory(self)
        if write:
            require(self, PROT_WRITE)

    def _hint(self, offset, length):
        hint(self, offset, length)

    def _drop(self, offset, length, *, bint write=False):
        drop(self, offset, length, write)

    def _send(self, int64_t offset, int64_t length, int sink):
        return send(self, offset, length, sink)

    def _is_in_memory(self):
        return is_in_memory(self)

    def _mincore(self, offset, length):
        return residency(self, offset, length)

    def _cachestat(self, offset, length):
        return count_cached(self, offset, length)

    def _open_again(self, int flags):
        """Open the file once more, by a descriptor that nobody can close meanwhile."""
        cdef int fd = -1, code = CLOSED
        require_descriptor(self)
        with self.mutex:
            if self.memory.is_open():
                with nogil:
                    fd = self.extent.open_again(flags)
                    code = code_of(fd)
        check(self, code)
        return fd

    def _write_by_call(self, data, offset):
        """Write inside the file by one system call, which a kill does not cut in two."""
        cdef Py_buffer source
        cdef int64_t start = as_offset(offset, "offset")
        cdef Py_ssize_t count = 0
        cdef int code = CLOSED
        require_descriptor(self)
        get_source(data, &source)
        with self.mutex:
            if self.memory.is_open():
                with nogil:
                    count = self.extent.write_bytes(<char *> source.buf, start, source.len)
                    code = code_of(count)
                    if count < source.len:
                        code = code or EBADF    # it would go to the end by now
        PyBuffer_Release(&source)
        check(self, code)

    def _populate(self, int64_t offset, int64_t length, bint write):
        populate(self, offset, length, write)
