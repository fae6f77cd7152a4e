# Converting arguments. A method does so before it reads the mapping's state, since
# converting can run Python code that changes it.
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


cdef object ALL = -1        # the default, which needs no conversion


cdef inline int64_t as_size(object value) except? -2:
    """How many bytes to read: -1 for all, as for None and negative numbers."""
    if value is None or value is ALL:
        return -1
    return max(-1, PyNumber_AsSsize_t(value, NULL))


cdef inline Py_ssize_t as_ssize(object value) except? -1:
    """A number as `mmap.mmap` takes it, with its OverflowError."""
    return PyLong_AsSsize_t(PyNumber_Index(value))


cdef inline int as_int(object value) except? -1:
    """A number that fits a C int, likewise."""
    return between(value, INT_MIN, INT_MAX, "signed")


cdef inline int as_unsigned_char(object value) except -1:
    """A number that fits a byte, likewise."""
    return between(value, 0, 255, "unsigned byte")


cdef inline long long between(object value, long long least, long long most,
                              str kind) except? -1:
    cdef int overflow
    cdef long long result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0 or result > most:
        raise OverflowError(f"{kind} integer is greater than maximum")
    if overflow < 0 or result < least:
        raise OverflowError(f"{kind} integer is less than minimum")
    return result


cdef int as_code(object value, str what) except? -1:
    cdef int overflow
    cdef long long result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or result != <int> result:
        raise ValueError(f"{what} {value} is unknown")
    return <int> result


cdef int as_advice(object value) except? -1:
    """A constant of madvise(2), or its name."""
    if not isinstance(value, str):
        return as_code(value, "advice")
    if value not in ADVICE:
        raise ValueError(f"advice {value!r} is unknown: write one of "
                         f"{', '.join(map(repr, sorted(ADVICE)))}")
    return ADVICE[value]


cdef int as_descriptor(object value) except? -1:
    if PyIndex_Check(value):
        return value
    instead = "os.dup(file.fileno())" if hasattr(value, "fileno") else "a descriptor"
    if isinstance(value, (str, bytes, os.PathLike)):
        instead = f"the path to yammap.open({value!r}, mode)"
    raise TypeError(f"a mapping is made of a descriptor, which it then owns, and not of "
                    f"{value!r}: pass {instead}")


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


cdef extern from *:
    """
    /* To ask PyObject_GetBuffer takes a tenth of a small write. There is nothing to
       release: bytes do not change, and the caller of the method holds them. */
    static inline int take_bytes(PyObject *data, Py_buffer *source)
    {
        if (!PyBytes_CheckExact(data))
            return 0;
        source->buf = PyBytes_AS_STRING(data);
        source->len = PyBytes_GET_SIZE(data);
        source->obj = NULL;
        return 1;
    }

    /* Whether it may be a view of a file, which bytes are not. */
    static inline int may_be_mapped(const Py_buffer *source)
    {
        return source->obj != NULL;
    }
    """
    bint take_bytes(object data, Py_buffer *source)
    bint may_be_mapped(const Py_buffer *source)


cdef inline int get_source(object data, Py_buffer *source) except -1:
    if take_bytes(data, source) or get_buffer(data, source, PyBUF_SIMPLE) == 0:
        return 0
    PyErr_Clear()
    return refuse_source(data, source)


cdef int refuse_source(object data, Py_buffer *source) except -1:
    """Ask once more, and say why not.

    Apart, since a ``try`` costs each call something, whether it raises or not.
    """
    try:
        return PyObject_GetBuffer(data, source, PyBUF_SIMPLE)
    except BufferError as error:
        raise NotContiguous(text_of_pieces(error)) from None
    except ValueError as error:     # of NumPy; others say that the buffer is released
        raise ValueError(text_of_pieces(error) if "contiguous" in str(error)
                         else str(error)) from None


cdef str text_of_pieces(object error):
    return (f"a C-contiguous buffer is needed ({error}): pass "
            f"numpy.ascontiguousarray(data)")


cdef inline int get_target(object buffer, Py_buffer *target) except -1:
    if get_buffer(buffer, target, PyBUF_WRITABLE) == 0:
        return 0
    PyErr_Clear()
    return refuse_target(buffer, target)


cdef int refuse_target(object buffer, Py_buffer *target) except -1:
    try:
        return PyObject_GetBuffer(buffer, target, PyBUF_WRITABLE)
    except (BufferError, ValueError) as error:
        raise TypeError(f"a writable, C-contiguous buffer is needed, not "
                        f"{type(buffer).__name__!r}: {error}") from None
