# The memory of one mapping: the region it is in, those it was in before, and its length.
#
# Knows addresses, and how many bytes of them the mapping has. It must not know where the
# file ends, nor how it grows: who knows that publishes a length here.

# The default reserve. A gigabyte for each of the 65530 mappings Linux allows a process
# fits twice into its 128 TiB, and three times the size makes a file grow fourfold
# before it needs a new generation; more than a tebibyte would only crowd the others.
cdef int64_t LEAST_RESERVE = 1 << 30
cdef int64_t MOST_RESERVE = 1 << 40

# Far beyond what any filesystem holds, and far enough from overflow to add a reserve.
cdef int64_t MOST_SIZE = 1 << 62

# No errno values: the mapping was closed by another thread in between; a region is needed,
# which cannot be made under the mutex.
cdef int CLOSED = -1
cdef int NO_REGION = -2

# Advice that a region keeps: it is given to the next one, too.
cdef tuple LASTING = (MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL)
cdef tuple LASTING_FOR_PAGES = (MADV_HUGEPAGE, MADV_NOHUGEPAGE)


# What an operation reads when it begins, in one place and one step.
cdef struct Snapshot:
    Py_ssize_t length           # bytes in the mapping
    Py_ssize_t truncations      # of ours, so far
    unsigned long patch_total   # pages replaced in this process, so far


