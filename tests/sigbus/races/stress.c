/* The fault handler and its patches under many threads, without an interpreter.
 *
 * Threads load from and store to one shared mapping, as views do and by guarded copies,
 * while the file is cut and grows again, patches are healed, ranges come and go, the
 * process forks, and the handler is displaced. Each thread stores only to its own column,
 * a byte of each page, and only bytes that tell whose they are. So what it loads there is
 * zero or its own, and once a page is patched it is what it stored last, until that is
 * healed.
 *
 * Compile it with -DPAGE=, the size of a page. Usage: stress SEED ROUNDS. Prints what it
 * did; aborts when something is not as it should be.
 */
#define _GNU_SOURCE
#include "_sigbus/fault.h"
#include "_sigbus/patch.h"
#include "_sigbus/raise.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 16, RESERVE = 16, LENGTH = PAGES * PAGE };
enum { VIEWS = 2, COPIERS = 2, FORKER = VIEWS + COPIERS, CHILD, COLUMNS };

#define UNSEEN __attribute__((no_sanitize_thread, noinline))

#define require(truth) \
    ((truth) ? (void)0 : (fprintf(stderr, "line %d: %s\n", __LINE__, #truth), abort()))

static int fd;
static struct patch_range shared;
static unsigned rounds;
static pthread_barrier_t start;
static atomic_int at_work = 2;  /* who cuts and who heals; others go on until then */
static atomic_ulong told, sent, to_first, to_other, copied, faulted, healed;

/* Stores hold it for reading: nobody may store while a patch is healed. */
static pthread_rwlock_t healing = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static unsigned long generation;    /* how often it was healed; under `healing` */

void raise_here(void)
{
    atomic_fetch_add(&told, 1);
}

/* -- What any thread does */

struct random {
    unsigned long long state;
};

static unsigned draw(struct random *random, unsigned below)
{
    random->state = random->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random->state >> 33) % below;
}

/* A view is somebody else's code, which the sanitizer has not seen: whatever races there
 * are between two of them are theirs. */
UNSEEN static unsigned char load(const char *address)
{
    return *(const volatile unsigned char *)address;
}

UNSEEN static void store(char *address, unsigned char value)
{
    *(volatile unsigned char *)address = value;
}

static unsigned char mark_of(int column, unsigned round)
{
    return (unsigned char)((unsigned)(column + 1) << 4 | round % 16);
}

static int is_of(int column, unsigned char byte)
{
    return byte == 0 || byte >> 4 == column + 1;
}

static int is_patched(struct patch_range *range, const char *page)
{
    struct patch patch;

    for (size_t i = 0; patch_get(range, i, &patch); i++)
        if (page >= patch.start && page < patch.start + patch.length)
            return 1;
    return 0;
}

/* -- Views */

struct column {
    unsigned char last[PAGES];          /* what it stored into a patched page */
    unsigned long generation[PAGES];    /* plus one; 0: into none */
};

static void touch(struct column *own, int column, int page, unsigned round)
{
    char *address = shared.start + page * PAGE + column * 64;
    int patched = is_patched(&shared, shared.start + page * PAGE);
    unsigned char byte = load(address);

    require(is_of(column, byte));
    if (own->generation[page] == generation + 1)
        require(byte == own->last[page]);
    store(address, mark_of(column, round));
    byte = load(address);
    if (patched) {
        require(byte == mark_of(column, round));
        own->last[page] = byte;
        own->generation[page] = generation + 1;
    }
    require(byte == 0 || byte == mark_of(column, round));
}

static void view(struct random *random, int column)
{
    struct column own = {0};

    for (unsigned i = 0; atomic_load(&at_work) > 0; i++) {
        pthread_rwlock_rdlock(&healing);
        touch(&own, column, (int)draw(random, PAGES), i);
        pthread_rwlock_unlock(&healing);
        sched_yield();
    }
}

/* -- Copies */

static void check_copy(const char *page)
{
    for (int column = 0; column < COLUMNS; column++)
        require(is_of(column, (unsigned char)page[column * 64]));
}

static void copy(struct random *random, int column)
{
    static _Thread_local char buffer[PAGE];
    char *page, *byte;
    const void *fault;
    unsigned char mark;

    for (unsigned i = 0; atomic_load(&at_work) > 0; i++) {
        page = shared.start + draw(random, PAGES) * PAGE;
        fault = fault_copy(buffer, page, PAGE);
        require(fault == NULL || (uintptr_t)fault - (uintptr_t)page < PAGE);
        atomic_fetch_add(fault == NULL ? &copied : &faulted, 1);
        if (fault == NULL)
            check_copy(buffer);
        byte = page + column * 64;
        mark = mark_of(column, i);
        pthread_rwlock_rdlock(&healing);
        fault = fault_copy(byte, &mark, 1);
        pthread_rwlock_unlock(&healing);
        require(fault == NULL || fault == byte || fault == page);
        sched_yield();
    }
}

/* -- The file, the patches, the ranges */

/* Every second time it stays cut until a page has been patched, if that comes to pass. */
static void cut(struct random *random, int unused)
{
    unsigned long before;
    unsigned turn;

    (void)unused;
    for (unsigned i = 0; i < rounds; i++) {
        before = atomic_load(&patch_total);
        require(ftruncate(fd, draw(random, PAGES) * PAGE) == 0);
        for (turn = i % 2 * 20; turn > 0 && atomic_load(&patch_total) == before; turn--)
            sched_yield();
        require(ftruncate(fd, LENGTH) == 0);
        for (turn = draw(random, 8); turn > 0; turn--)
            sched_yield();
    }
    atomic_fetch_sub(&at_work, 1);
}

/* Patches lie in the range, side by side at most, and not more than there is room for. */
static void check_patches(struct patch_range *range)
{
    struct patch patch, other;
    size_t i, placed = 0;

    for (i = 0; patch_get(range, i, &patch); i++) {
        require(patch.start >= range->start);
        require(patch.start + patch.length <= range->start + range->length);
        placed += patch.length;
        for (size_t j = 0; j < i && patch_get(range, j, &other); j++)
            require(patch.start >= other.start + other.length
                    || other.start >= patch.start + patch.length);
    }
    require(placed <= range->length);
}

static void heal(struct random *random, int unused)
{
    struct patch patch;
    size_t written;
    int code;

    (void)unused;
    for (unsigned i = 0; i < rounds; i++) {
        for (int turn = 0; turn < 20 && !patch_get(&shared, 0, &patch); turn++)
            sched_yield();
        written = 0;
        pthread_rwlock_wrlock(&healing);
        check_patches(&shared);
        code = patch_heal(&shared, LENGTH, draw(random, 2) == 0, &written);
        generation++;
        pthread_rwlock_unlock(&healing);
        require(code == 0 || code == EFAULT);
        require(written <= LENGTH);
        atomic_fetch_add(&healed, code == 0);
        sched_yield();
    }
    atomic_fetch_sub(&at_work, 1);
}

/* A range of its own, all of it past the end of the file. */
static void come_and_go(struct random *random, int unused)
{
    int empty = memfd_create("empty", MFD_CLOEXEC);
    struct patch_range own;
    struct patch patch;
    char *byte;

    (void)unused;
    for (unsigned i = 0; i < rounds / 4; i++) {
        own = (struct patch_range){.length = (1 + draw(random, 8)) * PAGE, .fd = empty,
                                   .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED,
                                   .raises = 1};
        own.start = mmap(NULL, own.length, own.prot, own.flags, empty, 0);
        require(own.start != MAP_FAILED);
        patch_watch(&own);
        byte = own.start + draw(random, (unsigned)own.length);
        require(load(byte) == 0);
        store(byte, 1);
        require(load(byte) == 1);
        require(patch_get(&own, 0, &patch) && !patch_get(&own, 1, &patch));
        require(patch.start == own.start && patch.length == own.length && patch.size == 0);
        require(patch.touched == byte && !patch.writing && patch.code == EFAULT);
        require(patch_told(&own, (unsigned long)pthread_self()));
        patch_forget(&own);
        munmap(own.start, own.length);
    }
    close(empty);
}

/* -- Processes */

static void be_a_child(struct random *random)
{
    char *address, byte;

    alarm(30);      /* a lock that fork() has left behind would be waited for */
    for (int page = 0; page < PAGES; page++) {
        address = shared.start + page * PAGE + CHILD * 64;
        require(is_of(CHILD, load(address)));
        store(address, mark_of(CHILD, draw(random, 16)));
        require(is_of(CHILD, load(address)));
        if (fault_copy(&byte, address, 1) == NULL)
            require(is_of(CHILD, (unsigned char)byte));
    }
    check_patches(&shared);
    _exit(0);
}

static void fork_children(struct random *random, int unused)
{
    int status;
    pid_t child;

    (void)unused;
    for (unsigned i = 0; i < rounds / 40; i++) {
        child = fork();
        require(child != -1);
        if (child == 0)
            be_a_child(random);
        require(waitpid(child, &status, 0) == child && status == 0);
    }
}

/* -- Handlers */

static struct sigaction ours;

static void be_first(int signo, siginfo_t *info, void *context)
{
    (void)signo, (void)context;
    require(info->si_code <= 0);
    atomic_fetch_add(&to_first, 1);
}

static void be_other(int signo, siginfo_t *info, void *context)
{
    if (info->si_code <= 0)
        atomic_fetch_add(&to_other, 1);
    ours.sa_sigaction(signo, info, context);
}

static void install(void (*handler)(int, siginfo_t *, void *), struct sigaction *before)
{
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigemptyset(&action.sa_mask);
    require(sigaction(SIGBUS, &action, before) == 0);
}

/* Half way, somebody else takes the signal, and chains what is not theirs. */
static void look(struct random *random, int unused)
{
    unsigned i, tick = 1 << 16, alone = 0;

    (void)unused;
    for (i = 0; i < rounds; i++) {
        if (i == rounds / 2) {
            alone = i;
            install(be_other, NULL);
        }
        require(fault_look(++tick) && fault_in_force(tick));
        if (draw(random, 4) == 0) {
            raise(SIGBUS);
            atomic_fetch_add(&sent, 1);
            require(atomic_load(&to_first) == atomic_load(&sent));
            require(alone != 0 || atomic_load(&to_other) == 0);
        }
    }
    require(atomic_load(&to_other) > 0);
}

/* -- All of them */

struct actor {
    pthread_t thread;
    void (*act)(struct random *, int column);
    struct random random;
    int column;
};

static void *run(void *argument)
{
    struct actor *actor = argument;

    pthread_barrier_wait(&start);
    actor->act(&actor->random, actor->column);
    return NULL;
}

static struct actor actors[] = {
    {.act = view, .column = 0}, {.act = view, .column = 1}, {.act = copy, .column = 2},
    {.act = copy, .column = 3}, {.act = cut},               {.act = heal},
    {.act = come_and_go},       {.act = come_and_go},       {.act = fork_children},
    {.act = look},
};

enum { ACTORS = sizeof(actors) / sizeof(actors[0]) };

static void set_up(void)
{
    install(be_first, NULL);
    require(fault_install() == 0);
    require(sigaction(SIGBUS, NULL, &ours) == 0);
    fd = memfd_create("stress", MFD_CLOEXEC);
    require(fd != -1 && ftruncate(fd, LENGTH) == 0);
    shared = (struct patch_range){.length = LENGTH + RESERVE * PAGE, .fd = fd,
                                  .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED};
    shared.start = mmap(NULL, shared.length, shared.prot, shared.flags, fd, 0);
    require(shared.start != MAP_FAILED);
    patch_watch(&shared);
}

/* Who displaces us a second time stays, and until then takes faults that are ours: no other
 * thread is there any more. */
static void check_displacement(void)
{
    unsigned tick = 1 << 30;

    install(be_first, NULL);
    require(!fault_look(++tick) && !fault_in_force(tick));
    install(ours.sa_sigaction, NULL);
    require(fault_look(++tick));
}

/* The mapping is the file again, and the handler is in force. */
static void check_the_end(void)
{
    static char content[LENGTH];
    size_t written = 0;
    struct patch patch;

    require(patch_heal(&shared, LENGTH, 1, &written) == 0);
    require(!patch_get(&shared, 0, &patch));
    require(pread(fd, content, LENGTH, 0) == LENGTH);
    for (int i = 0; i < LENGTH; i++)
        require(load(shared.start + i) == (unsigned char)content[i]);
    require(load(shared.start + LENGTH) == 0 && is_patched(&shared, shared.start + LENGTH));
    patch_forget(&shared);
}

int main(int count, char **arguments)
{
    require(count == 3);
    rounds = (unsigned)atoi(arguments[2]);
    set_up();
    pthread_barrier_init(&start, NULL, ACTORS);
    for (int i = 0; i < ACTORS; i++) {
        actors[i].random.state = strtoull(arguments[1], NULL, 10) * ACTORS + (unsigned)i;
        require(pthread_create(&actors[i].thread, NULL, run, &actors[i]) == 0);
    }
    for (int i = 0; i < ACTORS; i++)
        pthread_join(actors[i].thread, NULL);
    check_displacement();
    check_the_end();
    printf("patches %lu healed %lu told %lu sent %lu copied %lu faulted %lu\n",
           atomic_load(&patch_total), atomic_load(&healed), atomic_load(&told),
           atomic_load(&sent), atomic_load(&copied), atomic_load(&faulted));
    return 0;
}
