# The lines of a file, from its position on.
#
# Knows where a line ends, and which pages the next ones are on. It must not know how bytes
# are copied, nor where the file ends.
#
# The reasons are in docs/design/file.md.

@cython.auto_pickle(False)
cdef class LineReader(Positioned):
    """A mapping that is read by lines, and is the iterator of them, as files are."""
    cdef int64_t line_sought            # where a line began that was not in hot pages
    cdef bint has_own_lines             # a subclass has a `readline` of its own

    def __cinit__(self):
        self.has_own_lines = type(self).readline is not READLINE

    def readline(self, size=-1, /):
        """Read up to and including the next ``b"\\n"``, at most `size` bytes.

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
        return self.next_line(as_size(size))

    def readlines(self, hint=-1, /):
        """Read lines from the position on.

        Parameters
        ----------
        hint : int or None, default -1
            Stop after the line with which more than this many bytes have been read; no
            limit when negative, 0 or None.

        Returns
        -------
        list of bytes
            The lines, each with its ``b"\\n"``.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> with yammap.open("lines.txt", "w+") as m:
        ...     m.writelines([b"one\\n", b"two"])
        ...     m.seek(0)
        ...     m.readlines()
        0
        [b'one\\n', b'two']
        """
        cdef list lines = []
        cdef int64_t total = 0, most = as_size(hint)
        while line := self.one_line():
            lines.append(line)
            total += len(line)
            if 0 < most < total:
                break
        return lines

    def __iter__(self):
        self.memory.require_open()
        return self

    def __next__(self):
        line = self.one_line()
        if not line:
            raise StopIteration
        return line

    cdef inline object one_line(self):
        """The next line, by the method that a subclass may have for it."""
        return self.readline() if self.has_own_lines else self.next_line(-1)

    @cython.final
    cdef inline bytes next_line(self, int64_t size):
        cdef bytes line = self.next_line_hot(size)
        return self.next_line_cold(size) if line is None else line

    cdef bytes next_line_cold(self, int64_t size):
        cdef bytes line
        cdef int64_t start
        with self._turn:
            self.follow()
            start = self.position()      # handlers run in the search, and may move it
            line = self.read_here(start, self.length_of_line(start, size))
            self.expect_more_lines(start)
        return line

    @cython.final
    cdef bytes next_line_hot(self, int64_t size):
        """Read a line that is in one or two hot pages; None where it is not."""
        cdef char copied[4096]      # MOST_HOT; a thread's stack may be small
        cdef Line line
        line.copied, line.count = copied, 0
        if size == -1 and self.takes_no_turn() and find_line(self, self.position(), &line):
            result = PyBytes_FromStringAndSize(copied, line.count)
            set_offset(&self.stored_position, self.position() + line.count)
            return result
        return None

    cdef int expect_more_lines(self, int64_t start) except -1:
        """Touch the pages that the next lines are on, if the last ones were read as well.

        As many as the kernel maps at a fault. Without it, each page's first line would
        give up the GIL.
        """
        cdef Snapshot s
        cdef Region region
        cdef int64_t length, former = self.line_sought
        self.line_sought = start
        if self.memory.mapped and former <= start <= former + READAHEAD:
            region = self.memory.enter(&s)
            length = clip(self.position(), READAHEAD // 2, s.length)
            if length:
                with nogil:
                    warm_up(region, region.pages(self.position(), length))
        return 0

    cdef int64_t length_of_line(self, int64_t start, int64_t size) except -1:
        """Where the line ends that begins at `start`, at most `size` bytes (-1: any)."""
        cdef Py_buffer newline
        cdef int64_t length, found = -1
        newline.buf, newline.len = b"\n", 1
        size = INT64_MAX if size == -1 else size
        while found == -1:
            self.memory.require_open()
            length = clip(start, size, self.memory.length())
            try:
                found = search_from(self, &newline, start, start + length, False)
            except BusError:
                if not self.catch_up():
                    raise
                continue
            if found == -1 and (length == size or not self.catch_up()):
                return length
        return found + 1 - start


cdef object READLINE = LineReader.readline


# Cython makes `__next__` an ordinary method. A subclass written in Python, as Mmap is,
# would look that up and call it for each line. A slot wrapper, which other types have,
# lets the subclass take the slot itself. An iterator object apart would do so as well,
# but a file is its own iterator.
cdef int make_slot_wrapper_of_next(PyTypeObject *kind) except -1:
    wrapper = new_slot_wrapper(kind, type(iter(())).__next__, kind.tp_iternext)
    PyDict_SetItemString(kind.tp_dict, "__next__", wrapper)
    PyType_Modified(kind)
    return 0


make_slot_wrapper_of_next(<PyTypeObject *> LineReader)
