# What errors call a file: what it was opened by, or the path of its descriptor.
#
# Knows how the kernel tells a path. It must not know what an error says besides.
#
# The reasons are in docs/design/memory.md.

@cython.final
@cython.auto_pickle(False)
cdef class PathOf:
    """The path of a descriptor, which is asked for at the first error, if there is one.

    To ask takes as long as mmap(2) and munmap(2) together.
    """
    cdef int fd             # -1: closed
    cdef object path        # None: nobody has asked

    cdef object found(self):
        """The path; the descriptor's number where /proc has none; None if closed."""
        with cython.critical_section(self):
            if self.path is None and self.fd != -1:
                self.path = path_of(self.fd)    # keeps the GIL, so nobody closes it
            return self.path

    cdef int let_go_of_file(self, bint needed) except -1:
        """Stop using the descriptor, before it is closed; if `needed`, ask now."""
        if needed:
            self.found()
        with cython.critical_section(self):
            self.fd = -1
        return 0


cdef PathOf new_path_of(int fd):
    cdef PathOf path = PathOf.__new__(PathOf)
    path.fd = fd
    return path


cdef object path_of(int fd):
    cdef char space[32]
    cdef bytes path = PyBytes_FromStringAndSize(NULL, PATH_MAX)
    cdef Py_ssize_t length = readlink(proc_path(space, fd), path, PATH_MAX)
    return fd if length == -1 else PyUnicode_DecodeFSDefaultAndSize(path, length)


cdef object told(object name):
    """The name for an error, or for a caller."""
    return (<PathOf> name).found() if type(name) is PathOf else name


cdef object label_of(object name):
    """A name for regions: it refers to nothing, since the collector does not look there.

    A type of names may say that it does not, and is kept as long as the region is.
    """
    kind = type(name)
    if kind in (str, bytes, int, PathOf) or hasattr(kind, "refers_to_no_mapping"):
        return name
    return str.__str__(str(name))
