# The files of a batch, as a queue reads them.
#
# Knows descriptors, and asks whether to read past the page cache. It must not know
# requests.
#
# The reasons are in docs/design/queue.md.

@cython.final
@cython.no_gc_clear     # a batch that is collected counts its requests here
@cython.auto_pickle(False)
cdef class Files:
    """The file of each mapping of a batch."""
    cdef list pinned
    cdef list files
    cdef Channel *channels
    cdef Choice choice

    def __dealloc__(self):
        free(self.channels)

    cdef bint begin(self, list pinned, Choice choice) except -1:
        """Have a descriptor of each; False where one has none, or changes of its own.

        Without a choice, that of the one file decides.
        """
        cdef FileToRead file
        self.pinned, self.files = pinned, []
        self.channels = <Channel *> calloc(len(pinned), sizeof(Channel))
        if self.channels == NULL:
            raise MemoryError
        for each in pinned:
            file = file_to_read(each)
            if not (<PinnedMemory> each).is_file_memory() or not file.begin(each):
                return False
            self.files.append(file)
        self.choice = file.choice if choice is None else choice
        return True

    cdef Way way(self, int cached, const Plan *plan) except *:
        cdef Extents extents = Extents(0, False, True)
        cdef PinnedMemory each
        cdef int64_t count = len(self.pinned)
        cdef const Channel *channels
        for file, each in zip(self.files, self.pinned):
            extents.size += each.length
            extents.are_writable |= each.is_writable()
            extents.have_direct &= (<FileToRead> file).direct_fd != -1
        if self.choice.needs_tracers(cached, extents) and each.is_guarded():
            channels = self.as_channels(INTO_CACHE)
            with nogil:
                look_for_tracers(&self.choice.tracers, plan, channels, count)
        return self.choice.way(cached, extents)

    cdef const Channel *as_channels(self, Way way) noexcept:
        cdef int64_t i
        for i in range(len(self.pinned)):
            self.channels[i] = (<FileToRead> self.files[i]).channel(self.pinned[i], way)
        return self.channels


make_private(Files)
