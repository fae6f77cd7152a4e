/* Kernel AIO: many reads past the page cache in one system call, and no ring to be mapped. Reads
 * into the page cache would block in io_submit(2). libaio adds nothing to the three calls. */
#define _GNU_SOURCE
#include "queue.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct aio {
    struct queue queue;
    aio_context_t context;
    struct iocb requests[QUEUE_DEPTH];
    struct iocb *waiting[QUEUE_DEPTH];
    struct io_event events[QUEUE_DEPTH];
};

static void add(struct queue *q, unsigned slot, int fd, int64_t offset, void *buffer,
                unsigned length)
{
    struct aio *a = (struct aio *)q;

    a->requests[slot] = (struct iocb){
        .aio_data = slot,
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = fd,
        .aio_buf = (uintptr_t)buffer,
        .aio_nbytes = length,
        .aio_offset = offset,
    };
    a->waiting[q->added] = &a->requests[slot];
}

/* Ask for what was added. io_submit(2) fails for the first request alone: that one is done, and
 * the others go on. Where the kernel has no room (EAGAIN), they wait for the next call. */
static int submit(struct aio *a)
{
    struct queue *q = &a->queue;
    unsigned first = 0;
    int failed = 0;

    while (first < q->added) {
        long taken = syscall(SYS_io_submit, a->context, q->added - first, a->waiting + first);

        if (taken > 0) {
            first += taken;
        } else if (taken == -1 && errno == EAGAIN) {
            break;
        } else if (taken == -1 && errno != EINTR) {
            q->done[failed++] = (struct queue_result){a->waiting[first++]->aio_data, -errno};
        }
    }
    q->added -= first;
    for (unsigned i = 0; i < q->added; i++)
        a->waiting[i] = a->waiting[first + i];
    return failed;
}

static int enter(struct queue *q, unsigned least)
{
    struct aio *a = (struct aio *)q;
    int count = submit(a);
    long asked = q->under_way - q->added - count, ready;

    least = least > (unsigned)asked ? asked : least;
    if (asked == 0)
        return count;
    ready = syscall(SYS_io_getevents, a->context, (long)least, asked, a->events, NULL);
    if (ready == -1)
        return count || errno == EINTR ? count : -errno;
    for (long i = 0; i < ready; i++)
        q->done[count++] = (struct queue_result){a->events[i].data, a->events[i].res};
    return count;
}

/* A child has no context: it belongs to the memory of the parent. */
static void end(struct queue *q, int is_child)
{
    if (!is_child)
        syscall(SYS_io_destroy, ((struct aio *)q)->context);
}

int queue_open_aio(struct queue **made)
{
    static const struct queue_calls calls = {add, enter, NULL, end};
    struct aio *a = calloc(1, sizeof(*a));
    int code;

    if (a == NULL)
        return -ENOMEM;
    a->queue.calls = &calls;
    code = syscall(SYS_io_setup, QUEUE_DEPTH, &a->context) == -1 ? -errno : 0;
    if (code)
        free(a);
    else
        *made = &a->queue;
    return code;
}
