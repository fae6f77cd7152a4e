#define _GNU_SOURCE
#include "_sigbus/patch_parts.h"
#include "_linux/fallbacks.h"
#include "_sigbus/attempts.h"
#include "_sigbus/carry.h"
#include "_sigbus/handler_local.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* More than there can be: each takes at least one of the 65530 mappings Linux allows. */
#define MOST_PATCHES 65536

/* Enough for about ten faults in a process that can have no more mappings. */
#define SPARE_MAPPINGS 32

/* One access may fail this often where there is a patch, or a page again. */
#define MOST_RETRIES 100

atomic_ulong patch_total;

static struct patch_range *ranges;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static int store = -1;
static char *spare;             /* see take_spare_mappings() */
static char *copied;            /* see copy_aside() */
static struct stat store_status;        /* another file may have its number by now */
static int is_used;                     /* pages have been put into the store */
size_t page_size;
char scratch[65536];

/* The store has a page's first content this far behind the page. No address is as high. */
#define ORIGINALS ((off_t)1 << 60)

static HANDLER_LOCAL struct attempts retried;

/* A thread that faults while it holds the lock may not wait for it. */
static HANDLER_LOCAL volatile int is_holder;

void patch_lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        sched_yield();
    is_holder = 1;
}

void patch_unlock(void)
{
    is_holder = 0;
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static char *page_of(const void *address)
{
    return (char *)((uintptr_t)address & ~(page_size - 1));
}

static size_t round_up(size_t length)
{
    return (length + page_size - 1) & ~(page_size - 1);
}

char *patch_end_of(const struct patch_range *range)
{
    return range->start + range->length;
}

/* -- The store */

/* A program that closes all descriptors closes this one, too, and may open a file that gets
 * its number. */
static int has_store(void)
{
    struct stat status;

    return store != -1 && fstat(store, &status) == 0 && status.st_ino == store_status.st_ino
           && status.st_dev == store_status.st_dev;
}

static int make_store(void)
{
    store = (int)syscall(SYS_memfd_create, "yammap patches", MFD_CLOEXEC);
    is_used = 0;
    return store != -1 && fstat(store, &store_status) == 0;
}

static int ensure_store(void)
{
    if (!has_store() && !make_store())
        return 0;
    is_used = 1;
    return 1;
}

static void drop_store(void)
{
    if (has_store())
        close(store);
    store = -1;
}

void patch_drop_from_store(const char *start, size_t length)
{
    if (has_store())
        for (off_t base = 0; base <= ORIGINALS; base += ORIGINALS)
            fallocate(store, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      base + (off_t)(uintptr_t)start, (off_t)length);
}

/* -- The ranges */

void patch_watch(struct patch_range *range)
{
    patch_lock();
    range->next = ranges;
    range->link = &ranges;
    if (ranges != NULL)
        ranges->link = &range->next;
    ranges = range;
    patch_unlock();
}

void patch_forget(struct patch_range *range)
{
    patch_lock();
    *range->link = range->next;
    if (range->next != NULL)
        range->next->link = range->link;
    patch_unlock();
    if (range->patches != NULL) {
        patch_lock();
        patch_drop_from_store(range->start, range->length);
        patch_unlock();
        munmap(range->patches, MOST_PATCHES * sizeof(struct patch));
    }
}

void patch_resize(struct patch_range *range, size_t length)
{
    patch_lock();
    range->length = length;
    patch_unlock();
}

void patch_expose(struct patch_range *range, size_t length)
{
    patch_lock();
    range->exposed = length;
    patch_unlock();
}

void patch_let_go(struct patch_range *range)
{
    patch_lock();
    range->fd = -1;
    patch_unlock();
}

static struct patch_range *range_of(const void *address)
{
    struct patch_range *range = ranges;

    while (range != NULL && (uintptr_t)address - (uintptr_t)range->start >= range->length)
        range = range->next;
    return range;
}

/* -- The content of a page */

static int is_refused(char *page, int writing)
{
    return madvise(page, page_size, writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0;
}

static int put_into_store(const char *page, const char *content)
{
    return ensure_store()
           && pwrite(store, content, page_size, (off_t)(uintptr_t)page) == (ssize_t)page_size;
}

/* Comparing a page with its original shows what threads stored into it. Comparing it with
 * the file would not: others change the file. */
static int keep_original(const char *page)
{
    off_t offset = (off_t)(uintptr_t)page;

    return pread(store, scratch, page_size, offset) == (ssize_t)page_size
           && pwrite(store, scratch, page_size, ORIGINALS + offset) == (ssize_t)page_size;
}

int patch_read_original(const char *page, char *content)
{
    return pread(store, content, page_size, ORIGINALS + (off_t)(uintptr_t)page)
           == (ssize_t)page_size;
}

off_t patch_offset_of(const struct patch_range *range, const char *page)
{
    return (off_t)range->offset + (page - range->start);
}

/* Copy a page into a mapping of its own, which is then moved into place. RLIMIT_FSIZE limits
 * the store, too, whose offsets are as high as addresses; and a sandbox may refuse memfds. */
static int copy_aside(char *page)
{
    void *aside = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    size_t done = 0;
    ssize_t count;

    if (aside == MAP_FAILED)
        return 0;
    while (done < page_size) {
        count = carry(page + done, (char *)aside + done, page_size - done, 0);
        if (count <= 0) {
            munmap(aside, page_size);
            return 0;
        }
        done += (size_t)count;
    }
    copied = aside;
    return 1;
}

/* From memory, else from the file: pread(2) can read a hole on a full disk. */
static int keep_content(const struct patch_range *range, char *page)
{
    ssize_t count;

    if (put_into_store(page, page))
        return keep_original(page);
    if (errno != EFAULT && copy_aside(page))
        return 1;
    memset(scratch, 0, page_size);
    count = pread(range->fd, scratch, page_size, patch_offset_of(range, page));
    if (count <= 0)
        return 0;
    return put_into_store(page, scratch) ? keep_original(page) : copy_aside(scratch);
}

/* Why an access before the end of the file failed: a page that can be read lacks room. */
static int cause_at(const struct patch_range *range, const char *page, int kept)
{
    char byte;

    if (range->fd != -1 && pread(range->fd, &byte, 1, patch_offset_of(range, page)) == -1)
        return errno;
    return kept ? ENOSPC : EIO;
}

/* -- Where the file ends */

/* Any error but EFAULT says that the kernel did not look. The page may be readable then:
 * taking it for a page past the end would replace the whole view by zeros. */
static int is_readable(char *page)
{
    char byte;

    return carry(page, &byte, 1, 0) == 1 || errno != EFAULT;
}

/* A large folio around the end of the file has cached pages beyond the end, too. */
static int has_cached_page(char *start, char *end)
{
    size_t count;

    while (start < end) {
        count = (size_t)(end - start) / page_size;
        if (count > sizeof(scratch))
            count = sizeof(scratch);
        if (mincore(start, count * page_size, (unsigned char *)scratch) == 0)
            for (size_t i = 0; i < count; i++)
                if (scratch[i] & 1 && is_readable(start + i * page_size))
                    return 1;
        start += count * page_size;
    }
    return 0;
}

/* Without a descriptor no call tells the size. But past the end, and only there, no page can
 * be read: neither the last one nor one that mincore(2) takes for cached. */
static char *guess_end(const struct patch_range *range, char *page)
{
    char *end = range->start + round_up(range->exposed);

    if (is_readable(page))
        return patch_end_of(range);
    if (page + page_size < end
        && (is_readable(end - page_size) || has_cached_page(page, end)))
        return patch_end_of(range);
    return page;
}

/* The first page wholly past the end of the file, at most the end of the range. */
static char *end_of_file(const struct patch_range *range, struct patch *patch)
{
    struct stat status;
    off_t mapped;

    patch->size = -1;
    if (range->fd == -1 || fstat(range->fd, &status) == -1)
        return guess_end(range, patch->start);
    patch->size = status.st_size;
    mapped = status.st_size - (off_t)range->offset;
    if (mapped >= (off_t)range->length)
        return patch_end_of(range);
    return range->start + round_up(mapped > 0 ? (size_t)mapped : 0);
}

/* -- Putting pages in place */

static const struct patch *patch_at(const struct patch_range *range, const char *page)
{
    for (size_t i = 0; i < range->count; i++)
        if ((uintptr_t)page - (uintptr_t)range->patches[i].start < range->patches[i].length)
            return &range->patches[i];
    return NULL;
}

static int has_table(struct patch_range *range)
{
    void *table;

    if (range->patches == NULL) {
        table = mmap(NULL, MOST_PATCHES * sizeof(struct patch), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        range->patches = table == MAP_FAILED ? NULL : table;
    }
    return range->patches != NULL && range->count < MOST_PATCHES;
}

/* A patch takes up to three mappings, and a process may have as many as it is allowed. So
 * this takes some in advance, which are given back when a patch needs them. Every other page
 * gets another protection, since the kernel merges pages of the same one. */
static void take_spare_mappings(void)
{
    void *start = mmap(NULL, SPARE_MAPPINGS * page_size, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (start == MAP_FAILED)
        return;
    spare = start;
    for (int i = 0; i < SPARE_MAPPINGS; i += 2)
        mprotect(spare + i * page_size, page_size, PROT_READ);
}

static int give_spare_mappings_back(void)
{
    char *start = spare;

    if (errno != ENOMEM || start == NULL)
        return 0;
    spare = NULL;
    return munmap(start, SPARE_MAPPINGS * page_size) == 0;
}

static void record(struct patch_range *range, const struct patch *patch)
{
    struct patch *last = range->patches + range->count - 1;

    if (range->count > 0 && !last->healing && last->start + last->length == patch->start
        && last->code == patch->code && last->kept == patch->kept
        && last->writing == patch->writing && last->thread == patch->thread)
        last->length += patch->length;
    else
        range->patches[range->count++] = *patch;
    range->patches[range->count - 1].serial = atomic_load(&patch_total);
}

/* Where overcommit refuses anonymous memory for zeros, holes in the store do. */
static int map_patch(const struct patch_range *range, const struct patch *patch)
{
    int flags = MAP_FIXED | MAP_NORESERVE;

    if (copied != NULL) {
        if (mremap(copied, page_size, page_size, MREMAP_MAYMOVE | MREMAP_FIXED, patch->start)
            == MAP_FAILED)
            return 0;
        copied = NULL;
        return 1;
    }
    if (!patch->kept
        && mmap(patch->start, patch->length, range->prot, MAP_PRIVATE | MAP_ANONYMOUS | flags,
                -1, 0) != MAP_FAILED)
        return 1;
    return ensure_store()
           && mmap(patch->start, patch->length, range->prot, range->flags | flags, store,
                   (off_t)(uintptr_t)patch->start) != MAP_FAILED;
}

/* Raise the total before the patch can be seen: so a copy that reads its zeros finds the
 * total changed, and waits for the lock to learn why. */
static int place(struct patch_range *range, const struct patch *patch)
{
    atomic_fetch_add(&patch_total, 1);
    while (!has_table(range) || !map_patch(range, patch))
        if (!give_spare_mappings_back())
            return 0;
    record(range, patch);
    return 1;
}

/* The end of the bytes that views can reach. Beyond it lies the reserve. Patching that would
 * take memory in a process that locks all of its memory. */
static char *end_of_views(const struct patch_range *range, const char *page)
{
    char *end = range->start + round_up(range->exposed);

    return page < end && end < patch_end_of(range) ? end : patch_end_of(range);
}

/* Put zeros from `start` to the end, around the patches that are there. */
static int place_tail(struct patch_range *range, char *start, struct patch *patch)
{
    const struct patch *there;
    char *end = end_of_views(range, patch->start);

    for (; start < end; start = patch->start + patch->length) {
        there = patch_at(range, start);
        if (there != NULL) {
            patch->start = start;
            patch->length = (size_t)(there->start + there->length - start);
            continue;
        }
        patch->start = start;
        patch->length = (size_t)(end - start);
        for (size_t i = 0; i < range->count; i++)
            if (range->patches[i].start > start && range->patches[i].start < start + patch->length)
                patch->length = (size_t)(range->patches[i].start - start);
        if (!place(range, patch))
            return 0;
    }
    return 1;
}

/* Whether to try the access again, since another thread patched the page first or the file has
 * grown again. That must not go on for ever. After a new patch the count begins anew. */
static int may_retry(const void *address)
{
    return count_attempt(&retried, address, atomic_load(&patch_total)) < MOST_RETRIES;
}

/* Another thread had the page patched first, but this thread has touched it, too. */
static enum patch_result tell_too(struct patch_range *range, struct patch *patch)
{
    patch->length = 0;
    if (!has_table(range))
        return PATCH_DONE;
    record(range, patch);
    return PATCH_RAISE;
}

static enum patch_result put_page(struct patch_range *range, const char *address, int writing)
{
    struct patch patch = {.start = page_of(address), .length = page_size, .touched = address,
                          .code = EFAULT, .writing = writing,
                          .thread = range->raises ? (unsigned long)pthread_self() : 0};
    const struct patch *there = patch_at(range, patch.start);
    char *tail;

    if ((there != NULL || !is_refused(patch.start, writing)) && may_retry(address))
        return there != NULL && range->raises ? tell_too(range, &patch) : PATCH_DONE;
    if (there != NULL)
        return PATCH_FAILED;
    tail = end_of_file(range, &patch);
    if (patch.start >= tail) {
        if (!place_tail(range, tail, &patch))
            return PATCH_FAILED;
    } else {
        patch.kept = keep_content(range, patch.start);
        patch.code = cause_at(range, patch.start, patch.kept);
        if (!place(range, &patch))
            return PATCH_FAILED;
    }
    return range->raises ? PATCH_RAISE : PATCH_DONE;
}

int patch_cause(const struct patch_range *range, const void *address)
{
    struct patch patch = {.start = page_of(address)};
    int code;

    patch_lock();
    code = patch.start >= end_of_file(range, &patch) ? EFAULT
                                                     : cause_at(range, patch.start, 0);
    patch_unlock();
    return code;
}

enum patch_result patch_fault(const void *address, int writing)
{
    enum patch_result result = PATCH_FOREIGN;
    struct patch_range *range;

    if (is_holder)
        return PATCH_FAILED;
    patch_lock();
    range = range_of(address);
    if (range != NULL)
        result = put_page(range, address, writing);
    patch_unlock();
    return result;
}

/* -- Fork
 *
 * After a fork each process has its own store. In a common one both would use the same
 * offsets: a page that one process heals and drops would become zeros in the other, which
 * would write them to the file. Pages that are mapped already stay mapped in both. */

static void move_originals(int old, const struct patch *patch)
{
    off_t offset = ORIGINALS + (off_t)(uintptr_t)patch->start;

    for (off_t end = offset + (off_t)patch->length; offset < end; offset += (off_t)page_size)
        if (pread(old, scratch, page_size, offset) == (ssize_t)page_size
            && pwrite(store, scratch, page_size, offset) == -1)
            return;     /* then heal() writes each byte that differs from the file */
}

static void renew_store(void)
{
    int old = has_store() ? store : -1;

    if (is_used && make_store())
        for (struct patch_range *range = ranges; range != NULL; range = range->next)
            for (size_t i = 0; i < range->count; i++)
                if (range->patches[i].kept) {
                    is_used = 1;
                    move_originals(old, &range->patches[i]);
                }
    if (old != -1 && old != store)
        close(old);
}

static void after_fork_in_parent(void)
{
    renew_store();
    patch_unlock();
}

/* Only patches are mapped there now, and views may be alive. */
static void put_zeros(struct patch_range *range)
{
    for (size_t i = 0; i < range->count; i++)
        munmap(range->patches[i].start, range->patches[i].length);
    range->count = 0;
    mmap(range->start, range->length, range->prot,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
}

/* The child has no other threads, and a new one may get the number of one that is gone. */
static void after_fork_in_child(void)
{
    unsigned long thread = (unsigned long)pthread_self();

    if (is_used)
        renew_store();
    else
        drop_store();
    for (struct patch_range *range = ranges; range != NULL; range = range->next) {
        if (range->dontfork)
            put_zeros(range);
        for (size_t i = 0; i < range->count; i++)
            if (range->patches[i].thread != thread)
                range->patches[i].thread = 0;
    }
    patch_unlock();
}

int patch_install(void)
{
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    make_store();       /* a sandbox may refuse it: copy_aside() needs none */
    errno = pthread_atfork(patch_lock, after_fork_in_parent, after_fork_in_child);
    if (errno != 0) {
        drop_store();
        return -1;
    }
    take_spare_mappings();
    return 0;
}

/* -- Telling threads and methods */

int patch_get(struct patch_range *range, size_t index, struct patch *copy)
{
    int found;

    patch_lock();
    found = index < range->count;
    if (found)
        *copy = range->patches[index];
    patch_unlock();
    return found;
}

static int tell_of(struct patch_range *range, unsigned long thread)
{
    int found = 0;

    for (size_t i = 0; i < range->count; i++)
        if (range->patches[i].thread == thread) {
            range->patches[i].thread = 0;
            found = 1;
        }
    return found;
}

int patch_of_thread(unsigned long thread, int claim, struct patch *copy,
                    struct patch_owner *owner)
{
    struct patch_range *range = NULL;
    unsigned long found = 0;

    patch_lock();
    for (struct patch_range *next = ranges; next != NULL; next = next->next)
        for (size_t i = 0; i < next->count; i++)
            if (next->patches[i].thread == thread && next->patches[i].serial > found) {
                *copy = next->patches[i];
                range = next;
                found = copy->serial;
            }
    for (struct patch_range *next = ranges; claim && next != NULL; next = next->next)
        tell_of(next, thread);
    if (range != NULL && owner != NULL) {
        owner->data = range->start + range->lead;
        owner->name = __atomic_load_n(&range->name, __ATOMIC_RELAXED);   /* may change now */
        owner->hold(owner->name);
    }
    patch_unlock();
    return found != 0;
}

int patch_told(struct patch_range *range, unsigned long thread)
{
    int found;

    patch_lock();
    found = tell_of(range, thread);
    patch_unlock();
    return found;
}
