# The calls of the standard library's `mmap.mmap`: at a position in a length that stays.
#
# Knows which arguments those calls take, and what they raise. It must not know how a
# `mmap.mmap` is opened: that is for yammap/compat.
#
# The reasons are in docs/design/cli-and-compat.md.

@cython.final
@cython.auto_pickle(False)
cdef class Default:
    """The default of an argument that, as in `mmap` before 3.14, does not take None."""
    cdef str text

    def __repr__(self):
        return self.text


cdef Default default(str text):
    cdef Default result = Default.__new__(Default)
    result.text = text
    return result


# Not variables of the module, which since Python 3.12 each use looks up in a dict.
cdef object TELL = None if PY_VERSION_HEX >= 0x030E0000 else default("tell()")
cdef object LENGTH = None if PY_VERSION_HEX >= 0x030E0000 else default("len()")
globals()["LENGTH"] = LENGTH    # for the class in Python


cdef Py_ssize_t as_count(object size) except? -1:
    if not PyIndex_Check(size):
        kind = type(size).__name__
        raise TypeError(f"argument should be integer or None, not {kind!r}")
    return PyNumber_AsSsize_t(size, <void *> OverflowError)


cdef int refuse_deletion(Mapping m, object key) except -1:
    """Say that nothing can be deleted, after what is wrong with the key."""
    cdef Py_ssize_t start, stop, step
    if PyIndex_Check(key):
        say_index_first(m, PyNumber_AsSsize_t(key, <void *> IndexError))
        raise TypeError("mmap doesn't support item deletion")
    unpack(key, &start, &stop, &step)
    raise TypeError("mmap object doesn't support slice deletion")


cdef bint are_sync_flags(int flags):
    """Whether msync(2) takes them."""
    cdef int how = flags & ~MS_INVALIDATE
    return how == 0 or how == MS_ASYNC or how == MS_SYNC


cdef Py_ssize_t seek_within(Positioned m, Py_ssize_t offset, int whence) except -1:
    cdef Py_ssize_t base = 0, length
    m.memory.require_open()
    length = m.memory.length()
    if whence == SEEK_CUR:
        base = m.position()
    elif whence == SEEK_END:
        base = length
    elif whence != SEEK_SET:
        raise ValueError("unknown seek type")
    if not -base <= offset <= length - base:
        raise ValueError("seek out of range")
    m.move_to(base + offset)
    return base + offset


cdef int put_within(Positioned m, char *source, int64_t length, str refusal) except -1:
    require_mutable(m)
    if m.move_hot(source, length, True, True):
        return 0
    with m._turn:
        m.memory.require_open()
        if length > m.memory.length() - m.position():
            raise ValueError(refusal)
        m.write_here(source, length)
    return 0


cdef int64_t search_bounded(Positioned m, object sub, object start, object end,
                            bint backwards) except -2:
    cdef Py_buffer needle
    cdef int64_t first = m.position() if start is TELL else as_ssize(start)
    cdef int64_t last = INT64_MAX if end is LENGTH else as_ssize(end)
    get_source(sub, &needle)
    try:
        if PY_VERSION_HEX < 0x030F0000:     # where an empty `sub` is found behind the end
            first = min(first, m.memory.length())
        return search_from(m, &needle, first, last, backwards)
    finally:
        PyBuffer_Release(&needle)


