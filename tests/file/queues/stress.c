/* Threads read a file by queues that they take out of a pool and put back, and all of them count
 * in one sample of pages: stress FILE ROUNDS. Each word of the file is its own offset.
 *
 * Exits with 1 when bytes are wrong. ThreadSanitizer and AddressSanitizer find the rest. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "_file/reuse.h"
#include "_queue/queue.h"

enum { THREADS = 4, POOL = 3, BLOCK = 4096, ROOM = QUEUE_ARENA / QUEUE_DEPTH };

static struct queue *pool[3][POOL];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct reuse sample;
static int cached_fd, direct_fd, failed;
static long rounds;
static int64_t blocks;

static struct queue *take(enum queue_kind kind)
{
    struct queue *found = NULL;

    pthread_mutex_lock(&mutex);
    for (int i = 0; i < POOL && found == NULL; i++) {
        found = pool[kind][i];
        pool[kind][i] = NULL;
    }
    pthread_mutex_unlock(&mutex);
    if (found == NULL && queue_open(kind, &found) == 0 && queue_make_arena(found)) {
        queue_close(found);
        found = NULL;
    }
    return found;
}

static void give_back(enum queue_kind kind, struct queue *q)
{
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < POOL && q; i++) {
        if (pool[kind][i] == NULL) {
            pool[kind][i] = q;
            q = NULL;
        }
    }
    pthread_mutex_unlock(&mutex);
    if (q)
        queue_close(q);
}

static void fail(const char *what, long number)
{
    fprintf(stderr, "%s: %ld\n", what, number);
    __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
}

static void check(const struct queue *q, const struct queue_result *done, const int64_t *asked)
{
    const int64_t *words = (const int64_t *)(q->arena + done->slot * ROOM);

    if (done->bytes != BLOCK)
        return fail("bytes", done->bytes);
    for (int i = 0; i < BLOCK / 8; i++)
        if (words[i] != asked[done->slot] + 8 * i)
            return fail("word", words[i]);
}

static void collect(struct queue *q, unsigned least, const int64_t *asked)
{
    int count = queue_enter(q, least);

    if (count < 0)
        fail("enter", count);
    for (int i = 0; i < count; i++)
        check(q, &q->done[i], asked);
}

/* A child has no queue. */
static void forget_in_child(struct queue *q)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        queue_forget(q);
        _exit(0);
    }
    if (waitpid(child, &status, 0) == -1 || status)
        fail("child", status);
}

static void read_blocks(enum queue_kind kind, unsigned *seed, long round)
{
    struct queue *q = take(kind);
    int fd = kind == QUEUE_HINTS || (kind == QUEUE_URING && round % 2) ? cached_fd : direct_fd;
    int64_t asked[QUEUE_DEPTH];
    unsigned count = 1 + rand_r(seed) % QUEUE_DEPTH;

    if (q == NULL)
        return;
    for (unsigned slot = 0; slot < count; slot++) {
        asked[slot] = rand_r(seed) % blocks * BLOCK;
        reuse_read(&sample, asked[slot] / BLOCK);
        queue_add(q, slot, fd, asked[slot], q->arena + slot * ROOM, BLOCK);
        if (slot % 16 == 15)
            collect(q, 0, asked);
    }
    if (round % 50 == 0)
        forget_in_child(q);
    while (q->under_way && !__atomic_load_n(&failed, __ATOMIC_RELAXED))
        collect(q, 16, asked);
    if (round % 20 == 0)
        queue_close(q);
    else
        give_back(kind, q);
}

static void *work(void *number)
{
    unsigned seed = (unsigned)(uintptr_t)number;

    for (long i = 0; i < rounds && !__atomic_load_n(&failed, __ATOMIC_RELAXED); i++) {
        read_blocks(i % 3, &seed, i);
        if (reuse_is_rare(&sample))
            reuse_begin(&sample, i % 2 ? 0 : 1 << 16);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    struct stat status;

    if (count != 3 || (cached_fd = open(arguments[1], O_RDONLY)) == -1)
        return 2;
    direct_fd = open(arguments[1], O_RDONLY | O_DIRECT);
    if (direct_fd == -1)
        direct_fd = cached_fd;
    fstat(cached_fd, &status);
    blocks = status.st_size / BLOCK;
    rounds = atol(arguments[2]);
    reuse_begin(&sample, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < POOL; i++)
            if (pool[kind][i])
                queue_close(pool[kind][i]);
    return failed;
}
