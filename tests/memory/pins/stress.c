/* Regions that are replaced and freed while threads, which come and go, read them by pins. */

#include "_memory/pins.h"

#include <stdio.h>
#include <string.h>

enum { WORDS = 64, READERS = 3, GENERATIONS = 4 };

static const void *place;
static int done, reading;
static long held;

static void *new_region(void)
{
    static unsigned char number;
    unsigned char *region = malloc(WORDS);

    number = number % 200 + 1;
    return memset(region, number, WORDS);
}

/* A region that is freed or filled meanwhile has two kinds of bytes, or zeros. */
static int is_whole(const unsigned char *region)
{
    for (int i = 1; i < WORDS; i++)
        if (region[i] != region[0])
            return 0;
    return region[0] != 0;
}

static void *read_regions(void *unused)
{
    long count = 0;

    (void)unused;
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        const void *region = pin_hold(&place);

        if (region == NULL)
            continue;
        if (!is_whole(region))
            abort();
        pin_drop();
        if (count++ == 0)
            __atomic_fetch_add(&reading, 1, __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&held, count, __ATOMIC_RELAXED);
    return NULL;
}

static void replace(void)
{
    const void *former = __atomic_exchange_n(&place, new_region(), __ATOMIC_SEQ_CST);

    pin_wait(former);
    memset((void *)former, 0, WORDS);
    free((void *)former);
}

static int count_pins(void)
{
    int count = 0;

    for (struct pin *pin = pins; pin != NULL; pin = pin->next)
        count++;
    return count;
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 1000;

    place = new_region();
    for (int generation = 0; generation < GENERATIONS; generation++) {
        pthread_t threads[READERS];

        done = reading = 0;
        for (int i = 0; i < READERS; i++)
            pthread_create(&threads[i], NULL, read_regions, NULL);
        while (__atomic_load_n(&reading, __ATOMIC_RELAXED) < READERS)
            sched_yield();
        for (int i = 0; i < rounds; i++)
            replace();
        __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < READERS; i++)
            pthread_join(threads[i], NULL);
    }
    pin_forget_others();
    printf("held %ld pins %d\n", held, count_pins());
    return 0;
}
