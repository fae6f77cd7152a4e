#define _GNU_SOURCE
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int queue_open(enum queue_kind kind, struct queue **made)
{
    switch (kind) {
    case QUEUE_URING:
        return queue_open_uring(made);
    case QUEUE_AIO:
        return queue_open_aio(made);
    case QUEUE_HINTS:
        return queue_open_hints(made);
    }
    return -EINVAL;
}

/* A forked child does not get it: the kernel would have to copy each page that it has pinned, and
 * the disk would write into the copy that the parent no longer has. */
int queue_make_arena(struct queue *q)
{
    char *arena;

    if (q->arena)
        return 0;
    arena = mmap(NULL, QUEUE_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED)
        return -errno;
    madvise(arena, QUEUE_ARENA, MADV_DONTFORK);
    q->arena = arena;
    q->unpinned = QUEUE_PIN_AFTER;
    return 0;
}

int queue_enter(struct queue *q, unsigned least)
{
    int count;

    if (q->unpinned == 1) {
        q->unpinned = 0;
        if (q->calls->pin)
            q->calls->pin(q);
    }
    count = q->calls->enter(q, least < q->under_way ? least : q->under_way);
    if (count > 0)
        q->under_way -= count;
    return count;
}

void queue_close(struct queue *q)
{
    while (q->under_way && queue_enter(q, q->under_way) >= 0)
        ;
    q->calls->end(q, 0);
    if (q->arena)
        munmap(q->arena, QUEUE_ARENA);
    free(q);
}

void queue_forget(struct queue *q)
{
    q->calls->end(q, 1);
    free(q);
}
