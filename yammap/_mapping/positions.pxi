# A mapping with a position, as a file has one.
#
# The reasons are in docs/design/file.md.

@cython.final
@cython.auto_pickle(False)
cdef class Turn:
    """A lock for operations at a position that may give up the GIL in between.

    One that keeps the GIL takes no turn, as long as no other thread has or wants one. The
    lock is reentrant, since a signal handler may use the file that its thread is using.
    """
    cdef object lock                    # None until the first turn is taken
    cdef readonly Py_ssize_t takers     # threads that have the turn or wait for it

    def __enter__(self):
        cdef bint first
        with cython.critical_section(self):
            self.takers += 1
            first = self.lock is None
        try:
            if first:
                self.make_lock()
            self.lock.acquire()
        except BaseException:   # a signal handler's, while the thread waited
            self.leave()
            raise

    def __exit__(self, kind, error, traceback):
        self.lock.release()
        self.leave()

    cdef int make_lock(self) except -1:
        """Make the lock, which stays, unless another thread has done so meanwhile.

        It is made first: its making may run a signal handler, and other threads.
        """
        made = threading.RLock()
        with cython.critical_section(self):
            if self.lock is None:
                self.lock = made
        return 0

    cdef void leave(self) noexcept:
        with cython.critical_section(self):
            self.takers -= 1


