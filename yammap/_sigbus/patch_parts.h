/* What patch.c and heal.c share, and hide from all others.
 *
 * patch.c knows the ranges and the store, and puts pages in place. heal.c knows what threads
 * have stored into such pages, and takes them away again.
 */
#ifndef YAMMAP_PATCH_PARTS_H
#define YAMMAP_PATCH_PARTS_H

#include "_sigbus/patch.h"

#include <sys/types.h>

/* The one lock. A thread that holds it touches no file memory that may fault. */
void patch_lock(void);
void patch_unlock(void);

extern size_t page_size;
extern char scratch[65536];       /* content of one page, which is never larger on a 64-bit
                                   * machine; under the lock */

off_t patch_offset_of(const struct patch_range *range, const char *page);
char *patch_end_of(const struct patch_range *range);

/* Read the content that a page had when it was put there. Returns whether it is known. */
int patch_read_original(const char *page, char *content);

void patch_drop_from_store(const char *start, size_t length);

#endif
