# A range of addresses at which a file is mapped, and its exports.
#
# Knows where the range is, who holds it, and what the handler of bus errors must know of
# it. It must not know the file's size, nor which region came before or after it.
#
# The reasons are in docs/design/memory.md.

cdef extern from "_memory/pins.h" nogil:
    const void *pin_hold(const void *const *place)
    void pin_drop()
    void pin_wait(const void *region)
    void pin_forget_others()


cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define HAS_GIL 0
    #else
    #define HAS_GIL 1
    #endif
    """
    bint HAS_GIL


cdef uint64_t next_serial = 0


@cython.final
@cython.no_gc       # the name is no container; making a region must not collect
@cython.auto_pickle(False)
cdef class Region:
    """A range of addresses, unmapped when nobody holds it any more."""
    cdef char *base
    cdef size_t span
    cdef size_t zeros_from          # from here on zeros are mapped, not the file
    cdef ordered_size length_max
    cdef size_t length_max_watched  # the same in whole pages, as the handler knows it
    cdef char *data
    cdef atomic_count exports       # live buffers, each of which holds a reference
    cdef bint has_uncounted_holders  # ``np.ndarray(buffer=m)`` holds only the object
    cdef uint64_t serial            # a later region at these addresses has another
    cdef object name
    cdef object former_names        # another thread may read one without a lock
    cdef uint64_t device, inode
    cdef patch_range watch          # what the handler of bus errors knows

    def __cinit__(self):
        self.renew()

    cdef inline char *at(self, int64_t offset) noexcept nogil:
        """The address of a byte of the mapping."""
        return self.data + offset

    cdef bint contains(self, uintptr_t address) noexcept nogil:
        """Whether an address is the region's now; others may be changing its span."""
        return 0 <= address - <uintptr_t> self.base < get_span(&self.span)

    cdef inline PageRange pages(self, int64_t offset, int64_t length) noexcept nogil:
        return pages_of(self.data, offset, length)

    cdef inline int64_t offset_of(self, const void *address) noexcept nogil:
        return <const char *> address - self.data

    cdef void renew(self) noexcept:
        """Get a new serial number, so that no page is hot: some may be gone from memory.

        What is added is odd, so that no number comes twice.
        """
        set_word(&self.serial, add_word(&next_serial, 0x9e3779b97f4a7c15ULL))

    cdef inline int64_t longest(self) noexcept nogil:
        """The most bytes that the mapping has had in it."""
        return get_ordered(&self.length_max)

    cdef void put_under_watch(self, int64_t offset, int fd, int prot, int flags,
                              bint raises) noexcept nogil:
        self.watch.start = self.base
        self.watch.length = self.span
        self.watch.lead = self.data - self.base
        self.watch.offset = offset
        self.watch.fd = fd
        self.watch.prot = prot
        self.watch.flags = flags
        self.watch.raises = raises
        self.watch.name = <void *> self.name
        patch_watch(&self.watch)

    cdef bint may_be_held_uncounted(self) noexcept nogil:
        return self.has_uncounted_holders

    cdef bint is_mapped(self) noexcept nogil:
        return self.base != NULL

    cdef void place(self, char *base, size_t span, size_t lead) noexcept nogil:
        """Own `span` bytes from `base`, where the file is mapped."""
        self.base = base
        self.zeros_from = span
        set_span(&self.span, span)
        self.data = base + lead

    cdef bint lengthen_in_place(self, size_t span) noexcept nogil:
        """Have `span` bytes of addresses without moving; False if others are behind."""
        if mremap(self.base, self.span, span, 0) == MAP_FAILED:
            return False
        self.zeros_from = span
        set_span(&self.span, span)
        patch_resize(&self.watch, span)
        return True

    cdef int advise(self, int advice) noexcept nogil:
        return code_of(madvise(self.base, self.span, advice))

    cdef int advise_fork(self, int advice) noexcept nogil:
        """Advise the part that maps the file; the child may have the zeros behind it."""
        cdef int code = code_of(madvise(self.base, self.zeros_from, advice))
        if code == 0:
            self.watch.dontfork = advice == MADV_DONTFORK
        return code

    cdef void release_reserve(self) noexcept nogil:
        """Give back the part of the reserve that no copy in flight can touch."""
        cdef size_t kept = round_up(max(self.data - self.base + self.longest(), 1))
        if kept < self.span:
            self.give_back(kept)

    cdef void zero_tail(self, int64_t length, int prot) noexcept nogil:
        """Put zeros behind `length` bytes: holders may touch them, and the file has ended.

        After a failure the tail still maps the file, and touching it is a bus error.
        """
        cdef size_t kept = round_up(self.data - self.base + length)
        if self.has_uncounted_holders and kept < self.zeros_from:
            patch_resize(&self.watch, kept)
            if self.map_zeros(kept, self.zeros_from, prot) == MAP_FAILED:
                # Read-only zeros do not count against what the kernel may commit.
                self.map_zeros(kept, self.zeros_from, PROT_READ)
            self.zeros_from = kept

    cdef int zero_all(self, int prot) noexcept nogil:
        if self.base == NULL:
            return 0
        patch_resize(&self.watch, 0)
        return errno if self.map_zeros(0, self.span, prot) == MAP_FAILED else 0

    cdef void *map_zeros(self, size_t start, size_t end, int prot) noexcept nogil:
        return mmap(self.base + start, end - start, prot, MAP_PRIVATE | MAP_ANONYMOUS
                    | MAP_FIXED | MAP_NORESERVE, -1, 0)

    cdef int drop(self, int64_t first, int64_t last, int advice) except -1:
        """Take page table entries away, from offset `first` to `last` of the region."""
        cdef int64_t end = round_up(self.data - self.base + self.longest())
        last = min(last, min(end, <int64_t> self.zeros_from))
        if self.base != NULL and last > first:
            with nogil:
                drop_page_tables(self.base + first, last - first, advice)
            self.renew()
        return 0

    cdef int give_back(self, size_t span) noexcept nogil:
        """Unmap the end, from `span` bytes on; returns an errno value."""
        patch_resize(&self.watch, span)
        cdef int code = code_of(munmap(self.base + span, self.span - span))
        if code:
            patch_resize(&self.watch, self.span)
        else:
            self.zeros_from = span
            set_span(&self.span, span)
        return code

    cdef int rename(self, object name) except -1:
        """Keep the former name for who reads it without a lock, as this region lasts."""
        with cython.critical_section(self):
            self.former_names = self.name, self.former_names
            self.name = name
            self.watch.name = <void *> name
        return 0

    cdef bint may_tell_of_file(self) noexcept nogil:
        """Whether a bus error may name the file after the mapping is closed."""
        return (self.has_uncounted_holders or self.watch.count != 0
                or atomic_load(&self.exports) != 0)

    cdef void let_go_of_file(self) noexcept nogil:
        """Stop using the descriptor, before it is closed."""
        if self.base != NULL:
            patch_let_go(&self.watch)

    cdef void expose(self, int64_t length) noexcept nogil:
        """Let views touch `length` bytes, which the mapping has now."""
        if length > self.longest():
            set_ordered(&self.length_max, length)
            if self.watch.lead + length > self.length_max_watched:
                self.length_max_watched = round_up(self.watch.lead + length)
                patch_expose(&self.watch, self.length_max_watched)

    def __dealloc__(self):
        if self.base != NULL:
            if self.watch.count:
                remember_untold(self)
            with nogil:
                if not HAS_GIL:
                    pin_wait(<void *> self)
                patch_forget(&self.watch)
                munmap(self.base, self.span)

    def __releasebuffer__(self, Py_buffer *info):
        atomic_fetch_sub(&self.exports, 1)

    def _locate(self, uintptr_t address):
        """The file and the offset that an address belongs to: for arrays that travel."""
        cdef int64_t start = address - <uintptr_t> self.base
        return (told(self.name), (self.device, self.inode), self.watch.offset + start,
                self.watch.fd, self.watch.flags == MAP_PRIVATE)

    def guard(self):
        """As `Mapping.guard`, for callers who have only an array."""
        return new_guard(None, None, [self])


