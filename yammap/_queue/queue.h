/* Reads of files, many under way at a time, in one thread.
 *
 * Knows descriptors, offsets in files, and buffers. It must not know a mapping, nor what the bytes
 * are for.
 *
 * A caller takes a free slot, adds a request for it, and enters the kernel once for many:
 *
 *     queue_add(q, slot, fd, offset, buffer, length)
 *     n = queue_enter(q, least)           ask, wait for `least`, and collect in q->done
 *
 * Contract
 * - One thread uses a queue at a time. Another may use it afterwards.
 * - A buffer must stay until its request is done: nothing cancels a read. So the caller waits
 *   until `under_way` is 0 before it lets go of one. queue_close() waits by itself.
 * - A request is done once, with the number of bytes that it read, fewer at the end of the file,
 *   or with a negative errno value. Requests are done in any order.
 * - A child that was forked has no queue: it calls queue_forget(), and never touches it again.
 * - No function needs the GIL or raises. Those that can fail return a negative errno value.
 *
 * The reasons, and the figures of the kinds that lost, are in docs/design/queue.md. */
#ifndef YAMMAP_QUEUE_H
#define YAMMAP_QUEUE_H

#include <stddef.h>
#include <stdint.h>

/* Requests that a queue can have under way. Disks were at their limit with 64 to 128; the rest
 * is for batches that are read ahead while the caller works. */
#define QUEUE_DEPTH 256

enum queue_kind {
    QUEUE_URING, /* io_uring: reads past the page cache, or into it */
    QUEUE_AIO,   /* kernel AIO: past the page cache only; containers allow it more often */
    QUEUE_HINTS, /* posix_fadvise(2), then pread(2): into the page cache, and allowed anywhere */
};

struct queue_result {
    unsigned slot;
    int bytes; /* or a negative errno value */
};

struct queue;

struct queue_calls {
    void (*add)(struct queue *, unsigned slot, int fd, int64_t offset, void *buffer,
                unsigned length);
    int (*enter)(struct queue *, unsigned least);
    void (*pin)(struct queue *);
    void (*end)(struct queue *, int is_child);
};

struct queue {
    const struct queue_calls *calls;
    char *arena;        /* QUEUE_ARENA bytes, on a page; NULL before queue_make_arena() */
    unsigned added;     /* and not asked for yet */
    unsigned under_way; /* asked for or added, and not done */
    unsigned unpinned;  /* requests until the arena is pinned; 0: it was, or could not be */
    struct queue_result done[QUEUE_DEPTH];
};

/* For reads past the page cache, whose buffers must be aligned: 16 KiB for each request. */
#define QUEUE_ARENA ((size_t)QUEUE_DEPTH << 14)

/* Requests before the kernel is asked to pin the arena: that touches all of its pages, which takes
 * as long as some hundred reads, and in a virtual machine as some thousand. */
#define QUEUE_PIN_AFTER 4096

/* Make a queue; returns 0, or why there is none (ENOSYS, EPERM: not allowed here). */
int queue_open(enum queue_kind kind, struct queue **made);

/* Make the arena, unless the queue has it; returns 0, or a negative errno value. */
int queue_make_arena(struct queue *q);

static inline void queue_add(struct queue *q, unsigned slot, int fd, int64_t offset,
                             void *buffer, unsigned length)
{
    q->calls->add(q, slot, fd, offset, buffer, length);
    q->added++;
    q->under_way++;
    q->unpinned -= q->unpinned > 1;
}

/* Ask the kernel for what was added, wait until `least` requests are done, and put all that are
 * done into `q->done`; returns how many. A signal may make it return early, with fewer or
 * none. */
int queue_enter(struct queue *q, unsigned least);

void queue_close(struct queue *q);

/* In a forked child: free what is the child's own, and leave the rest to the parent. */
void queue_forget(struct queue *q);

/* The kinds, for queue_open() alone. */
int queue_open_uring(struct queue **made);
int queue_open_aio(struct queue **made);
int queue_open_hints(struct queue **made);

#endif