@cython.auto_pickle(False)
cdef class FixedLength(Positioned):
    """A mapping whose calls read, write and search as those of `mmap.mmap`.

    They are compiled, since a call of `mmap.mmap` takes no longer than a Python function
    that does nothing. The class has methods and nothing else, no field and no C method: an
    object of it and of `Mmap` has the layout of the latter.
    """

    def __init__(self, *arguments, **options):
        """Do nothing: an object is ready once it is made, as one of `mmap.mmap` is."""

    def __setitem__(self, key, value):
        require_mutable(self)
        set_item(self, key, value)

    def __delitem__(self, key):
        require_mutable(self)
        refuse_deletion(self, key)

    def seek(self, pos, whence=0, /):
        """Move the position.

        Parameters
        ----------
        pos : int
            Offset in bytes, relative to `whence`.
        whence : int, default os.SEEK_SET
            ``SEEK_SET``, ``SEEK_CUR`` or ``SEEK_END``.

        Returns
        -------
        int
            The new position, in every version of Python.

        Raises
        ------
        OverflowError
            When `pos` is beyond any size, or `whence` no C int.
        ValueError
            When the position is not in the mapping, `whence` is unknown, or the mapping
            is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).seek(-3, 2)
        7
        """
        cdef Py_ssize_t offset = as_ssize(pos)
        cdef int what = as_int(whence)
        if self.takes_no_turn():
            return seek_within(self, offset, what)
        with self._turn:
            return seek_within(self, offset, what)

    def read(self, size=None, /):
        """Read up to `size` bytes from the position, and move it.

        Parameters
        ----------
        size : int or None, default None
            Number of bytes; all to the end when negative or None.

        Returns
        -------
        bytes
            The bytes; empty at the end.

        Raises
        ------
        OverflowError
            When `size` is beyond any size.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).read(2**64)
        Traceback (most recent call last):
        OverflowError: cannot fit 'int' into an index-sized integer
        """
        return self.read_some(-1 if size is None else max(-1, as_count(size)))

    def read_byte(self):
        """Read one byte at the position, and move it.

        Returns
        -------
        int
            The byte.

        Raises
        ------
        ValueError
            When the position is at the end, or the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).read_byte()
        0
        """
        cdef unsigned char byte
        if not self.fetch_byte(&byte):
            raise ValueError("read byte out of range")
        return byte

    def write(self, data, /):
        """Write all of `data` at the position, and move it; the length stays.

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
        BufferError
            When `data` is not contiguous.
        TypeError
            When the mapping is read-only, or `data` is not a buffer.
        ValueError
            When `data` does not fit, or the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).write(b"too long for it")
        Traceback (most recent call last):
        ValueError: data out of range
        """
        cdef Py_buffer source
        cdef Py_ssize_t length
        get_source(data, &source)
        length = source.len
        try:
            put_within(self, <char *> source.buf, length, "data out of range")
        finally:
            PyBuffer_Release(&source)
        return length

    def write_byte(self, byte, /):
        """Write one byte at the position, and move it.

        Parameters
        ----------
        byte : int
            From 0 to 255.

        Raises
        ------
        OverflowError
            When `byte` is not in that range.
        TypeError
            When the mapping is read-only.
        ValueError
            When the position is at the end, or the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 10).write_byte(7)
        """
        cdef unsigned char value = as_unsigned_char(byte)
        put_within(self, <char *> &value, 1, "write byte out of range")

    def find(self, sub, start=TELL, end=LENGTH, /):
        r"""Return the position of the first `sub`, from the current position on.

        Parameters
        ----------
        sub : buffer
            The bytes to look for.
        start, end : int, optional
            The range, in bytes, as in a slice.

        Returns
        -------
        int
            The position, or -1.

        Raises
        ------
        BufferError
            When `sub` is not contiguous.
        OverflowError
            When `start` or `end` is beyond any size.
        TypeError
            When `sub` is no buffer, or a bound no integer.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> m = mmap.mmap(-1, 9)
        >>> m.find(b"\0"), m.seek(4), m.find(b"\0")
        (0, 4, 4)
        """
        return search_bounded(self, sub, start, end, False)

    def rfind(self, sub, start=TELL, end=LENGTH, /):
        r"""Return the position of the last `sub`; otherwise like `find`.

        Parameters
        ----------
        sub : buffer
            The bytes to look for.
        start, end : int, optional
            The range, in bytes, as in a slice; by default from the current position.

        Returns
        -------
        int
            The position, or -1.

        Raises
        ------
        BufferError
            When `sub` is not contiguous.
        OverflowError
            When `start` or `end` is beyond any size.
        TypeError
            When `sub` is no buffer, or a bound no integer.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> mmap.mmap(-1, 9).rfind(b"\0")
        8
        """
        return search_bounded(self, sub, start, end, True)

    def move(self, dest, src, count, /):
        """Copy `count` bytes from `src` to `dest`; the ranges may overlap.

        Parameters
        ----------
        dest, src, count : int
            Positions and number, in bytes.

        Raises
        ------
        OverflowError
            When an argument is beyond any size.
        TypeError
            When the mapping is read-only.
        ValueError
            When the bytes are not all in the mapping, or the mapping is closed.

        Examples
        --------
        >>> from yammap import compat as mmap
        >>> m = mmap.mmap(-1, 4)
        >>> m[:] = b"ab12"
        >>> m.move(2, 0, 2)
        >>> m[:]
        b'abab'
        """
        cdef Py_ssize_t target = as_ssize(dest), source = as_ssize(src)
        cdef Py_ssize_t length = as_ssize(count), last = max(target, source)
        cdef Py_ssize_t size = self.memory.length()
        require_mutable(self)
        if (min(target, source, length) < 0 or last > size
                or clip(last, length, size) < length):
            raise ValueError("source, destination, or count out of range")
        move_pieces(self, target, source, length)

    def _flush(self, offset, size, bint writes, int flags=MS_SYNC):
        """Sync a range, unless the mapping `writes` nothing to its file.

        The kernel does nothing for flags that do not wait: it writes by itself, and all
        mappings of a file show the same bytes.
        """
        cdef Py_ssize_t start = as_ssize(offset), length
        cdef Py_ssize_t count = 0 if size is LENGTH else as_ssize(size)
        self.memory.require_open()
        length = self.memory.length()
        count = length if size is LENGTH else count
        if min(start, count) < 0 or count > length - start:
            raise ValueError("flush values out of range")
        if not writes:
            return
        if start % PAGE or not are_sync_flags(flags):
            raise OSError(EINVAL, strerror(EINVAL).decode())
        if flags & MS_SYNC:
            sync_mapping(self, start, count, True)

    def _size_of_file(self):
        """The present size of the file, which may be larger than the mapping."""
        cdef int64_t size = -1
        cdef int code = CLOSED
        require_descriptor(self)
        with self.mutex:
            if self.memory.is_open():
                with nogil:
                    size = self.extent.size_now()
                    code = errno if size == -1 else 0
        check(self, code)
        return size
