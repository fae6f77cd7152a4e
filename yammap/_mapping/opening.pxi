# What a mapping learns when it is made, and lets go of when it is closed.
#
# Knows, as all files of this room, the memory and the file of a mapping together. It must
# not know modes and NumPy, which are above.
#
# The reasons are in docs/design/mapping.md.

cdef int set_up(Mapping m, bint private, bint readonly, offset, length, reserve,
                bint preallocate) except -1:
    cdef int64_t room = -1
    m.extent.begin_at(as_offset(offset, "offset"))
    if reserve is not None:
        room = min(as_offset(reserve, "reserve"), MOST_SIZE)
    m.memory.set_growth(length is None and not private, room)
    return learn_access(m, private, readonly, preallocate)


cdef int learn_access(Mapping m, bint private, bint readonly,
                      bint preallocate) except -1:
    cdef int status = fcntl(m.extent.fd, F_GETFL)
    cdef bint writable, appending
    check(m, code_of(status))
    if status & O_ACCMODE == O_WRONLY:
        raise ValueError(f"{m.name!r} is open for writing only, and a mapping must "
                         f"read: use O_RDWR")
    writable = status & O_ACCMODE != O_RDONLY and not readonly
    appending = writable and status & O_APPEND and not private
    m.extent.set_access(writable and not private, appending, preallocate)
    m.memory.set_access(private, private or (writable and not appending))
    return 0


cdef int learn_length(Mapping m, int64_t length) except -1:
    cdef file_stat status
    cdef int64_t size
    check(m, m.extent.status(&status))
    if S_ISDIR(status.st_mode):
        check(m, EISDIR)
    if not S_ISREG(status.st_mode):
        raise OSError(ENODEV, "only regular files can be mapped, and this is not one",
                      m.name)
    refuse_huge_pages(m, status.st_blksize)
    check(m, ahead_end(m.extent.fd, &status.st_size))
    m.extent.remember_file_size(status.st_size)
    size = status.st_size - m.extent.origin
    if size < 0:
        raise ValueError(f"offset {m.extent.origin} is past the end of {m.name!r} "
                         f"({status.st_size} bytes)")
    if length > size:
        raise ValueError(f"length {length} at offset {m.extent.origin} is past the end of "
                         f"{m.name!r} ({status.st_size} bytes)")
    m.memory.set_file(status.st_dev, status.st_ino, size if length == -1 else length)
    return check(m, EFBIG if m.memory.length > MOST_SIZE else 0)


cdef int refuse_huge_pages(Mapping m, long block) except -1:
    """Of hugetlbfs, whose files cannot be written and end at a huge page only."""
    cdef file_system system
    if block > PAGE and fstatfs(m.extent.fd, &system) == 0 and (
            system.f_type == HUGETLBFS_MAGIC):
        raise OSError(EOPNOTSUPP, f"files of hugetlbfs, in pages of {block} bytes, are "
                      "not supported: a tmpfs mounted with huge=advise and "
                      "MADV_HUGEPAGE give huge pages", m.name)
    return 0


cdef int set_up_ahead(Mapping m, int64_t ahead, bint possible) except -1:
    """Be the one who appends ahead, and end what one before us could not."""
    cdef int code = 0, refused = 0
    cdef bint writable = m.memory.grows and m.extent.saves
    if ahead and (not possible or not writable or m.extent.appending):
        raise ValueError(f"ahead={ahead} is for a mapping in memory that may write "
                         f"anywhere and grow, which that of {m.name!r} is not")
    if ahead:
        with nogil:     # it waits for who trims what a crash has left
            code = refused = m.extent.lock_ahead()
    if writable and code != EBUSY:
        with nogil:
            code = m.extent.recover()
    if code == EBUSY:
        raise OSError(EBUSY, "another mapping appends ahead of the file's end: one "
                      "alone can", m.name)
    if code == ENOENT:
        raise OSError(ENOENT, "its end was left ahead of its data, and /proc, which is "
                      "not mounted, is needed to trim it", m.name)
    check(m, code)       # what was appended to it would be cut off later
    if ahead:
        refused = refused or m.extent.run_ahead_by(min(ahead, MOST_RESERVE))
    return stay_exact(m, refused)