@cython.final
@cython.no_gc_clear     # a mapping's __dealloc__ needs the regions
@cython.auto_pickle(False)
cdef class Memory:
    """Regions, the latest of which is the mapping's. None is left when it is closed.

    `length` and `region` change in critical sections, which are free where there is a GIL.
    """
    cdef Region region              # None: closed
    cdef list older_regions         # that may have holders
    cdef Py_ssize_t length          # bytes in the mapping
    cdef Py_ssize_t truncations     # how often this object has cut the file
    cdef unsigned long patch_total_checked      # when none of our regions had patches
    cdef int64_t append_limit       # records may be stored up to here without the mutex
    cdef bint mapped                # False: the engine is "pread"
    cdef bint grows
    cdef bint raises                # in the thread that touched a page in a view
    cdef int prot
    cdef int flags
    cdef int64_t reserve            # -1: by the default rule
    cdef int advice                 # one of LASTING
    cdef int page_advice            # one of LASTING_FOR_PAGES, or MADV_NORMAL
    cdef int fork_advice            # MADV_DONTFORK or MADV_DOFORK
    cdef uint64_t device, inode
    cdef object name                # what errors call the file
    cdef object label               # the same for regions, which may hold no container
    cdef str closed_text

    def __cinit__(self):
        self.closed_text = "the mapping of {!r} is closed"
        self.older_regions = []
        self.mapped = True
        self.prot = PROT_READ
        self.flags = MAP_SHARED
        self.reserve = -1
        self.advice = self.page_advice = MADV_NORMAL
        self.fork_advice = MADV_DOFORK

    # -- What operations begin and end with

    cdef inline Region snapshot(self, Snapshot *s):
        cdef Region region
        s.patch_total = load_total(&patch_total)
        with cython.critical_section(self):
            region = self.region
            s.length = self.length
            s.truncations = self.truncations
        return region

    cdef inline Region enter(self, Snapshot *s):
        """The region, held, with what belongs to it; an error when closed or poisoned."""
        cdef Region region = self.snapshot(s)
        if region is None:
            raise ValueError(self.closed_text.format(self.name))
        if s.patch_total != self.patch_total_checked:
            self.look_for_patches()
        return region

    cdef int require_open(self) except -1:
        cdef Snapshot s
        self.enter(&s)
        return 0

    cdef inline bint must_retry(self, Region region, Snapshot *s) except -1:
        """Whether what was copied since `enter` is no copy, and is to be made again.

        A truncation of ours came between, whose zeros it may have read: the count is
        raised before a page goes, and this look comes after the copy. Or another thread's
        view got zeros, which are gone again. Where they are still there, this raises.
        """
        atomic_thread_fence(memory_order_acquire)
        if s.truncations != self.truncations:
            return True
        if load_total(&patch_total) == s.patch_total:
            return False
        self.look_for_patches()
        return region.watch.heals != 0

    cdef int look_for_patches(self) except -1:
        """Raise when one of our regions has patches; remember that none had.

        The total is loaded first, so that a patch which comes meanwhile is looked for the
        next time. Two threads may store it in the wrong order: that costs one more look.
        """
        cdef unsigned long total = load_total(&patch_total)
        raise_patch(self.regions())
        self.patch_total_checked = total
        return 0

    cdef inline bint is_guarded(self) noexcept nogil:
        """Whether the memory may be touched under the guard; else a system call may."""
        return self.mapped and fault_in_force(tick())

    cdef inline bint has_no_new_patch(self) noexcept nogil:
        return load_total(&patch_total) == self.patch_total_checked

    cdef inline bint is_open(self) noexcept nogil:
        return self.region is not None

    cdef inline bint is_private(self) noexcept nogil:
        return self.flags == MAP_PRIVATE

    cdef inline bint is_writable(self) noexcept nogil:
        return self.prot & PROT_WRITE

    cdef list regions(self):
        """All that views can be in; none when closed, but for those that were lent out."""
        cdef list found = []    # made first: the collector may run here, and a finaliser
        with cython.critical_section(self):
            if self.region is not None:
                found.extend(self.older_regions)
                found.append(self.region)
        return found

    cdef list regions_held_for_mapping(self):
        """Those that are kept until the mapping object is freed, and the latest."""
        cdef list found = []    # made first: the collector may run here, and a finaliser
        with cython.critical_section(self):
            found.extend(self.older_regions)
            if self.region is not None:
                found.append(self.region)
        return found

    # -- Mapping

    cdef Region new_region(self):
        cdef Region region = Region.__new__(Region)
        region.name, region.device, region.inode = self.label, self.device, self.inode
        return region

    cdef int map(self, Region region, int fd, int64_t origin,
                 int64_t length) noexcept nogil:
        """Map `length` bytes from `origin` into an empty region; returns an errno value.

        Where the reserve cannot be had (RLIMIT_AS, MCL_FUTURE, a crowded address
        space) the mapping is exact, and growth slower.
        """
        cdef int64_t lead = origin % PAGE
        cdef int64_t exact = round_up(max(lead + length, 1))
        cdef int64_t span = exact + round_up(self.room_for(length))
        cdef void *base = mmap(NULL, span, self.prot, self.flags, fd, origin - lead)
        if base == MAP_FAILED and (errno == ENOMEM or errno == EAGAIN):
            span = exact
            base = mmap(NULL, span, self.prot, self.flags, fd, origin - lead)
        if base == MAP_FAILED:
            return errno
        region.place(<char *> base, span, lead)
        return 0

    cdef void watch(self, Region region, int fd, int64_t origin) noexcept nogil:
        """From here on bus errors in it are survived, by the descriptor of the file."""
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
        """Have address space for `length` bytes; NO_REGION where that takes another one."""
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

        ntfs3 loses what is stored into a writable mapping that is older than the first
        byte of its file, when that is next mapped. Not to map an empty file at all would
        find out too late what cannot be mapped. A failure leaves the mapping that there
        is, which all other filesystems are content with: the file has grown already. So
        does a patch, which a view has got meanwhile, and whose stores would be lost.
        """
        if not self.mapped or not self.is_writable() or self.is_private():
            return
        if patch_map_anew(&region.watch):
            self.pass_on_advice(region)

    # -- The length

    cdef int begin(self, Region region) except -1:
        """Open, with the first region."""
        region.expose(self.length)
        self.patch_total_checked = load_total(&patch_total)
        self.region = region
        return 0

    cdef void stop_appends(self) noexcept:
        """Under the mutex: let appends wait for it until `append_limit` is set again."""
        with cython.critical_section(self):
            self.append_limit = 0

    cdef void populate(self, int64_t start, int64_t end) noexcept nogil:
        """Make pages; without them a store is slow, or faults."""
        cdef PageRange pages
        if end > start:
            pages = pages_of(self.region.data, start, end - start)
            madvise(pages.start, pages.length, MADV_POPULATE_WRITE)

    cdef int publish(self, Region next_region, int64_t length, bint was_empty) except -1:
        """Make `length` the mapping's, in `next_region` if the file was mapped there."""
        cdef Region old = self.region, new = self.region
        if next_region is not None and next_region.base != NULL:
            new = next_region
        if was_empty:
            with nogil:
                self.map_anew(new)
        with cython.critical_section(self):
            if length < self.length:
                self.truncations += 1
            self.length = length
            if new is not old:
                self.older_regions.append(old)
            self.region = new
            new.expose(length)
        if new is not old:
            self.forget_older_regions(False)
        return 0

    cdef inline void grow_to(self, int64_t length) noexcept:
        """Publish records that were stored into pages the region has; no more than that."""
        self.region.expose(length)
        self.length = length

    cdef int forget_older_regions(self, bint closing) except -1:
        """Let go of the regions nobody but the exports themselves can look at."""
        cdef Region region
        cdef Py_ssize_t i
        for i in range(len(self.older_regions) - 1, -1, -1):
            region = self.older_regions[i]
            if not region.has_uncounted_holders and (
                    closing or atomic_load(&region.exports) == 0):
                self.older_regions.pop(i)
        return 0

    cdef Py_ssize_t announce_truncation(self, int64_t length, bint replaced) except -1:
        """Make `length` the mapping's, unless there are exports; returns how many.

        The exports are counted in one step with announcing the new length, so that none
        is made in between. `replaced`: the next region is there for uncounted holders.
        """
        cdef Py_ssize_t exports = 0
        with cython.critical_section(self):
            exports = self.count_exports()
            if self.region.has_uncounted_holders and not replaced:
                exports += 1    # lent just now, by a thread that needs no GIL
            if exports == 0:
                self.truncations += 1
                self.length = length
        return exports

    cdef Py_ssize_t count_exports(self) except -1:
        cdef Region region
        cdef Py_ssize_t exports = atomic_load(&self.region.exports)
        for region in self.older_regions:
            exports += atomic_load(&region.exports)
        return exports

    cdef int zero_tails(self, Region former, int64_t length) except -1:
        """Behind a truncation: what holders of older regions have instead of the file."""
        cdef Region region
        if former is not self.region:
            former.release_reserve()
        for region in self.older_regions:
            region.zero_tail(length, self.prot)
        return 0

    # -- Handing out

    cdef Region counted(self, Py_ssize_t *length, bint lend):
        """The region, held and counted as exported, all in one step."""
        cdef Region region
        self.require_open()
        if not self.mapped:
            raise BufferError(f"{self.name!r} is not mapped: its engine is 'pread'")
        warn_unless_guarded()
        with cython.critical_section(self):
            region = self.region
            length[0] = self.length
            if region is not None:
                atomic_fetch_add(&region.exports, 1)
                region.has_uncounted_holders = region.has_uncounted_holders or lend
        if region is None:
            self.require_open()
        return region

    cdef bint is_readonly(self) noexcept nogil:
        return not self.prot & PROT_WRITE

    cdef int rename(self, object name) except -1:
        """Call the file something else in errors, those of earlier views included."""
        cdef Region region
        label = label_of(name)
        self.name, self.label = name, label
        for region in self.regions():
            region.rename(label)
        return 0

    cdef object locate(self, uintptr_t address):
        """The region that an address lies in, or None."""
        cdef Region region
        for region in self.regions_held_for_mapping():
            if 0 <= address - <uintptr_t> region.base < region.span:
                return region
        return None

    # -- Advice and healing

    cdef int advise_all(self, int advice) noexcept nogil:
        """Advice that stays, whichever regions come."""
        cdef int code
        if advice == MADV_NORMAL or advice == MADV_RANDOM or advice == MADV_SEQUENTIAL:
            self.advice = advice
        else:
            self.page_advice = advice
        code = self.region.advise(advice)
        return code

    cdef int advise_fork(self, int advice) except? -1:
        cdef Region region
        cdef int code = self.region.advise_fork(advice)
        self.fork_advice = advice
        for region in self.older_regions:
            code = code or region.advise_fork(advice)
        return code

    cdef int heal(self, bint discard, size_t *written) except? -1:
        cdef Region region
        cdef int code = 0
        for region in self.older_regions:
            if code == 0:
                code = self.heal_region(region, discard, written)
        return code or self.heal_region(self.region, discard, written)

    cdef int heal_region(self, Region region, bint discard, size_t *written):
        cdef size_t lead = region.data - region.base
        cdef size_t length = lead + min(region.length_max, self.length)
        cdef int code
        with nogil:
            code = patch_heal(&region.watch, length, discard, written)
            self.pass_on_advice(region)     # which what was mapped anew does not have
        return code

    cdef int cause(self, char *memory) noexcept nogil:
        """Why a page cannot be read that no descriptor leads to, or nobody could ask."""
        cdef char byte
        if not fault_in_force(tick()) and fault_carry(memory, &byte, 1, False) != NULL:
            if errno != EFAULT:
                return errno
        return patch_cause(&self.region.watch, memory)

    cdef int drop(self, int64_t first, int64_t last, bint reclaims) except -1:
        """Take page table entries away, from offset `first` to `last` of each region.

        By reclaim where a page has changes of ours, which MADV_DONTNEED would throw away,
        or where there is no descriptor to empty the page cache by.
        """
        cdef Region region
        cdef int advice = MADV_PAGEOUT if reclaims or self.is_private() else MADV_DONTNEED
        for region in self.older_regions:
            region.drop(first, last, advice)
        return self.region.drop(first, last, advice)

    # -- Letting go

    cdef int close(self) except -1:
        cdef Region region
        with cython.critical_section(self):
            region, self.region = self.region, None
            self.truncations += 1
        if region is not None:
            self.older_regions.append(region)
        return 0

    cdef int let_go_of_file(self, bint revoke) noexcept:
        """The descriptor is about to be closed. Returns an errno value of revoking."""
        cdef Region region
        cdef int code = 0
        for region in self.older_regions:
            region.let_go_of_file()
            if revoke and code == 0:
                code = region.zero_all(self.prot)
        if self.region is not None:
            self.region.let_go_of_file()
        return code


cdef object label_of(object name):
    """A name for regions, which the collector does not enter: so it refers to nothing."""
    return name if type(name) in (str, bytes, int) else str.__str__(str(name))
