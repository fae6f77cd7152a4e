/* Patches: pages put in the place of those the kernel could not supply.
 *
 * After a bus error in a view, the processor tries the instruction again: there must be a page
 * by then. This part knows the ranges of file memory that views may touch, puts pages into
 * them, and records each patch for those who report it and heal it.
 *
 * What is put there
 * - The page's own content, if it can still be read: a full disk refuses to store into a
 *   page that can be read. The content goes into the store, a memfd of the process in which
 *   a page's offset is its address. So patches side by side are one mapping; copying a page
 *   by pwrite(2) from the page itself fails with EFAULT and raises no SIGBUS where the page
 *   cannot be read; and one mmap(2) puts it in place, so that no thread sees it half done.
 * - Past the end of the file, zeros for the whole tail at once: anonymous memory, which
 *   takes no memory until a thread writes to it.
 * - Else zeros for one page.
 *
 * Contract
 * - One lock serialises all calls. A signal handler may call patch_fault(), which makes only
 *   system calls. No such handler may interrupt the other functions: so they touch no file
 *   memory that may fault while they hold the lock.
 * - The caller watches a range before it gives the address to anyone, and forgets the range
 *   before it unmaps it. While a range is watched, only these functions unmap or remap parts
 *   of it.
 * - While one thread patches or heals a page, another may store into it. That store is lost
 *   only if the kernel accepts it just then, after it has refused the page.
 *
 * The reasons are in docs/design/sigbus.md.
 */
#ifndef YAMMAP_PATCH_H
#define YAMMAP_PATCH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct patch {
    char *start;
    size_t length;          /* 0: another thread had the page patched already */
    const char *touched;    /* the address of the access that failed */
    unsigned long thread;   /* pthread_self() of the one to tell; 0 once it was told */
    unsigned long serial;   /* a later patch has a higher one */
    int64_t size;           /* of the file, or -1 when it is not known */
    int code;               /* EFAULT: past the end of the file; else ENOSPC, EIO, ... */
    int writing;
    int kept;               /* has the page's own content, else zeros */
    int healing;            /* being healed, so it does not grow any more */
};

struct patch_range {
    char *start;
    size_t length;
    size_t lead;            /* bytes before the mapping's first */
    size_t exposed;         /* bytes from start that views can reach */
    int64_t offset;         /* of start, in the file */
    int fd;                 /* of the file, or -1 */
    int prot, flags;        /* that it was mapped with */
    int raises;             /* tell the thread that touched a page */
    int dontfork;           /* MADV_DONTFORK: a forked child gets zeros there */
    void *name;             /* what errors call the file; borrowed */
    struct patch *patches;  /* oldest first */
    size_t count;
    unsigned long heals;    /* patches that are gone: a copy may have read one */
    struct patch_range *next, **link;
};

/* The number of patches in this process so far. */
extern atomic_ulong patch_total;

/* Make the store, and handle forks. Returns 0, or -1 with errno set. Not thread-safe. */
int patch_install(void);

void patch_watch(struct patch_range *range);
void patch_forget(struct patch_range *range);

/* Give the range another length: before its end is unmapped, or after more is mapped. */
void patch_resize(struct patch_range *range, size_t length);

/* Views can reach the first `length` bytes of the range now. */
void patch_expose(struct patch_range *range, size_t length);

/* Stop using the descriptor, which the caller is about to close. */
void patch_let_go(struct patch_range *range);

enum patch_result {
    PATCH_FOREIGN,          /* not in a watched range */
    PATCH_DONE,             /* try again */
    PATCH_RAISE,            /* try again, and tell this thread */
    PATCH_FAILED            /* no page can be put there; errno tells why */
};

enum patch_result patch_fault(const void *address, int writing);

/* Why reading at `address` fails: EFAULT past the end of the file, else EIO. */
int patch_cause(const struct patch_range *range, const void *address);

/* Copy patch number `index`; returns 0 when there is no such patch. */
int patch_get(struct patch_range *range, size_t index, struct patch *copy);

/* The range of a patch. Another thread may free the range as soon as the lock is free, so
 * `hold` is called under the lock: it takes a reference to the name, and neither waits nor
 * fails. */
struct patch_owner {
    void (*hold)(void *name);
    char *data;             /* of the mapping's first byte */
    void *name;
};

/* Find the last patch that a thread has not been told of. With `claim`, the thread counts as
 * told of all its patches. `owner` may be NULL. */
int patch_of_thread(unsigned long thread, int claim, struct patch *copy,
                    struct patch_owner *owner);

/* Note that the thread was told of its patches in this range. Returns whether it had any. */
int patch_told(struct patch_range *range, unsigned long thread);

/* Map the file anew at the whole range, unless there are patches. Returns whether it did; if
 * not, the range is mapped as before. */
int patch_map_anew(struct patch_range *range);

/* Write the bytes that were stored into patches to the file, for the first `length` bytes of
 * the range, and map the file in place of the patches. Adds the bytes written to `*written`.
 * Returns 0 or an errno value, EFAULT where bytes lie past the end of the file. With
 * `discard`, bytes that cannot be written are given up. Only one thread at a time may call
 * this for a range. */
int patch_heal(struct patch_range *range, size_t length, int discard, size_t *written);

#endif
