# What other extension modules may use of a mapping (_core.pxd).
#
# The reasons are in docs/design/mapping.md.

@cython.final
@cython.auto_pickle(False)
cdef class PinnedMemory:
    cdef int renew(self) except -1:
        cdef Snapshot s
        cdef Region region = (<Mapping> self.mapping).memory.enter(&s)
        self.region = region
        self.data = region.at(0)
        self.length, self.truncations = s.length, s.truncations
        self.patch_total = s.patch_total
        return 0

    cdef bint is_guarded(self) noexcept nogil:
        """Whether the memory may be touched, by `call`; else there is `transfer`."""
        return (<Mapping> self.mapping).memory.is_guarded()

    cdef const void *call(self, void (*function)(void *) noexcept nogil, void *argument,
                          const fault_range *ranges) noexcept nogil:
        return fault_call(function, argument, ranges)

    cdef bint must_retry(self) except -1:
        cdef Snapshot s
        s.length, s.truncations = self.length, self.truncations
        s.patch_total = self.patch_total
        return (<Mapping> self.mapping).memory.must_retry(<Region> self.region, &s)

    cdef Py_ssize_t transfer(self, char *buffer, int64_t offset, int64_t length,
                             bint writing) except -1:
        return transfer(<Mapping> self.mapping, buffer, offset, length, writing, 0)


cdef PinnedMemory pin(Mapping m, bint writing):
    """The memory as it is for `PinnedMemory.renew`, for copies made elsewhere."""
    cdef PinnedMemory pinned = PinnedMemory.__new__(PinnedMemory)
    if writing:
        require_positional(m)
    pinned.mapping = m
    return pinned


cdef int make_private(type kind) except -1:
    """Let nobody make such an object by hand: it would hold nothing, and be used."""
    cdef PyTypeObject *c_type = <PyTypeObject *> kind
    c_type.tp_new = c_type.tp_vectorcall = NULL
    PyDict_DelItemString(c_type.tp_dict, "__new__")
    PyType_Modified(c_type)
    return 0


make_private(Region)
make_private(View)
make_private(Guard)
make_private(Memory)
make_private(Extent)
make_private(PinnedMemory)

# Its users know it as yammap.Mapping, and should not learn from a traceback or from help()
# which file it is in. A static type's module is a part of its name: only C can change it.
(<PyTypeObject *> Mapping).tp_name = "yammap.Mapping"
