# A file by its descriptor: reading, writing and asking by system call.
#
# The file is open already: paths and modes are in _file/opening.py. What changes the size
# is in extent.pxi.
#
# Knows a descriptor, and offsets in the file from where a mapping begins. It must not know
# an address, nor how long the data is.
#
# The reasons are in docs/design/extent.md.

# Of sync_file_range(2): until all dirty pages are written.
cdef unsigned int WRITE_AND_WAIT = (
    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)


@cython.auto_pickle(False)
cdef class OpenFile:
    """A descriptor, and a second one, by which no other process takes the kernel's errors.

    Callers hold the mapping's mutex. Offsets are those in the mapping.
    """
    cdef readonly int fd            # -1: let go of, or closed
    cdef readonly int64_t origin    # where the mapping begins
    cdef bint reads_only            # the descriptor
    cdef readonly bint saves        # what is stored or appended reaches the file
    cdef readonly int error_fd      # or -1
    cdef readonly int64_t changed   # the file's time of change, in ns, when it was mapped
    cdef int sync_failure           # an errno value that a sync got, until a rewrite
    cdef bint overlaid              # another file may come to lie behind the descriptor

    def __cinit__(self):
        self.fd = self.error_fd = -1

    cdef void own(self, int fd) noexcept:
        set_number(&self.fd, fd)

    cdef inline bint has_descriptor(self) noexcept nogil:
        """Whether there is one now, without the mutex: who uses it looks again."""
        return get_number(&self.fd) != -1

    cdef inline bint watches_errors(self) noexcept nogil:
        """Whether the second descriptor is there now, without the mutex."""
        return get_number(&self.error_fd) != -1

    cdef void begin_at(self, int64_t origin) noexcept:
        self.origin = origin

    cdef int status(self, file_stat *status) noexcept nogil:
        return code_of(fstat(self.fd, status))

    cdef int64_t end_now(self) noexcept nogil:
        """Where the file ends, as an offset in the mapping; -1 if no call can tell."""
        cdef int64_t size = self.size_now()
        return size if size == -1 else max(0, size - self.origin)

    cdef int64_t size_now(self) noexcept nogil:
        """How long the file is, in bytes; -1 if no call can tell."""
        cdef file_stat status
        if self.fd == -1 or fstat(self.fd, &status) == -1:
            return -1
        return status.st_size

    # -- Bytes, by system call

    cdef Py_ssize_t read_bytes(self, char *buffer, int64_t offset,
                               int64_t count) noexcept nogil:
        return pread(self.fd, buffer, count, self.origin + offset)

    cdef Py_ssize_t write_bytes(self, const char *buffer, int64_t offset,
                                int64_t count) noexcept nogil:
        """pwrite(2) inside the file; 0 if it would extend the file or append."""
        if not self.writes_inside(offset, count):
            return 0
        return pwrite(self.fd, buffer, count, self.origin + offset)

    cdef bint write_whole(self, const char *buffer, int64_t offset,
                          int64_t count) noexcept nogil:
        """The same until all is written; False if it is not."""
        cdef int64_t done = 0
        if self.writes_inside(offset, count):
            write_all(self.fd, buffer, count, self.origin + offset, &done)
        return done == count

    cdef bint writes_inside(self, int64_t offset, int64_t count) noexcept nogil:
        """Whether pwrite(2) neither extends the file nor appends."""
        cdef file_stat status
        return (fstat(self.fd, &status) == 0
                and clip(self.origin + offset, count, status.st_size) == count
                and not self.appends_by_now())

    cdef bint appends_by_now(self) noexcept nogil:
        """Whether O_APPEND was set since the file was opened."""
        return fcntl(self.fd, F_GETFL) & O_APPEND

    cdef Py_ssize_t send(self, int64_t offset, int64_t length, int sink) noexcept nogil:
        cdef int64_t position = self.origin + offset
        return sendfile(sink, self.fd, &position, length)

    cdef int open_again(self, int flags) noexcept nogil:
        """A descriptor of the file; -1 with errno, which is EBADF where ours only reads."""
        if self.reads_only and flags & O_ACCMODE != O_RDONLY:
            (&errno)[0] = EBADF
            return -1
        return reopen(self.fd, flags)

    cdef int open_to_read(self, int flags) noexcept nogil:
        """A descriptor with an offset, flags and readahead of its own; -1 for none."""
        return -1 if self.fd == -1 or self.overlaid else self.open_again(flags)

    # -- Errors of writing back

    cdef void watch_errors(self) noexcept nogil:
        """Open the file once more, if others may take the errors of writing it back.

        The kernel reports each error once for each time that the file was opened: to the
        next sync, and on NFS to the next write. A second descriptor for every mapping would
        be too many. Without /proc there is none. Nor is there one when the process uses
        three quarters of the descriptors that it may have: the number of the new one tells.
        """
        if self.error_fd != -1 or self.fd == -1 or not self.saves:
            return
        set_number(&self.error_fd, reopen(self.fd, O_RDONLY))
        if self.error_fd > sysconf(_SC_OPEN_MAX) * 3 // 4:
            self.forget_errors()

    cdef void forget_errors(self) noexcept nogil:
        if self.error_fd != -1:
            close(self.error_fd)
            set_number(&self.error_fd, -1)

    cdef int first_sync_failure(self, int code) noexcept nogil:
        """The errno value of the first failed sync, which may be this one; 0 for none.

        Without the mutex: of two that fail at the same time, either may be the first.
        """
        if code > 0 and get_number(&self.sync_failure) == 0:
            set_number(&self.sync_failure, code)
        return get_number(&self.sync_failure)

    cdef void forget_sync_failure(self) noexcept nogil:
        set_number(&self.sync_failure, 0)

    cdef int sync_watched(self, int code) noexcept nogil:
        """Return `code`, or else an error that others have taken from the first one."""
        cdef int other = sync_file(self.error_fd) if self.error_fd != -1 else 0
        return code or other

    cdef int sync(self, int64_t start, int64_t count, bint wait) noexcept nogil:
        """Do what msync(2) cannot: start writing, and write an empty file's size."""
        if wait:
            return sync_file(self.fd)
        if count == 0:
            return 0    # to sync_file_range(2) it would mean all to the end
        return write_back(self.fd, self.origin + start, count, SYNC_FILE_RANGE_WRITE)

    cdef int drop_page_cache(self, int64_t offset, int64_t length,
                             bint write) noexcept nogil:
        """Empty the page cache of a range; returns the errno value of writing it first."""
        cdef int code = 0
        if self.fd != -1 and length > 0:
            if write:
                code = write_back(self.fd, offset, length, WRITE_AND_WAIT)
            posix_fadvise(self.fd, offset, length, POSIX_FADV_DONTNEED)
        return code

    cdef int advise(self, int advice, int64_t offset, int64_t length) noexcept nogil:
        return posix_fadvise(self.fd, self.origin + offset, length, advice)

    cdef int count_cached(self, int64_t offset, int64_t length,
                          uint64_t *pages) noexcept nogil:
        """Pages of a range that are in the page cache: cachestat(2).

        Overlayfs keeps them with the file below, where the call does not look.
        """
        cdef cachestat_range asked
        cdef cachestat found
        cdef int code
        if self.is_on(OVERLAYFS_SUPER_MAGIC):
            return ENOSYS
        asked.off, asked.len = self.origin + offset, length
        code = code_of(syscall(SYS_cachestat, self.fd, &asked, &found, 0))
        pages[0] = found.nr_cache
        return code

    cdef int look_for(self, int whence, int64_t offset, int64_t *found) noexcept nogil:
        """Find where data or a hole begins. The descriptor's offset stays, for others."""
        cdef int64_t before = lseek(self.fd, 0, SEEK_CUR)
        found[0] = lseek(self.fd, self.origin + offset, whence)
        cdef int code = errno if found[0] == -1 else 0
        lseek(self.fd, before, SEEK_SET)
        found[0] -= self.origin
        return code

    cdef int64_t seek(self, int64_t offset, int whence) noexcept nogil:
        return lseek(self.fd, offset, whence)

    cdef bint is_on(self, unsigned long kind) noexcept nogil:
        """Whether the file is on a filesystem of that kind, see <linux/magic.h>."""
        cdef file_system system
        return fstatfs(self.fd, &system) == 0 and system.f_type == kind

    # -- Overlayfs

    cdef void learn_overlay(self) noexcept nogil:
        """Find out whether overlayfs may copy the file up from a lower layer.

        That happens when a process writes to it. Then system calls go to the copy, and this
        descriptor maps the original for ever. Only the time of change shows it.
        """
        self.overlaid = self.reads_only and self.is_on(OVERLAYFS_SUPER_MAGIC)
        self.changed = self.time_of_change()

    cdef int64_t time_of_change(self) noexcept nogil:
        """When the file was changed, and perhaps copied up, as far as this can tell."""
        cdef file_stat status
        if not self.overlaid or fstat(self.fd, &status):
            return self.changed
        return status.st_ctim.tv_sec * 1000000000 + status.st_ctim.tv_nsec

    cdef void remember_change(self, int64_t time) noexcept nogil:
        self.changed = time

    cdef int descriptor_to_map(self) noexcept nogil:
        """A descriptor of the file as it is now; `let_go_of` it after mapping."""
        cdef int fd = reopen(self.fd, O_RDONLY) if self.overlaid else -1
        return self.fd if fd == -1 else fd

    cdef void let_go_of(self, int fd) noexcept nogil:
        if fd != self.fd:
            close(fd)       # which leaves errno as it is

    # -- Closing

    cdef int close_file(self) noexcept nogil:
        cdef int code = 0
        if self.fd != -1:
            code = code_of(close(self.fd))
            set_number(&self.fd, -1)
        return code
