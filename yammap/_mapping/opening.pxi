# What a mapping learns when it is made, and lets go of when it is closed.
#
# Knows, as all files of this room, the memory and the file of a mapping together. It must
# not know modes and NumPy, which are above.
#
# The reasons are in docs/design/mapping.md.

cdef int begin(Mapping m, fd, name, private, readonly, offset, length, reserve,
               preallocate, on_fault, keep_fd, engine, ahead) except -1:
    cdef Descriptor own = fd if isinstance(fd, Descriptor) else None
    cdef int descriptor = -1 if own is not None else as_descriptor(fd)
    cdef bint started
    with cython.critical_section(m):
        started, m.started = m.started, True    # before any argument's own code runs
    if started:
        raise RuntimeError("a mapping is initialised only once")
    m.extent.own(descriptor if own is None else own.take())
    try:
        m.memory.rename(new_path_of(m.extent.fd) if name is None else name)
        set_up(m, own, private, readonly, offset, length, reserve, preallocate)
        set_up_end(m, own, length, as_offset(ahead, "ahead"),
                   keep_fd and engine != "pread")
        set_up_memory(m, on_fault, keep_fd, engine)
    except BaseException:
        m.close()
        raise
    return 0


def map_descriptor(Mapping m not None, fd, name, *, private=False, readonly=False, offset=0,
                   length=None, reserve=None, preallocate=True, on_fault="raise",
                   keep_fd=True, engine="mmap", ahead=0):
    """As `Mapping.__init__`, which takes twice as long, since Python calls it by a dict.

    A name of None is the path of the descriptor, which is found when an error needs it.
    """
    begin(m, fd, name, private, readonly, offset, length, reserve, preallocate, on_fault,
          keep_fd, engine, ahead)


cdef int set_up(Mapping m, Descriptor own, bint private, bint readonly, offset, length,
                reserve, bint preallocate) except -1:
    cdef int64_t room = -1
    m.extent.begin_at(as_offset(offset, "offset"))
    if reserve is not None:
        room = min(as_offset(reserve, "reserve"), MOST_SIZE)
    m.memory.set_growth(length is None and not private, room)
    return learn_access(m, own, private, readonly, preallocate)


cdef int learn_access(Mapping m, Descriptor own, bint private, bint readonly,
                      bint preallocate) except -1:
    cdef int status = -1 if own is None else own.flags
    cdef bint writable, appending
    if status == -1:
        status = fcntl(m.extent.fd, F_GETFL)
        check(m, code_of(status))
    if status & O_ACCMODE == O_WRONLY:
        raise ValueError(f"{m.name!r} is open for writing only, and a mapping must "
                         f"read: use O_RDWR")
    writable = status & O_ACCMODE != O_RDONLY and not readonly
    appending = writable and status & O_APPEND and not private
    m.extent.set_access(status & O_ACCMODE == O_RDONLY, writable and not private,
                        appending, preallocate)
    m.memory.set_access(private, private or (writable and not appending))
    return 0


cdef int set_up_end(Mapping m, Descriptor own, length, int64_t ahead,
                    bint possible) except -1:
    """Learn where the data ends, and begin to run `ahead` of it if the caller wants that.

    One call asks for the size. The marker of a file that runs ahead is looked for after it:
    without one, the size was that of the data. A mapping that runs ahead asks for the size
    under the lock.
    """
    cdef file_stat status
    cdef bint writable = m.memory.grows and m.extent.saves
    cdef int refused = 0
    if ahead and (not possible or not writable or m.extent.appending):
        raise ValueError(f"ahead={ahead} needs a mapped file that can be written anywhere "
                         f"and grow: open {m.name!r} with mode 'r+', 'w+' or 'x+', and "
                         "leave out length= and engine=")
    if ahead:
        with nogil:     # it waits for who trims what a crash has left
            refused = m.extent.lock_ahead()
        check_end(m, EBUSY if refused == EBUSY else 0)
    if ahead or own is None or not own.tell(&status):
        check(m, m.extent.status(&status))
    refuse_other_files(m, &status)
    learn_length(m, -1 if length is None else as_offset(length, "length"), &status,
                 writable and is_exact(m, &status))
    if ahead:
        refused = refused or m.extent.run_ahead_by(min(ahead, MOST_RESERVE))
    return stay_exact(m, refused)


cdef int refuse_other_files(Mapping m, file_stat *status) except -1:
    if S_ISDIR(status.st_mode):
        check(m, EISDIR)
    if not S_ISREG(status.st_mode):
        raise OSError(ENODEV, "only regular files can be mapped, and this is not one",
                      m.name)
    return refuse_huge_pages(m, status.st_blksize)


cdef int refuse_huge_pages(Mapping m, long block) except -1:
    """Refuse files of hugetlbfs: write(2) fails, and they end at a huge page only."""
    cdef file_system system
    if block > PAGE and fstatfs(m.extent.fd, &system) == 0 and (
            system.f_type == HUGETLBFS_MAGIC):
        raise OSError(EOPNOTSUPP, f"files of hugetlbfs, in pages of {block} bytes, are "
                      "not supported: a tmpfs mounted with huge=advise and "
                      "MADV_HUGEPAGE give huge pages", m.name)
    return 0


