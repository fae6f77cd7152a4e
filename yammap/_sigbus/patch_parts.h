/* What patch.c and heal.c share of patches, and nobody else knows.
 *
 * patch.c knows the ranges, the store and how a page is put in place; heal.c knows what was
 * stored into such pages, and takes them away again.
 */
#ifndef YAMMAP_PATCH_PARTS_H
#define YAMMAP_PATCH_PARTS_H

#include "_sigbus/patch.h"

#include <sys/types.h>

/* The one lock. What is done under it touches no file memory that may fault. */
void patch_lock(void);
void patch_unlock(void);

extern size_t page_size;
extern char scratch[65536];       /* content of one page; under the lock */

off_t patch_offset_of(const struct patch_range *range, const char *page);
char *patch_end_of(const struct patch_range *range);

/* A page's content as it was when it was put there. Returns whether there is one. */
int patch_read_original(const char *page, char *content);

void patch_drop_from_store(const char *start, size_t length);

#endif
