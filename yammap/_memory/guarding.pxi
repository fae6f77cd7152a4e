# Work on views alone, whose result must not be of replaced pages. Knows a mapping's memory.
#
# The reasons are in docs/design/memory.md.

@cython.final
@cython.auto_pickle(False)
cdef class Guard:
    """What `Mapping.guard` returns. In C, so that no exception comes between its steps."""
    cdef Memory memory          # None for a region alone
    cdef object mapping
    cdef list guarded           # which may be let go of before the end

    def __enter__(self):
        if self.memory is None:
            raise_patch(self.guarded)
            return None
        self.memory.require_open()
        self.guarded = self.memory.regions()
        return self.mapping

    def __exit__(self, kind, error, traceback):
        if kind is None:
            now = None if self.memory is None else self.memory.regions()
            raise_patch(now or self.guarded)
        return False


cdef Guard new_guard(object mapping, Memory memory, list regions):
    cdef Guard guard = Guard.__new__(Guard)
    guard.mapping, guard.memory, guard.guarded = mapping, memory, regions
    return guard
