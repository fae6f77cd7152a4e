/* System calls that fail, on order: for LD_PRELOAD.
 *
 * fail("mmap", 3, ENOMEM, 1) makes the third mmap(2) from now on fail, that one only;
 * with 0 at the end, all from the third on. It returns how many calls of the one that was
 * to fail before were made, so that fail("", 0, 0, 0) counts and ends it.
 *
 * Only calls that yammap's extension module makes are counted and failed: Python maps
 * memory as well. fsync and fdatasync are counted for everybody, since os.fsync() makes
 * them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    char name[16];
    long nth;
    int code, once;
} target;

static atomic_long calls;

long fail(const char *name, long nth, int code, int once)
{
    strncpy(target.name, name, sizeof target.name - 1);
    target.nth = nth;
    target.code = code;
    target.once = once;
    return atomic_exchange(&calls, 0);
}

static int from_yammap(const void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && strstr(info.dli_fname, "/_core.") != NULL;
}

static int fails(const char *name, const void *caller)
{
    long call;

    if (strcmp(name, target.name) || (caller != NULL && !from_yammap(caller)))
        return 0;
    call = atomic_fetch_add(&calls, 1) + 1;
    if (target.nth == 0 || (target.once ? call != target.nth : call < target.nth))
        return 0;
    errno = target.code;
    return 1;
}

#define CALLER __builtin_return_address(0)

#define WRAP(type, name, parameters, ...)                                       \
    type name parameters                                                        \
    {                                                                           \
        return fails(#name, CALLER) ? (type)-1 : (type)syscall(__VA_ARGS__);    \
    }

WRAP(int, ftruncate, (int fd, off_t length), SYS_ftruncate, fd, length)
WRAP(int, fallocate, (int fd, int mode, off_t offset, off_t length),
     SYS_fallocate, fd, mode, offset, length)
WRAP(int, fstat, (int fd, struct stat *status), SYS_fstat, fd, status)
WRAP(int, madvise, (void *start, size_t length, int advice),
     SYS_madvise, start, length, advice)
WRAP(int, msync, (void *start, size_t length, int flags), SYS_msync, start, length, flags)
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t count, off_t offset),
     SYS_pwrite64, fd, data, count, offset)
WRAP(ssize_t, write, (int fd, const void *data, size_t count), SYS_write, fd, data, count)
WRAP(void *, mmap,
     (void *start, size_t length, int prot, int flags, int fd, off_t offset),
     SYS_mmap, start, length, prot, flags, fd, offset)

#undef CALLER
#define CALLER NULL
WRAP(int, fsync, (int fd), SYS_fsync, fd)
WRAP(int, fdatasync, (int fd), SYS_fdatasync, fd)

void *mremap(void *start, size_t length, size_t size, int flags, ...)
{
    va_list rest;
    void *to;

    va_start(rest, flags);
    to = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
    va_end(rest);
    if (fails("mremap", __builtin_return_address(0)))
        return MAP_FAILED;
    return (void *)syscall(SYS_mremap, start, length, size, flags, to);
}

/* The names that programs with 64-bit offsets are linked to. */
#define ALIAS(name, of) __asm__(".globl " #name "\n.set " #name ", " #of)
ALIAS(mmap64, mmap);
ALIAS(ftruncate64, ftruncate);
ALIAS(fallocate64, fallocate);
ALIAS(fstat64, fstat);
ALIAS(pwrite64, pwrite);
