"""The mapping: bytes, offsets and errno over the Linux system calls.

Knows the memory and the file of a mapping. It must not know modes, lines or NumPy.

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
    was exported through the mapping's own buffer stays until the mapping object is
    freed, since ``np.ndarray(buffer=m)`` keeps the object and drops the export.

Who survives a bus error
    Copies run under a guard that makes a fault a return value (_sigbus/fault.h). In views,
    a page is put in place (_sigbus/patch.h) and the thread is told (_sigbus/raise.h); from
    then on the region has patches, and ``Memory.enter``, the one door of all methods,
    raises.

Who may change what
    ``mutex`` serialises everything that changes the size or uses the descriptor, so no
    descriptor is used after it was closed. It is held across system calls, without
    the GIL, and nothing that the collector tracks is created under it: on CPython 3.11
    that can run it, and so a finaliser that closes this very mapping. Copies take no
    lock. They take a `Snapshot` of region, length and truncations in one critical section,
    and ask ``Memory.must_retry`` once they are done: where a truncation of our own came
    between, they run again. A truncation never waits for a reader.

Where things are
    This file has `Mapping`, its public methods in reading order, and the copy that they
    share. It is compiled as one module with what it includes:

    _sigbus/    how a bus error is survived
    _memory/    regions, generations, exports: addresses, and no file
    _extent/    the end of the file, growth, writing back: a descriptor, and no address
    _mapping/   what takes both, a file a task: growing, syncing, paging, sequence ...

    The reasons are in docs/design, which begins with index.md.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, \
    PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_Clear
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.number cimport PyNumber_Index
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.weakref cimport PyWeakref_NewRef
from libc.errno cimport EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EFBIG, EINTR, EINVAL, \
    EISDIR, ENODEV, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM, errno
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport INT64_MAX, int64_t, uint64_t, uintptr_t
from libc.string cimport memchr, memcpy, strerror

from ._linux.calls cimport *

import os
import threading
import warnings
from io import UnsupportedOperation

from ._errors import BusError, Fault, NotContiguous, ShortRead, cause_of
from ._linux.calls import ADVICE, HARMLESS
from ._linux.limits import limit_behind

__all__ = [
    "LENGTH",
    "FixedLength",
    "Keeper",
    "Kept",
    "LineReader",
    "Mapping",
    "birth",
    "map_descriptor",
]


cdef extern from "Python.h":
    int PY_VERSION_HEX
    void Py_XINCREF(PyObject *object)
    void Py_XDECREF(PyObject *object)
    object PyUnicode_DecodeFSDefaultAndSize(const char *text, Py_ssize_t length)
    Py_ssize_t PyLong_AsSsize_t(object value) except? -1
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    bint PyIndex_Check(object value)
    int get_buffer "PyObject_GetBuffer"(object data, Py_buffer *buffer, int flags) noexcept
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
        void *tp_iternext
    int PyDict_DelItemString(PyObject *dictionary, const char *key) except -1
    int PyDict_SetItemString(PyObject *dictionary, const char *key, object value) except -1
    void PyType_Modified(PyTypeObject *type)


cdef extern from *:
    """
    /* As `model`, which is one, of a slot of another type. */
    static PyObject *new_slot_wrapper(PyTypeObject *type, PyObject *model, void *slot)
    {
        return PyDescr_NewWrapper(type, ((PyWrapperDescrObject *)model)->d_base, slot);
    }
    """
    object new_slot_wrapper(PyTypeObject *type, object model, void *slot)


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


include "_linux/numbers.pxi"
include "_sigbus/sigbus.pxi"
include "_memory/pages.pxi"
include "_memory/naming.pxi"
include "_memory/region.pxi"
include "_memory/reports.pxi"
include "_memory/searching.pxi"
include "_memory/copying.pxi"
include "_memory/generations.pxi"
include "_memory/memory.pxi"
include "_memory/guarding.pxi"
include "_extent/file_calls.pxi"
include "_extent/extent.pxi"
include "_mapping/arguments.pxi"


cdef Memory CLOSED_MEMORY = Memory.__new__(Memory)
cdef Extent CLOSED_EXTENT = Extent.__new__(Extent)


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
    cdef object reference       # weak, for a fork
    cdef bint listed
    cdef bint started
    cdef bint windowed          # growable, and yet it does not follow the file's end
    cdef Memory memory          # where the bytes are
    cdef Extent extent          # where the file ends
    cdef list last_faults       # of a closed mapping
    cdef object kept_by_batches     # descriptors by which they read the file, or None
    cdef cython.pymutex mutex   # whoever changes the size or uses the descriptor has it

    _closed_text = "the mapping of {!r} is closed"      # what errors say then

    def __cinit__(self):
        # A subclass's __del__ may use what could not be made: it is closed then.
        self.memory, self.extent = CLOSED_MEMORY, CLOSED_EXTENT
        if not has_mutex(<void *> self):
            raise MemoryError
        self.memory = Memory.__new__(Memory)
        self.extent = Extent.__new__(Extent)
        self.memory.say_closed(self._closed_text)
        self.last_faults = []
        self.reference = PyWeakref_NewRef(self, None)
        enlist(self)

    def __init__(self, fd, name, *, private=False, readonly=False, offset=0, length=None,
                 reserve=None, preallocate=True, on_fault="raise", keep_fd=True,
                 engine="mmap", ahead=0):
        begin(self, fd, name, private, readonly, offset, length, reserve, preallocate,
              on_fault, keep_fd, engine, ahead)

    def __dealloc__(self):
        if self.listed:
            delist(self)
        if self.extent.fd != -1:
            self.memory.let_go_of_file(False)
            with nogil:
                self.extent.stop_ahead(self.memory.length())
                self.extent.close_file()
        self.extent.forget_errors()

    def _after_fork(self):
        """In a forked child, which has no memory of a mapping with MADV_DONTFORK."""
        if self.memory.fork_advice == MADV_DONTFORK:
            self.close()
        elif self.extent.error_fd != -1:    # that one is the parent's
            self.extent.forget_errors()
            self.extent.watch_errors()

    # -- What it is

    @property
    def name(self):
        """object: what the file was opened by: a path, or a descriptor.

        With `yammap.compat`, the path when first asked for; None if never before `close`.
        """
        return self.memory.present_name()

    @property
    def origin(self):
        """int: file offset, in bytes, of the mapping's first byte."""
        return self.extent.origin

    @property
    def growable(self):
        """bool: the mapping goes to the end of the file, and follows it."""
        return self.memory.grows

    @property
    def appending(self):
        """bool: the file takes bytes only at its end (``O_APPEND``)."""
        return self.extent.appending

    @property
    def private(self):
        """bool: changes stay in memory and never reach the file (copy on write)."""
        return self.memory.is_private()

    @property
    def engine(self):
        """str: ``"mmap"``, or ``"pread"`` where nothing is mapped."""
        return "mmap" if self.memory.mapped else "pread"

    @property
    def readonly(self):
        """bool: the memory cannot be written, and so neither can views."""
        return not self.memory.is_writable()

    @property
    def closed(self):
        """bool: `close` was called."""
        return not self.memory.is_open()

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
            count = fill(self, <char *> target.buf, start, length)
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
        length = clip(start, length, self.memory.length())
        result = PyBytes_FromStringAndSize(NULL, length)
        cdef char *target = PyBytes_AS_STRING(result)
        cdef Py_ssize_t count = transfer(self, target, start, length, False, 0)
        return result if count == length else result[:count]

    def write_at(self, data, offset):
        """Write all of `data` at `offset`; the file grows if it must.

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
            if not overwrite_hot(self, &source, start):
                require_positional(self)
                store(self, <char *> source.buf, start, length)
        finally:
            PyBuffer_Release(&source)
        return length

    def append(self, data):
        """Write all of `data` at the end of the file.

        With `ahead` this is a copy into memory that the file has already. Otherwise, in
        append mode, it is one write(2) to a descriptor with ``O_APPEND``. Many
        processes may then append to one file and no record of less than 2 GiB is torn; each
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
            if self.memory.append_limit():
                start = append_hot(self, <char *> source.buf, source.len)
            if start == -1:
                start = extend_at_end(self, <char *> source.buf, source.len)
        finally:
            PyBuffer_Release(&source)
        return start

    # -- A sequence of bytes

    def __len__(self):
        self.memory.require_open()
        return self.memory.length()

    def __getitem__(self, key):
        cdef Py_ssize_t index, first, last, step, start, stop, count
        cdef unsigned char byte
        cdef char *target
        if PyIndex_Check(key):
            index = PyNumber_AsSsize_t(key, <void *> IndexError)
            while transfer(self, <char *> &byte, offset_of(self, index), 1, False, 0) == 0:
                pass    # a truncation of ours overtook it
            return byte
        unpack(key, &first, &last, &step)
        while True:
            start, stop = first, last
            count = PySlice_AdjustIndices(self.memory.length(), &start, &stop, step)
            result = PyBytes_FromStringAndSize(NULL, count)
            target = PyBytes_AS_STRING(result)
            if step == 1 and copy_hot(self, target, start, count, False, False):
                return result
            if transfer_slice(self, target, start, step, count, False):
                return result

    def __setitem__(self, key, value):
        set_item(self, key, value)

    def __delitem__(self, key):
        raise TypeError("mmap doesn't support item deletion: resize() takes bytes away")

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
        return search_for(self, sub, start, end, False)

    def rfind(self, sub, start=0, end=None):
        """Return the position of the last `sub` that lies in ``[start, end)``.

        The search goes from the end towards the start. It reads at most a few times as many
        bytes as lie behind the match.

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
        return search_for(self, sub, start, end, True)

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
        require_positional(self)
        fit(self, max(source, target), &length, self.memory.length())
        move_pieces(self, target, source, length)

    # -- Size

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
        self.memory.require_open()
        return self.memory.length()

    def resize(self, size):
        """Set the file's size, so that the mapping has `size` bytes.

        Growing never moves a byte, so live views stay valid. New bytes are zeros, and what
        another process has appended behind `size` stays. Shrinking cuts the file there,
        with all that other processes have appended.

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
        An array such as ``np.ndarray(buffer=m)`` keeps the mapping object and no export of
        it, so yammap cannot count it. Its memory past the new end then shows zeros, and no
        longer the file. So after an export of the mapping itself (``memoryview(m)``,
        ``hashlib.sha256(m)``), each shrinking keeps a range of addresses until the object
        is freed, of the 65530 that a process may have. An export by `view` does not.

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
        BufferError: 'memfd:yammap' cannot become smaller: 1 of its views is alive: drop it
        """
        cdef int64_t length = as_offset(size, "size")
        require_growable(self)
        warn_unless_guarded()
        if length < self.memory.length():
            self.memory.ask_keepers()
        if length >= self.memory.length() or not shrink(self, length):
            extend(self, NULL, length, 0)

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
        if not self.extent.appending:
            require(self, PROT_WRITE)
        change_blocks(self, 0, offset, length)

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
        require_positional(self)
        change_blocks(self, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)

    def refresh(self):
        """Take the size that the file has now, which another process may have changed.

        If another mapping appends to the file with `ahead`, it is the size of the data.

        On an overlayfs (of a container), the first writer of a file makes a copy of it. A
        mapping for reading shows the original until `refresh` is called. Views that were
        made before always show the original.

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
        require_descriptor(self)
        warn_unless_guarded()
        if not self.memory.grows:
            raise ValueError(f"this mapping of {self.name!r} has a fixed size")
        return take_over_size(self)

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
            When a view has touched a missing page, and bytes may be in memory only,
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
        sync_mapping(self, offset, length, wait)

    def madvise(self, advice, offset=0, length=None):
        """Tell the kernel how a range will be used, as madvise(2).

        Parameters
        ----------
        advice : int or str
            One of the ``MADV_*`` constants, or its name, as ``"random"``. Those that throw
            data away are refused; ``MADV_DONTNEED`` does so only for copy-on-write
            mappings. ``MADV_DONTFORK`` is for the whole mapping: a forked child has zeros
            there, and a closed mapping.
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
        >>> m.madvise("sequential", 0, 4096)
        >>> m.madvise(yammap.MADV_REMOVE)
        Traceback (most recent call last):
        ValueError: advice 9 is unknown, or destroys data
        """
        advise(self, as_advice(advice), offset, length)

    def discard(self, offset=0, length=None):
        """Drop the changes of a copy-on-write mapping.

        The range shows the file's bytes again, also in views; changes outside of it stay.
        Whole pages are given back (madvise(2), ``MADV_DONTNEED``), and parts of pages are
        read from the file.

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
        discard_changes(self, offset, length)

    def lock(self, offset=0, length=None):
        """Keep a range in memory, as mlock(2).

        This applies to the pages that the range has now, not to those that it grows by. It
        ends with `unlock`, or when the mapping and all its views are gone.

        Parameters
        ----------
        offset : int, default 0
            Position of the first byte, in bytes; any alignment.
        length : int, optional
            Number of bytes; by default all to the end.

        Raises
        ------
        OSError
            When the kernel cannot supply the pages, or ``RLIMIT_MEMLOCK`` forbids them.
        ValueError
            When the range is not in the mapping, or the mapping is closed.

        Examples
        --------
        >>> import yammap
        >>> m = yammap.anonymous(4096)
        >>> m.lock()
        >>> m.unlock()
        """
        lock_pages(self, offset, length, True)

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
        lock_pages(self, offset, length, False)

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
        require_descriptor(self)
        with self.mutex:
            if self.memory.is_open():
                with nogil:
                    start = min(start, INT64_MAX - self.extent.origin)
                    code = self.extent.look_for(what, start, &found)
        check(self, code)
        return min(found, self.memory.length())

    # -- Handing out

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
        convert(self, offset, length, &start, &count)
        view.take(self.memory.counted(&size, False))
        fit(self, start, &count, size)
        view.show(start, count, not self.memory.is_writable())
        return PyMemoryView_FromObject(view)

    @property
    def _exported(self):
        """A `View` of all bytes, as NumPy makes arrays of it at any offset."""
        cdef Py_ssize_t size
        cdef View view = View.__new__(View)
        view.take(self.memory.counted(&size, False))
        view.show(0, size, not self.memory.is_writable())
        return view

    def __getbuffer__(self, Py_buffer *info, int flags):
        cdef Py_ssize_t length
        cdef Region region = self.memory.counted(&length, True)
        export(info, flags, region, region.at(0), length, not self.memory.is_writable())

    def __releasebuffer__(self, Py_buffer *info):
        # Never called, since exports belong to their region. But np.frombuffer() holds on
        # to its export only where this exists, and so can be counted.
        pass

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
        require_descriptor(self)
        return self.extent.fd

    def _locate(self, uintptr_t address):
        """As that of the region: who took its export unseen holds the mapping itself."""
        cdef Region region = self.memory.locate(address)
        if region is None:
            raise ValueError(f"address {address:#x} is not in the mapping of "
                             f"{self.name!r}")
        return region._locate(address)

    # -- Faults in views

    def faults(self):
        """Tell where pages were replaced because a view touched a missing one.

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
        regions = self.memory.regions()
        if regions:
            return faults_in(regions)
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
        refuse_without_descriptor(self)     # not by the door, which the patches close
        with self.mutex:
            if self.memory.is_open():
                if self.memory.is_writable() and self.extent.appends_by_now():
                    code = EBADF    # what is written would go to the end
                else:
                    code = self.memory.heal(discard, &written)
        if code == EFAULT:
            raise_patch(self.memory.regions())
        check(self, code)
        cancel_raising(self.memory.regions())
        return written

    def guard(self):
        """Return a context that raises on leaving if a view touched a bad page.

        Use it for work on views, during which no method of the mapping would raise. Compute
        the result inside the block, and use it after the block. Inside, it may have been
        made of replaced pages. `yammap.guard` is for arrays without their mapping.

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
        >>> total       # after the block: no page was missing
        0
        """
        return new_guard(self, self.memory, None)

    # -- Letting go

    def close(self, *, bint revoke=False):
        """Close the file and give up the memory. Closing twice does nothing.

        Views, and copies in other threads, keep the memory until they are gone.

        Parameters
        ----------
        revoke : bool, default False
            Take the memory from the views, too, so that the file's blocks can be freed now:
            they read zeros from then on, and what is stored into them is lost.

        Raises
        ------
        BusError
            When a view has touched a missing page, and bytes may be in memory only.
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
        self.memory.ask_keepers()
        cdef list regions = self.memory.regions()
        cdef int code = close_mapping(self, revoke)
        with cython.critical_section(self):
            self.kept_by_batches = None
        if regions:
            faults = faults_in(regions)
            with cython.critical_section(self):
                self.last_faults = faults
            raise_patch(regions)
        check(self, code)


# -- The copy that all reads and writes share

cdef inline bint copy_hot(Mapping m, char *buffer, int64_t offset, int64_t length,
                          bint writing, bint callers) except -1:
    """Copy with the GIL among pages touched in this tick; False where that is not so.

    A buffer that is the caller's may be a view of another file, and has to be hot as well.
    """
    cdef Snapshot s
    cdef Region region
    cdef char *memory
    cdef uint64_t now
    if length > MOST_HOT:
        return False
    if not HAS_GIL:
        return copy_pinned(m, buffer, offset, length, writing, callers)
    region = m.memory.enter(&s)
    if clip(offset, length, s.length) < length:
        return False
    now = tick()
    memory = region.at(offset)
    if not is_hot(region, memory, length, writing, now) or not fault_in_force(now):
        return False
    if callers and not is_buffer_hot(buffer, length, not writing, now):
        return False
    return (copy_in_force(memory, buffer, length, writing) == NULL
            and m.memory.is_undisturbed(&s))


cdef bint find_line(Mapping m, int64_t offset, Line *line) except -1:
    """As `copy_hot`, a line of at most MOST_HOT bytes, in its part or that and the next."""
    cdef Snapshot s
    cdef Region region = m.memory.enter(&s)
    cdef char *memory = region.at(offset)
    cdef int64_t left = clip(offset, MOST_HOT, s.length)
    cdef int64_t part = left_of_part(memory)
    cdef uint64_t now = tick()
    if not fault_in_force(now):
        return False
    if (copy_hot_line(region, memory, min(part, left), now, line)
            or part < left and copy_hot_line(region, memory, left, now, line)):
        return m.memory.is_undisturbed(&s)
    return False


cdef inline Py_ssize_t transfer(Mapping m, char *buffer, int64_t offset, int64_t length,
                                bint writing, int64_t done) except -1:
    """Copy between `buffer` and the bytes there are; returns how many there were.

    The first `done` bytes have been copied before.
    """
    if done == 0 and copy_hot(m, buffer, offset, length, writing, writing):
        return length
    return transfer_cold(m, buffer, offset, length, writing, done)


cdef inline Py_ssize_t fill(Mapping m, char *buffer, int64_t offset,
                            int64_t length) except -1:
    """Copy into a caller's buffer; returns how many bytes there were."""
    if copy_hot(m, buffer, offset, length, False, True):
        return length
    return transfer_cold(m, buffer, offset, length, False, 0)


