# How the regions of a mapping are mapped, advised and healed.
#
# Knows the calls of mmap(2), what a mapping may do with its memory, and the reserve. It
# must not know where the file ends, nor how it grows.
#
# The reasons are in docs/design/memory.md.

# The default reserve. Linux allows a process 65530 mappings, and a gibibyte for each fits
# twice into its 128 TiB. With a reserve of three times its size, a file can grow fourfold
# before it needs a new generation. More than a tebibyte would leave too little for others.
cdef int64_t LEAST_RESERVE = 1 << 30
cdef int64_t MOST_RESERVE = 1 << 40

# Far beyond what any filesystem holds, and far enough from overflow to add a reserve.
cdef int64_t MOST_SIZE = 1 << 62

# Advice that a region keeps: the next region gets it, too.
cdef inline bint is_lasting(int advice) noexcept nogil:
    return advice in (MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL)


cdef inline bint is_lasting_for_pages(int advice) noexcept nogil:
    return advice in (MADV_HUGEPAGE, MADV_NOHUGEPAGE)


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Memory(Generations):
    """Where the bytes of a mapping are."""
    cdef readonly bint grows
    cdef bint raises                # in the thread that touched a page in a view
    cdef int64_t reserve            # -1: by the default rule
    cdef int advice                 # one that is_lasting()
    cdef int page_advice            # one that is_lasting_for_pages(), or MADV_NORMAL
    cdef readonly int fork_advice   # MADV_DONTFORK or MADV_DOFORK
    cdef uint64_t device, inode

    def __cinit__(self):
        self.reserve = -1
        self.advice = self.page_advice = MADV_NORMAL
        self.fork_advice = MADV_DOFORK

    # -- What it may do

    cdef void set_growth(self, bint grows, int64_t reserve) noexcept:
        self.grows, self.reserve = grows, reserve

    cdef void fix_size(self, bint fixed) noexcept:
        self.grows = not fixed

    cdef void set_access(self, bint private, bint writable) noexcept:
        self.flags = MAP_PRIVATE if private else MAP_SHARED
        self.prot = PROT_READ | PROT_WRITE if writable else PROT_READ

    cdef void set_file(self, uint64_t device, uint64_t inode, int64_t length) noexcept:
        self.device, self.inode = device, inode
        set_ordered(&self._length, length)

    cdef void set_engine(self, bint mapped, bint raises) noexcept:
        self.mapped, self.raises = mapped, raises

    cdef void do_without_mapping(self) noexcept:
        self.mapped = False

    # -- Mapping

    cdef Region new_region(self):
        cdef Region region = Region.__new__(Region)
        region.device, region.inode = self.device, self.inode
        with cython.critical_section(self):
            region.name = self.label
        return region

    cdef int map(self, Region region, int fd, int64_t origin,
                 int64_t length) noexcept nogil:
        """Map `length` bytes from `origin` into an empty region; returns an errno value.

        If there are no addresses for the reserve (RLIMIT_AS, MCL_FUTURE), this maps
        exactly, and growth is slower.
        """
        cdef int64_t lead = origin % PAGE
        cdef int64_t exact = round_up(max(lead + length, 1))
        cdef int64_t span = exact + round_up(self.room_for(length))
        # Only what is changed of a private mapping takes memory: it may be larger.
        cdef int flags = self.flags | (MAP_NORESERVE if self.flags == MAP_PRIVATE else 0)
        cdef void *base = mmap(NULL, span, self.prot, flags, fd, origin - lead)
        if base == MAP_FAILED and (errno == ENOMEM or errno == EAGAIN):
            span = exact
            base = mmap(NULL, span, self.prot, flags, fd, origin - lead)
        if base == MAP_FAILED:
            return errno
        region.place(<char *> base, span, lead)
        return 0

    cdef void watch_region(self, Region region, int fd,
                           int64_t origin) noexcept nogil:
        """Survive bus errors in the region from now on; `fd` is the file's descriptor."""
        region.put_under_watch(origin - origin % PAGE, fd, self.prot, self.flags,
                               self.raises)
        self.pass_on_advice(region)

    cdef int64_t room_for(self, int64_t length) noexcept nogil:
        """Address space to set aside beyond `length` bytes."""
        if not self.grows:
            return 0
        if self.reserve != -1:
            return max(0, self.reserve - length)
        return max(LEAST_RESERVE, min(3 * min(length, MOST_RESERVE), MOST_RESERVE))

    cdef int make_room(self, int64_t length) noexcept nogil:
        """Have address space for `length` bytes; NO_REGION if that takes a new region.

        The caller holds the mutex.
        """
        cdef int64_t needed = self.region.data - self.region.base + length
        if length > MOST_SIZE:
            return EFBIG
        if not self.mapped or needed <= <int64_t> self.region.span:
            return 0
        needed = round_up(needed) + round_up(self.room_for(length))
        return 0 if self.region.lengthen_in_place(needed) else NO_REGION

    cdef void pass_on_advice(self, Region region) noexcept nogil:
        if self.advice != MADV_NORMAL:
            region.advise(self.advice)
        if self.page_advice != MADV_NORMAL:
            region.advise(self.page_advice)
        if self.fork_advice == MADV_DONTFORK:
            region.advise_fork(MADV_DONTFORK)

    cdef void map_anew(self, Region region) noexcept nogil:
        """Map a file that was empty once more at the same place, now that it has a size.

        On ntfs3, a writable mapping that is older than the first byte of its file loses
        what is stored into it when the file is mapped again. Opening could leave an empty
        file unmapped, but then it would not find out what cannot be mapped. The file has
        grown already, so a failure keeps the present mapping, which works on all other
        filesystems. So does a patch that a view got meanwhile: mapping over it would lose
        its stores.
        """
        if not self.mapped or not self.is_writable() or self.is_private():
            return
        if patch_map_anew(&region.watch):
            self.pass_on_advice(region)

    cdef void populate(self, int64_t start, int64_t end) noexcept nogil:
        """Make pages: a store into a missing one is slow, or faults.

        The caller holds the mutex.
        """
        cdef PageRange pages
        if end > start:
            pages = pages_of(self.region.data, start, end - start)
            madvise(pages.start, pages.length, MADV_POPULATE_WRITE)

    cdef int advise_all(self, int advice) noexcept nogil:
        """Give lasting advice for this region, and for those that come after it.

        The caller holds the mutex.
        """
        if is_lasting(advice):
            self.advice = advice
        else:
            self.page_advice = advice
        return self.region.advise(advice)

    cdef int advise_fork(self, int advice) except? -1:
        """The caller holds the mutex."""
        cdef Region region
        cdef int code = self.region.advise_fork(advice)
        self.fork_advice = advice
        for region in self.older_regions:
            code = code or region.advise_fork(advice)
        return code

    cdef int heal(self, bint discard, size_t *written) except? -1:
        """The caller holds the mutex."""
        cdef Region region
        cdef int code = 0
        for region in self.older_regions:
            if code == 0:
                code = self.heal_region(region, discard, written)
        return code or self.heal_region(self.region, discard, written)

    cdef int heal_region(self, Region region, bint discard, size_t *written):
        cdef size_t lead = region.data - region.base
        cdef size_t length = lead + min(region.longest(), self.length())
        cdef int code
        with nogil:
            code = patch_heal(&region.watch, length, discard, written)
            self.pass_on_advice(region)     # the part that was mapped anew does not have it
        return code

    cdef int cause(self, char *memory) noexcept nogil:
        """Why a page cannot be read, if there is no descriptor to ask the kernel by.

        The caller holds the mutex.
        """
        cdef char byte
        if not fault_in_force(tick()) and fault_carry(memory, &byte, 1, False) != NULL:
            if errno != EFAULT:
                return errno
        return patch_cause(&self.region.watch, memory)

    cdef int drop(self, int64_t first, int64_t last, bint reclaims) except -1:
        """Take page table entries away, from offset `first` to `last` of each region.

        MADV_DONTNEED would throw away the changes of a private mapping, so those pages are
        reclaimed; so are pages of a mapping without a descriptor to empty the page cache
        by. The caller holds the mutex.
        """
        cdef Region region
        cdef int advice = MADV_PAGEOUT if reclaims or self.is_private() else MADV_DONTNEED
        for region in self.older_regions:
            region.drop(first, last, advice)
        return self.region.drop(first, last, advice)

    cdef int publish(self, Region next_region, int64_t length, bint was_empty) except -1:
        """Make `length` the mapping's, in `next_region` if the file is mapped there.

        The caller holds the mutex.
        """
        cdef Region new = self.region
        if next_region is not None and next_region.is_mapped():
            new = next_region
        if was_empty:
            with nogil:
                self.map_anew(new)
        return self.switch_to(new, length)
