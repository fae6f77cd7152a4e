# The regions of one mapping, and its length. The mapping works in the latest region.
#
# Knows who holds which region, and how many bytes of it the mapping has. It must not know
# how a region is mapped, nor where the file ends: callers who know publish a length here.
#
# The reasons are in docs/design/memory.md.

# Codes that are no errno values. CLOSED: another thread closed the mapping in between.
# NO_REGION: the caller has to make a new region, which it cannot do under the mutex.
cdef int CLOSED = -1
cdef int NO_REGION = -2

cdef extern from *:
    """
    /* Cython takes the address of no field that has an object. */
    typedef struct __pyx_obj_6yammap_5_core_Generations *generations;
    #define place_of_region(memory) ((const void *const *)&((generations)(memory))->region)
    """
    const void *const *place_of_region(void *memory) nogil


# What an operation reads in one step when it begins.
cdef struct Snapshot:
    Py_ssize_t length           # bytes in the mapping
    Py_ssize_t truncations      # of ours, so far
    unsigned long patch_total   # pages replaced in this process, so far


@cython.no_gc_clear     # a mapping's __dealloc__ needs the regions
@cython.auto_pickle(False)
cdef class Generations:
    """The latest region (None when closed), and the older ones that may have holders.

    `length` and `region` change in critical sections, which are free where there is a GIL.
    """
    cdef readonly Region region     # None: closed
    cdef list older_regions         # that may have holders
    cdef set keepers                # of views, who let go when they are asked; by weakref
    cdef ordered_size _length, _truncations, _append_limit
    cdef unsigned long patch_total_checked  # the total at which no region had patches
    cdef readonly bint mapped       # False: the engine is "pread"
    cdef readonly int prot
    cdef int flags
    cdef readonly object name       # what errors call the file
    cdef object label               # the same for regions, which hold no container
    cdef str closed_text

    def __cinit__(self):
        self.closed_text = "the mapping of {!r} is closed"
        self.older_regions = []
        self.mapped = True
        self.prot = PROT_READ
        self.flags = MAP_SHARED

    cdef void say_closed(self, str text) noexcept:
        """Set what errors say when the mapping is closed; ``{!r}`` stands for the name."""
        self.closed_text = text

    # -- What threads read without a guard

    @cython.final
    cdef inline Py_ssize_t length(self) noexcept nogil:
        """How many bytes the mapping has."""
        return get_ordered(&self._length)

    @cython.final
    cdef inline Py_ssize_t truncations(self) noexcept nogil:
        """How often this mapping has cut the file."""
        return get_ordered(&self._truncations)

    @cython.final
    cdef inline Py_ssize_t append_limit(self) noexcept nogil:
        """Up to where appends take no mutex."""
        return get_ordered(&self._append_limit)

    # -- What operations begin and end with

    @cython.final
    cdef inline Region enter(self, Snapshot *s):
        """Return the region and its snapshot; raise when closed or poisoned."""
        cdef Region region
        s.patch_total = load_total(&patch_total)
        with cython.critical_section(self):
            region = self.region
            s.length = self.length()
            s.truncations = self.truncations()
        if region is None or s.patch_total != get_total(&self.patch_total_checked):
            self.look_again()       # out of line: both are rare
        return region

    @cython.final
    cdef inline const void *pin(self, Snapshot *s) noexcept nogil:
        """As `enter`, without a lock and a reference; NULL where `enter` has to do it.

        The caller drops the pin. A cut stores the smaller length before it counts, and
        counts before another region takes over, and growth stores the larger length last:
        so the region has as many bytes as the snapshot, unless the count is another now.
        """
        cdef const void *region
        s.patch_total = load_total(&patch_total)
        s.truncations = self.truncations()
        s.length = self.length()
        region = pin_hold(place_of_region(<void *> self))
        if region == NULL:
            return NULL
        if (region != <void *> None and s.truncations == self.truncations()
                and s.patch_total == get_total(&self.patch_total_checked)):
            return region
        pin_drop()
        return NULL

    cdef int look_again(self) except -1:
        if not self.is_open():
            raise ValueError(self.closed_text.format(self.present_name()))
        return self.look_for_patches()

    cdef int require_open(self) except -1:
        cdef Snapshot s
        self.enter(&s)
        return 0

    @cython.final
    cdef inline bint must_retry(self, Region region, Snapshot *s) except -1:
        """Whether a copy must be made again, since it may have read zeros after `enter`.

        A truncation of ours may have come between: it raises the count before it takes a
        page away, and this looks after the copy. Or another thread's view got a patch of
        zeros that is gone again. If the patch is still there, this raises.
        """
        if self.is_undisturbed(s):
            return False
        if s.truncations != self.truncations():
            return True
        self.look_for_patches()
        return region.watch.heals != 0

    @cython.final
    cdef inline bint is_undisturbed(self, Snapshot *s) noexcept nogil:
        """Whether neither a truncation of ours nor any patch came since `enter`."""
        atomic_thread_fence(memory_order_acquire)
        return (s.truncations == self.truncations()
                and load_total(&patch_total) == s.patch_total)

    cdef int look_for_patches(self) except -1:
        """Raise if one of our regions has patches; otherwise remember the total.

        This loads the total first, so that the next call looks for a patch that comes
        meanwhile. Two threads may store it in the wrong order: that costs one more look.
        """
        cdef unsigned long total = load_total(&patch_total)
        raise_patch(self.regions())
        set_total(&self.patch_total_checked, total)
        return 0

    @cython.final
    cdef inline bint is_guarded(self) noexcept nogil:
        """Whether a guarded copy may touch the memory; else a system call has to."""
        return self.mapped and fault_in_force(tick())

    @cython.final
    cdef inline bint has_no_new_patch(self) noexcept nogil:
        return load_total(&patch_total) == get_total(&self.patch_total_checked)

    @cython.final
    cdef inline bint is_open(self) noexcept nogil:
        return self.region is not None

    @cython.final
    cdef inline bint is_private(self) noexcept nogil:
        return self.flags == MAP_PRIVATE

    @cython.final
    cdef inline bint is_writable(self) noexcept nogil:
        return self.prot & PROT_WRITE

    cdef list regions(self, bint after_close=False):
        """The regions that are kept for the mapping, oldest first.

        A closed mapping keeps those with uncounted holders until the object is freed. They
        are no concern of its methods, so they are told only to those who ask `after_close`.
        """
        cdef list found = []    # made first: the collector may run here, and a finaliser
        cdef Region latest
        with cython.critical_section(self):
            latest = self.region
            if after_close or latest is not None:
                found.extend(self.older_regions)
        if latest is not None:
            found.append(latest)
        return found

    cdef int begin(self, Region region) except -1:
        """Open the mapping, with its first region."""
        region.expose(self.length())
        set_total(&self.patch_total_checked, load_total(&patch_total))
        with cython.critical_section(self):
            self.region = region
        return 0

    cdef void stop_appends(self) noexcept:
        """Under the mutex: make appends take it until `append_limit` is set again."""
        with cython.critical_section(self):
            set_ordered(&self._append_limit, 0)

    @cython.final
    cdef inline void grow_to(self, int64_t length) noexcept:
        """Publish records that were stored into pages of the region.

        The caller is in the section.
        """
        self.region.expose(length)
        set_ordered(&self._length, length)

    cdef int forget_older_regions(self, bint closing) except -1:
        """Let go of the regions that only their exports hold, or nobody.

        The caller holds the mutex.
        """
        cdef Region region
        cdef Py_ssize_t i
        for i in range(len(self.older_regions) - 1, -1, -1):
            region = self.older_regions[i]
            if not region.has_uncounted_holders and (
                    closing or atomic_load(&region.exports) == 0):
                with cython.critical_section(self):
                    self.older_regions.pop(i)   # and freed later, outside of it
        return 0

    cdef Py_ssize_t announce_truncation(self, int64_t length, bint replaced) except -1:
        """Make `length` the mapping's if there are no exports; returns how many there are.

        Counting the exports and announcing the new length are one step, so that no export
        is made in between. `replaced` says that the mapping gets another region, so that
        uncounted holders keep this one. The caller holds the mutex.
        """
        cdef Py_ssize_t exports = 0
        with cython.critical_section(self):
            exports = self.count_exports()
            if self.region.has_uncounted_holders and not replaced:
                exports += 1    # one was made just now, by a thread without a GIL
            if exports == 0:
                set_ordered(&self._length, length)
                set_ordered(&self._truncations, self.truncations() + 1)
        return exports

    cdef int add_keeper(self, object keeper) except -1:
        """Ask it, by `let_go`, before views are counted: the one it keeps is nobody's."""
        cdef set none = set()   # made first: the collector may run here, and a finaliser
        with cython.critical_section(self):
            if self.keepers is None:
                self.keepers = none
        self.keepers.add(PyWeakref_NewRef(keeper, self.keepers.discard))
        return 0

    cdef int ask_keepers(self) except -1:
        if self.keepers is not None:
            for reference in list(self.keepers):
                keeper = reference()
                if keeper is not None:
                    keeper.let_go()
        return 0

    cdef Py_ssize_t count_exports(self) except -1:
        """The caller is in the section."""
        cdef Region region
        cdef Py_ssize_t exports = atomic_load(&self.region.exports)
        for region in self.older_regions:
            exports += atomic_load(&region.exports)
        return exports

    cdef int zero_tails(self, Region former, int64_t length) except -1:
        """After a truncation: give holders of older regions zeros in place of the file.

        The caller holds the mutex.
        """
        cdef Region region
        if former is not self.region:
            former.release_reserve()
        for region in self.older_regions:
            region.zero_tail(length, self.prot)
        return 0

    cdef Region counted(self, Py_ssize_t *length, bint uncounted):
        """Return the region, counted as exported; `uncounted` holders may come with it."""
        cdef Region region
        self.require_open()
        if not self.mapped:
            raise BufferError(f"{self.present_name()!r} is not mapped: its engine is "
                              f"'pread'")
        if not fault_in_force(tick()):      # once a tick: two system calls would take
            warn_unless_guarded()           # five times as long as all the rest
        with cython.critical_section(self):
            region = self.region
            length[0] = self.length()
            if region is not None:
                atomic_fetch_add(&region.exports, 1)
                region.has_uncounted_holders = region.has_uncounted_holders or uncounted
        if region is None:
            self.require_open()
        return region

    cdef int rename(self, object name) except -1:
        """Change what errors call the file, also those of earlier views."""
        cdef Region region
        label = label_of(name)
        with cython.critical_section(self):
            self.name, self.label = name, label
        for region in self.regions():
            region.rename(label)
        return 0

    cdef object present_name(self):
        """What errors call the file, which another thread may be changing."""
        with cython.critical_section(self):
            name = self.name
        return told(name)

    cdef object locate(self, uintptr_t address):
        """The region that an address lies in, or None."""
        cdef Region region
        for region in self.regions(after_close=True):
            if region.contains(address):
                return region
        return None

    cdef int close(self) except -1:
        cdef Region region
        with cython.critical_section(self):
            region = self.region
            if region is not None:
                self.older_regions.append(region)
            self.region = None
            set_ordered(&self._truncations, self.truncations() + 1)
        return 0

    cdef int let_go_of_file(self, bint revoke) noexcept:
        """Stop using the descriptor, before it is closed; returns the errno of revoking.

        The caller holds the mutex.
        """
        cdef Region region
        cdef int code = 0
        cdef bint needed = self.is_open()
        for region in self.older_regions:
            needed = needed or region.may_tell_of_file()
            region.let_go_of_file()
            if revoke and code == 0:
                code = region.zero_all(self.prot)
        if self.region is not None:
            self.region.let_go_of_file()
        with cython.critical_section(self):
            name = self.name
        if type(name) is PathOf:
            (<PathOf> name).let_go_of_file(needed)
        return code

    cdef int switch_to(self, Region new, int64_t length) except -1:
        """Make `length` the mapping's, in `new`, which may be the region it has already.

        The caller holds the mutex.
        """
        cdef Region old = self.region
        with cython.critical_section(self):
            if new is not old:
                self.older_regions.append(old)  # first: it may let others into the section
            new.expose(length)
            if length < self.length():
                set_ordered(&self._length, length)
                set_ordered(&self._truncations, self.truncations() + 1)
                atomic_thread_fence(memory_order_release)
            self.region = new
            set_ordered(&self._length, length)
        if new is not old:
            self.forget_older_regions(False)
        return 0

    cdef void allow_appends(self, int64_t length, int64_t limit) noexcept:
        """Publish a record, and let appends up to `limit` do without the mutex."""
        with cython.critical_section(self):
            self.grow_to(length)
            set_ordered(&self._append_limit, limit)
