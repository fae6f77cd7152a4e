/* io_uring, by its system calls: a ring of requests and a ring of results, shared with the kernel.
 *
 * The kernel's header has the names that are given here: it is younger than the systems that
 * wheels are built on. liburing would be one more library to ship, and inlines these few lines. */
#define _GNU_SOURCE
#include "queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif

enum {
    ENTER_GETEVENTS = 1,
    FEATURE_SINGLE_MMAP = 1,
    OFFSET_RINGS = 0,
    OFFSET_REQUESTS = 0x10000000,
    OP_READ_FIXED = 4,
    OP_READ = 22,
    REGISTER_BUFFERS = 0,
    SETUP_COOP_TASKRUN = 1 << 8, /* Linux 5.19: no interrupt to tell a thread what it will see */
};

struct request {
    uint8_t opcode, flags;
    uint16_t priority;
    int32_t fd;
    uint64_t offset, address;
    uint32_t length, read_flags;
    uint64_t data;
    uint16_t buffer_index, personality;
    int32_t splice_fd;
    uint64_t spare[2];
};

struct result {
    uint64_t data;
    int32_t bytes;
    uint32_t flags;
};

struct setup {
    uint32_t requests, results, flags, thread_cpu, thread_idle, features, other_fd, spare[3];
    struct {
        uint32_t head, tail, mask, entries, flags, dropped, array, spare;
        uint64_t address;
    } request_ring;
    struct {
        uint32_t head, tail, mask, entries, overflow, results, flags, spare;
        uint64_t address;
    } result_ring;
};

struct uring {
    struct queue queue;
    int fd;
    int has_pinned_arena;
    char *rings;
    size_t rings_size;
    struct request *requests;
    size_t requests_size;
    unsigned next; /* request to be filled; the kernel has been told of those before `tail` */
    unsigned *head, *tail, mask, *array;
    unsigned *result_head, *result_tail, result_mask;
    struct result *results;
};

_Static_assert(sizeof(struct request) == 64 && sizeof(struct result) == 16 &&
                   sizeof(struct setup) == 120,
               "as the kernel has them");

static void add(struct queue *q, unsigned slot, int fd, int64_t offset, void *buffer,
                unsigned length)
{
    struct uring *u = (struct uring *)q;
    int is_pinned = u->has_pinned_arena && (char *)buffer >= q->arena &&
                    (char *)buffer < q->arena + QUEUE_ARENA;
    unsigned i = u->next++ & u->mask;

    u->requests[i] = (struct request){
        .opcode = is_pinned ? OP_READ_FIXED : OP_READ,
        .fd = fd,
        .offset = offset,
        .address = (uintptr_t)buffer,
        .length = length,
        .data = slot,
    };
    u->array[i] = i;
}

static int collect(struct uring *u)
{
    unsigned head = *u->result_head;
    unsigned tail = __atomic_load_n(u->result_tail, __ATOMIC_ACQUIRE);
    int count = 0;

    for (; head != tail && count < QUEUE_DEPTH; head++) {
        const struct result *result = &u->results[head & u->result_mask];

        u->queue.done[count++] = (struct queue_result){result->data, result->bytes};
    }
    __atomic_store_n(u->result_head, head, __ATOMIC_RELEASE);
    return count;
}

/* Where the kernel could not take all requests, they stay in the ring for the next call. */
static int enter(struct queue *q, unsigned least)
{
    struct uring *u = (struct uring *)q;
    unsigned asking;

    q->added = 0;
    __atomic_store_n(u->tail, u->next, __ATOMIC_RELEASE);
    asking = u->next - __atomic_load_n(u->head, __ATOMIC_ACQUIRE);
    if (syscall(SYS_io_uring_enter, u->fd, asking, least, ENTER_GETEVENTS, NULL, 0) == -1 &&
        errno != EINTR && errno != EAGAIN && errno != EBUSY)
        return -errno;
    return collect(u);
}

/* Pinned once, and not at each read. Where RLIMIT_MEMLOCK does not allow it, each read pins its
 * pages. */
static void pin(struct queue *q)
{
    struct uring *u = (struct uring *)q;
    struct iovec arena = {q->arena, QUEUE_ARENA};

    u->has_pinned_arena =
        syscall(SYS_io_uring_register, u->fd, REGISTER_BUFFERS, &arena, 1) == 0;
}

static void unmap(void *start, size_t size)
{
    if (start != NULL && start != MAP_FAILED)
        munmap(start, size);
}

/* Where the kernel has come to refuse to be entered, what it was asked for goes on. */
static void wait_for_all(struct uring *u)
{
    unsigned asked = u->queue.under_way - (u->next - __atomic_load_n(u->head, __ATOMIC_ACQUIRE));

    while (asked -= collect(u))
        usleep(100);
}

/* A child has the descriptor only. */
static void end(struct queue *q, int is_child)
{
    struct uring *u = (struct uring *)q;

    if (!is_child) {
        if (q->under_way)
            wait_for_all(u);
        unmap(u->rings, u->rings_size);
        unmap(u->requests, u->requests_size);
    }
    close(u->fd);
}

static int map_rings(struct uring *u, const struct setup *s)
{
    size_t requests = s->request_ring.array + s->requests * sizeof(unsigned);
    size_t results = s->result_ring.results + s->results * sizeof(struct result);

    u->rings_size = requests > results ? requests : results;
    u->requests_size = s->requests * sizeof(struct request);
    u->rings = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                    u->fd, OFFSET_RINGS);
    u->requests = mmap(NULL, u->requests_size, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_POPULATE, u->fd, OFFSET_REQUESTS);
    if (u->rings == MAP_FAILED || u->requests == MAP_FAILED)
        return -errno;
    madvise(u->rings, u->rings_size, MADV_DONTFORK);
    madvise(u->requests, u->requests_size, MADV_DONTFORK);
    u->head = (unsigned *)(u->rings + s->request_ring.head);
    u->tail = (unsigned *)(u->rings + s->request_ring.tail);
    u->mask = s->requests - 1;
    u->array = (unsigned *)(u->rings + s->request_ring.array);
    u->result_head = (unsigned *)(u->rings + s->result_ring.head);
    u->result_tail = (unsigned *)(u->rings + s->result_ring.tail);
    u->result_mask = s->results - 1;
    u->results = (struct result *)(u->rings + s->result_ring.results);
    u->next = *u->tail;
    return 0;
}

static int set_up(struct setup *s)
{
    int fd = syscall(SYS_io_uring_setup, QUEUE_DEPTH, s);

    if (fd == -1 && errno == EINVAL) {
        s->flags &= ~SETUP_COOP_TASKRUN;
        fd = syscall(SYS_io_uring_setup, QUEUE_DEPTH, s);
    }
    return fd;
}

int queue_open_uring(struct queue **made)
{
    static const struct queue_calls calls = {add, enter, pin, end};
    struct setup s = {.flags = SETUP_COOP_TASKRUN};
    struct uring *u = calloc(1, sizeof(*u));
    int code;

    if (u == NULL)
        return -ENOMEM;
    u->queue.calls = &calls;
    u->fd = set_up(&s);
    code = u->fd == -1 ? -errno : 0;
    if (code == 0 && !(s.features & FEATURE_SINGLE_MMAP))
        code = -ENOSYS; /* older than Linux 5.4 */
    if (code == 0)
        code = map_rings(u, &s);
    if (code) {
        if (u->fd != -1)
            end(&u->queue, 0);
        free(u);
        return code;
    }
    *made = &u->queue;
    return 0;
}
