# The block of `with m.guard():`, which raises when a page was replaced. Knows a mapping's
# memory.
#
# The reasons are in docs/design/memory.md.

@cython.final
@cython.auto_pickle(False)
cdef class Guard:
    """What `Mapping.guard` returns. In C, so that no exception comes between its steps."""
    cdef Memory memory          # None for a region alone
    cdef object mapping
    cdef list guarded           # the mapping may let go of them before the end

    def __enter__(self):
        if self.memory is None:
            with cython.critical_section(self):
                regions = self.guarded
            raise_patch(regions)
            return None
        self.memory.require_open()
        regions = self.memory.regions()
        with cython.critical_section(self):
            self.guarded = regions
        return self.mapping

    def __exit__(self, kind, error, traceback):
        if kind is None:
            with cython.critical_section(self):
                regions = self.guarded
            if self.memory is not None:
                regions = self.memory.regions() or regions
            raise_patch(regions)
        return False


cdef Guard new_guard(object mapping, Memory memory, list regions):
    cdef Guard guard = Guard.__new__(Guard)
    guard.mapping, guard.memory = mapping, memory
    with cython.critical_section(guard):
        guard.guarded = regions
    return guard
