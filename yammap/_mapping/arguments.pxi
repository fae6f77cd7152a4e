# Arguments: each is converted before the mapping's state is read, since converting can run
# Python code that changes it.
#
# The reasons are in docs/design/mapping.md.

cdef int64_t as_offset(object value, str what) except -1:
    cdef int overflow
    cdef long long result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0:
        raise ValueError(f"{what} {value} is beyond the largest file offset, {INT64_MAX}")
    if overflow < 0 or result < 0:
        raise ValueError(f"{what} must not be negative: {value}")
    return result


cdef int64_t as_size(object value) except? -2:
    """How many bytes to read: -1 for all, as for None and negative numbers."""
    return -1 if value is None else max(-1, PyNumber_AsSsize_t(value, NULL))


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
