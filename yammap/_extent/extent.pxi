# The end of a file: its size, its blocks, how it grows, and how it runs ahead of its data.
#
# Knows offsets in the file. It must not know an address, nor what is mapped: callers
# pass the length of the data, which _memory/ publishes.
#
# The reasons are in docs/design/extent.md.

cdef extern from "_extent/ahead.h" nogil:
    struct ahead_marker:
        int64_t base, size
    struct ahead_trailer:
        int64_t end
    struct ahead_record:
        void *target
        const void *source
        size_t length
        int64_t *end_of_data
        int64_t end
    int ahead_lock(int fd, int *lock)
    void ahead_unlock(int lock)
    bint ahead_is_marked(int fd)
    int ahead_recover(int fd, bint locked)
    int ahead_probe(int fd)
    int ahead_end(int fd, int64_t *size, bint unmarked)
    int ahead_step(int fd, ahead_marker *marker, int64_t end, int64_t size)
    int ahead_settle(int fd, ahead_marker *marker, int64_t end)
    void ahead_store(void *record)


# Blocks allocated ahead of a growing file, at most, and never more than an eighth of it.
cdef int64_t MOST_BLOCKS_AHEAD = 1 << 16

# Appends to a file that runs ahead store into pages that were made beforehand. They are
# made for as many bytes as were appended since the file runs ahead, within these bounds.
cdef int64_t LEAST_BATCH = 1 << 14
cdef int64_t MOST_BATCH = 1 << 18

cdef char zeros[1 << 18]


