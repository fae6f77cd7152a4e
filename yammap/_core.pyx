"""The mapping: bytes, offsets and errno over the Linux system calls.

One address range of a `Mapping`, called a region, looks like this::

    file      0 .. origin                        origin + size = end of file
                   |================================|
    memory    |....|================================|- - - - - - - - - - - - - -|
            base  data                         data + size                 base + span
              page-aligned    the mapping's bytes      reserve, past the end of file

A growable mapping maps past the end of the file. The reserve costs address space and
nothing else, the pages come into being when the file grows, and so growth moves no
byte: views handed out before see it. Only when the reserve is used up and cannot be
extended in place is the file mapped a second time, as a new generation. Generations
share the page cache, so older views stay coherent with it.

Who may free an address
    A `Region` unmaps itself when its last holder goes. Holders are the mapping, each
    export (its `Py_buffer.obj` is the region, not the mapping) and each copy in
    flight. Closing is therefore letting go, and pins are references. A region that
    was lent out through the mapping's own buffer stays until the mapping object is
    freed, since ``np.ndarray(buffer=m)`` keeps the object and drops the export.

Who survives a bus error
    Copies run under a guard that makes a fault a return value (_sigbus/fault.h). In views,
    a page is put in place (_sigbus/patch.h) and the thread is told (_sigbus/raise.h); from
    then on the region has patches, and ``snapshot``, the one door of all methods, raises.

Who may change what
    ``mutex`` serialises everything that changes the size or uses the descriptor, so no
    descriptor is used after it was closed. It is held across system calls, without
    the GIL, and nothing that the collector tracks is created under it: on CPython 3.11
    that can run it, and so a finaliser that closes this very mapping. Copies take no
    lock. They snapshot ``(region, length, shrinks)`` in a critical section, and when
    ``shrinks`` has changed once they are done, a truncation of our own overtook them
    and they run again: a truncation never waits for a reader.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, \
    PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EFBIG, EINTR, EINVAL, EIO, \
    EISDIR, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, errno
from libc.stdint cimport INT64_MAX, int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy, strerror

from ._linux.calls cimport *

import operator
import os
import threading
import warnings
from io import UnsupportedOperation

from ._errors import BusError, Fault, NotContiguous, ShortRead
from ._linux.calls import HARMLESS
from ._linux.limits import limit_behind

__all__ = ["Mapping", "Positioned", "birth"]


cdef extern from "Python.h":
    void Py_XINCREF(PyObject *object)
    void Py_XDECREF(PyObject *object)
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    bint PyIndex_Check(object value)
    Py_ssize_t PyNumber_AsSsize_t(object value, void *error) except? -1
    int PySlice_Unpack(object key, Py_ssize_t *start, Py_ssize_t *stop,
                       Py_ssize_t *step) except -1
    Py_ssize_t PySlice_AdjustIndices(Py_ssize_t size, Py_ssize_t *start, Py_ssize_t *stop,
                                     Py_ssize_t step)
    unsigned long PyThread_get_thread_ident() nogil
    Py_ssize_t Py_REFCNT(PyObject *object)
    ctypedef struct PyTypeObject:
        const char *tp_name
        PyObject *tp_dict
        void *tp_new
        void *tp_vectorcall
    int PyDict_DelItemString(PyObject *dictionary, const char *key) except -1
    void PyType_Modified(PyTypeObject *type)


cdef extern from "<stdatomic.h>" nogil:
    ctypedef long atomic_count "atomic_long"
    long atomic_fetch_add(atomic_count *object, long operand)
    long atomic_fetch_sub(atomic_count *object, long operand)
    long atomic_load(atomic_count *object)
    ctypedef unsigned long atomic_total "atomic_ulong"
    unsigned long load_total "atomic_load"(atomic_total *object)
    unsigned char touch "__atomic_fetch_or"(char *object, char operand, int order)
    unsigned char look "__atomic_load_n"(char *object, int order)
    int memory_order_acquire
    void atomic_thread_fence(int order)


cdef extern from "_sigbus/fault.h" nogil:
    int fault_install()
    bint fault_in_force(unsigned tick)
    bint fault_look(unsigned tick)
    const void *fault_copy(void *target, const void *source, size_t length)
    const void *fault_carry(void *memory, void *buffer, size_t length, bint writing)
    const void *fault_call(void (*function)(void *) noexcept nogil, void *argument,
                           const fault_range *ranges)


cdef extern from "_sigbus/patch.h" nogil:
    struct patch:
        char *start
        size_t length
        const char *touched
        int64_t size
        int code
        bint writing, kept
        unsigned long thread, serial
    struct patch_range:
        char *start
        size_t length, lead, count
        int64_t offset
        int fd, prot, flags
        bint raises, withheld
        void *name
        unsigned long heals
    atomic_total patch_total
    void patch_watch(patch_range *range)
    void patch_forget(patch_range *range)
    void patch_resize(patch_range *range, size_t length)
    void patch_expose(patch_range *range, size_t length)
    void patch_let_go(patch_range *range)
    int patch_cause(const patch_range *range, const void *address)
    bint patch_get(patch_range *range, size_t index, patch *copy)
    struct patch_owner:
        void (*hold)(void *) noexcept
        char *data
        void *name
    bint patch_of_thread(unsigned long thread, bint claim, patch *copy, patch_owner *owner)
    bint patch_told(patch_range *range, unsigned long thread)
    bint patch_map_anew(patch_range *range)
    int patch_heal(patch_range *range, size_t length, bint discard, size_t *written)


cdef extern from "_extent/ahead.h" nogil:
    struct ahead_marker:
        int64_t base, size
    struct ahead_trailer:
        int64_t end
    struct ahead_record:
        void *target
        const void *source
        size_t length
        int64_t *end_of_data
        int64_t end
    int ahead_lock(int fd, int *lock)
    void ahead_unlock(int lock)
    int ahead_recover(int fd, bint locked)
    int ahead_probe(int fd)
    int ahead_end(int fd, int64_t *size)
    int ahead_step(int fd, ahead_marker *marker, int64_t end, int64_t size)
    int ahead_settle(int fd, ahead_marker *marker, int64_t end)
    void ahead_store(void *record)


cdef extern from "_sigbus/raise.h":
    int raise_install(object exception)
    void raise_cancel()
    void raise_done()


# On Python before 3.13 the mutex is allocated with the object, which Cython does not check.
cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030D0000
    #define has_mutex(self) \
        (*(void **)&((struct __pyx_obj_6yammap_5_core_Mapping *)(self))->mutex != NULL)
    #else
    #define has_mutex(self) 1
    #endif
    """
    bint has_mutex(void *mapping)


cdef int64_t PAGE = sysconf(_SC_PAGESIZE)

# The default reserve. A gigabyte for each of the 65530 mappings Linux allows a process
# fits twice into its 128 TiB, and three times the size makes a file grow fourfold
# before it needs a new generation; more than a tebibyte would only crowd the others.
cdef int64_t LEAST_RESERVE = 1 << 30
cdef int64_t MOST_RESERVE = 1 << 40

# Large writes go piece by piece where the pages are not in memory.
cdef int64_t CHUNK = 1 << 20

# Searched at once, before signals are looked at: where every page is a hole that must be
# mapped, a search takes 4 s a GiB.
cdef int64_t PIECE = 1 << 24

# What the kernel reads at once at least, by default (VM_READAHEAD_PAGES).
cdef size_t READAHEAD = 1 << 17

# Blocks allocated ahead of a growing file, at most, and never more than an eighth of it.
cdef int64_t MOST_AHEAD = 1 << 16

# Of sync_file_range(2): until all dirty pages are written.
cdef unsigned int WRITE_AND_WAIT = (
    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)

# Of a file that runs ahead, appends store into pages that were made beforehand: as many
# bytes at a time as were appended since it has, within these bounds.
cdef int64_t LEAST_BATCH = 1 << 14
cdef int64_t MOST_BATCH = 1 << 18

# No errno values: the mapping was closed by another thread in between; a region is needed,
# which cannot be made under the mutex.
cdef int CLOSED = -1
cdef int NO_SPARE = -2

# Far beyond what any filesystem holds, and far enough from overflow to add a reserve.
cdef int64_t MOST_SIZE = 1 << 62


# -- Arguments: each is converted before the mapping's state is read, since converting
#    can run Python code that changes it.

cdef int64_t as_offset(object value, str what) except -1:
    cdef int overflow
    cdef long long result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0:
        raise ValueError(f"{what} {value} is beyond the largest file offset, {INT64_MAX}")
    if overflow < 0 or result < 0:
        raise ValueError(f"{what} must not be negative: {value}")
    return result


cdef int as_code(object value, str what) except? -1:
    cdef int overflow
    cdef long long result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or result != <int> result:
        raise ValueError(f"{what} {value} is unknown")
    return <int> result


cdef int unpack(object key, Py_ssize_t *start, Py_ssize_t *stop,
                Py_ssize_t *step) except -1:
    if not isinstance(key, slice):
        raise TypeError(f"mmap indices must be integers or slices, not "
                        f"{type(key).__name__!r}")
    return PySlice_Unpack(key, start, stop, step)


cdef int as_byte(object value) except -1:
    if not PyIndex_Check(value):
        raise TypeError(f"mmap item value must be an int, not {type(value).__name__!r}")
    cdef Py_ssize_t result = PyNumber_AsSsize_t(value, NULL)
    if not 0 <= result < 256:
        raise ValueError(f"mmap item value must be in range(0, 256), not {value}")
    return result


cdef int get_source(object data, Py_buffer *source) except -1:
    try:
        return PyObject_GetBuffer(data, source, PyBUF_SIMPLE)
    except BufferError as error:
        raise NotContiguous(f"a C-contiguous buffer is needed: {error}") from None


cdef int get_target(object buffer, Py_buffer *target) except -1:
    try:
        return PyObject_GetBuffer(buffer, target, PyBUF_WRITABLE)
    except (BufferError, ValueError) as error:
        raise TypeError(f"a writable, C-contiguous buffer is needed, not "
                        f"{type(buffer).__name__!r}: {error}") from None


# -- The one range check.

cdef inline Py_ssize_t clip(int64_t offset, int64_t length, int64_t size) noexcept nogil:
    """How many of the `length` bytes from `offset` lie before `size`."""
    if offset >= size:
        return 0
    return size - offset if length > size - offset else length


cdef inline int64_t from_start(int64_t position, int64_t size) noexcept nogil:
    """A position that may count from the end, as in a slice."""
    return max(0, position + size) if position < 0 else position


cdef inline int code_of(int result) noexcept nogil:
    """0, or errno where a system call returned -1."""
    return errno if result == -1 else 0


cdef int set_size(int fd, int64_t size) noexcept nogil:
    cdef int code = EINTR
    while code == EINTR:
        code = code_of(ftruncate(fd, size))
    return code


cdef struct Pages:
    char *start
    size_t length


cdef int sync_pages(Pages pages) noexcept nogil:
    cdef int code = EINTR
    while code == EINTR:
        code = code_of(msync(pages.start, pages.length, MS_SYNC))
    return code


cdef int sync_file(int fd) noexcept nogil:
    cdef int code = EINTR
    while code == EINTR:
        code = code_of(fdatasync(fd))
    return code


cdef int hint_pages(Pages pages) noexcept nogil:
    cdef size_t done = 0
    cdef int code = 0
    while code == 0 and done < pages.length:
        code = code_of(madvise(pages.start + done, min(pages.length - done, READAHEAD),
                               MADV_WILLNEED))
        done += READAHEAD
    return code


cdef inline Pages pages_of(char *data, int64_t offset, int64_t length) noexcept nogil:
    """The whole pages around `length` bytes, at least one, at `data + offset`."""
    cdef Pages pages
    cdef int64_t lead = <uintptr_t> (data + offset) % PAGE
    pages.start = data + offset - lead
    pages.length = round_up(lead + length)
    return pages


cdef inline int64_t round_up(int64_t length) noexcept nogil:
    return (length + PAGE - 1) & -PAGE


cdef uint64_t next_serial = 0


@cython.final
@cython.no_gc       # the name is no container, and making a region must not collect
@cython.auto_pickle(False)
cdef class Region:
    """A range of addresses, unmapped when nobody holds it any more."""
    cdef char *base
    cdef size_t span
    cdef size_t blank_from      # from here on, zeros instead of the file
    cdef int64_t reached        # the longest the mapping has been in it
    cdef size_t exposed         # the same in whole pages, as the handler knows it
    cdef char *data
    cdef atomic_count exports   # live buffers, each of which holds a reference
    cdef bint lent              # a holder of the mapping object may read it unseen
    cdef uint64_t serial        # tells it from a later one at the same addresses
    cdef object name
    cdef object former          # names it had: who reads one may do so without a lock
    cdef uint64_t device, inode
    cdef patch_range watch      # what the handler of bus errors knows of it

    def __cinit__(self):
        self.renew()

    cdef void renew(self) noexcept:
        global next_serial
        next_serial += 1
        self.serial = next_serial

    cdef void put_under_watch(self, int64_t offset, int fd, int prot, int flags,
                              bint raises) noexcept nogil:
        self.watch.start = self.base
        self.watch.length = self.span
        self.watch.lead = self.data - self.base
        self.watch.offset = offset
        self.watch.fd = fd
        self.watch.prot = prot
        self.watch.flags = flags
        self.watch.raises = raises
        self.watch.name = <void *> self.name
        patch_watch(&self.watch)

    cdef int resize(self, size_t span) noexcept nogil:
        """Give back the end, from `span` bytes on; returns an errno value."""
        patch_resize(&self.watch, span)
        cdef int code = code_of(munmap(self.base + span, self.span - span))
        if code:
            patch_resize(&self.watch, self.span)
        else:
            self.span = self.blank_from = span
        return code

    cdef int rename(self, object name) except -1:
        self.former = self.name, self.former
        self.name = name
        self.watch.name = <void *> name
        return 0

    cdef void let_go_of_file(self) noexcept nogil:
        if self.base != NULL:
            patch_let_go(&self.watch)

    cdef void reach(self, int64_t length) noexcept nogil:
        """The mapping has `length` bytes in it now, all of which views may reach."""
        if length > self.reached:
            self.reached = length
            if self.watch.lead + length > self.exposed:
                self.exposed = round_up(self.watch.lead + length)
                patch_expose(&self.watch, self.exposed)

    def __dealloc__(self):
        if self.base != NULL:
            if self.watch.count:
                remember_untold(self)
            with nogil:
                patch_forget(&self.watch)
                munmap(self.base, self.span)

    def __releasebuffer__(self, Py_buffer *info):
        atomic_fetch_sub(&self.exports, 1)

    def _locate(self, uintptr_t address):
        """The file that an address in it is of, and where: for arrays that travel."""
        cdef int64_t start = address - <uintptr_t> self.base
        return (self.name, (self.device, self.inode), self.watch.offset + start,
                self.watch.fd, self.watch.flags == MAP_PRIVATE)

    def guard(self):
        """As that of the mapping, for whoever has only an array."""
        return new_guard(None, [self])


def birth(int fd):
    """When a file was made, in us, and in which filesystem; 0 where nothing tells.

    With the inode they know a file again, whatever is written to it: so there is no time on
    overlayfs, where the first write makes it that of the copy, and none finer than what
    ntfs3 and UDF write down. The filesystem's number is told
    where it is drawn at each mount, and nobody else can have that file: in memory.
    """
    cdef extended_stat status
    cdef file_system system
    cdef uint64_t filesystem = 0
    cdef int64_t time = 0
    if fstatfs(fd, &system) == -1:
        return 0, 0
    if system.f_type == TMPFS_MAGIC:
        memcpy(&filesystem, &system.f_fsid, sizeof(filesystem))
    if system.f_type != OVERLAYFS_SUPER_MAGIC and syscall(
            SYS_statx, fd, b"", AT_EMPTY_PATH, STATX_BTIME, &status) == 0:
        if status.mask & STATX_BTIME:
            time = status.btime.tv_sec * 1_000_000 + status.btime.tv_nsec // 1000
    return time, filesystem


cdef int advise_fork_of(Region region, int advice) noexcept nogil:
    """Of what has the file behind it; zeros behind that the child may have, too."""
    cdef int code = code_of(madvise(region.base, region.blank_from, advice))
    if code == 0:
        region.watch.withheld = advice == MADV_DONTFORK
    return code


cdef char *UNSIGNED_BYTES = b"B"


cdef int export(Py_buffer *info, int flags, Region region, char *start,
                Py_ssize_t length, bint readonly) except -1:
    """Fill in `info` (PEP 3118) with the region as its owner, which has counted it."""
    if readonly and flags & PyBUF_WRITABLE:
        atomic_fetch_sub(&region.exports, 1)
        raise BufferError("the mapping is read-only")
    info.obj = region
    info.buf = start
    info.len = length
    info.readonly = readonly
    info.itemsize = 1
    info.format = UNSIGNED_BYTES if flags & PyBUF_FORMAT else NULL
    info.ndim = 1
    info.shape = &info.len if flags & PyBUF_ND else NULL
    info.strides = &info.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
    info.suboffsets = NULL
    info.internal = NULL
    return 0


@cython.final
@cython.auto_pickle(False)
cdef class View:
    """Exports a part of a region without lending the mapping it belongs to.

    It counts as an export itself: making a memoryview of it may run the collector, and
    that a finaliser, which must not cut the file meanwhile.
    """
    cdef Region region
    cdef char *start
    cdef Py_ssize_t length
    cdef bint readonly

    def __getbuffer__(self, Py_buffer *info, int flags):
        atomic_fetch_add(&self.region.exports, 1)
        export(info, flags, self.region, self.start, self.length, self.readonly)

    def __dealloc__(self):
        if self.region is not None:
            atomic_fetch_sub(&self.region.exports, 1)


cdef inline const void *copy(char *memory, char *buffer, int64_t length, bint writing,
                             uint64_t now) noexcept nogil:
    """Copy one way or the other; returns the address that faulted, or NULL."""
    if not fault_in_force(now):
        return fault_carry(memory, buffer, length, writing)
    if writing:
        return fault_copy(memory, buffer, length)
    return fault_copy(buffer, memory, length)


# Pages that were touched a moment ago, process-wide. Reading them again cannot wait for a
# disk, so a small read among them keeps the GIL: giving it up would cost more than the
# copy. An entry is the page, told apart by its region's serial number since addresses are
# reused, and the tick it was touched in, in one word, so that threads without a GIL see
# both or neither; it is only a hint. The table covers 256 MiB: with 1024 entries, small
# reads all over that much missed it.
cdef uint64_t touched_pages[65536]


