"""The system calls that yammap makes, and the constants that it passes to them, as in C.

Constants that only Python sees are in constants.h alone.
"""

from libc.errno cimport EINTR, EIO, ENOSYS, EOPNOTSUPP, EPERM, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef extern from "<sys/mman.h>" nogil:
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE
    int MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE
    int MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED
    int MADV_DONTFORK, MADV_DOFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE
    int MS_ASYNC, MS_INVALIDATE, MS_SYNC
    void *mmap(void *address, size_t length, int prot, int flags, int fd, int64_t offset)
    int munmap(void *address, size_t length)
    void *mremap(void *address, size_t old_length, size_t new_length, int flags)
    int msync(void *address, size_t length, int flags)
    int madvise(void *address, size_t length, int advice)
    int mincore(void *address, size_t length, unsigned char *vector)
    int mlock(const void *address, size_t length)
    int munlock(const void *address, size_t length)


cdef extern from "_linux/fallbacks.h" nogil:     # for those the headers may not have yet
    int MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE
    long SYS_cachestat, SYS_statx


# linux/mman.h has these since 6.5, later than the headers we build with.
cdef struct cachestat_range:
    uint64_t off, len


cdef struct cachestat:
    uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted


# linux/stat.h has these since 4.11.
cdef enum:
    AT_EMPTY_PATH = 0x1000
    STATX_BTIME = 0x800
    STATX_DIOALIGN = 0x2000     # since 6.1


cdef struct extended_time:
    int64_t tv_sec
    uint32_t tv_nsec
    uint32_t spare


cdef struct extended_stat:
    uint32_t mask
    char others[76]
    extended_time btime
    char more[56]
    uint32_t dio_mem_align
    uint32_t dio_offset_align
    char rest[96]


cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int CLOCK_MONOTONIC_COARSE
    int clock_gettime(int clock, timespec *result)


cdef extern from "<sys/stat.h>" nogil:
    ctypedef struct file_stat "struct stat":
        int64_t st_size
        uint64_t st_dev
        uint64_t st_ino
        unsigned int st_mode
        long st_blksize
        int64_t st_blocks
        timespec st_ctim
    int fstat(int fd, file_stat *result)
    bint S_ISREG(unsigned int mode)
    bint S_ISDIR(unsigned int mode)


cdef extern from "<sys/vfs.h>" nogil:
    struct file_system "statfs":
        unsigned long f_type, f_bsize, f_frsize
        uint64_t f_blocks, f_bfree, f_bavail
        int f_fsid          # of 64 bits, in a struct without public fields
    int fstatfs(int fd, file_system *result)


cdef extern from "<linux/magic.h>":
    unsigned long HUGETLBFS_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC
    unsigned long MSDOS_SUPER_MAGIC, EXFAT_SUPER_MAGIC, FUSE_SUPER_MAGIC
    unsigned long SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC


cdef extern from "<fcntl.h>" nogil:
    int F_GETFL, F_DUPFD_CLOEXEC
    int O_ACCMODE, O_RDONLY, O_WRONLY, O_APPEND, O_CLOEXEC, O_DIRECT
    int open_file "open"(const char *path, int flags, ...)
    int FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
    unsigned int SYNC_FILE_RANGE_WAIT_BEFORE
    unsigned int SYNC_FILE_RANGE_WRITE
    unsigned int SYNC_FILE_RANGE_WAIT_AFTER
    int fcntl(int fd, int command, ...)
    int fallocate(int fd, int mode, int64_t offset, int64_t length)
    int sync_file_range(int fd, int64_t offset, int64_t length, unsigned int flags)
    int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)
    int POSIX_FADV_DONTNEED, POSIX_FADV_RANDOM, POSIX_FADV_WILLNEED


cdef extern from "<sys/sendfile.h>" nogil:
    Py_ssize_t sendfile(int target, int source, int64_t *offset, size_t count)