cdef bint is_exact(Mapping m, file_stat *status) except -1:
    """Whether no mapping runs the file ahead; trim it if a crash left it ahead."""
    cdef int code = 0
    cdef bint marked
    with nogil:
        marked = m.extent.is_marked()
        if marked:
            code = m.extent.recover()
    check_end(m, code)      # else a later opening would cut off what is appended
    if marked:
        check(m, m.extent.status(status))
    return not marked


cdef int check_end(Mapping m, int code) except -1:
    """Say why the end of the file is not its own, unless the code is 0."""
    if code == EBUSY:
        raise OSError(EBUSY, "another mapping appends to the file with ahead=, and only "
                      "one can: wait until it is closed, or open all of them with mode "
                      "'a+' and without ahead=", m.name)
    if code == ENOENT:
        raise OSError(ENOENT, "a crash has left the file longer than its data, and "
                      "trimming it needs /proc, which is not mounted", m.name)
    return check(m, code)


cdef int learn_length(Mapping m, int64_t length, file_stat *status,
                      bint unmarked) except -1:
    cdef int64_t size
    check(m, ahead_end(m.extent.fd, &status.st_size, unmarked))
    m.extent.remember_file_size(status.st_size)
    size = status.st_size - m.extent.origin
    if size < 0:
        raise ValueError(f"offset {m.extent.origin} is past the end of {m.name!r} "
                         f"({status.st_size} bytes)")
    if length > size:
        raise ValueError(f"length {length} at offset {m.extent.origin} is past the end of "
                         f"{m.name!r} ({status.st_size} bytes)")
    m.memory.set_file(status.st_dev, status.st_ino, size if length == -1 else length)
    return check(m, EFBIG if m.memory.length() > MOST_SIZE else 0)


cdef int stay_exact(Mapping m, int code) except -1:
    """Unless the code is 0, stop running ahead, and warn of it."""
    if code:
        m.extent.stop_ahead(m.memory.length())
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
        code = map_file(m, region, m.memory.length())
    # 9p without a cache refuses maps that are shared and writable with EINVAL.
    if code in (ENODEV, EINVAL, EPERM, EACCES) and engine != "auto":
        reason = strerror(code).decode()
        raise OSError(code, f"mmap(2) is refused: {reason} (the file is sealed, or its "
                      f"filesystem has no mmap; engine='auto' works without it)", m.name)
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
    with cython.critical_section(m):
        m.kept_by_batches = None
    with m.mutex:
        if m.memory.is_open():
            m.memory.let_go_of_file(False)
            m.memory.fix_size(True)
            with nogil:
                code = m.extent.close_file()
    return check(m, code)


cdef int close_mapping(Mapping m, bint revoke) except -1:
    """Close the file; views and copies in flight keep their regions. Returns an errno."""
    cdef int code = 0, ahead_code = 0, revoke_code = 0
    with m.mutex:
        m.memory.stop_appends()
        if m.extent.has_ahead_lock():
            with nogil:
                ahead_code = m.extent.stop_ahead(m.memory.length())
        m.memory.close()
        revoke_code = m.memory.let_go_of_file(revoke)
        m.memory.forget_older_regions(True)
        if m.extent.has_descriptor():
            with nogil:
                code = m.extent.close_file()
            code = code or revoke_code or ahead_code
        else:
            code = revoke_code
        m.extent.forget_errors()
    return code


def birth(int fd):
    """Return when a file was made, in microseconds, and its filesystem; 0 if unknown.

    And whether its inode lasts: some filesystems make up another one when a file is looked
    up anew.

    Together with the inode they identify a file, whatever is written to it. So there is no
    time on overlayfs, where the first write changes it to that of the copy, and it is no
    finer than ntfs3 and UDF store it. The filesystem's number is given for tmpfs only,
    where each mount draws another one: the files of others outlive a mount.
    """
    cdef extended_stat status
    cdef file_system system
    cdef uint64_t filesystem = 0
    cdef int64_t time = 0
    if fstatfs(fd, &system) == -1:
        return 0, 0, True
    if system.f_type == TMPFS_MAGIC:
        memcpy(&filesystem, &system.f_fsid, sizeof(filesystem))
    if system.f_type != OVERLAYFS_SUPER_MAGIC and syscall(
            SYS_statx, fd, b"", AT_EMPTY_PATH, STATX_BTIME, &status) == 0:
        if status.mask & STATX_BTIME:
            time = status.btime.tv_sec * 1_000_000 + status.btime.tv_nsec // 1000
    return time, filesystem, system.f_type not in (
        MSDOS_SUPER_MAGIC, EXFAT_SUPER_MAGIC, FUSE_SUPER_MAGIC, SMB_SUPER_MAGIC,
        CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC)
