# Whether batches read past the page cache, and how they have read.
#
# Knows how much memory there is, and whether pages are read again. It must not know
# descriptors.
#
# The reasons are in docs/design/queue.md.

# What this knows of the machine's memory is at most this many nanoseconds old.
cdef int64_t LOOK_AGAIN = 1_000_000_000

# Files of fewer bytes have too few tracers.
cdef int64_t SMALL = 1 << 24


cdef struct Extents:            # of all mappings that a batch reads
    int64_t size
    bint are_writable
    bint have_direct            # descriptors past the page cache


# How one batch reads. Threads share a `Choice`, which the next batch may make otherwise.
cdef struct Way:
    bint past_cache
    bint leaves_tracers
    bint follows_sample         # which may change it in the midst of the batch


cdef Way INTO_CACHE = Way(False, False, False)


cdef inline bint may_have_tracers(Extents extents) noexcept nogil:
    """Whether batches ever leave some where memory has room."""
    return extents.size > SMALL and extents.have_direct and not extents.are_writable


@cython.final
@cython.auto_pickle(False)
cdef class Choice:
    """Of the batches of one mapping, or of many that are one array."""
    cdef int cached                 # where a call does not say; -1: nor does the caller
    cdef int64_t looked             # when this looked how much memory there is
    cdef int64_t room               # which it was
    cdef reuse sample
    cdef Tracers tracers
    cdef str why                    # of the last choice
    cdef str kind                   # of the queue that was used last
    cdef int64_t requests, bytes_read, failures

    def __cinit__(self):
        self.kind, self.why = "mmap", "no batch has met cold records"
        self.cached = -1
        reuse_begin(&self.sample, 0)

    cdef bint needs_tracers(self, int cached, Extents extents) except -1:
        """Whether what is known of tracers decides where the caller's records go."""
        with cython.critical_section(self):
            if cached != -1 or self.cached != -1 or not may_have_tracers(extents):
                return False
            self.look()
            return extents.size <= self.room

    cdef Way way(self, int cached, Extents extents) except *:
        """Past the page cache or into it: as the caller wants, or as is cheaper."""
        with cython.critical_section(self):
            return self.choose(cached, extents)

    cdef Way choose(self, int cached, Extents extents) except *:
        """The caller is in the section."""
        if not extents.have_direct:
            self.why = "the file cannot be read past the page cache"
            return INTO_CACHE
        cached = self.cached if cached == -1 else cached
        if cached != -1:
            self.why = f"cached={bool(cached)}"
            return Way(not cached, False, False)
        self.look()
        reuse_begin(&self.sample, self.room // PAGE if extents.size > self.room else 0)
        if extents.size <= self.room:
            return self.choose_with_room(extents)
        return self.choose_without_room()

    cdef Way choose_without_room(self) except *:
        """The caller is in the section."""
        if reuse_is_rare(&self.sample):
            self.why = "memory has no room for the mapping, and few pages are read again"
            return Way(True, False, True)
        self.why = "pages are read again, or too few were read to tell"
        return Way(False, False, True)

    cdef Way choose_with_room(self, Extents extents) except *:
        """Read past the page cache what may be wanted once only, and leave tracers.

        Not by a writable mapping: the disk would have to write changed pages first. The
        caller is in the section.
        """
        if not may_have_tracers(extents):
            self.why = "there is memory for all of the mapping"
        elif are_wanted(&self.tracers):
            self.why = "there is memory for the mapping, of which more and more is read"
        elif reuse_found(&self.sample.share, MOST_LOOKED_UP, 4):
            self.why = "there is memory for the mapping, and pages are read again"
        else:
            self.why = "few pages are read, and few of them again"
            return Way(True, True, False)
        return INTO_CACHE

    cdef int look(self) except -1:
        cdef int64_t now = coarse_nanoseconds()
        if self.looked == 0 or now - self.looked > LOOK_AGAIN:
            self.room = room_for_files()
            self.looked = now
        return 0

    cdef int count(self, const Reading *reading, str kind) except -1:
        with cython.critical_section(self):
            where = "past" if reading.way.past_cache else "into"
            self.kind = f"{kind}, {where} the page cache"
            self.requests += reading.requests
            self.bytes_read += reading.bytes_read
            self.failures += reading.failures
        return 0

    def told(self):
        """Return what `Records.statistics` does."""
        with cython.critical_section(self):
            return {"engine": self.kind, "reason": self.why, "requests": self.requests,
                    "bytes_read": self.bytes_read, "fallbacks": self.failures}


make_private(Choice)


def new_choice():
    """Return what decides for batches of many mappings."""
    return Choice.__new__(Choice)


cdef int64_t coarse_nanoseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return now.tv_sec * 1_000_000_000 + now.tv_nsec
