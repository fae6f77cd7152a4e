# The regions of one mapping, of which the latest is its own, and its length.
#
# Knows who holds which region, and how many bytes of it the mapping has. It must not know
# how a region is mapped, nor where the file ends: who knows that publishes a length here.
#
# The reasons are in docs/design/memory.md.

# No errno values: the mapping was closed by another thread in between; a region is needed,
# which cannot be made under the mutex.
cdef int CLOSED = -1
cdef int NO_REGION = -2

# What an operation reads when it begins, in one place and one step.
cdef struct Snapshot:
    Py_ssize_t length           # bytes in the mapping
    Py_ssize_t truncations      # of ours, so far
    unsigned long patch_total   # pages replaced in this process, so far


@cython.no_gc_clear     # a mapping's __dealloc__ needs the regions
@cython.auto_pickle(False)
cdef class Generations:
    """Regions, older ones for their holders. None is the latest when the mapping is closed.

    `length` and `region` change in critical sections, which are free where there is a GIL.
    """
    cdef readonly Region region     # None: closed
    cdef list older_regions         # that may have holders
    cdef readonly Py_ssize_t length         # bytes in the mapping
    cdef readonly Py_ssize_t truncations    # how often this object has cut the file
    cdef unsigned long patch_total_checked  # when none of our regions had patches
    cdef readonly int64_t append_limit      # appends up to here do without the mutex
    cdef readonly bint mapped       # False: the engine is "pread"
    cdef readonly int prot
    cdef int flags
    cdef readonly object name       # what errors call the file
    cdef object label               # the same for regions, which may hold no container
    cdef str closed_text

    def __cinit__(self):
        self.closed_text = "the mapping of {!r} is closed"
        self.older_regions = []
        self.mapped = True
        self.prot = PROT_READ
        self.flags = MAP_SHARED

    cdef void say_closed(self, str text) noexcept:
        """What errors say when it is closed; ``{!r}`` is the name."""
        self.closed_text = text

    # -- What operations begin and end with

    @cython.final
    cdef inline Region enter(self, Snapshot *s):
        """The region, held, with what belongs to it; an error when closed or poisoned."""
        cdef Region region
        s.patch_total = load_total(&patch_total)
        with cython.critical_section(self):
            region = self.region
            s.length = self.length
            s.truncations = self.truncations
        if region is None or s.patch_total != self.patch_total_checked:
            self.look_again()       # out of line: both are rare
        return region

    cdef int look_again(self) except -1:
        if not self.is_open():
            raise ValueError(self.closed_text.format(self.name))
        return self.look_for_patches()

    cdef int require_open(self) except -1:
        cdef Snapshot s
        self.enter(&s)
        return 0

    @cython.final
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

    @cython.final
    cdef inline bint is_guarded(self) noexcept nogil:
        """Whether the memory may be touched under the guard; else a system call may."""
        return self.mapped and fault_in_force(tick())

    @cython.final
    cdef inline bint has_no_new_patch(self) noexcept nogil:
        return load_total(&patch_total) == self.patch_total_checked

    @cython.final
    cdef inline bint is_open(self) noexcept nogil:
        return self.region is not None

    @cython.final
    cdef inline bint is_private(self) noexcept nogil:
        return self.flags == MAP_PRIVATE

    @cython.final
    cdef inline bint is_writable(self) noexcept nogil:
        return self.prot & PROT_WRITE

    cdef list regions(self):
        """All that views can be in; none when closed, but those with uncounted holders."""
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

    @cython.final
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
                exports += 1    # one was made just now, by a thread without a GIL
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

    cdef int switch_to(self, Region new, int64_t length) except -1:
        """Make `length` the mapping's, in a region that may be the one it is in."""
        cdef Region old = self.region
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

    cdef void allow_appends(self, int64_t length, int64_t limit) noexcept:
        """Publish a record, and let more be stored up to `limit` without the mutex."""
        with cython.critical_section(self):
            self.grow_to(length)
            self.append_limit = limit


cdef object label_of(object name):
    """A name for regions, which the collector does not enter: so it refers to nothing."""
    return name if type(name) in (str, bytes, int) else str.__str__(str(name))