cdef Py_ssize_t transfer_cold(Mapping m, char *buffer, int64_t offset, int64_t length,
                              bint writing, int64_t done) except -1:
    """As `transfer`, without the GIL."""
    cdef Snapshot s
    cdef Region region
    cdef char *memory
    cdef int64_t count, copied
    cdef uint64_t now = tick()
    cdef const void *fault
    while True:
        region = m.memory.enter(&s)
        memory = region.at(min(offset + done, s.length))
        count = clip(offset + done, length - done, s.length)
        if m.memory.mapped:
            with nogil:
                copied = copy_far(memory, buffer + done, count, writing, now, &fault)
            set_hot(region, memory, copied, writing, now)
            set_buffer_hot(buffer + done, copied, not writing, now)
        else:
            fault, copied = buffer, 0       # as if all of it had
        if m.memory.must_retry(region, &s):
            continue
        done += copied
        if fault == NULL or count == 0:
            return done
        done = repair(m, &s, memory + copied, buffer, offset, done, count - copied, fault,
                      writing)


cdef int64_t repair(Mapping m, Snapshot *s, char *memory, char *buffer, int64_t offset,
                    int64_t done, int64_t left, const void *fault, bint writing) except -1:
    """Go on by system call after `done` bytes, where memory cannot.

    Returns how far that went. Where it cannot go on either, the file was cut short or
    the disk is full or bad: then it raises that.
    """
    cdef int64_t end = -1, moved
    cdef int code = 0
    if m.memory.mapped:
        if not covers(memory, left, fault):
            raise_bus_error(EFAULT, m.name, offset + done, done, writing, CALLER)
        left = min(left, PAGE - <int64_t> (<uintptr_t> memory % PAGE))
    moved = move_by_call(m, s, memory, buffer + done, offset + done, min(left, CHUNK),
                         writing, &end, &code)
    if moved > 0 or code == EAGAIN or code == EINTR:
        return done + moved
    done = done if end == -1 else clip(offset, done, end)
    raise_bus_error(code, m.name, offset + done, done, writing, m.extent.reason(code, end))


