"""The kernel, for Python: its constants, which advice is harmless, and `Descriptor`.

The calls themselves are declared in calls.pxd, and the constants in constants.h.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.string cimport strerror

__all__ = ["ADVICE", "CONSTANTS", "HARMLESS", "Descriptor", "ask", "open_again"]


cdef extern from "_linux/constants.h":
    struct constant:
        const char *name
        long value
    const constant *constants


cdef extern from "Python.h":
    int PySys_Audit(const char *event, const char *format, ...) except -1


cdef dict read_constants():
    cdef int i = 0
    values = {}
    while constants[i].name != NULL:
        values[constants[i].name.decode()] = constants[i].value
        i += 1
    return values


CONSTANTS = read_constants()

# Advice that neither throws data away nor kills the process. A list of harmful advice would
# always lack that of the next kernel: MADV_GUARD_INSTALL makes the next access a
# segmentation fault.
HARMLESS = {
    CONSTANTS["MADV_" + name] for name in (
        "NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "COLD", "PAGEOUT", "POPULATE_READ",
        "POPULATE_WRITE", "COLLAPSE", "HUGEPAGE", "NOHUGEPAGE", "MERGEABLE", "UNMERGEABLE",
        "DONTFORK", "DOFORK", "WIPEONFORK", "KEEPONFORK", "DONTDUMP", "DODUMP",
    )
}

# Advice by its name alone, as in madvise("random").
ADVICE = {
    name.removeprefix("MADV_").lower(): value
    for name, value in CONSTANTS.items() if name.startswith("MADV_")
}


@cython.final
@cython.auto_pickle(False)
cdef class Descriptor:
    """The descriptor that a call returns, closed unless a mapping takes it over.

    A mere number would be lost when a signal handler raises between the call and the next
    step.
    """
    def __cinit__(self, call, *arguments):
        self.fd = self.flags = -1
        if call is not None:
            self.fd = call(*arguments)

    @property
    def size(self):
        return self.answer.st_size

    @property
    def is_regular(self):
        return S_ISREG(self.answer.st_mode) != 0

    def __enter__(self):
        return self.fd

    def __exit__(self, *error):
        self.finish()

    def __dealloc__(self):
        self.finish()

    cdef void finish(self) noexcept:
        if self.fd != -1:
            close(self.take())

    cdef int take(self) noexcept:
        cdef int fd = self.fd
        self.fd = -1
        return fd

    cdef int learn(self, int fd, int kept) noexcept nogil:
        """Ask for flags and status of a file to open again; returns an errno value."""
        cdef int flags = fcntl(fd, F_GETFL)
        if flags == -1 or fstat(fd, &self.answer) == -1:
            return errno
        self.flags = flags & kept
        return 0

    cdef bint tell(self, file_stat *status) noexcept nogil:
        """Pass on the status of the file, if it has been asked for."""
        status[0] = self.answer
        return self.flags != -1

    cdef int open_again(self, int fd, const char *path) noexcept nogil:
        """Returns an errno value."""
        cdef int code = EINTR
        while S_ISREG(self.answer.st_mode) and self.fd == -1 and code == EINTR:
            self.fd = open_file(path, self.flags | O_CLOEXEC)
            code = errno
        if self.fd == -1:
            self.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)
            self.flags = fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)    # which it shares
        return code_of(self.fd)


def ask(int fd, int kept=O_ACCMODE | O_APPEND):
    """Return what the flags and the status of a file are, in a `Descriptor` without one."""
    cdef Descriptor asked = Descriptor.__new__(Descriptor, None)
    cdef int code = asked.learn(fd, kept)
    if code:
        raise OSError(code, strerror(code).decode())
    return asked


def open_again(int fd, Descriptor asked=None):
    """Open the file of a descriptor once more, with the flags that were `asked` for.

    The new descriptor shares neither the offset with it nor the errors of writing, which
    the kernel reports once for each open file description. A duplicate must do where the
    kernel does not let us open the file again, and for what is no regular file.
    """
    cdef char space[32]
    cdef Descriptor own = ask(fd) if asked is None else asked
    cdef const char *path = proc_path(space, fd)
    cdef int code
    PySys_Audit(b"open", b"sOi", path, <PyObject *> None, own.flags)
    with nogil:
        code = own.open_again(fd, path)
    if code:
        raise OSError(code, strerror(code).decode())
    return own
