# A mapping's file, as batches read it beside the mapping: past the page cache, or into it.
#
# Knows descriptors and alignment. It must not know records.
#
# The reasons are in docs/design/queue.md.

# No disk has larger blocks, on kernels that do not tell. A page may be larger than the
# place of a request in the arena.
cdef int64_t MOST_ALIGN = 4096


@cython.final
@cython.auto_pickle(False)
cdef class FileToRead:
    """The descriptors by which batches read a mapping's file.

    Each is opened for this: readahead off is the descriptor's, and so is O_DIRECT.
    """
    cdef readonly int cached_fd     # into the page cache, no more than is asked for; or -1
    cdef readonly int direct_fd     # past the page cache; -1 where the file cannot be
    cdef int64_t align              # of offsets and lengths, and of buffers
    cdef int64_t tried              # when this opened the file, or tried to
    cdef readonly Choice choice

    def __cinit__(self):
        self.cached_fd = self.direct_fd = -1
        self.choice = Choice.__new__(Choice)

    def __dealloc__(self):
        if self.cached_fd != -1:
            close(self.cached_fd)
        if self.direct_fd != -1:
            close(self.direct_fd)

    cdef bint begin(self, PinnedMemory pinned) except -1:
        """Open the file; False where that fails, which is tried again after a while."""
        cdef int64_t now
        with cython.critical_section(self):
            now = coarse_nanoseconds()
            if not self.is_open() and (self.tried == 0 or now - self.tried > LOOK_AGAIN):
                self.tried = now
                self.open(pinned)
            return self.cached_fd != -1

    cdef bint is_open(self) noexcept:
        return self.cached_fd != -1 and (self.direct_fd != -1 or self.align == 0)

    cdef int open(self, PinnedMemory pinned) except -1:
        if self.cached_fd == -1:
            put_first(&self.cached_fd, pinned.open_to_read(0))
        if self.cached_fd != -1:
            posix_fadvise(self.cached_fd, 0, 0, POSIX_FADV_RANDOM)
            self.align = direct_alignment(self.cached_fd)
        if self.align:
            put_first(&self.direct_fd, pinned.open_to_read(O_DIRECT))
        return 0

    cdef Channel channel(self, PinnedMemory pinned, Way way):
        """How a batch reads the file. Its pages are told from others' by an address."""
        cdef Channel channel
        channel.fd = self.direct_fd if way.past_cache else self.cached_fd
        channel.origin = pinned.origin()
        channel.align = self.align if way.past_cache else 0
        channel.tracer_fd = self.cached_fd if way.leaves_tracers else -1
        channel.salt = <uintptr_t> <void *> self << 24
        return channel


make_private(FileToRead)


cdef void put_first(int *place, int fd) noexcept:
    """Without a GIL, opening may let another thread into the section, which was faster."""
    if place[0] == -1:
        place[0] = fd
    elif fd != -1:
        close(fd)


cdef int64_t direct_alignment(int fd) noexcept:
    """What offsets, lengths and buffers of reads past the page cache are a multiple of.

    0: the file cannot be read so.
    """
    cdef extended_stat status
    if syscall(SYS_statx, fd, b"", AT_EMPTY_PATH, STATX_DIOALIGN, &status):
        return 0
    if not status.mask & STATX_DIOALIGN:
        return MOST_ALIGN
    if status.dio_offset_align > ROOM or status.dio_mem_align > ROOM:
        return 0
    return max(status.dio_mem_align, status.dio_offset_align)


cdef FileToRead file_to_read(PinnedMemory pinned):
    """Return the mapping's, which is made when it is first asked for."""
    cdef FileToRead made = pinned.kept()
    return pinned.keep(FileToRead.__new__(FileToRead)) if made is None else made