@cython.final
@cython.auto_pickle(False)
cdef class Extent(OpenFile):
    """What a mapping knows of its file beyond the bytes. Callers hold the mutex."""
    cdef int64_t file_size          # when the mapping looked last
    cdef readonly bint appending    # O_APPEND: the kernel picks the position
    cdef bint preallocate
    cdef int64_t allocated          # the end of the blocks that this object allocated
    cdef ordered_size _step
    cdef readonly int64_t populated  # pages for records have been made up to here
    cdef ahead_marker marker        # its size is the file's, while the file runs ahead
    cdef int lock_fd                # the lock of a mapping that runs ahead, or -1
    cdef readonly bint inherited    # by a fork, from a process that runs ahead

    def __cinit__(self):
        self.lock_fd = -1

    cdef void set_access(self, bint reads_only, bint saves, bint appending,
                         bint preallocate) noexcept:
        self.reads_only, self.saves = reads_only, saves
        self.appending, self.preallocate = appending, preallocate

    cdef void remember_file_size(self, int64_t size) noexcept:
        self.file_size = size

    # -- The size

    cdef int end_of_data(self, int64_t length, int64_t *size) noexcept nogil:
        """Where the data ends in the file. A mapping that runs it ahead need not ask."""
        cdef file_stat status
        cdef int code = code_of(fstat(self.fd, &status))
        size[0] = status.st_size
        if code or self.marker.size == 0:
            return code or ahead_end(self.fd, size, False)
        if size[0] == self.marker.size:
            size[0] = self.origin + length
            return 0
        return self.make_exact(length)  # another process has cut it, or written behind

    cdef int64_t size_left(self, int64_t length) noexcept nogil:
        """The size that this mapping gave the file, whose data has `length` bytes."""
        return self.marker.size or self.origin + length

    cdef int64_t changed_by_others(self, int64_t length) noexcept nogil:
        """By how much others made the file longer: the bytes behind our end are theirs.

        Negative if they have cut it, which growing would undo.
        """
        cdef file_stat status
        return (status.st_size - self.size_left(length)
                if fstat(self.fd, &status) == 0 else 0)

    cdef bint is_outdated(self) noexcept nogil:
        cdef file_stat status
        return fstat(self.fd, &status) == -1 or status.st_size != self.file_size

    cdef bint remember_size(self, int64_t length, int64_t before) noexcept nogil:
        """The data has `length` bytes now. Returns whether the file was empty before."""
        cdef int64_t size_before = self.file_size
        if length < before:
            self.allocated = 0
        self.file_size = max(self.origin + length, self.marker.size)
        return size_before == 0 < self.file_size

    cdef str reason(self, int code, int64_t end):
        """Why bytes are missing, if the file ends at offset `end` of the mapping."""
        if end == -1 or self.origin + end >= self.file_size:
            return cause_of(code, None)
        return cause_of(code, f" from {self.file_size} to {self.origin + end} bytes")

    # -- Growth

    cdef int append_record(self, const char *source, int64_t count, int64_t length,
                           int64_t *start, int64_t *end) noexcept nogil:
        """O_APPEND: the kernel picks the position, and the descriptor remembers it.

        Sets `start` to the offset of the record, and `end` to an offset that the file
        reaches at least; both are offsets in the mapping.
        """
        cdef file_stat status
        cdef int64_t done = 0
        cdef int64_t reached
        cdef int code
        if count == 0:
            return 0
        code = self.ensure_blocks(length, length, length + count)
        if code == EOPNOTSUPP:
            self.watch_errors()
        elif code:
            return code
        code = write_all(self.fd, source, count, -1, &done)
        reached = lseek(self.fd, 0, SEEK_CUR) - self.origin
        if code:
            self.cut_back(reached - done, reached)
            return code
        start[0] = reached - count
        # A record behind the known end lies where it should. Otherwise another process has
        # appended or cut, or has moved the offset that it shares with this one.
        end[0] = length
        if reached == length + count or (
                fstat(self.fd, &status) == 0 and reached <= status.st_size - self.origin):
            end[0] = reached
        return 0

    cdef int lengthen(self, const char *source, int64_t length, int64_t start,
                      int64_t count) noexcept nogil:
        """Make the file, which has `length` bytes, end with `count` bytes at `start`.

        All or nothing; returns an errno value. This allocates the blocks first, while the
        file is as long as before, so that a full disk leaves nothing to undo: another
        process may have written past the old end by then. pwrite(2) extends the file and
        fills the page cache in one call: the mapping sees the bytes at once.
        """
        cdef int64_t done = 0
        cdef bint filling = count == 0 and self.preallocate     # a seek leaves a hole
        cdef int64_t first = length if filling else start
        cdef int code = self.ensure_blocks(length, first, start + count)
        if code == EOPNOTSUPP:
            self.watch_errors()     # NFS tells who writes what it could not write before
            code = self.append_zeros(start) if filling else 0
        if code == 0 and count == 0:
            code = self.extend_to(length, start)
        elif code == 0:
            code = write_all(self.fd, source, count, self.origin + start, &done)
        if code and done:
            self.cut_back(start, start + done)
        return code

    cdef int ensure_blocks(self, int64_t length, int64_t start, int64_t end) noexcept nogil:
        """Allocate the blocks for the bytes from `start` to `end`, and some more.

        More blocks make many small growths cheap. Closing does not give the rest of them
        back: truncating to the same size would cut off what another process appends at that
        moment. So they are few.
        """
        cdef int64_t more = round_up(end) - end, most = min(MOST_BLOCKS_AHEAD, end // 8)
        cdef int code
        if end <= max(start, self.allocated):
            return 0
        code = self.require_room(start, end)
        if code:
            return code
        if self.preallocate and end - length <= most:
            more += most
        code = self.have_blocks(FALLOC_FL_KEEP_SIZE, start, end + more - start)
        if code and code != EOPNOTSUPP:
            more = 0
            code = self.have_blocks(FALLOC_FL_KEEP_SIZE, start, end - start)
        if code == 0 and start <= length:
            self.allocated = end + more
        return code

    cdef int extend_to(self, int64_t length, int64_t end) noexcept nogil:
        """Let the file have `end` bytes or more.

        By fallocate(2) of the last one: ftruncate(2) would cut off what another process
        has appended since we looked. Without fallocate(2), as on exFAT, we look once more.
        """
        cdef file_stat status
        if end <= length:
            return 0
        cdef int code = self.have_blocks(0, end - 1, 1)
        if code != EOPNOTSUPP:
            return code
        if self.preallocate:
            return 0        # zeros have been written
        code = code_of(fstat(self.fd, &status))
        if code or status.st_size - self.origin >= end:
            return code
        return self.cut(end)

    cdef int append_zeros(self, int64_t length) noexcept nogil:
        """Without fallocate(2): writing zeros allocates blocks as well.

        They go behind the end that the file has, not the one that the mapping knows. If the
        disk is full before there are enough, they are cut off again.
        """
        cdef file_stat status
        cdef int64_t end, done = 0
        cdef int code = code_of(fstat(self.fd, &status))
        if code:
            return code
        end = status.st_size - self.origin
        code = write_zeros(self.fd, status.st_size, max(0, length - end), self.appending,
                           &done)
        if code:
            self.cut_back(end, end + done)
        return code

    cdef int require_room(self, int64_t start, int64_t end) noexcept nogil:
        """ENOSPC where the filesystem says that it has no blocks for growing to `end`.

        ext4 gives a file all the blocks there are before it says that there are too few,
        and takes them back only when the file is truncated. Truncating to the same size
        would cut off what another process appends at that moment. So this asks first.
        Blocks that the file has behind its end count, too; in a file with holes they cannot
        be told apart.
        """
        cdef file_stat status
        if fstat(self.fd, &status):
            return 0
        cdef int64_t needed = self.origin + end - max(self.origin + start, status.st_size)
        cdef int64_t behind = max(0, status.st_blocks * 512 - status.st_size)
        return ENOSPC if needed - behind > free_room(self.fd) else 0

    cdef int require_room_inside(self, int64_t length) noexcept nogil:
        """The same for holes: the blocks that the file has may all be in the range."""
        cdef file_stat status
        if fstat(self.fd, &status):
            return 0
        return ENOSPC if length - status.st_blocks * 512 > free_room(self.fd) else 0

    cdef int have_blocks(self, int mode, int64_t start, int64_t length) noexcept nogil:
        """As `change_blocks`, with EOPNOTSUPP for each way to say that the call is refused.

        EPERM may come from a seal, too: then the seal also refuses what is done instead.
        """
        cdef int code = self.change_blocks(mode, start, length)
        return EOPNOTSUPP if is_refused(code) else code

    cdef int change_blocks(self, int mode, int64_t start, int64_t length) noexcept nogil:
        cdef int code = EINTR
        while code == EINTR:
            code = code_of(fallocate(self.fd, mode, self.origin + start, length))
        return code

    cdef void cut_back(self, int64_t length, int64_t reached) noexcept nogil:
        """Cut off the written part of a record, unless the file goes on behind it."""
        cdef file_stat status
        if (fstat(self.fd, &status) == 0
                and self.origin + length < status.st_size == self.origin + reached):
            self.cut(length)

    cdef int cut(self, int64_t length) noexcept nogil:
        return set_size(self.fd, self.origin + length)

    cdef int shorten(self, int64_t length) noexcept nogil:
        """Cut the file, with the blocks behind its end."""
        self.allocated = 0
        return self.cut(length)

    # -- Running ahead of the data

    cdef int lock_ahead(self) noexcept nogil:
        """Take the lock. It waits for a mapping that trims the file after a crash."""
        return ahead_lock(self.fd, &self.lock_fd)

    cdef bint is_marked(self) noexcept nogil:
        """Whether another runs the file ahead, or a crash has left it so."""
        return ahead_is_marked(self.fd)

    cdef int recover(self) noexcept nogil:
        return ahead_recover(self.fd, self.lock_fd != -1)

    cdef int run_ahead_by(self, int64_t step) noexcept nogil:
        set_ordered(&self._step, step)
        return ahead_probe(self.fd)

    cdef inline Py_ssize_t step(self) noexcept nogil:
        """By how many bytes the file runs ahead; 0: it is exact."""
        return get_ordered(&self._step)

    cdef bint runs_ahead(self) noexcept nogil:
        return self.step() > 0 or self.inherited

    cdef bint has_ahead_lock(self) noexcept nogil:
        return self.lock_fd != -1

    cdef bint has_size(self, int64_t size) noexcept nogil:
        return size <= self.marker.size

    cdef int64_t end_of_trailer(self) noexcept nogil:
        """The offset in the mapping; without a trailer it is not past the data."""
        return self.marker.size - self.origin

    cdef int64_t size_ahead(self, int64_t end) noexcept nogil:
        """The size that leaves room for data up to `end` and the trailer behind it."""
        return round_up(self.origin + end + <int64_t> sizeof(ahead_trailer))

    cdef int step_to(self, int64_t length, int64_t size) noexcept nogil:
        return self.require_room(length, size - self.origin) or ahead_step(
            self.fd, &self.marker, self.origin + length, size)

    cdef int64_t write_pages(self, int64_t length, int64_t end) noexcept nogil:
        """Write zeros where records up to `end` and some more go; returns their start.

        Then the filesystem makes many pages at once; for faults it makes one at a time.
        This sets `populated` to the end of the zeros.
        """
        cdef int64_t last = self.marker.size - self.origin - <int64_t> sizeof(ahead_trailer)
        cdef int64_t start = max(length, self.populated)
        cdef int64_t appended = self.origin + length - self.marker.base
        cdef int64_t written = 0
        if end <= self.populated:
            return self.populated
        end = max(end, start + min(max(appended, LEAST_BATCH), MOST_BATCH))
        end = min(round_up(self.origin + min(end, last)) - self.origin, last)
        write_zeros(self.fd, self.origin + start, end - start, False, &written)
        self.populated = end
        return start

    cdef int make_exact(self, int64_t length) noexcept nogil:
        """Give a file that runs ahead the size of its data."""
        cdef int code
        if self.marker.size == 0:
            return 0
        code = ahead_settle(self.fd, &self.marker, self.origin + length)
        if code == 0:
            self.populated = self.allocated = 0
        return code

    cdef int stop_ahead(self, int64_t length) noexcept nogil:
        """Stop for good. What cannot be cut off now, the next opening cuts off."""
        cdef int code = self.make_exact(length)
        ahead_unlock(self.lock_fd)
        self.lock_fd = -1
        self.marker.size = 0
        set_ordered(&self._step, 0)
        return code

    cdef void leave_ahead_to_parent(self) noexcept nogil:
        """In a forked child: the parent would overwrite what the child appends."""
        if self.lock_fd != -1:
            self.inherited = self.step() > 0
            self.marker.size = 0
            set_ordered(&self._step, 0)
            close(self.lock_fd)     # which leaves the lock to the parent
            self.lock_fd = -1


cdef int write_zeros(int fd, int64_t offset, int64_t length, bint appending,
                     int64_t *total) noexcept nogil:
    cdef int64_t done
    cdef int code = 0
    while code == 0 and total[0] < length:
        done = 0
        code = write_all(fd, zeros, min(length - total[0], <int64_t> sizeof(zeros)),
                         -1 if appending else offset + total[0], &done)
        total[0] += done
    return code


cdef int64_t free_room(int fd) noexcept nogil:
    """Bytes that the filesystem says it can still allocate; INT64_MAX if it does not say.

    Only root may have the blocks that are set aside for root.
    """
    cdef file_system system
    cdef uint64_t blocks, unit
    if fstatfs(fd, &system) or system.f_blocks == 0:
        return INT64_MAX
    blocks = system.f_bfree if geteuid() == 0 else system.f_bavail
    unit = system.f_frsize or system.f_bsize
    return <int64_t> (blocks * unit) if blocks < <uint64_t> INT64_MAX // unit else INT64_MAX