cdef extern from "<unistd.h>" nogil:
    int _SC_OPEN_MAX, _SC_PAGESIZE, SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE
    long sysconf(int name)
    long syscall(long number, ...)
    int close(int fd)
    unsigned int geteuid()
    int fdatasync(int fd)
    int ftruncate(int fd, int64_t length)
    int64_t lseek(int fd, int64_t offset, int whence)
    Py_ssize_t pread(int fd, void *buffer, size_t length, int64_t offset)
    Py_ssize_t pwrite(int fd, const void *buffer, size_t length, int64_t offset)
    Py_ssize_t readlink(const char *path, char *buffer, size_t length)
    Py_ssize_t write(int fd, const void *buffer, size_t length)


cdef extern from "<limits.h>":
    int PATH_MAX


cdef extern from "<string.h>" nogil:
    void *memmem(const void *hay, size_t hay_length, const void *needle, size_t length)


cdef extern from "<sys/resource.h>" nogil:
    struct resource_usage "rusage":
        long ru_majflt
        long ru_inblock
    int RUSAGE_THREAD
    int getrusage(int who, resource_usage *usage)


# -- Calls that are repeated until they are done. Those that can fail return an errno value.

cdef inline int code_of(int result) noexcept nogil:
    """0, or errno where a system call returned -1."""
    return errno if result == -1 else 0


cdef inline int set_size(int fd, int64_t size) noexcept nogil:
    cdef int code = EINTR
    while code == EINTR:
        code = code_of(ftruncate(fd, size))
    return code


cdef inline int sync_file(int fd) noexcept nogil:
    cdef int code = EINTR
    while code == EINTR:
        code = code_of(fdatasync(fd))
    return code


cdef inline int write_all(int fd, const char *source, int64_t length, int64_t offset,
                          int64_t *done) noexcept nogil:
    """pwrite(2), or write(2) at offset -1, until it is `done`; returns an errno value."""
    cdef Py_ssize_t count
    while done[0] < length:
        if offset == -1:
            count = write(fd, source + done[0], length - done[0])
        else:
            count = pwrite(fd, source + done[0], length - done[0], offset + done[0])
        if count == 0:
            return EIO      # it wrote nothing and gave no reason: do not try for ever
        if count == -1 and errno != EINTR:
            return errno
        done[0] += max(count, 0)
    return 0


cdef inline bint is_refused(int code) noexcept nogil:
    """Whether the filesystem lacks the call, or a sandbox (seccomp) refuses it."""
    return code == EOPNOTSUPP or code == ENOSYS or code == EPERM


cdef inline int write_back(int fd, int64_t offset, int64_t length,
                           unsigned int flags) noexcept nogil:
    """sync_file_range(2), or if that is refused fdatasync(2): it writes more and waits."""
    cdef int code = code_of(sync_file_range(fd, offset, length, flags))
    return sync_file(fd) if is_refused(code) else code


cdef inline const char *proc_path(char *space, int fd) noexcept nogil:
    """The name of a descriptor in /proc, put at the end of 32 bytes of space."""
    cdef int i = 31
    space[i] = 0
    while i == 31 or fd > 0:
        i -= 1
        space[i] = b"0"[0] + fd % 10
        fd //= 10
    i -= 14
    memcpy(space + i, b"/proc/self/fd/", 14)
    return space + i


cdef inline int reopen(int fd, int flags) noexcept nogil:
    cdef char space[32]
    return open_file(proc_path(space, fd), O_CLOEXEC | flags)


cdef class Descriptor:
    cdef readonly int fd
    cdef readonly int flags     # of access and O_APPEND; -1 where nobody has asked
    cdef file_stat answer       # of fstat(2), when it was asked for the flags

    cdef void finish(self) noexcept
    cdef int take(self) noexcept
    cdef bint tell(self, file_stat *status) noexcept nogil
    cdef int learn(self, int fd, int kept) noexcept nogil
    cdef int open_again(self, int fd, const char *path) noexcept nogil
