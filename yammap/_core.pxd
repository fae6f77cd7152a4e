"""What the package's other extension modules may use of the core."""

from libc.stdint cimport int64_t


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

    cdef int renew(self) except -1
    cdef bint is_guarded(self) noexcept nogil
    cdef const void *call(self, void (*function)(void *) noexcept nogil, void *argument,
                          const fault_range *ranges) noexcept nogil
    cdef bint must_retry(self) except -1
    cdef Py_ssize_t transfer(self, char *buffer, int64_t offset, int64_t length,
                             bint writing) except -1
