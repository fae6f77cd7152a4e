# What others may hold of a mapping: extension modules (_core.pxd), arrays, and a thread
# that copies where there is no GIL.
#
# The reasons are in docs/design/mapping.md.

cdef bint copy_pinned(Mapping m, char *buffer, int64_t offset, int64_t length,
                      bint writing, bint callers) noexcept nogil:
    """As `copy_hot`, and threads that share the mapping change no word that they share."""
    cdef Snapshot s
    cdef const void *region = m.memory.pin(&s)
    cdef uint64_t now = tick()
    cdef char *memory
    cdef bint copied = False
    if region == NULL:
        return False
    memory = data_of(region) + offset
    if (clip(offset, length, s.length) == length and fault_in_force(now)
            and were_touched(serial_of(region), memory, length, writing, now)
            and (not callers or is_buffer_hot(buffer, length, not writing, now))):
        copied = copy_in_force(memory, buffer, length, writing) == NULL
    pin_drop()
    return copied and m.memory.is_undisturbed(&s)


@cython.final
@cython.freelist(8)
@cython.auto_pickle(False)
cdef class PinnedMemory:
    cdef int renew(self) except -1:
        cdef Snapshot s
        cdef Region region = (<Mapping> self.mapping).memory.enter(&s)
        self.region = region
        self.data = region.at(0)
        self.length, self.truncations = s.length, s.truncations
        self.patch_total = s.patch_total
        self.tick = tick()
        return 0

    cdef bint is_guarded(self) noexcept nogil:
        """Whether `call` may touch the memory; else use `copy`."""
        return (<Mapping> self.mapping).memory.mapped and fault_in_force(self.tick)

    cdef bint is_hot(self, int64_t offset, int64_t length) noexcept nogil:
        """Whether reading these bytes keeps the GIL, as far as hot pages go."""
        return length == 0 or is_hot(<Region> self.region, self.data + offset, length,
                                     False, self.tick)

    cdef void set_hot(self, int64_t offset, int64_t length) noexcept nogil:
        set_hot(<Region> self.region, self.data + offset, length, False, self.tick)

    cdef const void *call(self, void (*function)(void *) noexcept nogil, void *argument,
                          const fault_range *ranges) noexcept nogil:
        return fault_call(function, argument, ranges)

    cdef bint must_retry(self) except -1:
        cdef Snapshot s
        s.length, s.truncations = self.length, self.truncations
        s.patch_total = self.patch_total
        return (<Mapping> self.mapping).memory.must_retry(<Region> self.region, &s)

    cdef Py_ssize_t copy(self, char *buffer, int64_t offset, int64_t length,
                         bint writing) except -1:
        return transfer(<Mapping> self.mapping, buffer, offset, length, writing, 0)

    cdef bint is_file_memory(self) noexcept:
        """Whether the memory shows the file, and nothing that the file has not."""
        return not (<Mapping> self.mapping).memory.is_private()

    cdef bint is_writable(self) noexcept:
        return (<Mapping> self.mapping).memory.is_writable()

    cdef int64_t origin(self) noexcept nogil:
        return (<Mapping> self.mapping).extent.origin

    cdef int open_to_read(self, int flags) except -2:
        return open_to_read(<Mapping> self.mapping, flags)

    cdef object kept(self):
        cdef Mapping m = <Mapping> self.mapping
        with cython.critical_section(m):
            return m.kept_by_batches

    cdef object keep(self, object made):
        """Keep what was made, unless another thread was faster; returns what is used."""
        cdef Mapping m = <Mapping> self.mapping
        with cython.critical_section(m):
            if m.kept_by_batches is not None:
                return m.kept_by_batches
            if m.memory.is_open():      # else `close` has let go of it
                m.kept_by_batches = made
        return made


cdef int open_to_read(Mapping m, int flags) except -2:
    """Open the file once more; -1 where there is no descriptor, or no /proc.

    Nor is it opened where another file may come to lie behind the descriptor.
    """
    cdef int fd
    with m.mutex:
        with nogil:
            fd = m.extent.open_to_read(flags)
    return fd


cdef PinnedMemory pin(mapping, bint writing):
    """Give copies made elsewhere a door to the memory, which `renew` opens."""
    cdef PinnedMemory pinned = PinnedMemory.__new__(PinnedMemory)
    if writing:
        require_positional(mapping)
    pinned.mapping = <Mapping?> mapping
    return pinned


@cython.final
@cython.auto_pickle(False)
cdef class Kept:
    """A view of a mapping that is kept for the next call, until the mapping needs it back.

    Parameters
    ----------
    mapping : Mapping
        Whose memory the view shows. What is made of it after this is kept by `view`.

    Raises
    ------
    BusError
        When the mapping has faults.
    ValueError
        When the mapping is closed.
    """
    cdef object __weakref__
    cdef Memory memory
    cdef Region region          # None: let go
    cdef Py_ssize_t truncations
    cdef object kept

    def __cinit__(self, Mapping mapping not None):
        cdef Snapshot s
        self.memory = mapping.memory
        self.region = self.memory.enter(&s)
        self.truncations = s.truncations
        self.memory.add_keeper(self)

    @property
    def view(self):
        """object: the view; None where the mapping is in another region, or was cut.

        Raises as every method of the mapping does, when it is closed or has faults.
        """
        return self.present()

    cdef inline object present(self):
        cdef Snapshot s
        cdef Region region = self.memory.enter(&s)
        with cython.critical_section(self):
            if region is self.region and s.truncations == self.truncations:
                return self.kept
        return None

    @view.setter
    def view(self, made):
        with cython.critical_section(self):
            if self.region is not None:     # it was let go while the view was made
                self.kept = made

    def let_go(self):
        """Keep nothing: the mapping is about to be cut or closed."""
        with cython.critical_section(self):
            self.kept = self.region = None


@cython.auto_pickle(False)
cdef class Keeper:
    """An array's elements by index, in the view that it keeps.

    A method in Python takes longer to call than NumPy takes for an index. So a subclass in
    Python has three that are rare: `_keep` makes the view, `_given` looks at pieces that
    are arrays, and `_assign` assigns what is no number.
    """
    cdef Kept kept      # None: nothing yet

    @property
    def _kept(self):
        with cython.critical_section(self):
            return self.kept

    @_kept.setter
    def _kept(self, Kept kept):
        with cython.critical_section(self):
            self.kept = kept

    def _whole(self):
        """Return the view; made once, as long as the mapping stays as it is."""
        return whole_of(self)

    def __getitem__(self, key):
        whole = whole_of(self)
        piece = whole[key]
        return self._given(whole, piece) if type(piece) is type(whole) else piece

    def __setitem__(self, key, value):
        if type(value) is int or type(value) is float:      # which overlap with nothing
            whole_of(self)[key] = value
        else:
            self._assign(key, value)

    def __delitem__(self, key):
        raise ValueError("cannot delete array elements")    # as NumPy says


cdef inline object whole_of(Keeper keeper):
    cdef Kept kept
    with cython.critical_section(keeper):
        kept = keeper.kept
    whole = None if kept is None else kept.present()
    return keeper._keep() if whole is None else whole


cdef int make_private(type kind) except -1:
    """Let no caller make such an object: it would hold nothing, and be used."""
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
