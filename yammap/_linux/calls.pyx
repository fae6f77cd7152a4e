"""The kernel, for Python: its constants, which advice is harmless, and `Descriptor`.

The calls themselves are declared in calls.pxd, and the constants in constants.h.
"""

cimport cython

__all__ = ["CONSTANTS", "HARMLESS", "Descriptor"]


cdef extern from "_linux/constants.h":
    struct constant:
        const char *name
        long value
    const constant *constants


cdef dict read_constants():
    cdef int i = 0
    values = {}
    while constants[i].name != NULL:
        values[constants[i].name.decode()] = constants[i].value
        i += 1
    return values


CONSTANTS = read_constants()

# Advice that neither throws data away nor kills. A list of what is refused would be one
# kernel release short: MADV_GUARD_INSTALL makes the next access a segmentation fault.
HARMLESS = {
    CONSTANTS["MADV_" + name] for name in (
        "NORMAL", "RANDOM", "SEQUENTIAL", "WILLNEED", "COLD", "PAGEOUT", "POPULATE_READ",
        "POPULATE_WRITE", "COLLAPSE", "HUGEPAGE", "NOHUGEPAGE", "MERGEABLE", "UNMERGEABLE",
        "DONTFORK", "DOFORK", "WIPEONFORK", "KEEPONFORK", "DONTDUMP", "DODUMP",
    )
}


@cython.final
@cython.auto_pickle(False)
cdef class Descriptor:
    """The descriptor that a call returns, closed unless a mapping takes it over.

    As a mere number it would be lost where a signal handler raises between that call and
    the next step.
    """
    def __cinit__(self, call, *arguments):
        self.fd = -1
        self.fd = call(*arguments)

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