cdef int stay_exact(Mapping m, int code) except -1:
    """Tell that the file will not run ahead, unless the code is 0."""
    if code:
        m.extent.stop_ahead(m.memory.length)
        warnings.warn(f"{m.name!r} cannot run ahead of its data, so each append to "
                      f"it is a system call: ahead needs /proc, fcntl(2) with "
                      f"F_OFD_SETLK, fgetxattr(2), fsetxattr(2), fallocate(2), "
                      f"getrandom(2) and mmap(2), of which one is refused "
                      f"({strerror(code).decode()})", RuntimeWarning)
    return 0


cdef int set_up_memory(Mapping m, on_fault, bint keep_fd, engine) except -1:
    if on_fault not in ("raise", "poison"):
        raise ValueError(f"on_fault must be 'raise' or 'poison', not {on_fault!r}")
    if engine not in ("mmap", "auto", "pread"):
        raise ValueError(f"engine must be 'mmap', 'auto' or 'pread', not {engine!r}")
    m.memory.set_engine(engine != "pread", on_fault == "raise")
    if not keep_fd:
        m.memory.fix_size(True)
    check(m, code_of(fault_install()))
    map_first(m, engine)
    if not keep_fd:
        drop_descriptor(m)
    return 0


cdef int map_first(Mapping m, engine) except -1:
    cdef Region region = m.memory.new_region()
    cdef int code = 0
    if m.memory.mapped:
        warn_unless_guarded()
        m.extent.learn_overlay()
        code = map_file(m, region, m.memory.length)
    if code in (ENODEV, EPERM, EACCES) and engine != "auto":
        reason = strerror(code).decode()
        raise OSError(code, f"mmap(2) is refused: {reason} (sealed, or a filesystem "
                      f"without it? engine='auto' does without)", m.name)
    if code and engine == "auto":
        m.memory.do_without_mapping()
        code = 0
    if not m.memory.mapped and m.memory.is_private():
        code = code or ENODEV       # there is no copy on write without memory
    check(m, code)
    m.memory.begin(region)
    return 0


cdef int map_file(Mapping m, Region region, int64_t length) noexcept nogil:
    """Map the file into the empty `region`; returns an errno value."""
    cdef int fd = m.extent.descriptor_to_map()
    cdef int code = m.memory.map(region, fd, m.extent.origin, length)
    m.extent.let_go_of(fd)
    if code == 0:
        m.memory.watch_region(region, m.extent.fd, m.extent.origin)
    return code


cdef int drop_descriptor(Mapping m) except -1:
    """Let go of the file's descriptor; the size is fixed from now on."""
    cdef int code = CLOSED
    require_memory(m)
    with m.mutex:
        if m.memory.is_open():
            m.memory.let_go_of_file(False)
            m.memory.fix_size(True)
            with nogil:
                code = m.extent.close_file()
    return check(m, code)


cdef int close_mapping(Mapping m, bint revoke) except -1:
    """Views and copies in flight keep their regions. Returns an errno value."""
    cdef int code = 0, ahead_code = 0, revoke_code = 0
    with m.mutex:
        m.memory.stop_appends()
        with nogil:
            ahead_code = m.extent.stop_ahead(m.memory.length)
        m.memory.close()
        revoke_code = m.memory.let_go_of_file(revoke)
        m.memory.forget_older_regions(True)
        if m.extent.fd != -1:
            with nogil:
                code = m.extent.close_file()
            code = code or revoke_code or ahead_code
        else:
            code = revoke_code
        m.extent.forget_errors()
    return code


def birth(int fd):
    """When a file was made, in us, and in which filesystem; 0 where nothing tells.

    With the inode they know a file again, whatever is written to it: so there is no time on
    overlayfs, where the first write makes it that of the copy, and none finer than what
    ntfs3 and UDF write down. The filesystem's number is told
    where it is drawn at each mount, and nobody else can have that file: in memory.
    """
    cdef extended_stat status
    cdef file_system system
    cdef uint64_t filesystem = 0
    cdef int64_t time = 0
    if fstatfs(fd, &system) == -1:
        return 0, 0
    if system.f_type == TMPFS_MAGIC:
        memcpy(&filesystem, &system.f_fsid, sizeof(filesystem))
    if system.f_type != OVERLAYFS_SUPER_MAGIC and syscall(
            SYS_statx, fd, b"", AT_EMPTY_PATH, STATX_BTIME, &status) == 0:
        if status.mask & STATX_BTIME:
            time = status.btime.tv_sec * 1_000_000 + status.btime.tv_nsec // 1000
    return time, filesystem