cdef inline uint64_t tick() noexcept nogil:
    """Time in steps of 2**26 ns (15 a second), modulo 2**16, and never 0."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    return (<uint64_t> now.tv_sec * 15 + (<uint64_t> now.tv_nsec >> 26)) & 0xffff | 1 << 16


cdef inline uint64_t page_key(Region region, const char *address) noexcept nogil:
    return (<uintptr_t> address >> 12) + region.serial * 0x9e3779b97f4a7c15ULL


cdef inline bint touched(uint64_t key, uint64_t now) noexcept nogil:
    return touched_pages[key % 65536] == (key << 17 | now)


cdef inline bint is_hot(Region region, const char *address, int64_t length,
                        uint64_t now) noexcept nogil:
    """Whether the bytes lie in one or two pages touched in this tick."""
    cdef uint64_t first = page_key(region, address), last
    if length > 4096 or length == 0:
        return False
    last = page_key(region, address + length - 1)
    return touched(first, now) and (first == last or touched(last, now))


cdef inline void set_hot(Region region, const char *address, int64_t length,
                         uint64_t now) noexcept nogil:
    cdef uint64_t first = page_key(region, address), last
    if 0 < length <= 4096:
        last = page_key(region, address + length - 1)
        touched_pages[first % 65536] = first << 17 | now
        touched_pages[last % 65536] = last << 17 | now


cdef inline bint covers(const char *start, int64_t length,
                        const void *address) noexcept nogil:
    """Whether a fault at `address` is one of these bytes, or of their first page."""
    cdef uintptr_t page = <uintptr_t> start // PAGE * PAGE
    return page <= <uintptr_t> address < <uintptr_t> start + length


cdef inline int64_t copy_far(char *memory, char *buffer, int64_t length, bint writing,
                             uint64_t now, const void **fault) noexcept nogil:
    """Copy as far as memory goes; returns how far, and why not further in `fault`."""
    fault[0] = copy(memory, buffer, length, writing, now)
    if fault[0] == NULL:
        return length
    return copy_before(memory, buffer, length, writing, fault)


cdef int64_t copy_before(char *memory, char *buffer, int64_t length, bint writing,
                         const void **fault) noexcept nogil:
    """Copy what lies before the first page that faults, where `fault` is one that did.

    Piece by piece, since memmove goes in any order: of a long range whose end is gone, the
    last page may fault first, then the one before it.
    """
    cdef const void *found = fault[0]
    cdef int64_t copied = 0, piece = length
    while True:
        if found == NULL:
            copied += piece
        else:
            fault[0] = found
            if not covers(memory + copied, piece, found):
                return copied
            length = max(copied, <int64_t> (<uintptr_t> found & -PAGE) - <int64_t> memory)
        if copied == length:
            return copied
        piece = min(CHUNK, length - copied)
        found = copy(memory + copied, buffer + copied, piece, writing, tick())


cdef str CALLER = "in the caller's buffer"


cdef bint guard_is_in_force() except -1:
    """Look, and warn where SIGBUS is blocked, or was taken from us twice."""
    if fault_look(tick()):
        return True
    warnings.warn("SIGBUS goes elsewhere, by a handler that was installed again or because "
                  "this thread blocks it: copies use system calls now, and a bus error in "
                  "a view is not survived", RuntimeWarning, stacklevel=2)
    return False


# Of regions that were freed after a fault, and before the thread that touched the page was
# told: ``x = a[i]; del a`` is done before the interpreter looks. No Python container, since
# none may be made where regions are freed.
cdef struct farewell:
    unsigned long thread
    patch fault
    int64_t offset
    void *name                  # owned

cdef farewell farewells[16]
cdef unsigned int next_farewell = 0


cdef void remember_untold(Region region) noexcept:
    global next_farewell
    cdef size_t i = 0
    cdef patch found
    cdef farewell *place
    while patch_get(&region.watch, i, &found):
        i += 1
        if found.thread != 0 and region.watch.raises:
            place = &farewells[next_farewell % 16]
            next_farewell += 1
            place.thread, place.fault = found.thread, found
            place.offset = found.touched - region.data
            Py_XDECREF(<PyObject *> place.name)
            place.name = <void *> region.name
            Py_XINCREF(<PyObject *> place.name)


cdef bint recall(unsigned long thread, patch *fault, int64_t *offset, void **name) noexcept:
    """The last farewell of a thread. It is told of that one, and so of all: they go."""
    cdef unsigned long last = 0
    for i in range(16):
        if farewells[i].thread == thread:
            farewells[i].thread = 0
            if farewells[i].fault.serial > last:
                last = farewells[i].fault.serial
                fault[0] = farewells[i].fault
                offset[0] = farewells[i].offset
                name[0] = farewells[i].name
    return last != 0


cdef void hold_name(void *name) noexcept:
    Py_INCREF(<object> name)


def described(unsigned long thread):
    """The arguments of the BusError for the page that a thread touched, and its offset."""
    cdef patch found, gone
    cdef patch_owner owner
    cdef int64_t offset = 0
    cdef void *borrowed
    cdef bint is_gone = recall(thread, &gone, &offset, &borrowed)
    name = <object> borrowed if is_gone else None
    owner.hold = hold_name
    if patch_of_thread(thread, True, &found, &owner):
        name = <object> owner.name
        Py_DECREF(name)     # the reference of hold_name(), beside the one of `name`
        offset = found.touched - owner.data
    elif is_gone:
        found = gone
    else:
        return (EFAULT, "bus error in a view that is gone"), 0, "read"
    text = text_of_patch(&found, offset)
    return (found.code, text, name), offset, access_of(found.writing)


cdef str access_of(bint writing):
    return "write" if writing else "read"


cdef object bus_error(int code, str text, object name, int64_t offset, bint writing):
    error = BusError(code, text, name)
    error.offset = offset
    error.access = access_of(writing)
    return error


cdef str text_of_patch(patch *found, int64_t offset):
    cause = strerror(found.code).decode()
    if found.code == EFAULT:
        cause = "the file shrank"
        if found.size != -1:
            cause += f" to {found.size} bytes"
    return (f"bus error in a view, {access_of(found.writing)} at offset {offset}: {cause}; "
            f"{'a copy of the page is' if found.kept else 'zeros are'} in its place until "
            f"heal()")


cdef int raise_patch(list regions) except -1:
    """Raise the first patch there is. This thread need not be told otherwise then."""
    cdef Region region
    cdef patch found
    cdef int64_t offset
    for region in regions:
        if patch_get(&region.watch, 0, &found):
            cancel_raising(regions)
            offset = found.touched - region.data
            text = text_of_patch(&found, offset)
            raise bus_error(found.code, text, region.name, offset, found.writing)
    return 0


cdef int cancel_raising(list regions) except -1:
    cdef unsigned long thread = PyThread_get_thread_ident()
    cdef bint pending = False
    cdef Region region
    cdef patch other
    for region in regions:
        if patch_told(&region.watch, thread):
            pending = True
    if pending and not patch_of_thread(thread, False, &other, NULL):
        raise_cancel()
    return 0


class RaisedBusError(BusError):
    """What the interpreter makes, without arguments, in the thread that touched a page."""

    def __init__(self, thread=None):
        raise_done()
        arguments, self.offset, self.access = described(
            PyThread_get_thread_ident() if thread is None else thread)
        super().__init__(*arguments)

    def __reduce__(self):
        return BusError, *super().__reduce__()[1:]


RaisedBusError.__name__ = RaisedBusError.__qualname__ = BusError.__name__
RaisedBusError.__module__ = "yammap"

if raise_install(RaisedBusError) == -1:
    raise OSError(errno, strerror(errno).decode())

cdef char zeros[1 << 18]


cdef int write_all(int fd, const char *source, int64_t length, int64_t offset,
                   int64_t *done) noexcept nogil:
    """pwrite(2), or write(2) at offset -1, until it is `done`; returns an errno value."""
    cdef Py_ssize_t count
    while done[0] < length:
        if offset == -1:
            count = write(fd, source + done[0], length - done[0])
        else:
            count = pwrite(fd, source + done[0], length - done[0], offset + done[0])
        if count == 0:
            return EIO      # nothing written and no reason given: do not spin
        if count == -1 and errno != EINTR:
            return errno
        done[0] += max(count, 0)
    return 0


cdef bint is_refused(int code) noexcept nogil:
    """Whether the filesystem has no such call, or a sandbox (seccomp) allows none."""
    return code == EOPNOTSUPP or code == ENOSYS or code == EPERM


cdef int write_back(int fd, int64_t offset, int64_t length,
                    unsigned int flags) noexcept nogil:
    """sync_file_range(2); where that is refused, more is written, and waited for."""
    cdef int code = code_of(sync_file_range(fd, offset, length, flags))
    return sync_file(fd) if is_refused(code) else code


cdef int write_zeros(int fd, int64_t offset, int64_t length, bint appending,
                     int64_t *total) noexcept nogil:
    cdef int64_t done
    cdef int code = 0
    while code == 0 and total[0] < length:
        done = 0
        code = write_all(fd, zeros, min(length - total[0], <int64_t> sizeof(zeros)),
                         -1 if appending else offset + total[0], &done)
        total[0] += done
    return code


cdef int reopen_to_read(int fd) noexcept nogil:
    cdef char path[32]
    snprintf(path, sizeof(path), b"/proc/self/fd/%d", fd)
    return open_file(path, O_RDONLY | O_CLOEXEC)


cdef int64_t free_room(int fd) noexcept nogil:
    """Bytes that the filesystem says it can still give us; INT64_MAX where it does not say.

    What is set aside for root is root's only.
    """
    cdef file_system system
    cdef uint64_t blocks, unit
    if fstatfs(fd, &system) or system.f_blocks == 0:
        return INT64_MAX
    blocks = system.f_bfree if geteuid() == 0 else system.f_bavail
    unit = system.f_frsize or system.f_bsize
    return <int64_t> (blocks * unit) if blocks < <uint64_t> MOST_SIZE // unit else INT64_MAX


cdef void touch_pages(void *argument) noexcept nogil:
    """Mark pages as changed, by no change that could undo another thread's store."""
    cdef fault_range *pages = <fault_range *> argument
    cdef size_t i
    for i in range(pages.length // PAGE):
        touch(<char *> pages.start + i * PAGE, 0, memory_order_acquire)


cdef void look_at_pages(void *argument) noexcept nogil:
    cdef fault_range *pages = <fault_range *> argument
    cdef size_t i
    for i in range(pages.length // PAGE):
        look(<char *> pages.start + i * PAGE, memory_order_acquire)


cdef struct Search:
    fault_range ranges[2]       # the hay, and the needle
    bint backwards
    const char *found


cdef void search(void *argument) noexcept nogil:
    cdef Search *s = <Search *> argument
    if s.backwards:
        s.found = find_last(s.ranges[0], s.ranges[1])
    else:
        s.found = <const char *> memmem(s.ranges[0].start, s.ranges[0].length,
                                        s.ranges[1].start, s.ranges[1].length)


cdef const char *find_last(fault_range hay, fault_range needle) noexcept nogil:
    """The last match, by searches forward: from ever further back, then by halves.

    Comparing at each place from the end on would be simpler, and take as much longer as
    the needle is long, where the bytes are all alike.
    """
    cdef const char *start = <const char *> hay.start
    cdef const char *match
    cdef const char *found = NULL
    cdef int64_t first = 0, middle, step = 64
    cdef int64_t last = <int64_t> hay.length - <int64_t> needle.length + 1   # exclusive
    while first < last:
        middle = max(0, last - step) if found == NULL else first + (last - first) // 2
        match = <const char *> memmem(start + middle, last - middle + needle.length - 1,
                                      needle.start, needle.length)
        if match == NULL:
            last = middle
            step *= 2
        else:
            found = match
            first = match - start + 1
    return found


cdef struct Strided:
    fault_range ranges[2]       # the memory, and the buffer
    char *memory                # of the first byte, which may be the highest
    char *buffer
    Py_ssize_t step, count
    bint writing


cdef void copy_strided(void *argument) noexcept nogil:
    cdef Strided *s = <Strided *> argument
    cdef Py_ssize_t i
    for i in range(s.count):
        if s.writing:
            s.memory[i * s.step] = s.buffer[i]
        else:
            s.buffer[i] = s.memory[i * s.step]


cdef tuple LASTING = (MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL)
cdef tuple LASTING_FOR_PAGES = (MADV_HUGEPAGE, MADV_NOHUGEPAGE)


cdef object label_of(object name):
    """A name for regions, which the collector does not enter: so it refers to nothing."""
    return name if type(name) in (str, bytes, int) else str.__str__(str(name))


# All mappings there are, linked by addresses. A weak dictionary would need memory, and run
# Python code, in the child of a fork: what fails there would leave locks as they are.
cdef void *mappings = NULL
cdef cython.pymutex mappings_mutex


def after_fork_in_child():
    """A thread that held a lock at the fork is not there to release it in the child.

    First all locks are renewed, which cannot fail. What can, comes after that, for every
    mapping whatever happens to the others; the first exception is raised at the end.
    """
    cdef void *next_one = mappings
    cdef Mapping mapping
    if mappings_mutex.locked():
        mappings_mutex.release()
    while next_one != NULL:
        (<Mapping> next_one).renew_locks()
        next_one = (<Mapping> next_one).next_mapping
    failure = None
    for mapping in live_mappings():
        try:
            mapping._after_fork()
        except BaseException as error:
            failure = failure or error
    if failure is not None:
        raise failure


cdef list live_mappings():
    """All but those that are being freed: a reference to one would free it twice.

    (Without a GIL that would take PyUnstable_TryIncRef() of Python 3.14.)
    """
    cdef list found = []    # made before the mutex is held: the collector may run here
    cdef void *next_one
    with mappings_mutex:
        next_one = mappings
        while next_one != NULL:
            if Py_REFCNT(<PyObject *> next_one) > 0:
                found.append(<Mapping> next_one)
            next_one = (<Mapping> next_one).next_mapping
    return found


def watch_before_fork():
    """What the child syncs, it takes the errors of: by the descriptor that it shares."""
    cdef Mapping mapping
    for mapping in live_mappings():
        mapping._watch_errors()


# No hook holds the mutex across a fork: one of another module may run after it, and free a
# mapping. The list can be followed from its head whatever a thread was about to do to it.
os.register_at_fork(before=watch_before_fork, after_in_child=after_fork_in_child)


@cython.no_gc_clear     # __dealloc__ needs the regions, which may outlive it
cdef class Mapping:
    """A file's bytes in memory, by offset.

    This is the part of `Mmap` that knows bytes, offsets and errno, and nothing of
    modes, positions and arrays. `yammap.open` makes it; on its own it takes over an
    open descriptor, and learns from it what may be done.

    Parameters
    ----------
    fd : int
        Descriptor of a regular file or memfd, open for reading. The mapping owns it
        from the call on, and closes it when construction fails.
    name : object
        What errors call the file, usually its path.
    private : bool, default False
        Copy on write: changes stay in memory and never reach the file.
    readonly : bool, default False
        Only read, even when the descriptor would allow more.
    offset : int, default 0
        File offset, in bytes, of the mapping's first byte; any alignment.
    length : int, optional
        Bytes to map. Such a window has a fixed size. By default the mapping goes to
        the end of the file and grows with it.
    reserve : int, optional
        Address space, in bytes, to set aside for growth. By default three times the
        size, at least 1 GiB and at most 1 TiB.
    preallocate : bool, default True
        Allocate disk blocks when the file grows, so that a full disk is an `OSError`
        then and no bus error later.
    on_fault : {"raise", "poison"}, default "raise"
        What a bus error in a view does besides poisoning the mapping: raise `BusError` in
        the thread that touched the page, as soon as Python can, or no more than that.
    keep_fd : bool, default True
        Keep the descriptor. Without it the mapping has a fixed size, and what needs the
        file itself is refused; but a process may have more mappings than descriptors.
    engine : {"mmap", "auto", "pread"}, default "mmap"
        ``"pread"`` reads and writes by system call and maps nothing, so there are no views
        and arrays. ``"auto"`` does so where the filesystem cannot be mapped.
    ahead : int, default 0
        Bytes by which appending makes the file longer at a time, so that `Mmap.append` is a
        copy in memory. `Mmap.sync` and `Mmap.close` give the file the size of its data, and
        so does the next opening for writing after a crash. 0 keeps the size exact.

    Raises
    ------
    OSError
        When a system call fails, or the file is not a regular one. ``EBUSY`` when another
        mapping with `ahead` is open and appends to the file.
    ValueError
        When the window does not lie in the file, an option is unknown, or `ahead` is given
        for a mapping that is not writable, growable and in memory.
    """
    cdef object __weakref__
    cdef void *next_mapping     # in the list of all
    cdef void *previous_mapping
    cdef bint listed
    cdef Region region          # None: closed
    cdef Py_ssize_t length      # bytes in the mapping
    cdef Py_ssize_t shrinks     # how often this object has cut the file
    cdef unsigned long seen     # of all patches in the process: the last not of our regions
    cdef bint unmapped          # the engine is "pread"
    cdef list elders            # regions before this one that may have holders
    cdef int64_t file_size      # as it was when this object looked last
    cdef int64_t reserve        # -1: by the default rule
    cdef int64_t allocated      # where the blocks that we allocated end
    cdef int64_t ahead          # bytes a step; 0: the file's size is exact
    cdef int64_t populated      # pages for records have been made up to here
    cdef int64_t open_to        # they may be stored up to here without the mutex
    cdef ahead_marker marker    # its size is the file's, while that runs ahead
    cdef int ahead_fd           # the lock of who runs the file ahead, or -1
    cdef bint inherited         # from a process that appends ahead, by a fork
    cdef int sync_failure       # an errno value that a sync got, until a rewrite
    cdef int error_fd           # by which nobody else takes the kernel's errors, or -1
    cdef bint overlaid          # another file may come to lie behind the descriptor
    cdef int64_t changed        # the file's time of change, in ns, when it was mapped
    cdef int fork_advice        # MADV_DONTFORK or MADV_DOFORK
    cdef list last_faults       # of a closed mapping
    cdef uint64_t device, inode
    cdef bint raises
    cdef int fd
    cdef int prot
    cdef int flags
    cdef int advice             # one of LASTING
    cdef int page_advice        # one of LASTING_FOR_PAGES, or MADV_NORMAL
    cdef object label           # the name, for regions
    cdef bint started
    cdef bint windowed          # growable, and yet it does not follow the file's end
    cdef bint preallocate
    cdef cython.pymutex mutex

    _closed_text = "the mapping of {!r} is closed"      # what errors say then

    cdef readonly int64_t origin
    """int: file offset, in bytes, of the mapping's first byte."""

    cdef readonly object name
    """object: what the file was opened by: a path, or a descriptor."""

    cdef readonly bint growable
    """bool: the mapping goes to the end of the file, and follows it."""

    cdef readonly bint appending
    """bool: the file takes bytes only at its end (``O_APPEND``)."""

    def __cinit__(self):
        self.fd = self.ahead_fd = self.error_fd = -1
        if not has_mutex(<void *> self):
            raise MemoryError
        self.elders = []
        self.last_faults = []
        self.fork_advice = MADV_DOFORK
        self.enlist()

    cdef void enlist(self) noexcept:
        """Be found by a fork. The head changes last, and so is never half a list."""
        global mappings
        with mappings_mutex:
            self.next_mapping = mappings
            if mappings != NULL:
                (<Mapping> mappings).previous_mapping = <void *> self
            mappings = <void *> self
            self.listed = True

    cdef void delist(self) noexcept:
        global mappings
        with mappings_mutex:
            if self.next_mapping != NULL:
                (<Mapping> self.next_mapping).previous_mapping = self.previous_mapping
            if self.previous_mapping != NULL:
                (<Mapping> self.previous_mapping).next_mapping = self.next_mapping
            else:
                mappings = self.next_mapping

    def __init__(self, fd, name, *, private=False, readonly=False, offset=0, length=None,
                 reserve=None, preallocate=True, on_fault="raise", keep_fd=True,
                 engine="mmap", ahead=0):
        cdef int descriptor = -1 if isinstance(fd, Descriptor) else fd
        if self.started:
            raise RuntimeError("a mapping is initialised only once")
        self.started = True     # before any argument's own code runs
        self.fd = (<Descriptor> fd).take() if isinstance(fd, Descriptor) else descriptor
        self.name = name
        try:
            self.label = label_of(name)
            self.set_up(private, readonly, offset, length, reserve, preallocate)
            self.set_up_ahead(as_offset(ahead, "ahead"), keep_fd and engine != "pread")
            self.learn_length(-1 if length is None else as_offset(length, "length"))
            self.set_up_memory(on_fault, keep_fd, engine)
        except BaseException:
            self.close()
            raise

    def __dealloc__(self):
        cdef Region region
        if self.listed:
            self.delist()
        if self.fd != -1:
            for region in self.elders:
                region.let_go_of_file()
            if self.region is not None:
                self.region.let_go_of_file()
            with nogil:
                self.stop_ahead()
                close(self.fd)
        if self.error_fd != -1:
            close(self.error_fd)

    cdef void renew_locks(self) noexcept:
        """In a forked child: free the mutex if a thread held it that is not here.

        And let go of the lock of who appends ahead, which is the parent's: what the child
        appended would be overwritten.
        """
        if self.mutex.locked():
            self.mutex.release()
        if self.ahead_fd != -1:
            self.inherited = self.ahead > 0
            self.marker.size = self.ahead = self.open_to = 0
            close(self.ahead_fd)        # which leaves the lock to the parent
            self.ahead_fd = -1

    def _after_fork(self):
        """In a forked child, which has no memory of a mapping with MADV_DONTFORK."""
        if self.fork_advice == MADV_DONTFORK:
            self.close()
        elif self.error_fd != -1:       # that one is the parent's
            close(self.error_fd)
            self.error_fd = -1
            self.watch_errors()

    cdef void watch_errors(self) noexcept nogil:
        """Open the file once more, if others may take the errors of writing it back.

        The kernel tells each once for each time the file was opened: to who syncs, and on
        NFS to who writes next. One descriptor a mapping, kept from the start, would be too
        many. Without /proc there is none, nor where three quarters of the descriptors that
        the process may have are in use: the lowest that is free tells.
        """
        if self.error_fd != -1 or self.fd == -1 or self.flags == MAP_PRIVATE:
            return
        if self.appending or self.prot & PROT_WRITE:
            self.error_fd = reopen_to_read(self.fd)
        if self.error_fd > sysconf(_SC_OPEN_MAX) * 3 // 4:
            close(self.error_fd)
            self.error_fd = -1

    def _watch_errors(self):
        with self.mutex:        # a thread may be closing the descriptor
            self.watch_errors()

    cdef int sync_watched(self, int code) noexcept nogil:
        """The error that somebody else may have taken, unless there is one already."""
        cdef int other = sync_file(self.error_fd) if self.error_fd != -1 else 0
        return code or other

    # -- Setting up

    cdef int set_up(self, bint private, bint readonly, offset, length, reserve,
                    bint preallocate) except -1:
        self.origin = as_offset(offset, "offset")
        self.reserve = -1
        if reserve is not None:
            self.reserve = min(as_offset(reserve, "reserve"), MOST_SIZE)
        self.preallocate = preallocate
        self.growable = length is None and not private
        self.advice = self.page_advice = MADV_NORMAL
        return self.learn_access(private, readonly)

    cdef int set_up_ahead(self, int64_t ahead, bint possible) except -1:
        """Be the one who appends ahead, and end what one before us could not."""
        cdef int code = 0, refused = 0
        cdef bint writable = self.growable and (self.appending or self.prot & PROT_WRITE)
        if ahead and (not possible or not writable or self.appending):
            raise ValueError(f"ahead={ahead} is for a mapping in memory that may write "
                             f"anywhere and grow, which that of {self.name!r} is not")
        if ahead:
            with nogil:     # it waits for who trims what a crash has left
                code = refused = ahead_lock(self.fd, &self.ahead_fd)
        if writable and code != EBUSY:
            with nogil:
                code = ahead_recover(self.fd, self.ahead_fd != -1)
        if code == EBUSY:
            raise OSError(EBUSY, "another mapping appends ahead of the file's end: one "
                          "alone can", self.name)
        if code == ENOENT:
            raise OSError(ENOENT, "its end was left ahead of its data, and /proc, which is "
                          "not mounted, is needed to trim it", self.name)
        self.check(code)     # what was appended to it would be cut off later
        if ahead:
            self.ahead = min(ahead, MOST_RESERVE)
            refused = refused or ahead_probe(self.fd)
        return self.stay_exact(refused)

    cdef int stay_exact(self, int code) except -1:
        """Tell that the file will not run ahead, unless the code is 0."""
        if code:
            self.stop_ahead()
            warnings.warn(f"{self.name!r} cannot run ahead of its data, so each append to "
                          f"it is a system call: ahead needs /proc, fcntl(2) with "
                          f"F_OFD_SETLK, fgetxattr(2), fsetxattr(2), fallocate(2), "
                          f"getrandom(2) and mmap(2), of which one is refused "
                          f"({strerror(code).decode()})", RuntimeWarning)
        return 0

    cdef int set_up_memory(self, on_fault, bint keep_fd, engine) except -1:
        if on_fault not in ("raise", "poison"):
            raise ValueError(f"on_fault must be 'raise' or 'poison', not {on_fault!r}")
        if engine not in ("mmap", "auto", "pread"):
            raise ValueError(f"engine must be 'mmap', 'auto' or 'pread', not {engine!r}")
        self.raises = on_fault == "raise"
        self.growable = self.growable and keep_fd
        self.check(code_of(fault_install()))
        self.map_first(engine)
        if not keep_fd:
            self._drop_descriptor()
        return 0

    cdef int map_first(self, engine) except -1:
        cdef Region region = self.new_region()
        cdef int code = 0
        self.unmapped = engine == "pread"
        if not self.unmapped:
            guard_is_in_force()
            self.learn_overlay()
            code = self.map_region(self.length, region)
        if code in (ENODEV, EPERM, EACCES) and engine != "auto":
            reason = strerror(code).decode()
            raise OSError(code, f"mmap(2) is refused: {reason} (sealed, or a filesystem "
                          f"without it? engine='auto' does without)", self.name)
        if code and engine == "auto":
            self.unmapped, code = True, 0
        if self.unmapped and self.flags == MAP_PRIVATE:
            code = code or ENODEV       # there is no copy on write without memory
        self.check(code)
        region.reach(self.length)
        self.seen = load_total(&patch_total)
        self.region = region
        return 0

    def _rename(self, name):
        """Call the file something else in errors, those of earlier views included."""
        cdef Region region
        label = label_of(name)
        self.name, self.label = name, label
        for region in self.regions():
            region.rename(label)

    def _free_size(self):
        """Let a window be resized; the file then ends where the window does."""
        self.require_descriptor()
        self.growable = self.windowed = self.flags == MAP_SHARED

    def _drop_descriptor(self):
        """Let go of the file's descriptor; the size is fixed from now on."""
        cdef int code = CLOSED
        self.require_memory()
        with self.mutex:
            if self.region is not None:
                self.region.let_go_of_file()
                self.growable = False
                with nogil:
                    code = code_of(close(self.fd))
                self.fd = -1
        self.check(code)

    cdef Region new_region(self):
        cdef Region region = Region.__new__(Region)
        region.name, region.device, region.inode = self.label, self.device, self.inode
        return region

    cdef int learn_access(self, bint private, bint readonly) except -1:
        cdef int status = fcntl(self.fd, F_GETFL)
        self.check(code_of(status))
        if status & O_ACCMODE == O_WRONLY:
            raise ValueError(f"{self.name!r} is open for writing only, and a mapping must "
                             f"read: use O_RDWR")
        cdef bint writable = status & O_ACCMODE != O_RDONLY and not readonly
        self.appending = writable and status & O_APPEND and not private
        self.flags = MAP_PRIVATE if private else MAP_SHARED
        self.prot = PROT_READ
        if private or (writable and not self.appending):
            self.prot |= PROT_WRITE
        return 0

    cdef int learn_length(self, int64_t length) except -1:
        cdef file_stat status
        self.check(code_of(fstat(self.fd, &status)))
        if S_ISDIR(status.st_mode):
            self.check(EISDIR)
        if not S_ISREG(status.st_mode):
            raise OSError(ENODEV, "only regular files can be mapped, and this is not one",
                          self.name)
        self.refuse_huge_pages(status.st_blksize)
        self.device, self.inode = status.st_dev, status.st_ino
        self.check(ahead_end(self.fd, &status.st_size))
        self.file_size = status.st_size
        self.length = status.st_size - self.origin
        if self.length < 0:
            raise ValueError(f"offset {self.origin} is past the end of {self.name!r} "
                             f"({status.st_size} bytes)")
        if length > self.length:
            raise ValueError(f"length {length} at offset {self.origin} is past the end of "
                             f"{self.name!r} ({status.st_size} bytes)")
        if length != -1:
            self.length = length
        return self.check(EFBIG if self.length > MOST_SIZE else 0)

    cdef int refuse_huge_pages(self, long block) except -1:
        """Of hugetlbfs, whose files cannot be written and end at a huge page only."""
        cdef file_system system
        if block > PAGE and fstatfs(self.fd, &system) == 0 and (
                system.f_type == HUGETLBFS_MAGIC):
            raise OSError(EOPNOTSUPP, f"files of hugetlbfs, in pages of {block} bytes, are "
                          "not supported: a tmpfs mounted with huge=advise and "
                          "MADV_HUGEPAGE give huge pages", self.name)
        return 0

    # -- Regions

    cdef int64_t room_for(self, int64_t length) noexcept nogil:
        """Address space to set aside beyond `length` bytes."""
        if not self.growable:
            return 0
        if self.reserve != -1:
            return max(0, self.reserve - length)
        return max(LEAST_RESERVE, min(3 * min(length, MOST_RESERVE), MOST_RESERVE))

    cdef int map_region(self, int64_t length, Region region) noexcept nogil:
        """Map the file into the empty `region`; returns an errno value.

        Where the reserve cannot be had (RLIMIT_AS, MCL_FUTURE, a crowded address
        space) the mapping is exact, and growth slower.
        """
        cdef int64_t lead = self.origin % PAGE
        cdef int64_t exact = round_up(max(lead + length, 1))
        cdef int64_t span = exact + round_up(self.room_for(length))
        cdef void *base = self.map_pages(span)
        if base == MAP_FAILED and (errno == ENOMEM or errno == EAGAIN):
            span = exact
            base = self.map_pages(span)
        if base == MAP_FAILED:
            return errno
        region.base = <char *> base
        region.span = region.blank_from = span
        region.data = region.base + lead
        region.put_under_watch(self.origin - lead, self.fd, self.prot, self.flags,
                               self.raises)
        self.pass_on_advice(region)
        return 0

    cdef void pass_on_advice(self, Region region) noexcept nogil:
        if self.advice != MADV_NORMAL:
            madvise(region.base, region.span, self.advice)
        if self.page_advice != MADV_NORMAL:
            madvise(region.base, region.span, self.page_advice)
        if self.fork_advice == MADV_DONTFORK:
            advise_fork_of(region, MADV_DONTFORK)

    cdef void *map_pages(self, int64_t span) noexcept nogil:
        cdef int fd = reopen_to_read(self.fd) if self.overlaid else -1
        cdef int file = self.fd if fd == -1 else fd
        cdef void *base = mmap(NULL, span, self.prot, self.flags, file,
                               self.origin // PAGE * PAGE)
        if fd != -1:
            close(fd)       # which leaves errno as it is
        return base

    cdef void learn_overlay(self) noexcept nogil:
        """Whether a writer may have the file copied up from a lower layer of an overlayfs.

        Then system calls go to the copy, and what was mapped stays the original, by this
        descriptor for ever. Only the time of change tells.
        """
        cdef file_system system
        self.overlaid = (fcntl(self.fd, F_GETFL) & O_ACCMODE == O_RDONLY
                         and fstatfs(self.fd, &system) == 0
                         and system.f_type == OVERLAYFS_SUPER_MAGIC)
        self.changed = self.time_of_change()

    cdef int64_t time_of_change(self) noexcept nogil:
        """When the file was changed, and perhaps copied up, as far as is known."""
        cdef file_stat status
        if not self.overlaid or fstat(self.fd, &status):
            return self.changed
        return status.st_ctim.tv_sec * 1000000000 + status.st_ctim.tv_nsec

    cdef void map_anew(self, Region region) noexcept nogil:
        """Map a file that was empty once more at the same place, now that it has a size.

        ntfs3 loses what is stored into a writable mapping that is older than the first
        byte of its file, when that is next mapped. Not to map an empty file at all would
        find out too late what cannot be mapped. A failure leaves the mapping that there
        is, which all other filesystems are content with: the file has grown already. So
        does a patch, which a view has got meanwhile, and whose stores would be lost.
        """
        if self.unmapped or not self.prot & PROT_WRITE or self.flags == MAP_PRIVATE:
            return
        if patch_map_anew(&region.watch):
            self.pass_on_advice(region)

    cdef int ensure_room(self, int64_t length, Region spare) noexcept nogil:
        """Have address space for `length` bytes, mapped into `spare` if need be."""
        cdef int64_t needed, span
        if length > MOST_SIZE:
            return EFBIG
        needed = self.region.data - self.region.base + length
        if self.unmapped or needed <= <int64_t> self.region.span:
            return 0
        if spare is None:
            return NO_SPARE
        span = round_up(needed) + round_up(self.room_for(length))
        if mremap(self.region.base, self.region.span, span, 0) != MAP_FAILED:
            self.region.span = self.region.blank_from = span
            patch_resize(&self.region.watch, span)
            return 0
        return self.map_region(length, spare)

    cdef int adopt(self, Region spare, int64_t length) except -1:
        """Make `length` the size, in `spare` if anything was mapped there."""
        cdef Region old = self.region, new = self.region
        if spare is not None and spare.base != NULL:
            new = spare
        if self.file_size == 0 < max(self.origin + length, self.marker.size):
            with nogil:
                self.map_anew(new)
        with cython.critical_section(self):
            if length < self.length:
                self.shrinks += 1
                self.allocated = 0
            self.length = length
            self.file_size = max(self.origin + length, self.marker.size)
            if new is not old:
                self.elders.append(old)
            self.region = new
            new.reach(length)
        if new is not old:
            self.forget_elders(False)
        return 0

    cdef int forget_elders(self, bint closing) except -1:
        """Let go of the regions nobody but the exports themselves can look at."""
        cdef Region region
        cdef Py_ssize_t i
        for i in range(len(self.elders) - 1, -1, -1):
            region = self.elders[i]
            if not region.lent and (closing or atomic_load(&region.exports) == 0):
                self.elders.pop(i)
        return 0

    @cython.final
    cdef inline Region snapshot(self, Py_ssize_t *length, Py_ssize_t *shrinks):
        """The region, held, with what belongs to it; ValueError when closed."""
        cdef Region region
        with cython.critical_section(self):
            region = self.region
            length[0] = self.length
            shrinks[0] = self.shrinks
        if region is None:
            raise ValueError(self._closed_text.format(self.name))
        if load_total(&patch_total) != self.seen:
            self.look_for_patches()
        return region

    cdef Region current(self):
        cdef Py_ssize_t length, shrinks
        return self.snapshot(&length, &shrinks)

    cdef Region counted(self, Py_ssize_t *length, bint lend):
        """The region, held and counted as exported, all in one step."""
        cdef Region region
        self.current()
        if self.unmapped:
            raise BufferError(f"{self.name!r} is not mapped: its engine is 'pread'")
        guard_is_in_force()
        with cython.critical_section(self):
            region = self.region
            length[0] = self.length
            if region is not None:
                atomic_fetch_add(&region.exports, 1)
                region.lent = region.lent or lend
        if region is None:
            self.current()
        return region

    cdef Region select(self, object offset, object length, int64_t *start, int64_t *count):
        """The region, and in it the validated bytes of a method's arguments."""
        cdef Py_ssize_t size, shrinks
        self.convert(offset, length, start, count)
        cdef Region region = self.snapshot(&size, &shrinks)
        self.fit(start[0], count, size)
        return region

    cdef int convert(self, object offset, object length, int64_t *start,
                     int64_t *count) except -1:
        """The numbers of a range; a length of -1 is all to the end."""
        start[0] = as_offset(offset, "offset")
        count[0] = -1 if length is None else as_offset(length, "length")
        return 0

    cdef int fit(self, int64_t start, int64_t *count, int64_t size) except -1:
        if start > size:
            raise ValueError(f"offset {start} is past the end of {self.name!r} "
                             f"({size} bytes)")
        if count[0] == -1:
            count[0] = size - start
        if clip(start, count[0], size) < count[0]:
            raise ValueError(f"{count[0]} bytes at offset {start} are not all in "
                             f"{self.name!r}, which has {size} bytes here")
        return 0

    cdef int check(self, int code, bint locking=False) except -1:
        """The one errno check: raise the OSError of `code`, unless it is 0."""
        if code == CLOSED:
            self.current()
        if code:
            reason = strerror(code).decode() + limit_behind(code, locking=locking)
            raise OSError(code, reason, self.name)
        return 0

    cdef int check_call(self, int code, str call) except -1:
        """As `check`, and name the call if it was refused as such."""
        if is_refused(code):
            raise OSError(code, f"{call} is refused: {strerror(code).decode()}", self.name)
        return self.check(code)

    cdef int require(self, int prot) except -1:
        self.current()
        if prot & ~self.prot:
            raise UnsupportedOperation(f"{self.name!r} is mapped read-only")
        return 0

    cdef int require_descriptor(self) except -1:
        self.current()
        return self.refuse_without_descriptor()

    cdef int refuse_without_descriptor(self) except -1:
        if self.region is not None and self.fd == -1:
            raise UnsupportedOperation(f"the mapping of {self.name!r} has let go of its "
                                       f"descriptor (keep_fd=False)")
        return 0

    cdef int require_memory(self) except -1:
        self.current()
        if self.unmapped:
            raise UnsupportedOperation(f"{self.name!r} is not mapped: its engine is "
                                       f"'pread'")
        return 0

    # -- Copies

    @cython.final
    cdef Py_ssize_t transfer(self, char *buffer, int64_t offset, int64_t length,
                             bint writing, int64_t done=0) except -1:
        """Copy between `buffer` and the bytes there are; returns how many there were.

        The first `done` bytes have been copied before.
        """
        cdef Region region
        cdef Py_ssize_t size, shrinks
        cdef char *memory
        cdef int64_t count, copied
        cdef uint64_t now = tick()
        cdef unsigned long total
        cdef const void *fault
        while True:
            total = load_total(&patch_total)
            region = self.snapshot(&size, &shrinks)
            memory = region.data + min(offset + done, size)
            count = clip(offset + done, length - done, size)
            if self.unmapped:
                fault, copied = buffer, 0       # as if all of it had
            elif not writing and is_hot(region, memory, count, now):
                copied = copy_far(memory, buffer + done, count, writing, now, &fault)
            else:
                with nogil:
                    copied = copy_far(memory, buffer + done, count, writing, now, &fault)
                set_hot(region, memory, count, now)
            atomic_thread_fence(memory_order_acquire)   # the copy came before this look
            if shrinks != self.shrinks:
                continue
            if load_total(&patch_total) != total:
                self.look_for_patches()     # zeros may have come while it was copied,
                if region.watch.heals:
                    continue                # and gone
            done += copied
            if fault == NULL or count == 0:
                return done
            done = self.repair(memory + copied, buffer, offset, done, count - copied, fault,
                               writing, shrinks)

    cdef int64_t repair(self, char *memory, char *buffer, int64_t offset, int64_t done,
                        int64_t left, const void *fault, bint writing,
                        Py_ssize_t shrinks) except -1:
        """Go on by system call after `done` bytes, where memory cannot.

        Returns how far that went. Where it cannot go on either, the file was cut short or
        the disk is full or bad: then it raises that.
        """
        cdef int64_t end = -1, moved
        cdef int code = 0
        if not self.unmapped:
            if not covers(memory, left, fault):
                self.raise_bus_error(EFAULT, offset + done, done, writing, CALLER)
            left = min(left, PAGE - <int64_t> (<uintptr_t> memory % PAGE))
        moved = self.carry(memory, buffer + done, offset + done, min(left, CHUNK), writing,
                           shrinks, &end, &code)
        if moved > 0 or code == EAGAIN or code == EINTR:
            return done + moved
        done = done if end == -1 else clip(offset, done, end)
        self.raise_bus_error(code, offset + done, done, writing, self.cause_of(code, end))

    cdef int64_t carry(self, char *memory, char *buffer, int64_t offset, int64_t count,
                       bint writing, Py_ssize_t shrinks, int64_t *end,
                       int *code) except -1:
        """Move bytes by system call, as memory cannot; returns how many.

        Puts the reason why there are none into `code`: EFAULT past the end of the file,
        which is put into `end`; EAGAIN when a truncation of ours came between.
        """
        cdef Py_ssize_t moved = 0
        code[0] = CLOSED
        with self.mutex:
            if self.region is not None:
                if shrinks != self.shrinks:
                    code[0] = EAGAIN
                else:
                    with nogil:
                        moved = self.call_at(memory, buffer, offset, count, writing, end)
                        code[0] = errno if moved == -1 else EFAULT
                        if self.fd == -1:
                            code[0] = self.cause_in_memory(memory)
        if code[0] == CLOSED:
            self.current()
        return max(moved, 0)

    cdef int cause_in_memory(self, char *memory) noexcept nogil:
        """Why a page cannot be read that no descriptor leads to, or nobody could ask."""
        cdef char byte
        if not fault_in_force(tick()) and fault_carry(memory, &byte, 1, False) != NULL:
            if errno != EFAULT:
                return errno
        return patch_cause(&self.region.watch, memory)

    cdef Py_ssize_t call_at(self, char *memory, char *buffer, int64_t offset, int64_t count,
                            bint writing, int64_t *end) noexcept nogil:
        """pread(2) or pwrite(2) inside the file; 0 where neither is to be had."""
        cdef file_stat status
        if self.fd == -1:
            return 0
        if fstat(self.fd, &status) == -1:
            return -1
        end[0] = status.st_size - self.origin
        count = clip(offset, count, end[0])
        if not writing and self.flags == MAP_PRIVATE and not fault_in_force(tick()):
            # The file has the page as it was before changes. It may only stand for a page
            # that cannot be touched, which has none, and not for one nobody could ask for.
            if fault_carry(memory, buffer, 1, False) == NULL:
                (&errno)[0] = EAGAIN        # it can be touched by now
                return -1
            if errno != EFAULT:
                return -1
        if not writing:
            return pread(self.fd, buffer, count, self.origin + offset)
        if self.flags == MAP_PRIVATE:
            return count if copy(memory, buffer, count, True, tick()) == NULL else 0
        if not self.is_writable_at(offset, count):
            return 0
        return pwrite(self.fd, buffer, count, self.origin + offset)

    cdef str cause_of(self, int code, int64_t end):
        if code != EFAULT:
            return strerror(code).decode()
        if end == -1 or self.origin + end >= self.file_size:
            return "the page cannot be had"
        return f"the file shrank from {self.file_size} to {self.origin + end} bytes"

    cdef int raise_bus_error(self, int code, int64_t offset, int64_t count, bint writing,
                             str cause) except -1:
        text = f"bus error, {access_of(writing)} at offset {offset}: {cause}"
        error = bus_error(code, text, self.name, offset, writing)
        error.count = count
        raise error

    # -- Patches: what a bus error in a view has left

    cdef list regions(self):
        """All that views can be in; none when closed, but for those that were lent out."""
        cdef list found = []    # made first: the collector may run here, and a finaliser
        with cython.critical_section(self):
            if self.region is not None:
                found.extend(self.elders)
                found.append(self.region)
        return found

    cdef int look_for_patches(self) except -1:
        """Raise when one of our regions has patches; remember that none had."""
        cdef unsigned long total = load_total(&patch_total)
        raise_patch(self.regions())
        self.seen = total
        return 0

    cdef list faults_in(self, list regions):
        cdef Region region
        cdef patch found
        cdef size_t i
        cdef int64_t start, end
        result = []
        for region in regions:
            i = 0
            while patch_get(&region.watch, i, &found):
                start = max(0, found.start - region.data)
                end = min(found.start + found.length - region.data, region.reached)
                if found.length:
                    result.append(Fault(start, end - start, access_of(found.writing),
                                        found.code))
                i += 1
        return result

    def faults(self):
        """Tell where pages were replaced because a view touched what was not to be had.

        Returns
        -------
        list of Fault
            ``(offset, length, access, errno)`` of each, oldest first; of a closed mapping,
            as it was at closing. Pages side by side are one.

        See Also
        --------
        heal : Undo it.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.create("cut.bin", 8192, on_fault="poison")
        >>> array = m.array()
        >>> os.truncate("cut.bin", 4096)
        >>> int(array[5000]), m.faults()
        (0, [Fault(offset=4096, length=4096, access='read', errno=14)])
        >>> m.heal(), m.faults()
        (0, [])
        >>> m.close()
        """
        cdef list faults
        regions = self.regions()
        if regions:
            return self.faults_in(regions)
        with cython.critical_section(self):
            faults = self.last_faults
        return faults.copy()

    def heal(self, *, bint discard=False):
        """Write what was stored into replaced pages to the file, and map it there again.

        The mapping can then be used as before, with the size it had: where the file is
        still too short, touching a view raises anew. `refresh` takes over its size. No
        other thread may store to the views meanwhile.

        Parameters
        ----------
        discard : bool, default False
            Give up what cannot be written.

        Returns
        -------
        int
            The number of bytes written. Into a page replaced by zeros, only what is not
            zero counts as stored: what others have written to the file beside it stays.

        Raises
        ------
        BusError
            When something was stored past the end of the file. It stays in memory, as with
            all errors: make the file longer and try again, or pass `discard`.
        OSError
            When the kernel refuses a write, since the disk is still full.
        io.UnsupportedOperation
            When the mapping has no descriptor.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.create("cut.bin", 8192, on_fault="poison")
        >>> array = m.array()
        >>> os.truncate("cut.bin", 4096)
        >>> array[5000] = 7
        >>> os.truncate("cut.bin", 8192)
        >>> m.heal(), m.pread(1, 5000), m.faults()
        (1, b'\\x07', [])
        >>> m.close()
        """
        cdef size_t written = 0
        cdef int code = CLOSED
        self.refuse_without_descriptor()     # not by the door, which the patches close
        with self.mutex:
            if self.region is not None:
                if self.prot & PROT_WRITE and fcntl(self.fd, F_GETFL) & O_APPEND:
                    code = EBADF    # set since: what is written would go to the end
                else:
                    code = self.heal_regions(discard, &written)
        if code == EFAULT:
            raise_patch(self.regions())
        self.check(code)
        cancel_raising(self.regions())
        return written

    cdef int heal_regions(self, bint discard, size_t *written):
        cdef Region region
        cdef int code = 0
        for region in self.elders:
            if code == 0:
                code = self.heal_region(region, discard, written)
        return code or self.heal_region(self.region, discard, written)

    cdef int heal_region(self, Region region, bint discard, size_t *written):
        cdef size_t length = self.origin % PAGE + min(region.reached, self.length)
        cdef int code
        with nogil:
            code = patch_heal(&region.watch, length, discard, written)
            self.pass_on_advice(region)     # which what was mapped anew does not have
        return code

    def guard(self):
        """Return a context that raises on leaving if a view touched a bad page.

        Each method does so, too; this is for work on views alone, whose result is not to
        be used before that is known: compute it in the block, and use it behind. What is
        used in the block already may have been made of replaced pages. `yammap.guard` is
        for arrays without their mapping.

        Returns
        -------
        context manager
            Entering it and leaving it raise `BusError` if the mapping has `faults`.
            Leaving it by an exception lets that one pass.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(8000)
        >>> with m.guard():
        ...     total = int(m.array("f8").sum())
        >>> total       # behind the block: no page was missing
        0
        """
        return new_guard(self, None)

    # -- Reading and writing

    def read_at(self, buffer, offset):
        """Fill `buffer` with the bytes at `offset`.

        Parameters
        ----------
        buffer : buffer
            Writable, C-contiguous; all its bytes are filled.
        offset : int
            Position of the first byte, in bytes.

        Returns
        -------
        int
            The number of bytes read: the length of `buffer`.

        Raises
        ------
        ShortRead
            When the mapping ends before; ``count`` bytes have been read.
        BusError
            When the file was cut short or cannot be read.
        TypeError
            When `buffer` is read-only or not contiguous.
        ValueError
            When `offset` is negative, or the mapping closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(4096)
        >>> m.write_at(b"token", 100)
        5
        >>> buffer = bytearray(5)
        >>> m.read_at(buffer, 100), buffer
        (5, bytearray(b'token'))
        """
        cdef Py_buffer target
        cdef int64_t start = as_offset(offset, "offset")
        cdef Py_ssize_t count, length
        get_target(buffer, &target)
        length = target.len
        try:
            count = self.transfer(<char *> target.buf, start, length, False)
        finally:
            PyBuffer_Release(&target)
        if count < length:
            error = ShortRead(f"{length} bytes at offset {start} wanted, and {self.name!r} "
                              f"has only {count}")
            error.count = count
            raise error
        return count

    def pread(self, size, offset):
        """Return up to `size` bytes from `offset`, fewer at the end, as pread(2) does.

        Parameters
        ----------
        size : int
            Number of bytes.
        offset : int
            Position of the first byte, in bytes.

        Returns
        -------
        bytes
            A copy of the bytes; empty at and past the end.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read.
        ValueError
            When an argument is negative, or the mapping closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(6).pread(100, 4)
        b'\\x00\\x00'
        """
        cdef int64_t length = as_offset(size, "size")
        cdef int64_t start = as_offset(offset, "offset")
        length = clip(start, length, self.length)
        result = PyBytes_FromStringAndSize(NULL, length)
        cdef char *target = PyBytes_AS_STRING(result)
        cdef Py_ssize_t count = self.transfer(target, start, length, False)
        return result if count == length else result[:count]

    def write_at(self, data, offset):
        """Write all of `data` at `offset`, growing the file where it must.

        The file's size becomes ``max(size, offset + len(data))``. Bytes between the old
        end and `offset` are zeros.

        Parameters
        ----------
        data : buffer
            C-contiguous bytes.
        offset : int
            Position of the first byte, in bytes.

        Returns
        -------
        int
            The number of bytes written: the length of `data`.

        Raises
        ------
        BusError
            When the file was cut short, or the disk is full or bad.
        OSError
            When the file cannot grow. Its size and bytes are then as they were.
        io.UnsupportedOperation
            When the mapping is read-only or in append mode.
        TypeError
            When `data` is not a buffer, or not contiguous.
        ValueError
            When `offset` is negative, a mapping of fixed size would have to grow, or
            the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(0)
        >>> m.write_at(b"tail", 4), m.size(), m.pread(8, 0)
        (4, 8, b'\\x00\\x00\\x00\\x00tail')
        """
        cdef Py_buffer source
        cdef int64_t start = as_offset(offset, "offset")
        cdef Py_ssize_t length
        get_source(data, &source)
        length = source.len
        try:
            self.require_positional()
            self.store(<char *> source.buf, start, length)
        finally:
            PyBuffer_Release(&source)
        return length

    cdef int store(self, char *source, int64_t offset, int64_t length) except -1:
        """Write all, what lies past the end first, since that may fail.

        When a truncation of ours overtakes the write, it is done again: as if it had
        come after.
        """
        cdef int64_t inside
        cdef Py_ssize_t shrinks
        while True:
            shrinks = self.shrinks
            inside = length
            if clip(offset, length, self.length) < length:
                inside = self.extend(source, offset, length)
            if self.store_inside(source, offset, inside) and shrinks == self.shrinks:
                return 0

    cdef bint store_inside(self, char *source, int64_t offset, int64_t length) except -1:
        """Write piece by piece, each the faster way; False when overtaken."""
        cdef Region region = self.current()
        cdef int64_t done = 0, reached
        if self.unmapped:
            return self.transfer(source, offset, length, True) == length
        while done < length:
            reached = self.end_of_hot(region, source, offset, done, length)
            if reached == done and self.store_cold(source, offset, done):
                done += CHUNK
                continue
            reached = max(reached, min(done + CHUNK, length))
            if self.transfer(source, offset, reached, True, done) < reached:
                return False
            done = reached
        return True

    cdef int64_t end_of_hot(self, Region region, const char *source, int64_t offset,
                            int64_t done, int64_t length) noexcept nogil:
        """How far to write in one memmove: up to the next large piece not in memory.

        As far as can be, since from some megabytes on memmove goes round the caches. All
        of it where the source is a view of the very bytes, which pieces would overwrite
        before they are read.
        """
        cdef const char *memory = region.data + offset
        cdef unsigned char first = 1
        if self.flags == MAP_PRIVATE or (source < memory + length
                                         and memory < source + length):
            return length
        while length - done >= CHUNK:
            mincore(pages_of(region.data, offset + done, 1).start, 1, &first)
            if not first & 1:
                return done
            done += CHUNK
        return length

    cdef bint store_cold(self, char *source, int64_t offset, int64_t done) except -1:
        """Write a piece that is not in memory by pwrite(2); False where it cannot be.

        Memory takes a page fault for each such page, the system call none. The mutex
        keeps out truncations, after which the call would extend the file again; other
        writers the kernel keeps out itself. What the call refuses, memory may take: it
        is tried next, and its fault reported.
        """
        cdef int64_t start = offset + done, count = 0
        with self.mutex:
            if self.region is not None and clip(start, CHUNK, self.length) == CHUNK:
                with nogil:
                    if self.is_writable_at(start, CHUNK):
                        write_all(self.fd, source + done, CHUNK, self.origin + start,
                                  &count)
        return count == CHUNK

    cdef bint is_writable_at(self, int64_t start, int64_t length) noexcept nogil:
        """Whether pwrite(2) neither extends the file nor appends (O_APPEND, set later)."""
        cdef file_stat status
        return (fstat(self.fd, &status) == 0
                and clip(self.origin + start, length, status.st_size) == length
                and not fcntl(self.fd, F_GETFL) & O_APPEND)

    def append(self, data):
        """Write all of `data` at the end, growing the file.

        With `ahead` this is a copy into memory that the file has already. Otherwise, in
        append mode, it is one write(2) to a descriptor with ``O_APPEND``, so many
        processes may append to one file and no record of less than 2 GiB is torn; each
        must open the file itself, and `refresh` shows what the others wrote. In other
        modes the end is that of the mapping, as `size` tells it.

        Parameters
        ----------
        data : buffer
            C-contiguous bytes.

        Returns
        -------
        int
            The position of the first byte written.

        Raises
        ------
        BusError
            With `ahead`, when the file was cut short. Nothing is written then.
        OSError
            When the file cannot grow. Its size and bytes are then as they were, unless
            another process wrote behind them meanwhile.
        TypeError
            When `data` is not a buffer.
        io.UnsupportedOperation
            When the mapping is read-only.
        ValueError
            When the mapping is closed or of fixed size, or was inherited by a fork from the
            process that opened it with `ahead`.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(3)
        >>> m.append(b"record"), m.size()
        (3, 9)

        The file's size may run ahead until it is synced or closed:

        >>> import os
        >>> with yammap.open("records.log", "w+", ahead=1 << 20) as m:
        ...     m.append(b"record"), m.size(), os.stat("records.log").st_size
        (0, 6, 1052672)
        >>> os.stat("records.log").st_size
        6
        """
        cdef Py_buffer source
        cdef int64_t start = -1
        get_source(data, &source)
        try:
            if self.open_to:
                start = self.append_hot(<char *> source.buf, source.len)
            if start == -1:
                start = self.extend_at_end(<char *> source.buf, source.len)
        finally:
            PyBuffer_Release(&source)
        return start

    def _append(self, data):
        """Append, and return the position and the number of bytes written."""
        cdef Py_buffer source
        get_source(data, &source)
        try:
            return self.extend_at_end(<char *> source.buf, source.len), source.len
        finally:
            PyBuffer_Release(&source)

    cdef int64_t append_hot(self, const char *source, int64_t length) noexcept:
        """Store a small record into pages that were made for it; -1 where it must wait.

        With the GIL, which would cost as much again to give up. The pages are in memory and
        written to all the time. Where one of them has been written to the disk meanwhile,
        the store waits for the filesystem to let it change again.

        Without the mutex, which would cost as much as the copy: who holds that and is about
        to change the size stops appends first, in a critical section as this is one.
        """
        cdef int64_t start
        if length > PAGE or not fault_in_force(tick()):
            return -1
        with cython.critical_section(self):
            start = self.length
            if start + length < self.open_to and self.put(source, length):
                self.grow_to(start + length)
            else:
                start = -1
        return start

    cdef void stop_appends(self) noexcept:
        """Under the mutex: let `append_hot` wait for it until `open_to` is set again."""
        with cython.critical_section(self):
            self.open_to = 0

    cdef inline void grow_to(self, int64_t length) noexcept:
        """`adopt`, in a critical section, where no more than the length changes."""
        self.region.reach(length)
        self.length = length

    cdef bint put(self, const char *source, int64_t length) noexcept nogil:
        """Store a record behind the end, and then the end; False when a page was not there.

        The caller makes it known to the mapping, too.
        """
        cdef fault_range ranges[2]
        cdef ahead_record record
        cdef char *end_of_file = self.region.data + self.marker.size - self.origin
        record.target = self.region.data + self.length
        record.source = source
        record.length = length
        record.end_of_data = &(<ahead_trailer *> end_of_file - 1).end
        record.end = self.origin + self.length + length
        ranges[0] = fault_range(record.target, end_of_file - <char *> record.target)
        ranges[1] = fault_range(source, length)
        return (load_total(&patch_total) == self.seen
                and fault_call(ahead_store, &record, ranges) == NULL
                and load_total(&patch_total) == self.seen)

    # -- A sequence of bytes

    def __len__(self):
        self.current()
        return self.length

    def __getitem__(self, key):
        cdef Py_ssize_t index, first, last, step, start, stop, count
        cdef unsigned char byte
        if PyIndex_Check(key):
            index = PyNumber_AsSsize_t(key, <void *> IndexError)
            while self.transfer(<char *> &byte, self.offset_of(index), 1, False) == 0:
                pass    # a truncation of ours overtook it
            return byte
        unpack(key, &first, &last, &step)
        while True:
            start, stop = first, last
            count = PySlice_AdjustIndices(self.length, &start, &stop, step)
            result = PyBytes_FromStringAndSize(NULL, count)
            if self.transfer_slice(PyBytes_AS_STRING(result), start, step, count, False):
                return result

    def __setitem__(self, key, value):
        cdef Py_ssize_t index
        cdef unsigned char byte
        if PyIndex_Check(key):
            index = PyNumber_AsSsize_t(key, <void *> IndexError)
            self.require_mutable()
            self.offset_of(index)       # a wrong index is said before a wrong value
            byte = as_byte(value)
            while self.transfer(<char *> &byte, self.offset_of(index), 1, True) == 0:
                pass
        else:
            self.set_slice(key, value)

    def __delitem__(self, key):
        raise TypeError("mmap doesn't support item deletion: resize() takes bytes away")

    cdef int set_slice(self, object key, object value) except -1:
        cdef Py_ssize_t first, last, step, start, stop, count
        cdef Py_buffer source
        unpack(key, &first, &last, &step)
        get_source(value, &source)
        try:
            self.require_mutable()
            while True:
                start, stop = first, last
                count = PySlice_AdjustIndices(self.length, &start, &stop, step)
                if source.len != count:
                    raise IndexError(f"mmap slice assignment is wrong size: {source.len} "
                                     f"bytes for {count} of {self.name!r}")
                if self.transfer_slice(<char *> source.buf, start, step, count, True):
                    return 0
        finally:
            PyBuffer_Release(&source)

    cdef int require_mutable(self) except -1:
        """With the error of `mmap` and `memoryview`, where methods say it as files do."""
        self.current()
        if self.is_readonly():
            raise TypeError(f"mmap can't modify a readonly memory map: {self.name!r}")
        return 0

    cdef int64_t offset_of(self, Py_ssize_t index) except -1:
        cdef int64_t offset = index + self.length if index < 0 else index
        if 0 <= offset < self.length:
            return offset
        self.current()
        raise IndexError(f"mmap index out of range: {index} of {self.name!r}, which has "
                         f"{self.length} bytes")

    cdef bint transfer_slice(self, char *buffer, Py_ssize_t start, Py_ssize_t step,
                             Py_ssize_t count, bint writing) except -1:
        """Copy one way or the other; False when overtaken by a truncation of ours."""
        cdef Py_ssize_t shrinks = self.shrinks
        if step != 1:
            return self.transfer_strided(buffer, start, step, count, writing)
        if writing:
            return self.store_inside(buffer, start, count) and shrinks == self.shrinks
        return self.transfer(buffer, start, count, False) == count

    cdef bint transfer_strided(self, char *buffer, Py_ssize_t start, Py_ssize_t step,
                               Py_ssize_t count, bint writing) except -1:
        """Copy bytes `step` apart in one loop; one by one where that is not possible.

        That goes on where only memory refuses, and else knows the byte and the cause.
        """
        cdef Hold hold = self._hold(False)
        cdef Py_ssize_t i, last
        cdef const void *fault
        cdef Strided s
        hold.renew()
        if count == 0:
            return True
        last = start + (count - 1) * step
        if max(start, last) >= hold.length:
            return False
        s.ranges[0] = fault_range(hold.data + min(start, last), abs(last - start) + 1)
        s.ranges[1] = fault_range(buffer, count)
        s.memory, s.buffer = hold.data + start, buffer
        s.step, s.count, s.writing = step, count, writing
        if hold.is_guarded():
            with nogil:
                fault = hold.call(copy_strided, &s, s.ranges)
            if hold.overtaken():
                return False
            if fault == NULL:
                return True
        for i in range(count):
            if self.transfer(buffer + i, start + i * step, 1, writing) == 0:
                return False
        return True

    def find(self, sub, start=0, end=None):
        """Return the position of the first `sub` that lies in ``[start, end)``.

        Parameters
        ----------
        sub : buffer
            The bytes to look for.
        start : int, default 0
            Where to begin, in bytes; from the end when negative, as in a slice.
        end : int, optional
            Where to stop, in bytes, likewise; by default the end of the mapping.

        Returns
        -------
        int
            The position, or -1 when `sub` is not there.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read.
        TypeError
            When `sub` is not a buffer, or not contiguous.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(10)
        >>> m.write_at(b"needle", 2)
        6
        >>> m.find(b"dle"), m.find(b"dle", 6), m.find(b"e", -4)
        (5, -1, 7)
        """
        return self.search_for(sub, start, end, False)

    def rfind(self, sub, start=0, end=None):
        """Return the position of the last `sub` that lies in ``[start, end)``.

        It is looked for from the end on, and no more of the file is read than a few times
        the way to it.

        Parameters
        ----------
        sub : buffer
            The bytes to look for.
        start : int, default 0
            Where to begin, in bytes; from the end when negative, as in a slice.
        end : int, optional
            Where to stop, in bytes, likewise; by default the end of the mapping.

        Returns
        -------
        int
            The position, or -1 when `sub` is not there.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read.
        TypeError
            When `sub` is not a buffer, or not contiguous.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(10)
        >>> m.write_at(b"needle", 2)
        6
        >>> m.rfind(b"e"), m.rfind(b"e", 0, -3)
        (7, 4)
        """
        return self.search_for(sub, start, end, True)

    cdef int64_t search_for(self, object sub, object start, object end,
                            bint backwards) except -2:
        cdef Py_buffer needle
        cdef int64_t first = PyNumber_AsSsize_t(start, NULL)
        cdef int64_t last = INT64_MAX if end is None else PyNumber_AsSsize_t(end, NULL)
        get_source(sub, &needle)
        try:
            return self.search_from(&needle, first, last, backwards)
        finally:
            PyBuffer_Release(&needle)

    cdef int64_t search_from(self, Py_buffer *needle, int64_t start, int64_t end,
                             bint backwards) except -2:
        """Search piece by piece, which overlap by the needle, with signals in between."""
        cdef Region region
        cdef Py_ssize_t size, shrinks
        cdef int64_t overlap = max(needle.len - 1, 0), most = max(PIECE, 2 * needle.len)
        cdef int64_t first, last, at, length
        cdef Search what
        cdef unsigned long total
        cdef const void *fault
        what.ranges[1] = fault_range(needle.buf, needle.len)
        what.backwards = backwards
        self.snapshot(&size, &shrinks)
        first, last = from_start(start, size), from_start(end, size)
        while True:
            total = load_total(&patch_total)
            region = self.snapshot(&size, &shrinks)
            last = min(last, size)
            if first > last:
                return -1
            if self.unmapped or not fault_in_force(tick()):
                return self.search_copies(&what, first, last)
            length = min(last - first, most)
            at = last - length if backwards else first
            what.ranges[0] = fault_range(region.data + at, length)
            with nogil:
                fault = fault_call(search, &what, what.ranges)
            if load_total(&patch_total) != total:
                self.look_for_patches()
                if region.watch.heals:
                    continue
            if shrinks != self.shrinks:
                continue
            if fault != NULL:
                if not covers(region.data + at, length, fault):
                    self.raise_bus_error(EFAULT, at, 0, False, CALLER)
                return self.search_copies(&what, first, last)
            if what.found != NULL:
                return what.found - region.data
            if length == last - first:
                return -1
            if backwards:
                last = at + overlap
            else:
                first = at + length - overlap
            PyErr_CheckSignals()

    cdef int64_t search_copies(self, Search *what, int64_t first, int64_t last) except -2:
        """Search copies, which overlap by the needle, where memory cannot be searched."""
        cdef int64_t overlap = what.ranges[1].length
        cdef int64_t length = max(CHUNK, 2 * overlap)
        cdef int64_t start, count
        piece = PyBytes_FromStringAndSize(NULL, length)
        cdef char *copied = PyBytes_AS_STRING(piece)
        while True:
            start = max(first, last - length) if what.backwards else first
            count = self.transfer(copied, start, min(length, last - start), False)
            what.ranges[0] = fault_range(copied, count)
            with nogil:
                search(what)
            if what.found != NULL:
                return start + (what.found - copied)
            if (start == first) if what.backwards else (count < length):
                return -1
            if what.backwards:
                last = start + overlap
            else:
                first = start + length - overlap
            PyErr_CheckSignals()

    def move(self, dest, src, count):
        """Copy `count` bytes from `src` to `dest`, which may overlap, as memmove(3).

        Parameters
        ----------
        dest : int
            Where the first byte goes, in bytes.
        src : int
            Where it is, in bytes.
        count : int
            Number of bytes.

        Raises
        ------
        BusError
            When the file was cut short, cannot be read, or the disk is full or bad. At
            least ``count`` bytes have been moved then: the first ones, or the last ones
            where `dest` lies behind `src`.
        io.UnsupportedOperation
            When the mapping is read-only or in append mode.
        ValueError
            When an argument is negative, the bytes are not all in the mapping, or the
            mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(8)
        >>> m[:] = b"abcdefgh"
        >>> m.move(2, 0, 5)
        >>> m[:]
        b'ababcdeh'
        """
        cdef int64_t target = as_offset(dest, "dest")
        cdef int64_t source = as_offset(src, "src")
        cdef int64_t length = as_offset(count, "count")
        self.require_positional()
        self.fit(source, &length, self.length)
        self.fit(target, &length, self.length)
        self.move_pieces(target, source, length)

    cdef int move_pieces(self, int64_t target, int64_t source, int64_t length) except -1:
        """By way of a buffer, so that bytes and faults are those of ordinary copies.

        A memmove inside the mapping is not to be repeated after a fault or a truncation:
        it has changed its own source.
        """
        cdef char piece[4096]       # a thread's stack may be small
        cdef int64_t done = 0, count, start
        cdef bint backwards = target > source
        while done < length:
            count = min(length - done, <int64_t> sizeof(piece))
            start = length - done - count if backwards else done
            try:
                if (self.transfer(piece, source + start, count, False) < count
                        or self.transfer(piece, target + start, count, True) < count):
                    raise ValueError(f"{self.name!r} was cut to {self.length} bytes, of "
                                     f"which {length} were to be moved")
            except BusError as error:
                error.count = done
                raise
            done += count
        return 0

    # -- Size

    cdef int require_positional(self) except -1:
        if self.appending:
            raise UnsupportedOperation(f"{self.name!r} is in append mode, and takes bytes "
                                       f"only at its end")
        return self.require(PROT_WRITE)

    cdef int require_growable(self) except -1:
        if not self.appending:
            self.require(PROT_WRITE)
        fault_in_force(tick())      # puts our handler back, and is free most times
        self.require_descriptor()
        if not self.growable:
            raise ValueError(f"this mapping of {self.name!r} has a fixed size of "
                             f"{self.length} bytes: it is copy-on-write or a window")
        if self.inherited:
            raise ValueError(f"{self.name!r} was opened with ahead by the process that "
                             f"forked this one, and grows there")
        return 0

    cdef Py_ssize_t extend(self, const char *source, int64_t offset,
                           int64_t length) except -1:
        """Write what of the range lies past the end; returns how much lies before."""
        cdef Region spare = self.new_region()
        cdef int64_t inside
        cdef int code = CLOSED
        self.require_growable()
        if offset > MOST_SIZE or clip(self.origin + offset, length, MOST_SIZE) < length:
            self.check(EFBIG)
        if self.ahead and self.run_ahead(source, offset, length, &inside):
            return inside - offset
        with self.mutex:
            self.stop_appends()
            inside = clip(offset, length, self.length)
            if self.region is not None:
                with nogil:
                    code = self.make_exact() or self.ensure_room(offset + length, spare)
                    if code == 0:
                        code = self.lengthen(source + inside, offset + inside,
                                             length - inside)
                if code == 0:
                    self.adopt(spare, max(self.length, offset + length))
        self.check(code)
        return inside

    cdef int64_t extend_at_end(self, const char *source, int64_t length) except? -1:
        cdef Region spare = None
        cdef int64_t start
        cdef int code = NO_SPARE
        self.require_growable()
        if self.ahead and self.run_ahead(source, -1, length, &start):
            return start
        if self.appending:
            spare = self.new_region()       # needed or not, it is too late after the write
        while code == NO_SPARE:
            code = self.extend_exactly(source, length, &start, spare)
            if code == NO_SPARE:
                spare = self.new_region()
        self.check(code)
        return start

    cdef int extend_exactly(self, const char *source, int64_t length, int64_t *start,
                            Region spare) except? -1:
        """Append by system call; returns an errno value."""
        cdef int64_t end
        cdef int code = CLOSED
        with self.mutex:
            self.stop_appends()
            start[0] = self.length
            end = start[0] + length
            if self.region is not None:
                with nogil:
                    if self.appending:
                        code = self.append_record(source, length, start, &end, spare)
                    else:
                        code = self.make_exact() or self.ensure_room(end, spare)
                        if code == 0:
                            code = self.lengthen(source, start[0], length)
                if code == 0:
                    self.adopt(spare, max(self.length, end))
        return code

    # -- Growth ahead of the data

    cdef bint run_ahead(self, const char *source, int64_t offset, int64_t length,
                        int64_t *start) except -1:
        """Store what of the range at `offset` (-1: the end) lies past the end.

        Puts where the end was into `start`. False where the file must grow exactly: it has
        no range that goes on from its end, or cannot run ahead, since the disk is full or a
        page cannot be had. Then that grows by system call, or says why not.
        """
        cdef Region spare = self.new_region()
        cdef int64_t inside, end, file_end = 0, changed = 0
        cdef int code = EAGAIN
        cdef bint stored = False, refused = False
        with self.mutex:
            self.stop_appends()
            start[0] = self.length
            inside = 0 if offset == -1 else start[0] - offset
            end = start[0] + length - inside
            if (self.region is None or not self.ahead or not 0 <= inside < length
                    or not fault_in_force(tick())):
                return False
            with nogil:
                if self.changed_by_others() == 0:
                    code = self.step(end, spare)
            refused = is_refused(code)
            if refused:
                with nogil:
                    self.stop_ahead()       # for it never will be otherwise
            if code == 0:
                self.adopt(spare, start[0])
                with nogil:
                    self.populate(end)
                    stored = self.put(source + inside, length - inside)
            if stored:
                with cython.critical_section(self):
                    self.grow_to(end)
                    self.open_to = self.populated
            else:
                with nogil:
                    changed = self.changed_by_others()
                file_end = max(0, self.size_left() + changed - self.origin)
        if changed < 0:
            self.raise_bus_error(EFAULT, file_end, 0, True, self.cause_of(EFAULT, file_end))
        self.stay_exact(code if refused else 0)
        return stored

    cdef int64_t size_left(self) noexcept nogil:
        """The size in which we have left the file."""
        return self.marker.size or self.origin + self.length

    cdef int64_t changed_by_others(self) noexcept nogil:
        """How much longer others have made the file: then what is behind our end is theirs.

        Negative where they have cut it, which growing would undo.
        """
        cdef file_stat status
        return status.st_size - self.size_left() if fstat(self.fd, &status) == 0 else 0

    cdef int step(self, int64_t end, Region spare) noexcept nogil:
        """Have the file long enough for data up to `end` and the trailer behind it.

        A nearly full disk gets a small step.
        """
        cdef int64_t least = round_up(self.origin + end + <int64_t> sizeof(ahead_trailer))
        cdef int64_t size = least + round_up(self.ahead)
        cdef int code
        if least <= self.marker.size:
            return 0
        if self.unmapped:
            return EOPNOTSUPP
        code = self.ensure_room(size - self.origin, spare)
        if code:
            return code
        code = self.step_to(size)
        if code:
            code = self.step_to(least)
        return code

    cdef int step_to(self, int64_t size) noexcept nogil:
        return self.require_room(self.length, size - self.origin) or ahead_step(
            self.fd, &self.marker, self.origin + self.length, size)

    cdef void populate(self, int64_t end) noexcept nogil:
        """Make pages up to `end` and some more; without them a store is slow, or faults.

        Zeros are written there before the pages are mapped, since a filesystem makes many
        pages at once then, and one at a time for faults.
        """
        cdef int64_t last = self.marker.size - self.origin - <int64_t> sizeof(ahead_trailer)
        cdef int64_t start = max(self.length, self.populated)
        cdef int64_t appended = self.origin + self.length - self.marker.base
        cdef int64_t written = 0
        cdef Pages pages
        if end <= self.populated:
            return
        end = max(end, start + min(max(appended, LEAST_BATCH), MOST_BATCH))
        pages = pages_of(self.region.data, start, min(end, last) - start)
        end = min(pages.start + pages.length - self.region.data, last)
        write_zeros(self.fd, self.origin + start, end - start, False, &written)
        self.populated = end
        madvise(pages.start, pages.length, MADV_POPULATE_WRITE)

    cdef int make_exact(self) noexcept nogil:
        """Give a file that runs ahead the size of its data."""
        cdef int code
        if self.marker.size == 0:
            return 0
        code = ahead_settle(self.fd, &self.marker, self.origin + self.length)
        if code == 0:
            self.populated = self.allocated = 0
        return code

    cdef int stop_ahead(self) noexcept nogil:
        """For good. What cannot be cut off now, the next opening will."""
        cdef int code = self.make_exact()
        ahead_unlock(self.ahead_fd)
        self.ahead_fd = -1
        self.marker.size = self.ahead = 0
        return code

    cdef int end_of_file(self, int64_t *size) noexcept nogil:
        """Where the data ends in the file; who runs it ahead knows by itself."""
        cdef file_stat status
        cdef int code = code_of(fstat(self.fd, &status))
        size[0] = status.st_size
        if code or self.marker.size == 0:
            return code or ahead_end(self.fd, size)
        if size[0] == self.marker.size:
            size[0] = self.origin + self.length
            return 0
        return self.make_exact()    # somebody else has cut it, or written behind

    # -- Growth by system call

    cdef int append_record(self, const char *source, int64_t length, int64_t *start,
                           int64_t *end, Region spare) noexcept nogil:
        """O_APPEND: the kernel picks the position, and the descriptor remembers it.

        Once the record is in the file nothing may fail: where the file's new end cannot
        be mapped, it is left to `refresh` to say so.
        """
        cdef file_stat status
        cdef int64_t done = 0
        cdef int64_t reached
        cdef int code
        if length == 0:
            return 0
        code = self.ensure_blocks(self.length, self.length + length)
        if code == EOPNOTSUPP:
            self.watch_errors()
        elif code:
            return code
        code = write_all(self.fd, source, length, -1, &done)
        reached = lseek(self.fd, 0, SEEK_CUR) - self.origin
        if code:
            self.cut_back(reached - done, reached)
            return code
        start[0] = reached - length
        end[0] = self.length
        if fstat(self.fd, &status) == 0 and reached <= status.st_size - self.origin:
            if self.ensure_room(reached, spare) == 0:
                end[0] = reached
        return 0

    cdef int lengthen(self, const char *source, int64_t start,
                      int64_t length) noexcept nogil:
        """Make the file end with `length` bytes at `start`, at or past its end.

        All or nothing; returns an errno value. The blocks are had first, while the file is
        as long as before, so that there is nothing to undo when the disk is full: what is
        past the old end may be somebody else's by then. pwrite(2) extends and fills the
        page cache in one call: the mapping sees the bytes at once.
        """
        cdef int64_t done = 0
        cdef bint filling = length == 0 and self.preallocate    # a seek leaves a hole
        cdef int64_t first = self.length if filling else start
        cdef int code = self.ensure_blocks(first, start + length)
        if code == EOPNOTSUPP:
            self.watch_errors()     # NFS tells who writes what it could not write before
            code = self.append_zeros(start) if filling else 0
        if code == 0 and length == 0:
            code = self.extend_to(start)
        elif code == 0:
            code = write_all(self.fd, source, length, self.origin + start, &done)
        if code and done:
            self.cut_back(start, start + done)
        return code

    cdef int ensure_blocks(self, int64_t start, int64_t end) noexcept nogil:
        """Allocate what bytes from `start` to `end` need.

        Some more makes many small growths cheap. What is left of it is not given back at
        closing: truncating to the same size would cut what another process appends at that
        moment. So it is little.
        """
        cdef int64_t ahead = round_up(end) - end, more = min(MOST_AHEAD, end // 8)
        cdef int code
        if end <= max(start, self.allocated):
            return 0
        code = self.require_room(start, end)
        if code:
            return code
        if self.preallocate and end - self.length <= more:
            ahead += more
        code = self.have_blocks(FALLOC_FL_KEEP_SIZE, start, end + ahead - start)
        if code and code != EOPNOTSUPP:
            ahead = 0
            code = self.have_blocks(FALLOC_FL_KEEP_SIZE, start, end - start)
        if code == 0 and start <= self.length:
            self.allocated = end + ahead
        return code

    cdef int extend_to(self, int64_t length) noexcept nogil:
        """Let the file have `length` bytes or more.

        By fallocate(2) of the last one: ftruncate(2) would cut off what another process
        has appended since we looked.
        """
        if length <= self.length:
            return 0
        cdef int code = self.have_blocks(0, length - 1, 1)
        if code == EOPNOTSUPP and not self.preallocate:
            return set_size(self.fd, self.origin + length)
        return 0 if code == EOPNOTSUPP else code    # zeros have been written

    cdef int append_zeros(self, int64_t length) noexcept nogil:
        """Without fallocate(2): written zeros are allocated as well.

        They go behind the end that the file has, not the one that the mapping knows. When
        the disk is full before there are enough, they are taken away again.
        """
        cdef file_stat status
        cdef int64_t end, done = 0
        cdef int code = code_of(fstat(self.fd, &status))
        if code:
            return code
        end = status.st_size - self.origin
        code = write_zeros(self.fd, status.st_size, max(0, length - end), self.appending,
                           &done)
        if code:
            self.cut_back(end, end + done)
        return code

    cdef int require_room(self, int64_t start, int64_t end) noexcept nogil:
        """ENOSPC where the filesystem says that it has no blocks for growing to `end`.

        ext4 gives a file all the blocks there are before it says that there are too few,
        and takes them back only when it is truncated: to the same size, which would cut
        what another process appends at that moment. So this is asked first. Blocks that
        the file has behind its end count; of a file with holes they cannot be told apart.
        """
        cdef file_stat status
        if fstat(self.fd, &status):
            return 0
        cdef int64_t needed = self.origin + end - max(self.origin + start, status.st_size)
        cdef int64_t behind = max(0, status.st_blocks * 512 - status.st_size)
        return ENOSPC if needed - behind > free_room(self.fd) else 0

    cdef int require_room_inside(self, int64_t length) noexcept nogil:
        """The same for holes: all blocks of the file may be in the range already."""
        cdef file_stat status
        if fstat(self.fd, &status):
            return 0
        return ENOSPC if length - status.st_blocks * 512 > free_room(self.fd) else 0

    cdef int have_blocks(self, int mode, int64_t start, int64_t length) noexcept nogil:
        """As `change_blocks`; EOPNOTSUPP for each way of being told that there is no way.

        EPERM may be a seal's, too: then what is done instead is refused as well.
        """
        cdef int code = self.change_blocks(mode, start, length)
        return EOPNOTSUPP if is_refused(code) else code

    cdef int change_blocks(self, int mode, int64_t start, int64_t length) noexcept nogil:
        cdef int code = EINTR
        while code == EINTR:
            code = code_of(fallocate(self.fd, mode, self.origin + start, length))
        return code

    cdef void cut_back(self, int64_t length, int64_t reached) noexcept nogil:
        """Take away what was written of a record, unless the file goes on behind it."""
        cdef file_stat status
        if (fstat(self.fd, &status) == 0
                and self.origin + length < status.st_size == self.origin + reached):
            set_size(self.fd, self.origin + length)

    def resize(self, size):
        """Set the file's size, so that the mapping has `size` bytes.

        Growing leaves what another process has appended beyond that, unseen yet;
        shrinking cuts the file, unseen bytes included. Growing never moves a byte: live
        views stay valid. New bytes are zeros.

        Parameters
        ----------
        size : int
            The new size, in bytes; 0 is allowed.

        Raises
        ------
        BufferError
            When the mapping would become smaller under live views.
        OSError
            When the file cannot get that size. It is then as it was.
        io.UnsupportedOperation
            When the mapping is read-only.
        ValueError
            When `size` is negative, or the mapping closed or of fixed size.

        Notes
        -----
        Whoever holds the mapping object itself instead of an export of it, as
        ``np.ndarray(buffer=m)`` does, is not known to be there. Its memory past the new
        end stays readable, as zeros, and is cut off from the file. So each shrinking
        after an export of the mapping itself (``memoryview(m)``, ``hashlib.sha256(m)``)
        keeps a range of addresses until the object is freed, of the 65530 a process may
        have; `view` exports without that.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(100)
        >>> view = memoryview(m)
        >>> m.resize(200)
        >>> m.size(), len(view)
        (200, 100)
        >>> m.resize(50)
        Traceback (most recent call last):
        BufferError: 'memfd:yammap' cannot become smaller: 1 of its views is alive
        """
        cdef int64_t length = as_offset(size, "size")
        self.require_growable()
        guard_is_in_force()
        if length >= self.length or not self.shrink(length):
            self.extend(NULL, length, 0)

    cdef bint shrink(self, int64_t length) except -1:
        """Cut the file; False when another thread has done so, and it must grow now."""
        cdef Region spare = self.new_region()
        cdef Py_ssize_t exports = 0
        cdef int code = CLOSED
        with self.mutex:
            self.stop_appends()
            if self.region is not None:
                if length > self.length:
                    return False
                with nogil:
                    code = self.make_exact()
                if code == 0:
                    code = self.cut(length, spare, &exports)
        if exports:
            raise BufferError(f"{self.name!r} cannot become smaller: {exports} of its "
                              f"views {'is' if exports == 1 else 'are'} alive")
        self.check(code)
        return True

    cdef int cut(self, int64_t length, Region spare, Py_ssize_t *exports) except -1:
        """Shorten the file, unless there are `exports`; returns an errno value.

        A region that was lent out is left to its unseen holders first, since it will
        have no file behind its tail. The views are counted after that, in one step with
        announcing the new size, so that none is made in between.
        """
        cdef Region region = self.region
        cdef Py_ssize_t old = self.length
        cdef int code = 0
        if region.lent:
            with nogil:
                code = self.map_region(old, spare)
            if code:
                return code
        with cython.critical_section(self):
            exports[0] = self.count_exports()
            if region.lent and spare.base == NULL:
                exports[0] += 1     # lent just now, by a thread that needs no GIL
            if exports[0] == 0:
                self.shrinks += 1
                self.length = length
        if exports[0]:
            return 0
        self.allocated = 0
        with nogil:
            code = set_size(self.fd, self.origin + length)
        if code:
            length = old
        self.adopt(spare, length)
        if region is not self.region:
            self.trim(region)
        for region in self.elders:
            self.blank(region, length)
        return code

    cdef Py_ssize_t count_exports(self) except -1:
        cdef Region region
        cdef Py_ssize_t exports = atomic_load(&self.region.exports)
        for region in self.elders:
            exports += atomic_load(&region.exports)
        return exports

    cdef void trim(self, Region region) noexcept nogil:
        """Give back what of a region's reserve no copy in flight can be in."""
        cdef size_t kept = round_up(max(self.origin % PAGE + region.reached, 1))
        if kept < region.span:
            region.resize(kept)

    cdef void blank(self, Region region, int64_t length) noexcept nogil:
        """Put zeros where a lent region has no file any more.

        A failure leaves the tail to the file, where touching it is a bus error.
        """
        cdef size_t kept = round_up(self.origin % PAGE + length)
        if region.lent and kept < region.blank_from:
            patch_resize(&region.watch, kept)
            if self.map_zeros(region.base + kept, region.blank_from - kept, self.prot):
                # Read-only zeros take nothing from what may be committed.
                self.map_zeros(region.base + kept, region.blank_from - kept, PROT_READ)
            region.blank_from = kept

    cdef bint map_zeros(self, char *start, size_t length, int prot) noexcept nogil:
        return mmap(start, length, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
                    | MAP_NORESERVE, -1, 0) == MAP_FAILED

    def allocate(self, offset=0, length=None):
        """Allocate disk blocks for a range, so that writing to it needs no more room.

        Holes become zeros that have a place on the disk (fallocate(2)); bytes stay.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        OSError
            When the disk is full, or the filesystem cannot do it.
        io.UnsupportedOperation
            When the mapping is read-only or copy-on-write.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import os, yammap
        >>> with yammap.open("holes.bin", "w+", size=1 << 20, preallocate=False) as m:
        ...     m.allocate(0, 1 << 16)
        ...     os.stat("holes.bin").st_blocks * 512 // 65536
        1
        """
        if not self.appending:
            self.require(PROT_WRITE)
        self.fallocate_range(0, offset, length)

    def punch_hole(self, offset=0, length=None):
        """Give the disk blocks of a range back; its bytes become zeros.

        The size stays, and views see the zeros (fallocate(2), ``PUNCH_HOLE``).

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        OSError
            When the filesystem cannot do it.
        io.UnsupportedOperation
            When the mapping is read-only, in append mode or copy-on-write.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(10_000)
        >>> m.write_at(b"secret", 5000)
        6
        >>> m.punch_hole(5000, 3)
        >>> m.pread(6, 5000)
        b'\\x00\\x00\\x00ret'
        """
        self.require_positional()
        self.fallocate_range(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)

    cdef int fallocate_range(self, int mode, object offset, object length) except -1:
        cdef int64_t start, count
        cdef int code = CLOSED
        self.select(offset, length, &start, &count)
        self.require_descriptor()
        if self.flags == MAP_PRIVATE:
            raise UnsupportedOperation(f"{self.name!r} is mapped copy-on-write")
        if count == 0:
            return 0
        with self.mutex:
            if self.fd != -1:
                with nogil:
                    code = self.require_room_inside(count) if mode == 0 else 0
                    code = code or self.change_blocks(mode, start, count)
        return self.check_call(code, "fallocate(2)")

    def refresh(self):
        """Take over the size that the file has now, changed perhaps by somebody else.

        Of a file that another mapping runs ahead (`ahead`) it is the size of the data.

        A file on an overlayfs (of a container) that was mapped for reading is another file
        once a writer has had it copied up from its layer. Reading shows the original until
        this is called, and views made before go on to.

        Returns
        -------
        int
            The size of the mapping, in bytes.

        Raises
        ------
        ValueError
            When the mapping is closed or of fixed size.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.create("shared.log", 10)
        >>> os.truncate("shared.log", 20)
        >>> m.size(), m.refresh(), m.size()
        (10, 20, 20)
        >>> m.close()
        """
        cdef Region spare = self.new_region()
        cdef int64_t end = 0, changed = 0
        cdef int code = CLOSED
        self.require_descriptor()
        guard_is_in_force()
        if not self.growable:
            raise ValueError(f"this mapping of {self.name!r} has a fixed size")
        with self.mutex:
            self.stop_appends()
            if self.region is not None:
                with nogil:
                    code = self.end_of_file(&end)
                    if code == 0:
                        end = max(0, end - self.origin)
                        changed = self.time_of_change()
                        if changed != self.changed:
                            code = self.map_region(end, spare)
                        else:
                            code = self.ensure_room(end, spare)
                if code == 0:
                    self.changed = changed
                    self.adopt(spare, end)
        self.check(code)
        return end

    def size(self):
        """Return the number of bytes in the mapping.

        Returns
        -------
        int
            The size in bytes, as of the last change through this object or `refresh`.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(4096).size()
        4096
        """
        self.current()
        return self.length

    # -- Pages

    def sync(self, offset=0, length=None, *, bint wait=True):
        """Write changed bytes to the disk.

        A file that runs `ahead` gets the size of its data first, unless `wait` is false.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.
        wait : bool, default True
            Return when the bytes are on the disk (msync(2) with ``MS_SYNC``). Else only
            start writing (sync_file_range(2); ``MS_ASYNC`` does nothing on Linux).

        Raises
        ------
        BusError
            When a view has touched what was not to be had, and bytes may be in memory only,
            or the file was cut short, and bytes of the range are not in it.
        OSError
            When the kernel reports that bytes could not be written. It says so once, and
            calls the lost pages clean: so from then on this raises, until `rewrite`.
        io.UnsupportedOperation
            When this needs the descriptor (`wait` is false), and it was let go.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.create("synced.bin", 10_000) as m:
        ...     count = m.write_at(b"precious", 5000)
        ...     m.sync(5000, count)
        """
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef int code = CLOSED
        guard_is_in_force()
        if self.flags == MAP_PRIVATE:
            return
        if wait and self.marker.size:
            self.make_exact_now()
        if wait and count and not self.unmapped:
            with nogil:
                code = sync_pages(pages)
        elif self.fd != -1 or not wait:
            self.require_descriptor()
            with self.mutex:
                if self.region is not None:
                    with nogil:
                        code = self.sync_descriptor(start, count, wait)
        else:
            code = 0    # nothing in the mapping, and no descriptor
        if wait and self.error_fd != -1:
            with self.mutex:
                if self.region is not None:
                    with nogil:
                        code = self.sync_watched(code)
        self.look_for_patches()     # a copy in their place was not written
        self._remember_failure(code)
        self.require_file(start, count)

    cdef int make_exact_now(self) except -1:
        cdef int code = CLOSED
        with self.mutex:
            self.stop_appends()
            if self.region is not None:
                with nogil:
                    code = self.make_exact()
        return self.check(code)

    cdef int require_file(self, int64_t start, int64_t count) except -1:
        """Raise where the file has no such bytes any more: they were not written either."""
        cdef file_stat status
        cdef int64_t end = -1
        with self.mutex:
            if self.fd != -1 and fstat(self.fd, &status) == 0:
                end = max(0, status.st_size - self.origin)
        if end != -1 and end < start + count:
            self.raise_bus_error(EFAULT, end, 0, True, self.cause_of(EFAULT, end))
        return 0

    def _remember_failure(self, int code):
        """Raise the first failure of a sync there has been, which may be this one."""
        if code > 0 and self.sync_failure == 0:
            self.sync_failure = code
        if self.sync_failure:
            reason = strerror(self.sync_failure).decode()
            raise OSError(self.sync_failure, f"{reason}: bytes written before may not be "
                          f"on the disk; rewrite() tries again", self.name)
        self.check(code)

    cdef int sync_descriptor(self, int64_t start, int64_t count, bint wait) noexcept nogil:
        """What msync(2) cannot do: start writing, and write an empty file's size."""
        if wait:
            return sync_file(self.fd)
        if count == 0:
            return 0    # to sync_file_range(2) it would mean all to the end
        return write_back(self.fd, self.origin + start, count, SYNC_FILE_RANGE_WRITE)

    def _rewrite(self, offset, length):
        """Mark pages as changed, and sync; a success for all of them ends a failure."""
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef fault_range ranges[2]
        cdef const void *fault
        self.require_positional()
        self.require_memory()
        self.require_descriptor()
        if not guard_is_in_force():
            raise UnsupportedOperation("without the guard this could kill the process")
        if self.flags == MAP_PRIVATE or count == 0:
            return
        ranges[0] = ranges[1] = fault_range(pages.start, pages.length)
        with nogil:
            fault = fault_call(touch_pages, ranges, ranges)
        if fault != NULL:
            self.raise_bus_error(EFAULT, <const char *> fault - region.data, 0, True,
                                 "the page cannot be written")
        if start == 0 and count == self.length:
            with self.mutex:
                if self.region is not None:
                    with nogil:
                        self.sync_watched(0)
            self.sync_failure = 0
        self.sync(start, count)

    def madvise(self, advice, offset=0, length=None):
        """Tell the kernel how a range will be used, as madvise(2).

        Parameters
        ----------
        advice : int
            One of the ``MADV_*`` constants. Those that throw data away are refused;
            ``MADV_DONTNEED`` does so only for copy-on-write mappings. ``MADV_DONTFORK``
            is for the whole mapping: a forked child has zeros there, and a closed mapping.
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        OSError
            When the kernel cannot follow the advice.
        ValueError
            When the advice is destructive or unknown, the range is not in the mapping,
            or the mapping is closed.

        Notes
        -----
        ``MADV_NORMAL``, ``MADV_RANDOM``, ``MADV_SEQUENTIAL``, ``MADV_HUGEPAGE`` and
        ``MADV_NOHUGEPAGE`` for the whole mapping hold for what it will grow by, too.
        ``MADV_HUGEPAGE`` gives huge pages on a tmpfs mounted with ``huge=advise`` and,
        where the kernel allows it, in anonymous mappings; files on disks are cached in
        large pieces without being asked. ``MADV_WIPEONFORK`` the kernel knows for anonymous
        memory only. Without a mapping (engine ``"pread"``) those that posix_fadvise(2)
        knows go to it.

        For what is refused there are methods: `discard` (``MADV_DONTNEED`` of
        copy-on-write mappings) and `punch_hole` (``MADV_REMOVE``). ``MADV_FREE`` is for
        private anonymous memory, which no mapping is.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(10_000)
        >>> m.madvise(yammap.MADV_RANDOM)
        >>> m.madvise(yammap.MADV_REMOVE)
        Traceback (most recent call last):
        ValueError: advice 9 is unknown, or destroys data
        """
        cdef int64_t start, count
        cdef int code = 0, number = as_code(advice, "advice")
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        if number not in HARMLESS and not (number == MADV_DONTNEED
                                           and self.flags == MAP_SHARED):
            raise ValueError(f"advice {number} is unknown, or destroys data")
        if self.unmapped:
            return self.advise_file(number, start, count)
        if number == MADV_DONTFORK or number == MADV_DOFORK:
            return self.advise_fork(number, start == 0 and count == self.length)
        if number in LASTING + LASTING_FOR_PAGES and start == 0 and length is None:
            return self.advise_whole(number)
        if pages.length:
            with nogil:
                code = code_of(madvise(pages.start, pages.length, number))
        region.renew()      # its pages may be gone from memory
        self.check_call(code, "madvise(2)")

    cdef object advise_whole(self, int advice):
        """Of the reserve, too.

        Under the mutex, since a truncation unmaps a part of the reserve, and the addresses
        may then be somebody else's.
        """
        cdef int code = CLOSED
        with self.mutex:
            if self.region is not None:
                if advice in LASTING:
                    self.advice = advice
                else:
                    self.page_advice = advice
                with nogil:
                    code = code_of(madvise(self.region.base, self.region.span, advice))
                self.region.renew()
        self.check(code)

    cdef object advise_file(self, int advice, int64_t start, int64_t count):
        cdef int code = CLOSED
        if advice > POSIX_FADV_DONTNEED:
            self.require_memory()
        with self.mutex:
            if self.region is not None:
                with nogil:
                    code = posix_fadvise(self.fd, self.origin + start, count, advice)
        self.check(code)

    cdef object advise_fork(self, int advice, bint whole):
        """Of all regions, and those to come.

        The kernel unmaps the addresses in the child, where views and regions still have
        them; so zeros are put there at once (_sigbus/patch.c): nothing is unmapped twice.
        """
        cdef Region region
        cdef int code = CLOSED
        if not whole:
            raise ValueError("MADV_DONTFORK and MADV_DOFORK are for the whole mapping")
        with self.mutex:
            if self.region is not None:
                self.fork_advice = advice
                code = advise_fork_of(self.region, advice)
                for region in self.elders:
                    code = code or advise_fork_of(region, advice)
        self.check(code)

    def _hint(self, offset, length):
        """Have a range read from the disk, without waiting for it.

        In pieces: of a longer range the kernel reads only as much as its readahead is.
        """
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef int code = 0
        self.require_memory()
        if count:
            with nogil:
                code = hint_pages(pages)
        self.check(code)

    def _drop(self, offset, length, *, bint write=False):
        """Let go of the whole pages in a range: of memory, and of the page cache.

        No byte is lost. What stays is dirty, locked, mapped by others, or part of a large
        folio that is not all in the range. With `write`, dirty pages are written before,
        those of other mappings and descriptors too, which msync(2) of ours may not do.
        """
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef int64_t lead = self.origin % PAGE
        cdef int64_t first = round_up(lead + start), last = lead + start + count
        cdef int code = CLOSED
        if start == 0:
            first = 0       # a page that only the mapping's own edge cuts is whole
        last = round_up(last) if start + count == self.length else last // PAGE * PAGE
        with self.mutex:
            if self.region is not None:
                for region in self.elders:
                    self.unload(region, first, last)
                self.unload(self.region, first, last)
                with nogil:
                    code = self.uncache(self.origin - lead + first, last - first, write)
        if write:
            self._remember_failure(code)
        self.check(code)

    cdef int uncache(self, int64_t offset, int64_t length, bint write) noexcept nogil:
        """Empty the page cache of a range of the file; returns why it cannot be written."""
        cdef int code = 0
        if self.fd != -1 and length > 0:
            if write:
                code = write_back(self.fd, offset, length, WRITE_AND_WAIT)
            posix_fadvise(self.fd, offset, length, POSIX_FADV_DONTNEED)
        return code

    cdef int unload(self, Region region, int64_t first, int64_t last) except -1:
        """Take a region's page table entries away, from offset `first` in it to `last`."""
        cdef int64_t end = round_up(self.origin % PAGE + region.reached)
        last = min(last, min(end, <int64_t> region.blank_from))
        if region.base != NULL and last > first:
            with nogil:
                self.unload_pages(region.base + first, last - first)
            region.renew()
        return 0

    cdef void unload_pages(self, char *start, int64_t length) noexcept nogil:
        """Around locked pages, which end the whole call.

        By reclaim where a page has changes of ours, which MADV_DONTNEED would throw away,
        or where there is no descriptor to empty the page cache by.
        """
        cdef bint reclaims = self.flags == MAP_PRIVATE or self.fd == -1
        cdef int64_t half = length // PAGE // 2 * PAGE
        if madvise(start, length, MADV_PAGEOUT if reclaims else MADV_DONTNEED) == 0:
            return
        if errno == EINVAL and half:
            self.unload_pages(start, half)
            self.unload_pages(start + half, length - half)

    def _range(self, offset, length):
        """The start and the number of bytes of a method's arguments, validated."""
        cdef int64_t start, count
        self.select(offset, length, &start, &count)
        return start, count

    def _send(self, int64_t offset, int64_t length, int sink):
        """Send bytes to the descriptor `sink`, which brings them into the page cache.

        Returns how many were sent: 0 where they cannot be read so, and a copy of them
        tells why. POSIX_FADV_WILLNEED would not be faster, and its pages would be small
        ones: only what is read in sequence comes in folios that fill a huge page.
        """
        cdef int64_t position = self.origin + offset
        cdef Py_ssize_t sent = 0
        with self.mutex:
            if self.fd != -1:
                with nogil:
                    sent = sendfile(sink, self.fd, &position, length)
        return max(sent, 0)

    def _mincore(self, offset, length):
        """One byte a page: 1 when it is in memory, as mincore(2) tells, else 0."""
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef size_t i, size = pages.length // PAGE if count else 0
        cdef int code
        self.require_memory()
        result = PyByteArray_FromStringAndSize(NULL, size)
        cdef unsigned char *vector = <unsigned char *> PyByteArray_AS_STRING(result)
        with nogil:
            code = code_of(mincore(pages.start, size * PAGE, vector))
            for i in range(size):
                vector[i] &= 1
        self.check_call(code, "mincore(2)")
        return result

    def _cachestat(self, offset, length):
        """How many pages of a range are in the page cache, as cachestat(2) tells."""
        cdef int64_t start, count
        cdef cachestat_range range
        cdef cachestat found
        cdef int code = CLOSED
        self.select(offset, length, &start, &count)
        self.require_descriptor()
        if count == 0:
            return 0        # to cachestat(2) it would mean all to the end
        range.off, range.len = self.origin + start, count
        with self.mutex:
            if self.region is not None:
                with nogil:
                    code = code_of(syscall(SYS_cachestat, self.fd, &range, &found, 0))
        self.check_call(code, "cachestat(2)")
        return found.nr_cache

    def _populate(self, offset, length, bint write):
        """Have page table entries for a range; what cannot be had is a BusError."""
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef Py_ssize_t shrinks = self.shrinks
        cdef int code = 0
        self.require_memory()
        if write:
            self.require(PROT_WRITE)
        if count == 0:
            return
        with nogil:
            code = code_of(madvise(pages.start, pages.length,
                                   MADV_POPULATE_WRITE if write else MADV_POPULATE_READ))
        # Linux before 5.14 knows no such advice, nor do sandboxes.
        if code == EFAULT or code == EINVAL or is_refused(code):
            code = self.find_fault(region, pages, start, write, shrinks)
        self.check(code)

    cdef int find_fault(self, Region region, Pages pages, int64_t start, bint write,
                        Py_ssize_t shrinks) except -1:
        """Touch pages until one faults, which madvise(2) does not tell; or all of them."""
        cdef fault_range ranges[2]
        cdef const void *fault
        cdef int64_t end = -1
        cdef int code = EFAULT
        cdef char byte
        ranges[0] = ranges[1] = fault_range(pages.start, pages.length)
        if not guard_is_in_force():
            return EFAULT
        with nogil:
            fault = fault_call(touch_pages if write else look_at_pages, ranges, ranges)
        if fault == NULL:
            return 0        # they are there by now
        start = max(start, <const char *> fault - region.data)
        if self.carry(<char *> fault, &byte, start, 1, False, shrinks, &end, &code):
            code = ENOSPC   # the file has the byte, but there is no room for the page
        if code == EAGAIN:
            return 0        # a truncation of ours took it
        self.raise_bus_error(code, start, 0, write, self.cause_of(code, end))

    def discard(self, offset=0, length=None):
        """Throw away what was changed in a copy-on-write mapping.

        The range has the file's bytes again, and all others keep theirs: whole pages are
        given back (madvise(2), ``MADV_DONTNEED``), and where a page is only partly in the
        range, its part is read from the file. Views see it at once.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read at an edge of the range.
        OSError
            When pages are locked (``EINVAL``), or the file cannot be read; a part of the
            range may have been discarded.
        io.UnsupportedOperation
            When the mapping is not copy-on-write, or the range ends inside a page and the
            descriptor was let go.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        See Also
        --------
        punch_hole : Makes bytes of a shared mapping zeros, as ``MADV_REMOVE`` does.

        Examples
        --------
        >>> import yammap
        >>> with yammap.open("original.txt", "w+") as m:
        ...     m.write(b"original")
        8
        >>> m = yammap.open("original.txt", "c")
        >>> m.write(b"ORIGINAL")
        8
        >>> m.discard(2, 3)
        >>> m.pread(8, 0)
        b'ORigiNAL'
        >>> m.close()
        """
        cdef int64_t start, count, first, last
        cdef Region region = self.select(offset, length, &start, &count)
        cdef int64_t lead = self.origin % PAGE
        cdef int code = 0
        if self.flags != MAP_PRIVATE:
            raise UnsupportedOperation(f"{self.name!r} is not mapped copy-on-write, and "
                                       f"has no changes of its own")
        first = round_up(lead + start) - lead
        last = (lead + start + count) // PAGE * PAGE - lead
        if start + count == self.length:
            last = round_up(lead + self.length) - lead
        self.restore(start, min(first, start + count))
        self.restore(max(start, max(first, last)), start + count)
        if last > first:
            with nogil:
                code = code_of(madvise(region.data + first, last - first, MADV_DONTNEED))
        region.renew()
        self.check(code)

    cdef Py_ssize_t restore(self, int64_t start, int64_t end) except -1:
        """Overwrite less than a page of memory with the file's bytes."""
        cdef Py_ssize_t count = 0
        cdef int code = CLOSED
        if start >= end:
            return 0
        self.require_descriptor()
        self.require_file(start, end - start)
        original = PyBytes_FromStringAndSize(NULL, end - start)
        cdef char *buffer = PyBytes_AS_STRING(original)
        with self.mutex:
            if self.region is not None:
                with nogil:
                    count = pread(self.fd, buffer, end - start, self.origin + start)
                    code = code_of(count)
        self.check(code)
        return self.transfer(buffer, start, count, True)

    def lock(self, offset=0, length=None):
        """Keep a range in memory, as mlock(2).

        That holds for the pages the range has now, not for those it will grow by, and until
        `unlock`, or until the mapping and all its views are gone.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        OSError
            When the pages cannot be had, or ``RLIMIT_MEMLOCK`` does not allow so many.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(4096)
        >>> m.lock()
        >>> m.unlock()
        """
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef int code = 0
        self.require_memory()
        if count:
            with nogil:
                code = code_of(mlock(pages.start, pages.length))
        self.check(code, True)

    def unlock(self, offset=0, length=None):
        """Undo `lock`, as munlock(2).

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(4096).unlock()
        """
        cdef int64_t start, count
        cdef Region region = self.select(offset, length, &start, &count)
        cdef Pages pages = pages_of(region.data, start, count)
        cdef int code = 0
        self.require_memory()
        if count:
            with nogil:
                code = code_of(munlock(pages.start, pages.length))
        self.check(code)

    # -- Handing out and letting go

    def _hold(self, bint writing):
        """The memory as it is for `Hold.renew`, for copies made elsewhere."""
        cdef Hold hold = Hold.__new__(Hold)
        if writing:
            self.require_positional()
        hold.mapping = self
        return hold

    def view(self, offset=0, length=None):
        """Return a range as a memoryview, without a copy.

        Unlike ``memoryview(m)``, which does the same for the whole mapping, the view is
        all that keeps the memory: once it and its children are gone, a closed mapping
        is unmapped.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes.
        length : int, optional
            Number of bytes; by default all to the end.

        Returns
        -------
        memoryview
            Of format ``"B"``; writable when the mapping is. It outlives `close`.

        Raises
        ------
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(100)
        >>> m.view(10, 3)[:] = b"abc"
        >>> m.pread(5, 9)
        b'\\x00abc\\x00'
        """
        cdef int64_t start, count
        cdef Py_ssize_t size
        cdef View view = View.__new__(View)
        self.convert(offset, length, &start, &count)
        view.region = self.counted(&size, False)
        self.fit(start, &count, size)
        view.start = view.region.data + start
        view.length = count
        view.readonly = self.is_readonly()
        return PyMemoryView_FromObject(view)

    def __getbuffer__(self, Py_buffer *info, int flags):
        cdef Py_ssize_t length
        cdef Region region = self.counted(&length, True)
        export(info, flags, region, region.data, length, self.is_readonly())

    def __releasebuffer__(self, Py_buffer *info):
        # Never called, since exports belong to their region. But np.frombuffer() holds on
        # to its export only where this exists, and so can be counted.
        pass

    @property
    def private(self):
        """bool: changes stay in memory and never reach the file (copy on write)."""
        return self.flags == MAP_PRIVATE

    @property
    def engine(self):
        """str: ``"mmap"``, or ``"pread"`` where nothing is mapped."""
        return "pread" if self.unmapped else "mmap"

    @property
    def readonly(self):
        """bool: the memory cannot be written, and so neither can views."""
        return self.is_readonly()

    cdef bint is_readonly(self) noexcept nogil:
        return not self.prot & PROT_WRITE

    @property
    def closed(self):
        """bool: `close` was called."""
        return self.region is None

    def fileno(self):
        """Return the descriptor of the file, which the mapping keeps open.

        Returns
        -------
        int
            The descriptor.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import os, yammap
        >>> with yammap.create("described.bin", 10) as m:
        ...     os.fstat(m.fileno()).st_size
        10
        """
        self.require_descriptor()
        return self.fd

    def lseek(self, offset, whence):
        """Return where data or a hole begins, as lseek(2).

        Parameters
        ----------
        offset : int
            Where to begin looking, in bytes.
        whence : int
            ``SEEK_DATA`` or ``SEEK_HOLE``.

        Returns
        -------
        int
            The position, at most the size of the mapping.

        Raises
        ------
        OSError
            When there is no data after `offset`.
        ValueError
            When `offset` is negative, `whence` is something else, or the mapping is
            closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.open("holes.bin", "w+", size=1 << 20, preallocate=False)
        >>> m.write_at(b"data", 1 << 19)
        4
        >>> m.lseek(0, yammap.SEEK_DATA) == 1 << 19
        True
        >>> m.close()
        """
        cdef int64_t start = as_offset(offset, "offset"), found = 0
        cdef int code = CLOSED, what = as_code(whence, "whence")
        if what != SEEK_DATA and what != SEEK_HOLE:
            raise ValueError(f"whence must be SEEK_DATA or SEEK_HOLE, not {whence!r}")
        self.require_descriptor()
        with self.mutex:
            if self.region is not None:
                with nogil:
                    start = min(start, INT64_MAX - self.origin)
                    code = self.look_for(what, self.origin + start, &found)
        self.check(code)
        return min(found - self.origin, self.length)

    cdef int look_for(self, int whence, int64_t offset, int64_t *found) noexcept nogil:
        """The descriptor's own offset stays: somebody may share it."""
        cdef int64_t before = lseek(self.fd, 0, SEEK_CUR)
        found[0] = lseek(self.fd, offset, whence)
        cdef int code = errno if found[0] == -1 else 0
        lseek(self.fd, before, SEEK_SET)
        return code

    def close(self, *, bint revoke=False):
        """Let go of the file and the memory. Closing twice does nothing.

        Views and copies in flight keep their memory until they are gone.

        Parameters
        ----------
        revoke : bool, default False
            Take the memory from the views, too, so that the file's blocks can be freed now:
            they read zeros from then on, and what is stored into them is lost.

        Raises
        ------
        BusError
            When a view has touched what was not to be had, and bytes may be in memory only.
        OSError
            When the kernel reports an error at closing. The mapping is closed in any case.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> m = yammap.anonymous(4)
        >>> a = np.frombuffer(m, np.uint8)
        >>> m.close()
        >>> a
        array([0, 0, 0, 0], dtype=uint8)
        """
        cdef Region region
        cdef int code = 0, ahead_code = 0
        cdef list regions = self.regions()
        with self.mutex:
            self.stop_appends()
            with nogil:
                ahead_code = self.stop_ahead()
            with cython.critical_section(self):
                region, self.region = self.region, None
                self.shrinks += 1
            if region is not None:
                self.elders.append(region)
            for region in self.elders:
                region.let_go_of_file()
                if revoke and code == 0:
                    code = self.revoke(region)
            self.forget_elders(True)
            if self.fd != -1:
                with nogil:
                    code = code_of(close(self.fd)) or code or ahead_code
                self.fd = -1
            if self.error_fd != -1:
                close(self.error_fd)
                self.error_fd = -1
        if regions:
            faults = self.faults_in(regions)
            with cython.critical_section(self):
                self.last_faults = faults
            raise_patch(regions)
        self.check(code)

    cdef int revoke(self, Region region) noexcept nogil:
        if region.base == NULL:
            return 0
        patch_resize(&region.watch, 0)
        return code_of(-self.map_zeros(region.base, region.span, self.prot))

    cdef list lent_regions(self):
        """Those of a closed mapping as well, which their holders keep."""
        cdef list found = []    # made first, as in `regions`
        with cython.critical_section(self):
            found.extend(self.elders)
            if self.region is not None:
                found.append(self.region)
        return found

    def _locate(self, uintptr_t address):
        """As that of the region: who took its export unseen holds the mapping itself."""
        cdef Region region
        for region in self.lent_regions():
            if address - <uintptr_t> region.base < region.span:
                return region._locate(address)
        raise ValueError(f"address {address:#x} is not in the mapping of {self.name!r}")


cdef int64_t as_size(object value) except? -2:
    """How many bytes to read: -1 for all, as for None and negative numbers."""
    return -1 if value is None else max(-1, PyNumber_AsSsize_t(value, NULL))


@cython.auto_pickle(False)
cdef class Positioned(Mapping):
    """A mapping with a position, at which files read and write.

    A method moves the bytes and then the position, and runs no Python code in between: so
    an exception of a signal handler comes before both or after both. And what is at the
    position is what the file has there now, as read(2) and write(2) have it, though others
    may have cut it or written behind its end.
    """
    cdef readonly object _serial        # a lock: the kernel, too, serialises offsets
    cdef readonly int64_t _position
    cdef readonly bint _descriptor_is_out       # so its offset is the position

    def __cinit__(self):
        # Reentrant, since a signal handler may use the file its own thread is using.
        self._serial = threading.RLock()

    def _after_fork(self):
        self._serial = threading.RLock()
        Mapping._after_fork(self)

    def fileno(self):
        """Return the descriptor of the file, which the mapping keeps open.

        From then on the position is the offset of the descriptor, as that of a file is. So
        whoever reads or writes there goes on where `read` and `write` were, and they go on
        behind him. What he has added to the file is seen by the next `seek`, `truncate` or
        `refresh`. In append mode `append` moves it to the end, too.

        Returns
        -------
        int
            The descriptor.

        Raises
        ------
        io.UnsupportedOperation
            When the descriptor shows other bytes than the mapping: copy on write, in a
            window that does not begin where the file does, and with `ahead`.
            ``Mapping.fileno(m)`` returns it nevertheless.
        ValueError
            When the mapping is closed, or has not kept its descriptor.

        Examples
        --------
        >>> import os, yammap
        >>> m = yammap.open("shared.txt", "w+")
        >>> m.write(b"by the mapping, "), os.write(m.fileno(), b"around it, ")
        (16, 11)
        >>> m.write(b"and by it"), m.pread(50, 0)
        (9, b'by the mapping, around it, and by it')
        >>> m.close()
        """
        with self._serial:
            self.require_descriptor()
            self._watch_errors()    # which os.fsync(fd) takes
            if self.origin or self.flags == MAP_PRIVATE or self.runs_ahead():
                raise UnsupportedOperation(
                    f"the descriptor of {self.name!r} shows other bytes than the mapping, "
                    f"which is {self.kind()}")
            if not self._descriptor_is_out:
                self.seek_descriptor(self._position, SEEK_SET)
                self._descriptor_is_out = True
            return self.fd

    cdef bint runs_ahead(self) noexcept:
        return self.ahead_fd != -1 or self.inherited

    cdef str kind(self):
        if self.runs_ahead():
            return "of a file that runs ahead of its data"
        if self.flags == MAP_PRIVATE:
            return "copy on write"
        return f"a window from offset {self.origin}"

    cdef int64_t seek_descriptor(self, int64_t offset, int whence) except -1:
        """Move the offset of the descriptor, and return it.

        Under the mutex: who appends reads off it where the record landed, and the
        descriptor's number may be another file's when the mapping is closed.
        """
        cdef int64_t found = 0
        cdef int code = CLOSED
        self.require_descriptor()
        with self.mutex:
            if self.region is not None:
                found = lseek(self.fd, offset, whence)
                code = errno if found == -1 else 0
        self.check(code)
        return found

    cdef int follow(self) except -1:
        """Take the position from the descriptor, which others may have moved."""
        if self._descriptor_is_out:
            self._position = self.seek_descriptor(0, SEEK_CUR)
        return 0

    cdef int move_to(self, int64_t position) except -1:
        self._position = position
        if self._descriptor_is_out:
            self.seek_descriptor(position, SEEK_SET)
        return 0

    cdef bint catch_up(self) except -1:
        """Take over the size that the file has now; tell whether the mapping's changed.

        That of a window, of a copy on write and without a descriptor is fixed.
        """
        cdef Py_ssize_t before = self.length
        if self.growable and not self.windowed and self.is_outdated():
            Mapping.refresh(self)
        return self.length != before

    cdef bint is_outdated(self) except -1:
        cdef file_stat status
        cdef bint outdated = False
        with self.mutex:
            if self.region is not None:
                with nogil:
                    outdated = (fstat(self.fd, &status) == -1
                                or status.st_size != self.file_size)
        return outdated

    def tell(self):
        """Return the position of the next `read` or `write`.

        Returns
        -------
        int
            The position, in bytes.

        Raises
        ------
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(10).tell()
        0
        """
        self.current()
        self.follow()
        return self._position

    def seek(self, offset, whence=0, /):
        """Move the position, even past the end: there `read` finds nothing yet.

        Parameters
        ----------
        offset : int
            Bytes from where `whence` says.
        whence : int, default SEEK_SET
            ``SEEK_SET`` start, ``SEEK_CUR`` position, ``SEEK_END`` end; ``SEEK_DATA``
            and ``SEEK_HOLE`` the next data or hole at or after `offset`, as lseek(2).

        Returns
        -------
        int
            The new position.

        Raises
        ------
        OSError
            When there is no data or hole after `offset`.
        io.UnsupportedOperation
            When the position would lie before the start: an `OSError` (``EINVAL``), as of
            files, and a `ValueError`, as of `io.BytesIO`.
        ValueError
            When `whence` is unknown, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(100)
        >>> m.seek(-10, yammap.SEEK_END)
        90
        """
        cdef int what = as_code(whence, "whence")
        offset = operator.index(offset)
        with self._serial:
            self.follow()
            position = self.sought(offset, what)
            if position < 0:
                reason = f"position {position} is before the start of {self.name!r}"
                raise UnsupportedOperation(EINVAL, reason)
            self.move_to(as_offset(position, "position"))
            return position

    def _seek_within(self, offset, int whence):
        """Move the position, and not beyond the end."""
        with self._serial:
            position = self.sought(offset, whence)
            if not 0 <= position <= self.length:
                raise ValueError("seek out of range")
            self.move_to(position)
            return position

    cdef object sought(self, object offset, int whence):
        self.current()
        if whence == SEEK_SET:
            return offset
        if whence == SEEK_CUR:
            return self._position + offset
        if whence == SEEK_END:
            self.catch_up()
            return self.length + offset
        if whence == SEEK_DATA or whence == SEEK_HOLE:
            return self.lseek(offset, whence)
        raise ValueError(f"whence must be one of SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, "
                         f"SEEK_HOLE, not {whence}")

    # -- Reading

    def read(self, size=-1, /):
        """Read up to `size` bytes from the position, and move it.

        Parameters
        ----------
        size : int or None, default -1
            Number of bytes; all to the end when negative or None.

        Returns
        -------
        bytes
            The bytes; empty at the end.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read. The position stays.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> len(yammap.anonymous(10).read(4))
        4
        """
        cdef int64_t count = as_size(size)
        with self._serial:
            self.follow()
            return self.read_here(self._position, count)

    cdef bytes read_here(self, int64_t start, int64_t size):
        cdef int64_t length = self.at_hand(start, size)
        cdef bytes data = PyBytes_FromStringAndSize(NULL, length)
        cdef int64_t count = self.fetch(PyBytes_AS_STRING(data), start, length)
        if count < length:
            data = data[:count]
        self.move_to(start + count)
        return data

    cdef int64_t at_hand(self, int64_t start, int64_t size) except -1:
        """How many of `size` bytes (-1: of all) from `start` on there are in the file.

        Only who comes to the known end asks the file, since that is a system call.
        """
        self.current()
        size = INT64_MAX if size == -1 else size
        if size >= self.length - start:
            self.catch_up()
        return clip(start, size, self.length)

    cdef Py_ssize_t fetch(self, char *target, int64_t start, int64_t count) except -1:
        """Copy what there is, also of a file that was cut: only a fault may tell."""
        while True:
            try:
                return self.transfer(target, start, count, False)
            except BusError:
                if not self.catch_up():
                    raise

    def readinto(self, buffer, /):
        """Read into `buffer` as much as there is, and move the position.

        Parameters
        ----------
        buffer : buffer
            Writable, C-contiguous.

        Returns
        -------
        int
            Bytes read; 0 at the end.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read. The position stays.
        TypeError
            When `buffer` is read-only or not contiguous.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(3).readinto(bytearray(10))
        3
        """
        cdef Py_buffer target
        cdef int64_t start
        cdef Py_ssize_t count
        get_target(buffer, &target)
        try:
            with self._serial:
                self.follow()
                start = self._position
                count = self.at_hand(start, target.len)
                count = self.fetch(<char *> target.buf, start, count)
                self.move_to(start + count)
        finally:
            PyBuffer_Release(&target)
        return count

    def readline(self, size=-1, /):
        """Read up to and with the next ``b"\\n"``, at most `size` bytes.

        Parameters
        ----------
        size : int or None, default -1
            Most bytes to read; no limit when negative or None.

        Returns
        -------
        bytes
            The line; empty at the end.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read. The position stays.
        ValueError
            When the mapping is closed.

        Notes
        -----
        To go through many lines, `io.BufferedReader` over the mapping is faster.

        Examples
        --------
        >>> import yammap
        >>> with yammap.open("two.txt", "w+") as m:
        ...     m.write(b"first\\nsecond")
        ...     m.seek(0)
        ...     m.readline()
        12
        0
        b'first\\n'
        """
        cdef int64_t start, count = as_size(size)
        with self._serial:
            self.follow()
            start = self._position      # handlers run in the search, and may move it
            return self.read_here(start, self.length_of_line(start, count))

    cdef int64_t length_of_line(self, int64_t start, int64_t size) except -1:
        """Where the line ends that begins at `start`, at most `size` bytes (-1: any)."""
        cdef Py_buffer newline
        cdef int64_t length, found = -1
        newline.buf, newline.len = b"\n", 1
        size = INT64_MAX if size == -1 else size
        while found == -1:
            self.current()
            length = clip(start, size, self.length)
            try:
                found = self.search_from(&newline, start, start + length, False)
            except BusError:
                if not self.catch_up():
                    raise
                continue
            if found == -1 and (length == size or not self.catch_up()):
                return length
        return found + 1 - start

    # -- Writing

    def write(self, data, /):
        """Write all of `data` at the position, and move it; the file grows as it must.

        In append mode the bytes go to the end, whatever the position was.

        Parameters
        ----------
        data : buffer
            C-contiguous bytes.

        Returns
        -------
        int
            The length of `data` in bytes.

        Raises
        ------
        BusError
            When the file was cut short, or the disk is full or bad.
        OSError
            When the file cannot grow. Its size and bytes are then as they were.
        io.UnsupportedOperation
            When the mapping is read-only.
        TypeError
            When `data` is not a buffer.
        ValueError
            When a mapping of fixed size would have to grow, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(0)
        >>> m.write(b"grows"), m.tell(), m.size()
        (5, 5, 5)
        """
        cdef Py_buffer source
        cdef Py_ssize_t length
        get_source(data, &source)
        length = source.len
        try:
            with self._serial:
                self.follow()
                if self.appending:
                    self.write_at_end(<const char *> source.buf, length)
                else:
                    self.write_here(<char *> source.buf, length)
        finally:
            PyBuffer_Release(&source)
        return length

    def _write_within(self, data, str what):
        """Write all of `data` at the position, if it does not reach beyond the end."""
        cdef Py_buffer source
        cdef Py_ssize_t length
        get_source(data, &source)
        length = source.len
        try:
            with self._serial:
                self.current()
                if length > self.length - self._position:
                    raise ValueError(f"{what} out of range")
                self.write_here(<char *> source.buf, length)
        finally:
            PyBuffer_Release(&source)
        return length

    cdef int write_at_end(self, const char *source, int64_t length) except -1:
        """As write(2) with O_APPEND, which stays where it is for nothing."""
        cdef int64_t start = self.extend_at_end(source, length)
        return self.move_to(start + length) if length else 0

    cdef int write_here(self, char *source, int64_t length) except -1:
        """Write as write(2), which makes a file long enough that was cut.

        A cut inside the last page is no fault, and what was stored behind it is in memory
        only. So the size is looked at after each write, and who writes knows it landed.
        """
        cdef int64_t start = self._position
        self.require_positional()
        while True:
            try:
                self.store(source, start, length)
                if not self.catch_up() or clip(start, length, self.length) == length:
                    return self.move_to(start + length)
            except BusError as error:
                if not self.catch_up():
                    self.move_to(start + error.count)
                    raise

    def truncate(self, size=None, /):
        """Set the size of the file. The position stays, even past the end.

        Parameters
        ----------
        size : int, optional
            The new size, in bytes; by default the position.

        Returns
        -------
        int
            The new size.

        Raises
        ------
        BufferError
            When the mapping would become smaller under live views.
        OSError
            When the file cannot get that size. It is then as it was.
        io.UnsupportedOperation
            When the mapping is read-only.
        ValueError
            When `size` is negative, or the mapping closed or of fixed size.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(100)
        >>> m.truncate(0), m.size()
        (0, 0)
        """
        with self._serial:
            self.follow()
            if size is None:
                size = self._position
            self.catch_up()     # what others have written behind is to be cut off, too
            self.resize(size)
            return size


@cython.final
@cython.auto_pickle(False)
cdef class Guard:
    """What `Mapping.guard` returns. In C, so that no exception comes between its steps."""
    cdef Mapping mapping        # None for a region alone
    cdef list regions           # which the mapping may have closed at the end

    def __enter__(self):
        if self.mapping is None:
            raise_patch(self.regions)
            return None
        self.mapping.current()
        self.regions = self.mapping.regions()
        return self.mapping

    def __exit__(self, kind, error, traceback):
        if kind is None:
            now = None if self.mapping is None else self.mapping.regions()
            raise_patch(now or self.regions)
        return False


cdef Guard new_guard(Mapping mapping, list regions):
    cdef Guard guard = Guard.__new__(Guard)
    guard.mapping, guard.regions = mapping, regions
    return guard


@cython.final
@cython.auto_pickle(False)
cdef class Hold:
    cdef int renew(self) except -1:
        cdef Mapping mapping = self.mapping
        cdef Region region
        self.total = load_total(&patch_total)
        region = mapping.snapshot(&self.length, &self.shrinks)
        self.region = region
        self.data = region.data
        return 0

    cdef bint is_guarded(self) noexcept nogil:
        """Whether the memory may be touched, by `call`; else there is `transfer`."""
        return not (<Mapping> self.mapping).unmapped and fault_in_force(tick())

    cdef const void *call(self, void (*function)(void *) noexcept nogil, void *argument,
                          const fault_range *ranges) noexcept nogil:
        return fault_call(function, argument, ranges)

    cdef bint overtaken(self) except -1:
        cdef Mapping mapping = self.mapping
        atomic_thread_fence(memory_order_acquire)
        if self.shrinks != mapping.shrinks:
            return True
        if load_total(&patch_total) == self.total:
            return False
        mapping.look_for_patches()
        return (<Region> self.region).watch.heals != 0

    cdef Py_ssize_t transfer(self, char *buffer, int64_t offset, int64_t length,
                             bint writing) except -1:
        return (<Mapping> self.mapping).transfer(buffer, offset, length, writing)


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
make_private(Hold)

# Its users know it as yammap.Mapping, and should not learn from a traceback or from help()
# which file it is in. A static type's module is a part of its name: only C can change it.
(<PyTypeObject *> Mapping).tp_name = "yammap.Mapping"
