# Numbers that callers pass: integers in an array, lengths, and a number of something.
#
# Knows buffers. It must not know what the numbers are for.

cdef extern from "Python.h":
    object PyNumber_Index(object value)
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1


cdef struct Lengths:
    int64_t count, least, longest
    double total


cdef void add_up(const int64_t *lengths, int64_t *starts, Lengths *found) noexcept nogil:
    """Where each record begins; all in one look, since another thread may change them."""
    cdef int64_t i, length
    cdef uint64_t start = 0     # which wraps, where `total` is too much
    starts[0] = found.least = found.longest = 0
    found.total = 0
    for i in range(found.count):
        length = lengths[i]
        start += length
        starts[i + 1] = start
        found.total += length
        found.least = min(found.least, length)
        found.longest = max(found.longest, length)


cdef int64_t hold_integers(values, str what, Py_buffer *buffer) except -1:
    """Hold integers as int64, one after the other; returns how many there are.

    NumPy's own attributes would tell more slowly whether they are that already.
    """
    if isinstance(values, ndarray) and values.dtype is INT64:
        PyObject_GetBuffer(values, buffer, PyBUF_STRIDES)
        if buffer.ndim == 1 and buffer.strides[0] == sizeof(int64_t) \
                and <uintptr_t> buffer.buf % sizeof(int64_t) == 0:
            return buffer.shape[0]
        PyBuffer_Release(buffer)
    PyObject_GetBuffer(as_integers(values, what), buffer, PyBUF_SIMPLE)
    return buffer.len // <Py_ssize_t> sizeof(int64_t)


cdef int64_t not_negative(value, str what) except -1:
    """A number of something; one that is too large for 64 bits is as large as can be."""
    cdef int overflow = 0
    number = PyNumber_Index(value)
    cdef int64_t result = PyLong_AsLongLongAndOverflow(number, &overflow)
    if result < 0 and overflow <= 0:
        raise ValueError(f"{what} must not be negative: {number}")
    return INT64_MAX if overflow else result


cdef void add_up_quickly(const int64_t *lengths, int64_t *starts, Lengths *found) noexcept:
    """Add up lengths; without the GIL, where that takes longer than to give it up."""
    if found.count <= BLOCK_RECORDS:
        add_up(lengths, starts, found)
    else:
        with nogil:
            add_up(lengths, starts, found)


cdef inline int as_wanted(cached) except -2:
    """What a caller says of the page cache; -1: nothing."""
    return -1 if cached is None else <bint> cached