@cython.auto_pickle(False)
cdef class Positioned(Paged):
    """A mapping with a position, at which files read and write.

    A method moves the bytes and then the position, and runs no Python code in between: so
    an exception of a signal handler comes before both or after both. And what is at the
    position is what the file has there now, as read(2) and write(2) have it, though others
    may have cut it or written behind its end.
    """
    cdef readonly Turn _turn            # the kernel, too, lets offsets change in turn
    cdef relaxed_offset stored_position     # changed in turn, or with the GIL
    cdef readonly bint _descriptor_is_out       # so its offset is the position
    cdef public object _unsynced_directory      # of Durable, whose slot would begin unset

    def __cinit__(self):
        self._turn = Turn.__new__(Turn)

    def __del__(self):
        """Close it, as `io.IOBase` does: a subclass may have a `close` of its own.

        There is no `ResourceWarning`: arrays keep a mapping alive after its last name, so
        a program may rightly never close it.
        """
        if self.memory.is_open():
            try:
                self.close()
            except BusError:    # the touching thread got it
                pass

    def _after_fork(self):
        self._turn = Turn.__new__(Turn)
        Mapping._after_fork(self)

    def fileno(self):
        """Return the descriptor of the file, which the mapping keeps open.

        From then on the position is the offset of the descriptor, as for other files. Code
        that reads or writes by the descriptor goes on where `read` and `write` stopped, and
        they go on where it stopped. The next `seek`, `truncate` or `refresh` sees what it
        has added to the file. In append mode, `append` moves the offset to the end, too.

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
        with self._turn:
            require_descriptor(self)
            watch_errors(self)      # which os.fsync(fd) takes
            if self.extent.origin or self.memory.is_private() or self.extent.runs_ahead():
                raise UnsupportedOperation(
                    f"the descriptor of {self.name!r} shows other bytes than the mapping, "
                    f"which is {self.kind()}")
            if not self._descriptor_is_out:
                self.seek_descriptor(self.position(), SEEK_SET)
                self._descriptor_is_out = True
            return self.extent.fd

    # -- What the layers above ask for

    def _rename(self, name):
        """Call the file something else in errors, those of earlier views included."""
        self.memory.rename(name)

    def _free_size(self):
        """Let a window be resized; the file then ends where the window does."""
        require_descriptor(self)
        self.windowed = not self.memory.is_private()
        self.memory.fix_size(not self.windowed)

    def _drop_descriptor(self):
        drop_descriptor(self)

    def _raise_sync_failure(self, int code):
        raise_sync_failure(self, code)

    def _rewrite(self, offset, length):
        rewrite_pages(self, offset, length)

    # -- The position, and the descriptor's offset

    cdef inline int64_t position(self) noexcept nogil:
        return get_offset(&self.stored_position)

    @property
    def _position(self):
        return self.position()

    cdef str kind(self):
        if self.extent.runs_ahead():
            return "of a file that runs ahead of its data"
        if self.memory.is_private():
            return "copy on write"
        return f"a window from offset {self.extent.origin}"

    cdef int64_t seek_descriptor(self, int64_t offset, int whence) except -1:
        """Move the offset of the descriptor, and return it.

        Under the mutex: who appends reads off it where the record landed, and the
        descriptor's number may be another file's when the mapping is closed.
        """
        cdef int64_t found = 0
        cdef int code = CLOSED
        require_descriptor(self)
        with self.mutex:
            if self.memory.is_open():
                found = self.extent.seek(offset, whence)
                code = errno if found == -1 else 0
        check(self, code)
        return found

    cdef int follow(self) except -1:
        """Take the position from the descriptor, which others may have moved."""
        if self._descriptor_is_out:
            set_offset(&self.stored_position, self.seek_descriptor(0, SEEK_CUR))
        return 0

    cdef inline bint takes_no_turn(self) noexcept:
        """Whether an operation that keeps the GIL may do without a turn.

        One that has to look for patches may not keep it: that may run the collector.
        """
        return (HAS_GIL and self._turn.takers == 0 and not self._descriptor_is_out
                and self.memory.has_no_new_patch())

    cdef inline bint move_hot(self, char *buffer, int64_t length, bint writing,
                              bint callers) except -1:
        """Copy at the position, and move it, all with the GIL; False where it must go.

        At the end of the mapping the file is asked, so that is not for here.
        """
        cdef int64_t start = self.position()
        if (not self.takes_no_turn() or length >= self.memory.length() - start
                or not copy_hot(self, buffer, start, length, writing, callers)):
            return False
        set_offset(&self.stored_position, start + length)
        return True

    cdef int move_to(self, int64_t position) except -1:
        set_offset(&self.stored_position, position)
        if self._descriptor_is_out:
            self.seek_descriptor(position, SEEK_SET)
        return 0

    cdef bint catch_up(self) except -1:
        """Take over the size that the file has now; tell whether the mapping's changed.

        That of a window, of a copy on write and without a descriptor is fixed.
        """
        cdef Py_ssize_t before = self.memory.length()
        if self.follows_file() and self.is_outdated():
            Mapping.refresh(self)
        return self.memory.length() != before

    cdef inline bint follows_file(self) noexcept:
        return self.memory.grows and not self.windowed

    cdef bint is_outdated(self) except -1:
        cdef bint outdated = False
        with self.mutex:
            if self.memory.is_open():
                with nogil:
                    outdated = self.extent.is_outdated()
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
        self.memory.require_open()
        self.follow()
        return self.position()

    def seek(self, offset, whence=0, /):
        """Move the position. It may lie past the end, where `read` returns nothing.

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
        offset = PyNumber_Index(offset)
        if self.takes_no_turn() and (what == SEEK_SET or what == SEEK_CUR):
            return self.seek_here(offset, what)
        with self._turn:
            self.follow()
            return self.seek_here(offset, what)

    cdef object seek_here(self, object offset, int whence):
        cdef int overflow
        position = self.sought(offset, whence)
        if PyLong_AsLongLongAndOverflow(position, &overflow) < 0 and overflow <= 0:
            reason = f"position {position} is before the start of {self.name!r}"
            raise UnsupportedOperation(EINVAL, reason)
        self.move_to(as_offset(position, "position"))
        return position

    cdef object sought(self, object offset, int whence):
        self.memory.require_open()
        if whence == SEEK_SET:
            return offset
        if whence == SEEK_CUR:
            return self.position() + offset
        if whence == SEEK_END:
            self.catch_up()
            return self.memory.length() + offset
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
            The bytes; empty at the end. A file that grew or was cut gives what it has now,
            as other file objects do.

        Raises
        ------
        BusError
            When the file cannot be read, or a mapping of fixed size finds it cut short.
            The position stays.
        ValueError
            When the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> len(yammap.anonymous(10).read(4))
        4
        """
        return self.read_some(as_size(size))

    cdef bytes read_some(self, int64_t count):
        """Read up to `count` bytes from the position (-1: all), and move it."""
        cdef bytes data
        if 0 < count <= MOST_HOT:
            data = PyBytes_FromStringAndSize(NULL, count)
            if self.move_hot(PyBytes_AS_STRING(data), count, False, False):
                return data
        with self._turn:
            self.follow()
            return self.read_here(self.position(), count)

    cdef bytes read_here(self, int64_t start, int64_t size):
        cdef int64_t length = self.at_hand(start, size)
        cdef bytes data = PyBytes_FromStringAndSize(NULL, length)
        cdef int64_t count = self.fetch(PyBytes_AS_STRING(data), start, length, False)
        if count < length:
            data = data[:count]
        self.move_to(start + count)
        return data

    cdef int64_t at_hand(self, int64_t start, int64_t size) except -1:
        """How many of `size` bytes (-1: of all) from `start` on there are in the file.

        Only who comes to the known end asks the file, since that is a system call.
        """
        self.memory.require_open()
        size = INT64_MAX if size == -1 else size
        if size >= self.memory.length() - start:
            self.catch_up()
        return clip(start, size, self.memory.length())

    cdef Py_ssize_t fetch(self, char *target, int64_t start, int64_t count,
                          bint callers) except -1:
        """Copy what there is, also of a file that was cut: only a fault may tell."""
        while True:
            try:
                if callers:
                    return fill(self, target, start, count)
                return transfer(self, target, start, count, False, 0)
            except BusError:
                if not self.catch_up():
                    raise

    def readinto(self, buffer, /):
        """Read as many bytes into `buffer` as there are, and move the position.

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
        cdef Py_ssize_t count
        get_target(buffer, &target)
        count = target.len
        try:
            if not self.move_hot(<char *> target.buf, count, False, True):
                with self._turn:
                    self.follow()
                    count = self.readinto_here(<char *> target.buf, count)
        finally:
            PyBuffer_Release(&target)
        return count

    cdef Py_ssize_t readinto_here(self, char *target, int64_t length) except -1:
        cdef int64_t start = self.position()
        cdef int64_t count = self.fetch(target, start, self.at_hand(start, length), True)
        self.move_to(start + count)
        return count

    def read_byte(self):
        """Read one byte at the position, and move it.

        Returns
        -------
        int
            The byte.

        Raises
        ------
        BusError
            When the file was cut short or cannot be read. The position stays.
        ValueError
            When the position is at the end, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> yammap.anonymous(3).read_byte()
        0
        """
        cdef unsigned char byte
        if not self.fetch_byte(&byte):
            raise ValueError(f"no byte to read: {self.name!r} ends at {self.size()}")
        return byte

    cdef bint fetch_byte(self, unsigned char *byte) except -1:
        """Read a byte; False at the end."""
        if self.move_hot(<char *> byte, 1, False, False):
            return True
        with self._turn:
            self.follow()
            return self.readinto_here(<char *> byte, 1) == 1

    # -- Writing

    def write(self, data, /):
        """Write all of `data` at the position, and move it; the file grows if it must.

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
            self.put(<char *> source.buf, length)
        finally:
            PyBuffer_Release(&source)
        return length

    def write_byte(self, byte, /):
        """Write one byte at the position, and move it; the file grows if it must.

        Parameters
        ----------
        byte : int
            From 0 to 255.

        Raises
        ------
        BusError
            When the file was cut short, or the disk is full or bad.
        OSError
            When the file cannot grow.
        io.UnsupportedOperation
            When the mapping is read-only.
        TypeError
            When `byte` is no integer.
        ValueError
            When `byte` is out of range, a mapping of fixed size would have to grow, or the
            mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(0)
        >>> m.write_byte(65)
        >>> m[:]
        b'A'
        """
        cdef unsigned char value = as_byte(byte)
        self.put(<char *> &value, 1)

    cdef int put(self, char *source, int64_t length) except -1:
        if self.put_hot(source, length):
            return 0
        with self._turn:
            self.follow()
            if self.extent.appending:
                return self.write_at_end(source, length)
            return self.write_here(source, length)

    cdef bint put_hot(self, char *source, int64_t length) except -1:
        """Write into hot pages with the GIL; False where that is not all there is to do."""
        cdef int64_t start = self.position()
        if self.extent.appending or not self.memory.is_writable():
            return False
        if not self.follows_file():
            return self.move_hot(source, length, True, True)
        if not self.takes_no_turn() or not store_hot(self, source, start, length):
            return False
        set_offset(&self.stored_position, start + length)
        return True

    cdef int write_at_end(self, const char *source, int64_t length) except -1:
        """As write(2) with O_APPEND, which stays where it is for nothing."""
        cdef int64_t start = extend_at_end(self, source, length)
        return self.move_to(start + length) if length else 0

    cdef int write_here(self, char *source, int64_t length) except -1:
        """Write as write(2), which makes a file long enough that was cut.

        A cut inside the last page is no fault, and what was stored behind it is in memory
        only. So the size is looked at after each write, and who writes knows it landed.
        """
        cdef int64_t start = self.position()
        require_positional(self)
        while True:
            try:
                store(self, source, start, length)
                if (not self.catch_up()
                        or clip(start, length, self.memory.length()) == length):
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
        with self._turn:
            self.follow()
            if size is None:
                size = self.position()
            self.catch_up()     # what others have written behind is to be cut off, too
            self.resize(size)
            return size