# Of a region that is held by a pin.

cdef inline char *data_of(const void *region) noexcept nogil:
    return (<Region> region).data


cdef inline uint64_t serial_of(const void *region) noexcept nogil:
    return get_word(&(<Region> region).serial)


cdef char *UNSIGNED_BYTES = b"B"


cdef int export(Py_buffer *info, int flags, Region region, char *start,
                Py_ssize_t length, bint readonly) except -1:
    """Fill in `info` (PEP 3118) with the region as its owner. The caller has counted it."""
    if readonly and flags & PyBUF_WRITABLE:
        atomic_fetch_sub(&region.exports, 1)
        raise BufferError("the mapping is read-only")
    info.obj = region
    info.buf = start
    info.len = length
    info.readonly = readonly
    info.itemsize = 1
    info.format = UNSIGNED_BYTES if flags & PyBUF_FORMAT else NULL
    info.ndim = 1
    info.shape = &info.len if flags & PyBUF_ND else NULL
    info.strides = &info.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
    info.suboffsets = NULL
    info.internal = NULL
    return 0


@cython.final
@cython.freelist(8)
@cython.auto_pickle(False)
cdef class View:
    """Exports a part of a region, so that nobody holds the mapping object for it.

    It counts as an export itself: making a memoryview of it may run the collector, which
    may run a finaliser, and that must not cut the file meanwhile. And np.frombuffer()
    drops its export and keeps the view, as one that need not be told of a release.
    """
    cdef Region region
    cdef char *start
    cdef Py_ssize_t length
    cdef bint readonly

    cdef void take(self, Region region) noexcept:
        """Own a region that the caller has counted as exported; freeing undoes that."""
        self.region = region

    cdef void show(self, int64_t offset, int64_t length, bint readonly) noexcept:
        self.start = self.region.at(offset)
        self.length, self.readonly = length, readonly

    def __getbuffer__(self, Py_buffer *info, int flags):
        atomic_fetch_add(&self.region.exports, 1)
        export(info, flags, self.region, self.start, self.length, self.readonly)

    @property
    def base(self):
        """The owner of the memory, as arrays tell theirs."""
        return self.region

    def __dealloc__(self):
        if self.region is not None:
            atomic_fetch_sub(&self.region.exports, 1)
