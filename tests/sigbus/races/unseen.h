/* Included first, for ThreadSanitizer only. It takes mmap(2) for a store to the range, and
 * would call each patch a race with the view that it mends; and what two guarded copies do
 * to the same bytes is their callers' affair. So it sees neither. And it runs handlers with
 * all signals blocked, which leaving by a jump has to undo. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline void *unseen_mmap(void *start, size_t length, int prot, int flags, int fd,
                                off_t offset)
{
    return (void *)syscall(SYS_mmap, start, length, prot, flags, fd, offset);
}

__attribute__((no_sanitize_thread)) static inline void *unseen_memmove(
    void *target, const void *source, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((volatile char *)target)[i] = ((const volatile char *)source)[i];
    return target;
}

#define mmap unseen_mmap
#define memmove unseen_memmove
#undef sigsetjmp
#define sigsetjmp(place, ignored) __sigsetjmp(place, 1)
