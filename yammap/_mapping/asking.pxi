# What each operation checks first, and the one place that turns an errno value into an
# OSError.
#
# A BusError is no failed call: _memory/reports.pxi raises it.
#
# The reasons are in docs/design/mapping.md.

cdef Region select(Mapping m, object offset, object length, int64_t *start, int64_t *count):
    """Return the region; set `start` and `count` to the validated range of a method."""
    cdef Snapshot s
    convert(m, offset, length, start, count)
    cdef Region region = m.memory.enter(&s)
    fit(m, start[0], count, s.length)
    return region


cdef int convert(Mapping m, object offset, object length, int64_t *start,
                 int64_t *count) except -1:
    """Convert the numbers of a range; a length of -1 means all to the end."""
    start[0] = as_offset(offset, "offset")
    count[0] = -1 if length is None else as_offset(length, "length")
    return 0


cdef int fit(Mapping m, int64_t start, int64_t *count, int64_t size) except -1:
    if start > size:
        raise ValueError(f"offset {start} is past the end of {m.name!r} "
                         f"({size} bytes)")
    if count[0] == -1:
        count[0] = size - start
    if clip(start, count[0], size) < count[0]:
        raise ValueError(f"{count[0]} bytes at offset {start} are not all in "
                         f"{m.name!r}, which has {size} bytes here")
    return 0


cdef int check(Mapping m, int code, bint locking=False) except -1:
    """The one errno check: raise the OSError of `code`, unless it is 0."""
    if code == CLOSED:
        m.memory.require_open()
    if code:
        reason = strerror(code).decode() + limit_behind(code, locking=locking)
        raise OSError(code, reason, m.name)
    return 0


cdef int check_call(Mapping m, int code, str call) except -1:
    """As `check`, and name the call if the kernel or a sandbox refuses it."""
    if is_refused(code):
        raise OSError(code, f"{call} is refused: {strerror(code).decode()}", m.name)
    return check(m, code)


cdef int require(Mapping m, int prot) except -1:
    m.memory.require_open()
    if prot & ~m.memory.prot:
        raise UnsupportedOperation(f"{m.name!r} is mapped read-only: open it with mode "
                                   "'r+' to write")
    return 0


cdef int require_positional(Mapping m) except -1:
    if m.extent.appending:
        raise UnsupportedOperation(f"{m.name!r} is in append mode, and takes bytes "
                                   f"only at its end")
    return require(m, PROT_WRITE)


cdef int require_descriptor(Mapping m) except -1:
    m.memory.require_open()
    return refuse_without_descriptor(m)


cdef int refuse_without_descriptor(Mapping m) except -1:
    if m.memory.is_open() and not m.extent.has_descriptor():
        raise UnsupportedOperation(f"the mapping of {m.name!r} has let go of its "
                                   f"descriptor (keep_fd=False)")
    return 0


cdef int require_memory(Mapping m) except -1:
    m.memory.require_open()
    if not m.memory.mapped:
        raise UnsupportedOperation(f"{m.name!r} is not mapped: its engine is "
                                   f"'pread'")
    return 0


cdef int require_growable(Mapping m) except -1:
    require(m, 0 if m.extent.appending else PROT_WRITE)
    fault_in_force(tick())      # puts our handler back; mostly this is free
    refuse_without_descriptor(m)
    if not m.memory.grows:
        raise ValueError(f"this mapping of {m.name!r} has a fixed size of "
                         f"{m.memory.length()} bytes: it is copy-on-write or a window")
    if m.extent.inherited:
        raise ValueError(f"{m.name!r} was opened with ahead by the process that "
                         f"forked this one, and grows there")
    return 0