cdef int64_t move_by_call(Mapping m, Snapshot *s, char *memory, char *buffer,
                          int64_t offset, int64_t count, bint writing, int64_t *end,
                          int *code) except -1:
    """Move bytes by system call, as memory cannot; returns how many.

    Puts the reason why there are none into `code`: EFAULT past the end of the file,
    which is put into `end`; EAGAIN when a truncation of ours came between.
    """
    cdef Py_ssize_t moved = 0
    code[0] = CLOSED
    with m.mutex:
        if m.memory.is_open():
            if s.truncations != m.memory.truncations():
                code[0] = EAGAIN
            else:
                with nogil:
                    moved = call_at(m, memory, buffer, offset, count, writing, end)
                    code[0] = errno if moved == -1 else EFAULT
                    if m.extent.fd == -1:
                        code[0] = m.memory.cause(memory)
    if code[0] == CLOSED:
        m.memory.require_open()
    return max(moved, 0)


cdef Py_ssize_t call_at(Mapping m, char *memory, char *buffer, int64_t offset,
                        int64_t count, bint writing, int64_t *end) noexcept nogil:
    """pread(2) or pwrite(2) inside the file; 0 where neither is possible."""
    if m.extent.fd == -1:
        return 0
    end[0] = m.extent.end_now()
    if end[0] == -1:
        return -1
    count = clip(offset, count, end[0])
    if m.memory.is_private() and writing:
        return count if copy(memory, buffer, count, True, tick()) == NULL else 0
    if m.memory.is_private() and not fault_in_force(tick()):
        # The file has the page as it was before changes. It may only stand for a page
        # that cannot be touched, which has none, and not for one nobody could ask for.
        if fault_carry(memory, buffer, 1, False) == NULL:
            (&errno)[0] = EAGAIN        # it can be touched by now
            return -1
        if errno != EFAULT:
            return -1
    if writing:
        return m.extent.write_bytes(buffer, offset, count)
    return m.extent.read_bytes(buffer, offset, count)


include "_mapping/asking.pxi"
include "_mapping/opening.pxi"
include "_mapping/growing.pxi"
include "_mapping/running_ahead.pxi"
include "_mapping/writing.pxi"
include "_mapping/sequence.pxi"
include "_mapping/syncing.pxi"
include "_mapping/paging.pxi"
include "_mapping/forking.pxi"
include "_mapping/positions.pxi"
include "_mapping/lines.pxi"
include "_mapping/fixed_length.pxi"
include "_mapping/pinning.pxi"
include "_mapping/receivers.pxi"
