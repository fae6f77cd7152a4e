#define _GNU_SOURCE
#include "_sigbus/patch_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char original[65536];    /* content of one page; under the lock */

/* Load what the file has into `scratch`, and what the page had when it was put there (zeros
 * unless kept) into `original`. Returns how many bytes the file has. */
static ssize_t load_page(const struct patch_range *range, const struct patch *patch,
                         const char *page, size_t length)
{
    memset(original, 0, page_size);
    if (patch->kept && !patch_read_original(page, original))
        for (size_t i = 0; i < page_size; i++)
            original[i] = (char)~page[i];   /* it is lost: take every byte for stored */
    return pread(range->fd, scratch, length, patch_offset_of(range, page));
}

/* Whether a thread stored byte i into the page and the file does not have it. */
static int is_stored(const char *page, ssize_t in_file, size_t i)
{
    return page[i] != original[i] && ((ssize_t)i >= in_file || page[i] != scratch[i]);
}

/* Write the stored bytes of one page, run by run: the bytes between the runs may be what others
 * wrote to the file. The first `length` bytes of the page belong to the mapping. */
static int write_back(struct patch_range *range, const struct patch *patch, char *page,
                      size_t length, off_t size, size_t *written)
{
    off_t offset = patch_offset_of(range, page);
    ssize_t in_file = load_page(range, patch, page, length), done;
    size_t first = 0, end;

    while (first < length) {
        if (!is_stored(page, in_file, first)) {
            first++;
            continue;
        }
        for (end = first; end < length && is_stored(page, in_file, end);)
            end++;
        if (offset + (off_t)end > size)
            return EFAULT;
        done = pwrite(range->fd, page + first, end - first, offset + (off_t)first);
        if (done == 0 || (done == -1 && errno != EINTR))
            return done == 0 ? EIO : errno;
        *written += done > 0 ? (size_t)done : 0;
        first += done > 0 ? (size_t)done : 0;
    }
    return 0;
}

static int is_zero(const char *page)
{
    return page[0] == 0 && memcmp(page, page + 1, page_size - 1) == 0;
}

/* Page by page, with the lock free in between: a long tail takes long. */
static int write_pages_back(struct patch_range *range, const struct patch *patch, char *end,
                            int discard, size_t *written)
{
    struct stat status;
    size_t left;
    int code = 0;

    if (fstat(range->fd, &status) == -1)
        return errno;
    for (char *page = patch->start; page < end && (code == 0 || discard); page += page_size) {
        if (!patch->kept && is_zero(page))
            continue;
        left = (size_t)(end - page);
        patch_lock();
        code = write_back(range, patch, page, left < page_size ? left : page_size,
                          status.st_size, written);
        patch_unlock();
    }
    return discard ? 0 : code;
}

static char *least(char *a, char *b)
{
    return a < b ? a : b;
}

/* Map the file up to `end`, but not beyond the range, which may have become shorter since. */
static int map_file(const struct patch_range *range, char *start, char *end)
{
    end = least(end, patch_end_of(range));
    if (start >= end)
        return 1;
    if (mmap(start, (size_t)(end - start), range->prot, range->flags | MAP_FIXED, range->fd,
             patch_offset_of(range, start)) == MAP_FAILED)
        return 0;
    if (range->dontfork)    /* under the lock: a fork waits for it */
        madvise(start, (size_t)(end - start), MADV_DONTFORK);
    return 1;
}

/* Under the lock, so that no thread gets a patch in between: mapping the file over it would
 * lose what the thread stores into it. */
int patch_map_anew(struct patch_range *range)
{
    int done;

    patch_lock();
    done = range->count == 0 && map_file(range, range->start, patch_end_of(range));
    patch_unlock();
    return done;
}

static int has_stores(const struct patch_range *range, const struct patch *patch,
                      const char *page)
{
    ssize_t in_file = load_page(range, patch, page, page_size);

    for (size_t i = 0; i < page_size; i++)
        if (is_stored(page, in_file, i))
            return 1;
    return 0;
}

/* Copy on write: a page that a thread stored into is a private copy already, and stays. */
static int map_untouched(const struct patch_range *range, const struct patch *patch, char *end)
{
    char *start = patch->start;

    for (char *page = patch->start; page < end; page += page_size)
        if ((patch->kept || !is_zero(page)) && has_stores(range, patch, page)) {
            if (!map_file(range, start, page))
                return errno;
            start = page + page_size;
        }
    return map_file(range, start, patch->start + patch->length) ? 0 : errno;
}

static void drop_first(struct patch_range *range)
{
    memmove(range->patches, range->patches + 1, --range->count * sizeof(struct patch));
    range->heals++;
}

/* The page and its record go under one lock. Else a thread might fault on a page of the file
 * whose record says it is patched, and try the access until no attempt is left. */
static int unpatch(struct patch_range *range, const struct patch *patch, char *end,
                   int discard)
{
    char *stop = patch->start + patch->length;
    int code = 0;

    patch_lock();
    if (range->flags == MAP_PRIVATE && !discard)
        code = map_untouched(range, patch, end);
    else if (map_file(range, patch->start, stop))
        patch_drop_from_store(patch->start, patch->length);
    else
        code = errno;
    if (code == 0)
        drop_first(range);
    patch_unlock();
    return code;
}

/* `end` is where the mapping's bytes end; a patch of the tail goes on behind it. */
static int heal_one(struct patch_range *range, const struct patch *patch, char *end,
                    int discard, size_t *written)
{
    int code = 0;

    end = least(end, least(patch->start + patch->length, patch_end_of(range)));
    if (range->flags == MAP_SHARED && range->prot & PROT_WRITE)
        code = write_pages_back(range, patch, end, discard, written);
    return code ? code : unpatch(range, patch, end, discard);
}

static struct patch *first_to_heal(struct patch_range *range)
{
    struct patch *first = NULL;

    patch_lock();
    if (range->count > 0) {
        first = range->patches;
        first->healing = 1;     /* so that it does not grow meanwhile */
    }
    patch_unlock();
    return first;
}

int patch_heal(struct patch_range *range, size_t length, int discard, size_t *written)
{
    struct patch *first;
    int code = 0;

    while (code == 0 && (first = first_to_heal(range)) != NULL) {
        code = heal_one(range, first, range->start + length, discard, written);
        if (code) {
            patch_lock();
            first->healing = 0;
            patch_unlock();
        }
    }
    return code;
}
