"""What the package's other extension modules may use of the core."""

from libc.stdint cimport int64_t, uint64_t


cdef extern from "_sigbus/fault.h":
    struct fault_range:
        const void *start
        size_t length


cdef class PinnedMemory:
    """A mapping's memory, for copies that another module makes without the GIL.

    `renew` it before each, make the copy by `call`, and then ask whether it `must_retry`:
    if so it was no copy, and is to be made again.
    """
    cdef object mapping
    cdef object region          # its reference keeps the memory
    cdef char *data
    cdef Py_ssize_t length      # bytes of the mapping at `data`
    cdef Py_ssize_t truncations
    cdef unsigned long patch_total
    cdef uint64_t tick          # when it was renewed

    cdef int renew(self) except -1
    cdef bint is_guarded(self) noexcept nogil
    cdef bint is_hot(self, int64_t offset, int64_t length) noexcept nogil
    cdef void set_hot(self, int64_t offset, int64_t length) noexcept nogil
    cdef const void *call(self, void (*function)(void *) noexcept nogil, void *argument,
                          const fault_range *ranges) noexcept nogil
    cdef bint must_retry(self) except -1
    cdef Py_ssize_t copy(self, char *buffer, int64_t offset, int64_t length,
                         bint writing) except -1
    cdef bint is_file_memory(self) noexcept
    cdef bint is_writable(self) noexcept
    cdef int64_t origin(self) noexcept nogil
    cdef int open_to_read(self, int flags) except -2
    cdef object kept(self)
    cdef object keep(self, object made)


cdef PinnedMemory pin(mapping, bint writing)
cdef int make_private(type kind) except -1
