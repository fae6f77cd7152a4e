/* How often a page is read again, while a page cache of a given size would still have it.
 *
 * Reading a page past the page cache costs half as much as reading it into the cache, if nobody
 * reads it again. Whether somebody does shows in a sample of the pages (SHARDS, Waldspurger et
 * al., FAST 2015): of every `spacing` pages, one counts, chosen by a hash of its number. The
 * table remembers as many of those as a cache of that size would hold of them. So what is found
 * in it, of what is looked up, is the share of reads that the cache would answer.
 *
 * Where memory has room for the whole file, a read page stays until somebody wants it again, but
 * that may be another process, or the next run of this one. So one page in TRACER_GROUP, of which
 * all processes know which it is, is always left in the page cache: a tracer. As many tracers as
 * are found there, as many of all pages would be.
 *
 * Threads share a sample without a lock. A lost count is one of thousands. */
#ifndef YAMMAP_REUSE_H
#define YAMMAP_REUSE_H

#include <stdint.h>

enum {
    REUSE_PLACES = 4096,
    REUSE_ENOUGH = 128,    /* looked up: before that, nothing can be said */
    REUSE_LONG_AGO = 4096, /* looked up: half of the counts are forgotten */
    TRACER_GROUP = 128     /* pages */
};

/* How many were found, of how many that were looked up. */
struct reuse_share {
    uint32_t looked_up, found;
};

struct reuse {
    uint64_t spacing;
    struct reuse_share share;
    uint64_t pages[REUSE_PLACES];
};

static inline void reuse_count(struct reuse_share *s, int found, uint32_t long_ago)
{
    uint32_t looked_up = __atomic_load_n(&s->looked_up, __ATOMIC_RELAXED) + 1;
    uint32_t all_found = __atomic_load_n(&s->found, __ATOMIC_RELAXED) + !!found;

    if (looked_up >= long_ago) {
        looked_up /= 2;
        all_found /= 2;
    }
    __atomic_store_n(&s->looked_up, looked_up, __ATOMIC_RELAXED);
    __atomic_store_n(&s->found, all_found, __ATOMIC_RELAXED);
}

/* Whether one in `parts` was found, of `enough` at least. */
static inline int reuse_found(const struct reuse_share *s, uint32_t enough, uint32_t parts)
{
    uint32_t looked_up = __atomic_load_n(&s->looked_up, __ATOMIC_RELAXED);

    return looked_up >= enough
           && __atomic_load_n(&s->found, __ATOMIC_RELAXED) >= (looked_up + parts - 1) / parts;
}

/* For a cache of this many pages, from now on. */
static inline void reuse_begin(struct reuse *r, uint64_t cache_pages)
{
    __atomic_store_n(&r->spacing, cache_pages / REUSE_PLACES + 1, __ATOMIC_RELAXED);
}

static inline uint64_t reuse_hash(uint64_t page)
{
    page = (page ^ page >> 31) * 0x9e3779b97f4a7c15u;
    return page ^ page >> 29;
}

static inline void reuse_read(struct reuse *r, uint64_t page)
{
    uint64_t hash = reuse_hash(page + 1), *place;
    uint64_t spacing = __atomic_load_n(&r->spacing, __ATOMIC_RELAXED);

    if (hash % spacing)
        return;
    place = &r->pages[hash / spacing % REUSE_PLACES];
    reuse_count(&r->share, __atomic_exchange_n(place, hash, __ATOMIC_RELAXED) == hash,
                REUSE_LONG_AGO);
}

/* Whether fewer than a quarter of the reads would find their page in the cache. */
static inline int reuse_is_rare(const struct reuse *r)
{
    return __atomic_load_n(&r->share.looked_up, __ATOMIC_RELAXED) >= REUSE_ENOUGH
           && !reuse_found(&r->share, REUSE_ENOUGH, 4);
}

/* The tracer of a group of pages. */
static inline int64_t tracer_of(int64_t group)
{
    return group * TRACER_GROUP + (int64_t)(reuse_hash(group + 1) >> 32) % TRACER_GROUP;
}

/* The first tracer among these pages; -1: there is none. */
static inline int64_t tracer_among(int64_t first, int64_t last)
{
    for (int64_t group = first / TRACER_GROUP; group <= last / TRACER_GROUP; group++) {
        int64_t page = tracer_of(group);

        if (first <= page && page <= last)
            return page;
    }
    return -1;
}

#endif
