/* Patches: pages put in the place of those the kernel could not supply.
 *
 * A bus error in a view cannot be undone, since the instruction will be tried again:
 * something must be there by then. This part knows the ranges of file memory that views
 * may touch, puts pages into them, and keeps what it did for whoever reports and mends it.
 *
 * What is put there
 * - The page's own content, when it can still be read: a full disk refuses a store to a
 *   page that everybody can read. It goes into the store, a memfd of the process in which
 *   a page's offset is its address. So patches side by side are one mapping, copying a
 *   page (pwrite from the page itself) answers EFAULT and not SIGBUS where it cannot be
 *   read, and one mmap(2) puts it in place: no thread sees it half done.
 * - Past the end of the file, zeros for the whole tail at once: anonymous memory, of
 *   which reading takes none.
 * - Else zeros for one page.
 *
 * Contract
 * - One lock serialises it all. patch_fault() may be called in a signal handler, and does
 *   only system calls; the others may not be interrupted by a handler that calls it, which
 *   cannot happen as long as they touch no file memory without a lock of their own.
 * - A range is watched before its address is known to anybody, and forgotten before it is
 *   unmapped. While it is watched, only these functions unmap or remap parts of it.
 * - A store that another thread makes to a page just while it is patched or healed is lost
 *   only if the kernel changes its mind in that instant and takes it after all.
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
    size_t length;          /* 0: a thread came second to a page */
    const char *touched;    /* the address of the access that failed */
    unsigned long thread;   /* pthread_self() of who did it; 0 once it has been told */
    unsigned long serial;   /* later ones have more */
    int64_t size;           /* of the file, or -1 when that is not known */
    int code;               /* EFAULT: past the end of the file; else ENOSPC, EIO, ... */
    int writing;
    int kept;               /* holds the page's own content, else zeros */
    int healing;            /* being healed: what comes beside it is another patch */
};

struct patch_range {
    char *start;
    size_t length;
    size_t lead;            /* bytes before the mapping's first */
    size_t exposed;         /* bytes from start that views can reach */
    int64_t offset;         /* of start, in the file */
    int fd;                 /* of the file, or -1 */
    int prot, flags;        /* as it was mapped */
    int raises;             /* tell the thread that touched a page */
    int dontfork;           /* MADV_DONTFORK: a forked child gets zeros there */
    void *name;             /* what errors call the file; borrowed */
    struct patch *patches;  /* oldest first */
    size_t count;
    unsigned long heals;    /* patches that have gone: a copy may have met one */
    struct patch_range *next, **link;
};

/* How many patches there have been in this process. */
extern atomic_ulong patch_total;

/* Make the store, and handle forks. Returns 0, or -1 with errno set. Not thread-safe. */
int patch_install(void);

void patch_watch(struct patch_range *range);
void patch_forget(struct patch_range *range);

/* The range has another length now: before its end is unmapped, or after it was added. */
void patch_resize(struct patch_range *range, size_t length);

/* Views can reach the first `length` bytes of the range now. */
void patch_expose(struct patch_range *range, size_t length);

/* Its descriptor is about to be closed. */
void patch_let_go(struct patch_range *range);

enum patch_result {
    PATCH_FOREIGN,          /* not in a watched range */
    PATCH_DONE,             /* try again */
    PATCH_RAISE,            /* try again, and tell this thread */
    PATCH_FAILED            /* nothing can be put there; errno tells why */
};

enum patch_result patch_fault(const void *address, int writing);

/* What a failure of reading at `address` is: EFAULT past the end of the file, or EIO. */
int patch_cause(const struct patch_range *range, const void *address);

/* Copy patch number `index`; returns 0 when there is none of that number. */
int patch_get(struct patch_range *range, size_t index, struct patch *copy);

/* Whose a patch is. Another thread may free the range as soon as it is found, so `hold` is
 * called with its name before that: it takes a reference, and neither waits nor fails. */
struct patch_owner {
    void (*hold)(void *name);
    char *data;             /* of the mapping's first byte */
    void *name;
};

/* Find the last patch that a thread is to be told of. With `claim`, it is told of all.
 * `owner` may be NULL. */
int patch_of_thread(unsigned long thread, int claim, struct patch *copy,
                    struct patch_owner *owner);

/* The thread has been told of its patches in this range. Returns whether it was not yet. */
int patch_told(struct patch_range *range, unsigned long thread);

/* Map the file anew at the whole range, unless there are patches. Returns whether it was: if
 * not, what was mapped is there as before. */
int patch_map_anew(struct patch_range *range);

/* Write what was stored into patches to the file and map it there again, as far as
 * `length` bytes from the start of the range. Adds the bytes written to `*written`.
 * Returns 0 or an errno value, EFAULT where bytes lie past the end of the file; with
 * `discard` what cannot be written is given up. One thread at a time for each range. */
int patch_heal(struct patch_range *range, size_t length, int discard, size_t *written);

#endif
